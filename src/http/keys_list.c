/* GET /keys: a page of keys in byte order. */
#include "envelope.h"
#include "exchange.h"
#include "json_out.h"

/* A page being filled. */
struct page {
    const struct params *params;
    uint64_t wall_ms;
    struct buf *body;
    struct json_out json;
    unsigned keys;
    uint8_t last[KEY_MAX]; /* the last key looked at: a page that stops early goes on there */
    size_t last_length;
    bool more;
};

static bool page_is_full(const struct page *page, size_t scanned)
{
    return page->keys == page->params->limit || scanned == LIST_SCAN_MAX || page->body->len >= LIST_BYTES_MAX;
}

static enum err page_take(struct page *page, struct bytes key, struct bytes encoded)
{
    struct record record = {0};
    enum err err = record_decode(key, encoded, &record);
    const struct version *surfaced = err == OK ? record_surfaced(&record, page->wall_ms) : NULL;
    if (surfaced) {
        json_object(&page->json);
        json_field_string(&page->json, "Key", key);
        if (page->params->values) {
            json_name(&page->json, "Value");
            json_raw(&page->json, surfaced->value);
        }
        json_object_end(&page->json);
        page->keys++;
    }
    record_done(&record);
    memcpy(page->last, key.data, key.len);
    page->last_length = key.len;
    return err;
}

static enum err page_fill(struct page *page, struct snapshot *snapshot, struct scan *scan)
{
    const struct params *p = page->params;
    struct bytes prefix = bytes_of(p->prefix, p->prefix_length), after = bytes_of(p->after, p->after_length);
    for (size_t scanned = 0;;) {
        struct bytes key, record;
        enum err err = scan_next(scan, &key, &record);
        if (err == ERR_NOT_FOUND)
            return OK;
        if (err != OK)
            return err;
        if (after.len && bytes_compare(key, after) <= 0)
            continue;
        if (!bytes_starts_with(key, prefix))
            return OK;
        if (page_is_full(page, scanned)) {
            page->more = true;
            return OK;
        }
        err = page_take(page, key, record);
        if (err != OK) {
            snapshot_met_damage(snapshot, key, NULL);
            return err;
        }
        scanned++;
    }
}

/* Is any key of what the page covers still to come with a walk? Keys come in
 * order, so the last one tells for all. */
static enum err page_check_walk(const struct page *page, struct snapshot *snapshot)
{
    uint8_t beyond[KEY_MAX];
    struct bytes end = bytes_of(page->last, page->last_length);
    if (!page->more) {
        /* The end of the prefix: no key is UTF-8 with a byte 0xff in it. */
        memset(beyond, 0xff, sizeof beyond);
        memcpy(beyond, page->params->prefix, page->params->prefix_length);
        end = bytes_of(beyond, sizeof beyond);
    }
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, end))
        err = ERR_WALKING;
    walk_state_done(&walk);
    return err;
}

static enum err page_read(struct page *page, struct snapshot *snapshot)
{
    const struct params *p = page->params;
    struct bytes prefix = bytes_of(p->prefix, p->prefix_length), after = bytes_of(p->after, p->after_length);
    struct scan *scan;
    enum err err = scan_open(snapshot, bytes_compare(after, prefix) > 0 ? after : prefix, &scan);
    if (err != OK)
        return err;
    err = page_fill(page, snapshot, scan);
    scan_close(scan);
    return err == OK ? page_check_walk(page, snapshot) : err;
}

void keys_list(struct exchange *x)
{
    struct snapshot *snapshot;
    enum err err = snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK) {
        answer_store_error(x, err);
        return;
    }
    struct page page = {
        .params = &x->params, .body = &x->answer, .wall_ms = x->http->backend.wall_ms(x->http->backend.ctx)};
    envelope_open(page.body);
    page.json = json_out_to(page.body);
    json_object(&page.json);
    json_name(&page.json, "Keys");
    json_array(&page.json);
    err = page_read(&page, snapshot);
    snapshot_close(snapshot);
    if (err != OK) {
        if (err == ERR_WALKING)
            answer_error(x, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "this node is catching up and lacks keys of this range");
        else
            answer_store_error(x, err);
        return;
    }
    json_array_end(&page.json);
    json_field_string(&page.json, "Next", bytes_of(page.last, page.more ? page.last_length : 0));
    json_object_end(&page.json);
    envelope_close(page.body);
    answer_written(x, MHD_HTTP_OK);
}
