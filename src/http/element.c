#include "element.h"

#include "check.h"
#include "json_scan.h"

#include <openssl/evp.h>
#include <stdlib.h>

/* The one call of libcrypto outside of swim/seal.c. */
void element_hash(struct bytes canonical, uint8_t out[ELEMENT_HASH_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    CHECK(EVP_Digest(canonical.data, canonical.len, digest, &length, EVP_sha256(), NULL) == 1 &&
          length >= ELEMENT_HASH_SIZE);
    for (size_t i = 0; i < ELEMENT_HASH_SIZE; i++)
        out[i] = digest[i] ? digest[i] : 1;
}

/* In one form elements have no line breaks. */
bool element_is_sound(const struct version *version)
{
    struct bytes value = version->value;
    return version->type.len == 0 && value.len && !memchr(value.data, '\n', value.len) &&
           !memchr(value.data, '\r', value.len);
}

void element_put(struct json_out *j, const struct version *version)
{
    if (!element_is_sound(version))
        return;
    json_name(j, "Element");
    json_raw(j, version->value);
}

/* ---- a change -------------------------------------------------------------------------- */

struct lists {
    struct bytes add, remove; /* raw; data NULL: missing */
};

static enum err refuse(struct buf *why, enum err err, const char *text)
{
    buf_put_text(why, text);
    return err;
}

static enum err find_lists(struct bytes text, struct lists *ret, struct buf *why)
{
    struct json_scan scan = json_scan_of(text);
    struct bytes name, value;
    if (!json_scan_open(&scan, '{'))
        return refuse(why, ERR_MALFORMED, "body must be {\"Add\":[..],\"Remove\":[..]}");
    while (json_scan_member(&scan, &name, &value)) {
        struct bytes *list = json_string_is(name, "Add")      ? &ret->add
                             : json_string_is(name, "Remove") ? &ret->remove
                                                              : NULL;
        struct json_scan elements = json_scan_of(value);
        if (!list || list->data || !json_scan_open(&elements, '[')) {
            buf_put_bytes(why, bytes_of(name.data, name.len < 100 ? name.len : 100));
            return refuse(why, ERR_MALFORMED,
                          !list        ? " is unknown"
                          : list->data ? " is repeated"
                                       : " must be a list of elements");
        }
        *list = value;
    }
    if (!ret->add.data && !ret->remove.data)
        return refuse(why, ERR_MALFORMED, "body has neither \"Add\" nor \"Remove\"");
    return OK;
}

static size_t count_elements(struct bytes list)
{
    struct json_scan scan = json_scan_of(list);
    struct bytes element;
    size_t count = 0;
    if (list.data && json_scan_open(&scan, '['))
        while (json_scan_element(&scan, &element))
            count++;
    return count;
}

static enum err take_list(struct bytes list, bool remove, struct bytes set, struct store_work *work,
                          struct buf *why)
{
    struct json_scan scan = json_scan_of(list);
    struct buf *text = &work->batch.text; /* has room for all: nothing moves */
    struct bytes element;
    if (!list.data || !json_scan_open(&scan, '['))
        return OK;
    while (json_scan_element(&scan, &element)) {
        uint8_t hash[ELEMENT_HASH_SIZE], room[KEY_MAX];
        size_t start = text->len;
        json_put_canonical(element, text);
        struct bytes value = bytes_of(text->data + start, text->len - start);
        if (value.len > ELEMENT_MAX)
            return refuse(why, ERR_TOO_LARGE, "an element is larger than 64 KiB");
        element_hash(value, hash);
        start = text->len;
        buf_put_bytes(text, space_element(set, hash, room));
        struct write_work *write = store_work_add_write(work);
        write->key = bytes_of(text->data + start, text->len - start);
        write->remove = remove;
        write->value = remove ? bytes_of(NULL, 0) : value;
    }
    return text->err;
}

static int by_key(const void *a, const void *b)
{
    const struct write_work *wa = a, *wb = b;
    return bytes_compare(wa->key, wb->key);
}

/* Each element once. */
static enum err unite(struct batch_work *batch, struct buf *why)
{
    size_t left = 0;
    if (batch->count)
        qsort(batch->writes, batch->count, sizeof *batch->writes, by_key);
    for (size_t i = 0; i < batch->count; i++) {
        const struct write_work *last = left ? &batch->writes[left - 1] : NULL;
        if (!last || !bytes_equal(last->key, batch->writes[i].key))
            batch->writes[left++] = batch->writes[i];
        else if (last->remove != batch->writes[i].remove)
            return refuse(why, ERR_MALFORMED, "\"Remove\" contradicts \"Add\": an element is in both");
    }
    batch->count = left;
    return OK;
}

enum err element_read_change(struct bytes text, struct bytes set, struct store_work *work, struct buf *why)
{
    struct lists lists = {0};
    enum err err = find_lists(text, &lists, why);
    if (err != OK)
        return err;
    size_t count = count_elements(lists.add) + count_elements(lists.remove);
    if (count > TXN_RECORDS_MAX)
        return refuse(why, ERR_TOO_LARGE, "a change has at most 10000 elements");
    buf_init(&work->batch.text, text.len + count * KEY_MAX);
    buf_reserve(&work->batch.text, text.len + count * KEY_MAX);
    err = work->batch.text.err;
    if (err == OK)
        err = take_list(lists.add, false, set, work, why);
    if (err == OK)
        err = take_list(lists.remove, true, set, work, why);
    return err == OK ? unite(&work->batch, why) : err;
}
