/* The errors of the whole program. 0 is ok. A function that fails leaves its
 * results (ret_x) untouched. Nodes tell each other their numbers (node/keys.c), and
 * another one may run another version: what is new comes at the end. */
#ifndef YZMA_BASE_ERR_H
#define YZMA_BASE_ERR_H

enum err {
    OK = 0,
    ERR_NOMEM,     /* no memory for something of a peer's or a client's size */
    ERR_TRUNCATED, /* input ends early: with streams, more may come */
    ERR_MALFORMED, /* input breaks its format */
    ERR_TOO_LARGE, /* a named limit would be passed */
    ERR_CHECKSUM,  /* bytes are not what was written or sent */
    ERR_VERSION,   /* a format or protocol version that this program does not know */
    ERR_NOT_FOUND, /* no such key, member, file */
    ERR_EXISTS,
    ERR_BEHIND,   /* this node has not yet seen what the request builds on */
    ERR_FLOOR,    /* the peer lacks operations whose history is gone: only a walk will do */
    ERR_WALKING,  /* this node is being filled and cannot answer yet */
    ERR_WRONGKEY, /* a token of another key */
    ERR_CONFLICT, /* refused by what is stored (too many versions) */
    ERR_UNMET,    /* a condition that the request came with does not hold */
    ERR_FULL,     /* the disk, the map or the store's own limit is full */
    ERR_IO,       /* a system call failed; the store may have stopped writing */
    ERR_LOCKED,   /* another process holds the store */
    ERR_DAMAGED,  /* stored bytes that should be there are not, or fail their check */
    ERR_REFUSED,  /* the other side, or this one, says no; the reason is in the text beside */
    ERR_BUSY,     /* a queue or pool of ours is at its limit: later will do */
    ERR_TIMEOUT,
    ERR_CLOSED, /* shutting down, or the other side has gone */
    ERR_GONE,   /* the file is open, but no name leads to it any more */
    ERR_MAX
};

/* A short English text, never NULL: for logs and answers. */
const char *err_text(enum err err);

#define MUST_USE __attribute__((warn_unused_result))

#endif
