/* A world of whole nodes in virtual time: the pure node, a store in memory, and a
 * network and a committer made of a heap of events. One seed gives one run.
 *
 * Nodes are numbered from 0; node i lives at 10.0.0.(i+1), gossips at port 7946 and
 * replicates at 7947. Its disk (the engine) outlives its process. */
#ifndef YZMA_TESTS_WORLD_H
#define YZMA_TESTS_WORLD_H

#include "node.h"

enum { WORLD_NODES_MAX = 16 };

struct world;

struct world_options {
    uint64_t seed;
    unsigned delay_ms;          /* one way; default 1 */
    unsigned loss_permille;     /* of datagrams */
    uint64_t history_ms;        /* default an hour */
    uint64_t forget_after_ms;   /* default 72 hours */
    uint64_t history_max_bytes; /* default 1 GiB */
    unsigned record_us;         /* what the committer takes per record, one work after another; default 0 */
    bool uncompressed;          /* Peering.Compression off; else auto */
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *w);

/* Starts node i: on a new disk, or on the one it had. Joins the listed nodes. */
void world_start(struct world *w, int i, const int *join, int join_count);
void world_start_alone(struct world *w, int i);
void world_kill(struct world *w, int i); /* kill -9: the others' connections break */
void world_wipe(struct world *w, int i); /* its disk is gone; the node must be down */
void world_save(struct world *w, int i); /* a copy of its disk, taken now */
/* ..and put in place; the node must be down. Over the same file (as a snapshot of the
 * whole disk would be): only the peers can tell; else the store sees another file. */
void world_restore(struct world *w, int i, bool same_file);
/* A machine cloned with name and disk, as it was at the save; the second has never run. */
void world_copy(struct world *w, int from, int to);
void world_move(struct world *w, int i, int address);    /* next start: 10.0.0.(address+1) */
void world_cut(struct world *w, int a, int b, bool cut); /* no bytes either way; connections hang */
/* Next start: replication speaks no newer protocol than this. */
void world_protocol(struct world *w, int i, uint16_t highest);
void world_clock_offset(struct world *w, int i, int64_t ms);
/* Peering.Keys and Peering.Label: at the next start; of a running node, keys at once,
 * as by SIGHUP. They stay the caller's. */
void world_keys(struct world *w, int i, const struct bytes *keys, size_t count);
void world_label(struct world *w, int i, const char *label);
/* Peering.Block with one name (NULL: empty): at the next start; of a running node at once. */
void world_block(struct world *w, int i, const char *name);
/* Next start: these versions (swim.h), and another name than it had. They stay the caller's. */
void world_vsn(struct world *w, int i, const uint8_t vsn[6]);
void world_rename(struct world *w, int i, int number);
/* The record under a key becomes bytes that nobody can read. */
void world_damage(struct world *w, int i, const char *key);
/* The engine of a running node's store, for damage of other kinds. */
struct engine *world_engine(struct world *w, int i);
void world_disk_full(struct world *w, int i, bool full);

void world_run(struct world *w, uint64_t ms);
/* Runs until the condition holds; false when it does not within ms. */
bool world_until(struct world *w, bool (*condition)(struct world *w, const void *arg), const void *arg,
                 uint64_t ms);
uint64_t world_now(const struct world *w);

/* A client at node i. put and delete return what the store said. */
enum err world_put(struct world *w, int i, const char *key, const char *value);
enum err world_put_with(struct world *w, int i, const char *key, const char *value,
                        const struct token *token);
/* Expires so long from now, by a clock without offset. */
enum err world_put_expiring(struct world *w, int i, const char *key, const char *value, uint64_t in_ms);
enum err world_delete(struct world *w, int i, const char *key);
/* The surfaced value as text, or NULL (also where it cannot be read); valid until the next call. */
const char *world_get(struct world *w, int i, const char *key);
size_t world_versions(struct world *w, int i, const char *key);
void world_read_token(struct world *w, int i, const char *key, struct token *ret);

/* Requests, answered as the API would; the answer's Data as text. A name to join may be
 * several addresses with commas between them, as if a resolver had given them. */
const char *world_request(struct world *w, int i, enum node_request request, const char *name,
                          enum err *ret_err, uint64_t within_ms);

/* With two names. */
const char *world_request_two(struct world *w, int i, enum node_request request, const char *name,
                              const char *other, enum err *ret_err, uint64_t within_ms);

/* The same without waiting for the answer. */
void world_ask(struct world *w, int i, enum node_request request, const char *name);
const char *world_request_forced(struct world *w, int i, enum node_request request, const char *name,
                                 enum err *ret_err, uint64_t within_ms);

/* All running nodes hold equal versions and equal clocks. */
bool world_agrees(struct world *w, const void *unused);
/* Node i lists exactly `count` members in this status ("alive", ..). */
int world_members(struct world *w, int i, const char *status);

/* How long a write that came now would wait for the committer. */
uint64_t world_backlog_ms(const struct world *w, int i);

uint64_t world_counter(struct world *w, int i, const char *name);
uint64_t world_bytes_sent(struct world *w, int from, int to); /* on replication streams, since the start */
/* What node i has sent since the start, or since the last world_forget_bytes. */
struct world_traffic {
    uint64_t datagrams, datagram_bytes;
    uint64_t gossip_bytes, sync_bytes; /* on streams */
};
struct world_traffic world_traffic(const struct world *w, int i);
void world_forget_bytes(struct world *w);
bool world_noticed(const struct world *w, const char *text); /* some node has said it */
bool world_noticed_by(const struct world *w, int i, const char *text);
size_t world_notices_by(const struct world *w, int i, const char *text); /* so many lines of it */
uint64_t world_hash(const struct world *w); /* of everything that happened: for replays */
void world_replica_id(struct world *w, int i, struct replica_id *ret);
struct store *world_store(struct world *w, int i);
size_t world_rows(struct world *w, int i);    /* rows in its store */
size_t world_records(struct world *w, int i); /* records in its store, those without versions included */

#endif
