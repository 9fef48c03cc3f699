/* The inside of the node, shared by its files: no one else includes it. */
#ifndef YZMA_NODE_STATE_H
#define YZMA_NODE_STATE_H

#include "json_out.h"
#include "keys.h"
#include "meta.h"
#include "node.h"
#include "sync.h"

enum {
    JOIN_REQUEST_MS = 10000,   /* POST /cluster/join answers within it */
    JOIN_KEEP_MS = 1000,       /* .. and so long before it no peer is waited for: what was joined is stored */
    JOIN_RETRY_MIN_MS = 1000,  /* of -j and Peering.Join; doubles up to the maximum */
    JOIN_RETRY_MAX_MS = 30000, /* also how often a node that is alone tries again */
    JOIN_ADDRESS_MS = 2000,    /* for one of a name's addresses, while there are others */
    JOIN_HEAD_START_MS = 500,  /* of the remembered members before the configured names */
    BY_HAND_MS = 10000,        /* for the note of a request to be stored */
    SHUTDOWN_MS = 2000,        /* for the goodbye to spread */
    LEAVE_MS = 3000,
    REMEMBER_EVERY_MS = 1000, /* the first change is noted at once, a burst of further ones together */
    REMEMBERED_MAX = 256,
    TARGETS_MAX = 1024,   /* addresses to join, of the configuration, of requests and remembered */
    TARGET_ADDRS_MAX = 8, /* of a name's addresses, tried in order */
    JOIN_WHY_MAX = 400,
};

#define NOTE_INCARNATION "node/incarnation"
#define NOTE_MEMBERS     "node/members"
#define NOTE_LEFT        "node/left"

/* An address to join. */
struct target {
    char *text;    /* "host:port"; NULL for a remembered member */
    bool standing; /* of -j or Peering.Join, or remembered: tried again */
    bool reached;  /* once since the start */
    struct addr addrs[TARGET_ADDRS_MAX];
    size_t addr_count, addr_at;
    uint64_t ticket;  /* of the resolve or join under way; 0: idle */
    uint64_t request; /* ticket of the request that waits for it; 0: none */
    uint64_t at_ms;   /* tried next; with a ticket: the next of its addresses is */
    unsigned failures;
    char why[JOIN_WHY_MAX]; /* what its addresses so far have failed by */
};

enum request_kind { REQUEST_JOIN, REQUEST_LEAVE, REQUEST_SHUTDOWN, REQUEST_BY_HAND };

/* A request that is answered later. */
struct request {
    uint64_t ticket, deadline_ms;
    enum request_kind kind;
    size_t waiting; /* JOIN: targets, then notes; LEAVE, BY_HAND: 1 while the note is not stored */
    size_t joined;
    bool kept;            /* JOIN: whom it has found is on the way to the store */
    struct buf failed;    /* JOIN: the elements of "Failed", with their commas */
    uint64_t note_ticket; /* JOIN (or 0), LEAVE, BY_HAND */
};

struct node {
    struct node_config config; /* its texts are copies, in `texts` */
    char **texts;
    size_t text_count;
    struct store *store;
    struct swim *swim;
    struct sync *sync;
    struct rng rng;
    struct keys keys;
    char name[MEMBER_NAME_MAX + 1]; /* full member name */
    uint64_t next_stream, next_ticket;
    uint64_t now_ms, wall_ms; /* of the present step */

    bool started;          /* the first tick has been */
    bool left;             /* for good */
    bool left_noted;       /* the store may say so */
    bool stopping;         /* the goodbye of a shutdown is under way */
    uint64_t silent_at_ms; /* when left: gossip is answered until then */
    bool resting;          /* that is over */
    struct target *targets;
    size_t target_count, target_room;
    struct request *requests;
    size_t request_count, request_room;
    uint64_t remember_at_ms;    /* UINT64_MAX: nothing to remember */
    uint64_t remember_after_ms; /* not before */
    uint64_t notes_refused;
};

/* join.c */
void join_configured(struct node *n);
void join_remembered(struct node *n, struct bytes note);
void join_request(struct node *n, const struct node_event *event, struct effects *out);
void join_resolved(struct node *n, const struct node_event *event, struct effects *out);
void join_done(struct node *n, const struct swim_event *event, struct effects *out);
void join_due(struct node *n, struct effects *out);
void join_all_again(struct node *n);
uint64_t join_deadline(const struct node *n);

/* tell.c: a change of membership, for the log */
void tell_change(struct node *n, const struct swim_event *event, struct effects *out);

/* remember.c */
enum err remember_read(struct node *n, uint32_t *ret_incarnation) MUST_USE;
void remember_incarnation(struct node *n, uint32_t incarnation, struct effects *out);
/* Returns the ticket of the work; 0: there is nobody to remember. */
uint64_t remember_members(struct node *n, struct effects *out);
struct addr remember_addr(struct cursor *in);
void remember_seek(struct node *n); /* all that were remembered are looked for */
void remember_name(struct node *n, struct effects *out);
void remember_note(struct node *n, const char *name, struct bytes value, struct effects *out);
/* Returns the ticket of the work. */
uint64_t remember_left(struct node *n, bool left, struct effects *out);

/* request.c */
void request_take(struct node *n, const struct node_event *event, struct effects *out);
struct request *request_add(struct node *n, uint64_t ticket, enum request_kind kind, uint64_t within_ms);
struct request *request_find(struct node *n, uint64_t ticket);
void request_reply(uint64_t ticket, enum err err, const char *error, struct buf *data, struct effects *out);
void request_due(struct node *n, struct effects *out); /* those that are done or late */
/* The request that waits for this note, if there is one, is answered. */
void request_noted(struct node *n, uint64_t ticket, enum err err, struct effects *out);
void request_stored(struct node *n, uint64_t ticket, enum err err, struct effects *out);
uint64_t request_deadline(const struct node *n);
void request_done(struct request *request);

/* report.c: the JSON under "Data" */
void report_members(struct node *n, struct buf *out);
void report_status(struct node *n, struct buf *out);

/* node.c */
bool node_blocked(const struct node *n, struct bytes name);
uint64_t node_new_ticket(void *node);
bool node_has_company(const struct node *n); /* another member is alive */
bool node_is_going(const struct node *n);    /* left or stopping: a join would undo its goodbye */

#endif
