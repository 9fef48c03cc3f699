/* Rows for people, in columns as wide as they must be. Control characters are shown as
 * '?', and the last column is cut at the width of a terminal; where next to nothing of it would be
 * left, it stands below its row. */
#ifndef YZMA_CLIENT_GRID_H
#define YZMA_CLIENT_GRID_H

#include "term.h"

enum { GRID_COLUMNS_MAX = 12 };

struct grid {
    size_t columns, count; /* of cells */
    struct grid_cell {
        char *text;
        enum term_colour colour;
    } * cells;
    const char *titles[GRID_COLUMNS_MAX];
    size_t widths[GRID_COLUMNS_MAX];
    bool headed; /* the titles have been printed */
};

/* titles: columns of them, constants; none is printed where all are "". */
void grid_init(struct grid *t, size_t columns, const char *const *titles);
void grid_done(struct grid *t);
/* The next cell, from left to right and row after row. */
void grid_put(struct grid *t, struct bytes text);
void grid_put_text(struct grid *t, const char *text);
void grid_put_number(struct grid *t, uint64_t number);
void grid_colour(struct grid *t, enum term_colour colour); /* of the last cell */
/* Prints the rows and forgets them; columns do not get narrower with the next ones. */
void grid_print(struct grid *t, FILE *out);

#endif
