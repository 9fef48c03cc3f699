#include "envelope.h"

#include "json_out.h"

static const char opening[] = "{\"Status\":\"ok\",\"Error\":\"\",\"Data\":";

void envelope_open(struct buf *out)
{
    buf_put(out, opening, sizeof opening - 1);
}

void envelope_close(struct buf *out)
{
    buf_put_u8(out, '}');
}

size_t envelope_overhead(void)
{
    return sizeof opening - 1 + 1;
}

static struct bytes or_null(struct bytes data)
{
    return data.len ? data : bytes_str("null");
}

void envelope_ok(struct buf *out, struct bytes data)
{
    envelope_open(out);
    buf_put_bytes(out, or_null(data));
    envelope_close(out);
}

void envelope_error(struct buf *out, struct bytes error, struct bytes data)
{
    struct json_out j = json_out_to(out);
    json_object(&j);
    json_field_text(&j, "Status", "error");
    json_field_string(&j, "Error", error);
    json_name(&j, "Data");
    json_raw(&j, or_null(data));
    json_object_end(&j);
}
