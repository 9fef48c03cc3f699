/* A store for tests of the HTTP edge: the faces of store.h that the edge calls,
 * over a small table, with a committer thread, and with the states that a real
 * store seldom shows at will: damaged records, a walk half-way, a full disk, a
 * commit that does not come. */
#ifndef YZMA_TESTS_FAKE_STORE_H
#define YZMA_TESTS_FAKE_STORE_H

#include "store.h"

struct fake_store;

struct fake_store *fake_store_new(void (*on_commit)(void *ctx), void *ctx);
void fake_store_free(struct fake_store *fake); /* finishes the queue first */
struct store *fake_store_face(struct fake_store *fake);

enum err fake_store_submit(void *fake, struct store_work *work); /* as http_backend wants it */
void fake_store_hold(struct fake_store *fake, bool hold);        /* commits wait meanwhile */
size_t fake_store_waiting(struct fake_store *fake);
void fake_store_fail(struct fake_store *fake, enum err err);     /* every write ends with it; OK again */
void fake_store_wall(struct fake_store *fake, uint64_t wall_ms); /* of its transactions */
void fake_store_damage(struct fake_store *fake, const char *key);
void fake_store_walk(struct fake_store *fake, const char *after); /* NULL: none */
void fake_store_name(struct fake_store *fake, const char *name);  /* the note about its own replica */
void fake_store_floor(struct fake_store *fake, const struct dot *dot);
/* A peer's version beside what is there; its counters need not be in order. */
void fake_store_put_remote(struct fake_store *fake, const char *key, const char *value, const struct dot *dot,
                           uint64_t stamp, uint64_t expires_ms);

#endif
