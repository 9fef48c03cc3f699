/* GET /export: a stream of lines that POST /import takes (import_line.h), in key order,
 * read in slices as the client takes it: the machinery is that of GET /keys?limit=0. */
#include "exchange.h"
#include "import_line.h"

#include <stdlib.h>

static void put_line(struct exchange *x, struct bytes key, const struct version *version, bool sibling)
{
    struct import_line line = {key, version->value, version->type, version->expires_ms, sibling};
    import_line_put(&x->answer, &line);
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

void export_get(struct exchange *x)
{
    answer_stream(x, &(struct listing_sink){.wants = stream_wants,
                                            .key = x->params.siblings ? export_versions : export_key,
                                            .ctx = x});
}
