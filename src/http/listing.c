#include "listing.h"

#include "space.h"

/* A text that is above every key with this beginning, and below all others that are: no
 * UTF-8 has such a byte. Behind all keys it is where the other spaces begin. */
static struct bytes behind(struct bytes prefix, uint8_t room[KEY_MAX + 1])
{
    if (prefix.len)
        memcpy(room, prefix.data, prefix.len);
    room[prefix.len] = SPACE_BOUND;
    return bytes_of(room, prefix.len + 1);
}

/* The key's beginning up to the first delimiter behind the prefix; empty without one. */
static struct bytes folder_of(const struct params *p, struct bytes key)
{
    struct bytes delimiter = param_bytes(&p->delimiter), none = bytes_of(NULL, 0);
    if (!delimiter.len || !bytes_starts_with(key, param_bytes(&p->prefix)))
        return none;
    for (size_t at = p->prefix.length; at + delimiter.len <= key.len; at++)
        if (memcmp(key.data + at, delimiter.data, delimiter.len) == 0)
            return bytes_of(key.data, at + delimiter.len);
    return none;
}

static void stand_at(struct listing *l, struct bytes key, bool in_folder)
{
    if (key.len)
        memmove(l->last.data, key.data, key.len);
    l->last.length = key.len;
    l->in_folder = in_folder;
}

void listing_init(struct listing *l, const struct params *params, uint64_t wall_ms)
{
    memset(l, 0, sizeof *l);
    l->params = params;
    l->wall_ms = wall_ms;
    struct bytes after = param_bytes(&params->after);
    stand_at(l, after, after.len && folder_of(params, after).len == after.len);
}

void listing_done(struct listing *l)
{
    record_done(&l->record);
}

static bool is_beyond_end(const struct params *p, struct bytes key)
{
    struct bytes end = param_bytes(&p->end);
    if (!bytes_starts_with(key, param_bytes(&p->prefix)) || !space_has_key(key))
        return true;
    return end.len && (p->reverse ? bytes_compare(key, end) <= 0 : bytes_compare(key, end) >= 0);
}

/* Looks at one record, and stands there after. */
static enum err take(struct listing *l, struct bytes key, struct bytes encoded)
{
    enum err err = record_decode(key, encoded, &l->record);
    if (err != OK)
        return err;
    size_t living = 0;
    for (size_t i = 0; i < l->record.count; i++)
        living += !version_expired(&l->record.versions[i], l->wall_ms);
    if (living == 0 || living < l->living_min) {
        stand_at(l, key, false);
        return OK;
    }
    struct bytes folder = folder_of(l->params, key);
    if (folder.len)
        l->sink.folder(l->sink.ctx, folder);
    else
        l->sink.key(l->sink.ctx, key, record_surfaced(&l->record, l->wall_ms), living);
    stand_at(l, folder.len ? folder : key, folder.len > 0);
    return OK;
}

/* Where the scan begins forwards, and whether that very key is passed over. */
static struct bytes first_of(const struct listing *l, uint8_t room[KEY_MAX + 1], bool *ret_exclusive)
{
    struct bytes prefix = param_bytes(&l->params->prefix), last = param_bytes(&l->last);
    *ret_exclusive = false;
    if (!last.len || bytes_compare(last, prefix) < 0)
        return prefix;
    if (l->in_folder)
        return behind(last, room);
    *ret_exclusive = true;
    return last;
}

/* The bound below which the scan begins backwards. */
static struct bytes last_of(const struct listing *l, uint8_t room[KEY_MAX + 1])
{
    struct bytes top = behind(param_bytes(&l->params->prefix), room), last = param_bytes(&l->last);
    return last.len && bytes_compare(last, top) < 0 ? last : top;
}

static enum err step(struct listing *l, struct scan *scan, bool first, struct bytes *ret_key,
                     struct bytes *ret_record)
{
    uint8_t room[KEY_MAX + 1];
    if (l->params->reverse)
        return scan_before(scan, last_of(l, room), ret_key, ret_record);
    if (!first && l->in_folder)
        return scan_seek(scan, behind(param_bytes(&l->last), room), ret_key, ret_record);
    return scan_next(scan, ret_key, ret_record);
}

/* A key without a living version that is called as a folder: where the listing stopped here,
 * it would go on behind the folder, which nobody has been shown. */
static bool stands_before_folder(const struct listing *l)
{
    struct bytes last = param_bytes(&l->last);
    return !l->in_folder && last.len && folder_of(l->params, last).len == last.len;
}

static enum err read_on(struct listing *l, struct snapshot *snapshot, struct scan *scan, bool exclusive,
                        size_t scan_max)
{
    bool first = true;
    for (size_t scanned = 0;; first = false) {
        struct bytes key, record;
        enum err err = step(l, scan, first, &key, &record);
        if (err == OK && first && exclusive && bytes_equal(key, param_bytes(&l->last)))
            err = scan_next(scan, &key, &record);
        if (err == ERR_NOT_FOUND || (err == OK && is_beyond_end(l->params, key))) {
            l->done = true;
            return OK;
        }
        if (err != OK)
            return err;
        /* Not for ever: such keys one after the other are nobody's folders. */
        bool may_stop = !stands_before_folder(l) || scanned >= 2 * scan_max;
        if ((scanned++ >= scan_max && may_stop) || !l->sink.wants(l->sink.ctx))
            return OK;
        err = take(l, key, record);
        if (err != OK) {
            snapshot_met_damage(snapshot, key, NULL);
            return err;
        }
    }
}

/* Is any key of what was read still to come with a walk? Walks go in key order, so the
 * highest one tells for all. */
static enum err check_walk(const struct listing *l, struct snapshot *snapshot, struct bytes top)
{
    uint8_t room[KEY_MAX + 1];
    struct bytes end = param_bytes(&l->params->end);
    if (!l->params->reverse) {
        top = l->done ? behind(param_bytes(&l->params->prefix), room) : param_bytes(&l->last);
        if (l->done && end.len && bytes_compare(end, top) < 0)
            top = end;
    }
    struct walk_state walk = {0};
    enum err err = snapshot_walk(snapshot, &walk);
    if (err == OK && walk_hides(&walk, top))
        err = ERR_WALKING;
    walk_state_done(&walk);
    return err;
}

enum err listing_read(struct listing *l, struct snapshot *snapshot, size_t scan_max)
{
    uint8_t first_room[KEY_MAX + 1], top[KEY_MAX + 1], room[KEY_MAX + 1];
    bool exclusive;
    struct bytes first = first_of(l, first_room, &exclusive), highest = last_of(l, room);
    memcpy(top, highest.data, highest.len);
    struct scan *scan;
    enum err err = scan_open(snapshot, first, &scan);
    if (err != OK)
        return err;
    err = read_on(l, snapshot, scan, exclusive && !l->params->reverse, scan_max);
    scan_close(scan);
    return err == OK ? check_walk(l, snapshot, bytes_of(top, highest.len)) : err;
}
