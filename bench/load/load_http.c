/* HTTP/1.1, one request at a time on a connection that stays open. */
#include "machine.h"
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *request(const char *method, const char *address, const char *target, const char *body,
                     size_t body_len, size_t value_len)
{
    char length[96] = "";
    if (body)
        snprintf(length, sizeof length, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 body_len);
    char *text;
    if (asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", method, target, address, length,
                 body ? body : "") < 0)
        die("memory");
    return text;
}

/* The value of a header line with this name ("name:"), or NULL. */
static const char *header_value(const char *line, const char *name, size_t name_len)
{
    if (strncasecmp(line, name, name_len) != 0)
        return NULL;
    line += name_len;
    while (*line == ' ')
        line++;
    return line;
}

#define HEADER(line, name) header_value(line, name, sizeof(name) - 1)

/* A chunked body ends with its last chunk; trailers are not expected. */
static enum answer_state chunked_answer(const char *body, size_t len)
{
    return len >= 5 && memcmp(body + len - 5, "0\r\n\r\n", 5) == 0 ? ANSWER_WHOLE : ANSWER_PART;
}

static enum answer_state answer(const char *data, size_t len, struct answer *ret_answer)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return ANSWER_PART;
    const char *body = end + 4, *length = NULL;
    size_t body_len = (size_t)(data + len - body);
    bool chunked = false;
    const char *line = data;
    while ((line = memchr(line, '\n', (size_t)(body - line))) && ++line < end + 2) {
        if ((*line | 0x20) == 'c' && !length)
            length = HEADER(line, "content-length:");
        else if ((*line | 0x20) == 't' && HEADER(line, "transfer-encoding:"))
            chunked = true;
    }
    enum answer_state state = ANSWER_BAD;
    if (chunked) {
        state = chunked_answer(body, body_len);
    } else if (length) {
        size_t wanted = strtoull(length, NULL, 10);
        state = body_len < wanted ? ANSWER_PART : body_len > wanted ? ANSWER_BAD : ANSWER_WHOLE;
    }
    if (state == ANSWER_WHOLE)
        *ret_answer = (struct answer){
            .good = len > 12 && memcmp(data + 8, " 200", 4) == 0, .body = body, .body_len = body_len};
    return state;
}

const struct protocol protocol_http = {.request = request, .answer = answer};
