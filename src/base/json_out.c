#include "json_out.h"

#include "base64.h"
#include "utf8.h"

static void begin_value(struct json_out *j)
{
    if (j->comma)
        buf_put_u8(j->out, ',');
    j->comma = true;
}

static void open_with(struct json_out *j, char bracket)
{
    begin_value(j);
    buf_put_u8(j->out, (uint8_t)bracket);
    j->comma = false;
}

static void close_with(struct json_out *j, char bracket)
{
    buf_put_u8(j->out, (uint8_t)bracket);
    j->comma = true;
}

void json_object(struct json_out *j)
{
    open_with(j, '{');
}

void json_object_end(struct json_out *j)
{
    close_with(j, '}');
}

void json_array(struct json_out *j)
{
    open_with(j, '[');
}

void json_array_end(struct json_out *j)
{
    close_with(j, ']');
}

void json_name(struct json_out *j, const char *name)
{
    json_text(j, name);
    buf_put_u8(j->out, ':');
    j->comma = false;
}

static void put_escape(struct buf *out, uint8_t c)
{
    static const char short_forms[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (c == '"' || c == '\\')
        buf_put_format(out, "\\%c", c);
    else if (short_forms[c])
        buf_put_format(out, "\\%c", short_forms[c]);
    else
        buf_put_format(out, "\\u%04x", c);
}

void json_string(struct json_out *j, struct bytes text)
{
    begin_value(j);
    buf_put_u8(j->out, '"');
    size_t written = 0, at = 0; /* [written, at) needs no change */
    while (at < text.len) {
        uint8_t c = text.data[at];
        size_t length = utf8_length(bytes_of(text.data + at, text.len - at));
        if (length > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += length;
            continue;
        }
        buf_put(j->out, text.data + written, at - written);
        if (length == 0)
            buf_put_text(j->out, "\xef\xbf\xbd"); /* U+FFFD */
        else
            put_escape(j->out, c);
        written = ++at;
    }
    if (at > written)
        buf_put(j->out, text.data + written, at - written);
    buf_put_u8(j->out, '"');
}

void json_text(struct json_out *j, const char *text)
{
    json_string(j, bytes_str(text));
}

void json_number(struct json_out *j, uint64_t number)
{
    begin_value(j);
    buf_put_format(j->out, "%llu", (unsigned long long)number);
}

void json_bool(struct json_out *j, bool value)
{
    begin_value(j);
    buf_put_text(j->out, value ? "true" : "false");
}

void json_null(struct json_out *j)
{
    begin_value(j);
    buf_put_text(j->out, "null");
}

void json_base64(struct json_out *j, struct bytes bytes)
{
    begin_value(j);
    buf_put_u8(j->out, '"');
    buf_put_base64(j->out, bytes);
    buf_put_u8(j->out, '"');
}

void json_raw(struct json_out *j, struct bytes json)
{
    begin_value(j);
    buf_put_bytes(j->out, json);
}

void json_field_string(struct json_out *j, const char *name, struct bytes text)
{
    json_name(j, name);
    json_string(j, text);
}

void json_field_text(struct json_out *j, const char *name, const char *text)
{
    json_field_string(j, name, bytes_str(text));
}

void json_field_number(struct json_out *j, const char *name, uint64_t number)
{
    json_name(j, name);
    json_number(j, number);
}

void json_field_bool(struct json_out *j, const char *name, bool value)
{
    json_name(j, name);
    json_bool(j, value);
}

static bool is_white(uint8_t c)
{
    return c == ' ' || c == '\t';
}

bool json_keeps_in_line(struct bytes value)
{
    return value.len && !memchr(value.data, '\n', value.len) && !memchr(value.data, '\r', value.len) &&
           !is_white(value.data[0]) && !is_white(value.data[value.len - 1]);
}
