#include "pattern.h"

#include "machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 9, KEY64_LEN = 16 };

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* All of printable ASCII but the quote and the backslash. */
static const char json_letters[] = " !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`"
                                   "abcdefghijklmnopqrstuvwxyz{|}~";

/* xorshift64 (Marsaglia 2003). */
uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* splitmix64's finish: neighbouring numbers get unlike values. Never 0. */
static uint64_t scattered(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;
    return x ? x : 1;
}

static void put_digits(char *out, uint64_t number)
{
    for (int i = DIGITS; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
}

static void put_key64(char *out, uint64_t number)
{
    char key[3 + DIGITS] = "key";
    put_digits(key + 3, number);
    for (int i = 0; i < 4; i++) {
        uint32_t three = (uint32_t)key[3 * i] << 16 | (uint32_t)key[3 * i + 1] << 8 |
                         (uint32_t)key[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = base64_letters[three >> (18 - 6 * j) & 63];
    }
}

/* Eight bits choose a letter; that some letters come a little more often does no harm. */
static void put_value(char *out, size_t len, uint64_t random, const char *letters, size_t letters_count)
{
    for (size_t i = 0; i < len;) {
        uint64_t bits = random_next(&random);
        for (int j = 0; j < 8 && i < len; j++, i++, bits >>= 8)
            out[i] = letters[(bits & 0xff) * letters_count >> 8];
    }
}

static void fill_hole(const struct pattern *p, const struct hole *hole, uint64_t number, char *out)
{
    switch (hole->kind) {
    case HOLE_NUMBER:
        put_digits(out, number);
        break;
    case HOLE_KEY64:
        put_key64(out, number);
        break;
    case HOLE_VALUE:
        put_value(out, p->value_len, scattered(number ^ p->seed << 40), json_letters,
                  sizeof json_letters - 1);
        break;
    case HOLE_VALUE64:
        put_value(out, p->value_len, scattered(number ^ p->seed << 40), base64_letters,
                  sizeof base64_letters - 1);
        break;
    }
}

void pattern_fill(const struct pattern *p, uint64_t number, char *out)
{
    for (size_t i = 0; i < p->holes_count; i++)
        fill_hole(p, &p->holes[i], number + p->holes[i].add, out + p->holes[i].offset);
}

/* The kind and addend of "{name+K}" at `at`; false when it is a plain brace of JSON. */
static bool read_hole(const char *at, struct hole *ret_hole, size_t *ret_len)
{
    static const char *const names[] = {
        [HOLE_NUMBER] = "{n", [HOLE_KEY64] = "{b64", [HOLE_VALUE] = "{v", [HOLE_VALUE64] = "{v64"};
    for (size_t kind = 0; kind < sizeof names / sizeof *names; kind++) {
        size_t name_len = strlen(names[kind]);
        if (strncmp(at, names[kind], name_len) != 0)
            continue;
        const char *end = at + name_len;
        uint64_t add = *end == '+' ? strtoull(end + 1, (char **)&end, 10) : 0;
        if (*end != '}')
            continue;
        *ret_hole = (struct hole){.kind = (enum hole_kind)kind, .add = add};
        *ret_len = (size_t)(end + 1 - at);
        return true;
    }
    return false;
}

static size_t hole_len(const struct pattern *p, enum hole_kind kind)
{
    return kind == HOLE_NUMBER ? DIGITS : kind == HOLE_KEY64 ? KEY64_LEN : p->value_len;
}

/* Lays `text` out at p->text, or only measures it while that is NULL. */
static void lay_out(struct pattern *p, const char *text)
{
    p->len = p->holes_count = 0;
    for (const char *at = text; *at;) {
        struct hole hole;
        size_t step = 1, len = 1;
        bool is_hole = *at == '{' && read_hole(at, &hole, &step);
        if (is_hole)
            len = hole_len(p, hole.kind);
        if (p->text && is_hole) {
            hole.offset = p->len;
            p->holes[p->holes_count] = hole;
        } else if (p->text) {
            p->text[p->len] = *at;
        }
        p->holes_count += is_hole;
        p->len += len;
        at += step;
    }
}

size_t pattern_len(const char *text, size_t value_len)
{
    struct pattern p = {.value_len = value_len};
    lay_out(&p, text);
    return p.len;
}

void pattern_init(struct pattern *p, const char *text, size_t value_len, uint64_t seed)
{
    *p = (struct pattern){.value_len = value_len, .seed = seed};
    lay_out(p, text);
    p->holes = calloc(p->holes_count + 1, sizeof *p->holes);
    char *room = calloc(p->len + 1, 1);
    if (!p->holes || !room)
        die("memory");
    p->text = room;
    lay_out(p, text);
    pattern_fill(p, 0, p->text);
}

void pattern_done(struct pattern *p)
{
    free(p->text);
    free(p->holes);
    *p = (struct pattern){0};
}
