#include "media.h"

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
