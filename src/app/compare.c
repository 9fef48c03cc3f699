/* yzma doctor --compare: two running nodes, range by range of keys. A range whose digests
 * differ is listed on both; keys that differ are looked at once more after a moment, as a
 * write may have been on its way. */
#include "cmd.h"

#include "mem.h"
#include "record.h"

#include <stdlib.h>
#include <time.h>
#include <yajl/yajl_tree.h>

enum {
    RANGE_KEYS = 1000,
    DIFFERENT_MAX = 1000, /* keys told */
    AGAIN_S = 2,
};

struct range {
    yajl_val root, data; /* data within root */
    char *text;
};

struct comparing {
    struct client *nodes[2];
    struct buf *why;
    char *different[DIFFERENT_MAX];
    size_t count;
};

static void range_done(struct range *range)
{
    yajl_tree_free(range->root);
    free(range->text);
    *range = (struct range){0};
}

static yajl_val get(yajl_val object, const char *name)
{
    return yajl_tree_get(object, (const char *[]){name, NULL}, yajl_t_any);
}

static const char *text_of(yajl_val value)
{
    return YAJL_IS_STRING(value) ? YAJL_GET_STRING(value) : "";
}

/* Keys behind `after`, through `through` or (NULL) as many as fit. */
static enum err ask(struct comparing *c, int node, const char *after, const char *through, bool list,
                    struct range *ret)
{
    struct client_answer answer;
    struct buf target;
    char problem[128];
    buf_init(&target, CMD_TARGET_MAX);
    buf_put_format(&target, "/cluster/digest?limit=%d&list=%s", through ? 10 * RANGE_KEYS : RANGE_KEYS,
                   list ? "true" : "false");
    client_put_param_text(&target, "after", after);
    if (through)
        client_put_param_text(&target, "through", through);
    struct client_call call = {.target = client_target(&target)};
    enum err err = call.target ? client_call(c->nodes[node], &call, &answer, c->why) : target.err;
    if (err == OK) {
        ret->text = mem_text_of(buf_bytes(&answer.body));
        ret->root = yajl_tree_parse(ret->text, problem, sizeof problem);
        ret->data = get(ret->root, "Data");
        if (answer.status != 200 || !YAJL_IS_OBJECT(ret->data)) {
            buf_put_format(c->why, "%s answers %u: %s", answer.server, answer.status,
                           text_of(get(ret->root, "Error")));
            range_done(ret);
            err = ERR_REFUSED;
        }
        client_answer_done(&answer);
    }
    buf_done(&target);
    return err;
}

static void note(struct comparing *c, const char *key)
{
    if (c->count < DIFFERENT_MAX)
        c->different[c->count++] = mem_text(key);
}

static size_t length(yajl_val list)
{
    return YAJL_IS_ARRAY(list) ? YAJL_GET_ARRAY(list)->len : 0;
}

static yajl_val entry(yajl_val list, size_t i)
{
    return i < length(list) ? YAJL_GET_ARRAY(list)->values[i] : NULL;
}

/* Both in key order. */
static void compare_lists(struct comparing *c, yajl_val a, yajl_val b)
{
    for (size_t i = 0, k = 0; i < length(a) || k < length(b);) {
        yajl_val one = entry(a, i), two = entry(b, k);
        const char *key = text_of(get(one, "Key")), *other = text_of(get(two, "Key"));
        int order = !one ? 1 : !two ? -1 : strcmp(key, other);
        if (order != 0 || strcmp(text_of(get(one, "Hash")), text_of(get(two, "Hash"))) != 0)
            note(c, order <= 0 ? key : other);
        i += order <= 0;
        k += order >= 0;
    }
}

static bool complete(const struct range *range)
{
    return YAJL_IS_TRUE(get(range->data, "Complete"));
}

/* One range that differs; its end is where the lists of both are complete. */
static enum err look_closer(struct comparing *c, const char *after, const char *through)
{
    struct range a = {0}, b = {0};
    enum err err = ask(c, 0, after, through, true, &a);
    if (err == OK)
        err = ask(c, 1, after, through, true, &b);
    if (err == OK && (!complete(&a) || !complete(&b))) {
        buf_put_format(c->why, "more than %d keys of one node lie between two of the other, behind \"%s\"",
                       10 * RANGE_KEYS, after);
        err = ERR_TOO_LARGE;
    }
    if (err == OK)
        compare_lists(c, get(a.data, "Keys"), get(b.data, "Keys"));
    range_done(&a);
    range_done(&b);
    return err;
}

static enum err compare_range(struct comparing *c, char **after, bool *ret_end)
{
    struct range a = {0}, b = {0};
    enum err err = ask(c, 0, *after, NULL, false, &a);
    /* a key is UTF-8, and so below this */
    char *through = err != OK                          ? NULL
                    : YAJL_IS_TRUE(get(a.data, "End")) ? mem_text("\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf")
                                                       : mem_text(text_of(get(a.data, "Through")));
    if (err == OK)
        err = ask(c, 1, *after, through, false, &b);
    if (err == OK &&
        (!complete(&b) || strcmp(text_of(get(a.data, "Hash")), text_of(get(b.data, "Hash"))) != 0))
        err = look_closer(c, *after, through);
    if (err == OK) {
        *ret_end = YAJL_IS_TRUE(get(a.data, "End"));
        free(*after);
        *after = through;
    } else {
        free(through);
    }
    range_done(&a);
    range_done(&b);
    return err;
}

/* The last key of a range, if it is this one: its hash, or "". */
static const char *hash_at_end(const struct range *range, const char *key)
{
    yajl_val list = get(range->data, "Keys"), last = entry(list, length(list) ? length(list) - 1 : 0);
    return last && strcmp(text_of(get(last, "Key")), key) == 0 ? text_of(get(last, "Hash")) : "";
}

/* One key again, read from its own prefix on, a character shorter. Where very many keys
 * lie between, it counts as different still. */
static enum err look_again_at(struct comparing *c, const char *key, bool *ret_differs)
{
    struct range a = {0}, b = {0};
    char *before = mem_text(key);
    size_t n = strlen(before);
    do
        n--; /* a whole character: the call takes UTF-8 only */
    while (n > 0 && ((uint8_t)key[n] & 0xc0) == 0x80);
    before[n] = 0;
    enum err err = ask(c, 0, before, key, true, &a);
    if (err == OK)
        err = ask(c, 1, before, key, true, &b);
    if (err == OK)
        *ret_differs = !complete(&a) || !complete(&b) ||
                       strcmp(hash_at_end(&a, key), hash_at_end(&b, key)) != 0;
    free(before);
    range_done(&a);
    range_done(&b);
    return err;
}

static enum err look_again(struct comparing *c, FILE *out, uint64_t *ret_differ)
{
    enum err err = OK;
    for (size_t i = 0; i < c->count && err == OK; i++) {
        bool differs = false;
        err = look_again_at(c, c->different[i], &differs);
        if (differs)
            fprintf(out, "differs: %s\n", c->different[i]);
        *ret_differ += differs;
    }
    return err;
}

enum err tool_compare(const struct cli *cli, FILE *out, struct buf *why)
{
    struct comparing c = {.why = why};
    struct timespec moment = {.tv_sec = AGAIN_S};
    char *after = mem_text("");
    uint64_t differ = 0;
    bool end = false;
    enum err err = OK;
    for (int i = 0; i < 2 && err == OK; i++) {
        err = client_new(&c.nodes[i], why);
        if (err == OK)
            err = client_add_servers(c.nodes[i], cli->words[i], why);
    }
    while (err == OK && !end)
        err = compare_range(&c, &after, &end);
    if (err == OK && c.count) {
        nanosleep(&moment, NULL); /* for what was on its way */
        err = look_again(&c, out, &differ);
    }
    if (err == OK && differ) {
        buf_put_format(why, "%llu keys differ%s", (unsigned long long)differ,
                       c.count == DIFFERENT_MAX ? ", at least" : "");
        err = ERR_DAMAGED;
    } else if (err == OK) {
        fprintf(out, "no key differs\n");
    }
    for (size_t i = 0; i < c.count; i++)
        free(c.different[i]);
    free(after);
    client_free(c.nodes[0]);
    client_free(c.nodes[1]);
    return err;
}
