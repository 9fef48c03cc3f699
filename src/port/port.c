#include "port.h"

#include "json_valid.h"
#include "media.h"
#include "mem.h"
#include "port_state.h"
#include "record.h"
#include "utf8.h"

#include <stdlib.h>

/* The last moment of which RFC 3339 has a text: 9999-12-31T23:59:59.999Z. */
#define EXPIRES_MAX_MS UINT64_C(253402300799999)

/* ---- what comes out ------------------------------------------------------------------- */

void port_leave_out(struct port *p, struct bytes key, const char *why)
{
    if (bytes_starts_with(key, p->options.only))
        p->sink.left_out(p->sink.ctx, key, why);
}

static const char *wrong_with_key(struct bytes key)
{
    if (key.len == 0)
        return "its key is empty";
    if (key.len > KEY_MAX)
        return "its key is longer than 480 bytes";
    if (memchr(key.data, '\0', key.len))
        return "its key has a NUL in it";
    if (utf8_valid_until(key) < key.len)
        return "its key is not UTF-8";
    return NULL;
}

static const char *wrong_with_name(struct bytes name)
{
    return space_name_valid(name) ? NULL : "its name is longer than 460 bytes, or has a NUL or U+0001 in it";
}

enum err port_emit_line(struct port *p, const struct import_line *line)
{
    struct import_line record = *line;
    if (!bytes_starts_with(line->key, p->options.only))
        return OK;
    buf_reset(&p->key);
    buf_put_bytes(&p->key, p->options.into);
    buf_put_bytes(&p->key, line->key);
    if (p->key.err != OK)
        return p->key.err;
    record.key = buf_bytes(&p->key);
    if (p->options.into.len)
        record.context = bytes_of(NULL, 0); /* it is of another key */
    if (record.expires_ms > EXPIRES_MAX_MS)
        record.expires_ms = EXPIRES_MAX_MS;
    const char *wrong = record.space == SPACE_KEYS ? wrong_with_key(record.key) : wrong_with_name(record.key);
    if (!wrong && record.value.len > VALUE_MAX)
        wrong = "its value is longer than 256 MiB";
    if (!wrong)
        return p->sink.record(p->sink.ctx, &record);
    port_leave_out(p, line->key, wrong);
    return OK;
}

enum err port_emit(struct port *p, struct bytes key, struct bytes value, uint64_t expires_ms)
{
    struct import_line line = {.key = key, .value = value, .expires_ms = expires_ms};
    struct json_error error;
    const char *type = p->options.type;
    bool is_json = (!type || media_is_json(type)) && json_valid(value, &error) == OK;
    if (!is_json && type && media_is_json(type)) {
        port_leave_out(p, key, "its value is not JSON");
        return OK;
    }
    if (!is_json)
        line.type = bytes_str(type ? type : "application/octet-stream");
    return port_emit_line(p, &line);
}

/* ---- lines of our own ------------------------------------------------------------------- */

static enum err take_line(struct port *p, struct bytes text, struct buf *why)
{
    struct import_line line;
    struct buf problem;
    p->lines++;
    while (text.len && memchr(" \t\r", text.data[text.len - 1], 3))
        text.len--;
    if (text.len == 0)
        return OK;
    buf_init(&problem, 400);
    enum err err = import_line_read(text, VALUE_MAX, &p->room, &line, &problem);
    if (problem.len) {
        buf_put_format(why, "line %llu: ", (unsigned long long)p->lines);
        buf_put_bytes(why, buf_bytes(&problem));
    }
    buf_done(&problem);
    if (err != OK || line.does == LINE_PASSES)
        return err;
    if (line.does != LINE_LACKS)
        return port_emit_line(p, &line);
    port_leave_out(p, line.key, "what wrote this could not read its record");
    return OK;
}

static enum err keep_part(struct port *p, struct bytes part, struct buf *why)
{
    buf_put_bytes(&p->line, part);
    if (p->line.err == ERR_TOO_LARGE)
        buf_put_format(why, "line %llu is longer than %d MiB", (unsigned long long)p->lines + 1,
                       PORT_ENTRY_MAX >> 20);
    return p->line.err;
}

static enum err feed_lines(struct port *p, struct bytes piece, struct buf *why)
{
    enum err err = OK;
    while (err == OK && piece.len) {
        const uint8_t *end = memchr(piece.data, '\n', piece.len);
        struct bytes part = bytes_of(piece.data, end ? (size_t)(end - piece.data) : piece.len);
        size_t used = end ? part.len + 1 : part.len;
        piece = bytes_of(piece.data + used, piece.len - used);
        if (!end)
            return keep_part(p, part, why);
        if (p->line.len == 0) {
            err = take_line(p, part, why);
            continue;
        }
        err = keep_part(p, part, why);
        if (err == OK)
            err = take_line(p, buf_bytes(&p->line), why);
        buf_reset(&p->line);
    }
    return err;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum err (*entry)(void *ctx, struct bytes entry, struct buf *why); /* NULL: it is no JSON array */
    const char *member, *marker;
} kinds[PORTS] = {
    [PORT_YZMA] = {"yzma", NULL, NULL, NULL},
    [PORT_ETCD] = {"etcd", etcd_entry, "kvs", "header"}, /* without keys it leaves "kvs" out */
    [PORT_CONSUL] = {"consul", consul_entry, NULL, NULL},
    [PORT_COUCHDB] = {"couchdb", couchdb_entry, "rows", NULL},
    [PORT_REDIS] = {"redis", NULL, NULL, NULL},
};

enum err port_named(const char *name, enum port_from *ret)
{
    for (int i = 0; i < PORTS; i++)
        if (strcmp(name, kinds[i].name) == 0) {
            *ret = (enum port_from)i;
            return OK;
        }
    return ERR_NOT_FOUND;
}

struct port *port_new(enum port_from from, const struct port_options *options, const struct port_sink *sink)
{
    struct port *p = mem_new(sizeof *p);
    p->from = from;
    p->options = *options;
    p->sink = *sink;
    buf_init(&p->key, SIZE_MAX);
    buf_init(&p->room, SIZE_MAX);
    buf_init(&p->made, PORT_ENTRY_MAX);
    buf_init(&p->line, PORT_ENTRY_MAX);
    elements_init(&p->elements, kinds[from].member, kinds[from].marker);
    p->elements.element_max = PORT_ENTRY_MAX;
    p->elements.each = kinds[from].entry;
    p->elements.ctx = p;
    if (from == PORT_REDIS)
        p->rdb = rdb_new();
    return p;
}

void port_free(struct port *p)
{
    if (!p)
        return;
    buf_done(&p->key);
    buf_done(&p->room);
    buf_done(&p->made);
    buf_done(&p->line);
    elements_done(&p->elements);
    rdb_free(p->rdb);
    free(p);
}

enum err port_feed(struct port *p, struct bytes piece, struct buf *why)
{
    return p->rdb                 ? rdb_feed(p, piece, why)
           : p->from == PORT_YZMA ? feed_lines(p, piece, why)
                                  : elements_feed(&p->elements, piece, why);
}

enum err port_end(struct port *p, struct buf *why)
{
    if (p->rdb)
        return rdb_end(p, why);
    if (p->from != PORT_YZMA)
        return elements_end(&p->elements, why);
    return p->line.len ? take_line(p, buf_bytes(&p->line), why) : OK;
}

uint64_t port_noted(const struct port *p, enum port_note note)
{
    return p->notes[note];
}

const char *port_note_text(enum port_note note)
{
    static const char *const texts[PORT_NOTES] = {
        [PORT_LEASES] = "keys had a lease, and are kept without an end: the export does not say when it is",
        [PORT_FLAGS] = "keys had flags, which are not kept",
        [PORT_ATTACHMENTS] = "documents had attachments, which are not in the export",
        [PORT_DESIGNS] = "design documents were passed over",
        [PORT_DELETED] = "rows were of deleted or absent documents",
        [PORT_FUNCTIONS] = "libraries of functions, or data of modules that is no key, were passed over",
    };
    return texts[note];
}
