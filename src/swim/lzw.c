#include "lzw.h"

enum {
    CLEAR = 256,
    END = 257,
    WIDTH_MIN = 9,
    WIDTH_MAX = 12,
    CODES = 1 << WIDTH_MAX,
    NO_CODE = CODES,
    LAST_CODE = CODES - 1, /* never given out by the encoder: reaching it clears */
};

/* --- encoder --- */

/* The known strings: (code of all but the last byte, last byte) -> code, in open
 * addressing. An entry packs the 20 bits of its key above its 12-bit code; no
 * entry is 0, because no code below 258 is ever stored. */
enum { SLOTS = 2 * CODES };

struct encoder {
    struct buf *out;
    uint32_t bits;
    unsigned held, width, high, overflow;
    uint32_t table[SLOTS];
};

static uint32_t *slot_of(struct encoder *e, uint32_t key)
{
    uint32_t i = (key * 2654435761u) >> 19; /* Fibonacci hashing to 13 bits */
    while (e->table[i] != 0 && e->table[i] >> WIDTH_MAX != key)
        i = (i + 1) % SLOTS;
    return &e->table[i];
}

static void start_over(struct encoder *e)
{
    e->width = WIDTH_MIN;
    e->high = END;
    e->overflow = 1 << WIDTH_MIN;
    memset(e->table, 0, sizeof e->table);
}

static void emit(struct encoder *e, unsigned code)
{
    e->bits |= (uint32_t)code << e->held;
    e->held += e->width;
    for (; e->held >= 8; e->held -= 8, e->bits >>= 8)
        buf_put_u8(e->out, (uint8_t)e->bits);
}

/* Counts one emitted code. False when that used up the last one: the table is
 * then empty and the clear code sent. */
static bool advance(struct encoder *e)
{
    e->high++;
    if (e->high == e->overflow) {
        e->width++;
        e->overflow <<= 1;
    }
    if (e->high < LAST_CODE)
        return true;
    emit(e, CLEAR);
    start_over(e);
    return false;
}

void lzw_encode(struct bytes plain, struct buf *out)
{
    struct encoder e = {.out = out};
    start_over(&e);
    emit(&e, CLEAR);
    if (plain.len > 0) {
        uint32_t known = plain.data[0];
        for (size_t i = 1; i < plain.len; i++) {
            uint32_t key = known << 8 | plain.data[i];
            uint32_t *slot = slot_of(&e, key);
            if (*slot != 0) {
                known = *slot & LAST_CODE;
                continue;
            }
            emit(&e, known);
            known = plain.data[i];
            if (advance(&e))
                *slot = key << WIDTH_MAX | e.high;
        }
        emit(&e, known);
        advance(&e);
    }
    emit(&e, END);
    if (e.held > 0)
        buf_put_u8(out, (uint8_t)e.bits);
}

/* --- decoder --- */

struct decoder {
    struct buf *out;
    unsigned width, high, last; /* high: the code that the next one will define */
    uint16_t prefix[CODES];
    uint8_t suffix[CODES];
    uint8_t text[CODES + 1];
};

/* Writes the string of a code and gives its first byte. */
static uint8_t expand(struct decoder *d, unsigned code)
{
    size_t at = sizeof d->text;
    bool pending = code == d->high && d->last != NO_CODE;
    if (pending) /* the string being defined: the last one and its own first byte */
        at--, code = d->last;
    while (code >= CLEAR) {
        d->text[--at] = d->suffix[code];
        code = d->prefix[code];
    }
    d->text[--at] = (uint8_t)code;
    if (pending)
        d->text[sizeof d->text - 1] = (uint8_t)code;
    buf_put(d->out, d->text + at, sizeof d->text - at);
    return (uint8_t)code;
}

static void forget_codes(struct decoder *d)
{
    d->width = WIDTH_MIN;
    d->high = END;
    d->last = NO_CODE;
}

/* One code that stands for a string. */
static enum err take_code(struct decoder *d, unsigned code)
{
    if (code > d->high)
        return ERR_MALFORMED;
    uint8_t first = expand(d, code);
    if (d->last != NO_CODE) {
        d->suffix[d->high] = first;
        d->prefix[d->high] = (uint16_t)d->last;
    }
    d->last = code;
    d->high++;
    if (d->high == 1u << d->width) {
        if (d->width < WIDTH_MAX) {
            d->width++;
        } else { /* the table is full: nothing more is defined until a clear */
            d->last = NO_CODE;
            d->high--;
        }
    }
    return d->out->err;
}

enum err lzw_decode(struct bytes packed, struct buf *out)
{
    struct decoder d = {.out = out};
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    forget_codes(&d);
    for (;;) {
        for (; held < d.width; held += 8) {
            if (at == packed.len)
                return ERR_TRUNCATED;
            bits |= (uint32_t)packed.data[at++] << held;
        }
        unsigned code = bits & ((1u << d.width) - 1);
        bits >>= d.width;
        held -= d.width;
        if (code == END)
            return out->err;
        if (code == CLEAR) {
            forget_codes(&d);
            continue;
        }
        enum err err = take_code(&d, code);
        if (err != OK)
            return err;
    }
}
