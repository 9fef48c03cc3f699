/* The entries of exports that are JSON: each an object, found to be valid before. */
#include "base64.h"
#include "json_scan.h"
#include "port_state.h"

/* A raw name, whatever its case: Consul's command and its API differ in that. */
static bool name_is(struct bytes raw, const char *letters)
{
    size_t length = strlen(letters);
    if (raw.len != length + 2)
        return false;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = raw.data[i + 1];
        if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != (uint8_t)letters[i])
            return false;
    }
    return true;
}

static bool is_word(struct bytes raw, const char *word)
{
    return bytes_equal(raw, bytes_str(word));
}

static enum err complain(struct buf *why, const char *what)
{
    buf_put_text(why, what);
    return ERR_MALFORMED;
}

/* Room for all that is decoded of an entry, so that nothing moves. */
static enum err make_room(struct port *p, struct bytes entry)
{
    buf_reset(&p->room);
    buf_reserve(&p->room, 2 * entry.len);
    return p->room.err;
}

static enum err read_string(struct port *p, struct bytes raw, struct bytes *ret, struct buf *why)
{
    if (!json_is_string(raw))
        return complain(why, "a key or a value is not a string");
    enum err err = json_string_read(raw, &p->room, ret);
    return err == ERR_MALFORMED ? complain(why, "a key or a value has a lone surrogate") : err;
}

static enum err read_base64(struct port *p, struct bytes raw, struct bytes *ret, struct buf *why)
{
    struct bytes text;
    *ret = bytes_of(NULL, 0);
    if (is_word(raw, "null"))
        return OK;
    enum err err = read_string(p, raw, &text, why);
    if (err != OK)
        return err;
    size_t start = p->room.len;
    err = base64_decode(text, &p->room);
    if (err == OK)
        *ret = bytes_of(p->room.data + start, p->room.len - start);
    return err == ERR_MALFORMED ? complain(why, "a key or a value is not base64") : err;
}

/* How a store tells of a key. */
struct pair_form {
    bool (*is)(struct bytes name, const char *what);
    enum err (*read_key)(struct port *p, struct bytes raw, struct bytes *ret, struct buf *why);
    const char *extra; /* a number that has no place here: noted where it is not 0 */
    enum port_note note;
};

static enum err read_pair(struct port *p, struct bytes entry, const struct pair_form *form, struct buf *why)
{
    struct json_scan scan = json_scan_of(entry);
    struct bytes name, raw, key = {0}, value = {0};
    enum err err = make_room(p, entry);
    if (!json_scan_open(&scan, '{'))
        return complain(why, "an entry is no object");
    while (err == OK && json_scan_member(&scan, &name, &raw)) {
        if (form->is(name, "key"))
            err = form->read_key(p, raw, &key, why);
        else if (form->is(name, "value"))
            err = read_base64(p, raw, &value, why);
        else if (form->is(name, form->extra))
            p->notes[form->note] += !is_word(raw, "0");
    }
    return err == OK ? port_emit(p, key, value, 0) : err;
}

/* {"key":"Zm9v","create_revision":2,"mod_revision":2,"version":1,"value":"YmFy","lease":7}: an
 * empty value is not there. */
enum err etcd_entry(void *ctx, struct bytes entry, struct buf *why)
{
    return read_pair(ctx, entry, &(struct pair_form){json_string_is, read_base64, "lease", PORT_LEASES}, why);
}

/* {"key":"foo","flags":0,"value":"YmFy"}, or the same with capitals and more. */
enum err consul_entry(void *ctx, struct bytes entry, struct buf *why)
{
    return read_pair(ctx, entry, &(struct pair_form){name_is, read_string, "flags", PORT_FLAGS}, why);
}

/* Copies the document but for what CouchDB keeps in it for itself: names that begin with
 * an underscore. */
static void copy_document(struct port *p, struct bytes document, bool *ret_deleted)
{
    struct json_scan scan = json_scan_of(document);
    struct bytes name, raw;
    bool first = true;
    *ret_deleted = false;
    buf_reset(&p->made);
    buf_put_u8(&p->made, '{');
    json_scan_open(&scan, '{');
    while (json_scan_member(&scan, &name, &raw)) {
        if (name.len > 2 && name.data[1] == '_') {
            *ret_deleted |= json_string_is(name, "_deleted") && is_word(raw, "true");
            p->notes[PORT_ATTACHMENTS] += json_string_is(name, "_attachments");
            continue;
        }
        if (!first)
            buf_put_u8(&p->made, ',');
        first = false;
        buf_put_bytes(&p->made, name);
        buf_put_u8(&p->made, ':');
        buf_put_bytes(&p->made, raw);
    }
    buf_put_u8(&p->made, '}');
}

static enum err take_document(struct port *p, struct bytes key, struct bytes document)
{
    bool deleted;
    if (bytes_starts_with(key, bytes_str("_design/"))) {
        p->notes[PORT_DESIGNS]++;
        return OK;
    }
    if (document.data[0] != '{') { /* null: it is deleted */
        p->notes[PORT_DELETED]++;
        return OK;
    }
    copy_document(p, document, &deleted);
    if (deleted) {
        p->notes[PORT_DELETED]++;
        return OK;
    }
    struct import_line line = {.key = key, .value = buf_bytes(&p->made)};
    return p->made.err == OK ? port_emit_line(p, &line) : p->made.err;
}

/* {"id":"foo","key":"foo","value":{"rev":"1-9c"},"doc":{"_id":"foo","_rev":"1-9c",..}}; of keys
 * that were asked for and are not there {"key":"foo","error":"not_found"}. */
enum err couchdb_entry(void *ctx, struct bytes entry, struct buf *why)
{
    struct port *p = ctx;
    struct json_scan scan = json_scan_of(entry);
    struct bytes name, raw, key = {0}, document = {0};
    bool absent = false;
    enum err err = make_room(p, entry);
    if (!json_scan_open(&scan, '{'))
        return complain(why, "a row is no object");
    while (err == OK && json_scan_member(&scan, &name, &raw)) {
        if (json_string_is(name, "id"))
            err = read_string(p, raw, &key, why);
        else if (json_string_is(name, "doc"))
            document = raw;
        else if (json_string_is(name, "error"))
            absent = true;
    }
    if (err != OK)
        return err;
    if (absent) {
        p->notes[PORT_DELETED]++;
        return OK;
    }
    if (!document.data)
        return complain(why, "its rows have no \"doc\": ask CouchDB with include_docs=true");
    return take_document(p, key, document);
}
