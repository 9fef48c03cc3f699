/* The keys that seal gossip: where they come from, how they outlive the process,
 * and how members speak about them. docs/PROTOCOL.md has the byte tables and the
 * reasons. For the node's files only.
 *
 * Keys come from the configuration (the file), and from calls that change them in a
 * running cluster. The note in the store keeps the ring, and which keys the file
 * named when it was made: while the file says the same, the note is right; once it
 * says something else, the file is, and keys that a call installed stay behind its
 * own. A file without keys ends it all.
 *
 * The epoch counts rotations, over the whole cluster. Of two members with different
 * first keys the one with the higher epoch is right, and offers its ring to the
 * other when that one comes by with an older key. At the same epoch (two halves of a
 * split were each given a key, or two calls crossed) the first key of the higher name
 * is. Who takes an offer hands it on to those who sealed with the key that it leaves. The version is a random
 * number that is new with each change of a ring: a command names the version that it is about, so that a
 * recorded one cannot be played again. */
#ifndef YZMA_NODE_KEYS_H
#define YZMA_NODE_KEYS_H

#include "effect.h"
#include "keyring.h"
#include "node_request.h"
#include "swim.h"

struct node;
struct node_event;

enum {
    KEYS_ANSWER_MS = 3000,   /* for one member, or a batch of them */
    KEYS_REQUEST_MS = 12000, /* for all of it; the API waits 15 s */
    KEYS_BATCH = 64,         /* members asked at once: as many streams as that may stand open */
};

#define NOTE_KEYS "node/keys"

/* What one member holds: names, the first one first. */
struct key_names {
    uint32_t list[KEYRING_MAX];
    size_t count;
};

enum key_change { KEY_INSTALL = 1, KEY_USE = 2, KEY_REMOVE = 3 };

/* What a member answers. */
struct key_state {
    enum err err; /* of the change that was asked for */
    uint64_t version, epoch;
    struct key_names names;
};

enum holder_state { HOLDER_WAITS, HOLDER_ASKED, HOLDER_SILENT, HOLDER_TOLD, HOLDER_SKIPPED };

/* Another member, in the operation under way. */
struct key_holder {
    char *name; /* owned */
    struct addr addr;
    enum holder_state state;
    struct key_state told; /* the last that it told; told.version is 0 for never */
    bool failed;           /* in the last phase */
};

enum key_phase { PHASE_ASK, PHASE_INSTALL, PHASE_USE, PHASE_REMOVE };

/* The one operation that may be under way here. */
struct rotation {
    bool busy;
    enum node_request request;
    uint64_t ticket; /* of the request */
    uint64_t serial; /* of the phase: what answers refer to */
    enum key_phase phase;
    uint64_t deadline_ms, give_up_at_ms;
    bool force;
    uint32_t name; /* of the key that it is about */
    uint64_t epoch;
    struct key_holder *holders; /* owned */
    size_t holder_count;
};

struct keys {
    struct keyring *ring;
    uint64_t epoch, version;
    struct key_names file; /* those of the configuration, when the ring was last made from it */
    bool unsaved;
    uint64_t messages_refused;
    struct rotation rotation;
};

/* keys.c */
/* Makes the ring of the note (empty for none) and the configuration. ERR_DAMAGED for
 * a note that cannot be read. */
enum err keys_open(struct node *n, struct bytes note) MUST_USE;
void keys_done(struct node *n);
void keys_save(struct node *n, struct effects *out); /* if it is unsaved */
/* The keys of the configuration, read again. */
void keys_configure(struct node *n, const struct bytes *keys, size_t count, struct effects *out);
/* A change of this node's own ring. name or key, as the change needs it. */
enum err keys_change(struct node *n, enum key_change change, uint32_t name, struct bytes key, uint64_t epoch,
                     struct effects *out) MUST_USE;
struct key_state keys_state(const struct node *n);
void keys_message(struct node *n, const struct swim_event *event, struct effects *out);
void keys_old_key(struct node *n, const struct swim_event *event, struct effects *out);
void keys_send_ask(struct node *n, const struct addr *to, uint64_t serial, struct effects *out);
void keys_send_change(struct node *n, const struct addr *to, uint64_t serial, uint64_t version,
                      enum key_change change, uint32_t name, uint64_t epoch, struct effects *out);

/* rotate.c */
void rotate_request(struct node *n, const struct node_event *event, struct effects *out);
void rotate_told(struct node *n, struct bytes name, uint64_t serial, const struct key_state *state,
                 struct effects *out);
void rotate_due(struct node *n, struct effects *out);
uint64_t rotate_deadline(const struct node *n);
void rotate_done(struct node *n);

#endif
