#include "read.h"

#include "mem.h"
#include "units.h"

#include <stdlib.h>
#include <yajl/yajl_parse.h>

bool read_is_json(struct bytes text)
{
    yajl_handle handle = yajl_alloc(NULL, NULL, NULL);
    bool good = handle && yajl_parse(handle, text.data, text.len) == yajl_status_ok &&
                yajl_complete_parse(handle) == yajl_status_ok;
    if (handle)
        yajl_free(handle);
    return good;
}

struct bytes read_member(struct bytes object, const char *name)
{
    struct bytes at, value;
    struct json_scan s = json_scan_of(object);
    if (object.len && json_scan_open(&s, '{'))
        while (json_scan_member(&s, &at, &value))
            if (json_string_is(at, name))
                return value;
    return bytes_of(NULL, 0);
}

char *read_text(struct bytes raw)
{
    struct buf room;
    struct bytes text;
    buf_init(&room, SIZE_MAX);
    if (!json_is_string(raw))
        text = bytes_of(NULL, 0);
    else if (json_string_read(raw, &room, &text) != OK)
        text = bytes_of(raw.data + 1, raw.len - 2);
    char *copy = mem_text_of(text);
    buf_done(&room);
    return copy;
}

char *read_member_text(struct bytes object, const char *name)
{
    return read_text(read_member(object, name));
}

uint64_t read_number(struct bytes raw)
{
    uint64_t n;
    return number_parse(raw, &n) == OK ? n : 0;
}

uint64_t read_member_number(struct bytes object, const char *name)
{
    return read_number(read_member(object, name));
}

bool read_is(struct bytes raw, const char *literal)
{
    return bytes_equal(raw, bytes_str(literal));
}

struct json_scan read_array(struct bytes raw)
{
    struct json_scan s = json_scan_of(raw);
    if (!raw.len || !json_scan_open(&s, '['))
        s.text = bytes_of(NULL, 0);
    return s;
}

bool read_next(struct json_scan *s, struct bytes *ret_element)
{
    return s->text.len && json_scan_element(s, ret_element);
}

size_t read_count(struct bytes array)
{
    struct json_scan s = read_array(array);
    struct bytes element;
    size_t n = 0;
    while (read_next(&s, &element))
        n++;
    return n;
}
