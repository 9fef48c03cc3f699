/* What other stores export, read into records for POST /import: bytes in, in pieces cut
 * anywhere; records out. Nothing here has a clock, a socket or a file, and what it holds is
 * one entry of the export, however long that is.
 *
 *   yzma      lines, as GET /export gives them
 *   etcd      etcdctl get "" --prefix -w json; several of them one behind the other too
 *   consul    consul kv export, or GET /v1/kv/?recurse
 *   couchdb   GET /db/_all_docs?include_docs=true
 *   redis     an RDB file, as redis-cli --rdb gives it
 *
 * A value that is JSON stays JSON, byte for byte; other bytes get the type
 * application/octet-stream, or the one that the options name. Redis' lists and sets become
 * arrays of strings, its hashes and sorted sets objects. */
#ifndef YZMA_PORT_PORT_H
#define YZMA_PORT_PORT_H

#include "import_line.h"

enum port_from { PORT_YZMA, PORT_ETCD, PORT_CONSUL, PORT_COUCHDB, PORT_REDIS, PORTS };

/* Of one entry: nothing special about this value, it is above what a value here may be. */
enum { PORT_ENTRY_MAX = 384 << 20 };

struct port_sink {
    /* Borrowed for the call. An error ends the reading. */
    enum err (*record)(void *ctx, const struct import_line *record);
    /* An entry that cannot be a record here, and why. */
    void (*left_out)(void *ctx, struct bytes key, const char *why);
    void *ctx;
};

struct port_options {
    struct bytes only; /* entries whose key begins so; these three are borrowed while the port lives */
    struct bytes into; /* put in front of each key */
    const char *type;  /* of values that are bytes there; NULL: as they are */
};

/* What an export has and a record has not. */
enum port_note {
    PORT_LEASES,      /* etcd: the export does not say when they end */
    PORT_FLAGS,       /* consul: flags other than 0 */
    PORT_ATTACHMENTS, /* couchdb: documents that have some */
    PORT_DESIGNS,     /* couchdb: design documents, left out */
    PORT_DELETED,     /* couchdb: documents that are gone */
    PORT_FUNCTIONS,   /* redis: libraries of functions, and data of modules beside the keys */
    PORT_NOTES
};

struct port;

struct port *port_new(enum port_from from, const struct port_options *options, const struct port_sink *sink);
void port_free(struct port *port); /* takes NULL */

/* ERR_MALFORMED, ERR_VERSION, ERR_TOO_LARGE, ERR_CHECKSUM with a sentence in why, ERR_NOMEM, or
 * the sink's error: nothing may follow it. */
enum err port_feed(struct port *port, struct bytes piece, struct buf *why) MUST_USE;
/* After the last piece: an export that ends early is an error. */
enum err port_end(struct port *port, struct buf *why) MUST_USE;

/* How often that was met, and a few words for it: "keys with a lease". */
uint64_t port_noted(const struct port *port, enum port_note note);
const char *port_note_text(enum port_note note);

/* "etcd"; ERR_NOT_FOUND for another. */
enum err port_named(const char *name, enum port_from *ret) MUST_USE;

#endif
