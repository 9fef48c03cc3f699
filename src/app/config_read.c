/* Reads the JSON of a configuration file against the table of settings, in one
 * pass over yajl's events: at each key and value the reader knows the one
 * setting or section that it is about, and the first thing that does not fit
 * ends the reading with a line that says where and why. */
#include "config_table.h"
#include "json_out.h"
#include "notice.h"
#include "utf8.h"

#include <yajl/yajl_parse.h>

enum { SECTION_NONE = -1, SECTION_ROOT, SECTIONS = 6 };

static const struct {
    const char *path;
    int parent;
} sections[SECTIONS] = {
    {"", SECTION_NONE},        {"API", 0},    {"Peering", 0},
    {"Peering.Federation", 2}, {"Server", 0}, {"Server.Log", 4},
};

enum { VALUE_SHOWN_MAX = 80 };

struct reader {
    struct config *config;
    const char *name;
    struct bytes text;
    yajl_handle yajl;
    struct buf *why;
    int section;                   /* whose keys are read; SECTION_NONE outside of the root object */
    int next_section;              /* what the key named before is: one of these two */
    const struct setting *setting; /* or NULL */
    bool in_list;                  /* within the list of `setting` */
    bool failed;
    bool section_seen[SECTIONS], setting_seen[SETTINGS];
};

static size_t line_now(const struct reader *r)
{
    return text_position(r->text, yajl_get_bytes_consumed(r->yajl)).line;
}

static const char *path_now(const struct reader *r)
{
    return r->setting                       ? r->setting->path
           : r->next_section > SECTION_ROOT ? sections[r->next_section].path
                                            : "";
}

/* Opens the line of a refusal: "yzma.json:4: Peering.BindPort: ". */
static void open_refusal(struct reader *r, const char *path)
{
    r->failed = true;
    buf_put_format(r->why, "%s:%zu: %s%s", r->name, line_now(r), path, path[0] ? ": " : "");
}

static int refuse_type(struct reader *r)
{
    open_refusal(r, path_now(r));
    if (r->setting)
        setting_explain(r->setting, r->why);
    else
        buf_put_text(r->why, "must be an object, { .. }");
    return 0;
}

static int on_scalar(struct reader *r, struct json_scalar value)
{
    if (!r->setting || setting_is_list(r->setting) != r->in_list)
        return refuse_type(r);
    struct buf reason;
    buf_init(&reason, r->why->max);
    enum err err = setting_set(r->setting, r->config, value, &reason);
    if (err != OK) {
        open_refusal(r, r->setting->path);
        buf_put_bytes(r->why, buf_bytes(&reason));
        if (value.text.len <= VALUE_SHOWN_MAX && !setting_is_secret(r->setting)) {
            buf_put_text(r->why, ", not ");
            struct json_out j = json_out_to(r->why);
            if (value.kind == JSON_STRING)
                json_string(&j, value.text);
            else
                json_raw(&j, value.text);
        }
    }
    buf_done(&reason);
    if (!r->in_list)
        r->setting = NULL;
    return err == OK;
}

static int on_null(void *ctx)
{
    return on_scalar(ctx, (struct json_scalar){JSON_OTHER, bytes_str("null")});
}

static int on_boolean(void *ctx, int value)
{
    return on_scalar(ctx, (struct json_scalar){JSON_OTHER, bytes_str(value ? "true" : "false")});
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return on_scalar(ctx, (struct json_scalar){JSON_NUMBER, bytes_of(text, len)});
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    return on_scalar(ctx, (struct json_scalar){JSON_STRING, bytes_of(text, len)});
}

static int on_object(void *ctx)
{
    struct reader *r = ctx;
    if (r->next_section == SECTION_NONE)
        return refuse_type(r);
    r->section = r->next_section;
    r->next_section = SECTION_NONE;
    return 1;
}

static int on_object_end(void *ctx)
{
    struct reader *r = ctx;
    r->section = sections[r->section].parent;
    return 1;
}

/* Whether path is the section's path, a dot, and the name in any case. */
static bool is_child(const char *path, int section, struct bytes name)
{
    size_t n = strlen(sections[section].path);
    if (strncmp(path, sections[section].path, n) != 0 || (n > 0 && path[n] != '.'))
        return false;
    const char *rest = path + n + (n > 0);
    return !strchr(rest, '.') && strlen(rest) == name.len &&
           strncasecmp(rest, (const char *)name.data, name.len) == 0;
}

static int refuse_key(struct reader *r, struct bytes name, const char *reason)
{
    open_refusal(r, "");
    const char *section = sections[r->section].path;
    buf_put_format(r->why, "%s%s", section, section[0] ? "." : "");
    notice_value(r->why, name);
    buf_put_format(r->why, ": %s", reason);
    return 0;
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    struct reader *r = ctx;
    struct bytes name = bytes_of(text, len);
    bool *seen = NULL;
    r->setting = NULL;
    for (int i = 1; i < SECTIONS; i++)
        if (is_child(sections[i].path, r->section, name)) {
            r->next_section = i;
            seen = &r->section_seen[i];
        }
    for (size_t i = 0; i < SETTINGS && !seen; i++)
        if (is_child(settings[i].path, r->section, name)) {
            r->setting = &settings[i];
            seen = &r->setting_seen[i];
        }
    if (!seen)
        return refuse_key(r, name, "no such setting");
    if (*seen)
        return refuse_key(r, name, "set twice (names match in any case)");
    *seen = true;
    return 1;
}

static int on_array(void *ctx)
{
    struct reader *r = ctx;
    if (!r->setting || !setting_is_list(r->setting) || r->in_list)
        return refuse_type(r);
    r->in_list = true;
    return 1;
}

static int on_array_end(void *ctx)
{
    struct reader *r = ctx;
    r->in_list = false;
    r->setting = NULL;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_array_end,
};

static void refuse_syntax(struct reader *r, size_t offset, const char *reason)
{
    struct text_position at = text_position(r->text, offset);
    buf_put_format(r->why, "%s:%zu:%zu: %s", r->name, at.line, at.column, reason);
}

/* yajl's words for what is wrong, without its final line end. */
static void refuse_json(struct reader *r, bool ended)
{
    unsigned char *error = yajl_get_error(r->yajl, 0, r->text.data, r->text.len);
    size_t len = strcspn((const char *)error, "\n");
    error[len] = '\0';
    size_t consumed = yajl_get_bytes_consumed(r->yajl);
    size_t offset = ended ? r->text.len : consumed > 0 ? consumed - 1 : 0;
    refuse_syntax(r, offset, (const char *)error);
    yajl_free_error(r->yajl, error);
}

enum err config_read_text(struct config *config, const char *name, struct bytes text, struct buf *why)
{
    struct reader r = {.config = config,
                       .name = name,
                       .text = text,
                       .why = why,
                       .section = SECTION_NONE,
                       .next_section = SECTION_ROOT};
    size_t valid = utf8_valid_until(text);
    if (valid < text.len) {
        refuse_syntax(&r, valid, "not UTF-8");
        return ERR_MALFORMED;
    }
    r.yajl = yajl_alloc(&callbacks, NULL, &r);
    if (!r.yajl)
        return ERR_NOMEM;
    yajl_status status = yajl_parse(r.yajl, text.data, text.len);
    bool ended = status == yajl_status_ok;
    if (ended)
        status = yajl_complete_parse(r.yajl);
    if (status != yajl_status_ok && !r.failed)
        refuse_json(&r, ended);
    yajl_free(r.yajl);
    return status == yajl_status_ok ? OK : ERR_MALFORMED;
}
