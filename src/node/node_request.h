/* What the world may ask of the node, and the answer: all that the HTTP edge
 * knows of it. */
#ifndef YZMA_NODE_NODE_REQUEST_H
#define YZMA_NODE_NODE_REQUEST_H

#include "buf.h"

enum node_request {
    NODE_REQUEST_JOIN,  /* names: "host:port"; answered when all are tried, within 10 s */
    NODE_REQUEST_LEAVE, /* for good; answered when it is durable and told */
    NODE_REQUEST_MEMBERS,
    NODE_REQUEST_STATUS,
    NODE_REQUEST_READY,
    NODE_REQUEST_KEYS_LIST,
    NODE_REQUEST_KEYS_INSTALL, /* names: the key in base64; these are answered within 12 s */
    NODE_REQUEST_KEYS_USE,     /* names: its name or base64, then perhaps "force" */
    NODE_REQUEST_KEYS_REMOVE,
    NODE_REQUEST_FORGET, /* names: a replica's UUID or member name; these are answered when durable */
    NODE_REQUEST_RETIRE,
    NODE_REQUEST_PAUSE,
    NODE_REQUEST_RESUME,
    NODE_REQUEST_SHUTDOWN, /* announces memberlist's leave; answered when that is told, within 2 s */
};

/* The answer to a request: `data` is the JSON that goes under "Data".
 *   JOIN     OK, or ERR_REFUSED when no peer was reached; data in both cases
 *   READY    OK, or ERR_WALKING with {"Reason","Peer","KeysDone","KeysTotal"}
 *   KEYS     OK; ERR_CONFLICT when members or rules stand against it, with the same data;
 *            ERR_MALFORMED, ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_EXISTS, ERR_BUSY without
 *   FORGET, RETIRE   OK; ERR_NOT_FOUND, ERR_CONFLICT, ERR_TOO_LARGE, ERR_TIMEOUT
 *   others   OK */
struct node_reply {
    enum err err;
    char *error; /* owned; NULL for none: the text under "Error" */
    struct buf data;
};
void node_reply_free(struct node_reply *reply); /* takes NULL */

/* The note under which the member name of a replica is kept for readers of
 * versions: NODE_NOTE_NAME followed by its UUID. */
#define NODE_NOTE_NAME "name/"

#endif
