#include "config_table.h"

#include "base64.h"
#include "check.h"
#include "mem.h"
#include "units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>

#define KIB          ((uint64_t)1 << 10)
#define MIB          ((uint64_t)1 << 20)
#define TIB          ((uint64_t)1 << 40)
#define SECOND       ((uint64_t)1000)
#define HOUR         (3600 * SECOND)
#define YEAR         (365 * 24 * HOUR)
#define FIELD(field) .offset = offsetof(struct config, field)

enum { PATH_TEXT_MAX = 4095, HOST_TEXT_MAX = 255, MEMBER_NAME_TEXT_MAX = 128, ORIGIN_TEXT_MAX = 300 };

static const char *const profiles[] = {"lan", "wan", "local", NULL};
static const char *const conflicts[] = {"lww", "siblings", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"text", "json", NULL};

const struct setting settings[SETTINGS] = {
    {"API.Bind", "127.0.0.1:8080", SETTING_ENDPOINT, FIELD(api.bind), 0},
    {"API.Threads", NULL, SETTING_COUNT, FIELD(api.threads), 1, 256},
    /* The most that one transaction takes is the most that one value can be. */
    {"API.MaxValueBytes", "16MiB", SETTING_SIZE, FIELD(api.value_bytes_max), 1, 64 * MIB},
    {"API.MaxConnections", "10000", SETTING_COUNT, FIELD(api.connections_max), 1, 1000000},
    {"API.RequestTimeout", "30s", SETTING_DURATION, FIELD(api.request_timeout_ms), 1, 24 * HOUR},
    {"API.MaxBodiesInFlight", "256MiB", SETTING_SIZE, FIELD(api.bodies_bytes_max), 1, TIB},
    {"API.MaxWatchers", "10000", SETTING_COUNT, FIELD(api.watchers_max), 0, 1000000},
    {"API.MaxWatchLag", "100000", SETTING_COUNT, FIELD(api.watch_lag_max), 1, UINT32_MAX},
    {"API.WatchHeartbeat", "15s", SETTING_DURATION, FIELD(api.watch_heartbeat_ms), 1, HOUR},
    {"API.AllowedOrigins", NULL, SETTING_ORIGINS, FIELD(api.allowed_origins)},
    {"Peering.Name", NULL, SETTING_LABEL, FIELD(peering.name)},
    {"Peering.BindAddr", "0.0.0.0", SETTING_ADDRESS, FIELD(peering.bind_address)},
    {"Peering.BindPort", "7946", SETTING_PORT, FIELD(peering.bind_port), 1, UINT16_MAX},
    {"Peering.ReplicationPort", NULL, SETTING_NEXT_PORT, FIELD(peering.replication_port), 0, UINT16_MAX},
    {"Peering.AdvertiseAddress", NULL, SETTING_ADDRESS, FIELD(peering.advertise_address)},
    {"Peering.AdvertisePort", NULL, SETTING_PORT, FIELD(peering.advertise_port), 1, UINT16_MAX},
    {"Peering.Federation.NodeName", NULL, SETTING_LABEL, FIELD(peering.federation.node_name)},
    {"Peering.Federation.APIIngress", NULL, SETTING_ENDPOINT, FIELD(peering.federation.api_ingress), 1},
    {"Peering.Profile", "lan", SETTING_CHOICE, FIELD(peering.profile), .choices = profiles},
    {"Peering.Join", NULL, SETTING_PEERS, FIELD(peering.join)},
    {"Peering.Block", NULL, SETTING_NAMES, FIELD(peering.block)},
    {"Peering.Label", "", SETTING_LABEL, FIELD(peering.label)},
    {"Peering.Keys", NULL, SETTING_KEYS, FIELD(peering.keys)},
    {"Peering.VerifyIncoming", "true", SETTING_BOOL, FIELD(peering.verify_incoming)},
    {"Peering.VerifyOutgoing", "true", SETTING_BOOL, FIELD(peering.verify_outgoing)},
    {"Peering.ProtocolVersion", "2", SETTING_COUNT, FIELD(peering.protocol_version), 1, 5},
    {"Peering.DelegateVersion", "0,0,0", SETTING_VERSIONS, FIELD(peering.delegate_version)},
    {"Peering.ForgetAfter", "72h", SETTING_DURATION, FIELD(peering.forget_after_ms), SECOND, 100 * YEAR},
    {"Peering.ClockSkewMax", "60s", SETTING_DURATION, FIELD(peering.clock_skew_max_ms), 1, 24 * HOUR},
    {"Peering.QuarantineMax", "64MiB", SETTING_SIZE, FIELD(peering.quarantine_bytes_max), 1, TIB},
    {"Peering.Compression", "auto", SETTING_COMPRESSION, FIELD(peering.compression), 1, COMPRESSION_MAX},
    {"Server.DBPath", "yzma.db", SETTING_PATH, FIELD(server.db_path)},
    {"Server.History", "1h", SETTING_DURATION, FIELD(server.history_ms), 0, 100 * YEAR},
    {"Server.HistoryMax", "1GiB", SETTING_SIZE, FIELD(server.history_bytes_max), MIB, 1024 * TIB},
    {"Server.MemoryTable", "64MiB", SETTING_SIZE, FIELD(server.memory_table_bytes), MIB, TIB},
    {"Server.MaxVersions", "64", SETTING_COUNT, FIELD(server.versions_max), 1, 4096},
    {"Server.MaxStoreBytes", NULL, SETTING_SIZE, FIELD(server.store_bytes_max), 16 * MIB, 1024 * TIB},
    {"Server.Conflict", "lww", SETTING_CHOICE, FIELD(server.conflict), .choices = conflicts},
    {"Server.Log.Level", "info", SETTING_CHOICE, FIELD(server.log_level), .choices = levels},
    {"Server.Log.Format", "text", SETTING_CHOICE, FIELD(server.log_format), .choices = formats},
    {"Server.SlowRequest", "500ms", SETTING_DURATION, FIELD(server.slow_request_ms), 1, 24 * HOUR},
};

static bool is_text(struct bytes text, size_t len_max)
{
    if (text.len == 0 || text.len > len_max)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_address(struct bytes text)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof copy || memchr(text.data, 0, text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    struct in6_addr in;
    return inet_pton(AF_INET, copy, &in) == 1 || inet_pton(AF_INET6, copy, &in) == 1;
}

enum err endpoint_parse(struct bytes text, struct config_endpoint *ret)
{
    const uint8_t *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
    if (!colon)
        return ERR_MALFORMED;
    struct bytes host = bytes_of(text.data, (size_t)(colon - text.data));
    struct bytes digits = bytes_of(colon + 1, text.len - host.len - 1);
    uint64_t port;
    if (number_parse(digits, &port) != OK || port > UINT16_MAX)
        return ERR_MALFORMED;
    if (host.len > 0) {
        bool bracketed = host.data[0] == '[' && host.data[host.len - 1] == ']' && host.len > 2;
        if (bracketed)
            host = bytes_of(host.data + 1, host.len - 2);
        /* Only an IPv6 address has colons, and only in brackets. */
        if (!is_text(host, HOST_TEXT_MAX) || memchr(host.data, ' ', host.len) ||
            bracketed != (memchr(host.data, ':', host.len) != NULL) || (bracketed && !is_address(host)))
            return ERR_MALFORMED;
    }
    *ret = (struct config_endpoint){.host = mem_text_of(host), .port = (uint16_t)port};
    return OK;
}

/* A host alone is meant at the port that gossip has by default. */
static bool is_peer(struct bytes text)
{
    struct config_endpoint endpoint;
    char with_port[HOST_TEXT_MAX + sizeof "[]:1"];
    bool alone = text.len > 0 && (!memchr(text.data, ':', text.len) || text.data[text.len - 1] == ']');
    if (alone && text.len <= HOST_TEXT_MAX + 2) {
        memcpy(with_port, text.data, text.len);
        memcpy(with_port + text.len, ":1", 2);
        text = bytes_of(with_port, text.len + 2);
    }
    if (endpoint_parse(text, &endpoint) != OK)
        return false;
    bool usable = endpoint.host[0] && endpoint.port > 0;
    free(endpoint.host);
    return usable;
}

/* As browsers send it: scheme and host, perhaps a port, no path. */
static bool is_origin(struct bytes text)
{
    if (!is_text(text, ORIGIN_TEXT_MAX) || memchr(text.data, ' ', text.len))
        return false;
    struct bytes http = bytes_str("http://"), https = bytes_str("https://");
    struct bytes scheme = bytes_starts_with(text, http) ? http : https;
    return bytes_starts_with(text, scheme) && text.len > scheme.len &&
           !memchr(text.data + scheme.len, '/', text.len - scheme.len);
}

static void *field_of(const struct setting *s, struct config *config)
{
    return (char *)config + s->offset;
}

static void replace_text(char **field, struct bytes text)
{
    free(*field);
    *field = mem_text_of(text);
}

static void list_add(struct config_list *list, struct bytes text)
{
    list->texts = mem_grow(list->texts, (list->count + 1) * sizeof *list->texts);
    list->texts[list->count++] = mem_text_of(text);
}

enum err config_add_peer(struct config_list *list, struct bytes text)
{
    if (!is_peer(text))
        return ERR_MALFORMED;
    list_add(list, text);
    return OK;
}

void config_list_done(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
    *list = (struct config_list){0};
}

enum err config_key_bytes(struct bytes base64, struct buf *out)
{
    size_t before = out->len;
    enum err err = base64_decode(base64, out);
    size_t n = out->len - before;
    if (err == OK && n != 16 && n != 24 && n != 32)
        err = ERR_MALFORMED;
    if (err != OK)
        out->len = before;
    return err;
}

static bool is_key(struct bytes text)
{
    struct buf key;
    buf_init(&key, KEY_BYTES_MAX);
    bool good = config_key_bytes(text, &key) == OK;
    mem_wipe(key.data, key.len);
    buf_done(&key);
    return good;
}

/* "min,max,current" with the current one between the others. */
static bool set_versions(uint8_t *field, struct bytes text)
{
    uint8_t versions[3];
    for (size_t i = 0; i < 3; i++) {
        const uint8_t *comma = i < 2 && text.len ? memchr(text.data, ',', text.len) : NULL;
        uint64_t n;
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        if ((i < 2 && !comma) || number_parse(bytes_of(text.data, len), &n) != OK || n > UINT8_MAX)
            return false;
        versions[i] = (uint8_t)n;
        if (comma)
            text = bytes_of(comma + 1, text.len - len - 1);
    }
    if (versions[0] > versions[2] || versions[2] > versions[1])
        return false;
    memcpy(field, versions, sizeof versions);
    return true;
}

static bool set_text(const struct setting *s, char **field, struct bytes text)
{
    bool may_be_empty = s->standard && !s->standard[0];
    bool good = may_be_empty && text.len == 0 ? true
                : s->kind == SETTING_ADDRESS
                    ? is_address(text)
                    : is_text(text, s->kind == SETTING_PATH ? PATH_TEXT_MAX : LABEL_TEXT_MAX);
    if (good)
        replace_text(field, text);
    return good;
}

static bool set_endpoint(const struct setting *s, struct config_endpoint *field, struct bytes text)
{
    struct config_endpoint endpoint;
    if (endpoint_parse(text, &endpoint) != OK)
        return false;
    if (endpoint.port < s->min || (s->min > 0 && !endpoint.host[0])) {
        free(endpoint.host);
        return false;
    }
    free(field->host);
    *field = endpoint;
    return true;
}

static bool set_choice(const struct setting *s, unsigned *field, struct bytes text)
{
    for (unsigned i = 0; s->choices[i]; i++)
        if (bytes_equal(bytes_str(s->choices[i]), text)) {
            *field = i;
            return true;
        }
    return false;
}

static bool set_item(const struct setting *s, struct config_list *field, struct bytes text)
{
    bool good = s->kind == SETTING_PEERS     ? is_peer(text)
                : s->kind == SETTING_ORIGINS ? is_origin(text)
                : s->kind == SETTING_KEYS    ? field->count < KEYS_MAX && is_key(text)
                                             : is_text(text, MEMBER_NAME_TEXT_MAX);
    if (good)
        list_add(field, text);
    return good;
}

static bool set_string(const struct setting *s, struct config *config, struct bytes text)
{
    void *field = field_of(s, config);
    uint64_t n;
    switch (s->kind) {
    case SETTING_LABEL:
    case SETTING_PATH:
    case SETTING_ADDRESS:
        return set_text(s, field, text);
    case SETTING_ENDPOINT:
        return set_endpoint(s, field, text);
    case SETTING_SIZE:
    case SETTING_DURATION:
        if ((s->kind == SETTING_SIZE ? size_parse(text, &n) : duration_parse(text, &n)) != OK || n < s->min ||
            n > s->max)
            return false;
        *(uint64_t *)field = n;
        return true;
    case SETTING_CHOICE:
        return set_choice(s, field, text);
    case SETTING_COMPRESSION:
        if (!bytes_equal(text, bytes_str("auto")) && !bytes_equal(text, bytes_str("off")))
            return false;
        *(int32_t *)field = text.data[0] == 'a' ? COMPRESSION_AUTO : COMPRESSION_OFF;
        return true;
    case SETTING_PEERS:
    case SETTING_NAMES:
    case SETTING_ORIGINS:
    case SETTING_KEYS:
        return set_item(s, field, text);
    case SETTING_VERSIONS:
        return set_versions(field, text);
    case SETTING_BOOL:
    case SETTING_PORT:
    case SETTING_NEXT_PORT:
    case SETTING_COUNT:
        return false;
    }
    return false;
}

static bool set_number(const struct setting *s, struct config *config, struct bytes text)
{
    void *field = field_of(s, config);
    uint64_t n;
    if (number_parse(text, &n) != OK || n < s->min || n > s->max)
        return false;
    switch (s->kind) {
    case SETTING_PORT:
        *(uint16_t *)field = (uint16_t)n;
        return true;
    case SETTING_NEXT_PORT:
    case SETTING_COMPRESSION:
        *(int32_t *)field = (int32_t)n;
        return true;
    case SETTING_COUNT:
    case SETTING_SIZE:
        *(uint64_t *)field = n;
        return true;
    default:
        return false;
    }
}

static void explain_choices(const struct setting *s, struct buf *why)
{
    for (unsigned i = 0; s->choices[i]; i++)
        buf_put_format(why, "%s\"%s\"", i == 0 ? "" : s->choices[i + 1] ? ", " : " or ", s->choices[i]);
}

void setting_explain(const struct setting *s, struct buf *why)
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    buf_put_text(why, "must be ");
    switch (s->kind) {
    case SETTING_LABEL:
        buf_put_format(why, "a text of 1 to %d bytes without control characters", LABEL_TEXT_MAX);
        break;
    case SETTING_PATH:
        buf_put_text(why, "the path of a file");
        break;
    case SETTING_ADDRESS:
        buf_put_text(why, "an IPv4 or IPv6 address");
        break;
    case SETTING_ENDPOINT:
        buf_put_text(why, "\"host:port\"");
        break;
    case SETTING_PORT:
    case SETTING_NEXT_PORT:
    case SETTING_COUNT:
        buf_put_format(why, "a whole number from %" PRIu64 " to %" PRIu64, s->min, s->max);
        break;
    case SETTING_SIZE:
        buf_put_format(why, "a size from %s to %s, such as 4096 or \"64MiB\"", size_text(s->min, low),
                       size_text(s->max, high));
        break;
    case SETTING_DURATION:
        buf_put_format(why, "a duration from %s to %s, such as \"500ms\" or \"1m30s\"",
                       duration_text(s->min, low), duration_text(s->max, high));
        break;
    case SETTING_CHOICE:
        explain_choices(s, why);
        break;
    case SETTING_COMPRESSION:
        buf_put_format(why, "\"auto\", \"off\" or a whole number from 1 to %d", COMPRESSION_MAX);
        break;
    case SETTING_PEERS:
        buf_put_text(why, "a list of \"host:port\"");
        break;
    case SETTING_NAMES:
        buf_put_text(why, "a list of member names");
        break;
    case SETTING_ORIGINS:
        buf_put_text(why, "a list of origins such as \"https://example.org\"");
        break;
    case SETTING_KEYS:
        buf_put_format(
            why, "a list of at most %d keys, each 16, 24 or 32 bytes in base64 (openssl rand -base64 32)",
            KEYS_MAX);
        break;
    case SETTING_BOOL:
        buf_put_text(why, "true or false");
        break;
    case SETTING_VERSIONS:
        buf_put_text(
            why,
            "\"min,max,current\", three numbers from 0 to 255 such as \"2,5,5\", current between the others");
        break;
    }
}

static bool set_bool(const struct setting *s, struct config *config, struct bytes text)
{
    bool is_true = bytes_equal(text, bytes_str("true"));
    if (s->kind != SETTING_BOOL || (!is_true && !bytes_equal(text, bytes_str("false"))))
        return false;
    *(bool *)field_of(s, config) = is_true;
    return true;
}

enum err setting_set(const struct setting *s, struct config *config, struct json_scalar value,
                     struct buf *why)
{
    bool good = value.kind == JSON_STRING   ? set_string(s, config, value.text)
                : value.kind == JSON_NUMBER ? set_number(s, config, value.text)
                                            : set_bool(s, config, value.text);
    if (good)
        return OK;
    setting_explain(s, why);
    return ERR_MALFORMED;
}

void setting_done(const struct setting *s, struct config *config)
{
    void *field = field_of(s, config);
    switch (s->kind) {
    case SETTING_LABEL:
    case SETTING_PATH:
    case SETTING_ADDRESS:
        free(*(char **)field);
        break;
    case SETTING_ENDPOINT:
        free(((struct config_endpoint *)field)->host);
        break;
    case SETTING_PEERS:
    case SETTING_NAMES:
    case SETTING_ORIGINS:
        config_list_done(field);
        break;
    case SETTING_KEYS:
        for (size_t i = 0; i < ((struct config_list *)field)->count; i++) {
            char *key = ((struct config_list *)field)->texts[i];
            mem_wipe(key, strlen(key));
        }
        config_list_done(field);
        break;
    default:
        break;
    }
}

static bool texts_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool lists_equal(const struct config_list *a, const struct config_list *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = texts_equal(a->texts[i], b->texts[i]);
    return equal;
}

bool setting_equal(const struct setting *s, const struct config *a, const struct config *b)
{
    const void *x = (const char *)a + s->offset, *y = (const char *)b + s->offset;
    const struct config_endpoint *end_x = x, *end_y = y;
    switch (s->kind) {
    case SETTING_LABEL:
    case SETTING_PATH:
    case SETTING_ADDRESS:
        return texts_equal(*(char *const *)x, *(char *const *)y);
    case SETTING_ENDPOINT:
        return texts_equal(end_x->host, end_y->host) && end_x->port == end_y->port;
    case SETTING_PEERS:
    case SETTING_NAMES:
    case SETTING_ORIGINS:
    case SETTING_KEYS:
        return lists_equal(x, y);
    case SETTING_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case SETTING_VERSIONS:
        return memcmp(x, y, sizeof((const struct config *)NULL)->peering.delegate_version) == 0;
    case SETTING_PORT:
        return *(const uint16_t *)x == *(const uint16_t *)y;
    case SETTING_NEXT_PORT:
    case SETTING_COMPRESSION:
        return *(const int32_t *)x == *(const int32_t *)y;
    case SETTING_COUNT:
    case SETTING_SIZE:
    case SETTING_DURATION:
        return *(const uint64_t *)x == *(const uint64_t *)y;
    case SETTING_CHOICE:
        return *(const unsigned *)x == *(const unsigned *)y;
    }
    return true;
}
