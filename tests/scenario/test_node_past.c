/* Ids that come to an end. Stores that are an older state of themselves, put back over the same
 * file, and who they meet first: what a replica has shown goes round among those who know it
 * (src/sync/past.c). And ids that an operator retires where not all have heard of it, with walks
 * between those who have and those who have not (src/sync/retire.c). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "counter.h"
#include "peers.h"
#include "space.h"
#include "stories.h"

static void put_many(struct world *w, int i, const char *prefix, int count)
{
    char key[64];
    for (int k = 0; k < count; k++) {
        snprintf(key, sizeof key, "%s%05d", prefix, k);
        assert_int_equal(world_put(w, i, key, "1"), OK);
    }
}

/* Three nodes, of which 2 has started twice, and goes back to a state before 20 of its
 * operations; it is down. */
static struct world *one_falls_back(uint64_t seed)
{
    struct world *w = cluster_after(&(struct world_options){.seed = seed}, 3, FORMED_MS);
    world_kill(w, 2);
    world_start_alone(w, 2);
    put_many(w, 2, "old", 20);
    world_run(w, 2000);
    world_save(w, 2);
    put_many(w, 2, "lost", 20);
    assert_int_equal(world_delete(w, 2, "old00001"), OK);
    world_run(w, 1000);
    world_kill(w, 2);
    world_restore(w, 2, true);
    return w;
}

static void assert_nothing_lost(struct world *w, int count, int alone)
{
    char last[32];
    snprintf(last, sizeof last, "alone%05d", alone - 1);
    assert_agree_within(w, 30000);
    for (int i = 0; i < count; i++) {
        assert_non_null(world_get(w, i, "lost00000"));
        assert_non_null(world_get(w, i, "lost00019"));
        assert_non_null(world_get(w, i, "alone00000"));
        assert_non_null(world_get(w, i, last));
        assert_null(world_get(w, i, "old00001"));
    }
}

/* The newcomer has been told by the others, and refuses it. */
static void a_newcomer_knows_what_others_remember(void **state)
{
    struct world *w = one_falls_back(501);
    struct replica_id before, after;
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 2, true);
    world_start(w, 3, (int[]){0}, 1);
    world_run(w, 2000);
    world_start(w, 2, (int[]){3}, 1);
    world_replica_id(w, 2, &before);
    put_many(w, 2, "alone", 30);
    world_run(w, 5000);
    world_replica_id(w, 2, &after);
    assert_false(replica_id_equal(&before, &after));
    assert_int_equal(world_counter(w, 3, "sync_forks_met"), 1);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 2, false);
    assert_nothing_lost(w, 4, 30);
    world_free(w);
}

/* Node 1 has what was lost from node 0 alone, and has heard of no more of that past than where it began: what
 * its hello tells of us is of that past, and nothing that others have of ours. */
static void what_a_hello_tells_is_not_ours(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 509}, 3, FORMED_MS);
    put_many(w, 2, "old", 5);
    world_run(w, 2000);
    world_kill(w, 2);
    world_save(w, 2);
    world_cut(w, 1, 2, true);
    world_start_alone(w, 2);
    world_run(w, 2000);
    put_many(w, 2, "lost", 20);
    world_run(w, 8000);
    assert_non_null(world_get(w, 1, "lost00019"));
    world_kill(w, 2);
    world_kill(w, 0);
    world_restore(w, 2, true);
    world_start_alone(w, 2);
    put_many(w, 2, "alone", 30);
    world_cut(w, 1, 2, false);
    world_run(w, 10000);
    assert_int_equal(world_counter(w, 1, "sync_forks_met"), 1);
    world_start_alone(w, 0);
    assert_agree_within(w, 60000);
    for (int i = 0; i < 3; i++) {
        assert_non_null(world_get(w, i, "lost00000"));
        assert_non_null(world_get(w, i, "lost00019"));
        assert_non_null(world_get(w, i, "alone00000"));
        assert_non_null(world_get(w, i, "alone00029"));
    }
    world_free(w);
}

/* The newcomer meets it before all others, who are there: it asks them first. */
static void a_newcomer_asks_before_it_takes(void **state)
{
    struct world *w = one_falls_back(502);
    world_kill(w, 1);
    world_block(w, 2, "n0"); /* so that replication of these two does not tell */
    world_start(w, 2, (int[]){0}, 1);
    put_many(w, 2, "alone", 30);
    world_run(w, 5000);
    world_start(w, 3, (int[]){2}, 1);
    world_run(w, 5000);
    assert_int_equal(world_counter(w, 3, "sync_forks_met"), 1);
    world_block(w, 2, NULL);
    world_start_alone(w, 1);
    assert_nothing_lost(w, 4, 30);
    world_free(w);
}

/* Runs until node i has a link with node `peer`. */
static void run_until_linked(struct world *w, int i, int peer)
{
    char name[32];
    bool up = false;
    snprintf(name, sizeof name, "\"Peer\":\"n%d", peer);
    for (int n = 0; n < 100 && !up; n++) {
        enum err err;
        world_run(w, 100);
        const char *link = strstr(world_request(w, i, NODE_REQUEST_STATUS, NULL, &err, 1000), name);
        const char *state = link ? strstr(link, "\"State\":") : NULL;
        up = state && strncmp(state, "\"State\":\"up\"", 12) == 0;
    }
    assert_true(up);
}

/* Node 3 has met node 2, an older state of itself, and takes nothing of it; `teller`, who is down,
 * remembers more, comes and tells. */
static void assert_waits_for(struct world *w, int teller)
{
    run_until_linked(w, 3, 2);
    put_many(w, 2, "later", 1);
    world_run(w, 1000);
    assert_null(world_get(w, 3, "later00000"));
    world_cut(w, teller, 2, true);
    world_cut(w, teller, 3, false);
    world_start(w, teller, (int[]){3}, 1);
    world_run(w, 5000);
    assert_int_equal(world_counter(w, 3, "sync_forks_met"), 1);
    assert_int_equal(world_counter(w, 3, "sync_pasts_differ"), 0);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 2, false);
}

/* A state of before its first write is an older one, too. */
static void a_newcomer_asks_for_who_has_not_written(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 505}, 3, FORMED_MS);
    world_kill(w, 2);
    world_start_alone(w, 2);
    world_run(w, 2000);
    world_save(w, 2);
    put_many(w, 2, "lost", 20);
    world_run(w, 1000);
    for (int i = 0; i < 3; i++)
        world_kill(w, i);
    world_restore(w, 2, true);
    world_start_alone(w, 2);
    world_start(w, 3, (int[]){2}, 1);
    assert_waits_for(w, 0);
    put_many(w, 2, "alone", 30);
    world_start_alone(w, 1);
    assert_nothing_lost(w, 4, 30);
    world_free(w);
}

/* Node 0 has what was lost, by 1, and has not heard how far 2 had come itself. The newcomer has
 * all that from 0 when it meets 2. */
static void a_newcomer_asks_though_some_have_told(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 506}, 3, FORMED_MS);
    world_kill(w, 2);
    world_start_alone(w, 2);
    put_many(w, 2, "old", 20);
    world_run(w, 2000);
    world_save(w, 2);
    world_cut(w, 0, 2, true);
    put_many(w, 2, "lost", 20);
    assert_int_equal(world_delete(w, 2, "old00001"), OK);
    world_run(w, 5000);
    for (int i = 1; i < 3; i++)
        world_kill(w, i);
    world_restore(w, 2, true);
    world_start_alone(w, 2);
    put_many(w, 2, "alone", 30);
    world_kill(w, 2);
    world_start(w, 3, (int[]){0}, 1);
    world_run(w, 8000);
    assert_non_null(world_get(w, 3, "lost00019"));
    world_start(w, 2, (int[]){3}, 1);
    assert_waits_for(w, 1);
    assert_nothing_lost(w, 4, 30);
    world_free(w);
}

/* A first meeting that was broken off has asked nobody who can tell of what came after. */
static void who_was_met_for_a_moment_is_asked_for_again(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 507}, 3, FORMED_MS);
    world_kill(w, 2);
    world_start_alone(w, 2);
    put_many(w, 2, "old", 20);
    world_run(w, 2000);
    world_save(w, 2);
    for (int i = 0; i < 2; i++) {
        world_kill(w, i);
        world_cut(w, i, 3, true);
    }
    world_start(w, 3, (int[]){2}, 1);
    run_until_linked(w, 3, 2);
    world_kill(w, 2);
    world_cut(w, 2, 3, true);
    world_start_alone(w, 0);
    world_start_alone(w, 2);
    put_many(w, 2, "lost", 20);
    assert_int_equal(world_delete(w, 2, "old00001"), OK);
    world_run(w, 10000);
    world_kill(w, 0);
    world_kill(w, 2);
    world_restore(w, 2, true);
    world_start_alone(w, 2);
    put_many(w, 2, "alone", 30);
    world_kill(w, 2);
    world_cut(w, 2, 3, false);
    world_start(w, 2, (int[]){3}, 1);
    assert_waits_for(w, 0);
    world_cut(w, 1, 3, false);
    world_start_alone(w, 1);
    assert_nothing_lost(w, 4, 30);
    world_free(w);
}

/* Of node 2 the newcomer has heard the past alone; then it sees it as a member. That it is to be
 * waited for it knows after a restart, too. */
static void who_was_heard_of_and_is_a_member_is_expected(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 508}, 3, FORMED_MS);
    enum err err;
    put_many(w, 2, "k", 3);
    world_run(w, 1000);
    world_kill(w, 2);
    world_run(w, 60000);
    world_cut(w, 2, 3, true);
    world_start(w, 3, (int[]){0}, 1);
    world_run(w, 5000);
    assert_true(world_counter(w, 3, "sync_pasts_heard") > 0);
    assert_null(strstr(world_request(w, 3, NODE_REQUEST_STATUS, NULL, &err, 1000), "n2"));
    world_start_alone(w, 2);
    world_run(w, 10000);
    world_kill(w, 3);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 3, true);
    world_start_alone(w, 3);
    const char *status = world_request(w, 3, NODE_REQUEST_STATUS, NULL, &err, 1000);
    const char *link = strstr(status, "\"Peer\":\"n2");
    assert_non_null(link);
    assert_int_equal(strncmp(strstr(link, "\"Expected\":"), "\"Expected\":true", 15), 0);
    world_free(w);
}

/* As if node i had met so many. */
static void remember_many(struct world *w, int i, size_t count)
{
    struct peers peers = {0};
    struct store_work *work = store_work_new(WORK_NOTES);
    for (size_t n = 0; n < count; n++) {
        struct replica_id id = {.b = {0xee, (uint8_t)(n >> 8), (uint8_t)n, 1}};
        char name[NOTE_NAME_MAX], uuid[REPLICA_ID_TEXT];
        struct peer *peer = peers_get(&peers, &id);
        struct buf note;
        peer->has_starts = peer->departed = true;
        starts_append(&peer->starts, (struct start){1, n});
        snprintf(name, sizeof name, PEER_NOTE "%s", replica_id_text(&id, uuid));
        buf_init(&note, 10000);
        peer_encode(peer, &note);
        store_work_add_note(work, name, buf_bytes(&note));
        buf_done(&note);
    }
    assert_int_equal(store_run(world_store(w, i), 0, work), OK);
    store_work_free(work);
    peers_done(&peers);
}

/* More than a frame holds, and just what two hold: all are heard of, and passed on. */
static void many_pasts_are_told_in_many_frames(void **state)
{
    for (size_t count = 2 * PASTS_MAX; count < 2 * PASTS_MAX + 2; count++) {
        struct world *w = cluster_after(&(struct world_options){.seed = 524}, 2, FORMED_MS);
        remember_many(w, 0, count);
        world_kill(w, 0);
        world_start_alone(w, 0);
        put_many(w, 1, "k", 1);
        world_start(w, 2, (int[]){1}, 1);
        world_run(w, 5000);
        assert_true(world_counter(w, 1, "sync_pasts_heard") >= count);
        assert_true(world_counter(w, 2, "sync_pasts_heard") >= count);
        assert_non_null(world_get(w, 2, "k00000"));
        for (int i = 0; i < 3; i++)
            assert_int_equal(world_counter(w, i, "sync_frames_malformed"), 0);
        world_free(w);
    }
}

/* Node 2 knows node 1 by hearsay alone, and so by no name. */
static void who_was_only_heard_of_is_let_go_by_its_id(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 509}, 2, FORMED_MS);
    struct replica_id one;
    char uuid[REPLICA_ID_TEXT], line[128];
    enum err err;
    world_replica_id(w, 1, &one);
    replica_id_text(&one, uuid);
    world_kill(w, 1);
    world_run(w, 60000);
    world_start(w, 2, (int[]){0}, 1);
    world_run(w, 5000);
    (void)world_request(w, 2, NODE_REQUEST_FORGET, uuid, &err, 1000);
    assert_int_equal(err, OK);
    snprintf(line, sizeof line, "event=replica_forgotten node=%s by=operator", uuid);
    assert_true(world_noticed_by(w, 2, line));
    world_free(w);
}

/* Where nobody else is there, it is taken after a while. */
static void who_is_all_there_is_is_believed(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 503}, 2, FORMED_MS);
    world_kill(w, 1);
    world_start_alone(w, 1);
    put_many(w, 1, "k", 20);
    world_run(w, 1000);
    world_kill(w, 0);
    world_start(w, 2, (int[]){1}, 1);
    world_run(w, 10000);
    assert_string_equal(world_get(w, 2, "k00019"), "1");
    world_free(w);
}

/* A program of protocol 3 is told of no pasts and is not waited for; what it remembers itself
 * it still refuses. */
static void protocol_3_is_spoken(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 504}, 2, FORMED_MS);
    world_kill(w, 0);
    world_protocol(w, 0, 3);
    world_start_alone(w, 0);
    put_many(w, 0, "k", 20);
    put_many(w, 1, "l", 20);
    assert_agree_within(w, 5000);
    world_start(w, 2, (int[]){0}, 1);
    world_run(w, 1000); /* within the time that it would wait for somebody who has to tell */
    assert_string_equal(world_get(w, 2, "k00019"), "1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world_counter(w, i, "sync_frames_malformed"), 0);
        assert_int_equal(world_counter(w, i, "sync_pasts_differ"), 0);
    }
    world_free(w);
}

/* ---- who has left --------------------------------------------------------------------------- */

static bool expects(struct world *w, int i, int peer)
{
    char name[32];
    enum err err;
    snprintf(name, sizeof name, "\"Peer\":\"n%d", peer);
    const char *link = strstr(world_request(w, i, NODE_REQUEST_STATUS, NULL, &err, 1000), name);
    assert_non_null(link);
    return strncmp(strstr(link, "\"Expected\":"), "\"Expected\":true", 15) == 0;
}

static void leave(struct world *w, int i)
{
    enum err err;
    (void)world_request(w, i, NODE_REQUEST_LEAVE, NULL, &err, 5000);
    assert_int_equal(err, OK);
}

/* Cut off from all but `but`, or no more. */
static void cut_off(struct world *w, int i, int but, int nodes, bool cut)
{
    for (int k = 0; k < nodes; k++)
        if (k != i && k != but)
            world_cut(w, i, k, cut);
}

/* Membership has forgotten who left when node 0 is back, and node 1 has been started anew: node 0 waits
 * for it no more, and keeps nothing of deleted keys. */
static void who_left_meanwhile_is_not_waited_for(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 520, .history_ms = 2000}, 3, FORMED_MS);
    put_many(w, 2, "k", 3);
    assert_agree_within(w, 10000);
    cut_off(w, 0, 0, 3, true);
    world_run(w, 30000);
    leave(w, 2);
    for (int k = 0; k < 3; k++)
        assert_int_equal(world_delete(w, 1, (const char *[]){"k00000", "k00001", "k00002"}[k]), OK);
    world_run(w, 90000);
    assert_true(expects(w, 0, 2));
    world_kill(w, 2);
    world_kill(w, 1);
    world_start_alone(w, 1);
    cut_off(w, 0, 0, 3, false);
    assert_agree_within(w, 30000);
    world_run(w, 30000);
    assert_false(expects(w, 0, 2));
    assert_true(world_noticed_by(w, 0, "event=peer_left node=n2"));
    assert_int_equal(world_records(w, 0), 0);
    assert_int_equal(world_rows(w, 0), 0);
    world_kill(w, 0); /* and it is remembered */
    world_start_alone(w, 0);
    assert_false(expects(w, 0, 2));
    world_free(w);
}

/* Node 2 leaves, and comes back, by hand or by -j, while node 3 is cut off, which knows that it has left and
 * tells it when it is back. By then node 2 is away, and waited for. */
static void an_old_goodbye_is_over(void **state)
{
    for (int by_hand = 0; by_hand < 2; by_hand++) {
        struct world *w = cluster_after(&(struct world_options){.seed = 521}, 4, FORMED_MS);
        enum err err;
        put_many(w, 2, "k", 3);
        leave(w, 2);
        world_run(w, 60000);
        assert_false(expects(w, 0, 2));
        cut_off(w, 3, 3, 4, true);
        if (by_hand) {
            (void)world_request(w, 2, NODE_REQUEST_JOIN, "10.0.0.1:7946", &err, 5000);
            assert_int_equal(err, OK);
        } else {
            world_kill(w, 2);
            world_start(w, 2, (int[]){0}, 1);
        }
        run_until_linked(w, 0, 2);
        run_until_linked(w, 1, 2);
        put_many(w, 2, "back", 1);
        world_run(w, 2000);
        assert_non_null(world_get(w, 1, "back00000"));
        world_kill(w, 2);
        world_run(w, 90000);
        assert_false(expects(w, 3, 2));
        cut_off(w, 3, 3, 4, false);
        run_until_linked(w, 0, 3);
        run_until_linked(w, 1, 3);
        world_run(w, 1000);
        for (int i = 0; i < 4; i++)
            assert_true(i == 2 || expects(w, i, 2));
        leave(w, 1); /* tales of others change nothing either */
        world_run(w, 90000);
        assert_true(expects(w, 0, 2));
        assert_false(expects(w, 0, 1));
        world_free(w);
    }
}

/* Its goodbye reached one only, over whom the other one hears it, though its own link hung. */
static void a_goodbye_that_was_cut_off_comes_by_others(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 522}, 3, FORMED_MS);
    world_cut(w, 0, 2, true);
    leave(w, 2);
    world_run(w, 20000); /* its link is silent for 15 s */
    assert_false(expects(w, 0, 2));
    assert_false(expects(w, 1, 2));
    world_free(w);
}

/* What a replica has shown since the link came up is told again: for a store that is lost later. */
static void what_was_shown_is_told_again(void **state)
{
    struct world *w = cluster_after(&(struct world_options){.seed = 523}, 2, FORMED_MS);
    struct replica_id before, after;
    world_kill(w, 1);
    world_start_alone(w, 1);
    run_until_linked(w, 0, 1);
    world_cut(w, 1, 2, true);
    world_start(w, 2, (int[]){0}, 1);
    run_until_linked(w, 0, 2);
    put_many(w, 1, "old", 1);
    world_run(w, 1000);
    world_save(w, 1);
    put_many(w, 1, "lost", 20);
    world_run(w, 130000); /* once a minute, one after the other */
    world_kill(w, 0);
    world_wipe(w, 0);
    world_kill(w, 1);
    world_restore(w, 1, true);
    world_start_alone(w, 1);
    put_many(w, 1, "alone", 40); /* beyond all that it had counted before */
    world_replica_id(w, 1, &before);
    world_cut(w, 1, 2, false);
    world_kill(w, 1);
    world_start(w, 1, (int[]){2}, 1);
    world_run(w, 10000);
    world_replica_id(w, 1, &after);
    assert_false(replica_id_equal(&before, &after));
    assert_agree_within(w, 10000);
    assert_non_null(world_get(w, 1, "lost00019"));
    assert_non_null(world_get(w, 2, "alone00039"));
    world_free(w);
}

/* ---- retired ids and walks ----------------------------------------------------------------- */

static void count(struct world *w, int i, int64_t add)
{
    uint8_t room[KEY_MAX];
    struct store_work *work = store_work_new(WORK_COUNT);
    work->count.key = space_prefix(SPACE_COUNTERS, bytes_str("visits"), room);
    work->count.add = add;
    assert_int_equal(store_run(world_store(w, i), 0, work), OK);
    assert_int_equal(work->err, OK);
    store_work_free(work);
}

static int64_t counted(struct world *w, int i)
{
    uint8_t room[KEY_MAX];
    struct snapshot *snapshot;
    struct record record = {0};
    struct counter_view counter = {0};
    int64_t number = 0;
    size_t malformed;
    assert_int_equal(snapshot_open(world_store(w, i), &snapshot), OK);
    if (snapshot_record(snapshot, space_prefix(SPACE_COUNTERS, bytes_str("visits"), room), &record) == OK &&
        counter_of_record(&counter, &record, &malformed) == OK && !counter_is_absent(&counter))
        assert_int_equal(counter_number(&counter, &number), OK);
    counter_done(&counter);
    record_done(&record);
    snapshot_close(snapshot);
    return number;
}

static void element(char key[KEY_MAX + 1], uint8_t n)
{
    uint8_t room[KEY_MAX], hash[ELEMENT_HASH_SIZE];
    memset(hash, n, sizeof hash);
    struct bytes name = space_element(bytes_str("tags"), hash, room);
    memcpy(key, name.data, name.len);
    key[name.len] = 0;
}

static void put_element(struct world *w, int i, uint8_t n)
{
    char key[KEY_MAX + 1];
    element(key, n);
    assert_int_equal(world_put(w, i, key, "1"), OK);
}

static bool has_element(struct world *w, int i, uint8_t n)
{
    char key[KEY_MAX + 1];
    element(key, n);
    return world_get(w, i, key) != NULL;
}

static enum err ask(struct world *w, int i, enum node_request request, const char *name)
{
    enum err err;
    (void)world_request(w, i, request, name, &err, 5000);
    return err;
}

/* Four nodes. All count on node 2's counter and have its first element; then it adds what node
 * 3 alone takes, and dies; 3 is cut from 0 and 1, and let go there. Node 2's id is retired at 0. */
static struct world *retired_behind_a_back(uint64_t seed, struct replica_id *ret_two)
{
    struct world *w = cluster_after(&(struct world_options){.seed = seed, .history_ms = 2000}, 4, FORMED_MS);
    char two[REPLICA_ID_TEXT], three[REPLICA_ID_TEXT];
    struct replica_id id;
    world_replica_id(w, 2, ret_two);
    replica_id_text(ret_two, two);
    world_replica_id(w, 3, &id);
    replica_id_text(&id, three);
    count(w, 0, 1);
    put_many(w, 0, "zero", 3);
    count(w, 2, 10);
    put_element(w, 2, 1);
    assert_agree_within(w, 10000);
    for (int i = 0; i < 2; i++) {
        world_cut(w, i, 2, true);
        world_cut(w, i, 3, true);
    }
    count(w, 2, 100);
    put_element(w, 2, 2);
    world_run(w, 1000);
    assert_int_equal(counted(w, 3), 111);
    assert_true(has_element(w, 3, 2));
    world_kill(w, 2);
    world_run(w, 60000);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, three), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, two), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, two), OK);
    world_run(w, 30000);
    assert_true(world_noticed_by(w, 0, "event=replica_retired"));
    return w;
}

/* All have what all had of the retired id, and the same of what only some had. */
static void assert_same_end(struct world *w, int nodes)
{
    assert_agree_within(w, 120000);
    for (int i = 0; i < nodes; i++) {
        if (i == 2)
            continue;
        assert_true(has_element(w, i, 1));
        assert_true(counted(w, i) >= 11);
        assert_int_equal(counted(w, i), counted(w, 0));
        assert_int_equal(has_element(w, i, 2), has_element(w, 0, 2));
        assert_non_null(world_get(w, i, "three00000"));
    }
}

/* A walk from who has not heard of the retirement, and holds more of the id, to a newcomer;
 * then both meet those who have. */
static void a_walk_from_who_has_not_heard(void **state)
{
    struct replica_id two;
    struct world *w = retired_behind_a_back(510, &two);
    put_many(w, 3, "three", 3);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 4, true);
    world_start(w, 4, (int[]){3}, 1);
    world_run(w, 20000);
    assert_int_equal(counted(w, 4), 111);
    for (int i = 0; i < 2; i++)
        for (int k = 3; k < 5; k++)
            world_cut(w, i, k, false);
    assert_same_end(w, 5);
    world_free(w);
}

/* A walk to one that has retired the id, from one that holds more of it and has not heard. */
static void a_walk_to_who_has_retired(void **state)
{
    struct replica_id two;
    struct world *w = retired_behind_a_back(511, &two);
    char zero[REPLICA_ID_TEXT], one[REPLICA_ID_TEXT];
    struct replica_id id;
    world_replica_id(w, 0, &id);
    replica_id_text(&id, zero);
    world_replica_id(w, 1, &id);
    replica_id_text(&id, one);
    put_many(w, 3, "three", 3);
    count(w, 3, 1000);
    put_many(w, 3, "more", 1);
    /* 3 lets go of all others, and forgets: who meets it is filled by it */
    assert_int_equal(ask(w, 3, NODE_REQUEST_FORGET, zero), OK);
    assert_int_equal(ask(w, 3, NODE_REQUEST_FORGET, one), OK);
    world_run(w, 60000);
    for (int i = 0; i < 2; i++)
        world_cut(w, i, 3, false);
    assert_same_end(w, 4);
    assert_true(counted(w, 0) >= 1011);
    world_free(w);
}

/* The replica comes back itself: all that it alone had is there again, under its new id. */
static void the_retired_one_comes_back_counting(void **state)
{
    struct replica_id two, now;
    struct world *w = retired_behind_a_back(512, &two);
    put_many(w, 3, "three", 3);
    for (int i = 0; i < 2; i++) {
        world_cut(w, i, 2, false);
        world_cut(w, i, 3, false);
    }
    world_start_alone(w, 2);
    count(w, 2, 1000);
    put_many(w, 2, "back", 1);
    world_run(w, 20000);
    assert_same_end(w, 4);
    world_replica_id(w, 2, &now);
    assert_false(replica_id_equal(&now, &two));
    assert_true(has_element(w, 0, 2));
    assert_int_equal(counted(w, 0), 1111);
    world_free(w);
}

/* Retired elsewhere while it is in the midst of filling a newcomer, who hears of it then. */
static void retired_while_it_fills_another(void **state)
{
    struct world *w = cluster_after(
        &(struct world_options){.seed = 513, .history_ms = 2000, .record_us = 2000}, 2, FORMED_MS);
    struct replica_id one, now;
    char uuid[REPLICA_ID_TEXT];
    put_many(w, 1, "k", 2000);
    count(w, 1, 10);
    put_many(w, 1, "three", 1);
    assert_agree_within(w, 60000);
    world_run(w, 30000);
    world_cut(w, 0, 1, true);
    world_cut(w, 0, 3, true);
    count(w, 1, 100);
    put_many(w, 1, "alone", 1);
    world_run(w, 60000);
    world_replica_id(w, 1, &one);
    replica_id_text(&one, uuid);
    assert_int_equal(ask(w, 0, NODE_REQUEST_FORGET, uuid), OK);
    assert_int_equal(ask(w, 0, NODE_REQUEST_RETIRE, uuid), OK);
    world_run(w, 20000);
    world_start(w, 3, (int[]){1}, 1);
    for (int i = 0; i < 1000 && world_counter(w, 3, "walk_pieces_in") == 0; i++)
        world_run(w, 10);
    assert_int_equal(world_counter(w, 3, "walks_finished"), 0);
    world_cut(w, 0, 1, false);
    world_cut(w, 0, 3, false);
    world_run(w, 30000);
    assert_agree_within(w, 120000);
    world_replica_id(w, 1, &now);
    assert_false(replica_id_equal(&now, &one));
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            continue;
        assert_non_null(world_get(w, i, "alone00000"));
        assert_non_null(world_get(w, i, "k01999"));
        assert_int_equal(counted(w, i), 110);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_hello_tells_is_not_ours),
        cmocka_unit_test(a_newcomer_knows_what_others_remember),
        cmocka_unit_test(a_newcomer_asks_before_it_takes),
        cmocka_unit_test(a_newcomer_asks_for_who_has_not_written),
        cmocka_unit_test(a_newcomer_asks_though_some_have_told),
        cmocka_unit_test(who_was_met_for_a_moment_is_asked_for_again),
        cmocka_unit_test(who_was_heard_of_and_is_a_member_is_expected),
        cmocka_unit_test(many_pasts_are_told_in_many_frames),
        cmocka_unit_test(who_was_only_heard_of_is_let_go_by_its_id),
        cmocka_unit_test(who_is_all_there_is_is_believed),
        cmocka_unit_test(protocol_3_is_spoken),
        cmocka_unit_test(who_left_meanwhile_is_not_waited_for),
        cmocka_unit_test(an_old_goodbye_is_over),
        cmocka_unit_test(a_goodbye_that_was_cut_off_comes_by_others),
        cmocka_unit_test(what_was_shown_is_told_again),
        cmocka_unit_test(a_walk_from_who_has_not_heard),
        cmocka_unit_test(a_walk_to_who_has_retired),
        cmocka_unit_test(the_retired_one_comes_back_counting),
        cmocka_unit_test(retired_while_it_fills_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
