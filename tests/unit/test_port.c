/* Exports of other stores: what comes out of them, however they are cut; what is left out;
 * and that what ends early, or is something else, is said to. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "port.h"
#include "rdb.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- running one -------------------------------------------------------------------- */

struct outcome {
    struct buf lines, left_out, why; /* texts, with NUL */
    enum err err;
    uint64_t notes[PORT_NOTES];
};

static enum err put_record(void *ctx, const struct import_line *record)
{
    struct outcome *o = ctx;
    import_line_put(&o->lines, record);
    return OK;
}

static void put_left_out(void *ctx, struct bytes key, const char *why)
{
    struct outcome *o = ctx;
    for (size_t i = 0; i < key.len; i++)
        buf_put_u8(&o->left_out, key.data[i] ? key.data[i] : '?'); /* it stays a text */
    buf_put_format(&o->left_out, ": %s\n", why);
}

static void read_with(struct outcome *o, enum port_from from, const struct port_options *options,
                      struct bytes text, size_t piece)
{
    memset(o, 0, sizeof *o);
    buf_init(&o->lines, SIZE_MAX);
    buf_init(&o->left_out, SIZE_MAX);
    buf_init(&o->why, SIZE_MAX);
    struct port *port = port_new(from, options, &(struct port_sink){put_record, put_left_out, o});
    for (size_t at = 0; at < text.len && o->err == OK; at += piece) {
        size_t n = text.len - at < piece ? text.len - at : piece;
        uint8_t *exact = mem_copy(text.data + at, n);
        o->err = port_feed(port, bytes_of(exact, n), &o->why);
        free(exact);
    }
    if (o->err == OK)
        o->err = port_end(port, &o->why);
    for (int i = 0; i < PORT_NOTES; i++)
        o->notes[i] = port_noted(port, (enum port_note)i);
    port_free(port);
    buf_put_u8(&o->lines, 0);
    buf_put_u8(&o->left_out, 0);
    buf_put_u8(&o->why, 0);
}

static void outcome_done(struct outcome *o)
{
    buf_done(&o->lines);
    buf_done(&o->left_out);
    buf_done(&o->why);
}

static struct outcome last;

static struct outcome *read_bytes(enum port_from from, struct bytes text)
{
    outcome_done(&last);
    read_with(&last, from, &(struct port_options){0}, text, SIZE_MAX / 2);
    return &last;
}

static struct outcome *read_text_of(enum port_from from, const char *text)
{
    return read_bytes(from, bytes_str(text));
}

static void assert_lines(const struct outcome *o, const char *lines, const char *left_out)
{
    assert_string_equal((const char *)o->why.data, "");
    assert_int_equal(o->err, OK);
    assert_string_equal((const char *)o->lines.data, lines);
    assert_string_equal((const char *)o->left_out.data, left_out);
}

static void assert_refused(const struct outcome *o, enum err err, const char *words)
{
    assert_int_equal(o->err, err);
    if (!strstr((const char *)o->why.data, words))
        fail_msg("\"%s\" does not say \"%s\"", (const char *)o->why.data, words);
}

/* ---- JSON ------------------------------------------------------------------------------- */

static const char etcd[] =
    "{\"header\":{\"cluster_id\":1,\"kvs\":[{\"key\":\"eA==\"}]},\"kvs\":["
    "{\"key\":\"YQ==\",\"create_revision\":2,\"value\":\"eyJ4IjoxfQ==\"},"
    "{\"key\":\"Yg==\",\"value\":\"aGVsbG8=\",\"lease\":7587862},{\"key\":\"Yw==\"}],\"count\":3}\n";

static void etcd_has_keys_and_values_in_base64(void **state)
{
    assert_lines(read_text_of(PORT_ETCD, etcd),
                 "{\"Key\":\"a\",\"Value\":{\"x\":1}}\n"
                 "{\"Key\":\"b\",\"Value64\":\"aGVsbG8=\",\"Type\":\"application/octet-stream\"}\n"
                 "{\"Key\":\"c\",\"Value64\":\"\",\"Type\":\"application/octet-stream\"}\n",
                 "");
    assert_int_equal(last.notes[PORT_LEASES], 1);
    /* Nothing there, and pages one behind the other. */
    assert_lines(read_text_of(PORT_ETCD, "{\"header\":{\"revision\":1}}\n"), "", "");
    assert_lines(read_text_of(PORT_ETCD, "{\"kvs\":[{\"key\":\"YQ==\",\"value\":\"MQ==\"}]}\n"
                                         "{\"kvs\":[{\"key\":\"Yg==\",\"value\":\"Mg==\"}]}\n"),
                 "{\"Key\":\"a\",\"Value\":1}\n{\"Key\":\"b\",\"Value\":2}\n", "");
}

static void consul_has_keys_as_they_are(void **state)
{
    assert_lines(
        read_text_of(
            PORT_CONSUL,
            "[\n\t{\n\t\t\"key\": \"a\\u00e4/\\\"]\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"W10=\"\n\t},"
            "{\"key\":\"b/\",\"flags\":42,\"value\":\"\"}\n]\n"),
        "{\"Key\":\"a\xc3\xa4/\\\"]\",\"Value\":[]}\n"
        "{\"Key\":\"b/\",\"Value64\":\"\",\"Type\":\"application/octet-stream\"}\n",
        "");
    assert_int_equal(last.notes[PORT_FLAGS], 1);
    /* As its API writes it. */
    assert_lines(read_text_of(PORT_CONSUL, "[{\"LockIndex\":0,\"Key\":\"a\",\"Flags\":0,\"Value\":\"MQ==\"},"
                                           "{\"Key\":\"b\",\"Flags\":0,\"Value\":null}]"),
                 "{\"Key\":\"a\",\"Value\":1}\n"
                 "{\"Key\":\"b\",\"Value64\":\"\",\"Type\":\"application/octet-stream\"}\n",
                 "");
    assert_lines(read_text_of(PORT_CONSUL, "[]"), "", "");
}

static void couchdb_has_documents(void **state)
{
    assert_lines(
        read_text_of(
            PORT_COUCHDB,
            "{\"total_rows\":5,\"offset\":0,\"rows\":[\r\n"
            "{\"id\":\"a\",\"key\":\"a\",\"value\":{\"rev\":\"1-9\"},\"doc\":{\"_id\":\"a\",\"_rev\":\"1-9\","
            "\"n\":1.50,\"l\":[{\"_id\":2}],\"_attachments\":{\"x\":{\"stub\":true}}}},\r\n"
            "{\"id\":\"_design/v\",\"key\":\"_design/"
            "v\",\"value\":{\"rev\":\"1\"},\"doc\":{\"views\":{}}},\r\n"
            "{\"id\":\"b\",\"key\":\"b\",\"value\":{\"rev\":\"2-1\",\"deleted\":true},\"doc\":null},\r\n"
            "{\"key\":\"c\",\"error\":\"not_found\"},\r\n"
            "{\"id\":\"d\",\"key\":\"d\",\"value\":{\"rev\":\"1\"},\"doc\":{\"_id\":\"d\"}}\r\n]}\n"),
        "{\"Key\":\"a\",\"Value\":{\"n\":1.50,\"l\":[{\"_id\":2}]}}\n{\"Key\":\"d\",\"Value\":{}}\n", "");
    assert_int_equal(last.notes[PORT_ATTACHMENTS], 1);
    assert_int_equal(last.notes[PORT_DESIGNS], 1);
    assert_int_equal(last.notes[PORT_DELETED], 2);
    assert_refused(read_text_of(PORT_COUCHDB, "{\"rows\":[{\"id\":\"a\",\"key\":\"a\",\"value\":{}}]}"),
                   ERR_MALFORMED, "include_docs=true");
}

static void lines_of_our_own_stay(void **state)
{
    static const char lines[] =
        "{\"Key\":\"a\",\"Value\": [1, 2] }\n\r\n"
        "{\"Key\":\"a\",\"Value64\":\"MQ==\",\"Type\":\"text/plain\",\"Sibling\":true}\n"
        "{\"Key\":\"b\",\"Value64\":\"WwpdCg==\",\"Expires\":\"2030-01-31T12:00:00Z\"}";
    assert_lines(read_text_of(PORT_YZMA, lines),
                 "{\"Key\":\"a\",\"Value\":[1, 2]}\n"
                 "{\"Key\":\"a\",\"Value64\":\"MQ==\",\"Type\":\"text/plain\",\"Sibling\":true}\n"
                 "{\"Key\":\"b\",\"Value64\":\"WwpdCg==\",\"Expires\":\"2030-01-31T12:00:00.000Z\"}\n",
                 "");
    assert_refused(read_text_of(PORT_YZMA, "{\"Key\":\"a\",\"Value\":1}\n{\"Error\":\"out of memory\"}\n"),
                   ERR_MALFORMED, "line 2: \"Error\" is said");
    assert_refused(read_text_of(PORT_YZMA, "{\"Key\":\"a\"}"), ERR_MALFORMED, "line 1");
    assert_refused(read_text_of(PORT_YZMA, "{\"Key\":\"a\",\"Value\":1,\"TTL\":1}"), ERR_MALFORMED,
                   "unknown");
}

static void what_is_no_export_is_refused(void **state)
{
    assert_refused(read_text_of(PORT_ETCD, "[1]"), ERR_MALFORMED, "no \"kvs\"");
    assert_refused(read_text_of(PORT_ETCD, "{\"kvs\":1}"), ERR_MALFORMED, "no \"kvs\"");
    assert_refused(read_text_of(PORT_ETCD, ""), ERR_MALFORMED, "no \"kvs\"");
    assert_refused(read_text_of(PORT_ETCD, "{\"kvs\":[1]}"), ERR_MALFORMED, "no objects");
    assert_refused(read_text_of(PORT_ETCD, "{\"kvs\":[{\"key\":1}]}"), ERR_MALFORMED, "not a string");
    assert_refused(read_text_of(PORT_ETCD, "{\"kvs\":[{\"key\":\"?\"}]}"), ERR_MALFORMED, "not base64");
    assert_refused(read_text_of(PORT_ETCD, "{\"kvs\":[{]}"), ERR_MALFORMED, "at byte 9");
    assert_refused(read_text_of(PORT_CONSUL, "{}"), ERR_MALFORMED, "no array");
    assert_refused(read_text_of(PORT_CONSUL, "[]]"), ERR_MALFORMED, "at byte 2");
    assert_refused(read_text_of(PORT_CONSUL, "Error: no such host"), ERR_MALFORMED, "not JSON");
    assert_refused(read_text_of(PORT_REDIS, "{\"kvs\":[]}"), ERR_MALFORMED, "no RDB file");
    enum port_from from;
    assert_int_equal(port_named("couchdb", &from), OK);
    assert_int_equal(from, PORT_COUCHDB);
    assert_int_equal(port_named("riak", &from), ERR_NOT_FOUND);
}

static void keys_that_cannot_be_are_left_out(void **state)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_put_text(&text,
                 "[{\"key\":\"\",\"value\":\"MQ==\"},{\"key\":\"a\\u0000b\",\"value\":\"MQ==\"},{\"key\":\"");
    for (int i = 0; i < 481; i++)
        buf_put_u8(&text, 'k');
    buf_put_text(&text, "\",\"value\":\"MQ==\"},{\"key\":\"c\",\"value\":\"MQ==\"}]");
    read_bytes(PORT_CONSUL, buf_bytes(&text));
    assert_string_equal((const char *)last.lines.data, "{\"Key\":\"c\",\"Value\":1}\n");
    assert_non_null(strstr((const char *)last.left_out.data, ": its key is empty\n"));
    assert_non_null(strstr((const char *)last.left_out.data, "a?b: its key has a NUL in it\n"));
    assert_non_null(strstr((const char *)last.left_out.data, "kkk: its key is longer than 480 bytes\n"));
    assert_lines(read_text_of(PORT_ETCD, "{\"kvs\":[{\"key\":\"/w==\"}]}"), "",
                 "\xff: its key is not UTF-8\n");
    buf_done(&text);
}

static void keys_and_types_as_asked(void **state)
{
    static const char text[] = "[{\"key\":\"a/1\",\"value\":\"MQ==\"},{\"key\":\"b\",\"value\":\"MQ==\"},"
                               "{\"key\":\"a/2\",\"value\":\"aGk=\"}]";
    struct port_options options = {.only = bytes_str("a/"), .into = bytes_str("x/"), .type = "text/plain"};
    struct outcome o;
    read_with(&o, PORT_CONSUL, &options, bytes_str(text), 7);
    assert_lines(&o,
                 "{\"Key\":\"x/a/1\",\"Value64\":\"MQ==\",\"Type\":\"text/plain\"}\n"
                 "{\"Key\":\"x/a/2\",\"Value64\":\"aGk=\",\"Type\":\"text/plain\"}\n",
                 "");
    outcome_done(&o);
    options.type = "application/json";
    read_with(&o, PORT_CONSUL, &options, bytes_str(text), 7);
    assert_lines(&o, "{\"Key\":\"x/a/1\",\"Value\":1}\n", "a/2: its value is not JSON\n");
    outcome_done(&o);
}

/* ---- Redis -------------------------------------------------------------------------------- */

#define HEAD      "REDIS0010\xfa\x09redis-ver\x06"
#define RDB(text) bytes_of(text, sizeof text - 1)

/* With a checksum of 0, which is none. */
#define END "\xff\0\0\0\0\0\0\0\0"

static void redis_has_strings(void **state)
{
    assert_lines(read_bytes(PORT_REDIS, RDB(HEAD "7.0.15\xfe\0\xfb\5\1"
                                                 "\0\1a\2hi"
                                                 "\0\1b\xc0\xff"
                                                 "\0\1c\xc1\x39\x30"
                                                 "\0\1d\xc2\xff\xff\xff\x7f"
                                                 "\xfc\0\x68\xe5\xcf\x8b\1\0\0\0\1e\3{ }"
                                                 "\xfd\0\x2e\x68\x6a\0\1f\1"
                                                 "1\0\1g\1"
                                                 "2\xfe\1\0\1a\1"
                                                 "3" END "the mark of a transfer")),
                 "{\"Key\":\"a\",\"Value64\":\"aGk=\",\"Type\":\"application/octet-stream\"}\n"
                 "{\"Key\":\"b\",\"Value\":-1}\n"
                 "{\"Key\":\"c\",\"Value\":12345}\n"
                 "{\"Key\":\"d\",\"Value\":2147483647}\n"
                 "{\"Key\":\"e\",\"Value\":{ },\"Expires\":\"2023-11-14T22:13:20.000Z\"}\n"
                 "{\"Key\":\"f\",\"Value\":1,\"Expires\":\"2026-07-28T04:20:16.000Z\"}\n"
                 "{\"Key\":\"g\",\"Value\":2}\n"
                 "{\"Key\":\"db1/a\",\"Value\":3}\n",
                 "");
}

/* "aaaa...": a run of one byte, and a copy that reaches into itself. */
static void redis_packs_strings(void **state)
{
    assert_lines(read_bytes(PORT_REDIS, RDB("REDIS0010\0\1a\xc3\5\x0c\0"
                                            "1\xe0\2\0" END)),
                 "{\"Key\":\"a\",\"Value\":111111111111}\n", "");
    struct buf out;
    buf_init(&out, SIZE_MAX);
    assert_int_equal(lzf_unpack(RDB("\0a\x20\0"), 4, &out), OK);
    assert_memory_equal(out.data, "aaaa", 4);
    assert_int_equal(lzf_unpack(RDB("\0a\x20\0"), 3, &out), ERR_MALFORMED); /* longer than said */
    assert_int_equal(lzf_unpack(RDB("\0a\x20\0"), 5, &out), ERR_MALFORMED); /* shorter */
    assert_int_equal(lzf_unpack(RDB("\0a\x20\1"), 4, &out), ERR_MALFORMED); /* before the beginning */
    assert_int_equal(lzf_unpack(RDB("\1a"), 2, &out), ERR_MALFORMED);
    assert_int_equal(lzf_unpack(RDB("\xe0\1"), 2, &out), ERR_MALFORMED);
    buf_done(&out);
}

static void redis_collections_become_json(void **state)
{
    assert_lines(read_bytes(PORT_REDIS, RDB("REDIS0010"
                                            "\1\1l\2\1a\1b"                  /* a list */
                                            "\4\1h\1\1f\1v"                  /* a hash */
                                            "\5\1z\1\1m\0\0\0\0\0\0\xf8\x3f" /* 1.5 */
                                            "\3\1o\2\1m\3"
                                            "2.5\1n\xfe"                              /* old, and infinite */
                                            "\x0b\1i\x0c\2\0\0\0\2\0\0\0\1\0\xff\xff" /* an intset */
                                            "\x10\1p\x0d\x0d\0\0\0\2\0\x81"
                                            "f\2\x81"
                                            "v\2\xff" /* a listpack */
                                            "\x0d\1q\x10\x10\0\0\0\0\0\0\0\2\0\0\1"
                                            "f\3\xf3\xff" /* a ziplist */
                                            END)),
                 "{\"Key\":\"l\",\"Value\":[\"a\",\"b\"]}\n"
                 "{\"Key\":\"h\",\"Value\":{\"f\":\"v\"}}\n"
                 "{\"Key\":\"z\",\"Value\":{\"m\":1.5}}\n"
                 "{\"Key\":\"o\",\"Value\":{\"m\":2.5,\"n\":\"inf\"}}\n"
                 "{\"Key\":\"i\",\"Value\":[\"1\",\"-1\"]}\n"
                 "{\"Key\":\"p\",\"Value\":{\"f\":\"v\"}}\n"
                 "{\"Key\":\"q\",\"Value\":{\"f\":\"2\"}}\n",
                 "");
}

static void redis_compact_lists_have_all_forms(void **state)
{
    static const char listpack[] =
        "\0\0\0\0\0\0"
        "\x7f\1\x82hi\3\xdf\xff\2\xd0\0\2\xe0\2ab\4\xf0\1\0\0\0c\6"
        "\xf1\xfe\xff\3\xf2\0\0\x80\4\xf3\0\0\0\x80\5\xf4\0\0\0\0\0\0\0\x80\x09\xff";
    static const char *const listpack_has[] = {
        "127", "hi", "-1", "-4096", "ab", "c", "-2", "-8388608", "-2147483648", "-9223372036854775808"};
    static const char ziplist[] = "\0\0\0\0\0\0\0\0\0\0"
                                  "\0\2hi\4\x40\1x\xfe\4\0\0\0\x80\0\0\0\1y\0\xc0\xfe\xff\0\xf0\0\0\x80"
                                  "\0\xd0\0\0\0\x80\0\xe0\0\0\0\0\0\0\0\x80\0\xfe\xff\0\xf1\0\xfd\xff";
    static const char *const ziplist_has[] = {
        "hi", "x", "y", "-2", "-8388608", "-2147483648", "-9223372036854775808", "-1", "0", "12"};
    const struct {
        enum pack_kind kind;
        struct bytes text;
        const char *const *has;
    } packs[] = {{PACK_LISTPACK, RDB(listpack), listpack_has}, {PACK_ZIPLIST, RDB(ziplist), ziplist_has}};
    for (int i = 0; i < 2; i++) {
        struct pack pack;
        struct bytes entry;
        size_t n = 0;
        pack_open(&pack, packs[i].kind, packs[i].text);
        for (; pack_next(&pack, &entry); n++) {
            assert_in_range(n, 0, 9);
            assert_int_equal(entry.len, strlen(packs[i].has[n]));
            assert_memory_equal(entry.data, packs[i].has[n], entry.len);
        }
        assert_int_equal(pack.in.err, OK);
        assert_int_equal(n, 10);
    }
}

static void redis_damage_is_seen(void **state)
{
    assert_int_equal(crc64(0, bytes_str("123456789")), UINT64_C(0xe9c6d914c4b8d9ca));
    struct buf file;
    buf_init(&file, SIZE_MAX);
    buf_put_text(&file, "REDIS0010");
    buf_put(&file,
            "\0\1a\1"
            "1\xff",
            6);
    uint64_t crc = crc64(0, buf_bytes(&file));
    for (int i = 0; i < 8; i++)
        buf_put_u8(&file, (uint8_t)(crc >> 8 * i));
    assert_lines(read_bytes(PORT_REDIS, buf_bytes(&file)), "{\"Key\":\"a\",\"Value\":1}\n", "");
    file.data[13] = '2';
    assert_refused(read_bytes(PORT_REDIS, buf_bytes(&file)), ERR_CHECKSUM, "checksum");
    for (size_t n = 0; n < file.len; n++)
        assert_refused(read_bytes(PORT_REDIS, bytes_of(file.data, n)), ERR_TRUNCATED, "ends early");
    assert_refused(read_bytes(PORT_REDIS, RDB("REDIS0012\x18\1a\1" END)), ERR_VERSION, "type 24");
    assert_refused(read_bytes(PORT_REDIS, RDB("REDIS0010\0\1a\xc4" END)), ERR_MALFORMED, "malformed");
    /* What a stream or a module wrote is gone over to what follows. */
    assert_lines(read_bytes(PORT_REDIS, RDB("REDIS0010\7\1m\x81\0\0\0\0\0\0\0\1\2\5\5\1x\3\0\0\0\0\0\0\1a\1"
                                            "1" END)),
                 "{\"Key\":\"a\",\"Value\":1}\n", "m: it is of a module of Redis\n");
    assert_lines(read_bytes(PORT_REDIS, RDB("REDIS0010\2\1s\1\1\xff" END)), "",
                 "s: an element is not UTF-8, which JSON must be\n");
    buf_done(&file);
}

/* ---- recorded exports ------------------------------------------------------------------------- */

static struct buf load(const char *name)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/exports/%s", YZMA_VECTORS, name);
    FILE *file = fopen(path, "rb");
    struct buf text;
    buf_init(&text, SIZE_MAX);
    assert_non_null(file);
    uint8_t piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_put(&text, piece, n);
    fclose(file);
    assert_true(text.len > 0);
    return text;
}

static const struct {
    const char *name;
    enum port_from from;
} recorded[] = {{"etcd-3.4.json", PORT_ETCD},
                {"redis-7.0.rdb", PORT_REDIS},
                {"consul.json", PORT_CONSUL},
                {"couchdb.json", PORT_COUCHDB}};

/* The same records, wherever the pieces end. */
static void cuts_change_nothing(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 61, 509, 4093};
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        struct buf text = load(recorded[i].name);
        read_bytes(recorded[i].from, buf_bytes(&text));
        assert_int_equal(last.err, OK);
        assert_true(last.lines.len > 100);
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
            struct outcome o;
            read_with(&o, recorded[i].from, &(struct port_options){0}, buf_bytes(&text), pieces[j]);
            assert_string_equal((const char *)o.lines.data, (const char *)last.lines.data);
            assert_string_equal((const char *)o.left_out.data, (const char *)last.left_out.data);
            outcome_done(&o);
        }
        buf_done(&text);
    }
}

/* A part of an export is never taken for the whole. */
static void an_end_too_early_is_seen(void **state)
{
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        struct buf text = load(recorded[i].name);
        size_t whole = text.len;
        while (whole && text.data[whole - 1] == '\n')
            whole--;
        for (size_t n = 0; n < whole; n += 1 + whole / 200) {
            read_bytes(recorded[i].from, bytes_of(text.data, n));
            assert_int_not_equal(last.err, OK);
            assert_true(last.why.len > 1);
        }
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(etcd_has_keys_and_values_in_base64),
        cmocka_unit_test(consul_has_keys_as_they_are),
        cmocka_unit_test(couchdb_has_documents),
        cmocka_unit_test(lines_of_our_own_stay),
        cmocka_unit_test(what_is_no_export_is_refused),
        cmocka_unit_test(keys_that_cannot_be_are_left_out),
        cmocka_unit_test(keys_and_types_as_asked),
        cmocka_unit_test(redis_has_strings),
        cmocka_unit_test(redis_packs_strings),
        cmocka_unit_test(redis_collections_become_json),
        cmocka_unit_test(redis_compact_lists_have_all_forms),
        cmocka_unit_test(redis_damage_is_seen),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(an_end_too_early_is_seen),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    outcome_done(&last);
    return failed;
}
