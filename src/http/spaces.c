#include "spaces.h"

static void stand_at(struct spaces *s, struct bytes place)
{
    if (place.len)
        memmove(s->at, place.data, place.len);
    s->at_length = place.len;
}

void spaces_init(struct spaces *s, struct bytes prefix, struct bytes from, struct bytes end)
{
    *s = (struct spaces){0};
    memcpy(s->prefix, prefix.data, s->prefix_length = prefix.len);
    if (end.len)
        memcpy(s->end, end.data, s->end_length = end.len);
    stand_at(s, bytes_compare(from, prefix) > 0 ? from : prefix);
}

void spaces_done(struct spaces *s)
{
    record_done(&s->record);
    clock_done(&s->seen);
}

/* Looks at one record, and stands behind it after, or, when it skips, behind its set. */
static enum err take(struct spaces *s, const struct spaces_sink *sink, struct bytes key, struct bytes encoded,
                     bool *ret_skips)
{
    struct space_name name = space_parse(key);
    bool skips = false;
    if (name.space == SPACE_NONE) {
        s->malformed++;
    } else {
        enum err err = record_decode(key, encoded, &s->record);
        if (err != OK)
            return err;
        record_reflects(&s->record, &s->seen);
        skips = sink->take(sink->ctx, &name, &s->record) && name.space == SPACE_SETS;
    }
    *ret_skips = skips;
    if (skips) {
        uint8_t room[KEY_MAX];
        stand_at(s, space_set_end(name.name, room));
    } else {
        stand_at(s, key);
        s->at[s->at_length++] = 0; /* the first place behind it */
    }
    return OK;
}

static bool is_beyond(const struct spaces *s, struct bytes key)
{
    struct bytes end = bytes_of(s->end, s->end_length);
    return !bytes_starts_with(key, bytes_of(s->prefix, s->prefix_length)) ||
           (end.len && bytes_compare(key, end) >= 0);
}

static enum err read_on(struct spaces *s, struct snapshot *snapshot, struct scan *scan,
                        const struct spaces_sink *sink, size_t scan_max)
{
    bool seeks = false;
    for (size_t scanned = 0; scanned < scan_max && sink->wants(sink->ctx); scanned++) {
        struct bytes key, encoded;
        enum err err = seeks ? scan_seek(scan, bytes_of(s->at, s->at_length), &key, &encoded)
                             : scan_next(scan, &key, &encoded);
        if (err == ERR_NOT_FOUND || (err == OK && is_beyond(s, key))) {
            s->done = true;
            return OK;
        }
        if (err != OK)
            return err;
        err = take(s, sink, key, encoded, &seeks);
        if (err != OK) {
            snapshot_met_damage(snapshot, key, NULL);
            return err;
        }
    }
    return OK;
}

/* Is any of what was read still to come with a walk? */
static enum err check_walk(const struct spaces *s, struct snapshot *snapshot)
{
    struct bytes prefix = bytes_of(s->prefix, s->prefix_length);
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    struct bytes after = bytes_of(walk.after, walk.after_len);
    bool passed = bytes_compare(after, prefix) > 0 && !bytes_starts_with(after, prefix);
    if (err == OK && walk.phase == WALK_RECORDS && !passed &&
        (s->done || walk_hides(&walk, bytes_of(s->at, s->at_length))))
        err = ERR_WALKING;
    walk_state_done(&walk);
    return err;
}

enum err spaces_read(struct spaces *s, struct snapshot *snapshot, const struct spaces_sink *sink,
                     size_t scan_max)
{
    struct scan *scan;
    enum err err = scan_open(snapshot, bytes_of(s->at, s->at_length), &scan);
    if (err != OK)
        return err;
    err = read_on(s, snapshot, scan, sink, scan_max);
    scan_close(scan);
    return err == OK ? check_walk(s, snapshot) : err;
}
