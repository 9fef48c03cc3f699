/* An RDB file, entry by entry. What comes is kept until an entry is whole; one that is not
 * is tried again when twice as much is there, so that long ones are not read over and
 * over. */
#include "rdb.h"

#include "mem.h"

#include <stdlib.h>

enum { HEAD_SIZE = 9, VERSION_OF_CRC = 5 };

struct rdb {
    struct buf in;
    size_t wanted; /* bytes of it, before it is worth to try again */
    struct buf name;
    uint64_t crc, expires_ms, database;
    unsigned version; /* 0: the head has not come */
    bool ended;
};

struct rdb *rdb_new(void)
{
    struct rdb *r = mem_new(sizeof *r);
    buf_init(&r->in, SIZE_MAX);
    buf_init(&r->name, SIZE_MAX);
    return r;
}

void rdb_free(struct rdb *r)
{
    if (!r)
        return;
    buf_done(&r->in);
    buf_done(&r->name);
    free(r);
}

static enum err read_head(struct rdb *r, struct cursor *in, struct buf *why)
{
    struct bytes head = cursor_bytes(in, HEAD_SIZE);
    if (in->err != OK)
        return OK;
    unsigned version = 0;
    bool good = bytes_starts_with(head, bytes_str("REDIS"));
    for (size_t i = 5; i < HEAD_SIZE && good; i++) {
        good = head.data[i] >= '0' && head.data[i] <= '9';
        version = 10 * version + head.data[i] - '0';
    }
    if (!good || version == 0) {
        buf_put_text(why, "it is no RDB file, as redis-cli --rdb makes them");
        return ERR_MALFORMED;
    }
    r->version = version;
    return OK;
}

/* Of database 0 the key as it is, of the others behind "db1/". */
static struct bytes name_of(struct rdb *r, struct bytes key)
{
    buf_reset(&r->name);
    if (r->database > 0)
        buf_put_format(&r->name, "db%llu/", (unsigned long long)r->database);
    buf_put_bytes(&r->name, key);
    return buf_bytes(&r->name);
}

static enum err read_key(struct port *p, struct cursor *in, uint8_t type, struct buf *why)
{
    struct rdb *r = p->rdb;
    struct bytes key = name_of(r, rdb_string(in, &p->room));
    if (in->err != OK)
        return OK;
    if (r->name.err != OK)
        return r->name.err;
    enum err err = rdb_value(p, in, type, key, r->expires_ms, why);
    if (err == OK && in->err == OK)
        r->expires_ms = 0;
    return err;
}

static enum err read_end(struct rdb *r, struct cursor *in, struct buf *why)
{
    static const uint8_t end[] = {0xff};
    if (r->version >= VERSION_OF_CRC) {
        uint64_t stated = rdb_u64(in);
        if (in->err != OK)
            return OK;
        if (stated && stated != crc64(r->crc, bytes_of(end, 1))) {
            buf_put_text(why, "its checksum is wrong: it was damaged on its way");
            return ERR_CHECKSUM;
        }
    }
    r->ended = true;
    return OK;
}

static void skip_module_note(struct cursor *in)
{
    rdb_length(in); /* the module */
    rdb_length(in);
    rdb_length(in); /* when it is to be read */
    rdb_skip_module(in);
}

/* One entry. in->err ERR_TRUNCATED: it is not whole. */
static enum err read_entry(struct port *p, struct cursor *in, struct buf *why)
{
    struct rdb *r = p->rdb;
    if (!r->version)
        return read_head(r, in, why);
    uint8_t opcode = cursor_u8(in);
    if (in->err != OK)
        return OK;
    uint64_t n = 0;
    switch (opcode) {
    case 0xff:
        return read_end(r, in, why);
    case 0xfe:
        n = rdb_length(in);
        r->database = in->err == OK ? n : r->database;
        break;
    case 0xfd:
        n = (uint64_t)rdb_u32(in) * 1000;
        r->expires_ms = in->err == OK ? n : r->expires_ms;
        break;
    case 0xfc:
        n = rdb_u64(in);
        r->expires_ms = in->err == OK ? n : r->expires_ms;
        break;
    case 0xfb:
        rdb_length(in);
        rdb_length(in);
        break;
    case 0xfa:
        rdb_skip_string(in);
        rdb_skip_string(in);
        break;
    case 0xf9:
        cursor_u8(in);
        break;
    case 0xf8:
        rdb_length(in);
        break;
    case 0xf7:
        skip_module_note(in);
        p->notes[PORT_FUNCTIONS] += in->err == OK;
        break;
    case 0xf5:
        rdb_skip_string(in);
        p->notes[PORT_FUNCTIONS] += in->err == OK;
        break;
    case 0xf4:
        rdb_length(in);
        rdb_length(in);
        rdb_length(in);
        break;
    default:
        return read_key(p, in, opcode, why);
    }
    return OK;
}

/* Goes through what is there; what is left of it begins with the entry that is not whole. */
static enum err read_entries(struct port *p, struct buf *why)
{
    struct rdb *r = p->rdb;
    size_t at = 0;
    enum err err = OK;
    while (err == OK && !r->ended && at < r->in.len) {
        struct cursor in = cursor_of(bytes_of(r->in.data + at, r->in.len - at));
        err = read_entry(p, &in, why);
        if (err != OK || in.err != OK) {
            if (err == OK && in.err != ERR_TRUNCATED)
                err = in.err;
            break;
        }
        size_t used = (size_t)(in.at - (r->in.data + at));
        r->crc = crc64(r->crc, bytes_of(r->in.data + at, used));
        at += used;
    }
    if (err == ERR_MALFORMED && why->len == 0)
        buf_put_text(why, "an entry of it is malformed");
    if (at)
        buf_consume(&r->in, at);
    r->wanted = 2 * r->in.len;
    return err;
}

enum err rdb_feed(struct port *p, struct bytes piece, struct buf *why)
{
    struct rdb *r = p->rdb;
    if (r->ended)
        return OK; /* redis-cli to a pipe leaves the mark of the transfer's end there */
    buf_put_bytes(&r->in, piece);
    if (r->in.err != OK)
        return r->in.err;
    if (r->in.len < r->wanted)
        return OK;
    enum err err = read_entries(p, why);
    if (err == OK && r->in.len > PORT_ENTRY_MAX) {
        buf_put_format(why, "an entry of it is longer than %d MiB", PORT_ENTRY_MAX >> 20);
        err = ERR_TOO_LARGE;
    }
    return err;
}

enum err rdb_end(struct port *p, struct buf *why)
{
    struct rdb *r = p->rdb;
    enum err err = r->ended ? OK : read_entries(p, why);
    if (err == OK && !r->ended) {
        buf_put_text(why, "it ends early");
        err = ERR_TRUNCATED;
    }
    return err;
}
