/* The keys that a node seals with and can open: the first one seals, all are tried
 * when something is opened, the first one first.
 *
 * The ring belongs to the node, not to swim, so that it outlives a swim that
 * begins anew, and with it the one source of nonces. */
#ifndef YZMA_SWIM_KEYRING_H
#define YZMA_SWIM_KEYRING_H

#include "seal.h"

enum {
    KEYRING_MAX = 8, /* each is tried on whatever cannot be opened; a rotation needs two */
    KEYRING_NAME = 9 /* 8 hex digits and a NUL */
};

struct keyring;
/* random: from the system's random source, new for each process; see seal.h. */
struct keyring *keyring_new(const uint8_t random[NONCES_KEY]);
void keyring_free(struct keyring *keyring); /* takes NULL; wipes */

size_t keyring_count(const struct keyring *keyring);
/* The name of the key at a place; place 0 seals. */
uint32_t keyring_name_at(const struct keyring *keyring, size_t at);
struct bytes keyring_key_at(const struct keyring *keyring, size_t at);
/* The place of a key; keyring_count when it is not there. */
size_t keyring_find(const struct keyring *keyring, uint32_t name);

/* Adds a key at the end, or as the first one of an empty ring. OK also when it is
 * there; ERR_MALFORMED for a wrong length, ERR_TOO_LARGE for a full ring, ERR_EXISTS
 * for another key of the same name. */
enum err keyring_install(struct keyring *keyring, struct bytes key) MUST_USE;
/* Makes it the first one; the others keep their order. ERR_NOT_FOUND. */
enum err keyring_use(struct keyring *keyring, uint32_t name) MUST_USE;
/* ERR_REFUSED for the first one, ERR_NOT_FOUND. */
enum err keyring_remove(struct keyring *keyring, uint32_t name) MUST_USE;
void keyring_clear(struct keyring *keyring);

/* Seals with the key at a place, under the next nonce. */
void keyring_seal(struct keyring *keyring, size_t at, unsigned version, struct seal_context context,
                  struct bytes plain, struct buf *out);
/* Tries all; ret_at is the place of the one that fits. Errors as seal_open's. */
enum err keyring_open(struct keyring *keyring, struct seal_context context, struct bytes sealed,
                      struct buf *out, size_t *ret_at) MUST_USE;

/* A name as text: 8 hex digits. */
const char *key_name_text(uint32_t name, char text[KEYRING_NAME]);
enum err key_name_parse(struct bytes text, uint32_t *ret_name) MUST_USE;

#endif
