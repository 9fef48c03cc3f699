/* The virtual network itself: what it promises to tests and to the simulator. */
#include "vnet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { HOSTS = 3 };

/* A host that writes down what happens to it. */
struct diary {
    struct vnet *net;
    int host;
    struct addr addr;
    uint64_t deadline; /* UINT64_MAX: none */
    uint64_t stream;   /* the last one accepted */
    char text[2048];
    size_t len;
};

static struct diary diaries[HOSTS];

static void note(struct diary *d, uint64_t now, const char *what, struct bytes bytes)
{
    d->len += (size_t)snprintf(d->text + d->len, sizeof d->text - d->len, "%llu %s%s%.*s\n",
                               (unsigned long long)now, what, bytes.len ? " " : "", (int)bytes.len,
                               bytes.len ? (const char *)bytes.data : "");
    assert_true(d->len < sizeof d->text);
}

static uint64_t on_deadline(void *ctx)
{
    return ((struct diary *)ctx)->deadline;
}

static void on_tick(void *ctx, uint64_t now, struct effects *out)
{
    struct diary *d = ctx;
    d->deadline = UINT64_MAX;
    note(d, now, "tick", bytes_of(NULL, 0));
}

static void on_datagram(void *ctx, uint64_t now, const struct addr *from, struct bytes packet,
                        struct effects *out)
{
    note(ctx, now, "datagram", packet);
}

static void on_accepted(void *ctx, uint64_t now, uint64_t stream, enum stream_kind kind,
                        const struct addr *from, struct effects *out)
{
    ((struct diary *)ctx)->stream = stream;
    note(ctx, now, "accepted", bytes_of(NULL, 0));
}

static void on_opened(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    note(ctx, now, "opened", bytes_of(NULL, 0));
}

static void on_data(void *ctx, uint64_t now, uint64_t stream, struct bytes bytes, struct effects *out)
{
    note(ctx, now, "data", bytes);
}

static void on_closed(void *ctx, uint64_t now, uint64_t stream, struct effects *out)
{
    note(ctx, now, "closed", bytes_of(NULL, 0));
}

static const struct vnet_ops ops = {
    .deadline = on_deadline,
    .tick = on_tick,
    .datagram = on_datagram,
    .accepted = on_accepted,
    .opened = on_opened,
    .data = on_data,
    .closed = on_closed,
};

static struct vnet *network(uint64_t seed)
{
    struct vnet *net = vnet_new(seed);
    for (int i = 0; i < HOSTS; i++) {
        diaries[i] = (struct diary){
            .net = net, .addr = {{10, 0, 0, (uint8_t)i}, 4, 7946}, .deadline = UINT64_MAX};
        diaries[i].host = vnet_add(net, diaries[i].addr, (struct addr){0}, &ops, &diaries[i]);
    }
    return net;
}

static void say(int from, int to, const char *text)
{
    struct effects out = {0};
    effects_datagram(&out, &diaries[to].addr, bytes_str(text));
    vnet_apply(diaries[from].net, diaries[from].host, &out);
}

static uint64_t open_stream(int from, int to)
{
    struct effects out = {0};
    struct effect *effect = effects_add(&out, EFFECT_STREAM_OPEN);
    uint64_t stream = effect->stream = vnet_new_stream(diaries[from].net);
    effect->stream_kind = STREAM_GOSSIP;
    effect->to = diaries[to].addr;
    vnet_apply(diaries[from].net, diaries[from].host, &out);
    return stream;
}

static void write_stream(int host, uint64_t stream, const char *text)
{
    struct effects out = {0};
    struct buf bytes;
    buf_init(&bytes, 100);
    buf_put_text(&bytes, text);
    effects_stream_send(&out, stream, &bytes);
    vnet_apply(diaries[host].net, diaries[host].host, &out);
}

static void set_deadline(int host, uint64_t at)
{
    struct effects out = {0};
    diaries[host].deadline = at;
    vnet_apply(diaries[host].net, diaries[host].host, &out);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

/* A datagram takes the link's time: not yet just before, yes just then. */
static void datagrams_take_their_time(void **state)
{
    struct vnet *net = network(1);
    vnet_link(net, 0, 1)->delay_min = vnet_link(net, 0, 1)->delay_max = 20;

    say(0, 1, "a");
    vnet_run(net, 19);
    assert_string_equal(diaries[1].text, "");
    vnet_run(net, 20);

    assert_string_equal(diaries[1].text, "20 datagram a\n");
    vnet_free(net);
}

/* A cut is of one direction: the other still carries. */
static void cuts_are_one_way(void **state)
{
    struct vnet *net = network(1);
    vnet_link(net, 0, 1)->cut = true;

    say(0, 1, "a");
    say(1, 0, "b");
    vnet_run(net, 10);

    assert_string_equal(diaries[1].text, "");
    assert_string_equal(diaries[0].text, "1 datagram b\n");
    vnet_free(net);
}

/* Of 1,000 datagrams at 25 % loss about 750 arrive; at 10 % doubling of those
 * about 825; what was lost is counted as sent. */
static void loss_and_doubling_are_as_asked(void **state)
{
    struct vnet *net = network(7);
    size_t got = 0;
    vnet_links(net)->loss_permille = 250;
    vnet_links(net)->double_permille = 100;

    for (int i = 0; i < 1000; i++) {
        say(0, 1, "a");
        vnet_run(net, vnet_now(net) + 1);
        got += count(diaries[1].text, "datagram");
        diaries[1].len = 0;
        diaries[1].text[0] = '\0';
    }

    assert_in_range(got, 775, 875);
    assert_int_equal(vnet_sent(net, 0).datagrams, 1000);
    assert_int_equal(vnet_sent(net, 0).datagram_bytes, 1000);
    vnet_free(net);
}

/* Equal delays keep the order; a late datagram is overtaken. */
static void late_datagrams_are_overtaken(void **state)
{
    struct vnet *net = network(1);
    say(0, 1, "a");
    say(0, 1, "b");
    vnet_run(net, 10);
    assert_string_equal(diaries[1].text, "1 datagram a\n1 datagram b\n");

    vnet_link(net, 0, 2)->late_permille = 1000;
    vnet_link(net, 0, 2)->late_max = 1000;
    say(0, 2, "late");
    vnet_link(net, 0, 2)->late_permille = 0;
    say(0, 2, "prompt");
    vnet_run(net, 2000);

    assert_memory_equal(diaries[2].text, "11 datagram prompt\n", 19);
    assert_int_equal(count(diaries[2].text, "datagram late"), 1);
    vnet_free(net);
}

/* A stream keeps its order, whatever the delays, and tells of its end. */
static void streams_keep_their_order(void **state)
{
    struct vnet *net = network(3);
    struct effects out = {0};
    vnet_links(net)->delay_max = 50;
    uint64_t stream = open_stream(0, 1);
    vnet_run(net, 200);

    for (int i = 0; i < 8; i++)
        write_stream(0, stream, (const char[]){(char)('a' + i), '\0'});
    effects_stream_close(&out, stream);
    vnet_apply(net, 0, &out);
    vnet_run(net, 1000);

    const char *at = diaries[1].text;
    for (int i = 0; i < 8; i++) {
        const char data[] = {'d', 'a', 't', 'a', ' ', (char)('a' + i), '\0'};
        at = strstr(at, data);
        assert_non_null(at);
    }
    assert_non_null(strstr(at, "closed"));
    assert_int_equal(vnet_sent(net, 0).stream_bytes, 8);
    vnet_free(net);
}

/* At two bytes a ms, five bytes come in three pieces. */
static void streams_have_a_rate(void **state)
{
    struct vnet *net = network(3);
    vnet_link(net, 0, 1)->stream_rate = 2;
    uint64_t stream = open_stream(0, 1);
    vnet_run(net, 10);

    write_stream(0, stream, "abcde");
    vnet_run(net, 20);

    assert_string_equal(diaries[1].text, "1 accepted\n11 data ab\n12 data cd\n13 data e\n");
    vnet_free(net);
}

/* Nobody there: the opener hears so. Gone later: the other end hears so. */
static void streams_break_with_their_host(void **state)
{
    struct vnet *net = network(1);
    vnet_remove(net, 2);
    open_stream(0, 2);
    open_stream(0, 1);
    vnet_run(net, 10);
    assert_string_equal(diaries[0].text, "1 closed\n2 opened\n");

    vnet_remove(net, 1);
    say(0, 1, "a");
    vnet_run(net, 20);

    assert_string_equal(diaries[0].text, "1 closed\n2 opened\n11 closed\n");
    assert_string_equal(diaries[1].text, "1 accepted\n");
    vnet_free(net);
}

/* A process that stands still hears nothing and does nothing, but its kernel takes
 * connections; when it goes on, timers that are due come first, then what waited,
 * in order. */
static void a_pause_delays_everything(void **state)
{
    struct vnet *net = network(1);
    set_deadline(1, 30);
    vnet_run(net, 10);
    vnet_pause(net, 1);

    say(0, 1, "a");
    uint64_t stream = open_stream(0, 1);
    vnet_run(net, 20);
    write_stream(0, stream, "b");
    vnet_run(net, 100);
    assert_string_equal(diaries[1].text, "");
    assert_string_equal(diaries[0].text, "12 opened\n");
    vnet_resume(net, 1);
    vnet_run(net, 200);

    assert_string_equal(diaries[1].text, "100 tick\n100 datagram a\n100 accepted\n100 data b\n");
    vnet_free(net);
}

/* A clock that is 50 % fast shows 150 ms after 100, and its timers run by it; the
 * change itself moves nothing. */
static void clocks_run_at_their_own_rate(void **state)
{
    struct vnet *net = network(1);
    vnet_run(net, 1000);
    vnet_clock_rate(net, 1, 1500000);
    assert_int_equal(vnet_host_now(net, 1), 1000);

    set_deadline(1, 1150);
    vnet_run(net, 1099);
    assert_string_equal(diaries[1].text, "");
    vnet_run(net, 1100);
    assert_string_equal(diaries[1].text, "1150 tick\n");
    vnet_clock_rate(net, 1, 500000);
    set_deadline(1, 1160);
    vnet_run(net, 1119);
    assert_string_equal(diaries[1].text, "1150 tick\n");
    vnet_run(net, 1120);

    assert_string_equal(diaries[1].text, "1150 tick\n1160 tick\n");
    vnet_free(net);
}

static uint64_t trace_of(uint64_t seed)
{
    struct vnet *net = network(seed);
    vnet_links(net)->loss_permille = 300;
    vnet_links(net)->delay_max = 30;
    for (int i = 0; i < 30; i++)
        say(i % HOSTS, (i + 1) % HOSTS, "a");
    vnet_run(net, 100);
    uint64_t trace = vnet_trace(net);
    vnet_free(net);
    return trace;
}

/* The same seed is the same run, another one is another. */
static void a_seed_repeats_its_run(void **state)
{
    assert_int_equal(trace_of(5), trace_of(5));
    assert_int_not_equal(trace_of(5), trace_of(6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_take_their_time),      cmocka_unit_test(cuts_are_one_way),
        cmocka_unit_test(loss_and_doubling_are_as_asked), cmocka_unit_test(late_datagrams_are_overtaken),
        cmocka_unit_test(streams_keep_their_order),       cmocka_unit_test(streams_have_a_rate),
        cmocka_unit_test(streams_break_with_their_host),  cmocka_unit_test(a_pause_delays_everything),
        cmocka_unit_test(clocks_run_at_their_own_rate),   cmocka_unit_test(a_seed_repeats_its_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
