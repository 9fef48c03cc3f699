#include "elements.h"

void elements_init(struct elements *e, const char *member, const char *marker)
{
    memset(e, 0, sizeof *e);
    e->member = member;
    e->marker = marker;
    e->between = true;
    json_check_init(&e->check);
}

void elements_done(struct elements *e)
{
    buf_done(&e->element);
}

static enum err refuse(struct elements *e, struct buf *why)
{
    buf_put_format(why, "it is not JSON: %s at byte %llu", e->check.error.reason,
                   (unsigned long long)(e->offset + e->check.error.offset));
    return ERR_MALFORMED;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool name_is(const struct elements *e, const char *name)
{
    return name && e->name_length == strlen(name) && memcmp(e->name, name, e->name_length) == 0;
}

/* A byte inside a string. */
static void string_byte(struct elements *e, uint8_t c)
{
    if (e->escaped) {
        e->escaped = false;
    } else if (c == '"') {
        e->in_string = false;
        e->known |= e->depth == 1 && name_is(e, e->marker);
        return;
    } else {
        e->escaped = c == '\\';
    }
    if (e->depth == 1 && e->name_length < ELEMENTS_NAME_MAX)
        e->name[e->name_length++] = (char)c;
}

static void open_bracket(struct elements *e, uint8_t c)
{
    bool is_array = e->member ? e->depth == 1 && name_is(e, e->member) : e->depth == 0;
    e->depth++;
    if (!is_array || c != '[' || e->within)
        return;
    e->within = e->depth;
    e->known = true;
}

/* What a byte outside of strings means for the place where we are. True: an element, or
 * the text, ends with it. */
static bool plain_byte(struct elements *e, uint8_t c)
{
    switch (c) {
    case '"':
        e->in_string = true;
        if (e->depth == 1)
            e->name_length = 0;
        return false;
    case '{':
    case '[':
        open_bracket(e, c);
        return false;
    case '}':
    case ']':
        if (e->depth > 0)
            e->depth--;
        if (e->depth < e->within)
            e->within = 0;
        return e->depth == 0 || (e->in_element && e->depth == e->within);
    default:
        return false;
    }
}

/* Of the piece: what of it was checked, and where the open element begins in it. */
struct place {
    struct bytes piece;
    size_t checked, element;
};

static enum err check_up_to(struct elements *e, struct place *at, size_t end, struct buf *why)
{
    struct bytes run = bytes_of(at->piece.data + at->checked, end - at->checked);
    at->checked = end;
    return json_check_feed(&e->check, run) == OK ? OK : refuse(e, why);
}

static enum err keep(struct elements *e, struct bytes part, struct buf *why)
{
    e->element.max = e->element_max;
    buf_put_bytes(&e->element, part);
    if (e->element.err == ERR_TOO_LARGE)
        buf_put_format(why, "an entry of it is longer than %zu MiB", e->element_max >> 20);
    return e->element.err;
}

/* The byte at `end - 1` was the last one of an element. */
static enum err give(struct elements *e, struct place *at, size_t end, struct buf *why)
{
    struct bytes part = bytes_of(at->piece.data + at->element, end - at->element);
    e->in_element = false;
    if (e->element.len == 0)
        return e->each(e->ctx, part, why);
    enum err err = keep(e, part, why);
    if (err == OK)
        err = e->each(e->ctx, buf_bytes(&e->element), why);
    buf_reset(&e->element);
    return err;
}

static enum err end_text(struct elements *e, struct buf *why)
{
    if (json_check_end(&e->check) != OK)
        return refuse(e, why);
    e->offset += e->check.offset;
    json_check_init(&e->check);
    e->between = true;
    return OK;
}

static enum err take_byte(struct elements *e, struct place *at, size_t i, struct buf *why)
{
    uint8_t c = at->piece.data[i];
    enum err err = OK;
    if (e->in_string) {
        string_byte(e, c);
        return OK;
    }
    if (e->between && is_space(c)) {
        at->checked = i + 1;
        e->offset++;
        return OK;
    }
    e->between = false;
    if (e->within && e->depth == e->within && !e->in_element && !is_space(c) && c != ',' && c != ']') {
        if (c != '{') {
            buf_put_text(why, "what its array holds are no objects");
            return ERR_MALFORMED;
        }
        e->in_element = true;
        at->element = i;
    }
    bool element = e->in_element;
    if (!plain_byte(e, c))
        return OK;
    err = check_up_to(e, at, i + 1, why);
    if (err == OK && element)
        err = give(e, at, i + 1, why);
    return err == OK && e->depth == 0 ? end_text(e, why) : err;
}

enum err elements_feed(struct elements *e, struct bytes piece, struct buf *why)
{
    struct place at = {.piece = piece};
    enum err err = OK;
    for (size_t i = 0; i < piece.len && err == OK; i++)
        err = take_byte(e, &at, i, why);
    if (err == OK && at.checked < piece.len)
        err = check_up_to(e, &at, piece.len, why);
    if (err == OK && e->in_element && piece.len)
        err = keep(e, bytes_of(piece.data + at.element, piece.len - at.element), why);
    return err;
}

enum err elements_end(struct elements *e, struct buf *why)
{
    if (!e->between && json_check_end(&e->check) != OK)
        return refuse(e, why);
    if (e->known)
        return OK;
    if (e->member)
        buf_put_format(why, "it has no \"%s\"", e->member);
    else
        buf_put_text(why, "it has no array");
    return ERR_MALFORMED;
}
