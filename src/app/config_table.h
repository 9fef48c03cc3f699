/* The table of settings: what the configuration's parts share. */
#ifndef YZMA_APP_CONFIG_TABLE_H
#define YZMA_APP_CONFIG_TABLE_H

#include "config.h"
#include "json_out.h"

enum setting_kind {
    SETTING_LABEL,       /* char *: a short text */
    SETTING_PATH,        /* char * */
    SETTING_ADDRESS,     /* char *: an IPv4 or IPv6 address */
    SETTING_ENDPOINT,    /* struct config_endpoint; min: of the port */
    SETTING_PORT,        /* uint16_t */
    SETTING_NEXT_PORT,   /* int32_t, may be REPLICATION_PORT_NEXT */
    SETTING_COUNT,       /* uint64_t, a JSON number */
    SETTING_SIZE,        /* uint64_t */
    SETTING_DURATION,    /* uint64_t */
    SETTING_CHOICE,      /* unsigned (an enum): the index in choices */
    SETTING_COMPRESSION, /* int32_t */
    SETTING_PEERS,       /* struct config_list of "host:port" */
    SETTING_NAMES,       /* struct config_list of member names */
    SETTING_ORIGINS,     /* struct config_list of "https://host:port" */
    SETTING_KEYS,        /* struct config_list of base64 texts, never shown */
    SETTING_BOOL,        /* bool */
    SETTING_VERSIONS,    /* uint8_t[3]: "min,max,current" */
};

struct setting {
    const char *path;     /* as in the documentation; names in files match in any case */
    const char *standard; /* the default, as a file would say it; NULL: empty, or filled later */
    enum setting_kind kind;
    size_t offset; /* in struct config */
    uint64_t min, max;
    const char *const *choices; /* NULL at the end */
};

enum { SETTINGS = 41 };
extern const struct setting settings[SETTINGS];

static inline bool setting_is_list(const struct setting *s)
{
    return s->kind == SETTING_PEERS || s->kind == SETTING_NAMES || s->kind == SETTING_ORIGINS ||
           s->kind == SETTING_KEYS;
}

/* Its values must not be seen in messages. */
static inline bool setting_is_secret(const struct setting *s)
{
    return s->kind == SETTING_KEYS;
}

struct json_scalar {
    enum { JSON_STRING, JSON_NUMBER, JSON_OTHER } kind;
    struct bytes text; /* of a string its characters, else as written */
};

/* Sets it, or adds to it for a list. ERR_MALFORMED appends to why what it must be. */
enum err setting_set(const struct setting *setting, struct config *config, struct json_scalar value,
                     struct buf *why) MUST_USE;
/* Appends "must be ..". */
void setting_explain(const struct setting *setting, struct buf *why);
/* What it is, for the man page; "" only for one that has no text yet. */
const char *setting_about(const struct setting *setting);
/* Its value as a file would say it, JSON; of a secret only whether there is one. */
void setting_put(const struct setting *setting, const struct config *config, struct json_out *json);
/* Both say the same. */
bool setting_equal(const struct setting *setting, const struct config *a, const struct config *b);
/* Frees what it owns. */
void setting_done(const struct setting *setting, struct config *config);

#endif
