/* Stores over the memory engine, and one call for each thing that tests do to
 * them. */
#ifndef YZMA_TESTS_STOREKIT_H
#define YZMA_TESTS_STOREKIT_H

#include "engine_mem.h"
#include "store.h"

struct replica_id kit_id(unsigned n);
struct dot kit_dot(unsigned replica, uint64_t counter);

/* A store with id kit_id(n) over a new memory engine; or over this one. */
struct store *kit_store(unsigned n);
struct store *kit_store_on(struct engine *engine, unsigned n);

/* Does one piece of work in a transaction of its own, and frees it. The result is
 * the work's, or the engine's. */
enum err kit_do(struct store *store, struct store_work *work);
/* The same, and the caller frees. */
enum err kit_run(struct store *store, struct store_work *work);

/* A write at wall time 1,000,000; dot and token may be NULL. */
enum err kit_put(struct store *store, const char *key, const char *value, const struct token *token,
                 struct dot *ret_dot);
enum err kit_add(struct store *store, const char *key, const char *value, struct dot *ret_dot);
enum err kit_delete(struct store *store, const char *key, const struct token *token, struct dot *ret_dot);

/* The surfaced value; "" for none, "!" for an error. Lives until the next call. */
const char *kit_value(struct store *store, const char *key);
size_t kit_versions(struct store *store, const char *key);
uint64_t kit_clock(struct store *store, unsigned replica);
uint64_t kit_floor(struct store *store, unsigned replica);
size_t kit_rows(struct store *store);
uint64_t kit_keys(struct store *store);

/* Work of rows or walks, with room for a megabyte of payload. */
struct store_work *kit_rows_work(enum work_kind kind);
/* Adds an entry; row may be NULL, record empty. All is copied. */
void kit_add_entry(struct store_work *work, const struct row *row, struct bytes key, struct bytes record);
/* Adds a row and its key's present record, each key's once. */
void kit_add_row(struct store_work *work, struct snapshot *from, const struct row *row);

/* Sends the next rows of one replica that `to` lacks, at most max, as replication
 * would. ERR_FLOOR when only a walk will do; check_floor = false weakens that. */
enum err kit_send(struct store *from, struct store *to, const struct replica_id *origin, size_t max,
                  bool check_floor);

/* A walk of `to`: begun; its next piece of records or rows, from any source; a
 * whole one. */
enum err kit_walk_start(struct store *to);
enum err kit_walk_piece(struct store *to, struct store *from, size_t max);
bool kit_walking(struct store *store);
enum err kit_walk(struct store *to, struct store *from);

/* Raises the floor, in as many transactions as it takes. */
enum err kit_prune(struct store *store, const struct clock *floor);

#endif
