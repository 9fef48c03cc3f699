/* libcurl, loaded at run time. */
#ifndef YZMA_CLIENT_CURL_API_H
#define YZMA_CLIENT_CURL_API_H

#include "buf.h"

#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>

struct curl_api {
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_perform)(CURL *);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    void (*easy_reset)(CURL *);
    void (*easy_cleanup)(CURL *);
    const char *(*easy_strerror)(CURLcode);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
    void (*slist_free_all)(struct curl_slist *);
};

/* Loads it the first time, for good. ERR_IO with a line in why. Not for several threads
 * at a time. */
enum err curl_api_load(const struct curl_api **ret, struct buf *why) MUST_USE;

#endif
