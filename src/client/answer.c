/* What nodes answer, read; what they are asked, written. */
#include "client.h"

#include "read.h"

enum { TEXT_MAX = 64 << 10 };

void client_put_plain(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        /* U+0080 to U+009F are as good as an escape to some terminals. */
        bool high = c == 0xc2 && i + 1 < text.len && text.data[i + 1] < 0xa0;
        i += high;
        buf_put_u8(out, high || c < ' ' || c == 0x7f ? '?' : c);
    }
}

static void put_string(struct bytes raw, struct buf *out)
{
    struct buf room;
    struct bytes text;
    buf_init(&room, TEXT_MAX);
    if (json_is_string(raw) && json_string_read(raw, &room, &text) == OK)
        client_put_plain(out, text);
    buf_done(&room);
}

enum err client_envelope(struct bytes body, struct bytes *ret_data, struct buf *error, struct buf *why)
{
    struct bytes name, value, data = {0};
    bool status = false;
    struct json_scan s = json_scan_of(body);
    /* Found valid first: json_scan trusts what it walks through. */
    if (read_is_json(body) && json_scan_open(&s, '{'))
        while (json_scan_member(&s, &name, &value)) {
            if (json_string_is(name, "Status"))
                status = json_string_is(value, "ok") || json_string_is(value, "error");
            else if (json_string_is(name, "Error"))
                put_string(value, error);
            else if (json_string_is(name, "Data"))
                data = value;
        }
    if (!status) {
        buf_put_text(why, "that is no answer of a YzmaDB");
        return ERR_MALFORMED;
    }
    *ret_data = data;
    return OK;
}

void client_explain(const struct client_answer *answer, struct buf *why)
{
    struct buf error, unused;
    struct bytes data;
    buf_init(&error, TEXT_MAX);
    buf_init(&unused, TEXT_MAX);
    if (client_envelope(buf_bytes(&answer->body), &data, &error, &unused) == OK && error.len)
        buf_put_bytes(why, buf_bytes(&error));
    else
        buf_put_format(why, "%s answers %u", answer->server, answer->status);
    buf_done(&error);
    buf_done(&unused);
}

/* ---- targets ------------------------------------------------------------------------ */

static void put_escaped(struct buf *target, struct bytes text, const char *kept)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c && strchr(kept, c));
        if (plain)
            buf_put_u8(target, c);
        else
            buf_put_format(target, "%%%02X", c);
    }
}

void client_put_path(struct buf *target, const char *path, struct bytes key)
{
    buf_put_text(target, path);
    put_escaped(target, key, "-._~/");
}

void client_put_param(struct buf *target, const char *name, struct bytes value)
{
    bool more = target->len && memchr(target->data, '?', target->len);
    buf_put_format(target, "%c%s=", more ? '&' : '?', name);
    put_escaped(target, value, "-._~/:");
}

void client_put_param_text(struct buf *target, const char *name, const char *value)
{
    client_put_param(target, name, bytes_str(value));
}

const char *client_target(struct buf *target)
{
    buf_put_u8(target, 0);
    return target->err == OK ? (const char *)target->data : NULL;
}
