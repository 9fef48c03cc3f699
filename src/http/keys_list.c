/* GET /keys and GET /conflicts: pages of keys in byte order, how many there are, or all
 * of them as lines. Whatever takes long is read in slices, each from a snapshot of its
 * own, and between two slices the worker serves others. */
#include "envelope.h"
#include "exchange.h"
#include "mem.h"

#include <stdio.h>

struct listing *list_begin(struct exchange *x)
{
    x->listing = mem_new(sizeof *x->listing);
    listing_init(x->listing, &x->params, x->http->backend.wall_ms(x->http->backend.ctx));
    return x->listing;
}

enum err list_read(struct exchange *x, size_t scan_max)
{
    struct snapshot *snapshot;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK)
        return err;
    if (x->params.contexts)
        err = snapshot_floor(snapshot, &x->worker->reading.floor);
    if (err == OK)
        err = listing_read(x->listing, snapshot, scan_max);
    snapshot_close(snapshot);
    return err;
}

static void answer_list_error(struct exchange *x, enum err err)
{
    if (err == ERR_WALKING)
        answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                     "this node is catching up and lacks keys of this range");
    else
        answer_store_error(x, err);
}

/* ---- a page ---------------------------------------------------------------------- */

struct page {
    const struct params *params;
    struct buf *body;
    struct json_out json;
    struct buf folders; /* the elements of "Folders" */
    struct json_out folders_json;
    unsigned found;
    bool conflicts;
};

static bool page_wants(void *ctx)
{
    const struct page *page = ctx;
    return page->found < page->params->limit && page->body->len < LIST_BYTES_MAX;
}

static void page_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    struct page *page = ctx;
    json_object(&page->json);
    json_field_string(&page->json, "Key", key);
    if (page->params->values)
        value_put(&page->json, surfaced, false);
    if (page->conflicts)
        json_field_number(&page->json, "Versions", living);
    else
        value_put_expiry(&page->json, surfaced);
    json_object_end(&page->json);
    page->found++;
}

static void page_folder(void *ctx, struct bytes folder)
{
    struct page *page = ctx;
    json_string(&page->folders_json, folder);
    page->found++;
}

static void answer_page(struct exchange *x, bool conflicts)
{
    struct page page = {.params = &x->params, .body = &x->answer, .conflicts = conflicts};
    struct listing *listing = list_begin(x);
    listing->sink = (struct listing_sink){page_wants, page_key, page_folder, &page};
    listing->living_min = conflicts ? 2 : 1;
    buf_init(&page.folders, SIZE_MAX);
    page.folders_json = json_out_to(&page.folders);
    envelope_open(page.body);
    page.json = json_out_to(page.body);
    json_object(&page.json);
    json_name(&page.json, "Keys");
    json_array(&page.json);
    enum err err = list_read(x, LIST_SCAN_MAX);
    if (err == OK) {
        json_array_end(&page.json);
        if (x->params.delimiter.length) {
            json_name(&page.json, "Folders");
            json_array(&page.json);
            if (page.folders.len)
                json_raw(&page.json, buf_bytes(&page.folders));
            json_array_end(&page.json);
        }
        json_field_string(&page.json, "Next",
                          bytes_of(listing->last.data, listing->done ? 0 : listing->last.length));
        json_object_end(&page.json);
        envelope_close(page.body);
        answer_written(x, MHD_HTTP_OK);
    } else {
        answer_list_error(x, err);
    }
    buf_done(&page.folders);
}

/* ---- a count --------------------------------------------------------------------- */

static bool always(void *ctx)
{
    return true;
}

static void count_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    ++*(uint64_t *)ctx;
}

static void answer_count(struct exchange *x)
{
    if (!x->listing)
        list_begin(x)->sink = (struct listing_sink){.wants = always, .key = count_key, .ctx = &x->listed};
    enum err err = list_read(x, SLICE_SCAN_MAX);
    if (err != OK) {
        answer_list_error(x, err);
        return;
    }
    if (!x->listing->done)
        return; /* not answered: the library asks again in its next round */
    char text[40];
    snprintf(text, sizeof text, "{\"Count\":%llu}", (unsigned long long)x->listed);
    answer_ok(x, bytes_str(text));
}

/* ---- lines of them ------------------------------------------------------------------ */

static void stream_key(void *ctx, struct bytes key, const struct version *surfaced, size_t living)
{
    struct exchange *x = ctx;
    struct json_out json = json_out_to(&x->answer);
    json_object(&json);
    json_field_string(&json, "Key", key);
    if (x->params.values)
        value_put(&json, surfaced, true);
    value_put_expiry(&json, surfaced);
    json_object_end(&json);
    buf_put_u8(&x->answer, '\n');
}

static void stream_folder(void *ctx, struct bytes folder)
{
    struct exchange *x = ctx;
    struct json_out json = json_out_to(&x->answer);
    json_object(&json);
    json_field_string(&json, "Folder", folder);
    json_object_end(&json);
    buf_put_u8(&x->answer, '\n');
}

void keys_list(struct exchange *x)
{
    if (waiting_for_clock(x))
        return;
    if (x->params.count)
        answer_count(x);
    else if (x->params.limit == 0)
        answer_stream(x, &(struct listing_sink){stream_wants, stream_key, stream_folder, x}, NULL);
    else
        answer_page(x, false);
}

void conflicts_list(struct exchange *x)
{
    if (!waiting_for_clock(x))
        answer_page(x, true);
}
