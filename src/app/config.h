/* The configuration: a JSON file with the sections API, Peering and Server, read
 * into plain fields. docs/CONFIGURATION.md has the table for people.
 *
 * What a file says is taken or refused, never guessed at: unknown keys, wrong
 * types, impossible values, and settings that this version cannot honour stop
 * the start with one line that names file, key and reason. */
#ifndef YZMA_APP_CONFIG_H
#define YZMA_APP_CONFIG_H

#include "buf.h"
#include "effect.h"
#include "log.h"

struct config_list {
    char **texts; /* owned, each too */
    size_t count;
};

/* "host:port"; the host may be empty (all addresses), a name or an address. */
struct config_endpoint {
    char *host; /* owned; an IPv6 address without its brackets */
    uint16_t port;
};

enum config_conflict { CONFLICT_LWW, CONFLICT_SIBLINGS };
enum config_profile { PROFILE_LAN, PROFILE_WAN, PROFILE_LOCAL };
enum { COMPRESSION_AUTO = -1, COMPRESSION_OFF = 0, COMPRESSION_MAX = 19 };
enum { LABEL_TEXT_MAX = 64, REPLICATION_PORT_NEXT = -1 };
enum { KEY_BYTES_MAX = 32, KEYS_MAX = 8 };

struct config {
    struct {
        struct config_endpoint bind;
        uint64_t threads; /* 0: as many as cores, until filled */
        uint64_t value_bytes_max;
        uint64_t connections_max;
        uint64_t request_timeout_ms;
        uint64_t bodies_bytes_max; /* MaxBodiesInFlight */
        uint64_t watchers_max;
        uint64_t watch_lag_max; /* operations */
        uint64_t watch_heartbeat_ms;
        struct config_list allowed_origins;
    } api;
    struct {
        char *name; /* NULL: the host's, until filled */
        char *bind_address;
        uint16_t bind_port;
        int32_t replication_port; /* REPLICATION_PORT_NEXT: BindPort + 1, until filled; 0: any free one */
        char *advertise_address;  /* NULL until filled */
        uint16_t advertise_port;  /* 0 until filled */
        struct {
            char *node_name;                    /* NULL until filled */
            struct config_endpoint api_ingress; /* host NULL until filled; port 0: the replication port */
        } federation;
        enum config_profile profile;
        struct config_list join, block;
        uint64_t forget_after_ms;
        uint64_t clock_skew_max_ms;
        uint64_t quarantine_bytes_max;
        int32_t compression;     /* COMPRESSION_AUTO, COMPRESSION_OFF or a level of zstd */
        char *label;             /* "": none */
        struct config_list keys; /* base64; the first one seals */
        bool verify_incoming, verify_outgoing;
        uint64_t protocol_version;
        uint8_t delegate_version[3]; /* min, max, current */
    } peering;
    struct {
        char *db_path;
        uint64_t history_ms;
        uint64_t history_bytes_max;
        uint64_t memory_table_bytes;
        uint64_t versions_max;
        uint64_t store_bytes_max; /* 0: no limit of ours */
        enum config_conflict conflict;
        enum notice_level log_level;
        enum log_format log_format;
        uint64_t slow_request_ms;
    } server;
};

/* The defaults that need nothing of the machine. */
void config_init(struct config *config);
void config_done(struct config *config);

/* Reads the text of a file over what config_init gave. name is what reasons call
 * the file. ERR_MALFORMED with one line in why; config may then be half read, and
 * is good for config_done only. */
enum err config_read_text(struct config *config, const char *name, struct bytes text,
                          struct buf *why) MUST_USE;

/* Inits and reads path, or, where path is NULL, the first of ./yzma.json,
 * $HOME/.yzma/yzma.json and /etc/yzma/yzma.json that exists; ret_path (to free)
 * names the one read, NULL for none. A file that exists and cannot be read is
 * ERR_IO, never passed over. On failure config needs no config_done. */
enum err config_load(struct config *config, const char *path, char **ret_path, struct buf *why) MUST_USE;

struct machine;
/* Fills what was left to the machine. ERR_MALFORMED with a line in why where that
 * gives something that cannot be used. */
enum err config_fill_defaults(struct config *config, const struct machine *machine, struct buf *why) MUST_USE;

/* Splits "host:port", "[::1]:port", ":port". Other forms: ERR_MALFORMED. */
enum err endpoint_parse(struct bytes text, struct config_endpoint *ret) MUST_USE;

/* The bytes of one of peering.keys; ERR_MALFORMED unless they are 16, 24 or 32. */
enum err config_key_bytes(struct bytes base64, struct buf *out) MUST_USE;

/* Adds a "host:port" or "host" that can be dialled; ERR_MALFORMED for other texts. */
enum err config_add_peer(struct config_list *list, struct bytes text) MUST_USE;
void config_list_done(struct config_list *list);

#endif
