#include "exchange.h"

void value_put(struct json_out *j, const struct version *version, bool one_line)
{
    bool is_json = version->type.len == 0;
    if (is_json && (!one_line || json_keeps_in_line(version->value))) {
        json_name(j, "Value");
        json_raw(j, version->value);
        return;
    }
    json_name(j, "Value64");
    json_base64(j, version->value);
    if (!is_json)
        json_field_string(j, "Type", version->type);
}

void value_put_expiry(struct json_out *j, const struct version *version)
{
    char text[UNITS_TEXT_MAX];
    if (version->expires_ms)
        json_field_text(j, "Expires", instant_text_ms(version->expires_ms, text));
}
