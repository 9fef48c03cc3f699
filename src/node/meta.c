#include "meta.h"

#include "json_out.h"

#include <yajl/yajl_tree.h>

enum err meta_encode(const struct meta *meta, struct buf *out)
{
    char uuid[REPLICA_ID_TEXT];
    size_t before = out->len;
    struct json_out json = json_out_to(out);
    json_object(&json);
    json_field_text(&json, "NodeName", meta->node_name);
    json_field_text(&json, "APIIngress", meta->ingress);
    json_field_text(&json, "Replica", replica_id_text(&meta->replica, uuid));
    json_field_number(&json, "Yzma", META_VERSION);
    json_object_end(&json);
    if (out->err != OK)
        return out->err;
    return out->len - before > META_MAX ? ERR_TOO_LARGE : OK;
}

static enum err get_text(yajl_val object, const char *name, char *text, size_t size)
{
    const char *path[] = {name, NULL};
    const char *value = YAJL_GET_STRING(yajl_tree_get(object, path, yajl_t_string));
    if (!value || strlen(value) >= size)
        return ERR_MALFORMED;
    memcpy(text, value, strlen(value) + 1);
    return OK;
}

enum err meta_decode(struct bytes json, struct meta *ret)
{
    char text[META_MAX + 1], uuid[META_TEXT_MAX + 1];
    struct meta meta = {0};
    if (json.len == 0 || json.len > META_MAX || memchr(json.data, 0, json.len))
        return ERR_MALFORMED;
    memcpy(text, json.data, json.len);
    text[json.len] = 0;
    yajl_val object = yajl_tree_parse(text, NULL, 0);
    if (!object)
        return ERR_MALFORMED;
    enum err err = get_text(object, "NodeName", meta.node_name, sizeof meta.node_name);
    if (err == OK)
        err = get_text(object, "APIIngress", meta.ingress, sizeof meta.ingress);
    if (err == OK)
        err = get_text(object, "Replica", uuid, sizeof uuid);
    if (err == OK)
        err = replica_id_parse(bytes_str(uuid), &meta.replica);
    yajl_tree_free(object);
    if (err == OK)
        *ret = meta;
    return err;
}
