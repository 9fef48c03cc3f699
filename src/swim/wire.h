/* memberlist's messages, each as a struct and as bytes.
 *
 * A message is a type byte and a msgpack map of its fields, named as in Go and
 * sorted by name:
 *
 *   0 ping          Node SeqNo, then if not empty SourceAddr SourceNode SourcePort
 *   1 indirect ping Nack Node Port SeqNo Target, then the same three
 *   2 ack           Payload SeqNo
 *   3 suspect       From Incarnation Node
 *   4 alive         Addr Incarnation Meta Node Port Vsn
 *   5 dead          From Incarnation Node
 *   6 push/pull     (stream) Join Nodes UserStateLen, then the nodes: exchange.h
 *   7 compound      packet.h
 *   8 user          the rest is the application's; (stream) UserMsgLen, then so many bytes
 *   9 compress      Algo Buf: lzw.h
 *  10 encrypt       (stream)
 *  11 nack          SeqNo
 *  12 CRC           packet.h
 *  13 err           (stream) Error
 * 244 label
 *
 * Decoded bytes are borrowed from the input. Bytes of data NULL are nil on the
 * wire: a reader that keeps the difference can send a message on unchanged. */
#ifndef YZMA_SWIM_WIRE_H
#define YZMA_SWIM_WIRE_H

#include "addr.h"
#include "buf.h"
#include "cursor.h"

enum wire_type {
    WIRE_PING = 0,
    WIRE_INDIRECT_PING = 1,
    WIRE_ACK = 2,
    WIRE_SUSPECT = 3,
    WIRE_ALIVE = 4,
    WIRE_DEAD = 5,
    WIRE_PUSH_PULL = 6,
    WIRE_COMPOUND = 7,
    WIRE_USER = 8,
    WIRE_COMPRESS = 9,
    WIRE_ENCRYPT = 10,
    WIRE_NACK = 11,
    WIRE_CRC = 12,
    WIRE_ERR = 13,
    WIRE_LABEL = 244,
};

enum { WIRE_VSN_LEN = 6 }; /* pmin pmax pcur dmin dmax dcur */

struct wire_ping {
    struct bytes node; /* who is meant: an empty name means whoever reads it */
    uint32_t seq;
    struct bytes source_addr, source_node;
    uint16_t source_port;
};

struct wire_indirect_ping {
    bool nack; /* a nack is wanted when the target stays silent */
    struct bytes node, target;
    uint16_t port;
    uint32_t seq;
    struct bytes source_addr, source_node;
    uint16_t source_port;
};

struct wire_ack {
    struct bytes payload;
    uint32_t seq;
};

struct wire_nack {
    uint32_t seq;
};

struct wire_accusation { /* suspect and dead */
    struct bytes from, node;
    uint32_t incarnation;
};

struct wire_alive {
    struct bytes addr, meta, node, vsn;
    uint32_t incarnation;
    uint16_t port;
};

struct wire_compress {
    uint8_t algo;
    struct bytes packed;
};

struct wire_error {
    struct bytes text;
};

struct wire_user_header {
    uint64_t len;
};

struct wire_push_pull { /* the header */
    bool join;
    uint64_t nodes, user_state_len;
};

struct wire_node { /* an entry of push/pull */
    struct bytes addr, meta, name, vsn;
    uint32_t incarnation;
    uint16_t port;
    uint8_t state; /* enum member_state (swim.h), or what a peer made of it */
};

struct wire_message {
    enum wire_type type;
    union {
        struct wire_ping ping;
        struct wire_indirect_ping indirect_ping;
        struct wire_ack ack;
        struct wire_nack nack;
        struct wire_accusation accusation;
        struct wire_alive alive;
        struct wire_compress compress;
        struct wire_error error;
        struct wire_user_header user_header;
        struct wire_push_pull push_pull;
    };
};

/* Reads the type byte and the map; what follows is left in the cursor. Types
 * without a map of their own (compound, CRC, encrypt, label, user as a packet)
 * and unknown ones are ERR_VERSION. */
enum err wire_read(struct cursor *c, struct wire_message *ret_message) MUST_USE;
/* The same for a whole packet; bytes behind the map are ignored, as memberlist does. */
enum err wire_decode(struct bytes message, struct wire_message *ret_message) MUST_USE;
void wire_put(struct buf *b, const struct wire_message *message); /* look at b->err */

/* Entries of push/pull have no type byte. */
enum err wire_read_node(struct cursor *c, struct wire_node *ret_node) MUST_USE;
void wire_put_node(struct buf *b, const struct wire_node *node);

/* Addresses are 4 or 16 bytes; anything else is ERR_MALFORMED. */
enum err wire_addr(struct bytes ip, uint16_t port, struct addr *ret_addr) MUST_USE;
static inline struct bytes wire_ip(const struct addr *addr)
{
    return bytes_of(addr->ip, addr->len);
}

#endif
