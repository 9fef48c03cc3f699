/* Events as text: lines of JSON, or server-sent events (WHATWG HTML, 9.2), each perhaps
 * in a chunk of its own (RFC 9112, 7.1), so that a stream can be cut behind any of them. */
#include "element.h"
#include "exchange.h"
#include "watch.h"

#include <stdio.h>
#include <time.h>

static const char *const kinds[] = {
    [FEED_PUT] = "put", [FEED_DELETE] = "delete", [FEED_DAMAGED] = "damaged", [FEED_LISTED] = "listed"};

static void put_stamp(struct json_out *j, uint64_t stamp)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)stamp);
    json_field_text(j, "Stamp", text);
}

static void put_number(struct json_out *j, const struct feed_event *event)
{
    char text[UNITS_TEXT_MAX] = "null"; /* it does not fit */
    if (event->has_number)
        snprintf(text, sizeof text, "%lld", (long long)event->number);
    json_name(j, "Value");
    json_raw(j, bytes_str(text));
}

/* The value, as the event's space tells of it. */
static void put_value(struct json_out *j, const struct feed_event *event, bool one_line)
{
    if (event->name.space == SPACE_COUNTERS)
        put_number(j, event);
    else if (event->name.space == SPACE_SETS)
        element_put(j, event->version);
    else
        value_put(j, event->version, one_line);
}

static void put_hash(struct json_out *j, struct bytes hash)
{
    char text[ELEMENT_HASH_TEXT];
    element_hash_text(hash, text);
    json_field_string(j, "Hash", bytes_of(text, sizeof text));
}

void watch_event_json(struct json_out *j, struct snapshot *snapshot, const struct feed_event *event,
                      bool values, bool one_line, struct bytes cursor)
{
    char id[REPLICA_ID_TEXT];
    json_object(j);
    json_field_text(j, "Kind", kinds[event->kind]);
    if (event->name.space == SPACE_COUNTERS || event->name.space == SPACE_SETS)
        json_field_text(j, "Space", event->name.space == SPACE_SETS ? "sets" : "counters");
    if (event->kind != FEED_LISTED)
        json_field_string(j, "Key", event->name.name);
    if (event->name.space == SPACE_SETS)
        put_hash(j, event->name.hash);
    if (event->version) {
        if (values)
            put_value(j, event, one_line);
        value_put_expiry(j, event->version);
        put_stamp(j, event->version->stamp);
    }
    if (event->kind == FEED_PUT || event->kind == FEED_DELETE)
        json_field_string(j, "Node", node_of(snapshot, &event->replica, id));
    if (cursor.len)
        json_field_string(j, "Cursor", cursor);
    json_object_end(j);
}

/* ---- in a stream ------------------------------------------------------------------ */

enum { CHUNK_DIGITS = 8 };

static size_t chunk_begin(struct buf *out, unsigned variant)
{
    if (variant & WATCH_CHUNKED)
        buf_put_text(out, "00000000\r\n");
    return out->len;
}

/* The size is known only now. */
static void chunk_end(struct buf *out, unsigned variant, size_t begun)
{
    if (!(variant & WATCH_CHUNKED) || out->err != OK)
        return;
    char digits[CHUNK_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08x", (unsigned)(out->len - begun));
    memcpy(out->data + begun - CHUNK_DIGITS - 2, digits, CHUNK_DIGITS);
    buf_put_text(out, "\r\n");
}

static void sse_open(struct buf *out, const char *kind, struct bytes cursor)
{
    if (cursor.len) {
        buf_put_text(out, "id: ");
        buf_put_bytes(out, cursor);
        buf_put_text(out, "\n");
    }
    if (kind)
        buf_put_format(out, "event: %s\ndata: ", kind);
}

static void message_end(struct buf *out, unsigned variant)
{
    buf_put_text(out, variant & WATCH_SSE ? "\n\n" : "\n");
}

void watch_put_event(struct buf *out, unsigned variant, struct snapshot *snapshot,
                     const struct feed_event *event, struct bytes cursor)
{
    size_t begun = chunk_begin(out, variant);
    struct json_out j = json_out_to(out);
    if (variant & WATCH_SSE)
        sse_open(out, kinds[event->kind], cursor);
    watch_event_json(&j, snapshot, event, variant & WATCH_VALUES, true,
                     variant & WATCH_SSE ? bytes_of(NULL, 0) : cursor);
    message_end(out, variant);
    chunk_end(out, variant, begun);
}

void watch_put_note(struct buf *out, unsigned variant, const char *kind, const char *reason,
                    struct bytes cursor)
{
    size_t begun = chunk_begin(out, variant);
    bool beats = strcmp(kind, "heartbeat") == 0;
    if (variant & WATCH_SSE) {
        /* Without data it is no event to a browser, but it takes the id. */
        if (beats)
            buf_put_text(out, ":\n");
        sse_open(out, beats ? NULL : kind, cursor);
    }
    if (!(variant & WATCH_SSE) || !beats) {
        struct json_out j = json_out_to(out);
        json_object(&j);
        json_field_text(&j, "Kind", kind);
        if (reason)
            json_field_text(&j, "Reason", reason);
        if (cursor.len && !(variant & WATCH_SSE))
            json_field_string(&j, "Cursor", cursor);
        json_object_end(&j);
        buf_put_text(out, "\n");
    }
    if (variant & WATCH_SSE)
        buf_put_text(out, "\n");
    chunk_end(out, variant, begun);
}

void watch_put_head(struct buf *out, unsigned variant)
{
    char date[64] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    buf_put_format(out,
                   "HTTP/1.1 200 OK\r\n%sContent-Type: %s\r\nCache-Control: no-store\r\nVary: Accept\r\n"
                   "Connection: close\r\n%s\r\n",
                   date, variant & WATCH_SSE ? "text/event-stream" : "application/x-ndjson",
                   variant & WATCH_CHUNKED ? "Transfer-Encoding: chunked\r\n" : "");
}

void watch_put_end(struct buf *out, unsigned variant)
{
    if (variant & WATCH_CHUNKED)
        buf_put_text(out, "0\r\n\r\n");
}
