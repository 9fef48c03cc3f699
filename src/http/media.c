#include "media.h"

#include "record.h"

#include <ctype.h>
#include <strings.h>

static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_length(const char *text)
{
    size_t n = 0;
    while (is_token_char(text[n]))
        n++;
    return n;
}

bool media_is_json(const char *content_type)
{
    if (!content_type)
        return true;
    const char *type = content_type + strspn(content_type, " \t");
    if (!*type)
        return true;
    size_t type_length = token_length(type);
    if (type_length == 0 || type[type_length] != '/')
        return false;
    const char *subtype = type + type_length + 1;
    size_t length = token_length(subtype);
    const char *rest = subtype + length + strspn(subtype + length, " \t");
    if (*rest != '\0' && *rest != ';')
        return false;
    if (length > 5 && strncasecmp(subtype + length - 5, "+json", 5) == 0)
        return true;
    if (type_length != 11 || strncasecmp(type, "application", 11) != 0)
        return false;
    return (length == 4 && strncasecmp(subtype, "json", 4) == 0) ||
           (length == 21 && strncasecmp(subtype, "x-www-form-urlencoded", 21) == 0);
}

bool media_is_type(const char *content_type)
{
    size_t length = strlen(content_type);
    size_t type_length = token_length(content_type);
    if (length > CONTENT_TYPE_MAX || type_length == 0 || content_type[type_length] != '/')
        return false;
    const char *subtype = content_type + type_length + 1;
    const char *rest = subtype + token_length(subtype);
    if (rest == subtype || (*rest && !strchr("; \t", *rest)))
        return false;
    for (; *rest; rest++)
        if (*rest < ' ' || *rest > '~')
            return false;
    return true;
}

char *media_text(struct bytes stored, char *out)
{
    struct bytes type = stored.len ? stored : bytes_str("application/json");
    for (size_t i = 0; i < type.len; i++)
        out[i] = type.data[i] < ' ' || type.data[i] > '~' ? '?' : (char)type.data[i];
    out[type.len] = '\0';
    return out;
}

static size_t trimmed(const char *text, size_t length)
{
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    return length;
}

/* Parameters of a range: is there a q of nothing but zeros? */
static bool is_refused(const char *text, size_t length)
{
    for (size_t i = 0; i + 3 <= length; i++) {
        if (text[i] != ';')
            continue;
        size_t at = i + 1 + strspn(text + i + 1, " \t");
        if (at + 3 > length || (text[at] != 'q' && text[at] != 'Q') || text[at + 1] != '=')
            continue;
        return strspn(text + at + 2, "0.") >= trimmed(text + at + 2, length - at - 2);
    }
    return false;
}

/* How closely a range names a type: 0, not at all; 1, as any; 2, as one of its kind; 3. */
static int closeness(const char *range, size_t length, const char *type, bool by_wildcards)
{
    size_t type_length = strlen(type), main_length = strcspn(type, "/") + 1;
    if (length == type_length && strncasecmp(range, type, length) == 0)
        return 3;
    if (!by_wildcards)
        return 0;
    if (length == main_length + 1 && range[main_length] == '*' && strncasecmp(range, type, main_length) == 0)
        return 2;
    return length == 3 && memcmp(range, "*/*", 3) == 0;
}

/* The ranges that name it most closely decide (RFC 9110, 12.5.1). */
bool media_accepted(const char *accept, const char *type, bool by_wildcards)
{
    int closest = 0;
    bool accepted = false;
    if (!accept)
        return by_wildcards;
    for (const char *at = accept; *at;) {
        at += strspn(at, " \t,");
        size_t length = strcspn(at, ","), range = strcspn(at, ";,");
        int close = closeness(at, trimmed(at, range), type, by_wildcards);
        bool takes = close && !is_refused(at, length);
        if (close > closest)
            accepted = takes;
        else if (close == closest)
            accepted |= takes;
        closest = close > closest ? close : closest;
        at += length;
    }
    return accepted;
}
