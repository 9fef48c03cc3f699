/* A setting's value, written as a file would say it. */
#include "config_table.h"
#include "units.h"

static void put_endpoint(struct json_out *json, const struct config_endpoint *endpoint)
{
    if (!endpoint->host) {
        json_null(json);
        return;
    }
    bool brackets = strchr(endpoint->host, ':') != NULL;
    struct buf text;
    buf_init(&text, 1024);
    buf_put_format(&text, "%s%s%s:%u", brackets ? "[" : "", endpoint->host, brackets ? "]" : "",
                   endpoint->port);
    json_string(json, buf_bytes(&text));
    buf_done(&text);
}

static void put_text(struct json_out *json, const char *text)
{
    if (text)
        json_text(json, text);
    else
        json_null(json);
}

static void put_list(struct json_out *json, const struct config_list *list, bool secret)
{
    json_array(json);
    for (size_t i = 0; i < list->count; i++)
        json_text(json, secret ? "(a key)" : list->texts[i]);
    json_array_end(json);
}

static void put_units(struct json_out *json, char *(*text)(uint64_t, char[UNITS_TEXT_MAX]), uint64_t n)
{
    char room[UNITS_TEXT_MAX];
    json_text(json, text(n, room));
}

static void put_versions(struct json_out *json, const uint8_t *v)
{
    struct buf text;
    buf_init(&text, 64);
    buf_put_format(&text, "%u,%u,%u", v[0], v[1], v[2]);
    json_string(json, buf_bytes(&text));
    buf_done(&text);
}

static void put_compression(struct json_out *json, int32_t level)
{
    if (level > 0)
        json_number(json, (uint64_t)level);
    else
        json_text(json, level == COMPRESSION_AUTO ? "auto" : "off");
}

void setting_put(const struct setting *s, const struct config *config, struct json_out *json)
{
    const void *field = (const char *)config + s->offset;
    switch (s->kind) {
    case SETTING_LABEL:
    case SETTING_PATH:
    case SETTING_ADDRESS:
        put_text(json, *(char *const *)field);
        break;
    case SETTING_ENDPOINT:
        put_endpoint(json, field);
        break;
    case SETTING_PORT:
        json_number(json, *(const uint16_t *)field);
        break;
    case SETTING_NEXT_PORT:
        if (*(const int32_t *)field < 0)
            json_null(json);
        else
            json_number(json, (uint64_t) * (const int32_t *)field);
        break;
    case SETTING_COUNT:
        json_number(json, *(const uint64_t *)field);
        break;
    case SETTING_SIZE:
        if (!s->standard && *(const uint64_t *)field == 0)
            json_null(json); /* no limit */
        else
            put_units(json, size_text, *(const uint64_t *)field);
        break;
    case SETTING_DURATION:
        put_units(json, duration_text, *(const uint64_t *)field);
        break;
    case SETTING_CHOICE:
        json_text(json, s->choices[*(const unsigned *)field]);
        break;
    case SETTING_COMPRESSION:
        put_compression(json, *(const int32_t *)field);
        break;
    case SETTING_PEERS:
    case SETTING_NAMES:
    case SETTING_ORIGINS:
    case SETTING_KEYS:
        put_list(json, field, setting_is_secret(s));
        break;
    case SETTING_BOOL:
        json_bool(json, *(const bool *)field);
        break;
    case SETTING_VERSIONS:
        put_versions(json, field);
        break;
    }
}
