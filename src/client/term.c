#include "term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PROGRESS_EVERY_MS = 100, WIDTH_STANDARD = 80 };

bool term_is(FILE *file)
{
    return isatty(fileno(file)) == 1;
}

bool term_colours(FILE *file)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    return term_is(file) && !(no_colour && no_colour[0]) && !(term && strcmp(term, "dumb") == 0);
}

size_t term_width(FILE *file)
{
    struct winsize size;
    if (!term_is(file))
        return 0;
    return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : WIDTH_STANDARD;
}

const char *term_code(FILE *file, enum term_colour colour)
{
    static const char *const codes[] = {
        [TERM_PLAIN] = "\033[0m", [TERM_BOLD] = "\033[1m",   [TERM_FAINT] = "\033[2m",
        [TERM_RED] = "\033[31m",  [TERM_GREEN] = "\033[32m", [TERM_YELLOW] = "\033[33m"};
    return term_colours(file) ? codes[colour] : "";
}

uint64_t term_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void bar_begin(struct bar *p, const char *what, const char *unit)
{
    *p = (struct bar){.what = what, .unit = unit, .shown = term_is(stderr), .began_ms = term_now_ms()};
}

static void put_bar(uint64_t done, uint64_t all)
{
    enum { CELLS = 24 };
    size_t filled = done >= all ? CELLS : (size_t)((double)done / (double)all * CELLS);
    fputs(" [", stderr);
    for (size_t i = 0; i < CELLS; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fputc(']', stderr);
}

void bar_at(struct bar *p, uint64_t done, uint64_t all)
{
    uint64_t now_ms = p->shown ? term_now_ms() : 0;
    if (!p->shown || now_ms < p->next_ms)
        return;
    p->next_ms = now_ms + PROGRESS_EVERY_MS;
    uint64_t ms = now_ms - p->began_ms;
    fprintf(stderr, "\r%s %llu", p->what, (unsigned long long)done);
    if (all)
        fprintf(stderr, " of %llu", (unsigned long long)all);
    fprintf(stderr, " %s", p->unit);
    if (all)
        put_bar(done, all);
    if (ms >= 1000)
        fprintf(stderr, " %llu/s", (unsigned long long)(done * 1000 / ms));
    fputs("\033[K", stderr);
    fflush(stderr);
}

void bar_end(struct bar *p)
{
    if (p->shown && p->next_ms)
        fputs("\r\033[K", stderr);
    p->shown = false;
}

enum err finish_output(FILE *out, struct buf *why)
{
    if (fflush(out) == 0 && !ferror(out))
        return OK;
    buf_put_format(why, "the output cannot be written: %s", strerror(errno));
    return ERR_IO;
}
