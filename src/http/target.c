#include "target.h"

#include "utf8.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err percent_decode(struct bytes text, bool plus_is_space, uint8_t *out, size_t room, size_t *ret_length)
{
    size_t length = 0;
    for (size_t i = 0; i < text.len; i++, length++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR_MALFORMED;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        /* A bad escape further on is still malformed, so go on to the end. */
        if (length < room)
            out[length] = c;
    }
    if (length > room)
        return ERR_TOO_LARGE;
    *ret_length = length;
    return OK;
}

static void refuse(struct target *t, unsigned status, const char *error)
{
    t->error_status = status;
    t->error = error;
}

static void parse_key(struct target *t, struct bytes raw)
{
    size_t length = 0;
    switch (percent_decode(raw, false, t->key, sizeof t->key, &length)) {
    case OK:
        break;
    case ERR_TOO_LARGE:
        refuse(t, 414, "key is longer than 480 bytes");
        return;
    default:
        refuse(t, 400, "key has a bad percent-escape");
        return;
    }
    t->key_length = length;
    if (length == 0)
        refuse(t, 400, "key is empty");
    else if (memchr(t->key, '\0', length))
        refuse(t, 400, "key contains a NUL byte");
    else if (utf8_valid_until(target_key(t)) < length)
        refuse(t, 400, "key is not UTF-8");
}

/* The absolute form, which servers must accept (RFC 9112, 3.2.2). */
static struct bytes without_authority(struct bytes raw)
{
    static const char scheme[] = "http://";
    if (!bytes_starts_with(raw, bytes_str(scheme)))
        return raw;
    size_t from = sizeof scheme - 1;
    while (from < raw.len && raw.data[from] != '/' && raw.data[from] != '?')
        from++;
    return bytes_of(raw.data + from, raw.len - from);
}

void target_parse(struct bytes raw, struct target *ret)
{
    static const struct {
        const char *path;
        enum route route;
    } fixed[] = {
        {"/keys", ROUTE_KEYS},
        {"/conflicts", ROUTE_CONFLICTS},
        {"/batch", ROUTE_BATCH},
        {"/import", ROUTE_IMPORT},
        {"/export", ROUTE_EXPORT},
        {"/watch", ROUTE_WATCH},
        {"/health", ROUTE_HEALTH},
        {"/ready", ROUTE_READY},
        {"/cluster/members", ROUTE_MEMBERS},
        {"/cluster/status", ROUTE_STATUS},
        {"/cluster/keys", ROUTE_CLUSTER_KEYS},
        {"/cluster/keys/install", ROUTE_KEYS_INSTALL},
        {"/cluster/keys/use", ROUTE_KEYS_USE},
        {"/cluster/keys/remove", ROUTE_KEYS_REMOVE},
        {"/cluster/backup", ROUTE_BACKUP},
        {"/cluster/digest", ROUTE_DIGEST},
        {"/cluster/join", ROUTE_JOIN},
        {"/cluster/leave", ROUTE_LEAVE},
        {"/cluster/forget", ROUTE_FORGET},
        {"/cluster/retire", ROUTE_RETIRE},
        {"/cluster/pause", ROUTE_PAUSE},
        {"/cluster/resume", ROUTE_RESUME},
    };
    ret->route = ROUTE_NONE;
    ret->error_status = 0;
    ret->error = NULL;
    ret->key_length = 0;
    ret->query = bytes_of(NULL, 0);

    struct bytes path = without_authority(raw);
    const uint8_t *question = path.len ? memchr(path.data, '?', path.len) : NULL;
    if (question) {
        size_t path_length = (size_t)(question - path.data);
        ret->query = bytes_of(question + 1, path.len - path_length - 1);
        path.len = path_length;
    }
    struct bytes keys = bytes_str("/keys/");
    if (bytes_starts_with(path, keys)) {
        ret->route = ROUTE_KEY;
        parse_key(ret, bytes_of(path.data + keys.len, path.len - keys.len));
        return;
    }
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (bytes_equal(path, bytes_str(fixed[i].path)))
            ret->route = fixed[i].route;
}
