/* GET /export: a stream of lines that POST /import takes (import_line.h), in key order,
 * read in slices as the client takes it: the machinery is that of GET /keys?limit=0. */
#include "element.h"
#include "exchange.h"
#include "import_line.h"
#include "spaces.h"

#include "counter.h"

#include <stdlib.h>

static void put_line(struct exchange *x, struct bytes key, const struct version *version, bool sibling)
{
    import_line_put(&x->answer, &(struct import_line){.key = key,
                                                      .value = version->value,
                                                      .type = version->type,
                                                      .expires_ms = version->expires_ms,
                                                      .sibling = sibling});
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

/* Elements lie behind the name of their set, so that `after` begins with all of that. */
static void export_space(struct exchange *x)
{
    const struct params *p = &x->params;
    uint8_t from[KEY_MAX + 1];
    size_t length = p->after.length;
    memcpy(from, p->after.data, length);
    if (length)
        from[length++] = 0; /* the first place behind it */
    spaces_begin(x, param_bytes(&p->prefix), bytes_of(from, length), param_bytes(&p->end));
    answer_stream_of(x, &(struct spaces_sink){stream_wants, export_of_space, x});
}

void export_get(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    if (x->params.space != SPACE_KEYS)
        export_space(x);
    else
        answer_stream(x, &(struct listing_sink){.wants = stream_wants,
                                                .key = x->params.siblings ? export_versions : export_key,
                                                .ctx = x});
}
