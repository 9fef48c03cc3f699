/* What is shown to people: whether somebody looks at it, colours, the progress of long
 * work. Errors of output are not looked at here: who writes ends with finish_output. */
#ifndef YZMA_CLIENT_TERM_H
#define YZMA_CLIENT_TERM_H

#include "err.h"
#include "buf.h"

#include <stdio.h>

bool term_is(FILE *file);      /* a terminal */
bool term_colours(FILE *file); /* a terminal, and NO_COLOR is not set, and TERM is not "dumb" */
size_t term_width(FILE *file); /* columns; 0: no terminal */

enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_FAINT, TERM_RED, TERM_GREEN, TERM_YELLOW };
/* The sequence that begins it; "" where file has no colours. */
const char *term_code(FILE *file, enum term_colour colour);

/* A line on standard error that tells how far long work is, written over at most ten times
 * a second, and only where that is a terminal. */
struct bar {
    const char *what, *unit; /* "imported", "records" */
    bool shown;
    uint64_t next_ms, began_ms;
};
void bar_begin(struct bar *p, const char *what, const char *unit);
void bar_at(struct bar *p, uint64_t done, uint64_t all); /* all 0: not known */
void bar_end(struct bar *p);                             /* takes the line away */

/* Milliseconds of a clock that never goes back. */
uint64_t term_now_ms(void);

/* Flushes out. ERR_IO, a line in why, where something could not be written. */
enum err finish_output(FILE *out, struct buf *why) MUST_USE;

#endif
