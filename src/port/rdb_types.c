/* What stands under a key of an RDB file, by its type:
 *
 *    0 string     1 list, 2 set: n strings     4 hash: n pairs of strings
 *    3, 5 sorted set: n pairs of a string and a score, as text (1 byte length; 253 is no
 *         number, 254 and 255 the infinities) or as 8 bytes
 *    10 list, 12 sorted set, 13 hash: a ziplist     11 set: an intset
 *    14 list: n ziplists     18 list: n times 1, string or 2, listpack
 *    16 hash, 17 sorted set, 20 set: a listpack
 *    7 of a module: a number, and parts with their kind in front
 *    15, 19, 21 stream     6, 9, 8: of versions before ours, or unused
 *
 * A collection becomes JSON: arrays of strings, objects with strings or scores. */
#include "json_out.h"
#include "json_valid.h"
#include "rdb.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- a collection, as it is put together ------------------------------------------------ */

enum shape { SHAPE_ARRAY, SHAPE_TEXTS, SHAPE_SCORES };

struct collection {
    enum shape shape;
    struct json_out json;
    bool in_member; /* the name stands there, and its value is next */
    bool no_text;   /* something of it is not UTF-8 */
};

static void put_score(struct collection *c, struct bytes text)
{
    struct json_error error;
    /* Infinities are no JSON, and so are strings. */
    if (json_valid(text, &error) == OK && text.data[0] != '"')
        json_raw(&c->json, text);
    else
        json_string(&c->json, text);
}

static void put_element(struct collection *c, struct bytes text)
{
    c->no_text |= utf8_valid_until(text) < text.len;
    if (c->shape != SHAPE_ARRAY && !c->in_member) {
        json_string(&c->json, text);
        buf_put_u8(c->json.out, ':');
        c->json.comma = false;
        c->in_member = true;
        return;
    }
    if (c->shape == SHAPE_SCORES)
        put_score(c, text);
    else
        json_string(&c->json, text);
    c->in_member = false;
}

/* The shortest digits that are read back as the same number. */
static void put_double(struct collection *c, double score)
{
    char text[40];
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, score);
        if (strtod(text, NULL) == score)
            break;
    }
    put_element(c, bytes_of(text, (size_t)n));
}

static void put_pack(struct collection *c, enum pack_kind kind, struct bytes text, struct cursor *in)
{
    struct pack pack;
    struct bytes entry;
    pack_open(&pack, kind, text);
    while (pack_next(&pack, &entry))
        put_element(c, entry);
    if (pack.in.err != OK)
        cursor_fail(in, ERR_MALFORMED); /* the string is whole, so more of the file is no help */
}

/* ---- reading it ------------------------------------------------------------------------------ */

static void read_strings(struct port *p, struct cursor *in, struct collection *c)
{
    uint64_t left = rdb_length(in);
    for (left *= c->shape == SHAPE_TEXTS ? 2 : 1; left > 0 && in->err == OK; left--) {
        struct bytes text = rdb_string(in, &p->room);
        if (in->err == OK)
            put_element(c, text);
    }
}

static void read_old_score(struct cursor *in, struct collection *c)
{
    uint8_t length = cursor_u8(in);
    static const char *const words[] = {"nan", "inf", "-inf"};
    struct bytes text = length >= 253 ? bytes_str(words[length - 253]) : cursor_bytes(in, length);
    if (in->err == OK)
        put_element(c, text);
}

static void read_scores(struct port *p, struct cursor *in, struct collection *c, bool old)
{
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--) {
        struct bytes text = rdb_string(in, &p->room);
        if (in->err != OK)
            return;
        put_element(c, text);
        if (old) {
            read_old_score(in, c);
            continue;
        }
        uint64_t bits = rdb_u64(in);
        double score;
        memcpy(&score, &bits, sizeof score);
        if (in->err == OK)
            put_double(c, score);
    }
}

static void read_pack(struct port *p, struct cursor *in, struct collection *c, enum pack_kind kind)
{
    struct bytes text = rdb_string(in, &p->room);
    if (in->err == OK)
        put_pack(c, kind, text, in);
}

/* The parts of a long list. */
static void read_parts(struct port *p, struct cursor *in, struct collection *c, bool old)
{
    enum { PLAIN = 1, PACKED = 2 };
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--) {
        uint64_t form = old ? PACKED : rdb_length(in);
        struct bytes text = rdb_string(in, &p->room);
        if (in->err != OK)
            return;
        if (form == PLAIN)
            put_element(c, text);
        else if (form == PACKED)
            put_pack(c, old ? PACK_ZIPLIST : PACK_LISTPACK, text, in);
        else
            cursor_fail(in, ERR_MALFORMED);
    }
}

static void read_collection(struct port *p, struct cursor *in, uint8_t type, struct collection *c)
{
    switch (type) {
    case 1:
    case 2:
    case 4:
        read_strings(p, in, c);
        break;
    case 3:
    case 5:
        read_scores(p, in, c, type == 3);
        break;
    case 11:
        read_pack(p, in, c, PACK_INTSET);
        break;
    case 14:
    case 18:
        read_parts(p, in, c, type == 14);
        break;
    default:
        read_pack(p, in, c, type < 16 ? PACK_ZIPLIST : PACK_LISTPACK);
        break;
    }
}

static enum err emit_collection(struct port *p, struct cursor *in, uint8_t type, struct bytes key,
                                uint64_t expires_ms)
{
    bool hash = type == 4 || type == 13 || type == 16,
         scores = type == 3 || type == 5 || type == 12 || type == 17;
    buf_reset(&p->made);
    struct collection c = {.shape = hash     ? SHAPE_TEXTS
                                    : scores ? SHAPE_SCORES
                                             : SHAPE_ARRAY,
                           .json = json_out_to(&p->made)};
    if (c.shape == SHAPE_ARRAY)
        json_array(&c.json);
    else
        json_object(&c.json);
    read_collection(p, in, type, &c);
    if (in->err == OK && c.in_member)
        cursor_fail(in, ERR_MALFORMED);
    if (in->err != OK)
        return OK; /* the caller looks at it */
    if (c.shape == SHAPE_ARRAY)
        json_array_end(&c.json);
    else
        json_object_end(&c.json);
    if (p->made.err == ERR_NOMEM)
        return ERR_NOMEM;
    if (c.no_text || p->made.err != OK) {
        port_leave_out(p, key, c.no_text ? "an element is not UTF-8, which JSON must be" : "it is too long");
        return OK;
    }
    struct import_line line = {.key = key, .value = buf_bytes(&p->made), .expires_ms = expires_ms};
    return port_emit_line(p, &line);
}

/* ---- what has no place here ------------------------------------------------------------------- */

void rdb_skip_module(struct cursor *in)
{
    enum { END, SIGNED, UNSIGNED, FLOAT, DOUBLE, STRING };
    while (in->err == OK) {
        switch (rdb_length(in)) {
        case END:
            return;
        case SIGNED:
        case UNSIGNED:
            rdb_length(in);
            break;
        case FLOAT:
            cursor_bytes(in, 4);
            break;
        case DOUBLE:
            cursor_bytes(in, 8);
            break;
        case STRING:
            rdb_skip_string(in);
            break;
        default:
            cursor_fail(in, ERR_MALFORMED);
        }
    }
}

static void skip_numbers(struct cursor *in, unsigned count)
{
    while (count-- > 0)
        rdb_length(in);
}

/* Entries that a group was given and has not confirmed; id, time, and how often. */
static void skip_pending(struct cursor *in, bool with_time)
{
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--) {
        cursor_bytes(in, with_time ? 16 + 8 : 16);
        if (with_time)
            rdb_length(in);
    }
}

static void skip_group(struct cursor *in, uint8_t type)
{
    rdb_skip_string(in); /* its name */
    skip_numbers(in, type >= 19 ? 3 : 2);
    skip_pending(in, true);
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--) {
        rdb_skip_string(in); /* a consumer's name */
        cursor_bytes(in, type >= 21 ? 16 : 8);
        skip_pending(in, false);
    }
}

static void skip_stream(struct cursor *in, uint8_t type)
{
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--) {
        rdb_skip_string(in);
        rdb_skip_string(in);
    }
    skip_numbers(in, type >= 19 ? 8 : 3);
    for (uint64_t left = rdb_length(in); left > 0 && in->err == OK; left--)
        skip_group(in, type);
}

static enum err leave_out(struct port *p, struct cursor *in, struct bytes key, const char *why)
{
    if (in->err == OK)
        port_leave_out(p, key, why);
    return OK;
}

enum err rdb_value(struct port *p, struct cursor *in, uint8_t type, struct bytes key, uint64_t expires_ms,
                   struct buf *why)
{
    struct bytes text;
    switch (type) {
    case 0:
        text = rdb_string(in, &p->room);
        return in->err == OK ? port_emit(p, key, text, expires_ms) : OK;
    case 7:
        rdb_length(in);
        rdb_skip_module(in);
        return leave_out(p, in, key, "it is of a module of Redis");
    case 9:
        rdb_skip_string(in);
        return leave_out(p, in, key, "it is a hash in the form of Redis 2.4");
    case 15:
    case 19:
    case 21:
        skip_stream(in, type);
        return leave_out(p, in, key, "it is a stream");
    case 6:
    case 8:
        break;
    default:
        if (type <= 20)
            return emit_collection(p, in, type, key, expires_ms);
        break;
    }
    buf_put_format(why, "a key has type %u, which this program does not know", type);
    return ERR_VERSION;
}
