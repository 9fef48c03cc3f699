/* A notice is one line of key=value pairs for the log:
 * event=member_suspect node=pacha by="kronk the second".
 *
 * Texts of peers and clients end up in such lines, so a %s is written bare only
 * while it could not be taken for anything else; with a space, quote, '=',
 * control byte or bad UTF-8 in it, or empty, it is put in quotes and escaped
 * (\" \\ \n \r \t \xNN). No value can end its line or forge a pair. */
#ifndef YZMA_BASE_NOTICE_H
#define YZMA_BASE_NOTICE_H

#include "buf.h"

#include <stdarg.h>

enum {
    NOTICE_VALUE_MAX = 512,    /* bytes of one %s; the rest becomes "..." */
    NOTICE_LINE_MAX = 1 << 16, /* more than a format of ours with such values makes */
};

/* Appends the formatted line, without line end. The conversions are those of
 * printf for strings and whole numbers: %s %.*s %c %d %i %u %x, with l, ll, z and,
 * for numbers, a width; any other stops the program, as the format is ours. */
void notice_format(struct buf *out, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Appends one value, quoted where needed. */
void notice_value(struct buf *out, struct bytes value);

#endif
