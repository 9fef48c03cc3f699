/* The log on a simulated disk: what is appended comes back, what failed does not, and
 * damage is told from a tail that a crash cut off. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crc.h"
#include "log_rig.h"

enum { SMALL = 512 };

static struct log_rig open_rig(void)
{
    struct log_rig rig;
    rig_init(&rig, SMALL);
    rig_open_ok(&rig);
    return rig;
}

static void reopen(struct log_rig *rig)
{
    rig_close(rig);
    rig_open_ok(rig);
}

static struct log_counters counters(struct log_rig *rig)
{
    struct log_counters c;
    log_counters(rig->log, &c);
    return c;
}

/* ---- appending --------------------------------------------------------------- */

static void what_is_appended_is_replayed_in_order(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    rig_append_ok(&rig, "b");
    rig_append_ok(&rig, "");

    reopen(&rig);

    assert_string_equal(rig_replayed(&rig), "a b ");
    assert_int_equal(rig.sequences[2], 3);
    assert_int_equal(rig.found.frames, 3);
    assert_false(rig.found.lost);
    assert_false(rig.found.cut);
    assert_int_equal(log_sequence(rig.log), 3);
    rig_done(&rig);
}

static void what_the_tree_has_is_not_replayed(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    rig_append_ok(&rig, "b");
    rig.mark.sequence = 1;
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "b");
    rig.mark.sequence = 2;
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "");
    assert_int_equal(log_sequence(rig.log), 2);
    assert_false(rig.found.lost);
    rig_done(&rig);
}

static void a_full_segment_is_followed_by_the_next(void **state)
{
    struct log_rig rig = open_rig();
    for (int i = 0; i < 20; i++)
        rig_append_long(&rig, "x", 100);
    assert_int_equal(counters(&rig).segments, 7); /* of 448 bytes, a frame has 136 */
    reopen(&rig);
    assert_int_equal(rig.count, 20);
    rig_append_ok(&rig, "y");
    reopen(&rig);
    assert_int_equal(rig.count, 21);
    rig_done(&rig);
}

/* A segment that ends with its last byte has no end to look for. */
static void a_frame_may_fill_its_segment_to_the_last_byte(void **state)
{
    for (size_t len = 400; len < 420; len++) {
        struct log_rig rig = open_rig();
        rig_append_long(&rig, "x", len);
        rig_append_long(&rig, "y", len);
        reopen(&rig);
        assert_string_equal(rig_replayed(&rig), "x y");
        rig_done(&rig);
    }
}

/* Sequences rise with the segments' numbers, though the next segment was made before
 * the one that a long frame needed. */
static void a_long_frame_overtakes_the_segment_that_is_ready(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    assert_int_equal(log_prepare(rig.log), OK);
    rig_append_long(&rig, "long", 5 * SMALL);
    rig_append_ok(&rig, "b");
    rig_append_long(&rig, "c", 300);
    rig_append_long(&rig, "d", 300);

    reopen(&rig);

    assert_string_equal(rig_replayed(&rig), "a long b c d");
    rig_done(&rig);
}

static void an_overtaken_segment_is_prepared_again(void **state)
{
    struct log_rig rig = open_rig();
    assert_int_equal(log_prepare(rig.log), OK);
    rig_append_long(&rig, "long", 5 * SMALL);
    uint64_t bytes = counters(&rig).segment_bytes;

    assert_int_equal(log_prepare(rig.log), OK);

    assert_int_equal(counters(&rig).segment_bytes, bytes);
    uint64_t calls = disk_sim_changes(rig.sim);
    rig_append_ok(&rig, "b");
    assert_int_equal(disk_sim_changes(rig.sim) - calls, 2); /* a write and a sync */
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "long b");
    rig_done(&rig);
}

/* ---- trimming ------------------------------------------------------------------ */

static void segments_that_the_tree_has_are_taken_over_or_go(void **state)
{
    struct log_rig rig = open_rig();
    for (int i = 0; i < 12; i++)
        rig_append_long(&rig, "x", 100); /* three a segment */
    assert_string_equal(rig_names(&rig), "0000000000000001.log 0000000000000002.log 0000000000000003.log "
                                         "0000000000000004.log");
    log_trim(rig.log, 8);
    assert_string_equal(rig_names(&rig), "0000000000000003.log 0000000000000004.log 0000000000000005.log");
    assert_int_equal(counters(&rig).reused, 1);
    rig.mark.sequence = 8;
    for (int i = 0; i < 3; i++)
        rig_append_long(&rig, "y", 100);
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "x x x x y y y");
    rig_done(&rig);
}

/* It is what proves that the log is as new as the tree. */
static void the_last_frame_is_never_trimmed(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    log_trim(rig.log, 1);
    rig.mark.sequence = 1;
    reopen(&rig);
    assert_false(rig.found.lost);
    assert_int_equal(log_sequence(rig.log), 1);
    log_trim(rig.log, 1);
    assert_int_equal(log_prepare(rig.log), OK);
    log_trim(rig.log, 1);
    reopen(&rig);
    assert_false(rig.found.lost);
    rig_done(&rig);
}

/* A segment's old frames are no frames of the segment that took it over. */
static void nothing_of_an_old_segment_comes_back(void **state)
{
    struct log_rig rig = open_rig();
    for (int i = 0; i < 30; i++) {
        rig_append_long(&rig, "x", 100);
        log_trim(rig.log, log_sequence(rig.log));
        rig.mark.sequence = log_sequence(rig.log);
        struct log_rig copy;
        rig_clone(&copy, &rig);
        disk_sim_crash(copy.sim);
        rig_open_ok(&copy);
        assert_int_equal(copy.count, 0);
        assert_false(copy.found.lost);
        rig_done(&copy);
    }
    assert_true(counters(&rig).reused > 5);
    rig_done(&rig);
}

/* ---- failures ------------------------------------------------------------------- */

/* Each call of an append, a prepare and a trim fails in turn: the commit is refused and
 * never comes back once a later one has succeeded; the others are all there. */
static void a_failed_call_voids_its_frame_alone(void **state)
{
    for (unsigned nth = 1;; nth++) {
        struct log_rig rig = open_rig();
        rig_append_ok(&rig, "a");
        rig_append_long(&rig, "b", 300);
        uint64_t before = disk_sim_calls(rig.sim);
        disk_sim_fail(rig.sim, nth, nth % 3 ? ERR_IO : ERR_FULL);
        bool first = rig_append(&rig, bytes_str("c")) == OK;
        bool prepared = log_prepare(rig.log) == OK;
        uint8_t room[300] = "d.";
        bool second = rig_append(&rig, bytes_of(room, sizeof room)) == OK;
        log_trim(rig.log, 2);
        bool reached = disk_sim_calls(rig.sim) - before >= nth;
        disk_sim_fail(rig.sim, 0, OK);
        rig_append_ok(&rig, "e");
        rig.mark.sequence = 2;
        assert_int_equal(log_sequence(rig.log), 3u + first + second);

        char expected[16] = "";
        strcat(strcat(strcat(expected, first ? "c " : ""), second ? "d " : ""), "e");
        for (int how = 0; how < 3; how++) {
            struct log_rig copy;
            rig_clone(&copy, &rig);
            disk_sim_seed(copy.sim, nth * 3u + (unsigned)how);
            if (how)
                disk_sim_crash(copy.sim);
            rig_open_ok(&copy);
            assert_string_equal(rig_replayed(&copy), expected);
            assert_false(copy.found.lost);
            rig_append_ok(&copy, "f");
            rig_crash(&copy);
            rig_open_ok(&copy);
            assert_string_equal(rig_replayed(&copy), strcat(strcpy((char[32]){0}, expected), " f"));
            rig_done(&copy);
        }
        rig_done(&rig);
        assert_true(prepared || reached);
        if (!reached)
            break;
    }
}

/* The last append failed and nothing came after it: its frame is there wholly or not
 * at all, and once it has been seen it stays. */
static void a_doubtful_last_frame_is_settled_by_the_next_opening(void **state)
{
    unsigned seen = 0;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct log_rig rig = open_rig();
        rig_append_ok(&rig, "a");
        disk_sim_seed(rig.sim, seed);
        disk_sim_fail(rig.sim, 1 + seed % 2, ERR_IO);
        assert_int_equal(rig_append(&rig, bytes_str("doubtful")), ERR_IO);
        if (seed % 3)
            rig_kill(&rig);
        else
            rig_crash(&rig);
        rig_open_ok(&rig);
        char first[64];
        strcpy(first, rig_replayed(&rig));
        assert_true(strcmp(first, "a") == 0 || strcmp(first, "a doubtful") == 0);
        seen += rig.count == 2;
        rig_crash(&rig);
        rig_open_ok(&rig);
        assert_string_equal(rig_replayed(&rig), first);
        rig_done(&rig);
    }
    assert_true(seen > 5 && seen < 55);
}

/* A failing disk does not fill up with segments that nobody knows. */
static void failing_to_make_segments_leaves_no_files(void **state)
{
    for (unsigned nth = 1; nth <= 5; nth++) {
        struct log_rig rig = open_rig();
        rig_append_long(&rig, "a", 300);
        for (int i = 0; i < 4; i++) {
            disk_sim_fail(rig.sim, nth, ERR_IO);
            assert_int_equal(log_prepare(rig.log), ERR_IO);
            disk_sim_fail(rig.sim, 0, OK);
            assert_string_equal(rig_names(&rig), "0000000000000001.log");
        }
        rig_done(&rig);
    }
}

static void a_full_disk_refuses_and_goes_on_when_there_is_room(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_long(&rig, "a", 300);
    disk_sim_full(rig.sim, disk_sim_used(rig.sim) + SMALL / 2);
    uint8_t room[300] = "b.";
    assert_int_equal(rig_append(&rig, bytes_of(room, sizeof room)), ERR_FULL);
    assert_int_equal(log_prepare(rig.log), ERR_FULL);
    rig_append_ok(&rig, "short");
    disk_sim_full(rig.sim, UINT64_MAX);
    assert_int_equal(rig_append(&rig, bytes_of(room, sizeof room)), OK);
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "a short b");
    rig_done(&rig);
}

/* Appends until the frame's sync fails. */
static void fail_a_sync(struct log_rig *rig)
{
    assert_int_equal(log_prepare(rig->log), OK);
    disk_sim_fail(rig->sim, 2, ERR_IO); /* write, sync */
    assert_int_equal(rig_append(rig, bytes_str("x")), ERR_IO);
}

/* For minutes no sync succeeds: neither folder nor memory grows, and what comes after
 * is all there. */
static void a_disk_that_keeps_failing_is_not_filled(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    for (int i = 0; i < 500; i++) {
        fail_a_sync(&rig);
        assert_true(counters(&rig).segments <= 2);
        assert_true(disk_sim_used(rig.sim) <= 3 * SMALL);
    }
    rig_append_ok(&rig, "b");
    assert_true(counters(&rig).failures >= 500);
    rig_crash(&rig);
    rig_open_ok(&rig);
    assert_string_equal(rig_replayed(&rig), "a b");
    rig_done(&rig);
}

/* Every second sync fails, so each segment is left with a frame in it: so many may
 * wait for the tree, then it must take them over first. */
static void segments_that_failures_ended_are_few(void **state)
{
    struct log_rig rig = open_rig();
    unsigned taken = 0;
    for (; taken < LOG_FAILED_MAX; taken++) {
        rig_append_ok(&rig, "a");
        disk_sim_fail(rig.sim, 2, ERR_IO); /* write, sync */
        assert_int_equal(rig_append(&rig, bytes_str("x")), ERR_IO);
    }
    assert_int_equal(rig_append(&rig, bytes_str("x")), ERR_BUSY);
    assert_true(counters(&rig).segments <= LOG_FAILED_MAX + 1);

    rig.mark.sequence = taken - 1;
    log_trim(rig.log, rig.mark.sequence);
    rig_append_ok(&rig, "b");
    assert_true(counters(&rig).segments <= 3);
    assert_int_equal(counters(&rig).reused, 0); /* what has failed is not trusted again */
    reopen(&rig);
    assert_string_equal(rig_replayed(&rig), "a b");
    rig_done(&rig);
}

/* Nor does it fill where no file can be removed. */
static void segments_that_cannot_be_removed_are_few(void **state)
{
    struct log_rig rig = {0};
    rig_init(&rig, SMALL);
    rig.keeps_names = true;
    rig_open_ok(&rig);
    for (int i = 0; i < LOG_FAILED_MAX; i++)
        fail_a_sync(&rig);
    assert_int_equal(log_prepare(rig.log), OK);
    for (int i = 0; i < 50; i++)
        assert_int_equal(rig_append(&rig, bytes_str("x")), ERR_IO);
    assert_true(disk_sim_used(rig.sim) <= (LOG_FAILED_MAX + 1) * SMALL);
    rig_kill(&rig);
    rig.keeps_names = false;
    rig_open_ok(&rig);
    rig_append_ok(&rig, "b");
    assert_true(disk_sim_used(rig.sim) <= 2 * SMALL); /* the last frame in doubt may be found */
    rig_done(&rig);
}

/* Nor where the last of them is an empty one that a longer one takes the place of, and
 * that fails too. */
static void an_empty_segment_too_many_is_kept(void **state)
{
    static uint8_t long_value[2 * SMALL];
    struct log_rig rig = {0};
    rig_init(&rig, SMALL);
    rig.keeps_names = true;
    rig_open_ok(&rig);
    for (int i = 0; i < LOG_FAILED_MAX - 1; i++)
        fail_a_sync(&rig);
    assert_int_equal(log_prepare(rig.log), OK);
    disk_sim_fail(rig.sim, 1, ERR_FULL); /* the write: the segment is current, and empty */
    assert_int_equal(rig_append(&rig, bytes_str("x")), ERR_FULL);

    for (int nth = 1; nth < 10; nth++) {
        disk_sim_fail(rig.sim, (uint64_t)nth, ERR_IO);
        assert_int_equal(rig_append(&rig, bytes_of(long_value, sizeof long_value)), ERR_IO);
    }

    disk_sim_fail(rig.sim, UINT64_MAX, ERR_IO);
    rig_append_ok(&rig, "b");
    rig_done(&rig);
}

/* Where a write needs room even in a file that has its blocks: the frame is refused as
 * such, no segment is spent on it, and the next one takes its place. */
static void a_write_that_finds_no_room_is_told_and_tried_again(void **state)
{
    for (int crash = 0; crash < 3; crash++) {
        struct log_rig rig = open_rig();
        rig_append_ok(&rig, "a");
        for (int i = 0; i < 100; i++) {
            disk_sim_fail(rig.sim, 1, ERR_FULL);
            uint8_t room[100] = "x.";
            assert_int_equal(rig_append(&rig, bytes_of(room, sizeof room)), ERR_FULL);
        }
        rig_append_ok(&rig, "b");
        assert_string_equal(rig_names(&rig), "0000000000000001.log");
        if (crash == 1)
            rig_kill(&rig);
        else if (crash == 2)
            rig_crash(&rig);
        else
            rig_close(&rig);
        rig_open_ok(&rig);
        assert_string_equal(rig_replayed(&rig), "a b");
        rig_done(&rig);
    }
}

/* A sync that finds no room leaves the frame in doubt, and says why. */
static void a_sync_that_finds_no_room_is_told(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    disk_sim_fail(rig.sim, 2, ERR_FULL);
    assert_int_equal(rig_append(&rig, bytes_str("x")), ERR_FULL);
    rig_append_ok(&rig, "b");
    rig_crash(&rig);
    rig_open_ok(&rig);
    assert_string_equal(rig_replayed(&rig), "a b");
    rig_done(&rig);
}

/* The process dies after a segment has its name and before the name is synced. The next
 * one uses the segment; the power goes. */
static void a_name_that_was_not_synced_is_before_it_is_used(void **state)
{
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct log_rig rig = open_rig();
        rig_append_long(&rig, "a", 300);
        disk_sim_seed(rig.sim, seed);
        disk_sim_crash_at(rig.sim, 5); /* create, write, sync, rename, sync_folder */
        assert_int_equal(log_prepare(rig.log), ERR_IO);
        rig_kill(&rig);
        rig_open_ok(&rig);
        rig_append_long(&rig, "b", 300);
        rig_crash(&rig);
        rig_open_ok(&rig);
        assert_string_equal(rig_replayed(&rig), "a b");
        rig_done(&rig);
    }
}

/* ---- the mark -------------------------------------------------------------------- */

static void a_log_of_another_store_is_refused_untouched(void **state)
{
    for (int present = 0; present < 2; present++) {
        struct log_rig rig = open_rig();
        rig_append_ok(&rig, "a");
        rig_close(&rig);
        memset(&rig.mark, 9, sizeof rig.mark);
        rig.mark.present = present;
        rig.mark.sequence = 0;
        uint64_t changes = disk_sim_changes(rig.sim);
        assert_int_equal(rig_open(&rig), ERR_REFUSED);
        assert_int_equal(disk_sim_changes(rig.sim), changes);
        assert_non_null(strstr((char *)rig.why.data, "log/0000000000000001.log: offset 0: "));
        rig_done(&rig);
    }
}

static void a_log_that_is_missing_is_lost(void **state)
{
    struct log_rig rig;
    rig_init(&rig, SMALL);
    rig.mark.present = true;
    rig.mark.sequence = 5;
    rig_open_ok(&rig);
    assert_true(rig.found.lost);
    assert_int_equal(log_sequence(rig.log), 5);
    assert_int_equal(rig.mark.id[0], 7); /* a new log begins */
    rig_append_ok(&rig, "f");
    reopen(&rig);
    assert_false(rig.found.lost);
    assert_string_equal(rig_replayed(&rig), "f");
    assert_int_equal(rig.sequences[0], 6);
    rig_done(&rig);
}

static void an_older_log_is_lost_and_gone_for_good(void **state)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct log_rig rig = open_rig();
        for (int i = 0; i < 8; i++)
            rig_append_long(&rig, "x", 100);
        rig_close(&rig);
        rig.mark.sequence = 20;
        memset(rig.mark.id, 7, LOG_ID_SIZE);
        rig_open_ok(&rig);
        assert_true(rig.found.lost);
        memset(rig.mark.id, 8, LOG_ID_SIZE); /* as if the new id were another */
        disk_sim_seed(rig.sim, seed);
        rig_crash(&rig);
        rig_open_ok(&rig); /* none of the old segments, under the old id, is there */
        rig_done(&rig);
    }
}

/* Nor is an older log taken away from a tree that needs the right one: the start is refused
 * before anything is touched, and with the right log beside it all is there. */
static void an_older_log_of_a_half_applied_tree_is_left_alone(void **state)
{
    struct log_rig rig = open_rig(), older;
    for (int i = 0; i < 8; i++)
        rig_append_long(&rig, "x", 100);
    rig_close(&rig);
    rig_clone(&older, &rig);
    older.mark.sequence = 20;
    older.mark.applying = 25;
    uint64_t changes = disk_sim_changes(older.sim);

    assert_int_equal(rig_open(&older), ERR_DAMAGED);

    assert_int_equal(disk_sim_changes(older.sim), changes);
    assert_non_null(strstr((char *)older.why.data, "log: the log is missing or older than its store"));
    older.mark = rig.mark;
    older.mark.sequence = 4;
    older.mark.applying = 8;
    rig_open_ok(&older);
    assert_int_equal(older.count, 4);
    rig_done(&older);
    rig_done(&rig);
}

/* A last frame that cannot be read is no write that was cut off where the tree has a part of it. */
static void a_damaged_end_of_a_half_applied_log_is_no_tail(void **state)
{
    struct log_rig rig = open_rig(), other;
    struct buf bytes;
    rig_append_ok(&rig, "one");
    rig_append_ok(&rig, "two");
    rig_close(&rig);
    buf_init(&bytes, SIZE_MAX);
    assert_int_equal(disk_sim_read_file(rig.sim, "0000000000000001.log", &bytes), OK);
    size_t at = bytes.len;
    while (at > 0 && memcmp(bytes.data + at - 3, "two", 3) != 0)
        at--;
    bytes.data[at - 1] ^= 1;
    disk_sim_write_file(rig.sim, "0000000000000001.log", buf_bytes(&bytes));
    buf_done(&bytes);
    rig_clone(&other, &rig);
    other.mark.sequence = 1;
    other.mark.applying = 2;

    assert_int_equal(rig_open(&other), ERR_DAMAGED);

    assert_non_null(strstr((char *)other.why.data, "the last frames of the log cannot be read"));
    rig.mark.sequence = 1;
    rig_open_ok(&rig); /* the tree has nothing of it */
    assert_true(rig.found.cut);
    rig_done(&other);
    rig_done(&rig);
}

static void a_newer_format_is_refused_untouched(void **state)
{
    struct log_rig rig = open_rig();
    rig_append_ok(&rig, "a");
    rig_close(&rig);
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX);
    assert_int_equal(disk_sim_read_file(rig.sim, "0000000000000001.log", &bytes), OK);
    bytes.data[11] = LOG_FORMAT + 1;
    buf_patch_u32(&bytes, 60, crc32c(0, bytes_of(bytes.data, 60)));
    disk_sim_write_file(rig.sim, "0000000000000001.log", buf_bytes(&bytes));
    buf_done(&bytes);
    uint64_t changes = disk_sim_changes(rig.sim);
    assert_int_equal(rig_open(&rig), ERR_VERSION);
    assert_int_equal(disk_sim_changes(rig.sim), changes);
    rig_done(&rig);
}

/* ---- damage, or a tail -------------------------------------------------------------- */

/* Ten frames in four segments, and a segment that is ready. */
static struct log_rig small_log(void)
{
    struct log_rig rig = open_rig();
    for (int i = 0; i < 10; i++)
        rig_append_long(&rig, (char[]){(char)('0' + i), 0}, 97); /* filled up by 3 bytes */
    assert_int_equal(log_prepare(rig.log), OK);
    rig_close(&rig);
    return rig;
}

static void check_refused_with_file_and_offset(struct log_rig *rig)
{
    buf_put_u8(&rig->why, 0);
    assert_non_null(strstr((char *)rig->why.data, "log/000000000000000"));
    assert_non_null(strstr((char *)rig->why.data, ".log: offset "));
}

static void a_missing_segment_in_the_middle_is_damage(void **state)
{
    const char *names[] = {"0000000000000001.log", "0000000000000002.log", "0000000000000003.log"};
    for (size_t i = 0; i < 3; i++) {
        struct log_rig rig = small_log();
        struct disk *disk = disk_sim_mount(rig.sim);
        assert_int_equal(disk->ops->remove(disk, names[i]), OK);
        disk->ops->free(disk);
        assert_int_equal(rig_open(&rig), ERR_DAMAGED);
        check_refused_with_file_and_offset(&rig);
        rig_done(&rig);
    }
}

/* A flip in the only frame of the last segment cannot be told from a torn tail. */
static void a_flipped_bit_is_found_wherever_it_is(void **state)
{
    struct log_rig rig = small_log();
    unsigned refused = 0, whole = 0, cut = 0;
    for (unsigned file = 1; file <= 5; file++) {
        char name[DISK_NAME_MAX] = "0000000000000001.log";
        name[15] = (char)('0' + file);
        for (unsigned bit = 0; bit < SMALL * 8; bit++) {
            struct log_rig copy;
            rig_clone(&copy, &rig);
            disk_sim_flip(copy.sim, name, bit);
            enum err err = rig_open(&copy);
            if (err == OK) {
                bool last = strcmp(rig_replayed(&copy), "0 1 2 3 4 5 6 7 8") == 0;
                assert_true(last || strcmp(rig_replayed(&copy), "0 1 2 3 4 5 6 7 8 9") == 0);
                assert_true(!last || file == 4);
                assert_false(copy.found.lost);
                cut += last;
                whole += !last;
            } else {
                assert_int_equal(err, ERR_DAMAGED);
                check_refused_with_file_and_offset(&copy);
                refused++;
            }
            rig_done(&copy);
        }
    }
    assert_true(refused > 9 * 130 * 8 && cut > 130 * 8 && cut <= 136 * 8 && whole > 1000);
    rig_done(&rig);
}

/* The same where all frames stand in one segment, and the tree has some of them. */
static void a_flipped_bit_in_the_only_segment_is_found(void **state)
{
    for (uint64_t mark = 0; mark <= 3; mark++) {
        struct log_rig rig = open_rig();
        for (int i = 0; i < 3; i++)
            rig_append_long(&rig, (char[]){(char)('0' + i), 0}, 100);
        rig_close(&rig);
        rig.mark.sequence = mark;
        for (unsigned bit = SEGMENT_HEADER * 8; bit < (SEGMENT_HEADER + 2 * 136) * 8; bit++) {
            struct log_rig copy;
            rig_clone(&copy, &rig);
            disk_sim_flip(copy.sim, "0000000000000001.log", bit);
            enum err err = rig_open(&copy);
            if (err == OK) /* a bit of the filling */
                assert_int_equal(copy.count, 3 - mark);
            else
                check_refused_with_file_and_offset(&copy);
            rig_done(&copy);
        }
        rig_done(&rig);
    }
}

/* However much of the last frame is there, and whatever stands in its place. */
static void a_tail_cut_anywhere_is_given_up(void **state)
{
    struct log_rig rig = small_log();
    enum { FROM = SEGMENT_HEADER, END = FROM + 32 + 1 + 2 + 1 + 97 };
    for (unsigned at = FROM; at <= END + 8; at++) {
        for (int how = 0; how < 4; how++) {
            struct log_rig copy;
            struct buf bytes;
            rig_clone(&copy, &rig);
            buf_init(&bytes, SIZE_MAX);
            assert_int_equal(disk_sim_read_file(copy.sim, "0000000000000004.log", &bytes), OK);
            if (how == 0)
                bytes.len = at;
            else
                for (unsigned i = at; i < bytes.len; i++)
                    bytes.data[i] = how == 1 ? 0 : how == 2 ? 0xff : (uint8_t)(bytes.data[i] + i + 1);
            disk_sim_write_file(copy.sim, "0000000000000004.log", buf_bytes(&bytes));
            buf_done(&bytes);
            rig_open_ok(&copy);
            assert_int_equal(copy.count, at < END ? 9 : 10);
            assert_false(copy.found.lost);
            rig_append_ok(&copy, "more");
            size_t count = copy.count;
            rig_crash(&copy);
            rig_open_ok(&copy);
            assert_int_equal(copy.count, count + 1);
            assert_string_equal(rig_replayed(&copy) + 18, at < END ? "more" : "9 more");
            rig_done(&copy);
        }
    }
    rig_done(&rig);
}

/* A client may store whatever it likes, a frame of this log too. */
static void values_that_look_like_frames_are_values(void **state)
{
    struct log_rig rig = open_rig();
    rig.segment_bytes = 4096;
    reopen(&rig);
    rig_append_ok(&rig, "a");
    rig_append_ok(&rig, "b");
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX);
    assert_int_equal(disk_sim_read_file(rig.sim, "0000000000000001.log", &bytes), OK);
    for (size_t shift = 0; shift < 8; shift++) {
        struct log_rig copy;
        rig_clone(&copy, &rig);
        rig_open_ok(&copy);
        /* Copies of both frames at every alignment, then a torn frame that holds them. */
        bytes.data[SEGMENT_HEADER - 8 + shift] = 0;
        struct bytes value = bytes_of(bytes.data + SEGMENT_HEADER - 8 + shift, 200);
        assert_int_equal(rig_append(&copy, value), OK);
        disk_sim_crash_at(copy.sim, 2); /* the write happens, the sync does not */
        assert_int_equal(rig_append(&copy, value), ERR_IO);
        rig_crash(&copy);
        rig_open_ok(&copy);
        assert_true(copy.count == 3 || copy.count == 4);
        assert_true(bytes_equal(buf_bytes(&copy.values[2]), value));
        rig_done(&copy);
    }
    buf_done(&bytes);
    rig_done(&rig);
}

/* A torn frame whose value is full of headers that claim to be frames of any length: to
 * look for frames in there takes no longer than to read it. */
static void false_headers_do_not_slow_an_opening_down(void **state)
{
    struct log_rig rig;
    enum { LEN = 4 << 20 };
    rig_init(&rig, LEN + 4096);
    rig_open_ok(&rig);
    struct buf value;
    buf_init(&value, SIZE_MAX);
    buf_put_u8(&value, 0); /* the value stands at offset 39 of its frame */
    while (value.len < LEN - 32) {
        buf_put_text(&value, "YzFrAAAA");
        buf_put_u64(&value, 1);                           /* the segment */
        buf_put_u64(&value, 2);                           /* the sequence */
        buf_put_u32(&value, (uint32_t)(LEN - value.len)); /* all there is */
        buf_put_u32(&value, 1);
    }
    rig_append_ok(&rig, "a");
    assert_int_equal(rig_append(&rig, buf_bytes(&value)), OK);
    buf_done(&value);
    rig_close(&rig);
    disk_sim_flip(rig.sim, "0000000000000001.log", 8 * LEN);
    rig_open_ok(&rig);
    assert_string_equal(rig_replayed(&rig), "a");
    assert_true(rig.found.cut);
    rig_done(&rig);
}

/* ---- reading fails ----------------------------------------------------------------- */

static void an_opening_that_fails_can_be_tried_again(void **state)
{
    struct log_rig rig = small_log();
    for (unsigned nth = 1;; nth++) {
        struct log_rig copy;
        rig_clone(&copy, &rig);
        uint64_t calls = disk_sim_calls(copy.sim);
        disk_sim_fail(copy.sim, nth, ERR_IO);
        enum err err = rig_open(&copy);
        bool reached = disk_sim_calls(copy.sim) - calls >= nth;
        disk_sim_fail(copy.sim, 0, OK);
        if (err != OK) {
            assert_int_equal(err, ERR_IO);
            assert_true(copy.why.len > 0);
            rig_open_ok(&copy);
        }
        assert_string_equal(rig_replayed(&copy), "0 1 2 3 4 5 6 7 8 9");
        rig_done(&copy);
        if (!reached)
            break;
    }
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_replayed_in_order),
        cmocka_unit_test(what_the_tree_has_is_not_replayed),
        cmocka_unit_test(a_full_segment_is_followed_by_the_next),
        cmocka_unit_test(a_frame_may_fill_its_segment_to_the_last_byte),
        cmocka_unit_test(a_long_frame_overtakes_the_segment_that_is_ready),
        cmocka_unit_test(an_overtaken_segment_is_prepared_again),
        cmocka_unit_test(segments_that_the_tree_has_are_taken_over_or_go),
        cmocka_unit_test(the_last_frame_is_never_trimmed),
        cmocka_unit_test(nothing_of_an_old_segment_comes_back),
        cmocka_unit_test(a_failed_call_voids_its_frame_alone),
        cmocka_unit_test(a_doubtful_last_frame_is_settled_by_the_next_opening),
        cmocka_unit_test(failing_to_make_segments_leaves_no_files),
        cmocka_unit_test(a_full_disk_refuses_and_goes_on_when_there_is_room),
        cmocka_unit_test(a_disk_that_keeps_failing_is_not_filled),
        cmocka_unit_test(segments_that_failures_ended_are_few),
        cmocka_unit_test(segments_that_cannot_be_removed_are_few),
        cmocka_unit_test(an_empty_segment_too_many_is_kept),
        cmocka_unit_test(a_write_that_finds_no_room_is_told_and_tried_again),
        cmocka_unit_test(a_sync_that_finds_no_room_is_told),
        cmocka_unit_test(a_name_that_was_not_synced_is_before_it_is_used),
        cmocka_unit_test(a_log_of_another_store_is_refused_untouched),
        cmocka_unit_test(a_log_that_is_missing_is_lost),
        cmocka_unit_test(an_older_log_is_lost_and_gone_for_good),
        cmocka_unit_test(an_older_log_of_a_half_applied_tree_is_left_alone),
        cmocka_unit_test(a_damaged_end_of_a_half_applied_log_is_no_tail),
        cmocka_unit_test(a_newer_format_is_refused_untouched),
        cmocka_unit_test(a_missing_segment_in_the_middle_is_damage),
        cmocka_unit_test(a_flipped_bit_is_found_wherever_it_is),
        cmocka_unit_test(a_flipped_bit_in_the_only_segment_is_found),
        cmocka_unit_test(a_tail_cut_anywhere_is_given_up),
        cmocka_unit_test(values_that_look_like_frames_are_values),
        cmocka_unit_test(false_headers_do_not_slow_an_opening_down),
        cmocka_unit_test(an_opening_that_fails_can_be_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
