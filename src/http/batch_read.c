#include "batch_read.h"

#include "base64.h"
#include "etag.h"
#include "json_scan.h"
#include "json_valid.h"
#include "media.h"
#include "mem.h"
#include "params.h"
#include "units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum member {
    MEMBER_OP,
    MEMBER_KEY,
    MEMBER_VALUE,
    MEMBER_VALUE64,
    MEMBER_TYPE,
    MEMBER_TTL,
    MEMBER_EXPIRES,
    MEMBER_MODE,
    MEMBER_IF_MATCH,
    MEMBER_IF_NONE_MATCH,
    MEMBERS
};

static const char *const member_names[MEMBERS] = {
    [MEMBER_OP] = "Op",
    [MEMBER_KEY] = "Key",
    [MEMBER_VALUE] = "Value",
    [MEMBER_VALUE64] = "Value64",
    [MEMBER_TYPE] = "Type",
    [MEMBER_TTL] = "TTL",
    [MEMBER_EXPIRES] = "Expires",
    [MEMBER_MODE] = "Mode",
    [MEMBER_IF_MATCH] = "IfMatch",
    [MEMBER_IF_NONE_MATCH] = "IfNoneMatch",
};

struct reader {
    const struct batch_limits *limits;
    struct store_work *work;
    struct buf *why;
    size_t index;                 /* of the operation at hand */
    struct bytes values[MEMBERS]; /* its members, raw; data NULL: not there */
};

__attribute__((format(printf, 3, 4))) static enum err refuse(struct reader *r, enum err err,
                                                             const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_put_format(r->why, "operation %zu: %s", r->index, text);
    return err;
}

static bool has(const struct reader *r, enum member member)
{
    return r->values[member].data != NULL;
}

/* A member that is a string. Texts are decoded into the work's own buffer, which has
 * room for the whole body, so nothing moves. */
static enum err read_text(struct reader *r, enum member member, struct bytes *ret)
{
    struct bytes raw = r->values[member];
    if (!json_is_string(raw))
        return refuse(r, ERR_MALFORMED, "\"%s\" must be a string", member_names[member]);
    enum err err = json_string_read(raw, &r->work->batch.text, ret);
    if (err == ERR_MALFORMED)
        return refuse(r, err, "\"%s\" has a lone surrogate", member_names[member]);
    return err;
}

/* The same, as a C text that ends with NUL. */
static enum err read_c_text(struct reader *r, enum member member, const char **ret)
{
    struct bytes text;
    struct buf *room = &r->work->batch.text;
    enum err err = read_text(r, member, &text);
    if (err != OK)
        return err;
    if (text.len && memchr(text.data, '\0', text.len))
        return refuse(r, ERR_MALFORMED, "\"%s\" has a NUL in it", member_names[member]);
    size_t start = room->len;
    buf_put_bytes(room, text);
    buf_put_u8(room, '\0');
    if (room->err == OK)
        *ret = (const char *)room->data + start;
    return room->err;
}

static enum err take_member(struct reader *r, struct bytes name, struct bytes value)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (!json_string_is(name, member_names[i]))
            continue;
        if (has(r, (enum member)i))
            return refuse(r, ERR_MALFORMED, "\"%s\" is repeated", member_names[i]);
        r->values[i] = value;
        return OK;
    }
    buf_put_format(r->why, "operation %zu: ", r->index);
    buf_put_bytes(r->why, bytes_of(name.data, name.len < 100 ? name.len : 100));
    buf_put_text(r->why, " is unknown");
    return ERR_MALFORMED;
}

static enum err read_key(struct reader *r, struct write_work *write)
{
    if (!has(r, MEMBER_KEY))
        return refuse(r, ERR_MALFORMED, "\"%s\" is missing", "Key");
    enum err err = read_text(r, MEMBER_KEY, &write->key);
    if (err != OK)
        return err;
    if (write->key.len == 0 || write->key.len > KEY_MAX || memchr(write->key.data, '\0', write->key.len))
        return refuse(r, ERR_MALFORMED, "\"%s\" must have 1 to 480 bytes without NUL", "Key");
    return OK;
}

static enum err read_op(struct reader *r, struct write_work *write)
{
    if (!has(r, MEMBER_OP))
        return refuse(r, ERR_MALFORMED, "\"%s\" is missing", "Op");
    write->remove = json_string_is(r->values[MEMBER_OP], "delete");
    if (!write->remove && !json_string_is(r->values[MEMBER_OP], "put"))
        return refuse(r, ERR_MALFORMED, "\"%s\" must be \"put\" or \"delete\"", "Op");
    static const enum member of_puts[] = {MEMBER_VALUE, MEMBER_VALUE64, MEMBER_TYPE,
                                          MEMBER_TTL,   MEMBER_EXPIRES, MEMBER_MODE};
    for (size_t i = 0; write->remove && i < sizeof of_puts / sizeof *of_puts; i++)
        if (has(r, of_puts[i]))
            return refuse(r, ERR_MALFORMED, "\"%s\" does not belong to a delete", member_names[of_puts[i]]);
    return OK;
}

static enum err read_type(struct reader *r, struct write_work *write)
{
    const char *type;
    if (!has(r, MEMBER_TYPE))
        return OK;
    if (!has(r, MEMBER_VALUE64))
        return refuse(r, ERR_MALFORMED, "\"%s\" belongs to \"Value64\"", "Type");
    enum err err = read_c_text(r, MEMBER_TYPE, &type);
    if (err != OK)
        return err;
    if (!media_is_type(type))
        return refuse(r, ERR_MALFORMED, "\"%s\" is not a media type", "Type");
    write->type = media_is_json(type) ? bytes_of(NULL, 0) : bytes_str(type);
    return OK;
}

static enum err read_value64(struct reader *r, struct write_work *write)
{
    struct bytes text;
    struct buf *room = &r->work->batch.text;
    enum err err = read_text(r, MEMBER_VALUE64, &text);
    if (err != OK)
        return err;
    size_t start = room->len;
    err = base64_decode(text, room);
    if (err == ERR_MALFORMED)
        return refuse(r, err, "\"%s\" is not base64", "Value64");
    if (err != OK)
        return err;
    write->value = bytes_of(room->data + start, room->len - start);
    return OK;
}

static enum err read_value(struct reader *r, struct write_work *write)
{
    if (has(r, MEMBER_VALUE) == has(r, MEMBER_VALUE64))
        return refuse(r, ERR_MALFORMED, "a put has %s", "either \"Value\" or \"Value64\"");
    write->value = r->values[MEMBER_VALUE];
    enum err err = has(r, MEMBER_VALUE64) ? read_value64(r, write) : OK;
    if (err == OK)
        err = read_type(r, write);
    if (err != OK)
        return err;
    if (write->value.len > r->limits->value_max)
        return refuse(r, ERR_TOO_LARGE, "its value is larger than allowed (%s)", "API.MaxValueBytes");
    /* What was written as base64 may still be JSON: then it must be. */
    struct json_check check;
    json_check_init(&check);
    if (has(r, MEMBER_VALUE64) && write->type.len == 0 &&
        (json_check_feed(&check, write->value) != OK || json_check_end(&check) != OK))
        return refuse(r, ERR_MALFORMED, "\"%s\" without \"Type\" must be JSON", "Value64");
    return OK;
}

static enum err read_expiry(struct reader *r, struct write_work *write)
{
    struct bytes text;
    uint64_t ms;
    if (has(r, MEMBER_TTL) && has(r, MEMBER_EXPIRES))
        return refuse(r, ERR_MALFORMED, "\"%s\" contradicts \"TTL\"", "Expires");
    if (has(r, MEMBER_TTL)) {
        enum err err = read_text(r, MEMBER_TTL, &text);
        if (err != OK)
            return err;
        if (duration_parse(text, &ms) != OK || ms < 1 || ms > TTL_MAX_MS)
            return refuse(r, ERR_MALFORMED, "\"%s\" must be a duration like 90s, from 1ms to 36525d", "TTL");
        write->expires_ms = r->limits->wall_ms + ms;
    }
    if (has(r, MEMBER_EXPIRES)) {
        enum err err = read_text(r, MEMBER_EXPIRES, &text);
        if (err != OK)
            return err;
        if (instant_parse(text, &ms) != OK || ms <= r->limits->wall_ms)
            return refuse(r, ERR_MALFORMED, "\"%s\" must be a moment that is to come (RFC 3339)", "Expires");
        write->expires_ms = ms;
    }
    return OK;
}

static enum err read_tags(struct reader *r, enum member member, struct tag_list *ret)
{
    const char *text;
    if (!has(r, member))
        return OK;
    enum err err = read_c_text(r, member, &text);
    if (err == OK && etag_list_parse(text, member == MEMBER_IF_MATCH, ret) != OK)
        err = refuse(r, ERR_MALFORMED, "\"%s\" must be \"*\" or at most 16 entity tags",
                     member_names[member]);
    return err;
}

/* Conditions have a place for each operation from the first that has one on: the
 * array does not move while writes borrow from it. */
static enum err read_condition(struct reader *r, struct write_work *write)
{
    struct batch_work *batch = &r->work->batch;
    if (!has(r, MEMBER_IF_MATCH) && !has(r, MEMBER_IF_NONE_MATCH))
        return OK;
    if (!batch->conditions)
        batch->conditions = calloc(TXN_RECORDS_MAX, sizeof *batch->conditions);
    if (!batch->conditions)
        return ERR_NOMEM;
    struct condition *condition = &batch->conditions[r->index];
    write->condition = condition;
    enum err err = read_tags(r, MEMBER_IF_MATCH, &condition->match);
    return err == OK ? read_tags(r, MEMBER_IF_NONE_MATCH, &condition->none_match) : err;
}

static enum err read_mode(struct reader *r, struct write_work *write)
{
    enum mode mode = MODE_OF_CONFLICT;
    if (has(r, MEMBER_MODE)) {
        mode = json_string_is(r->values[MEMBER_MODE], "add") ? MODE_ADD : MODE_REPLACE;
        if (mode == MODE_REPLACE && !json_string_is(r->values[MEMBER_MODE], "replace"))
            return refuse(r, ERR_MALFORMED, "\"%s\" must be \"add\" or \"replace\"", "Mode");
    }
    write->add = r->limits->adds(r->limits->ctx, mode, write->condition);
    return OK;
}

static enum err read_operation(struct reader *r, struct bytes value)
{
    struct json_scan scan = json_scan_of(value);
    struct bytes name, member;
    memset(r->values, 0, sizeof r->values);
    if (!json_scan_open(&scan, '{'))
        return refuse(r, ERR_MALFORMED, "must be an object");
    while (json_scan_member(&scan, &name, &member)) {
        enum err err = take_member(r, name, member);
        if (err != OK)
            return err;
    }
    struct write_work *write = store_work_add_write(r->work);
    enum err err = read_op(r, write);
    if (err == OK)
        err = read_key(r, write);
    if (err == OK)
        err = read_condition(r, write);
    if (err != OK || write->remove)
        return err;
    err = read_value(r, write);
    if (err == OK)
        err = read_expiry(r, write);
    return err == OK ? read_mode(r, write) : err;
}

/* By key, then by place. */
static int by_key(const void *a, const void *b)
{
    const struct write_work *wa = *(const struct write_work *const *)a,
                            *wb = *(const struct write_work *const *)b;
    int c = bytes_compare(wa->key, wb->key);
    return c ? c : (wa > wb) - (wa < wb);
}

static enum err check_keys_differ(struct reader *r)
{
    const struct batch_work *batch = &r->work->batch;
    const struct write_work **sorted = mem_new((batch->count + 1) * sizeof *sorted);
    enum err err = OK;
    for (size_t i = 0; i < batch->count; i++)
        sorted[i] = &batch->writes[i];
    qsort(sorted, batch->count, sizeof *sorted, by_key);
    for (size_t i = 1; i < batch->count && err == OK; i++)
        if (bytes_equal(sorted[i - 1]->key, sorted[i]->key)) {
            r->index = (size_t)(sorted[i] - batch->writes);
            err = refuse(r, ERR_MALFORMED, "\"%s\" is that of an earlier operation", "Key");
        }
    free(sorted);
    return err;
}

static enum err read_operations(struct reader *r, struct bytes ops)
{
    struct json_scan scan = json_scan_of(ops);
    struct bytes value;
    enum err err = OK;
    if (!json_scan_open(&scan, '['))
        return ERR_MALFORMED;
    for (r->index = 0; err == OK && json_scan_element(&scan, &value); r->index++) {
        if (r->index == TXN_RECORDS_MAX)
            return refuse(r, ERR_TOO_LARGE, "a batch has at most %s", "10000");
        err = read_operation(r, value);
    }
    return err == OK ? check_keys_differ(r) : err;
}

enum err batch_read(struct bytes text, const struct batch_limits *limits, struct store_work *work,
                    struct buf *why)
{
    struct reader r = {.limits = limits, .work = work, .why = why};
    struct json_scan scan = json_scan_of(text);
    struct bytes name, ops = {0};
    /* What is decoded is shorter than it was, but for the NULs behind C texts, each of
     * which had two quotes, and what is copied once more to get one. */
    buf_init(&work->batch.text, 2 * text.len);
    buf_reserve(&work->batch.text, 2 * text.len);
    if (work->batch.text.err != OK)
        return work->batch.text.err;
    bool whole = json_scan_open(&scan, '{') && json_scan_member(&scan, &name, &ops) &&
                 json_string_is(name, "Ops") && !json_scan_member(&scan, &name, &(struct bytes){0});
    enum err err = whole ? read_operations(&r, ops) : ERR_MALFORMED;
    if (err != OK && !why->len)
        buf_put_text(why, "body must be {\"Ops\":[..]} and nothing else");
    return err;
}
