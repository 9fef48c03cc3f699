/* AES-GCM as memberlist seals with it. A sealed text is
 *
 *   offset  size  what
 *   0       1     version: 0 (padded to 16 bytes, PKCS#7) or 1 (not padded)
 *   1       12    nonce
 *   13            ciphertext
 *   end-16  16    tag, over ciphertext and associated data
 *
 * The length of the key, 16, 24 or 32 bytes, picks AES-128, 192 or 256. Nonces
 * come in as arguments: nonces (below) makes them. Only this file calls libcrypto. */
#ifndef YZMA_SWIM_SEAL_H
#define YZMA_SWIM_SEAL_H

#include "buf.h"

enum {
    SEAL_VERSION_PADDED = 0,
    SEAL_VERSION = 1,
    SEAL_NONCE = 12,
    SEAL_TAG = 16,
    SEAL_BLOCK = 16,
    SEAL_OVERHEAD = 1 + SEAL_NONCE + SEAL_TAG,         /* also the least that is sealed */
    SEAL_OVERHEAD_PADDED = SEAL_OVERHEAD + SEAL_BLOCK, /* at most */
    SEAL_KEY_MAX = 32,
    NONCES_KEY = 32,
};

static inline bool seal_is_key(struct bytes key)
{
    return key.len == 16 || key.len == 24 || key.len == 32;
}

/* One key with its expanded form, which is made once. */
struct seal;
/* The key is of a length that seal_is_key accepts; copied. */
struct seal *seal_new(struct bytes key);
void seal_free(struct seal *seal); /* takes NULL; wipes */
struct bytes seal_key(const struct seal *seal);
/* The first four bytes of the key's SHA-256: a name for it that gives nothing away
 * of a random key. */
uint32_t seal_fingerprint(const struct seal *seal);

/* What is authenticated beside the text: a frame's header and the label, either
 * may be empty. */
struct seal_context {
    struct bytes header, label;
};

/* Appends the sealed text. A nonce must never be used twice with a key. Look at
 * out->err. */
void seal_put(struct seal *seal, unsigned version, const uint8_t nonce[SEAL_NONCE],
              struct seal_context context, struct bytes plain, struct buf *out);
/* How long seal_put's text will be. */
size_t seal_length(unsigned version, size_t plain_len);

/* Appends the plain text. ERR_CHECKSUM for another key, another context or altered
 * bytes; ERR_VERSION, ERR_TRUNCATED; ERR_MALFORMED for bad padding; out's errors.
 * On failure out is as it was. */
enum err seal_open(struct seal *seal, struct seal_context context, struct bytes sealed,
                   struct buf *out) MUST_USE;

/* A source of nonces: AES-256 of a counter under a random key, cut to 96 bits.
 *
 * All members seal with one key, so no counter of any one of them will do, and the
 * nonces must be as good as random to be different everywhere. Here they are: a
 * block cipher under a secret random key cannot be told from random, and the
 * counter makes the blocks of one source differ. The key must come from the
 * system's random source, new for each process. Then 2^32 packets under one key
 * (100 members that send 10 a second each, for 50 days) meet with probability
 * 2^-33, and 2^38 (ten years) with 2^-21: change keys once a year. A process image
 * that is run twice (a virtual machine resumed twice from one snapshot) would repeat
 * them. */
struct nonces;
struct nonces *nonces_new(const uint8_t key[NONCES_KEY]);
void nonces_free(struct nonces *nonces);
void nonces_next(struct nonces *nonces, uint8_t ret_nonce[SEAL_NONCE]);

#endif
