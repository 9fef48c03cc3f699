/* Inside of src/port: what the readers share. */
#ifndef YZMA_PORT_PORT_STATE_H
#define YZMA_PORT_PORT_STATE_H

#include "elements.h"
#include "port.h"

struct rdb;

struct port {
    enum port_from from;
    struct port_options options;
    struct port_sink sink;
    uint64_t notes[PORT_NOTES];
    struct buf key;           /* `into`, and the key behind it */
    struct buf room;          /* what was decoded of the entry at hand */
    struct buf made;          /* a value that had to be put together */
    struct elements elements; /* etcd, consul, couchdb */
    struct buf line;          /* yzma: as much as earlier pieces had of it */
    uint64_t lines;
    struct rdb *rdb; /* redis */
};

/* Gives the record out, or says why it cannot be one. The value is bytes that may be JSON. */
enum err port_emit(struct port *port, struct bytes key, struct bytes value, uint64_t expires_ms) MUST_USE;
/* The same of what is known to have its type; the key is still that of the export. */
enum err port_emit_line(struct port *port, const struct import_line *line) MUST_USE;
void port_leave_out(struct port *port, struct bytes key, const char *why);

/* Readers of single entries, as struct elements calls them; ctx is the port. */
enum err etcd_entry(void *ctx, struct bytes entry, struct buf *why);
enum err consul_entry(void *ctx, struct bytes entry, struct buf *why);
enum err couchdb_entry(void *ctx, struct bytes entry, struct buf *why);

/* redis */
struct rdb *rdb_new(void);
void rdb_free(struct rdb *rdb);
enum err rdb_feed(struct port *port, struct bytes piece, struct buf *why) MUST_USE;
enum err rdb_end(struct port *port, struct buf *why) MUST_USE;

#endif
