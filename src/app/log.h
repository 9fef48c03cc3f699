/* The log: one line per event on standard error, each in one write(2), from any
 * thread.
 *
 *     2026-11-24T02:20:11.123Z info event=ready api=127.0.0.1:8080
 *     {"time":"2026-11-24T02:20:11.123Z","level":"info","event":"ready","api":"127.0.0.1:8080"}
 *
 * Texts are formatted as notice.h has it, so that no value can forge a line or
 * a pair. */
#ifndef YZMA_APP_LOG_H
#define YZMA_APP_LOG_H

#include "effect.h"

enum log_format { LOG_TEXT, LOG_JSON };

/* Both may be called at any time. Before: info and text. */
void log_set_level(enum notice_level level);
void log_set_format(enum log_format format);
bool log_shows(enum notice_level level);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line that was formatted before: a notice of the pure code. */
void log_notice(enum notice_level level, struct bytes line);

/* Appends the finished line with its line end: what the log writes, for tests. */
void log_render(struct buf *out, enum log_format format, uint64_t wall_ms, enum notice_level level,
                struct bytes line);

#endif
