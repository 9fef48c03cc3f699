/* The command line. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cli.h"

enum { ARGS_MAX = 8, WHY_MAX = 1000 };

static enum err parse(struct cli *cli, struct buf *why, const char *const *args)
{
    char *argv[ARGS_MAX + 2] = {"yzma"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    buf_init(why, WHY_MAX);
    return cli_parse(argc, argv, cli, why);
}

/* A configuration and any number of peers to join. */
static void options_are_read(void **state)
{
    struct cli cli;
    struct buf why;
    const char *const args[] = {"-c", "a.json", "-j", "127.0.0.1:37001", "--join=[::1]:2",
                                "-j", "kronk",  "-j", "[::1]",           NULL};
    assert_int_equal(parse(&cli, &why, args), OK);
    assert_string_equal(cli.config_path, "a.json");
    assert_int_equal(cli.join.count, 4);
    assert_string_equal(cli.join.texts[0], "127.0.0.1:37001");
    assert_string_equal(cli.join.texts[1], "[::1]:2");
    assert_string_equal(cli.join.texts[2], "kronk"); /* at the default port */
    assert_string_equal(cli.join.texts[3], "[::1]");
    assert_false(cli.help || cli.version);
    cli_done(&cli);
    buf_done(&why);

    const char *const none[] = {NULL};
    assert_int_equal(parse(&cli, &why, none), OK);
    assert_null(cli.config_path);
    cli_done(&cli);
    buf_done(&why);
}

/* The commands about keys. */
static void commands_are_read(void **state)
{
    struct cli cli;
    struct buf why;
    const char *const args[] = {"keys", "remove", "00c0ffee", "-a", "[::1]:1", "-f", NULL};
    assert_int_equal(parse(&cli, &why, args), OK);
    assert_int_equal(cli.command, CLI_KEYS_REMOVE);
    assert_string_equal(cli.key, "00c0ffee");
    assert_string_equal(cli.api, "[::1]:1");
    assert_true(cli.force);
    cli_done(&cli);
    buf_done(&why);
}

/* Those beside the node. */
static void tools_are_read(void **state)
{
    static const struct {
        const char *args[6];
        enum cli_command command;
        const char *file;
    } good[] = {{{"backup", "f", "-a", "a:1", NULL}, CLI_BACKUP, "f"},
                {{"restore", "f", "-c", "x", NULL}, CLI_RESTORE, "f"},
                {{"compact", NULL}, CLI_COMPACT, NULL},
                {{"doctor", NULL}, CLI_DOCTOR, NULL},
                {{"doctor", "--compare", "a:1", "b:2", NULL}, CLI_COMPARE, NULL}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct cli cli;
        struct buf why;
        assert_int_equal(parse(&cli, &why, good[i].args), OK);
        assert_int_equal(cli.command, good[i].command);
        if (good[i].file)
            assert_string_equal(cli.file, good[i].file);
        if (cli.command == CLI_COMPARE)
            assert_string_equal(cli.nodes[1], "b:2");
        cli_done(&cli);
        buf_done(&why);
    }
}

/* What is wrong is said in one line. */
static void mistakes_are_told(void **state)
{
    const struct {
        const char *args[6];
        const char *expected;
    } bad[] = {
        {{"-j", "local host", NULL}, "-j local host: must be host:port or host"},
        {{"-j", ":1", NULL}, "-j :1: must be host:port or host"},
        {{"-c", NULL}, "-c needs a value (see --help)"},
        {{"--nonsense", NULL}, "--nonsense: no such option (see --help)"},
        {{"serve", NULL}, "serve: no such command (see --help)"},
        {{"keys", NULL}, "keys: must be followed by list, install KEY, use KEY or remove KEY (see --help)"},
        {{"keys", "use", NULL},
         "keys: must be followed by list, install KEY, use KEY or remove KEY (see --help)"},
        {{"-f", NULL}, "-f is for yzma keys (see --help)"},
        {{"forget", NULL}, "forget: must be followed by REPLICA (see --help)"},
        {{"pause", "now", NULL}, "pause: must be followed by nothing more (see --help)"},
        {{"retire", "id", "-a", "nowhere", NULL}, "-a nowhere: must be host:port"},
        {{"reidentify", "-a", "h:1", NULL},
         "-a is for yzma keys, forget, retire, pause, resume and backup (see --help)"},
        {{"-a", "h:1", NULL}, "-a is for yzma keys, forget, retire, pause, resume and backup (see --help)"},
        {{"pause", "-f", NULL}, "-f is for yzma keys (see --help)"},
        {{"compact", "-f", NULL}, "-f is for yzma keys (see --help)"},
        {{"keys", "list", "-j", "h:1", NULL}, "-j is for starting a node, without a command (see --help)"},
        {{"backup", NULL}, "backup: must be followed by FILE (see --help)"},
        {{"doctor", "x", NULL}, "doctor: must be followed by nothing more (see --help)"},
        {{"doctor", "--compare", "a:1", NULL},
         "doctor --compare: must be followed by HOST:PORT HOST:PORT (see --help)"},
        {{"compact", "--compare", NULL}, "--compare is for yzma doctor (see --help)"},
        {{"pause", "--compare", NULL}, "--compare is for yzma doctor (see --help)"},
        {{"keys", "list", "--compare", NULL}, "--compare is for yzma doctor (see --help)"},
        {{"--compare", NULL}, "--compare is for yzma doctor (see --help)"},
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

/* Fits a terminal, and names every option. */
static void help_is_narrow(void **state)
{
    size_t lines = 0;
    for (const char *at = cli_help; *at; lines++) {
        size_t length = strcspn(at, "\n");
        assert_in_range(length, 0, 80);
        at += length + 1;
    }
    assert_true(lines > 20);
    static const char *const options[] = {"-c, --config", "-j, --join",    "-a, --api", "-f, --force",
                                          "--compare",    "-V, --version", "-h, --help"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_non_null(strstr(cli_help, options[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read), cmocka_unit_test(commands_are_read),
        cmocka_unit_test(tools_are_read),   cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(help_is_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
