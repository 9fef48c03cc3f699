#include "grid.h"

#include "client.h"
#include "mem.h"

#include <stdlib.h>

enum { GAP = 2, INDENT = 4, LAST_MIN = 20 /* columns: less shows nothing of use */ };

void grid_init(struct grid *t, size_t columns, const char *const *titles)
{
    *t = (struct grid){.columns = columns};
    memcpy(t->titles, titles, columns * sizeof *titles);
}

static void forget(struct grid *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i].text);
    t->count = 0;
}

void grid_done(struct grid *t)
{
    forget(t);
    free(t->cells);
    *t = (struct grid){0};
}

void grid_put(struct grid *t, struct bytes text)
{
    struct buf plain;
    buf_init(&plain, SIZE_MAX);
    client_put_plain(&plain, text);
    if ((t->count & (t->count - 1)) == 0)
        t->cells = mem_grow(t->cells, (t->count ? 2 * t->count : 1) * sizeof *t->cells);
    t->cells[t->count++] = (struct grid_cell){mem_text_of(buf_bytes(&plain)), TERM_PLAIN};
    buf_done(&plain);
}

void grid_put_text(struct grid *t, const char *text)
{
    grid_put(t, bytes_str(text));
}

void grid_put_number(struct grid *t, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    grid_put_text(t, text);
}

void grid_colour(struct grid *t, enum term_colour colour)
{
    if (t->count)
        t->cells[t->count - 1].colour = colour;
}

/* Characters, each taken for one column wide. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((uint8_t)*text & 0xc0) != 0x80;
    return n;
}

/* Bytes of the first n characters. */
static size_t cut_at(const char *text, size_t n)
{
    size_t at = 0;
    for (; text[at]; at++)
        if (((uint8_t)text[at] & 0xc0) != 0x80 && n-- == 0)
            break;
    return at;
}

static void measure(struct grid *t)
{
    for (size_t i = 0; i < t->columns; i++) {
        size_t n = width_of(t->titles[i]);
        t->widths[i] = n > t->widths[i] ? n : t->widths[i];
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t n = width_of(t->cells[i].text), *width = &t->widths[i % t->columns];
        *width = n > *width ? n : *width;
    }
}

/* Whether the last column stands below its row, as beside the others nothing of it would be seen. */
static bool is_below(const struct grid *t, size_t room)
{
    size_t at = 0, last = t->columns - 1;
    for (size_t i = 0; i < last; i++)
        at += t->widths[i] + GAP;
    return room && at + t->widths[last] > room && at + LAST_MIN > room;
}

static void print_cell(const struct grid *t, FILE *out, size_t column, size_t at, const char *text,
                       enum term_colour colour)
{
    size_t room = term_width(out);
    bool last = column + 1 == t->columns;
    if (last && text[0] && is_below(t, room)) {
        fprintf(out, "\n%*s", INDENT, "");
        at = INDENT;
    }
    size_t n = width_of(text);
    if (colour != TERM_PLAIN)
        fputs(term_code(out, colour), out);
    if (last && room && n && at + n > room)
        fprintf(out, "%.*s\u2026", (int)cut_at(text, room > at + 1 ? room - at - 1 : 0), text);
    else
        fputs(text, out);
    if (colour != TERM_PLAIN)
        fputs(term_code(out, TERM_PLAIN), out);
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (int)(t->widths[column] - n + GAP), "");
}

static void print_titles(struct grid *t, FILE *out)
{
    size_t at = 0;
    bool any = false;
    for (size_t i = 0; i < t->columns; i++)
        any |= t->titles[i][0] != 0;
    for (size_t i = 0; any && i < t->columns; i++) {
        bool below = i + 1 == t->columns && is_below(t, term_width(out));
        print_cell(t, out, i, at, below ? "" : t->titles[i], TERM_FAINT);
        at += t->widths[i] + GAP;
    }
    t->headed = true;
}

void grid_print(struct grid *t, FILE *out)
{
    size_t at = 0;
    measure(t);
    if (!t->headed && t->count)
        print_titles(t, out);
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        print_cell(t, out, column, at, t->cells[i].text, t->cells[i].colour);
        at = column + 1 == t->columns ? 0 : at + t->widths[column] + GAP;
    }
    forget(t);
}
