/* The command line: its parser, and the table that all that is said of it comes from. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <stdio.h>

#include "cli.h"
#include "config_table.h"

enum { ARGS_MAX = 10, WHY_MAX = 1000, TEXT_MAX = 1 << 20 };

static enum err parse(struct cli *cli, struct buf *why, const char *const *args)
{
    char *argv[ARGS_MAX + 2] = {"yzma"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    buf_init(why, WHY_MAX);
    return cli_parse(argc, argv, cli, why);
}

static void parse_well(struct cli *cli, const char *const *args)
{
    struct buf why;
    if (parse(cli, &why, args) != OK)
        fail_msg("%.*s", (int)why.len, (const char *)why.data);
    buf_done(&why);
}

/* A configuration and any number of peers to join. */
static void a_node_is_started(void **state)
{
    struct cli cli;
    const char *const args[] = {"-c", "a.json", "-j", "127.0.0.1:37001", "--join=[::1]:2", "-jkronk", NULL};
    parse_well(&cli, args);
    assert_int_equal(cli.command, CLI_SERVE);
    assert_string_equal(cli.values[OPT_CONFIG], "a.json");
    assert_int_equal(cli.join.count, 3);
    assert_string_equal(cli.join.texts[0], "127.0.0.1:37001");
    assert_string_equal(cli.join.texts[1], "[::1]:2");
    assert_string_equal(cli.join.texts[2], "kronk"); /* at the default port */
    cli_done(&cli);

    const char *const none[] = {NULL};
    parse_well(&cli, none);
    assert_int_equal(cli.command, CLI_SERVE);
    assert_false(cli_has(&cli, OPT_CONFIG) || cli_has(&cli, OPT_HELP));
    cli_done(&cli);
}

/* Options stand anywhere, servers add up, and what begins with a digit is a word. */
static void commands_are_read(void **state)
{
    struct cli cli;
    const char *const keys[] = {"keys", "-a", "[::1]:1", "remove", "-f", "00c0ffee", NULL};
    parse_well(&cli, keys);
    assert_int_equal(cli.command, CLI_KEYS_REMOVE);
    assert_int_equal(cli.word_count, 1);
    assert_string_equal(cli.words[0], "00c0ffee");
    assert_true(cli_has(&cli, OPT_FORCE));
    assert_string_equal(cli.servers.texts[0], "[::1]:1");
    cli_done(&cli);

    const char *const incr[] = {"incr", "stock", "-5", "-s", "a:1,https://b:2", "--server", "c:3", NULL};
    parse_well(&cli, incr);
    assert_int_equal(cli.command, CLI_INCR);
    assert_string_equal(cli_word(&cli, 1), "-5");
    assert_null(cli_word(&cli, 2));
    assert_int_equal(cli.servers.count, 2);
    cli_done(&cli);

    const char *const put[] = {"put", "--ttl=30s", "--", "--key", "-", NULL};
    parse_well(&cli, put);
    assert_string_equal(cli.words[0], "--key");
    assert_string_equal(cli.words[1], "-");
    cli_done(&cli);

    const char *const compare[] = {"doctor", "--compare", "a:1", "b:2", NULL};
    parse_well(&cli, compare);
    assert_int_equal(cli.command, CLI_COMPARE);
    assert_string_equal(cli.words[1], "b:2");
    cli_done(&cli);

    const char *const list[] = {"list", "a/", "-rn", "7", "-d/", NULL};
    parse_well(&cli, list);
    assert_int_equal(cli_number(&cli, OPT_LIMIT, 0), 7);
    assert_int_equal(cli_number(&cli, OPT_SIZE, 9), 9);
    assert_true(cli_has(&cli, OPT_REVERSE));
    assert_string_equal(cli.values[OPT_DELIMITER], "/");
    cli_done(&cli);
}

/* What is wrong is said in one line, which names option and command. */
static void mistakes_are_told(void **state)
{
    const struct {
        const char *args[7];
        const char *expected;
    } bad[] = {
        {{"-j", "local host", NULL}, "-j local host: must be host:port or host"},
        {{"-j", ":1", NULL}, "-j :1: must be host:port or host"},
        {{"-c", NULL}, "-c needs a value (see yzma help)"},
        {{"--nonsense", NULL},
         "--nonsense: no such option; a word that begins so stands behind -- (see yzma help)"},
        {{"get", "-fX", "k", NULL},
         "-fX: no such option; a word that begins so stands behind -- (see yzma help)"},
        {{"get", "--raw=yes", "k", NULL}, "--raw takes no value"},
        {{"serve", NULL}, "serve: no such command (see yzma help)"},
        {{"keys", NULL}, "keys: must be followed by list, install KEY, use KEY, remove KEY (see yzma help)"},
        {{"keys", "lose", "x", NULL},
         "keys: must be followed by list, install KEY, use KEY, remove KEY (see yzma help)"},
        {{"keys", "use", NULL}, "keys use: must be followed by KEY (see yzma help keys use)"},
        {{"keys", "list", "-f", NULL}, "-f is no option of yzma keys list (see yzma help keys list)"},
        {{"config", NULL}, "config: must be followed by check (see yzma help)"},
        {{"-f", NULL}, "-f is an option of commands, and not of starting a node (see yzma help)"},
        {{"-a", "h:1", NULL}, "-a is an option of commands, and not of starting a node (see yzma help)"},
        {{"forget", NULL}, "forget: must be followed by REPLICA (see yzma help forget)"},
        {{"pause", "now", NULL}, "pause: must be followed by nothing more (see yzma help pause)"},
        {{"retire", "id", "-a", "nowhere", NULL}, "-a nowhere: must be host:port"},
        {{"get", "k", "-s", "a:1,", NULL}, "-s a:1,: must be host:port"},
        {{"reidentify", "-a", "h:1", NULL}, "-a is no option of yzma reidentify (see yzma help reidentify)"},
        {{"keys", "list", "-j", "h:1", NULL}, "-j is no option of yzma keys list (see yzma help keys list)"},
        {{"doctor", "--compare", "a:1", NULL},
         "doctor --compare: must be followed by HOST:PORT HOST:PORT (see yzma help doctor --compare)"},
        {{"doctor", "--compare", "a:1", "b", NULL}, "b: must be host:port"},
        {{"doctor", "--compare", "a:1", "b:1", "-c", "x", NULL},
         "-c is no option of yzma doctor --compare (see yzma help doctor --compare)"},
        {{"pause", "--compare", NULL}, "--compare is no option of yzma pause (see yzma help pause)"},
        {{"put", "k", NULL},
         "put: must have one of VALUE (-: standard input, @FILE), --file and --touch (see yzma help put)"},
        {{"put", "k", "1", "--file", "f", NULL},
         "put: must have one of VALUE (-: standard input, @FILE), --file and --touch (see yzma help put)"},
        {{"put", "k", "--touch", NULL}, "put: --touch wants --ttl or --expires (see yzma help put)"},
        {{"put", "k", "1", "--ttl", "soon", NULL}, "--ttl soon: must be a duration such as 500ms or 1m30s"},
        {{"put", "k", "1", "--add", "--add", NULL}, "--add was given twice"},
        {{"get", "k", "--raw", "--siblings", NULL},
         "--raw and --siblings contradict each other (see yzma help get)"},
        {{"delete", NULL}, "delete: must have keys, or else --prefix (see yzma help delete)"},
        {{"delete", "k", "--prefix", "p", NULL},
         "delete: must have keys, or else --prefix (see yzma help delete)"},
        {{"incr", "k", "1.5", NULL}, "incr: N must be a whole number of 64 bits (see yzma help incr)"},
        {{"incr", "k", "9223372036854775808", NULL},
         "incr: N must be a whole number of 64 bits (see yzma help incr)"},
        {{"list", "-n", "-1", NULL}, "-n -1: must be a whole number"},
        {{"bench", "--reads", "101", NULL}, "--reads 101: must be 0 to 100"},
        {{"resolve", "k", "--take", "0", NULL}, "--take 0: must be 1 to 65536"},
        {{"import", "--from", "etc", NULL}, "--from etc: must be etcd, consul, redis, couchdb or yzma"},
        {{"help", "--man", "", NULL}, "--man : must be yzma or yzma.json"},
        {{"help", "get", "more", NULL}, "get more: no such command (see yzma help)"},
        {{"export", "--resume", NULL}, "export: --resume wants a FILE to go on with (see yzma help export)"},
        {{"resolve", "k", "1", "--take", "1", NULL},
         "resolve: must have only one of VALUE, --file and --take (see yzma help resolve)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cli cli;
        struct buf why;
        assert_int_equal(parse(&cli, &why, bad[i].args), ERR_MALFORMED);
        buf_put_u8(&why, '\0');
        assert_string_equal(why.data, bad[i].expected);
        cli_done(&cli);
        buf_done(&why);
    }
}

/* -9223372036854775808 is a number, and whoever asks for help is not told of mistakes. */
static void bounds_are_good(void **state)
{
    struct cli cli;
    const char *const least[] = {"incr", "k", "-9223372036854775808", NULL};
    parse_well(&cli, least);
    cli_done(&cli);
    const char *const help[] = {"put", "-h", "--raw", NULL};
    parse_well(&cli, help);
    assert_int_equal(cli.command, CLI_PUT);
    cli_done(&cli);
}

static void assert_narrow(const struct buf *text)
{
    const char *at = (const char *)text->data, *end = at + text->len;
    while (at < end) {
        size_t length = strcspn(at, "\n");
        assert_in_range(length, 0, 80);
        at += length + 1;
    }
}

static void assert_has(const struct buf *text, const char *needle)
{
    if (!memmem(text->data, text->len, needle, strlen(needle)))
        fail_msg("\"%s\" is missing", needle);
}

/* Fits a terminal, and names every command; that of each command every option. */
static void help_is_whole_and_narrow(void **state)
{
    struct buf text;
    char line[64];
    buf_init(&text, TEXT_MAX);
    cli_help(&text);
    assert_narrow(&text);
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        snprintf(line, sizeof line, "\n  %s", cli_commands[i].name);
        assert_has(&text, line);
    }
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        buf_reset(&text);
        cli_help_of((enum cli_command)i, &text);
        assert_narrow(&text);
        for (size_t k = 0; k < CLI_OPTIONS; k++) {
            snprintf(line, sizeof line, "--%s", cli_options[k].name);
            if (cli_commands[i].options & cli_bit((enum cli_option)k))
                assert_has(&text, line);
        }
    }
    buf_done(&text);
}

/* The table itself: each entry is whole, no name and no letter stands twice, and each option
 * belongs to a command. */
static void table_is_sound(void **state)
{
    uint64_t used = cli_bit(OPT_HELP);
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        assert_non_null(cli_commands[i].name);
        assert_non_null(cli_commands[i].summary);
        used |= cli_commands[i].options;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(cli_commands[i].name, cli_commands[k].name);
    }
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        assert_non_null(cli_options[i].name);
        assert_non_null(cli_options[i].text);
        assert_true(used & cli_bit((enum cli_option)i));
        assert_int_equal(cli_options[i].kind == CLI_FLAG, cli_options[i].argument == NULL);
        assert_int_equal(cli_options[i].kind == CLI_CHOICE, cli_options[i].choices != NULL);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(cli_options[i].name, cli_options[k].name);
            assert_true(!cli_options[i].letter || cli_options[i].letter != cli_options[k].letter);
        }
    }
}

/* With every dash told to roff. */
static void put_dashed(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < size; text++) {
        if (*text == '-')
            out[n++] = '\\';
        out[n++] = *text;
    }
    out[n] = '\0';
}

/* Every command and every option is in yzma(1), every setting, with its text, in
 * yzma.json(5). */
static void man_pages_are_whole(void **state)
{
    struct buf text;
    char name[128], line[160];
    buf_init(&text, TEXT_MAX);
    assert_int_equal(cli_man("yzma", &text), OK);
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        put_dashed(name, sizeof name, cli_commands[i].name);
        snprintf(line, sizeof line, "\\fByzma %s\\fR", name);
        if (cli_commands[i].name[0])
            assert_has(&text, line);
    }
    for (size_t i = 0; i < CLI_OPTIONS; i++) {
        put_dashed(name, sizeof name, cli_options[i].name);
        snprintf(line, sizeof line, cli_options[i].letter ? ", \\fB\\-\\-%s\\fR" : ".TP\n\\fB\\-\\-%s\\fR",
                 name);
        assert_has(&text, line);
    }
    buf_reset(&text);
    assert_int_equal(cli_man("yzma.json", &text), OK);
    for (size_t i = 0; i < SETTINGS; i++) {
        snprintf(line, sizeof line, ".TP\n\\fB%s\\fR", strchr(settings[i].path, '.') + 1);
        assert_has(&text, line);
        if (!setting_about(&settings[i])[0])
            fail_msg("%s has no text", settings[i].path);
    }
    assert_int_equal(cli_man("yzma.xml", &text), ERR_NOT_FOUND);
    buf_done(&text);
}

static void help_knows_what_belongs_together(void **state)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    assert_int_equal(cli_help_about((const char *[]){"keys"}, 1, &text), OK);
    assert_has(&text, "yzma keys install KEY");
    assert_has(&text, "yzma keys remove KEY");
    buf_reset(&text);
    assert_int_equal(cli_help_about((const char *[]){"doctor"}, 1, &text), OK);
    assert_has(&text, "doctor --compare HOST:PORT HOST:PORT");
    assert_int_equal(cli_help_about((const char *[]){"serve"}, 1, &text), ERR_NOT_FOUND);
    assert_int_equal(cli_help_about((const char *[]){"get", "more"}, 2, &text), ERR_NOT_FOUND);
    assert_int_equal(cli_completion("fish", &text), ERR_NOT_FOUND);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_started),        cmocka_unit_test(commands_are_read),
        cmocka_unit_test(mistakes_are_told),        cmocka_unit_test(bounds_are_good),
        cmocka_unit_test(help_is_whole_and_narrow), cmocka_unit_test(table_is_sound),
        cmocka_unit_test(man_pages_are_whole),      cmocka_unit_test(help_knows_what_belongs_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
