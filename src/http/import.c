/* POST /import: lines (import_line.h), read as they come and written in batches, a
 * transaction each, in their order.
 *
 * A batch is sent off when the next line does not fit, or has a key that is in it already;
 * until it is on disk the connection is suspended and nothing more is read, so that an
 * import of any length holds one batch and one line. The library takes no answer before
 * the body's end. So a line that cannot be taken ends the import, and the rest of the
 * body is read and dropped. The answer says how many lines are done: those in front of it,
 * on disk, and none behind. */
#include "import.h"

#include "check.h"
#include "crc.h"
#include "element.h"
#include "exchange.h"
#include "import_line.h"
#include "json_scan.h"
#include "mem.h"

#include <stdlib.h>

enum {
    BATCH_RECORDS = 1000, /* as for the deletion of a prefix; nothing special about this value */
    BATCH_BYTES = 1 << 20,
    SLOTS = 2048,                      /* of the set of a batch's keys: a power of two, twice the records */
    PACE_BYTES = 64 << 10,             /* must come within API.RequestTimeout, as those of a stream must go */
    LINE_EXTRA = 80 << 10,             /* of a line: all but the value, or an element and its set */
    ELEMENT_RAW_MAX = 8 * ELEMENT_MAX, /* as it is spelt: an escape has six letters */
    CONTEXT_COST = 8, /* bytes for each of its text: a dot takes 24, and three or more there */
    WHY_MAX = 400,
};

struct import_progress {
    uint64_t lines, imported, expired, skipped;
    struct param_key key; /* the last one imported, of keys alone */
};

struct import {
    struct import_progress taken, done; /* taken: into the batch, with it; done: on disk */
    struct store_work *work;            /* the batch that is being made, or NULL */
    struct token *tokens; /* owned: of the batch's lines, in their places; NULL before the first context */
    struct token token;   /* owned: of the line at hand */
    struct clock clock;   /* owned: this node's when the batch was begun, where it was asked for */
    bool has_clock;
    bool seen; /* the last line that is no sibling's had a context */
    uint64_t line_of[BATCH_RECORDS];
    uint16_t slots[SLOTS];      /* 1 + the index of a write */
    bool line_whole;            /* x->body is a whole line that is yet to be taken */
    bool submitted;             /* a batch is on its way */
    bool ended;                 /* the body is */
    uint64_t paced;             /* x->body_seen when the deadline was last moved */
    size_t batch_bytes, weight; /* weight: of the counters in the batch */
    uint64_t wall_ms;
    struct buf room;      /* of the line at hand; */
    struct buf element;   /* .. its element in one form, */
    uint8_t key[KEY_MAX]; /* .. its record's key */
    unsigned status;      /* 0, or why it ends early */
    uint64_t bad_line;    /* 0: no line is to blame */
    struct buf why;
};

static void forget_tokens(struct import *im)
{
    for (size_t i = 0; im->tokens && i < BATCH_RECORDS; i++)
        token_done(&im->tokens[i]);
}

void import_free(struct import *im)
{
    if (!im)
        return;
    store_work_free(im->work);
    forget_tokens(im);
    free(im->tokens);
    token_done(&im->token);
    clock_done(&im->clock);
    buf_done(&im->room);
    buf_done(&im->element);
    buf_done(&im->why);
    free(im);
}

/* ---- the end before the end --------------------------------------------------------- */

static void stop(struct exchange *x, unsigned status, uint64_t bad_line, const char *why)
{
    struct import *im = x->import;
    im->status = status;
    im->bad_line = bad_line;
    im->line_whole = false;
    buf_reset(&im->why);
    if (bad_line && status < MHD_HTTP_INTERNAL_SERVER_ERROR)
        count(x->http, COUNT_IMPORT_LINES_REFUSED);
    if (bad_line)
        buf_put_format(&im->why, "line %llu: ", (unsigned long long)bad_line);
    buf_put_text(&im->why, why);
    buf_done(&x->body);
    buf_done(&im->room);
    buf_done(&im->element);
}

static void stop_for(struct exchange *x, enum err err, uint64_t bad_line)
{
    switch (err) {
    case ERR_CONFLICT:
        stop(x, MHD_HTTP_CONFLICT, bad_line, "too many concurrent versions (Server.MaxVersions)");
        return;
    case ERR_TOO_LARGE:
        stop(x, MHD_HTTP_CONTENT_TOO_LARGE, bad_line, "too large for the store");
        return;
    case ERR_BEHIND:
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, bad_line,
             "this node has not seen all that its \"Context\" stands for");
        return;
    case ERR_WALKING:
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, bad_line,
             "this node is catching up and has not reached this key yet");
        return;
    case ERR_CLOSED:
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, 0, "this node is shutting down");
        return;
    case ERR_TIMEOUT:
        count(x->http, COUNT_WRITES_UNCONFIRMED);
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, 0,
             "a part is not confirmed to be on disk; it may still get there");
        return;
    default:
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, bad_line, err_text(err));
    }
}

/* ---- a batch ---------------------------------------------------------------------------- */

/* Memory for so much is asked for among all bodies. */
static bool afford(struct exchange *x, uint64_t bytes)
{
    return bytes <= x->body_reserved || exchange_reserve_body(x, bytes - x->body_reserved);
}

/* The slot that has this key, or the free one where it would go. */
static uint16_t *slot_of(struct import *im, struct bytes key)
{
    for (size_t i = crc32c(0, key) % SLOTS;; i = (i + 1) % SLOTS)
        if (!im->slots[i] || bytes_equal(im->work->batch.writes[im->slots[i] - 1].key, key))
            return &im->slots[i];
}

/* What a line puts: it borrows from the line, or from the import. */
struct entry {
    struct bytes key; /* of the record */
    struct bytes value;
    size_t weight;
};

static size_t size_of(const struct import_line *line, const struct entry *entry)
{
    return entry->key.len + line->type.len + entry->value.len;
}

/* What it takes besides, here and in what is written. */
static size_t weight_of(const struct import_line *line, const struct entry *entry)
{
    return entry->weight + CONTEXT_COST * line->context.len;
}

static bool fits(struct import *im, const struct import_line *line, const struct entry *entry)
{
    const struct batch_work *batch = &im->work->batch;
    return batch->count < BATCH_RECORDS && size_of(line, entry) <= batch->text.cap - batch->text.len &&
           im->weight + weight_of(line, entry) <= BATCH_BYTES && !*slot_of(im, entry->key);
}

static bool begin_batch(struct exchange *x, size_t first)
{
    struct import *im = x->import;
    size_t bytes = first > im->batch_bytes ? first : im->batch_bytes;
    im->work = store_work_new(WORK_BATCH);
    buf_init(&im->work->batch.text, bytes);
    buf_reserve(&im->work->batch.text, bytes);
    memset(im->slots, 0, sizeof im->slots);
    im->weight = 0;
    im->has_clock = false;
    forget_tokens(im);
    if (im->work->batch.text.err == OK)
        return true;
    store_work_free(im->work);
    im->work = NULL;
    return false;
}

static struct bytes keep(struct buf *text, struct bytes bytes)
{
    size_t at = text->len;
    buf_put_bytes(text, bytes);
    return bytes_of(text->data + at, bytes.len);
}

/* Where an event says put and the value has ended since, nothing is there. */
static bool removes(const struct import *im, const struct import_line *line)
{
    bool ended = line->event && line->expires_ms && line->expires_ms <= im->wall_ms;
    return line->does == LINE_REMOVES || ended;
}

/* The token of the line at hand, which the write then borrows. */
static const struct token *keep_token(struct import *im, size_t index)
{
    struct token *place = &im->tokens[index], spare = *place;
    *place = im->token;
    im->token = spare;
    return place;
}

static void add(struct import *im, const struct import_line *line, const struct entry *entry)
{
    struct batch_work *batch = &im->work->batch;
    uint16_t *slot = slot_of(im, entry->key);
    im->line_of[batch->count] = im->taken.lines + 1;
    struct write_work *write = store_work_add_write(im->work);
    write->key = keep(&batch->text, entry->key);
    write->remove = removes(im, line);
    if (!write->remove) {
        write->type = keep(&batch->text, line->type);
        write->value = keep(&batch->text, entry->value);
        write->expires_ms = line->expires_ms;
    }
    write->add = line->sibling; /* else it replaces what this node holds, whatever Server.Conflict says, */
    if (line->context.len)      /* .. or of that what was seen */
        write->token = keep_token(im, batch->count - 1);
    if (!line->sibling)
        im->seen = line->context.len > 0;
    write->once = im->seen; /* taken in again, it finds nothing of what was seen, and itself */
    write->counts = line->space == SPACE_COUNTERS;
    write->number = line->number;
    write->weight = entry->weight;
    im->weight += weight_of(line, entry);
    *slot = (uint16_t)batch->count;
    im->taken.imported++;
    if (line->space == SPACE_KEYS)
        memcpy(im->taken.key.data, line->key.data, im->taken.key.length = line->key.len);
}

/* Parks the exchange, or stops the import. */
static void submit(struct exchange *x)
{
    struct import *im = x->import;
    struct store_work *work = im->work;
    im->work = NULL;
    im->submitted = submit_parked(x, work, PARKED_FOR_IMPORT);
    if (!im->submitted)
        stop_for(x, ERR_CLOSED, 0);
    /* The client is not charged with the time that the disk takes. */
    watch_until(x->watch, deadlines_now_ms() + 2 * x->http->options.request_timeout_ms, false);
}

/* It ends early, but what stands before that line is taken. */
static void settle(struct exchange *x)
{
    if (x->import->work)
        submit(x);
    else
        x->import->done = x->import->taken;
}

/* What has become of the batch that was on its way. */
static void collect(struct exchange *x)
{
    struct import *im = x->import;
    if (!im->submitted)
        return;
    im->submitted = false;
    enum err err = x->timed_out ? ERR_TIMEOUT : x->write_err;
    if (err == OK) {
        atomic_fetch_add(&x->http->counters[COUNT_IMPORT_LINES], im->taken.imported - im->done.imported);
        count(x->http, COUNT_IMPORT_BATCHES);
        im->done = im->taken;
    } else {
        stop_for(x, err, x->batch_failed < BATCH_RECORDS && x->failed_key ? im->line_of[x->batch_failed] : 0);
    }
}

/* ---- a line --------------------------------------------------------------------------------- */

static struct bytes without_space(struct bytes line)
{
    while (line.len && memchr(" \t\r", line.data[line.len - 1], 3))
        line.len--;
    return line;
}

static enum err read_line(struct exchange *x, struct bytes text, struct import_line *line)
{
    struct import *im = x->import;
    struct buf why;
    buf_init(&why, WHY_MAX);
    enum err err = import_line_read(text, x->http->options.value_max, &im->room, line, &why);
    if (err == ERR_NOMEM) {
        stop_for(x, err, im->taken.lines + 1);
    } else if (err != OK) {
        buf_put_u8(&why, '\0');
        stop(x, err == ERR_TOO_LARGE ? MHD_HTTP_CONTENT_TOO_LARGE : MHD_HTTP_BAD_REQUEST, im->taken.lines + 1,
             why.err == OK ? (const char *)why.data : "it cannot be read");
    }
    buf_done(&why);
    return err;
}

/* False when it stopped the import. */
static bool find_element(struct exchange *x, const struct import_line *line, struct entry *ret)
{
    struct import *im = x->import;
    uint8_t hash[ELEMENT_HASH_SIZE];
    if (line->does == LINE_REMOVES) {
        CHECK(element_hash_parse(line->hash, hash) == OK); /* was judged */
        ret->key = space_element(line->key, hash, im->key);
        return true;
    }
    buf_reset(&im->element);
    if (line->value.len <= ELEMENT_RAW_MAX)
        json_put_canonical(line->value, &im->element);
    if (im->element.err != OK) {
        stop_for(x, im->element.err, im->taken.lines + 1);
        return false;
    }
    if (im->element.len == 0 || im->element.len > ELEMENT_MAX) {
        stop(x, MHD_HTTP_CONTENT_TOO_LARGE, im->taken.lines + 1, "its element is larger than 64 KiB");
        return false;
    }
    ret->value = buf_bytes(&im->element);
    element_hash(ret->value, hash);
    ret->key = space_element(line->key, hash, im->key);
    return true;
}

static enum err read_own_clock(struct exchange *x)
{
    struct import *im = x->import;
    struct snapshot *snapshot;
    enum err err = im->has_clock ? OK : snapshot_open(x->http->backend.store, &snapshot);
    if (err != OK || im->has_clock)
        return err;
    err = snapshot_clock(snapshot, &im->clock, NULL);
    snapshot_close(snapshot);
    im->has_clock = err == OK;
    return err;
}

/* Of replicas that nobody here has heard of, as those of another cluster are, nothing can be
 * waited for: what was seen of theirs is not here, and so not replaced. */
static void forget_strangers(const struct clock *known, struct clock *after)
{
    size_t kept = 0;
    for (size_t i = 0; i < after->count; i++)
        if (clock_get(known, &after->entries[i].replica))
            after->entries[kept++] = after->entries[i];
    after->count = kept;
}

/* What was seen when the value was. False when it stopped the import. */
static bool find_token(struct exchange *x, const struct import_line *line)
{
    struct import *im = x->import;
    uint64_t number = im->taken.lines + 1;
    if (!im->tokens)
        im->tokens = mem_new(BATCH_RECORDS * sizeof *im->tokens);
    if (token_decode(line->context, &im->token) != OK) {
        stop(x, MHD_HTTP_BAD_REQUEST, number, "\"Context\" is no context");
        return false;
    }
    if (im->token.key_hash != token_key_hash(line->key)) {
        stop(x, MHD_HTTP_BAD_REQUEST, number, "\"Context\" is that of another key");
        return false;
    }
    enum err err = read_own_clock(x);
    if (err != OK)
        stop_for(x, err, number);
    else
        forget_strangers(&im->clock, &im->token.after);
    return err == OK;
}

/* Whose record the line is of. The same. */
static bool find_entry(struct exchange *x, const struct import_line *line, struct entry *ret)
{
    *ret = (struct entry){.key = line->key, .value = line->value};
    if (line->context.len)
        return find_token(x, line);
    if (line->space == SPACE_SETS)
        return find_element(x, line, ret);
    if (line->space == SPACE_COUNTERS) {
        ret->key = space_prefix(SPACE_COUNTERS, line->key, x->import->key);
        ret->weight = record_weight(x, ret->key);
    }
    return true;
}

/* Into the batch; false when that has to be sent off first. */
static bool take_record(struct exchange *x, const struct import_line *line)
{
    struct import *im = x->import;
    struct bytes after = param_bytes(&x->params.after);
    struct entry entry;
    if (line->does == LINE_PASSES)
        return true;
    if (line->space == SPACE_KEYS && after.len && bytes_compare(line->key, after) <= 0) {
        im->taken.skipped++;
        return true;
    }
    if (line->does == LINE_LACKS) {
        stop(x, MHD_HTTP_BAD_REQUEST, im->taken.lines + 1,
             "it says \"damaged\": what wrote this could not read its record");
        return true;
    }
    if (line->expires_ms && line->expires_ms <= im->wall_ms && !line->event) {
        im->taken.expired++;
        return true;
    }
    if (!find_entry(x, line, &entry))
        return true;
    if (im->work && !fits(im, line, &entry))
        return false;
    if (!im->work && !begin_batch(x, size_of(line, &entry))) {
        stop_for(x, ERR_NOMEM, im->taken.lines + 1);
        return true;
    }
    add(im, line, &entry);
    return true;
}

/* The line in x->body. False when the exchange was parked; it may have to be taken again. */
static bool take_line(struct exchange *x)
{
    struct import *im = x->import;
    struct bytes text = without_space(buf_bytes(&x->body));
    struct import_line line;
    if (text.len) {
        if (read_line(x, text, &line) == OK && !take_record(x, &line)) {
            submit(x);
            return !im->submitted;
        }
        if (im->status) {
            settle(x);
            return !im->submitted;
        }
    }
    im->taken.lines++;
    im->line_whole = false;
    buf_reset(&x->body);
    return true;
}

/* Moves bytes up to the end of the line into x->body; how many. */
static size_t gather(struct exchange *x, const char *data, size_t size)
{
    struct import *im = x->import;
    const char *end = memchr(data, '\n', size);
    size_t n = end ? (size_t)(end - data) : size;
    if (!afford(x, im->batch_bytes + 4 * (x->body.len + n))) {
        stop(x, MHD_HTTP_SERVICE_UNAVAILABLE, 0, "too many request bodies at once (API.MaxBodiesInFlight)");
        return size;
    }
    buf_put(&x->body, data, n);
    if (x->body.err == ERR_TOO_LARGE)
        stop(x, MHD_HTTP_CONTENT_TOO_LARGE, im->taken.lines + 1, "it is too long (API.MaxValueBytes)");
    else if (x->body.err != OK)
        stop_for(x, x->body.err, im->taken.lines + 1);
    else
        im->line_whole = end != NULL;
    return end ? n + 1 : n;
}

/* ---- the body ------------------------------------------------------------------------------- */

bool import_begin(struct exchange *x)
{
    struct import *im = x->import = mem_new(sizeof *im);
    buf_init(&im->room, SIZE_MAX);
    buf_init(&im->element, SIZE_MAX);
    buf_init(&im->why, WHY_MAX + 40);
    im->wall_ms = x->http->backend.wall_ms(x->http->backend.ctx);
    /* A short body needs no more than itself. */
    im->batch_bytes = x->lengths && x->content_length < BATCH_BYTES ? x->content_length : BATCH_BYTES;
    x->body.max = x->http->options.value_max / 3 * 4 + LINE_EXTRA;
    return afford(x, im->batch_bytes);
}

static void drop_batch(struct import *im)
{
    store_work_free(im->work);
    im->work = NULL;
}

size_t import_feed(struct exchange *x, const char *data, size_t size)
{
    struct import *im = x->import;
    size_t at = 0;
    collect(x);
    if (!im->status && atomic_load(&x->http->quiesced))
        stop_for(x, ERR_CLOSED, 0);
    while (!im->status && (im->line_whole || at < size)) {
        if (!im->line_whole)
            at += gather(x, data + at, size - at);
        if (im->status) {
            settle(x);
            break;
        }
        if (im->line_whole && !take_line(x))
            break;
    }
    if (im->submitted)
        return size - at;
    if (im->status)
        drop_batch(im), at = size;
    x->body_seen += at;
    if (im->paced == 0 || x->body_seen - im->paced >= PACE_BYTES) {
        im->paced = x->body_seen;
        watch_until(x->watch, deadlines_now_ms() + x->http->options.request_timeout_ms, false);
    }
    return size - at;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static void put_progress(struct buf *data, const struct import_progress *done, uint64_t bad_line)
{
    struct json_out j = json_out_to(data);
    json_object(&j);
    json_field_number(&j, "Lines", done->lines);
    json_field_number(&j, "Imported", done->imported);
    json_field_number(&j, "Expired", done->expired);
    json_field_number(&j, "Skipped", done->skipped);
    json_field_string(&j, "Key", param_bytes(&done->key));
    if (bad_line)
        json_field_number(&j, "Line", bad_line);
    json_object_end(&j);
}

static void answer(struct exchange *x)
{
    struct import *im = x->import;
    struct buf data;
    buf_init(&data, SIZE_MAX);
    put_progress(&data, &im->done, im->bad_line);
    if (im->done.imported) { /* of no key: for reads, as that of a batch */
        struct token *token = &x->worker->reading.token;
        token_of_write(token, bytes_of(NULL, 0), &x->write_dot);
        answer_token(x, token);
    }
    if (im->status)
        answer_error_data(x, im->status, buf_bytes(&im->why), buf_bytes(&data));
    else
        answer_ok(x, buf_bytes(&data));
    buf_done(&data);
}

void import_post(struct exchange *x)
{
    struct import *im = x->import;
    collect(x);
    if (!im->ended) {
        im->ended = true;
        im->line_whole = !im->status && (im->line_whole || x->body.len > 0); /* the last may lack its end */
    }
    while (im->line_whole)
        if (!take_line(x))
            return;
    if (im->work && !im->status) {
        submit(x);
        if (im->submitted)
            return;
    }
    if (!im->status)
        im->done = im->taken; /* with the lines behind the last batch */
    answer(x);
}
