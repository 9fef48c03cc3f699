/* GET /export: a stream of lines that POST /import takes (import_line.h), in key order,
 * read in slices as the client takes it: the machinery is that of GET /keys?limit=0. */
#include "element.h"
#include "exchange.h"
#include "import_line.h"
#include "spaces.h"

#include "counter.h"

#include <stdlib.h>

/* As a read of this key would give it. */
static void put_context(struct exchange *x, struct bytes key, struct buf *out)
{
    struct reading *r = &x->worker->reading; /* its floor is that of the slice */
    token_of_read(&r->token, key, &x->listing->record, &r->floor.floor);
    token_encode(&r->token, out);
    if (out->err != OK)
        x->answer.err = out->err;
}

/* The first of a key's lines has the context, which is of all its versions. */
static void put_line(struct exchange *x, struct bytes key, const struct version *version, bool sibling)
{
    struct buf context;
    buf_init(&context, TOKEN_TEXT_MAX);
    if (x->params.contexts && !sibling)
        put_context(x, key, &context);
    import_line_put(&x->answer, &(struct import_line){.key = key,
                                                      .value = version->value,
                                                      .type = version->type,
                                                      .context = buf_bytes(&context),
                                                      .expires_ms = version->expires_ms,
                                                      .sibling = sibling});
    buf_done(&context);
}

static void export_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    put_line(ctx, key, surfaced, false);
}

/* The surfaced one last: where each is written after the one before, it is so there too. */
static int earlier_first(const void *a, const void *b)
{
    const struct version *va = a, *vb = b;
    if (va->stamp != vb->stamp)
        return va->stamp < vb->stamp ? -1 : 1;
    return dot_compare(&va->dot, &vb->dot);
}

static void export_versions(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    struct exchange *x = ctx;
    struct record *record = &x->listing->record; /* decoded for this, and nothing follows */
    bool first = true;
    qsort(record->versions, record->count, sizeof *record->versions, earlier_first);
    for (size_t i = 0; i < record->count; i++) {
        if (version_expired(&record->versions[i], x->listing->wall_ms))
            continue;
        put_line(x, key, &record->versions[i], !first);
        first = false;
    }
}

/* ---- counters and elements --------------------------------------------------------------- */

/* One that does not fit into 64 bits is told as what it is, which no import takes. */
static bool export_counter(struct exchange *x, struct bytes name, const struct record *record)
{
    struct counter_view counter = {0};
    size_t malformed = 0;
    enum err err = counter_of_record(&counter, record, &malformed);
    x->spaces->malformed += malformed + (err != OK);
    if (err == OK && !counter_is_absent(&counter)) {
        struct import_line line = {.space = SPACE_COUNTERS, .key = name};
        line.has_number = counter_number(&counter, &line.number) == OK;
        import_line_put(&x->answer, &line);
    }
    counter_done(&counter);
    return false;
}

static bool export_element(struct exchange *x, struct bytes name, const struct record *record)
{
    const struct version *version = record_surfaced(record, x->http->backend.wall_ms(x->http->backend.ctx));
    if (version && element_is_sound(version))
        import_line_put(&x->answer,
                        &(struct import_line){.space = SPACE_SETS, .key = name, .value = version->value});
    x->spaces->malformed += version && !element_is_sound(version);
    return false;
}

static bool export_of_space(void *ctx, const struct space_name *name, const struct record *record)
{
    return name->space == SPACE_COUNTERS ? export_counter(ctx, name->name, record)
                                         : export_element(ctx, name->name, record);
}

/* Where it begins: behind `after`, and, of a set, behind the element `member` of it. Elements lie
 * behind the name of their set, so that without that all of it comes. False when it was refused. */
static bool find_place(struct exchange *x, uint8_t room[KEY_MAX + 1], struct bytes *ret)
{
    const struct params *p = &x->params;
    struct bytes after = param_bytes(&p->after);
    bool of_keys = p->all && p->from == SPACE_KEYS; /* where they begin, `after` says; the rest whole */
    *ret = bytes_of(NULL, 0);
    if (p->given & PARAM_MEMBER) {
        if (!member_key(x, bytes_of(after.data + 1, after.len - 1), room, ret))
            return false;
    } else if (after.len && !of_keys) {
        memcpy(room, after.data, after.len);
        *ret = bytes_of(room, after.len);
    }
    if (ret->len)
        room[ret->len++] = 0; /* the first place behind it */
    else if (x->params.all)
        *ret = space_prefix(x->params.from == SPACE_SETS ? SPACE_SETS : SPACE_COUNTERS, *ret, room);
    return true;
}

/* False when it was refused. Of all spaces what follows the keys is one range, to the store's end. */
static bool begin_spaces(struct exchange *x)
{
    const struct params *p = &x->params;
    uint8_t room[KEY_MAX + 1];
    struct bytes place;
    if (!find_place(x, room, &place))
        return false;
    spaces_begin(x, param_bytes(&p->prefix), place, param_bytes(&p->end));
    return true;
}

void export_get(struct exchange *x)
{
    const struct params *p = &x->params;
    struct listing_sink keys = {
        .wants = stream_wants, .key = p->siblings ? export_versions : export_key, .ctx = x};
    struct spaces_sink others = {stream_wants, export_of_space, x};
    bool has_keys = p->space == SPACE_KEYS && p->from == SPACE_KEYS;
    bool has_others = p->all || p->space != SPACE_KEYS;
    if (waiting_for_clock(x) || (has_others && !begin_spaces(x)))
        return;
    answer_stream(x, has_keys ? &keys : NULL, has_others ? &others : NULL);
}
