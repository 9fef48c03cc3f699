/* The two languages that the generators speak: HTTP/1.1 (load_http.c) and RESP,
 * that of Redis (load_resp.c). Each lays out a request, and finds an answer's end. */
#ifndef BENCH_PROTOCOL_H
#define BENCH_PROTOCOL_H

#include "pattern.h"

#include <stdbool.h>
#include <stddef.h>

enum answer_state { ANSWER_PART, ANSWER_WHOLE, ANSWER_BAD };

struct answer {
    bool good;        /* 200; no error and not nil */
    const char *body; /* within what was received */
    size_t body_len;
};

struct protocol {
    /* The text of a request, to be freed by the caller. `target` is a path, or a
     * command; `body_len` the length of the body once its holes are filled. */
    char *(*request)(const char *method, const char *address, const char *target, const char *body,
                     size_t body_len, size_t value_len);
    /* What `data` begins with; *ret_answer is set when it is whole. */
    enum answer_state (*answer)(const char *data, size_t len, struct answer *ret_answer);
};

extern const struct protocol protocol_http, protocol_resp;

/* A request as options say it; target and body are patterns. */
struct request {
    const struct protocol *protocol;
    const char *method, *target, *body; /* body: or NULL */
    size_t value_len;
    uint64_t seed;
};

void request_lay_out(const struct request *r, const char *address, struct pattern *ret_pattern);

/* NULL for a name other than "http" and "resp". */
const struct protocol *protocol_named(const char *name);

#endif
