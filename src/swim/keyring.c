#include "keyring.h"

#include "check.h"
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>

struct keyring {
    struct seal *seals[KEYRING_MAX];
    size_t count;
    struct nonces *nonces;
};

struct keyring *keyring_new(const uint8_t random[NONCES_KEY])
{
    struct keyring *k = mem_new(sizeof *k);
    k->nonces = nonces_new(random);
    return k;
}

void keyring_clear(struct keyring *k)
{
    while (k->count > 0)
        seal_free(k->seals[--k->count]);
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    keyring_clear(k);
    nonces_free(k->nonces);
    free(k);
}

size_t keyring_count(const struct keyring *k)
{
    return k->count;
}

uint32_t keyring_name_at(const struct keyring *k, size_t at)
{
    CHECK(at < k->count);
    return seal_fingerprint(k->seals[at]);
}

struct bytes keyring_key_at(const struct keyring *k, size_t at)
{
    CHECK(at < k->count);
    return seal_key(k->seals[at]);
}

size_t keyring_find(const struct keyring *k, uint32_t name)
{
    size_t at = 0;
    while (at < k->count && seal_fingerprint(k->seals[at]) != name)
        at++;
    return at;
}

enum err keyring_install(struct keyring *k, struct bytes key)
{
    if (!seal_is_key(key))
        return ERR_MALFORMED;
    struct seal *seal = seal_new(key);
    size_t at = keyring_find(k, seal_fingerprint(seal));
    enum err err = at < k->count             ? bytes_equal(seal_key(k->seals[at]), key) ? OK : ERR_EXISTS
                   : k->count == KEYRING_MAX ? ERR_TOO_LARGE
                                             : OK;
    if (err == OK && at == k->count)
        k->seals[k->count++] = seal;
    else
        seal_free(seal);
    return err;
}

enum err keyring_use(struct keyring *k, uint32_t name)
{
    size_t at = keyring_find(k, name);
    if (at == k->count)
        return ERR_NOT_FOUND;
    struct seal *seal = k->seals[at];
    memmove(k->seals + 1, k->seals, at * sizeof(struct seal *));
    k->seals[0] = seal;
    return OK;
}

enum err keyring_remove(struct keyring *k, uint32_t name)
{
    size_t at = keyring_find(k, name);
    if (at == k->count)
        return ERR_NOT_FOUND;
    if (at == 0)
        return ERR_REFUSED;
    seal_free(k->seals[at]);
    k->count--;
    memmove(k->seals + at, k->seals + at + 1, (k->count - at) * sizeof(struct seal *));
    return OK;
}

void keyring_seal(struct keyring *k, size_t at, unsigned version, struct seal_context context,
                  struct bytes plain, struct buf *out)
{
    uint8_t nonce[SEAL_NONCE];
    CHECK(at < k->count);
    nonces_next(k->nonces, nonce);
    seal_put(k->seals[at], version, nonce, context, plain, out);
}

enum err keyring_open(struct keyring *k, struct seal_context context, struct bytes sealed, struct buf *out,
                      size_t *ret_at)
{
    enum err err = ERR_CHECKSUM;
    for (size_t at = 0; at < k->count && err == ERR_CHECKSUM; at++) {
        err = seal_open(k->seals[at], context, sealed, out);
        if (err == OK)
            *ret_at = at;
    }
    return err;
}

const char *key_name_text(uint32_t name, char text[KEYRING_NAME])
{
    snprintf(text, KEYRING_NAME, "%08x", name);
    return text;
}

enum err key_name_parse(struct bytes text, uint32_t *ret_name)
{
    uint32_t name = 0;
    if (text.len != KEYRING_NAME - 1)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9')
            name = name << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            name = name << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return ERR_MALFORMED;
    }
    *ret_name = name;
    return OK;
}
