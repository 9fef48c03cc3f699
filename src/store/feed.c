#include "feed.h"

#include "check.h"
#include "counter.h"
#include "crc.h"
#include "mem.h"
#include "weaken.h"

#include <stdlib.h>

/* A step under way. */
struct step {
    struct snapshot *snapshot;
    const struct feed_reader *reader;
    struct feed_cursor *cursor;
    struct clock clock;
    struct record record;
    size_t rows;  /* looked at */
    size_t bytes; /* of values shown */
};

static bool is_full(const struct step *s)
{
    return s->bytes >= s->reader->bytes_max;
}

static void show(struct step *s, const struct feed_event *event)
{
    if (event->version)
        s->bytes += event->version->value.len;
    s->reader->each(s->reader->ctx, event, s->cursor);
}

/* What is shown of a key includes this much. */
static void raise_high(struct step *s)
{
    if (!WEAKENED(WATCH_SHOWN))
        record_reflects(&s->record, &s->cursor->high);
}

static unsigned wanted_spaces(const struct step *s)
{
    return s->reader->spaces ? s->reader->spaces : 1U << SPACE_KEYS;
}

/* Of a reader's space? It is taken apart then. */
static bool is_of_space(const struct step *s, struct bytes key, struct space_name *ret)
{
    *ret = space_parse(key);
    return ret->space != SPACE_NONE && wanted_spaces(s) >> ret->space & 1;
}

/* What its versions tell together, and whether there is anything to see. */
static void read_counter(struct step *s, struct feed_event *event)
{
    struct counter_view counter = {0};
    size_t malformed; /* such versions are passed over, as a read does */
    if (counter_of_record(&counter, &s->record, &malformed) != OK) {
        event->kind = FEED_DAMAGED;
        event->version = NULL;
    } else if (counter_is_absent(&counter)) {
        event->version = NULL;
    } else {
        event->has_number = counter_number(&counter, &event->number) == OK;
    }
    counter_done(&counter);
}

/* What s->record shows: kind becomes FEED_PUT where that is anything. */
static void look(struct step *s, struct feed_event *event)
{
    event->version = record_surfaced(&s->record, s->reader->wall_ms);
    if (event->version && event->name.space == SPACE_COUNTERS)
        read_counter(s, event);
    if (!event->version)
        return;
    event->kind = FEED_PUT;
    event->replica = event->version->dot.replica;
}

static enum err show_key(struct step *s, const struct row *row, const struct space_name *name)
{
    struct feed_event event = {
        .kind = FEED_DELETE, .key = row->key, .name = *name, .replica = row->dot.replica};
    enum err err = snapshot_record(s->snapshot, row->key, &s->record);
    if (err == ERR_NOT_FOUND || err == ERR_DAMAGED) { /* a row above the floor has its record */
        event.kind = FEED_DAMAGED;
        show(s, &event);
        return OK;
    }
    if (err != OK)
        return err;
    raise_high(s);
    look(s, &event);
    show(s, &event);
    return OK;
}

/* ---- the rows above low ---------------------------------------------------------- */

/* The last of a step's rows for each key: an open table of their numbers, each one up. */
struct last_rows {
    const struct row *rows;
    uint32_t *slots;
    size_t mask;
};

static uint32_t *slot_of(const struct last_rows *last, struct bytes key)
{
    size_t i = crc32c(0, key) & last->mask;
    while (last->slots[i] && !bytes_equal(last->rows[last->slots[i] - 1].key, key))
        i = (i + 1) & last->mask;
    return &last->slots[i];
}

static void find_last(struct last_rows *last, const struct row *rows, size_t count)
{
    size_t room = 4;
    while (room < 2 * count)
        room *= 2;
    *last = (struct last_rows){.rows = rows, .slots = mem_new(room * sizeof *last->slots), .mask = room - 1};
    for (size_t i = 0; i < count; i++)
        *slot_of(last, rows[i].key) = (uint32_t)i + 1;
}

/* A replica's rows in (low, clock], as many as there is room for. Each counter above
 * the floor has its row: one that is missing is history that is gone. */
static enum err collect_of(struct step *s, const struct dot *through, struct row *rows, size_t *count)
{
    struct dot last = {.replica = through->replica, .counter = clock_get(&s->cursor->low, &through->replica)};
    if (last.counter >= through->counter)
        return OK;
    struct row_scan *scan;
    enum err err = row_scan_open(s->snapshot, &last, &scan);
    if (err != OK)
        return err;
    while (err == OK && last.counter < through->counter && *count < s->reader->rows_max) {
        struct row *row = &rows[*count];
        err = row_scan_next(scan, row);
        if (err == ERR_NOT_FOUND || (err == OK && !replica_id_equal(&row->dot.replica, &last.replica)))
            err = ERR_DAMAGED;
        if (err == OK && row->dot.counter != last.counter + 1 && !WEAKENED(WATCH_GONE))
            err = ERR_DAMAGED;
        if (err != OK)
            break;
        last = row->dot;
        (*count)++;
    }
    row_scan_close(scan);
    return err;
}

static enum err collect(struct step *s, struct row *rows, size_t *ret_count)
{
    enum err err = OK;
    *ret_count = 0;
    for (size_t i = 0; i < s->clock.count && err == OK; i++)
        err = collect_of(s, &s->clock.entries[i], rows, ret_count);
    return err;
}

/* Under the reader's prefix, or the very key that it names. */
static bool is_named(const struct step *s, struct bytes key)
{
    return bytes_starts_with(key, s->reader->prefix) &&
           (!s->reader->exact || key.len == s->reader->prefix.len);
}

/* In a listing the keys that are still to come in it are left to it. */
static bool is_wanted(const struct step *s, struct bytes key, struct space_name *ret)
{
    const struct feed_cursor *c = s->cursor;
    if (!is_named(s, key) || !is_of_space(s, key, ret))
        return false;
    if (c->phase == FEED_LIST && WEAKENED(WATCH_LISTED))
        return false;
    return c->phase == FEED_CHANGES || bytes_compare(key, bytes_of(c->after, c->after_len)) <= 0;
}

static enum err show_rows(struct step *s, const struct row *rows, size_t count)
{
    struct last_rows last;
    enum err err = OK;
    find_last(&last, rows, count);
    for (size_t i = 0; i < count && err == OK && !is_full(s); i++) {
        clock_raise(&s->cursor->low, &rows[i].dot);
        clock_raise(&s->cursor->high, &rows[i].dot);
        struct space_name name;
        if (is_wanted(s, rows[i].key, &name) && *slot_of(&last, rows[i].key) == i + 1)
            err = show_key(s, &rows[i], &name);
    }
    free(last.slots);
    return err;
}

static enum err changes(struct step *s)
{
    if (clock_covers(&s->cursor->low, &s->clock))
        return OK;
    size_t count;
    struct row *rows = mem_new(s->reader->rows_max * sizeof *rows);
    enum err err = collect(s, rows, &count);
    s->rows = count;
    if (err == OK)
        err = show_rows(s, rows, count);
    free(rows);
    return err;
}

/* ---- a listing ------------------------------------------------------------------------ */

static void list_one(struct step *s, struct bytes key, struct bytes encoded)
{
    struct feed_event event = {.kind = FEED_DAMAGED, .key = key};
    CHECK(key.len <= sizeof s->cursor->after);
    memcpy(s->cursor->after, key.data, s->cursor->after_len = key.len);
    s->cursor->prefix_len = s->reader->prefix.len;
    if (!is_of_space(s, key, &event.name))
        return;
    if (record_decode(key, encoded, &s->record) == OK) {
        raise_high(s);
        event.kind = FEED_DELETE;
        look(s, &event);
    }
    if (event.kind != FEED_DELETE)
        show(s, &event);
}

/* Behind the last key that this listing could show. */
static bool is_beyond(const struct step *s, struct bytes key)
{
    bool keys_alone = wanted_spaces(s) == 1U << SPACE_KEYS;
    return !is_named(s, key) || (keys_alone && !space_has_key(key));
}

static void end_list(struct step *s)
{
    s->cursor->phase = FEED_CHANGES;
    s->cursor->after_len = s->cursor->prefix_len = 0;
    show(s, &(struct feed_event){.kind = FEED_LISTED});
}

static enum err list_some(struct step *s)
{
    struct bytes prefix = s->reader->prefix, after = bytes_of(s->cursor->after, s->cursor->after_len);
    struct scan *scan;
    enum err err = scan_open(s->snapshot, bytes_compare(after, prefix) > 0 ? after : prefix, &scan);
    if (err != OK)
        return err;
    /* Keys that are absent are told by their absence: what tells it is the clock. */
    clock_join(&s->cursor->high, &s->clock);
    /* Some also where the changes have filled the step: a listing always goes on. */
    size_t least = s->reader->rows_max / 2 + 1, left = s->reader->rows_max - s->rows;
    if (left < least)
        left = least;
    do {
        struct bytes key, encoded;
        err = scan_next(scan, &key, &encoded);
        if (err == ERR_NOT_FOUND || (err == OK && is_beyond(s, key))) {
            err = OK;
            end_list(s);
            break;
        }
        after = bytes_of(s->cursor->after, s->cursor->after_len);
        if (err != OK || bytes_compare(key, after) <= 0)
            continue; /* the scan begins at it; the listing after it */
        list_one(s, key, encoded);
        left--;
    } while (err == OK && left > 0 && !is_full(s));
    scan_close(scan);
    return err;
}

/* ---- the step ----------------------------------------------------------------------------- */

static bool is_behind(const struct step *s)
{
    if (s->reader->continues || WEAKENED(WATCH_HIGH))
        return false;
    return !clock_covers(&s->clock, WEAKENED(WATCH_LOW) ? &s->cursor->low : &s->cursor->high);
}

/* A clock that no longer covers what was read from it: this store has taken a new
 * identity, and operations of the old one mean something else now. */
static bool is_gone(const struct step *s, const struct clock *floor)
{
    return (!WEAKENED(WATCH_GONE) && !clock_covers(&s->cursor->low, floor)) ||
           (s->reader->continues && !clock_covers(&s->clock, &s->cursor->low));
}

static void begin_list(struct step *s)
{
    s->cursor->phase = FEED_LIST;
    s->cursor->after_len = s->cursor->prefix_len = 0;
    clock_copy(&s->cursor->low, &s->clock);
    clock_join(&s->cursor->high, &s->clock);
}

static enum err judge(struct step *s, const struct clock *floor, enum feed_end *ret_end)
{
    struct walk_state walk = {0};
    enum err err = snapshot_walk(s->snapshot, &walk);
    if (err != OK)
        return err;
    if (walk.phase != WALK_NONE) {
        *ret_end = FEED_WALKING;
    } else if (is_behind(s)) {
        *ret_end = FEED_BEHIND;
    } else {
        if (s->cursor->phase == FEED_LIST_BEGIN)
            begin_list(s);
        *ret_end = is_gone(s, floor) ? FEED_GONE : FEED_MORE;
    }
    walk_state_done(&walk);
    return OK;
}

static enum err go_on(struct step *s, enum feed_end *ret_end)
{
    enum err err = changes(s);
    if (err == ERR_DAMAGED) {
        *ret_end = FEED_GONE;
        return OK;
    }
    if (err == OK && s->cursor->phase == FEED_LIST)
        err = list_some(s);
    if (err == OK && s->cursor->phase == FEED_CHANGES && clock_covers(&s->cursor->low, &s->clock))
        *ret_end = FEED_AT_HEAD;
    return err;
}

static enum err step(struct step *s, bool shows, enum feed_end *ret_end)
{
    struct clock floor = {0};
    enum err err = snapshot_clock(s->snapshot, &s->clock, &floor);
    if (err == OK)
        err = judge(s, &floor, ret_end);
    if (err == OK && shows && *ret_end == FEED_MORE)
        err = go_on(s, ret_end);
    record_done(&s->record);
    clock_done(&s->clock);
    clock_done(&floor);
    return err;
}

enum err feed_step(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                   enum feed_end *ret_end)
{
    CHECK(reader->rows_max > 0 && reader->rows_max <= FEED_ROWS_MAX);
    return step(&(struct step){.snapshot = snapshot, .reader = reader, .cursor = cursor}, true, ret_end);
}

enum err feed_judge(struct snapshot *snapshot, const struct feed_reader *reader, struct feed_cursor *cursor,
                    enum feed_end *ret_end)
{
    return step(&(struct step){.snapshot = snapshot, .reader = reader, .cursor = cursor}, false, ret_end);
}

enum err feed_now(struct snapshot *snapshot, struct feed_cursor *cursor)
{
    enum err err = snapshot_clock(snapshot, &cursor->low, NULL);
    if (err != OK)
        return err;
    clock_copy(&cursor->high, &cursor->low);
    cursor->phase = FEED_CHANGES;
    cursor->after_len = cursor->prefix_len = 0;
    return OK;
}

enum err feed_anew(struct snapshot *snapshot, struct feed_cursor *cursor)
{
    struct clock clock = {0};
    enum err err = snapshot_clock(snapshot, &clock, NULL);
    if (err != OK)
        return err;
    /* Of a store that is not what it was, high would never be reached again. */
    if (!clock_covers(&clock, &cursor->low))
        clock_copy(&cursor->high, &clock);
    clock_done(&clock);
    clock_clear(&cursor->low);
    cursor->phase = FEED_LIST_BEGIN;
    cursor->after_len = cursor->prefix_len = 0;
    return OK;
}
