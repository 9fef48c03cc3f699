#include "seal.h"

#include "check.h"
#include "mem.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum { FINGERPRINT_BYTES = 4 };

struct seal {
    EVP_CIPHER_CTX *cipher; /* keyed; only the nonce and the direction change */
    uint8_t key[SEAL_KEY_MAX];
    size_t key_len;
    uint32_t fingerprint;
};

static uint32_t fingerprint_of(struct bytes key)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    CHECK(EVP_Digest(key.data, key.len, hash, NULL, EVP_sha256(), NULL) == 1);
    return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

struct seal *seal_new(struct bytes key)
{
    CHECK(seal_is_key(key));
    struct seal *seal = mem_new(sizeof *seal);
    memcpy(seal->key, key.data, key.len);
    seal->key_len = key.len;
    seal->fingerprint = fingerprint_of(key);
    seal->cipher = EVP_CIPHER_CTX_new();
    CHECK(seal->cipher);
    const EVP_CIPHER *cipher = key.len == 16   ? EVP_aes_128_gcm()
                               : key.len == 24 ? EVP_aes_192_gcm()
                                               : EVP_aes_256_gcm();
    CHECK(EVP_CipherInit_ex(seal->cipher, cipher, NULL, seal->key, NULL, 1) == 1);
    return seal;
}

void seal_free(struct seal *seal)
{
    if (!seal)
        return;
    EVP_CIPHER_CTX_free(seal->cipher);
    mem_wipe(seal->key, sizeof seal->key);
    free(seal);
}

struct bytes seal_key(const struct seal *seal)
{
    return bytes_of(seal->key, seal->key_len);
}

uint32_t seal_fingerprint(const struct seal *seal)
{
    return seal->fingerprint;
}

/* Gives the cipher its nonce and the associated data. */
static void begin(struct seal *seal, const uint8_t *nonce, bool encrypt, struct seal_context context)
{
    int n;
    CHECK(EVP_CipherInit_ex(seal->cipher, NULL, NULL, NULL, nonce, encrypt) == 1);
    struct bytes parts[] = {context.header, context.label};
    for (size_t i = 0; i < 2; i++)
        if (parts[i].len)
            CHECK(EVP_CipherUpdate(seal->cipher, NULL, &n, parts[i].data, (int)parts[i].len) == 1);
}

static size_t padding_of(unsigned version, size_t plain_len)
{
    return version == SEAL_VERSION_PADDED ? SEAL_BLOCK - plain_len % SEAL_BLOCK : 0;
}

size_t seal_length(unsigned version, size_t plain_len)
{
    return SEAL_OVERHEAD + plain_len + padding_of(version, plain_len);
}

void seal_put(struct seal *seal, unsigned version, const uint8_t nonce[SEAL_NONCE],
              struct seal_context context, struct bytes plain, struct buf *out)
{
    CHECK(version <= SEAL_VERSION);
    size_t padding = padding_of(version, plain.len);
    uint8_t pad[SEAL_BLOCK], *at = buf_extend(out, seal_length(version, plain.len));
    int n = 0, written = 0;
    if (!at)
        return;
    CHECK(plain.len < INT32_MAX);
    *at++ = (uint8_t)version;
    memcpy(at, nonce, SEAL_NONCE);
    at += SEAL_NONCE;
    begin(seal, nonce, true, context);
    if (plain.len)
        CHECK(EVP_CipherUpdate(seal->cipher, at, &n, plain.data, (int)plain.len) == 1);
    written = n;
    if (padding) {
        memset(pad, (int)padding, padding);
        CHECK(EVP_CipherUpdate(seal->cipher, at + written, &n, pad, (int)padding) == 1);
        written += n;
    }
    CHECK((size_t)written == plain.len + padding);
    CHECK(EVP_CipherFinal_ex(seal->cipher, at + written, &n) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(seal->cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, at + written) == 1);
}

/* How many bytes of this are padding; 0 for a padding that is none. */
static size_t padding_at(const uint8_t *plain, size_t len)
{
    size_t padding = len ? plain[len - 1] : 0;
    if (padding == 0 || padding > SEAL_BLOCK || padding > len)
        return 0;
    for (size_t i = len - padding; i < len; i++)
        if (plain[i] != padding)
            return 0;
    return padding;
}

enum err seal_open(struct seal *seal, struct seal_context context, struct bytes sealed, struct buf *out)
{
    if (sealed.len > 0 && sealed.data[0] > SEAL_VERSION)
        return ERR_VERSION;
    if (sealed.len < SEAL_OVERHEAD)
        return ERR_TRUNCATED;
    bool padded = sealed.data[0] == SEAL_VERSION_PADDED;
    const uint8_t *nonce = sealed.data + 1, *text = nonce + SEAL_NONCE;
    size_t before = out->len, len = sealed.len - SEAL_OVERHEAD;
    uint8_t tag[SEAL_TAG], none;
    int n;
    if (len >= INT32_MAX)
        return ERR_TOO_LARGE;
    memcpy(tag, text + len, SEAL_TAG);
    begin(seal, nonce, false, context);
    if (len > 0) {
        uint8_t *at = buf_extend(out, len);
        if (!at)
            return out->err;
        CHECK(EVP_CipherUpdate(seal->cipher, at, &n, text, (int)len) == 1 && (size_t)n == len);
    }
    CHECK(EVP_CIPHER_CTX_ctrl(seal->cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) == 1);
    enum err err = EVP_CipherFinal_ex(seal->cipher, &none, &n) == 1 ? OK : ERR_CHECKSUM;
    size_t padding = err == OK && padded && len > 0 ? padding_at(out->data + before, len) : 0;
    if (err == OK && padded && padding == 0)
        err = ERR_MALFORMED;
    if (err != OK && out->len > before)
        mem_wipe(out->data + before, len);
    out->len = err == OK ? out->len - padding : before;
    return err;
}

/* --- nonces --- */

struct nonces {
    EVP_CIPHER_CTX *cipher;
    uint64_t count;
};

struct nonces *nonces_new(const uint8_t key[NONCES_KEY])
{
    struct nonces *nonces = mem_new(sizeof *nonces);
    nonces->cipher = EVP_CIPHER_CTX_new();
    CHECK(nonces->cipher);
    CHECK(EVP_CipherInit_ex(nonces->cipher, EVP_aes_256_ecb(), NULL, key, NULL, 1) == 1);
    CHECK(EVP_CIPHER_CTX_set_padding(nonces->cipher, 0) == 1);
    return nonces;
}

void nonces_free(struct nonces *nonces)
{
    if (!nonces)
        return;
    EVP_CIPHER_CTX_free(nonces->cipher);
    free(nonces);
}

void nonces_next(struct nonces *nonces, uint8_t ret_nonce[SEAL_NONCE])
{
    uint8_t block[SEAL_BLOCK] = {0}, out[SEAL_BLOCK];
    int n;
    nonces->count++;
    memcpy(block, &nonces->count, sizeof nonces->count);
    CHECK(EVP_CipherUpdate(nonces->cipher, out, &n, block, sizeof block) == 1 && n == SEAL_BLOCK);
    memcpy(ret_nonce, out, SEAL_NONCE);
}
