/* Counters and sets in their pure parts: names as keys, states of counters as bytes,
 * what an add and a delete replace, and which JSON values are the same element. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "counter.h"
#include "element.h"
#include "json_scan.h"
#include "mem.h"
#include "space.h"
#include "spaces.h"
#include "storekit.h"

#include <stdlib.h>

/* ---- names ---- */

static void names_come_back_from_keys(void **state)
{
    static const uint8_t hash[] = "\xff\x01\x02\xff 0123456789ab";
    uint8_t room[KEY_MAX];
    char longest[SPACE_NAME_MAX + 1];
    memset(longest, 'x', SPACE_NAME_MAX);
    longest[SPACE_NAME_MAX] = 0;
    const char *names[] = {"a", "a/b", "w\xc3\xb6rter", longest};
    for (size_t i = 0; i < 4; i++) {
        struct bytes name = bytes_str(names[i]);
        struct space_name counter = space_parse(space_prefix(SPACE_COUNTERS, name, room));
        assert_true(counter.space == SPACE_COUNTERS && bytes_equal(counter.name, name));
        struct bytes key = space_element(name, hash, room);
        struct space_name element = space_parse(key);
        assert_true(element.space == SPACE_SETS && bytes_equal(element.name, name));
        assert_memory_equal(element.hash.data, hash, ELEMENT_HASH_SIZE);
        assert_true(key.len <= KEY_MAX && !space_has_key(key));
        assert_true(space_parse(name).space == SPACE_KEYS && space_has_key(name));
    }
}

/* Sets lie in the order of their names, each one's elements together. */
static void sets_lie_in_order(void **state)
{
    uint8_t last[ELEMENT_HASH_SIZE], first[ELEMENT_HASH_SIZE], a[KEY_MAX], b[KEY_MAX], c[KEY_MAX];
    memset(last, 0xff, sizeof last);
    memset(first, 1, sizeof first);
    struct bytes inner = space_element(bytes_str("tag"), last, a),
                 next = space_element(bytes_str("tag!"), first, b);
    assert_true(bytes_compare(inner, next) < 0);
    assert_true(bytes_compare(inner, space_set_end(bytes_str("tag"), c)) < 0);
    assert_true(bytes_compare(space_set_end(bytes_str("tag"), c), next) < 0);
    assert_true(bytes_compare(space_set_begin(bytes_str("tag"), c), inner) < 0);
}

/* What a peer may send and nobody can have written. */
static void odd_keys_are_of_no_space(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } odd[] = {
        {"\xf8", 1}, /* no name */
        {"\xf8"
         "a\0b",
         4}, /* NUL */
        {"\xf8"
         "a\1b",
         4},                 /* the end of names */
        {"\xf8\xff\xff", 3}, /* not UTF-8 */
        {"\xf9", 1},         /* nothing */
        {"\xf9\1"
         "0123456789abcdef",
         18}, /* no name */
        {"\xf9"
         "a\1"
         "0123456789abcde",
         18}, /* hash too short */
        {"\xf9"
         "a\1"
         "0123456789abcdefg",
         20}, /* .. too long */
        {"\xf9"
         "a\1"
         "0123456789abcde\0",
         19}, /* NUL in it */
        {"\xf9"
         "a\1b\1"
         "0123456789abcdef",
         21}, /* two ends */
        {"\xfa"
         "a",
         2}, /* to come */
        {"\xff\xff\xff", 3},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct bytes key = bytes_of(odd[i].bytes, odd[i].length);
        assert_true(space_parse(key).space == SPACE_NONE && !space_has_key(key));
    }
}

/* ---- counters ---- */

enum { STARTS = 3 * COUNTER_STARTS_KEPT + 1 };

struct counted {
    struct record record;
    uint8_t *values[3 * STARTS]; /* owned */
    size_t used;
    uint64_t counters[4];
};

static struct session session_of(unsigned replica, uint64_t start)
{
    return (struct session){.lineage = replica, .start = start, .random = 7};
}

/* One change by a start of a replica, as the store does it. */
static enum err change_of(struct counted *c, unsigned replica, struct session session, int64_t add,
                          bool remove, int64_t *ret_number)
{
    struct replica_id id = {.b = {(uint8_t)replica}};
    struct counter_change change = {
        .session = session, .dot = {id, c->counters[replica] + 1}, .add = add, .remove = remove};
    bool replaced[64] = {0};
    struct buf value;
    buf_init(&value, 1 << 20);
    enum err err = counter_change(&c->record, &change, replaced, &value, ret_number);
    for (size_t i = c->record.count; err == OK && i-- > 0;)
        if (replaced[i])
            record_remove_at(&c->record, i);
    if (err == OK) {
        c->values[c->used] = mem_copy(value.data, value.len);
        struct version version = {.dot = change.dot, .value = bytes_of(c->values[c->used++], value.len)};
        record_add(&c->record, &version);
        c->counters[replica]++;
    }
    buf_done(&value);
    return err;
}

static enum err change_it(struct counted *c, unsigned replica, uint64_t start, int64_t add, bool remove,
                          int64_t *ret_number)
{
    return change_of(c, replica, session_of(replica, start), add, remove, ret_number);
}

static int64_t add(struct counted *c, unsigned replica, uint64_t start, int64_t n)
{
    int64_t number = -1;
    assert_int_equal(change_it(c, replica, start, n, false, &number), OK);
    return number;
}

static void counted_done(struct counted *c)
{
    record_done(&c->record);
    for (size_t i = 0; i < c->used; i++)
        free(c->values[i]);
}

static bool is_absent(const struct counted *c)
{
    struct counter_view view = {0};
    size_t malformed;
    assert_int_equal(counter_of_record(&view, &c->record, &malformed), OK);
    bool absent = counter_is_absent(&view);
    counter_done(&view);
    return absent;
}

static void each_replica_has_one_version(void **state)
{
    struct counted c = {0};
    assert_int_equal(add(&c, 1, 1, 5), 5);
    assert_int_equal(add(&c, 1, 1, -7), -2);
    assert_int_equal(c.record.count, 1);
    assert_int_equal(add(&c, 1, 2, 1), -1);
    assert_int_equal(add(&c, 2, 1, 10), 9);
    assert_int_equal(c.record.count, 2);
    counted_done(&c);
}

/* All is taken back, and one version tells so; the same start goes on from there. */
static void a_delete_leaves_one_version(void **state)
{
    struct counted c = {0};
    int64_t number = -1;
    add(&c, 1, 1, 5), add(&c, 2, 1, 6);
    assert_int_equal(change_it(&c, 3, 1, 0, true, &number), OK);
    assert_true(number == 0 && c.record.count == 1 && is_absent(&c));
    assert_int_equal(change_it(&c, 3, 1, 0, true, &number), ERR_NOT_FOUND);
    assert_int_equal(add(&c, 1, 1, 2), 2);
    assert_int_equal(add(&c, 1, 1, -2), 0);
    assert_false(is_absent(&c)); /* a number, 0 */
    counted_done(&c);
}

/* 64 bits with a sign, whatever way it goes; a start's own sum may be larger. */
static void numbers_beyond_64_bits_are_refused(void **state)
{
    struct counted c = {0};
    int64_t number = 4;
    assert_int_equal(add(&c, 1, 1, INT64_MAX), INT64_MAX);
    assert_int_equal(change_it(&c, 1, 1, 1, false, &number), ERR_CONFLICT);
    assert_int_equal(change_it(&c, 2, 1, 1, false, &number), ERR_CONFLICT);
    assert_int_equal(number, 4);
    assert_int_equal(add(&c, 2, 1, INT64_MIN), -1);
    assert_int_equal(add(&c, 1, 1, INT64_MAX), INT64_MAX - 1);
    assert_int_equal(add(&c, 2, 1, INT64_MIN), -2);
    assert_int_equal(change_it(&c, 1, 1, INT64_MIN, false, &number), ERR_CONFLICT);
    counted_done(&c);
}

static size_t states_of(const struct counted *c)
{
    struct counter_view view = {0};
    size_t malformed;
    assert_int_equal(counter_of_record(&view, &c->record, &malformed), OK);
    size_t count = view.count;
    counter_done(&view);
    return count;
}

/* However often a replica is started, what it counted stays one number in few states. */
static void starts_do_not_add_up(void **state)
{
    struct counted c = {0};
    for (uint64_t start = 1; start <= STARTS; start++) {
        assert_int_equal(add(&c, 1, start, (int64_t)start), (int64_t)(start * (start + 1) / 2));
        assert_true(states_of(&c) <= 2 * COUNTER_STARTS_KEPT + 1);
    }
    assert_in_range(states_of(&c), COUNTER_STARTS_KEPT, 2 * COUNTER_STARTS_KEPT + 1);
    counted_done(&c);
}

/* Two histories of one replica, apart for some starts, sum up alike. */
static void restored_starts_sum_up_alike(void **state)
{
    struct counted one = {0}, other = {0};
    for (uint64_t start = 1; start <= STARTS; start++) {
        add(&one, 1, start, 1);
        if (start <= STARTS - 5)
            add(&other, 1, start, 1);
    }
    for (uint64_t start = STARTS - 4; start <= STARTS; start++) {
        struct session restored = {.lineage = 1, .start = start, .random = 8};
        int64_t number;
        assert_int_equal(change_of(&other, 1, restored, 10, false, &number), OK);
    }
    assert_int_equal(other.record.count, 1);
    struct version again = other.record.versions[0]; /* put again under a new id */
    again.dot.replica.b[0] = 2;
    record_add(&one.record, &again);
    struct counter_view view = {0};
    size_t malformed;
    int64_t number = 0;
    assert_int_equal(counter_of_record(&view, &one.record, &malformed), OK);
    assert_int_equal(counter_number(&view, &number), OK);
    assert_int_equal(number, STARTS + 50);
    counter_done(&view);
    counted_done(&one);
    counted_done(&other);
}

/* The same where each start's adds are deleted by another. */
static void deleted_starts_do_not_add_up(void **state)
{
    struct counted c = {0};
    int64_t number;
    for (uint64_t start = 1; start <= STARTS; start++) {
        assert_int_equal(add(&c, 1, start, 3), 3);
        assert_int_equal(change_it(&c, 2, 1, 0, true, &number), OK);
    }
    assert_in_range(states_of(&c), COUNTER_STARTS_KEPT, COUNTER_STARTS_KEPT + 2);
    counted_done(&c);
}

/* A value in any other form than the one that is written counts for nothing. */
static void damaged_values_are_passed_over(void **state)
{
    struct counted c = {0};
    add(&c, 1, 1, -300);
    struct bytes whole = c.record.versions[0].value;
    for (size_t length = 0; length < whole.len; length++) {
        struct counter_view view = {0};
        assert_true(counter_join(&view, bytes_of(whole.data, length)) != OK);
        assert_int_equal(view.count, 0);
        counter_done(&view);
    }
    uint8_t *longer = mem_new(whole.len + 1);
    memcpy(longer, whole.data, whole.len);
    struct counter_view view = {0};
    assert_int_equal(counter_join(&view, bytes_of(longer, whole.len + 1)), ERR_MALFORMED);
    longer[0] = 2;
    assert_int_equal(counter_join(&view, bytes_of(longer, whole.len)), ERR_MALFORMED);
    longer[0] = 1;
    assert_int_equal(counter_join(&view, bytes_of(longer, whole.len)), OK);
    counter_done(&view);
    free(longer);

    c.record.versions[0].value = bytes_str("{}");
    assert_int_equal(add(&c, 1, 1, 4), 4);
    assert_int_equal(c.record.count, 2); /* left where it is */
    counted_done(&c);
}

/* A state of ours that we did not write, as high as there is: told as an error. */
static void a_forged_state_does_not_wrap(void **state)
{
    struct counted c = {0};
    struct counter_state forged = {.session = session_of(1, 1), .seq = UINT64_MAX, .sum = 1};
    struct counter_view view = {.states = &forged, .count = 1, .room = 1};
    int64_t number;
    struct buf value;
    buf_init(&value, 1000);
    counter_encode(&view, &value);
    struct version version = {.dot = {{.b = {9}}, 1}, .value = buf_bytes(&value)};
    record_add(&c.record, &version);
    assert_int_equal(change_it(&c, 1, 1, 1, false, &number), ERR_TOO_LARGE);
    buf_done(&value);
    counted_done(&c);
}

static enum err count_in(struct store *store, const char *name, int64_t n, bool remove, struct dot *ret_dot)
{
    uint8_t room[KEY_MAX];
    struct store_work *work = store_work_new(WORK_COUNT);
    work->count.key = space_prefix(SPACE_COUNTERS, bytes_str(name), room);
    work->count.add = n;
    work->count.remove = remove;
    enum err err = kit_run(store, work);
    *ret_dot = work->count.dot;
    store_work_free(work);
    return err;
}

/* In one transaction with a put, which may be conditional. */
static enum err bring_to(struct store *store, const char *name, int64_t number,
                         const struct condition *condition, struct batch_work *ret)
{
    uint8_t room[KEY_MAX];
    struct store_work *work = store_work_new(WORK_BATCH);
    struct write_work *write = store_work_add_write(work);
    write->key = space_prefix(SPACE_COUNTERS, bytes_str(name), room);
    write->counts = true;
    write->number = number;
    write = store_work_add_write(work);
    write->key = bytes_str("key");
    write->value = bytes_str("1");
    write->condition = condition;
    enum err err = kit_run(store, work);
    *ret = work->batch;
    ret->writes = NULL;
    store_work_free(work);
    return err;
}

static int64_t number_in(struct store *store, const char *name)
{
    struct store_work *work = store_work_new(WORK_COUNT);
    uint8_t room[KEY_MAX];
    work->count.key = space_prefix(SPACE_COUNTERS, bytes_str(name), room);
    assert_int_equal(kit_run(store, work), OK);
    int64_t number = work->count.number;
    store_work_free(work);
    return number;
}

/* From whatever it is, by one operation, and by none where it is that already; and not at all
 * where another of the batch is refused. */
static void counters_are_brought_to_numbers(void **state)
{
    static const int64_t numbers[] = {5, 5, INT64_MIN, INT64_MAX, 0, 0, -1};
    struct store *store = kit_store(1);
    struct batch_work done;
    struct condition absent = {.none_match = {.present = true, .any = true}};
    uint64_t clock = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bool same = i > 0 && numbers[i] == numbers[i - 1];
        assert_int_equal(bring_to(store, "a", numbers[i], NULL, &done), OK);
        clock += same ? 1 : 2; /* with the put */
        assert_int_equal(kit_clock(store, 1), clock);
        assert_int_equal(number_in(store, "a"), numbers[i]); /* an add of 0 */
        clock++;
    }
    assert_int_equal(bring_to(store, "a", 7, &absent, &done), ERR_UNMET);
    assert_int_equal(done.failed, 1);
    assert_int_equal(number_in(store, "a"), -1);
    store_close(store);
}

/* What a walk has not brought yet may be there: so nothing is known to be missing. */
static void no_counter_is_brought_to_a_number_during_a_walk(void **state)
{
    struct store *store = kit_store(1);
    struct batch_work done;
    struct dot dot;
    assert_int_equal(count_in(store, "a", 3, false, &dot), OK);
    assert_int_equal(kit_walk_start(store), OK);
    assert_int_equal(bring_to(store, "a", 5, NULL, &done), ERR_WALKING);
    assert_int_equal(done.failed, 0);
    assert_int_equal(number_in(store, "a"), 3);
    store_close(store);
}

/* A node that is being filled takes adds; what a delete would take back it cannot say. */
static void an_add_is_taken_during_a_walk(void **state)
{
    struct store *store = kit_store(1);
    struct dot dot;
    assert_int_equal(kit_walk_start(store), OK);
    assert_int_equal(count_in(store, "a", 0, true, &dot), ERR_WALKING);
    assert_int_equal(count_in(store, "a", 3, false, &dot), OK);
    assert_true(dot.counter == 1 && kit_clock(store, 1) == 1);
    store_close(store);
}

/* A delete of what is absent is no operation. Keys are no counters. */
static void counters_are_deleted_once(void **state)
{
    struct store *store = kit_store(1);
    struct dot dot;
    assert_int_equal(count_in(store, "a", 0, true, &dot), OK);
    assert_int_equal(dot.counter, 0);
    assert_int_equal(count_in(store, "a", 5, false, &dot), OK);
    assert_int_equal(count_in(store, "a", 0, true, &dot), OK);
    assert_int_equal(dot.counter, 2);
    assert_int_equal(count_in(store, "a", 0, true, &dot), OK);
    assert_int_equal(dot.counter, 0);
    assert_int_equal(kit_rows(store), 2);
    assert_int_equal(count_in(store, "", 1, false, &dot), ERR_MALFORMED);
    store_close(store);
}

/* ---- reading in order ---- */

struct found {
    unsigned left; /* wanted still */
    char names[200];
};

static bool found_wants(void *ctx)
{
    return ((struct found *)ctx)->left > 0;
}

static bool found_take(void *ctx, const struct space_name *name, const struct record *record)
{
    struct found *found = ctx;
    strncat(found->names, (const char *)name->name.data, name->name.len);
    strcat(found->names, " ");
    found->left--;
    return true; /* of a set, enough */
}

static void put_element(struct store *store, const char *set, const char *hash)
{
    uint8_t room[KEY_MAX];
    struct bytes key = space_element(bytes_str(set), (const uint8_t *)hash, room);
    char *text = mem_text_of(key);
    assert_int_equal(kit_put(store, text, "1", NULL, NULL), OK);
    free(text);
}

static enum err read_slice(struct spaces *s, struct store *store, struct found *found, size_t scan_max)
{
    struct snapshot *snapshot = NULL;
    assert_int_equal(snapshot_open(store, &snapshot), OK);
    enum err err = spaces_read(s, snapshot, &(struct spaces_sink){found_wants, found_take, found}, scan_max);
    snapshot_close(snapshot);
    return err;
}

/* From set to set, over what is of no form, in slices, and no further than the space goes. */
static void sets_are_read_one_by_one(void **state)
{
    struct store *store = kit_store(1);
    struct found found = {.left = 100};
    struct spaces s;
    uint8_t room[KEY_MAX];
    struct dot dot;
    kit_put(store, "key", "1", NULL, NULL);
    kit_put(store, "\xf9short", "1", NULL, NULL);
    kit_put(store, "\xfa", "1", NULL, NULL);
    count_in(store, "counter", 1, false, &dot);
    put_element(store, "b", "0123456789abcdef");
    put_element(store, "a", "0123456789abcdef");
    put_element(store, "a", "1123456789abcdef");
    put_element(store, "a!", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    spaces_init(&s, space_prefix(SPACE_SETS, bytes_str(""), room), bytes_of(NULL, 0), bytes_of(NULL, 0));
    for (size_t slices = 0; slices < 10 && !s.done; slices++)
        assert_int_equal(read_slice(&s, store, &found, 1), OK);
    assert_string_equal(found.names, "a a! b ");
    assert_int_equal(s.malformed, 1);
    spaces_done(&s);
    store_close(store);
}

/* What a walk has not brought yet is not told to be all. */
static void a_walk_hides_what_is_to_come(void **state)
{
    struct store *store = kit_store(1);
    struct found found = {.left = 100};
    struct spaces s;
    uint8_t room[KEY_MAX];
    put_element(store, "a", "0123456789abcdef");
    assert_int_equal(kit_walk_start(store), OK);
    spaces_init(&s, space_prefix(SPACE_SETS, bytes_str(""), room), bytes_of(NULL, 0), bytes_of(NULL, 0));
    assert_int_equal(read_slice(&s, store, &found, 10), ERR_WALKING);
    spaces_done(&s);
    store_close(store);
}

/* ---- elements ---- */

static void assert_form(const char *json, const char *form)
{
    struct buf out;
    buf_init(&out, 1000);
    json_put_canonical(bytes_str(json), &out);
    buf_put_u8(&out, 0);
    assert_string_equal((char *)out.data, form);
    buf_done(&out);
}

static void spellings_of_one_element(void **state)
{
    assert_form(" { \"a b\" : [ 1 , 2.50 ] } \n", "{\"a b\":[1,2.50]}");
    assert_form("\"\\u0041\\/\\u00e4\\ud83d\\ude00\"", "\"A/\xc3\xa4\xf0\x9f\x98\x80\"");
    assert_form("\"\\u0008\\u000A\\u0000\\u001F\\\"\\\\\"", "\"\\b\\n\\u0000\\u001f\\\"\\\\\"");
    assert_form("\"\\uD83D\\u0041\\uDE00\"", "\"\\ud83dA\\ude00\"");
    assert_form("\"\\uD83D\"", "\"\\ud83d\"");
    assert_form("\"\\u0022\\u005c\"", "\"\\\"\\\\\"");
    assert_form("[\"\\\\\", \" x \"]", "[\"\\\\\",\" x \"]");
    assert_form("{\"b\":1,\"a\":1}", "{\"b\":1,\"a\":1}");
}

static void hashes_have_one_text(void **state)
{
    uint8_t hash[ELEMENT_HASH_SIZE], read[ELEMENT_HASH_SIZE];
    char text[ELEMENT_HASH_TEXT + 1] = {0};
    element_hash(bytes_str("\"red\""), hash);
    element_hash_text(bytes_of(hash, sizeof hash), text);
    assert_string_equal(text, "4bc9274d8758b867e8c071a6082c68a2");
    assert_int_equal(element_hash_parse(bytes_str(text), read), OK);
    assert_memory_equal(hash, read, sizeof hash);
    assert_int_equal(element_hash_parse(bytes_str("00"), read), ERR_MALFORMED);
    text[3] = 'G';
    assert_int_equal(element_hash_parse(bytes_str(text), read), ERR_MALFORMED);
}

static enum err read_change(const char *body, struct store_work *work, const char **ret_why)
{
    static char text[200];
    struct buf why;
    buf_init(&why, sizeof text - 1);
    enum err err = element_read_change(bytes_str(body), bytes_str("tags"), work, &why);
    memcpy(text, why.data ? (const char *)why.data : "", why.len);
    text[why.len] = 0;
    *ret_why = text;
    buf_done(&why);
    return err;
}

static void changes_are_read(void **state)
{
    struct store_work *work = store_work_new(WORK_BATCH);
    const char *why;
    assert_int_equal(read_change("{\"Add\":[\"a\", 1 ,\"\\u0061\",[ ]],\"Remove\":[\"b\"]}", work, &why), OK);
    assert_int_equal(work->batch.count, 4);
    size_t removed = 0;
    for (size_t i = 0; i < work->batch.count; i++) {
        const struct write_work *write = &work->batch.writes[i];
        assert_true(space_parse(write->key).space == SPACE_SETS);
        removed += write->remove;
    }
    assert_int_equal(removed, 1);
    store_work_free(work);
}

static void bad_changes_are_refused(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        {"[]", "body must be"},
        {"{}", "neither"},
        {"{\"Add\":1}", "\"Add\" must be a list"},
        {"{\"Add\":[],\"Add\":[]}", "\"Add\" is repeated"},
        {"{\"Added\":[]}", "\"Added\" is unknown"},
        {"{\"Add\":[\"\\u0061\"],\"Remove\":[\"a\"]}", "contradicts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_work *work = store_work_new(WORK_BATCH);
        const char *why;
        assert_int_equal(read_change(cases[i].body, work, &why), ERR_MALFORMED);
        assert_non_null(strstr(why, cases[i].why));
        store_work_free(work);
    }
}

static void an_element_has_a_limit(void **state)
{
    char *body = mem_new(ELEMENT_MAX + 100);
    const char *why;
    for (size_t length = ELEMENT_MAX - 2; length <= ELEMENT_MAX - 1; length++) { /* and two quotes */
        struct store_work *work = store_work_new(WORK_BATCH);
        strcpy(body, "{\"Add\":[ \"");
        memset(body + 10, 'x', length);
        strcpy(body + 10 + length, "\" ]}");
        assert_int_equal(read_change(body, work, &why), length == ELEMENT_MAX - 2 ? OK : ERR_TOO_LARGE);
        store_work_free(work);
    }
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back_from_keys),
        cmocka_unit_test(sets_lie_in_order),
        cmocka_unit_test(odd_keys_are_of_no_space),
        cmocka_unit_test(each_replica_has_one_version),
        cmocka_unit_test(a_delete_leaves_one_version),
        cmocka_unit_test(numbers_beyond_64_bits_are_refused),
        cmocka_unit_test(starts_do_not_add_up),
        cmocka_unit_test(restored_starts_sum_up_alike),
        cmocka_unit_test(deleted_starts_do_not_add_up),
        cmocka_unit_test(damaged_values_are_passed_over),
        cmocka_unit_test(a_forged_state_does_not_wrap),
        cmocka_unit_test(an_add_is_taken_during_a_walk),
        cmocka_unit_test(counters_are_brought_to_numbers),
        cmocka_unit_test(no_counter_is_brought_to_a_number_during_a_walk),
        cmocka_unit_test(counters_are_deleted_once),
        cmocka_unit_test(sets_are_read_one_by_one),
        cmocka_unit_test(a_walk_hides_what_is_to_come),
        cmocka_unit_test(spellings_of_one_element),
        cmocka_unit_test(hashes_have_one_text),
        cmocka_unit_test(changes_are_read),
        cmocka_unit_test(bad_changes_are_refused),
        cmocka_unit_test(an_element_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
