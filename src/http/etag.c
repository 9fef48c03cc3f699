#include "etag.h"

static const char *const suffixes[] = {[ETAG_JSON] = "", [ETAG_RAW] = "-raw", [ETAG_MIXED] = "-mixed"};

enum { FORMS = sizeof suffixes / sizeof *suffixes, DIGITS = 16 };

char *etag_text(uint64_t tag, enum etag_form form, char out[ETAG_TEXT_MAX])
{
    /* On the path of every read, so not by snprintf. */
    out[0] = '"';
    for (int i = 0; i < DIGITS; i++)
        out[1 + i] = "0123456789abcdef"[tag >> (60 - 4 * i) & 15];
    size_t length = strlen(suffixes[form]);
    memcpy(out + 1 + DIGITS, suffixes[form], length);
    out[1 + DIGITS + length] = '"';
    out[2 + DIGITS + length] = '\0';
    return out;
}

/* One tag of a list. */
struct entry {
    bool weak, ours;
    uint64_t tag;
    enum etag_form form;
};

static void skip(const char **at, const char *letters)
{
    *at += strspn(*at, letters);
}

/* What stands between the quotes, if it is one of ours. */
static void read_ours(const char *text, size_t length, struct entry *ret)
{
    uint64_t tag = 0;
    if (length < DIGITS)
        return;
    for (size_t i = 0; i < DIGITS; i++) {
        const char *digits = "0123456789abcdef", *digit = memchr(digits, text[i], 16);
        if (!digit)
            return;
        tag = tag << 4 | (uint64_t)(digit - digits);
    }
    for (size_t form = 0; form < FORMS; form++)
        if (length == DIGITS + strlen(suffixes[form]) &&
            memcmp(text + DIGITS, suffixes[form], length - DIGITS) == 0) {
            ret->ours = true;
            ret->tag = tag;
            ret->form = (enum etag_form)form;
        }
}

/* The next entry; false at the end, and where the text is malformed, with *at there. */
static bool next(const char **at, struct entry *ret)
{
    *ret = (struct entry){0};
    skip(at, " \t,");
    ret->weak = strncmp(*at, "W/", 2) == 0;
    const char *quote = *at + (ret->weak ? 2 : 0);
    const char *end = *quote == '"' ? strchr(quote + 1, '"') : NULL;
    if (!end)
        return false;
    read_ours(quote + 1, (size_t)(end - quote - 1), ret);
    *at = end + 1;
    skip(at, " \t");
    if (**at != ',' && **at != '\0')
        return false;
    skip(at, " \t,"); /* a list may have empty elements (RFC 9110, 5.6.1.2) */
    return true;
}

static bool is_any(const char *text)
{
    return text[strspn(text, " \t")] == '*' && strlen(text) == strspn(text, " \t*") &&
           strchr(text, '*') == strrchr(text, '*');
}

enum err etag_list_parse(const char *text, bool strong, struct tag_list *ret)
{
    struct tag_list list = {.present = true, .any = is_any(text)};
    struct entry entry;
    bool some = list.any;
    for (const char *at = text; !list.any && *at; some = true) {
        if (!next(&at, &entry))
            return ERR_MALFORMED;
        if (!entry.ours || (strong && entry.weak))
            continue;
        if (list.count == CONDITION_TAGS_MAX)
            return ERR_MALFORMED;
        list.tags[list.count++] = entry.tag;
    }
    if (!some)
        return ERR_MALFORMED;
    *ret = list;
    return OK;
}

bool etag_list_has(const char *text, bool strong, uint64_t tag, enum etag_form form)
{
    struct entry entry;
    if (is_any(text))
        return tag != 0;
    for (const char *at = text; *at && next(&at, &entry);)
        if (entry.ours && !(strong && entry.weak) && entry.tag == tag && entry.form == form)
            return true;
    return false;
}
