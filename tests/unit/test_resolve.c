/* Names and socket addresses of the edge. Only names that need no network. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "resolve.h"
#include "sockaddr.h"

#include <netinet/in.h>
#include <stdio.h>

struct result {
    unsigned calls;
    size_t count;
    struct addr first;
    char problem[100];
};

static void on_resolved(void *ctx, const struct addr *addrs, size_t count, const char *problem)
{
    struct result *result = ctx;
    result->calls++;
    result->count = count;
    if (count)
        result->first = addrs[0];
    snprintf(result->problem, sizeof result->problem, "%s", problem ? problem : "");
}

static struct result resolve(const char *text, int family)
{
    uv_loop_t loop;
    struct resolves resolves = {0};
    struct result result = {0};
    assert_int_equal(uv_loop_init(&loop), 0);
    resolve_start(&resolves, &loop, text, 7946, family, on_resolved, &result);
    assert_int_equal(result.calls, 0); /* only from the loop */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(result.calls, 1);
    assert_null(resolves.first);
    return result;
}

static void resolves_to(const char *text, const char *address)
{
    char out[ADDR_TEXT_MAX];
    struct result result = resolve(text, AF_UNSPEC);
    assert_string_equal(result.problem, "");
    assert_true(result.count >= 1);
    assert_string_equal(addr_text(&result.first, out), address);
}

/* With and without port; IPv6 in brackets. */
static void addresses_are_themselves(void **state)
{
    resolves_to("127.0.0.1:80", "127.0.0.1:80");
    resolves_to("127.0.0.1", "127.0.0.1:7946");
    resolves_to("[::1]:80", "[::1]:80");
    resolves_to("[::1]", "[::1]:7946");
}

/* What is no "host:port" is told, not guessed at. */
static void malformed_texts_are_refused(void **state)
{
    const char *const texts[] = {"",    ":",    ":80",   "a:",    "a:0", "a:65536", "a:-1",       "a:b:1",
                                 "::1", "[::1", "[]:80", "a:80x", "[]",  "a: 80",   "[::1]:99999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct result result = resolve(texts[i], AF_UNSPEC);
        assert_int_equal(result.count, 0);
        assert_string_equal(result.problem, "must be host:port");
    }
}

/* A socket that speaks IPv4 only gets no other addresses. */
static void family_is_kept(void **state)
{
    assert_int_equal(resolve("[::1]:80", AF_INET).count, 0);
    assert_int_equal(resolve("127.0.0.1:80", AF_INET).count, 1);
}

static void goes_through(const struct addr *addr, int family, const struct addr *expected)
{
    struct sockaddr_storage out;
    assert_true(sockaddr_of(addr, family, &out));
    struct addr back = addr_of_sockaddr((struct sockaddr *)&out);
    assert_int_equal(back.len, expected->len);
    assert_int_equal(back.port, expected->port);
    assert_memory_equal(back.ip, expected->ip, expected->len);
}

/* IPv4 reaches an IPv6 socket in its mapped form, and back. */
static void socket_addresses(void **state)
{
    const struct addr v4 = {.ip = {192, 0, 2, 7}, .len = 4, .port = 7946};
    const struct addr v6 = {.ip = {0x20, 1, [15] = 9}, .len = 16, .port = 7946};
    const struct addr mapped = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 7}, .len = 16, .port = 7946};
    struct sockaddr_storage out;

    goes_through(&v4, AF_UNSPEC, &v4);
    goes_through(&v6, AF_UNSPEC, &v6);
    goes_through(&v4, AF_INET6, &mapped);
    goes_through(&mapped, AF_INET, &v4);
    assert_false(sockaddr_of(&v6, AF_INET, &out));
    assert_false(sockaddr_of(&(struct addr){0}, AF_UNSPEC, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_themselves),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(family_is_kept),
        cmocka_unit_test(socket_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
