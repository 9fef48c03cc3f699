/* The completion of bash and zsh: scripts that know the table, and ask nobody. */
#include "cli.h"

/* Within single quotes of a shell. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_put_u8(out, '\'');
    for (; *text; text++)
        if (*text == '\'')
            buf_put_text(out, "'\\''");
        else
            buf_put_u8(out, (uint8_t)*text);
    buf_put_u8(out, '\'');
}

static bool is_first_of_word(size_t i)
{
    size_t n = strcspn(cli_commands[i].name, " ");
    for (size_t k = 0; k < i; k++)
        if (strncmp(cli_commands[k].name, cli_commands[i].name, n) == 0 &&
            strcspn(cli_commands[k].name, " ") == n)
            return false;
    return n > 0;
}

/* The first words of all commands. */
static void put_first_words(struct buf *out)
{
    for (size_t i = 0, any = 0; i < CLI_COMMANDS; i++)
        if (is_first_of_word(i)) {
            const char *name = cli_commands[i].name;
            buf_put_format(out, "%s%.*s", any++ ? " " : "", (int)strcspn(name, " "), name);
        }
}

/* What may stand behind a first word: the second words of commands. */
static bool put_second_words(struct buf *out, const char *first, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const char *name = cli_commands[i].name;
        if (strncmp(name, first, n) != 0 || name[n] != ' ' || name[n + 1] == '-')
            continue;
        buf_put_format(out, "%s%s", any ? " " : "", name + n + 1);
        any = true;
    }
    return any;
}

static void put_option_names(struct buf *out, uint64_t options)
{
    for (size_t i = 0, any = 0; i < CLI_OPTIONS; i++)
        if (options & cli_bit((enum cli_option)i)) {
            buf_put_format(out, "%s--%s", any++ ? " " : "", cli_options[i].name);
            if (cli_options[i].letter)
                buf_put_format(out, " -%c", cli_options[i].letter);
        }
}

static void put_pattern(struct buf *out, const struct cli_option_spec *spec)
{
    buf_put_format(out, "--%s", spec->name);
    if (spec->letter)
        buf_put_format(out, "|-%c", spec->letter);
}

/* Every option that takes a value, as patterns of a shell's case: those of files, or the others,
 * or all. */
enum wanted { OF_FILES, OF_OTHERS, OF_ALL };
static void put_patterns(struct buf *out, enum wanted wanted)
{
    for (size_t i = 0, any = 0; i < CLI_OPTIONS; i++) {
        const struct cli_option_spec *spec = &cli_options[i];
        if (spec->kind == CLI_FLAG || (wanted != OF_ALL && (spec->kind == CLI_PATH) != (wanted == OF_FILES)))
            continue;
        if (any++)
            buf_put_u8(out, '|');
        put_pattern(out, spec);
    }
}

/* Behind an option: the words that may stand there, files, or nothing. words and files are the
 * shell's commands for them; the words are in choices. */
static void put_values_case(struct buf *out, const char *words, const char *files)
{
    buf_put_text(out, "    case $before in\n");
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (cli_options[i].kind == CLI_CHOICE) {
            buf_put_text(out, "        ");
            put_pattern(out, &cli_options[i]);
            buf_put_format(out, ") choices='%s'; %s; return;;\n", cli_options[i].choices, words);
        }
    buf_put_text(out, "        ");
    put_patterns(out, OF_FILES);
    buf_put_format(out, ") %s; return;;\n        ", files);
    put_patterns(out, OF_OTHERS);
    buf_put_text(out, ") return;;\n    esac\n");
}

/* The words before the present one that are no options, and no values of options, in first, second
 * and third. loop, word and skip are of the shell: over the words, the one looked at, and the step over a
 * value. */
static void put_words_loop(struct buf *out, const char *loop, const char *word, const char *skip)
{
    buf_put_format(out, "    for ((%s; i++)); do\n        word=%s\n        case $word in\n            ", loop,
                   word);
    put_patterns(out, OF_ALL);
    buf_put_format(out,
                   ") %s;;\n"
                   "            :|=) ((i++));;\n" /* bash takes a:1 and --from=etcd apart */
                   "            -*) ;;\n"
                   "            *) if [[ -z $first ]]; then first=$word; elif [[ -z $second ]]; then "
                   "second=$word; elif [[ -z $third ]]; then third=$word; fi;;\n"
                   "        esac\n"
                   "    done\n"
                   "    [[ $first == help && -n $second ]] && { first=$second second=$third; helps=1; }\n",
                   skip);
}

static bool takes_file(const struct cli_command_spec *spec)
{
    return strstr(spec->arguments, "FILE") != NULL;
}

/* Options by command, for both shells: a case over "command" or "command verb". */
static void put_options_case(struct buf *out, const char *indent)
{
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const struct cli_command_spec *spec = &cli_commands[i];
        buf_put_text(out, indent);
        put_quoted(out, spec->name);
        buf_put_text(out, ") options='");
        uint64_t options = spec->options | cli_bit(OPT_HELP);
        if (i == CLI_DOCTOR) /* another entry of the table, and the same word */
            options |= cli_bit(OPT_COMPARE);
        put_option_names(out, options);
        buf_put_text(out, takes_file(spec) ? "'; files=1;;\n" : "';;\n");
    }
}

static void put_verbs_case(struct buf *out, const char *indent)
{
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const char *name = cli_commands[i].name;
        size_t n = strcspn(name, " "), before = out->len;
        if (!is_first_of_word(i))
            continue;
        buf_put_format(out, "%s%.*s) verbs='", indent, (int)n, name);
        if (put_second_words(out, name, n))
            buf_put_text(out, "';;\n");
        else
            out->len = before;
    }
    buf_put_format(out, "%shelp) verbs='", indent);
    put_first_words(out);
    buf_put_text(out, "';;\n");
}

/* What may follow the words that are there, in verbs, options and files: of all but an empty first
 * word, and within its case. */
static void put_cases(struct buf *out)
{
    put_verbs_case(out, "        ");
    buf_put_text(out, "    esac\n"
                      "    if [[ -n $second ]]; then\n"
                      "        [[ \" $verbs \" == *\" $second \"* ]] && first=\"$first $second\"\n"
                      "        verbs=\n"
                      "    fi\n"
                      "    case $first in\n");
    put_options_case(out, "        ");
    buf_put_text(out, "    esac\n"
                      "    [[ -n $helps ]] && options=--help files=\n");
}

/* ---- bash --------------------------------------------------------------------------- */

static void put_bash(struct buf *out)
{
    buf_put_text(out, "# bash completion for yzma; made by yzma help --completion bash\n"
                      "_yzma_files() {\n" /* one on each line, and readline quotes them */
                      "    mapfile -t COMPREPLY < <(compgen -f \"$@\")\n"
                      "    compopt -o filenames 2> /dev/null\n"
                      "}\n"
                      "_yzma() {\n"
                      "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                      "    local first= second= third= helps= verbs= choices= options= files= i word\n"
                      "    COMPREPLY=()\n"
                      "    [[ $current == '=' ]] && current=\n"
                      "    [[ $before == '=' ]] && before=${COMP_WORDS[COMP_CWORD-2]}\n");
    put_values_case(out, "COMPREPLY=($(compgen -W \"$choices\" -- \"$current\"))",
                    "_yzma_files -- \"$current\"");
    put_words_loop(out, "i = 1; i < COMP_CWORD", "${COMP_WORDS[i]}",
                   "((i++)); [[ ${COMP_WORDS[i]} == '=' ]] && ((i++))");
    buf_put_text(out, "    case $first in\n"
                      "        '') verbs='");
    put_first_words(out);
    buf_put_text(out, "';;\n");
    put_cases(out);
    buf_put_text(out, "    if [[ $current == -* ]]; then\n"
                      "        COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
                      "    elif [[ $current == @* ]]; then\n"
                      "        _yzma_files -P @ -- \"${current#@}\"\n"
                      "    elif [[ -n $verbs ]]; then\n"
                      "        COMPREPLY=($(compgen -W \"$verbs\" -- \"$current\"))\n"
                      "    elif [[ -n $files ]]; then\n"
                      "        _yzma_files -- \"$current\"\n"
                      "    fi\n"
                      "}\n"
                      "complete -F _yzma yzma\n");
}

/* ---- zsh ---------------------------------------------------------------------------- */

/* name:text, with the words that may follow the name, or what it does */
static void put_described(struct buf *out, const char *name, size_t n, const char *text)
{
    struct buf entry;
    buf_init(&entry, 4096);
    buf_put_format(&entry, "%.*s:", (int)n, name);
    if (!put_second_words(&entry, name, n))
        buf_put_text(&entry, text);
    buf_put_u8(&entry, 0);
    buf_put_text(out, "        ");
    put_quoted(out, (const char *)entry.data);
    buf_put_u8(out, '\n');
    buf_done(&entry);
}

static void put_zsh(struct buf *out)
{
    buf_put_text(out, "#compdef yzma\n"
                      "# made by yzma help --completion zsh\n"
                      "_yzma() {\n"
                      "    local first= second= third= helps= verbs= choices= options= files= word\n"
                      "    local before=${words[CURRENT-1]}\n"
                      "    local -a commands\n"
                      "    integer i\n");
    put_values_case(out, "compadd -- ${=choices}", "_files");
    put_words_loop(out, "i = 2; i < CURRENT", "${words[i]}", "((i++))");
    buf_put_text(out, "    case $first in\n");
    put_cases(out);
    buf_put_text(out, "    commands=(\n");
    for (size_t i = 0; i < CLI_COMMANDS; i++) {
        const char *name = cli_commands[i].name;
        if (is_first_of_word(i))
            put_described(out, name, strcspn(name, " "), cli_commands[i].summary);
    }
    buf_put_text(
        out,
        "    )\n"
        "    if [[ ${words[CURRENT]} == -* ]]; then\n"
        "        compadd -- ${=options}\n"
        "    elif [[ -z $first || $first == help ]]; then\n"
        "        _describe command commands\n"
        "    elif [[ -n $verbs ]]; then\n"
        "        compadd -- ${=verbs}\n"
        "    elif [[ -n $files || ${words[CURRENT]} == @* ]]; then\n"
        "        compset -P @\n"
        "        _files\n"
        "    fi\n"
        "}\n"
        "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _yzma \"$@\"; else compdef _yzma yzma; fi\n");
}

enum err cli_completion(const char *shell, struct buf *out)
{
    if (strcmp(shell, "bash") == 0)
        put_bash(out);
    else if (strcmp(shell, "zsh") == 0)
        put_zsh(out);
    else
        return ERR_NOT_FOUND;
    return out->err;
}
