#include "units.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the order in which they may follow each other. */
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum { DURATION_UNITS = sizeof duration_units / sizeof *duration_units };

static const struct unit size_units[] = {
    {"TiB", (uint64_t)1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1000000000000},
    {"GB", 1000000000},         {"MB", 1000000},  {"KB", 1000},     {"B", 1},
};
enum { SIZE_UNITS = sizeof size_units / sizeof *size_units, SIZE_UNITS_BINARY = 4 };

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Takes the digits at the front of text. */
static enum err take_number(struct bytes *text, uint64_t *ret)
{
    uint64_t n = 0;
    size_t i = 0;
    for (; i < text->len && is_digit(text->data[i]); i++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text->data[i] - '0', &n))
            return ERR_TOO_LARGE;
    if (i == 0)
        return ERR_MALFORMED;
    *text = bytes_of(text->data + i, text->len - i);
    *ret = n;
    return OK;
}

/* Takes everything up to the next digit. */
static struct bytes take_unit(struct bytes *text)
{
    size_t i = 0;
    while (i < text->len && !is_digit(text->data[i]))
        i++;
    struct bytes unit = bytes_of(text->data, i);
    *text = bytes_of(text->data + i, text->len - i);
    return unit;
}

static size_t find_unit(const struct unit *units, size_t count, struct bytes name)
{
    size_t i = 0;
    while (i < count && !bytes_equal(bytes_str(units[i].name), name))
        i++;
    return i;
}

enum err duration_parse(struct bytes text, uint64_t *ret_ms)
{
    if (bytes_equal(text, bytes_str("0"))) {
        *ret_ms = 0;
        return OK;
    }
    uint64_t total = 0;
    size_t allowed = 0; /* units before this one have had their turn */
    do {
        uint64_t n;
        enum err err = take_number(&text, &n);
        if (err != OK)
            return err;
        size_t i = find_unit(duration_units, DURATION_UNITS, take_unit(&text));
        if (i < allowed || i == DURATION_UNITS)
            return ERR_MALFORMED;
        allowed = i + 1;
        if (__builtin_mul_overflow(n, duration_units[i].factor, &n) ||
            __builtin_add_overflow(total, n, &total))
            return ERR_TOO_LARGE;
    } while (text.len > 0);
    *ret_ms = total;
    return OK;
}

enum err size_parse(struct bytes text, uint64_t *ret_bytes)
{
    uint64_t n;
    enum err err = take_number(&text, &n);
    if (err != OK)
        return err;
    if (text.len > 0) {
        size_t i = find_unit(size_units, SIZE_UNITS, text);
        if (i == SIZE_UNITS)
            return ERR_MALFORMED;
        if (__builtin_mul_overflow(n, size_units[i].factor, &n))
            return ERR_TOO_LARGE;
    }
    *ret_bytes = n;
    return OK;
}

enum err number_parse(struct bytes text, uint64_t *ret)
{
    uint64_t n;
    enum err err = take_number(&text, &n);
    if (err == OK && text.len > 0)
        err = ERR_MALFORMED;
    if (err == OK)
        *ret = n;
    return err;
}

char *duration_text(uint64_t ms, char out[UNITS_TEXT_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < DURATION_UNITS; i++) {
        uint64_t n = ms / duration_units[i].factor;
        ms %= duration_units[i].factor;
        if (n > 0)
            at += (size_t)snprintf(out + at, UNITS_TEXT_MAX - at, "%" PRIu64 "%s", n, duration_units[i].name);
    }
    if (at == 0)
        snprintf(out, UNITS_TEXT_MAX, "0s");
    return out;
}

char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
    for (size_t i = 0; i < SIZE_UNITS_BINARY && bytes > 0; i++)
        if (bytes % size_units[i].factor == 0) {
            snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", bytes / size_units[i].factor, size_units[i].name);
            return out;
        }
    snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "B", bytes);
    return out;
}
