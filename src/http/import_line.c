#include "import_line.h"

#include "base64.h"
#include "element.h"
#include "json_out.h"
#include "json_scan.h"
#include "json_valid.h"
#include "media.h"
#include "record.h"
#include "units.h"
#include "utf8.h"

#include <stdio.h>

enum member {
    MEMBER_KEY,
    MEMBER_VALUE,
    MEMBER_VALUE64,
    MEMBER_TYPE,
    MEMBER_EXPIRES,
    MEMBER_SIBLING,
    MEMBER_COUNTER,
    MEMBER_SET,
    MEMBER_ELEMENT,
    MEMBER_CONTEXT,
    /* Of events alone: */
    MEMBER_KIND,
    MEMBER_SPACE,
    MEMBER_HASH,
    MEMBER_STAMP,
    MEMBER_NODE,
    MEMBER_CURSOR,
    MEMBER_REASON,
    MEMBERS
};

static const char *const member_names[MEMBERS] = {
    "Key",     "Value", "Value64", "Type", "Expires", "Sibling", "Counter", "Set",   "Element",
    "Context", "Kind",  "Space",   "Hash", "Stamp",   "Node",    "Cursor",  "Reason"};

struct reader {
    struct bytes values[MEMBERS]; /* raw; data NULL: not there */
    uint64_t value_max;
    struct buf *room, *why;
};

static enum err refuse(struct reader *r, const char *member, const char *problem)
{
    if (r->why->len == 0)
        buf_put_format(r->why, "\"%s\" %s", member, problem);
    return ERR_MALFORMED;
}

static bool has(const struct reader *r, enum member member)
{
    return r->values[member].data != NULL;
}

static enum err read_text(struct reader *r, enum member member, struct bytes *ret)
{
    if (!json_is_string(r->values[member]))
        return refuse(r, member_names[member], "must be a string");
    enum err err = json_string_read(r->values[member], r->room, ret);
    return err == ERR_MALFORMED ? refuse(r, member_names[member], "has a lone surrogate") : err;
}

static enum err take_member(struct reader *r, struct bytes name, struct bytes value)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (!json_string_is(name, member_names[i]))
            continue;
        if (has(r, (enum member)i))
            return refuse(r, member_names[i], "is repeated");
        r->values[i] = value;
        return OK;
    }
    /* How a stream says that it ends before its time. */
    if (json_string_is(name, "Error"))
        return refuse(r, "Error", "is said here by what wrote this: it was broken off");
    buf_put_bytes(r->why, bytes_of(name.data, name.len < 100 ? name.len : 100));
    buf_put_text(r->why, " is unknown");
    return ERR_MALFORMED;
}

static enum err read_members(struct reader *r, struct bytes line)
{
    struct json_error error;
    if (json_valid(line, &error) != OK) {
        buf_put_format(r->why, "it is not JSON: %s at column %zu", error.reason,
                       text_position(line, error.offset).column);
        return ERR_MALFORMED;
    }
    struct json_scan scan = json_scan_of(line);
    struct bytes name, value;
    enum err err = OK;
    if (!json_scan_open(&scan, '{')) {
        buf_put_text(r->why, "it must be an object");
        return ERR_MALFORMED;
    }
    while (err == OK && json_scan_member(&scan, &name, &value))
        err = take_member(r, name, value);
    return err;
}

static enum err read_name(struct reader *r, enum member member, struct bytes *ret)
{
    enum err err = read_text(r, member, ret);
    if (err == OK && !space_name_valid(*ret))
        return refuse(r, member_names[member], "must have 1 to 460 bytes without NUL and U+0001");
    return err;
}

/* Only these members may be there. */
static enum err check_members(struct reader *r, const char *of, unsigned members)
{
    for (int i = 0; i < MEMBERS; i++)
        if (has(r, (enum member)i) && !(members >> i & 1)) {
            char problem[80];
            snprintf(problem, sizeof problem, "does not belong to %s", of);
            return refuse(r, member_names[i], problem);
        }
    return OK;
}

static enum err read_counter(struct reader *r, struct import_line *line)
{
    enum err err = check_members(r, "a counter", 1U << MEMBER_COUNTER | 1U << MEMBER_VALUE);
    if (err == OK)
        err = read_name(r, MEMBER_COUNTER, &line->key);
    if (err != OK)
        return err;
    line->space = SPACE_COUNTERS;
    line->has_number = has(r, MEMBER_VALUE) && json_integer_read(r->values[MEMBER_VALUE], &line->number);
    return line->has_number
               ? OK
               : refuse(r, "Value", "of a counter must be a whole number of 64 bits with a sign");
}

static enum err read_element(struct reader *r, struct import_line *line)
{
    enum err err = check_members(r, "a set", 1U << MEMBER_SET | 1U << MEMBER_ELEMENT);
    if (err == OK)
        err = read_name(r, MEMBER_SET, &line->key);
    if (err == OK && !has(r, MEMBER_ELEMENT))
        err = refuse(r, "Element", "is missing");
    line->space = SPACE_SETS;
    line->value = r->values[MEMBER_ELEMENT];
    return err;
}

static enum err read_key(struct reader *r, struct bytes *ret)
{
    if (!has(r, MEMBER_KEY))
        return refuse(r, "Key", "is missing");
    enum err err = read_text(r, MEMBER_KEY, ret);
    if (err != OK)
        return err;
    if (ret->len == 0 || ret->len > KEY_MAX || memchr(ret->data, '\0', ret->len))
        return refuse(r, "Key", "must have 1 to 480 bytes without NUL");
    return OK;
}

static enum err read_type(struct reader *r, struct bytes *ret)
{
    char text[CONTENT_TYPE_MAX + 1];
    struct bytes type;
    if (!has(r, MEMBER_TYPE))
        return OK;
    if (!has(r, MEMBER_VALUE64))
        return refuse(r, "Type", "belongs to \"Value64\"");
    enum err err = read_text(r, MEMBER_TYPE, &type);
    if (err != OK)
        return err;
    if (type.len > CONTENT_TYPE_MAX || (type.len && memchr(type.data, '\0', type.len)))
        return refuse(r, "Type", "is not a media type");
    if (type.len)
        memcpy(text, type.data, type.len);
    text[type.len] = '\0';
    if (!media_is_type(text))
        return refuse(r, "Type", "is not a media type");
    *ret = media_is_json(text) ? bytes_of(NULL, 0) : type;
    return OK;
}

static enum err read_value64(struct reader *r, struct bytes type, struct bytes *ret)
{
    struct bytes text;
    struct json_error error;
    enum err err = read_text(r, MEMBER_VALUE64, &text);
    if (err != OK)
        return err;
    size_t start = r->room->len;
    err = base64_decode(text, r->room);
    if (err == ERR_MALFORMED)
        return refuse(r, "Value64", "is not base64");
    if (err != OK)
        return err;
    *ret = bytes_of(r->room->data + start, r->room->len - start);
    if (type.len == 0 && json_valid(*ret, &error) != OK)
        return refuse(r, "Value64", "without \"Type\" must be JSON");
    return OK;
}

static enum err read_value(struct reader *r, struct import_line *line)
{
    if (has(r, MEMBER_VALUE) == has(r, MEMBER_VALUE64))
        return refuse(r, "Value", "or \"Value64\" must be there, one of them");
    line->value = r->values[MEMBER_VALUE];
    enum err err = read_type(r, &line->type);
    if (err == OK && has(r, MEMBER_VALUE64))
        err = read_value64(r, line->type, &line->value);
    if (err == OK && line->value.len > r->value_max) {
        buf_put_text(r->why, "its value is larger than allowed (API.MaxValueBytes)");
        err = ERR_TOO_LARGE;
    }
    return err;
}

static enum err read_expiry(struct reader *r, uint64_t *ret_ms)
{
    struct bytes text;
    uint64_t ms;
    if (!has(r, MEMBER_EXPIRES))
        return OK;
    enum err err = read_text(r, MEMBER_EXPIRES, &text);
    if (err != OK)
        return err;
    if (instant_parse(text, &ms) != OK || ms == 0)
        return refuse(r, "Expires", "must be a moment (RFC 3339)");
    *ret_ms = ms;
    return OK;
}

static enum err read_sibling(struct reader *r, bool *ret)
{
    if (!has(r, MEMBER_SIBLING))
        return OK;
    *ret = bytes_equal(r->values[MEMBER_SIBLING], bytes_str("true"));
    if (!*ret && !bytes_equal(r->values[MEMBER_SIBLING], bytes_str("false")))
        return refuse(r, "Sibling", "must be true or false");
    return OK;
}

static enum err read_pair(struct reader *r, struct import_line *line)
{
    if (has(r, MEMBER_ELEMENT))
        return refuse(r, "Element", "belongs to \"Set\"");
    enum err err = read_key(r, &line->key);
    if (err == OK)
        err = read_value(r, line);
    if (err == OK)
        err = read_expiry(r, &line->expires_ms);
    if (err == OK)
        err = read_sibling(r, &line->sibling);
    if (err == OK && has(r, MEMBER_CONTEXT))
        err = read_text(r, MEMBER_CONTEXT, &line->context);
    if (err == OK && has(r, MEMBER_CONTEXT) && !line->context.len)
        err = refuse(r, "Context", "is empty");
    if (err == OK && has(r, MEMBER_CONTEXT) && line->sibling)
        err = refuse(r, "Context", "contradicts \"Sibling\"");
    return err;
}

/* ---- events -------------------------------------------------------------------------------- */

/* Is this member the string, one of the names? */
static bool names_one(const struct reader *r, enum member member, const char *const *names, size_t count,
                      size_t *ret)
{
    for (size_t i = 0; i < count; i++)
        if (has(r, member) && json_string_is(r->values[member], names[i])) {
            *ret = i;
            return true;
        }
    return false;
}

static enum err read_kind(struct reader *r, enum line_does *ret)
{
    static const char *const kinds[] = {"put", "delete", "damaged", "listed", "heartbeat", "behind", "gone"};
    static const enum line_does does[] = {LINE_PUTS, LINE_REMOVES, LINE_LACKS, LINE_PASSES};
    size_t i;
    if (!names_one(r, MEMBER_KIND, kinds, sizeof kinds / sizeof *kinds, &i))
        return refuse(r, "Kind", "is none of an event's");
    *ret = i < sizeof does / sizeof *does ? does[i] : LINE_PASSES;
    return OK;
}

/* The name stands under Key whatever it is of: it is put where the lines of an export have it. */
static enum err read_space(struct reader *r, enum space *ret)
{
    static const char *const spaces[] = {"keys", "counters", "sets"};
    static const enum member names[] = {MEMBER_KEY, MEMBER_COUNTER, MEMBER_SET};
    size_t i = 0;
    if (has(r, MEMBER_SPACE) && !names_one(r, MEMBER_SPACE, spaces, sizeof spaces / sizeof *spaces, &i))
        return refuse(r, "Space", "must be keys, counters or sets");
    if (has(r, MEMBER_COUNTER) || has(r, MEMBER_SET))
        return refuse(r, has(r, MEMBER_SET) ? "Set" : "Counter", "does not belong to an event");
    *ret = (enum space)i;
    struct bytes name = r->values[MEMBER_KEY];
    r->values[MEMBER_KEY] = bytes_of(NULL, 0);
    r->values[names[i]] = name;
    return OK;
}

/* What is gone has its name, and an element's its hash; a value that it had is not told. */
static enum err read_removed(struct reader *r, struct import_line *line)
{
    uint8_t hash[ELEMENT_HASH_SIZE];
    if (line->space == SPACE_KEYS)
        return read_key(r, &line->key);
    enum err err = read_name(r, line->space == SPACE_SETS ? MEMBER_SET : MEMBER_COUNTER, &line->key);
    if (err != OK || line->space == SPACE_COUNTERS)
        return err;
    if (!has(r, MEMBER_HASH))
        return refuse(r, "Hash", "is missing");
    err = read_text(r, MEMBER_HASH, &line->hash);
    if (err == OK && (element_hash_parse(line->hash, hash) != OK || memchr(hash, 0, sizeof hash)))
        return refuse(r, "Hash", "must be 32 hexadecimal digits, as an event has them");
    return err;
}

/* Takes off what makes it an event. *ret_done: nothing but the line is left to read. */
static enum err read_event(struct reader *r, struct import_line *line, bool *ret_done)
{
    enum err err = read_kind(r, &line->does);
    *ret_done = true;
    if (err != OK || line->does == LINE_PASSES)
        return err;
    line->event = true;
    err = read_space(r, &line->space);
    if (err == OK && (has(r, MEMBER_SIBLING) || has(r, MEMBER_CONTEXT)))
        err = refuse(r, has(r, MEMBER_SIBLING) ? "Sibling" : "Context", "does not belong to an event");
    if (err != OK)
        return err;
    *ret_done = line->does != LINE_PUTS;
    if (*ret_done)
        return read_removed(r, line);
    for (int i = MEMBER_KIND; i < MEMBERS; i++)
        r->values[i] = bytes_of(NULL, 0);
    return OK;
}

static enum err read_line(struct reader *r, struct import_line *line)
{
    bool done = false;
    enum err err = OK;
    if (has(r, MEMBER_KIND))
        err = read_event(r, line, &done);
    for (int i = MEMBER_KIND; i < MEMBERS && err == OK && !done; i++)
        if (has(r, (enum member)i))
            err = refuse(r, member_names[i], "belongs to an event, with a \"Kind\"");
    if (err != OK || done)
        return err;
    return has(r, MEMBER_COUNTER) ? read_counter(r, line)
           : has(r, MEMBER_SET)   ? read_element(r, line)
                                  : read_pair(r, line);
}

enum err import_line_read(struct bytes text, uint64_t value_max, struct buf *room, struct import_line *ret,
                          struct buf *why)
{
    struct reader r = {.value_max = value_max, .room = room, .why = why};
    struct import_line line = {0};
    enum err err = read_members(&r, text);
    if (err != OK)
        return err;
    /* A string is no longer for being decoded, and then once more from base64: so nothing
     * moves once it is read. */
    buf_reset(room);
    buf_reserve(room, 2 * text.len);
    if (room->err != OK)
        return room->err;
    err = read_line(&r, &line);
    if (err == OK)
        *ret = line;
    return err;
}

static bool has_breaks(struct bytes text)
{
    return text.len && (memchr(text.data, '\n', text.len) || memchr(text.data, '\r', text.len));
}

/* So deep that, in the object that the line is, nobody would read it. */
static bool is_deepest(struct bytes json)
{
    unsigned depth = 0;
    bool in_string = false;
    if (json.len < 2 * JSON_DEPTH_MAX)
        return false;
    for (size_t i = 0; i < json.len && depth < JSON_DEPTH_MAX; i++) {
        uint8_t c = json.data[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string)
            depth += (c == '{' || c == '[') - (unsigned)(c == '}' || c == ']');
    }
    return depth >= JSON_DEPTH_MAX;
}

static void put_counter(struct json_out *j, const struct import_line *line)
{
    char number[UNITS_TEXT_MAX] = "null";
    if (line->has_number)
        snprintf(number, sizeof number, "%lld", (long long)line->number);
    json_name(j, "Value");
    json_raw(j, bytes_str(number));
}

/* An element that was written with line breaks in it is told in one form. */
static void put_element(struct json_out *j, const struct import_line *line, struct buf *out)
{
    json_name(j, "Element");
    if (has_breaks(line->value))
        json_put_canonical(line->value, out);
    else
        json_raw(j, line->value);
}

static void put_pair(struct json_out *j, const struct import_line *line)
{
    char moment[UNITS_TEXT_MAX];
    if (line->type.len == 0 && json_keeps_in_line(line->value) && !is_deepest(line->value)) {
        json_name(j, "Value");
        json_raw(j, line->value);
    } else {
        json_name(j, "Value64");
        json_base64(j, line->value);
        if (line->type.len)
            json_field_string(j, "Type", line->type);
    }
    if (line->expires_ms)
        json_field_text(j, "Expires", instant_text_ms(line->expires_ms, moment));
    if (line->context.len)
        json_field_string(j, "Context", line->context);
    if (line->sibling)
        json_field_bool(j, "Sibling", true);
}

static void put_what(struct json_out *j, const struct import_line *line, struct buf *out)
{
    if (line->space == SPACE_COUNTERS)
        put_counter(j, line);
    else if (line->space == SPACE_SETS)
        put_element(j, line, out);
    else
        put_pair(j, line);
}

/* What it is, and of which name. */
static void put_name(struct json_out *j, const struct import_line *line)
{
    static const char *const kinds[] = {"put", "delete", "listed", "damaged"};
    static const char *const names[] = {"Key", "Counter", "Set"};
    if (!line->event) {
        json_field_string(j, names[line->space], line->key);
        return;
    }
    json_field_text(j, "Kind", kinds[line->does]);
    if (line->space != SPACE_KEYS)
        json_field_text(j, "Space", line->space == SPACE_SETS ? "sets" : "counters");
    json_field_string(j, "Key", line->key);
    if (line->hash.len)
        json_field_string(j, "Hash", line->hash);
}

void import_line_put(struct buf *out, const struct import_line *line)
{
    struct json_out j = json_out_to(out);
    json_object(&j);
    if (line->does == LINE_PASSES)
        json_field_text(&j, "Kind", "listed");
    else
        put_name(&j, line);
    if (line->does == LINE_PUTS)
        put_what(&j, line, out);
    json_object_end(&j);
    buf_put_u8(out, '\n');
}
