/* A server on loopback, with a fake store and a fake node behind, and a client that
 * sends raw bytes: what the tests of the HTTP edge share. */
#ifndef YZMA_TESTS_HTTP_RIG_H
#define YZMA_TESTS_HTTP_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fake_store.h"
#include "http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct http_world {
    struct http *http;
    struct fake_store *store;
    atomic_uint_fast64_t wall_ms;
    char slow_line[300]; /* the last about a PUT */
    /* what the fake node answers, and what it was asked */
    enum err node_err;
    const char *node_error, *node_data;
    enum node_request asked;
    char names[200];
    bool node_closed;
    atomic_uint known, having; /* other replicas that have what is written */
};
extern struct http_world world;
extern pthread_mutex_t slow_lock; /* guards slow_line */
extern const struct http_options usual;

void start_with(const struct http_options *options);
/* As cmocka's setup and teardown. */
int start(void **state);
int stop(void **state);
uint64_t now_ms(void);
uint64_t counter(const char *name);

int connect_to(void);
void send_bytes(int fd, const void *data, size_t length);
void send_text(int fd, const char *text);

struct answer {
    int status; /* 0: the connection ended without one */
    char head[32 << 10];
    char *body;
    size_t length;
    bool whole; /* a chunked one came to its end */
};
extern struct answer last;

/* Reads one answer, byte by byte up to the body: what follows stays in the socket. One
 * without a length is read to its last chunk, or to where it breaks off. */
struct answer *receive_for(int fd, bool head_only);
struct answer *receive(int fd);
bool closed_by_server(int fd);
/* The value of a header of the last answer, "" when it has none. */
const char *header(const char *name);
struct answer *call(int fd, const char *method, const char *target, const char *headers, const char *body);
void assert_answer(const struct answer *a, int status, const char *body);
/* An error in the envelope, with these words in it. */
void assert_error(struct answer *a, int status, const char *words);

#define OK_BODY(data) "{\"Status\":\"ok\",\"Error\":\"\",\"Data\":" data "}"
#define served(test)  cmocka_unit_test_setup_teardown(test, start, stop)

#endif
