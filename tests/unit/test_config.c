/* The configuration: defaults, what a file may say, and the one line that tells
 * what is wrong with it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "config_table.h"
#include "machine.h"

enum { WHY_MAX = 4096 };

static const struct machine llama_farm = {
    .host_name = "pacha", .address4 = "10.0.0.7", .address6 = "fd00::7", .cores = 6};

static struct config read_good(const char *text)
{
    struct config config;
    struct buf why;
    buf_init(&why, WHY_MAX);
    config_init(&config);
    enum err err = config_read_text(&config, "yzma.json", bytes_str(text), &why);
    if (err != OK)
        fail_msg("%.*s", (int)why.len, why.data);
    buf_done(&why);
    return config;
}

/* Reads what must be refused, and compares the line that says why. */
static void expect_refusal_of(struct bytes text, const char *expected)
{
    struct config config;
    struct buf why;
    buf_init(&why, WHY_MAX);
    config_init(&config);
    assert_int_equal(config_read_text(&config, "yzma.json", text, &why), ERR_MALFORMED);
    buf_put_u8(&why, '\0');
    assert_int_equal(why.err, OK);
    assert_string_equal(why.data, expected);
    buf_done(&why);
    config_done(&config);
}

static void expect_refusal(const char *text, const char *expected)
{
    expect_refusal_of(bytes_str(text), expected);
}

/* Without a file, a single node that just works. */
static void defaults_are_those_of_the_table(void **state)
{
    struct config config;
    config_init(&config);
    struct buf why;
    buf_init(&why, WHY_MAX);

    assert_int_equal(config_fill_defaults(&config, &llama_farm, &why), OK);

    assert_string_equal(config.api.bind.host, "127.0.0.1");
    assert_int_equal(config.api.bind.port, 8080);
    assert_int_equal(config.api.threads, 6);
    assert_int_equal(config.api.value_bytes_max, 16 << 20);
    assert_int_equal(config.api.connections_max, 10000);
    assert_int_equal(config.api.request_timeout_ms, 30000);
    assert_int_equal(config.api.bodies_bytes_max, 256 << 20);
    assert_int_equal(config.api.watchers_max, 10000);
    assert_int_equal(config.api.watch_lag_max, 100000);
    assert_int_equal(config.api.watch_heartbeat_ms, 15000);
    assert_int_equal(config.api.allowed_origins.count, 0);
    assert_string_equal(config.peering.name, "pacha");
    assert_string_equal(config.peering.bind_address, "0.0.0.0");
    assert_int_equal(config.peering.bind_port, 7946);
    assert_int_equal(config.peering.replication_port, 7947);
    assert_string_equal(config.peering.advertise_address, "10.0.0.7");
    assert_int_equal(config.peering.advertise_port, 7946);
    assert_string_equal(config.peering.federation.node_name, "pacha");
    assert_string_equal(config.peering.federation.api_ingress.host, "10.0.0.7");
    assert_int_equal(config.peering.federation.api_ingress.port, 7947);
    assert_int_equal(config.peering.profile, PROFILE_LAN);
    assert_int_equal(config.peering.join.count, 0);
    assert_int_equal(config.peering.block.count, 0);
    assert_int_equal(config.peering.forget_after_ms, 72 * 3600 * 1000);
    assert_int_equal(config.peering.clock_skew_max_ms, 60000);
    assert_int_equal(config.peering.compression, COMPRESSION_AUTO);
    assert_string_equal(config.server.db_path, "yzma.db");
    assert_int_equal(config.server.history_ms, 3600 * 1000);
    assert_int_equal(config.server.history_bytes_max, 1 << 30);
    assert_int_equal(config.server.memory_table_bytes, 64 << 20);
    assert_int_equal(config.server.versions_max, 64);
    assert_int_equal(config.server.store_bytes_max, 0);
    assert_int_equal(config.server.conflict, CONFLICT_LWW);
    assert_int_equal(config.server.log_level, NOTICE_INFO);
    assert_int_equal(config.server.log_format, LOG_TEXT);
    assert_int_equal(config.server.slow_request_ms, 500);
    config_done(&config);
    buf_done(&why);
}

/* No setting has its default, but for those that have only one value. */
static const char everything[] =
    "{\"API\":{\"Bind\":\"[::1]:81\",\"Threads\":3,\"MaxValueBytes\":4096,\"MaxConnections\":50,"
    "\"RequestTimeout\":\"1m30s\",\"MaxBodiesInFlight\":\"1GiB\",\"MaxWatchers\":7,\"MaxWatchLag\":8,"
    "\"WatchHeartbeat\":\"2s\",\"AllowedOrigins\":[\"https://a.org\","
    "\"http://b:1\"]},"
    "\"Peering\":{\"Name\":\"kronk\",\"BindAddr\":\"127.0.0.1\",\"BindPort\":37001,\"ReplicationPort\":0,"
    "\"AdvertiseAddress\":\"127.0.0.2\",\"AdvertisePort\":4,\"Federation\":{\"NodeName\":\"Kronk's "
    "lab\",\"APIIngress\":\"host.example:37002\"},\"Profile\":\"wan\",\"Join\":[\"127.0.0.1:1\","
    "\"[::1]:2\"],\"Block\":[\"pacha\"],\"Label\":\"lab\",\"Keys\":[\"AAECAwQFBgcICQoLDA0ODw==\"],"
    "\"VerifyIncoming\":false,\"VerifyOutgoing\":false,\"ProtocolVersion\":3,\"DelegateVersion\":\"2,5,4\","
    "\"ForgetAfter\":\"2d\","
    "\"ClockSkewMax\":\"5s\",\"QuarantineMax\":\"1MiB\",\"Compression\":7},"
    "\"Server\":{\"DBPath\":\"/tmp/x.db\",\"History\":\"0s\",\"HistoryMax\":\"2MiB\","
    "\"MemoryTable\":1048576,\"MaxStoreBytes\":\"1GiB\",\"MaxVersions\":2,\"Conflict\":\"lww\",\"Log\":{"
    "\"Level\":\"debug\","
    "\"Format\":\"json\"},\"SlowRequest\":\"1s\"}}";

/* Every setting can be set, and lands in its own field. */
static void every_setting_is_read(void **state)
{
    struct config config = read_good(everything);

    assert_string_equal(config.api.bind.host, "::1");
    assert_int_equal(config.api.bind.port, 81);
    assert_int_equal(config.api.threads, 3);
    assert_int_equal(config.api.value_bytes_max, 4096);
    assert_int_equal(config.api.connections_max, 50);
    assert_int_equal(config.api.request_timeout_ms, 90000);
    assert_int_equal(config.api.bodies_bytes_max, 1 << 30);
    assert_int_equal(config.api.watchers_max, 7);
    assert_int_equal(config.api.watch_lag_max, 8);
    assert_int_equal(config.api.watch_heartbeat_ms, 2000);
    assert_int_equal(config.api.allowed_origins.count, 2);
    assert_string_equal(config.peering.label, "lab");
    assert_int_equal(config.peering.keys.count, 1);
    assert_false(config.peering.verify_incoming || config.peering.verify_outgoing);
    assert_int_equal(config.peering.protocol_version, 3);
    assert_memory_equal(config.peering.delegate_version, ((uint8_t[]){2, 5, 4}), 3);
    assert_string_equal(config.api.allowed_origins.texts[1], "http://b:1");
    assert_string_equal(config.peering.name, "kronk");
    assert_string_equal(config.peering.bind_address, "127.0.0.1");
    assert_int_equal(config.peering.bind_port, 37001);
    assert_int_equal(config.peering.replication_port, 0);
    assert_string_equal(config.peering.advertise_address, "127.0.0.2");
    assert_int_equal(config.peering.advertise_port, 4);
    assert_string_equal(config.peering.federation.node_name, "Kronk's lab");
    assert_string_equal(config.peering.federation.api_ingress.host, "host.example");
    assert_int_equal(config.peering.federation.api_ingress.port, 37002);
    assert_int_equal(config.peering.profile, PROFILE_WAN);
    assert_int_equal(config.peering.join.count, 2);
    assert_string_equal(config.peering.join.texts[1], "[::1]:2");
    assert_int_equal(config.peering.block.count, 1);
    assert_string_equal(config.peering.block.texts[0], "pacha");
    assert_int_equal(config.peering.forget_after_ms, 2 * 86400 * 1000);
    assert_int_equal(config.peering.clock_skew_max_ms, 5000);
    assert_int_equal(config.peering.compression, 7);
    assert_string_equal(config.server.db_path, "/tmp/x.db");
    assert_int_equal(config.server.history_ms, 0);
    assert_int_equal(config.server.history_bytes_max, 2 << 20);
    assert_int_equal(config.server.memory_table_bytes, 1 << 20);
    assert_int_equal(config.server.versions_max, 2);
    assert_int_equal(config.server.store_bytes_max, 1 << 30);
    assert_int_equal(config.server.log_level, NOTICE_DEBUG);
    assert_int_equal(config.server.log_format, LOG_JSON);
    assert_int_equal(config.server.slow_request_ms, 1000);
    config_done(&config);
}

/* Names of settings and sections match in any case. */
static void names_match_in_any_case(void **state)
{
    struct config config = read_good("{\"peering\":{\"bindport\":1,\"FEDERATION\":{\"nodeNAME\":\"x\"}}}");
    assert_int_equal(config.peering.bind_port, 1);
    assert_string_equal(config.peering.federation.node_name, "x");
    config_done(&config);
}

/* One setting or section twice is an error, in whatever case. */
static void twice_is_refused(void **state)
{
    expect_refusal("{\"Peering\":{\"BindPort\":1,\n\"bindport\":1}}",
                   "yzma.json:2: Peering.bindport: set twice (names match in any case)");
    expect_refusal("{\"API\":{},\"api\":{}}", "yzma.json:1: api: set twice (names match in any case)");
}

/* An unknown name stops the start; no forged second line in the reason. */
static void unknown_names_are_refused(void **state)
{
    expect_refusal("{\"API\":{\"Bindd\":1}}", "yzma.json:1: API.Bindd: no such setting");
    expect_refusal("{\"Bind\":1}", "yzma.json:1: Bind: no such setting");
    expect_refusal("{\"Server\":{\"Log\":{\"Color\":1}}}", "yzma.json:1: Server.Log.Color: no such setting");
    expect_refusal("{\"API.Bind\":\":1\"}", "yzma.json:1: API.Bind: no such setting");
    expect_refusal("{\"API\":{\"a\\nb\":1}}", "yzma.json:1: API.\"a\\nb\": no such setting");
    expect_refusal("{\"API\":{\"Bind\\u0000\":1}}", "yzma.json:1: API.\"Bind\\x00\": no such setting");
    expect_refusal("{\"\":1}", "yzma.json:1: \"\": no such setting");
}

/* A value of another type is refused with what it must be. */
static void wrong_types_are_refused(void **state)
{
    expect_refusal("{\"Peering\":{\n\n\"BindPort\":\"abc\"}}",
                   "yzma.json:3: Peering.BindPort: must be a whole number from 1 to 65535, not \"abc\"");
    expect_refusal("{\"Peering\":{\"BindPort\":null}}",
                   "yzma.json:1: Peering.BindPort: must be a whole number from 1 to 65535, not null");
    expect_refusal("{\"Peering\":{\"BindPort\":[1]}}",
                   "yzma.json:1: Peering.BindPort: must be a whole number from 1 to 65535");
    expect_refusal("{\"Peering\":{\"Join\":\"a:1\"}}",
                   "yzma.json:1: Peering.Join: must be a list of \"host:port\"");
    expect_refusal("{\"Peering\":{\"Join\":[[\"a:1\"]]}}",
                   "yzma.json:1: Peering.Join: must be a list of \"host:port\"");
    expect_refusal("{\"Peering\":{\"Block\":[true]}}",
                   "yzma.json:1: Peering.Block: must be a list of member names, not true");
    expect_refusal("{\"Peering\":{\"Name\":{}}}",
                   "yzma.json:1: Peering.Name: must be a text of 1 to 64 bytes without control characters");
    expect_refusal("{\"Peering\":5}", "yzma.json:1: Peering: must be an object, { .. }");
    expect_refusal("{\"Server\":{\"Log\":\"debug\"}}", "yzma.json:1: Server.Log: must be an object, { .. }");
    expect_refusal("[]", "yzma.json:1: must be an object, { .. }");
    expect_refusal("7 ", "yzma.json:1: must be an object, { .. }");
}

/* Values that cannot be meant are refused: each kind at its edges. */
static void impossible_values_are_refused(void **state)
{
    const struct {
        const char *section, *setting, *value;
    } bad[] = {
        {"API", "Bind", "\"8080\""},
        {"API", "Bind", "\"localhost\""},
        {"API", "Bind", "\"a:65536\""},
        {"API", "Bind", "\"::1:80\""},
        {"API", "Bind", "\"[x]:80\""},
        {"API", "Bind", "\"a b:80\""},
        {"API", "Bind", "\"\""},
        {"API", "Threads", "0"},
        {"API", "Threads", "1.5"},
        {"API", "Threads", "-1"},
        {"API", "MaxValueBytes", "0"},
        {"API", "MaxValueBytes", "\"65MiB\""},
        {"API", "MaxValueBytes", "1e3"},
        {"API", "RequestTimeout", "30"},
        {"API", "RequestTimeout", "\"30\""},
        {"API", "RequestTimeout", "\"0s\""},
        {"API", "AllowedOrigins", "[\"example.org\"]"},
        {"API", "AllowedOrigins", "[\"https://\"]"},
        {"API", "AllowedOrigins", "[\"https://a/b\"]"},
        {"Peering", "Name", "\"\""},
        {"Peering", "Name", "\"a\\nb\""},
        {"Peering", "Name", "\"a\\u0000b\""},
        {"Peering", "Name", "\"12345678901234567890123456789012345678901234567890123456789012345\""},
        {"Peering", "BindAddr", "\"localhost\""},
        {"Peering", "BindAddr", "\"127.0.0.1\\u0000\""},
        {"Peering", "BindPort", "0"},
        {"Peering", "BindPort", "65536"},
        {"Peering", "BindPort", "18446744073709551617"},
        {"Peering", "ReplicationPort", "-1"},
        {"Peering", "Join", "[\"a b\"]"},
        {"Peering", "Join", "[\":1\"]"},
        {"Peering", "Join", "[\"a:0\"]"},
        {"Peering", "Block", "[\"\"]"},
        {"Peering", "Profile", "\"LAN\""},
        {"Peering", "Compression", "0"},
        {"Peering", "Compression", "20"},
        {"Peering", "Compression", "\"on\""},
        {"Server", "DBPath", "\"\""},
        {"Server", "MaxVersions", "0"},
        {"Server", "Conflict", "\"keep\""},
        {"Server", "MemoryTable", "0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256], prefix[128];
        snprintf(text, sizeof text, "{\"%s\":{\"%s\":%s}}", bad[i].section, bad[i].setting, bad[i].value);
        snprintf(prefix, sizeof prefix, "yzma.json:1: %s.%s: must be ", bad[i].section, bad[i].setting);
        struct config config;
        struct buf why;
        buf_init(&why, WHY_MAX);
        config_init(&config);
        enum err err = config_read_text(&config, "yzma.json", bytes_str(text), &why);
        if (err != ERR_MALFORMED || !bytes_starts_with(buf_bytes(&why), bytes_str(prefix)) ||
            memchr(why.data, '\n', why.len))
            fail_msg("%s: %d %.*s", text, err, (int)why.len, why.data);
        buf_done(&why);
        config_done(&config);
    }
}

/* A key that is none is refused, and not shown: it may be one with a typing error. */
static void bad_keys_are_refused_and_not_shown(void **state)
{
    const char *const bad[] = {
        "c2VjcmV0",                         /* 6 bytes */
        "AAECAwQFBgcICQoLDA0ODw",           /* no padding */
        "AAECAwQFBgcICQoLDA0ODw==AAAA",     /* more behind it */
        "AAECAwQFBgcICQoLDA0OD-==",         /* base64url */
        "AAECAwQFBgcICQoLDA0ODx==",         /* stray bits */
        "AAECAwQFBgcICQoLDA0ODwAAAAAAAAA=", /* 23 bytes */
        "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"Peering\":{\"Keys\":[\"%s\"]}}", bad[i]);
        expect_refusal(text, "yzma.json:1: Peering.Keys: must be a list of at most 8 keys, each 16, 24 or 32 "
                             "bytes in base64 (openssl rand -base64 32)");
    }
}

/* Versions are three numbers in order. */
static void versions_are_three_numbers(void **state)
{
    const char *const bad[] = {"2,5", "2,5,6", "5,2,3", "2,5,5,5", "a,b,c", "0,256,0", "", "2,,5", "1,5,0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[200], expected[300];
        snprintf(text, sizeof text, "{\"Peering\":{\"DelegateVersion\":\"%s\"}}", bad[i]);
        snprintf(
            expected, sizeof expected,
            "yzma.json:1: Peering.DelegateVersion: must be \"min,max,current\", three numbers from 0 to 255 "
            "such as \"2,5,5\", current between the others, not \"%s\"",
            bad[i]);
        expect_refusal(text, expected);
    }
    expect_refusal("{\"Peering\":{\"VerifyIncoming\":1}}",
                   "yzma.json:1: Peering.VerifyIncoming: must be true or false, not 1");
    expect_refusal("{\"Peering\":{\"VerifyIncoming\":null}}",
                   "yzma.json:1: Peering.VerifyIncoming: must be true or false, not null");
}

/* Broken JSON is told with line and column. */
static void broken_json_tells_where(void **state)
{
    expect_refusal("{\"API\":{}\n  x}", "yzma.json:2:3: lexical error: invalid char in json text.");
    expect_refusal("{\"API\":{}", "yzma.json:1:10: parse error: premature EOF");
    expect_refusal("", "yzma.json:1:1: parse error: premature EOF");
    expect_refusal("{} {}", "yzma.json:1:4: parse error: trailing garbage");
    expect_refusal("{\"API\":{\"Bind\":\"\xff\"}}", "yzma.json:1:17: not UTF-8");
}

/* Settings that cannot be true together are refused once all are known. */
static void clashes_are_refused(void **state)
{
    const struct {
        const char *text, *expected;
    } bad[] = {
        {"{\"Peering\":{\"BindPort\":65535}}",
         "Peering.ReplicationPort: must be set where BindPort is 65535, as no port follows it"},
        {"{\"Peering\":{\"BindPort\":7,\"ReplicationPort\":7}}",
         "Peering.ReplicationPort: must differ from BindPort, as gossip listens there"},
        {"{\"API\":{\"MaxBodiesInFlight\":\"1MiB\"}}",
         "API.MaxBodiesInFlight: must be at least MaxValueBytes, or the largest value never fits"},
        {"{\"Peering\":{\"AdvertiseAddress\":\"0.0.0.0\"}}",
         "Peering.AdvertiseAddress: must be an address at which peers reach this node"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config config = read_good(bad[i].text);
        struct buf why;
        buf_init(&why, WHY_MAX);
        assert_int_equal(config_fill_defaults(&config, &llama_farm, &why), ERR_MALFORMED);
        buf_put_u8(&why, '\0');
        assert_string_equal(why.data, bad[i].expected);
        buf_done(&why);
        config_done(&config);
    }
}

/* A node bound to one address advertises that one, and what follows follows. */
static void defaults_follow_what_is_set(void **state)
{
    struct config config = read_good("{\"Peering\":{\"Name\":\"kronk\",\"BindAddr\":\"127.0.0.9\","
                                     "\"BindPort\":37001}}");
    struct buf why;
    buf_init(&why, WHY_MAX);
    assert_int_equal(config_fill_defaults(&config, &llama_farm, &why), OK);
    assert_string_equal(config.peering.advertise_address, "127.0.0.9");
    assert_int_equal(config.peering.advertise_port, 37001);
    assert_int_equal(config.peering.replication_port, 37002);
    assert_string_equal(config.peering.federation.node_name, "kronk");
    assert_string_equal(config.peering.federation.api_ingress.host, "127.0.0.9");
    assert_int_equal(config.peering.federation.api_ingress.port, 37002);
    config_done(&config);

    config = read_good("{\"Peering\":{\"BindAddr\":\"::\"}}");
    assert_int_equal(config_fill_defaults(&config, &llama_farm, &why), OK);
    assert_string_equal(config.peering.advertise_address, "fd00::7");
    config_done(&config);
    buf_done(&why);
}

/* Files: the named one must exist; else the first found counts, or none. */
static void files_are_searched_in_order(void **state)
{
    char folder[] = "/tmp/yzma-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(setenv("HOME", folder, 1), 0);
    struct config config;
    char *path = NULL;
    struct buf why;
    buf_init(&why, WHY_MAX);

    assert_int_equal(config_load(&config, "absent.json", &path, &why), ERR_NOT_FOUND);
    assert_true(bytes_equal(buf_bytes(&why), bytes_str("absent.json: no such file")));
    buf_reset(&why);
    assert_int_equal(config_load(&config, ".", &path, &why), ERR_IO);
    assert_true(bytes_equal(buf_bytes(&why), bytes_str(".: Is a directory")));
    assert_null(path);

    FILE *file = fopen("yzma.json", "w");
    assert_non_null(file);
    fputs("{\"Peering\":{\"BindPort\":5}}", file);
    fclose(file);
    assert_int_equal(config_load(&config, NULL, &path, &why), OK);
    assert_string_equal(path, "yzma.json");
    assert_int_equal(config.peering.bind_port, 5);
    config_done(&config);
    free(path);

    assert_int_equal(unlink("yzma.json"), 0);
    assert_int_equal(rmdir(folder), 0);
    buf_done(&why);
}

/* What a reload calls changed is what is: of all settings, and of none. */
static void settings_are_compared(void **state)
{
    struct config config = read_good(everything), again = read_good(everything), defaults;
    config_init(&defaults);
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *path = settings[i].path;
        bool only_one = strcmp(path, "Server.Conflict") == 0;
        assert_true(setting_equal(&settings[i], &config, &again));
        if (setting_equal(&settings[i], &config, &defaults) != only_one)
            fail_msg("%s", path);
    }
    config_done(&config);
    config_done(&again);
    config_done(&defaults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(every_setting_is_read),
        cmocka_unit_test(names_match_in_any_case),
        cmocka_unit_test(twice_is_refused),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(bad_keys_are_refused_and_not_shown),
        cmocka_unit_test(versions_are_three_numbers),
        cmocka_unit_test(broken_json_tells_where),
        cmocka_unit_test(clashes_are_refused),
        cmocka_unit_test(defaults_follow_what_is_set),
        cmocka_unit_test(files_are_searched_in_order),
        cmocka_unit_test(settings_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
