/* Entity tags (RFC 9110, 8.8.3) of a key: the tag of its versions, and which form of
 * them an answer has, since strong tags tell forms apart: "0123456789abcdef",
 * "0123456789abcdef-raw", "0123456789abcdef-mixed". */
#ifndef YZMA_HTTP_ETAG_H
#define YZMA_HTTP_ETAG_H

#include "condition.h"

enum etag_form { ETAG_JSON, ETAG_RAW, ETAG_MIXED };
enum { ETAG_TEXT_MAX = 32 };

/* With its quotes; out holds ETAG_TEXT_MAX. */
char *etag_text(uint64_t tag, enum etag_form form, char out[ETAG_TEXT_MAX]);

/* If-Match or If-None-Match: "*", or a list. For a condition the form does not matter.
 * strong: weak tags (W/) match nothing, as If-Match compares (13.1.1). Tags that are
 * not ours match nothing. ERR_MALFORMED, also for more than CONDITION_TAGS_MAX tags
 * of ours. *ret must be cleared. */
enum err etag_list_parse(const char *text, bool strong, struct tag_list *ret) MUST_USE;

/* Whether such a list, well formed, has the tag in this form; "*" has any. strong: a weak one is
 * none. */
bool etag_list_has(const char *text, bool strong, uint64_t tag, enum etag_form form);

#endif
