/* CHECK: what only a bug of ours can make false. On in every build.
 *
 * What a client, a peer or a disk can cause is never a CHECK: it is an error
 * code and a counter. */
#ifndef YZMA_BASE_CHECK_H
#define YZMA_BASE_CHECK_H

#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

/* Calls the handler, if one is set, then aborts. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

/* Told of a failure before the abort, so that a program can print it: this
 * floor has no output of its own. The pointer is set once, before threads. */
typedef void check_handler(const char *condition, const char *file, int line);
void check_on_failure(check_handler *handler);

#endif
