/* All versions of a key: in the envelope, or as the parts of a multipart/mixed body
 * (RFC 2046, 5.1) with their own types. */
#include "envelope.h"
#include "exchange.h"
#include "media.h"

#include <stdio.h>
#include <stdlib.h>

enum { STAMP_TEXT = 17, NODE_TEXT = 300 };

static char *stamp_text(uint64_t stamp, char out[STAMP_TEXT])
{
    snprintf(out, STAMP_TEXT, "%016llx", (unsigned long long)stamp);
    return out;
}

struct bytes node_of(struct snapshot *snapshot, const struct replica_id *replica, char id[REPLICA_ID_TEXT])
{
    char note[sizeof NODE_NOTE_NAME + REPLICA_ID_TEXT] = NODE_NOTE_NAME;
    struct bytes name;
    replica_id_text(replica, id);
    memcpy(note + sizeof NODE_NOTE_NAME - 1, id, REPLICA_ID_TEXT);
    return snapshot_note(snapshot, note, &name) == OK ? name : bytes_str(id);
}

/* The surfaced one first: by (stamp, dot), the largest before the others. */
static int later_first(const void *a, const void *b)
{
    const struct version *va = a, *vb = b;
    if (va->stamp != vb->stamp)
        return va->stamp < vb->stamp ? 1 : -1;
    return dot_compare(&vb->dot, &va->dot);
}

static void put_version(struct json_out *j, struct snapshot *snapshot, const struct version *version)
{
    char stamp[STAMP_TEXT], id[REPLICA_ID_TEXT];
    json_object(j);
    value_put(j, version, false);
    value_put_expiry(j, version);
    json_field_text(j, "Stamp", stamp_text(version->stamp, stamp));
    json_field_string(j, "Node", node_of(snapshot, &version->dot.replica, id));
    json_object_end(j);
}

static void put_all(struct exchange *x, struct snapshot *snapshot, const struct record *record,
                    const struct token *token, uint64_t wall_ms)
{
    struct buf text;
    buf_init(&text, TOKEN_TEXT_MAX);
    token_encode(token, &text);
    envelope_open(&x->answer);
    struct json_out j = json_out_to(&x->answer);
    json_object(&j);
    json_name(&j, "Versions");
    json_array(&j);
    for (size_t i = 0; i < record->count; i++)
        if (!version_expired(&record->versions[i], wall_ms))
            put_version(&j, snapshot, &record->versions[i]);
    json_array_end(&j);
    json_field_string(&j, "Context", buf_bytes(&text));
    json_object_end(&j);
    envelope_close(&x->answer);
    buf_done(&text);
}

/* ---- multipart ------------------------------------------------------------------ */

enum { BOUNDARY_TEXT = 48 };

static bool occurs(struct bytes text, struct bytes in)
{
    for (const uint8_t *at = in.data; text.len <= (size_t)(in.data + in.len - at); at++) {
        at = memchr(at, text.data[0], (size_t)(in.data + in.len - at));
        if (!at || text.len > (size_t)(in.data + in.len - at))
            return false;
        if (memcmp(at, text.data, text.len) == 0)
            return true;
    }
    return false;
}

/* One that no value has in it. It is the same for the same versions, as a strong ETag
 * asks for. */
static void find_boundary(const struct record *record, uint64_t tag, char out[BOUNDARY_TEXT])
{
    bool taken = true;
    for (unsigned n = 0; taken; n++) {
        snprintf(out, BOUNDARY_TEXT, "yzma-%016llx-%u", (unsigned long long)tag, n);
        taken = false;
        for (size_t i = 0; i < record->count && !taken; i++)
            taken = occurs(bytes_str(out), record->versions[i].value);
    }
}

static void put_part(struct buf *out, struct snapshot *snapshot, const struct version *version,
                     const char *boundary)
{
    char stamp[STAMP_TEXT], id[REPLICA_ID_TEXT], expires[UNITS_TEXT_MAX], type[CONTENT_TYPE_MAX + 1];
    struct bytes node = node_of(snapshot, &version->dot.replica, id);
    buf_put_format(out, "--%s\r\nContent-Type: %s", boundary, media_text(version->type, type));
    buf_put_format(out, "\r\nContent-Length: %zu\r\nX-Yzma-Stamp: %s\r\nX-Yzma-Node: ", version->value.len,
                   stamp_text(version->stamp, stamp));
    for (size_t i = 0; i < node.len; i++) /* a name may be anything that is UTF-8 */
        buf_put_u8(out, node.data[i] < ' ' || node.data[i] == 0x7f ? '?' : node.data[i]);
    if (version->expires_ms)
        buf_put_format(out, "\r\nX-Yzma-Expires: %s", instant_text_ms(version->expires_ms, expires));
    buf_put_text(out, "\r\n\r\n");
    buf_put_bytes(out, version->value);
    buf_put_text(out, "\r\n");
}

static void put_parts(struct exchange *x, struct snapshot *snapshot, const struct record *record,
                      uint64_t tag, uint64_t wall_ms)
{
    char boundary[BOUNDARY_TEXT];
    find_boundary(record, tag, boundary);
    for (size_t i = 0; i < record->count; i++)
        if (!version_expired(&record->versions[i], wall_ms))
            put_part(&x->answer, snapshot, &record->versions[i], boundary);
    buf_put_format(&x->answer, "--%s--\r\n", boundary);
    snprintf(x->head.body_type, sizeof x->head.body_type, "multipart/mixed; boundary=%s", boundary);
    x->head.is_raw = true;
}

enum etag_form versions_form(const struct exchange *x)
{
    return x->accept && media_accepted(x->accept, "multipart/mixed", false) ? ETAG_MIXED : ETAG_JSON;
}

void answer_versions(struct exchange *x, unsigned status, struct snapshot *snapshot, struct record *record,
                     const struct token *token, uint64_t wall_ms)
{
    buf_reset(&x->answer);
    uint64_t tag = record_tag(record, wall_ms); /* of the dots in their own order */
    qsort(record->versions, record->count, sizeof *record->versions, later_first);
    if (versions_form(x) == ETAG_MIXED)
        put_parts(x, snapshot, record, tag, wall_ms);
    else
        put_all(x, snapshot, record, token, wall_ms);
    answer_written(x, status);
}
