#include "effect.h"

#include "check.h"
#include "mem.h"
#include "notice.h"

#include <stdarg.h>
#include <stdlib.h>

struct effect *effects_add(struct effects *out, enum effect_kind kind)
{
    if (out->count == out->room) {
        out->room = out->room ? out->room * 2 : 16;
        out->list = mem_grow(out->list, out->room * sizeof *out->list);
    }
    struct effect *effect = &out->list[out->count++];
    *effect = (struct effect){.kind = kind};
    return effect;
}

void effects_datagram(struct effects *out, const struct addr *to, struct bytes packet)
{
    struct effect *effect = effects_add(out, EFFECT_DATAGRAM);
    effect->to = *to;
    buf_init(&effect->bytes, packet.len);
    buf_put_bytes(&effect->bytes, packet);
}

void effects_stream_send(struct effects *out, uint64_t stream, struct buf *bytes)
{
    struct effect *effect = effects_add(out, EFFECT_STREAM_SEND);
    effect->stream = stream;
    effect->bytes = *bytes;
    *bytes = (struct buf){.max = bytes->max};
}

void effects_stream_close(struct effects *out, uint64_t stream)
{
    effects_add(out, EFFECT_STREAM_CLOSE)->stream = stream;
}

void effects_notice(struct effects *out, enum notice_level level, const char *format, ...)
{
    struct buf line;
    buf_init(&line, NOTICE_LINE_MAX);
    va_list args;
    va_start(args, format);
    notice_format(&line, format, args);
    va_end(args);
    buf_put_u8(&line, '\0');
    CHECK(line.err == OK);
    struct effect *effect = effects_add(out, EFFECT_NOTICE);
    effect->level = level;
    effect->text = (char *)line.data;
}

void effects_done(struct effects *out)
{
    for (size_t i = 0; i < out->count; i++) {
        free(out->list[i].target);
        free(out->list[i].text);
        buf_done(&out->list[i].bytes);
    }
    free(out->list);
    *out = (struct effects){0};
}
