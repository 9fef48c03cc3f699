#include "log.h"

#include "json_out.h"
#include "notice.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Escaped, a line of notices grows at most sixfold (one byte to \u00NN). */
enum { RENDERED_MAX = 6 * NOTICE_LINE_MAX + 256 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static _Atomic enum notice_level level_shown = NOTICE_INFO;
static _Atomic enum log_format format_used = LOG_TEXT;

void log_set_level(enum notice_level level)
{
    atomic_store(&level_shown, level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&format_used, format);
}

bool log_shows(enum notice_level level)
{
    return level >= atomic_load(&level_shown);
}

static void put_time(struct buf *out, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_put_format(out, "%s.%03uZ", text, (unsigned)(wall_ms % 1000));
}

/* Where the value that starts at `at` ends: at a space outside of quotes. */
static size_t value_end(struct bytes line, size_t at)
{
    bool quoted = at < line.len && line.data[at] == '"';
    for (size_t i = at + quoted; i < line.len; i++) {
        if (quoted && line.data[i] == '\\')
            i++;
        else if (quoted && line.data[i] == '"')
            quoted = false;
        else if (!quoted && line.data[i] == ' ')
            return i;
    }
    return line.len;
}

/* The value without the quotes and escapes of notice.h. */
static void unquote(struct buf *out, struct bytes value)
{
    if (value.len == 0 || value.data[0] != '"') {
        buf_put_bytes(out, value);
        return;
    }
    for (size_t i = 1; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == '"') /* the closing one; "..." may follow */
            continue;
        if (c != '\\' || i + 1 == value.len) {
            buf_put_u8(out, c);
            continue;
        }
        c = value.data[++i];
        if (c == 'x' && i + 2 < value.len) {
            char digits[3] = {(char)value.data[i + 1], (char)value.data[i + 2]};
            unsigned byte = 0;
            sscanf(digits, "%2x", &byte);
            buf_put_u8(out, (uint8_t)byte);
            i += 2;
        } else {
            buf_put_u8(out, c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c);
        }
    }
}

/* Each pair a field; a word without '=' is a field with an empty value. */
static void put_fields(struct json_out *j, struct bytes line)
{
    struct buf text;
    buf_init(&text, NOTICE_LINE_MAX);
    for (size_t at = 0; at < line.len;) {
        size_t name_end = at;
        while (name_end < line.len && line.data[name_end] != '=' && line.data[name_end] != ' ')
            name_end++;
        size_t value_at = name_end + (name_end < line.len && line.data[name_end] == '=');
        size_t end = value_end(line, value_at);
        if (name_end > at) {
            buf_reset(&text);
            buf_put(&text, line.data + at, name_end - at);
            buf_put_u8(&text, '\0');
            json_name(j, (const char *)text.data);
            buf_reset(&text);
            unquote(&text, bytes_of(line.data + value_at, end - value_at));
            json_string(j, buf_bytes(&text));
        }
        at = end + 1;
    }
    buf_done(&text);
}

static void render_json(struct buf *out, uint64_t wall_ms, enum notice_level level, struct bytes line)
{
    struct buf time;
    buf_init(&time, 64);
    put_time(&time, wall_ms);
    struct json_out j = json_out_to(out);
    json_object(&j);
    json_field_string(&j, "time", buf_bytes(&time));
    json_field_text(&j, "level", level_names[level]);
    put_fields(&j, line);
    json_object_end(&j);
    buf_done(&time);
}

static void render_text(struct buf *out, uint64_t wall_ms, enum notice_level level, struct bytes line)
{
    put_time(out, wall_ms);
    buf_put_format(out, " %s ", level_names[level]);
    /* Formatted lines have no control bytes; whatever else comes must not end the line. */
    for (size_t i = 0; i < line.len; i++)
        buf_put_u8(out, line.data[i] < ' ' || line.data[i] == 0x7f ? '?' : line.data[i]);
}

void log_render(struct buf *out, enum log_format format, uint64_t wall_ms, enum notice_level level,
                struct bytes line)
{
    if (format == LOG_JSON)
        render_json(out, wall_ms, level, line);
    else
        render_text(out, wall_ms, level, line);
    buf_put_u8(out, '\n');
}

void log_notice(enum notice_level level, struct bytes line)
{
    if (!log_shows(level))
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    struct buf out;
    buf_init(&out, RENDERED_MAX);
    log_render(&out, atomic_load(&format_used), wall_ms, level, line);
    /* A log that cannot be written has nowhere to say so. */
    ssize_t written = write(STDERR_FILENO, out.data, out.len);
    (void)written;
    buf_done(&out);
}

static void log_format_line(enum notice_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void log_format_line(enum notice_level level, const char *format, va_list args)
{
    if (!log_shows(level))
        return;
    struct buf line;
    buf_init(&line, NOTICE_LINE_MAX);
    notice_format(&line, format, args);
    log_notice(level, buf_bytes(&line));
    buf_done(&line);
}

void log_debug(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_format_line(NOTICE_DEBUG, format, args);
    va_end(args);
}

void log_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_format_line(NOTICE_INFO, format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_format_line(NOTICE_WARN, format, args);
    va_end(args);
}

void log_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_format_line(NOTICE_ERROR, format, args);
    va_end(args);
}
