/* What help and man page both say beside the table. */
#ifndef YZMA_APP_CLI_TEXT_H
#define YZMA_APP_CLI_TEXT_H

extern const char cli_about[];       /* one sentence */
extern const char cli_servers[];     /* which node is asked */
extern const char cli_first_steps[]; /* a line each */
struct cli_exit_code {
    int code;
    const char *text;
};
enum { CLI_EXIT_CODES = 4 };
extern const struct cli_exit_code cli_exit_codes[CLI_EXIT_CODES];

#endif
