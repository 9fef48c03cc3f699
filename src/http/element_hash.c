/* Hashes of elements as text, apart from element.c: who reads lines of an import has no store. */
#include "element.h"

void element_hash_text(struct bytes hash, char out[ELEMENT_HASH_TEXT])
{
    for (size_t i = 0; i < ELEMENT_HASH_SIZE; i++) {
        out[2 * i] = "0123456789abcdef"[hash.data[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[hash.data[i] & 15];
    }
}

enum err element_hash_parse(struct bytes text, uint8_t out[ELEMENT_HASH_SIZE])
{
    if (text.len != ELEMENT_HASH_TEXT)
        return ERR_MALFORMED;
    memset(out, 0, ELEMENT_HASH_SIZE);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return ERR_MALFORMED;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | digit);
    }
    return OK;
}
