#include "curl_api.h"

#include <dlfcn.h>

enum { FUNCTIONS = 9 };

static bool find_all(void *library, struct curl_api *api)
{
    const struct {
        const char *name;
        void *function;
    } wanted[FUNCTIONS] = {
        {"curl_easy_init", &api->easy_init},           {"curl_easy_setopt", &api->easy_setopt},
        {"curl_easy_perform", &api->easy_perform},     {"curl_easy_getinfo", &api->easy_getinfo},
        {"curl_easy_reset", &api->easy_reset},         {"curl_easy_cleanup", &api->easy_cleanup},
        {"curl_easy_strerror", &api->easy_strerror},   {"curl_slist_append", &api->slist_append},
        {"curl_slist_free_all", &api->slist_free_all},
    };
    for (size_t i = 0; i < FUNCTIONS; i++) {
        void *found = dlsym(library, wanted[i].name);
        if (!found)
            return false;
        memcpy(wanted[i].function, &found, sizeof found);
    }
    return true;
}

enum err curl_api_load(const struct curl_api **ret, struct buf *why)
{
    static struct curl_api api;
    static bool loaded;
    if (!loaded) {
        void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
        CURLcode (*global_init)(long);
        void *found = library ? dlsym(library, "curl_global_init") : NULL;
        memcpy(&global_init, &found, sizeof found);
        if (!found || !find_all(library, &api) || global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
            const char *reason = dlerror();
            buf_put_format(why, "libcurl, which this command needs, cannot be loaded: %s",
                           reason ? reason : "it does not start");
            return ERR_IO;
        }
        loaded = true;
    }
    *ret = &api;
    return OK;
}
