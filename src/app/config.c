/* Where the configuration is looked for, and what follows from what it says. The
 * table of settings is config_table.c, the reader of the JSON config_read.c. */
#include "config.h"

#include "check.h"
#include "config_table.h"
#include "machine.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONFIG_FILE_MAX = 1 << 20 };

void config_init(struct config *config)
{
    *config = (struct config){.peering.replication_port = REPLICATION_PORT_NEXT};
    struct buf why;
    buf_init(&why, CONFIG_FILE_MAX);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &settings[i];
        if (!s->standard)
            continue;
        bool number = s->kind == SETTING_PORT || s->kind == SETTING_COUNT;
        struct json_scalar value = {number                    ? JSON_NUMBER
                                    : s->kind == SETTING_BOOL ? JSON_OTHER
                                                              : JSON_STRING,
                                    bytes_str(s->standard)};
        CHECK(setting_set(s, config, value, &why) == OK);
    }
    buf_done(&why);
}

void config_done(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < SETTINGS; i++)
        setting_done(&settings[i], config);
    *config = (struct config){0};
}

/* ERR_NOT_FOUND where there is no such file, ERR_IO with a line in why. */
static enum err read_file(const char *path, struct buf *text, struct buf *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return ERR_NOT_FOUND;
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        uint8_t chunk[4096];
        n = read(fd, chunk, sizeof chunk);
        if (n > 0)
            buf_put(text, chunk, (size_t)n);
        if (text->err != OK)
            break;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        buf_put_format(why, "%s: %s", path, strerror(error));
        return ERR_IO;
    }
    if (text->err != OK) {
        buf_put_format(why, "%s: larger than a configuration can be (%d bytes)", path, CONFIG_FILE_MAX);
        return ERR_IO;
    }
    return OK;
}

static char *home_path(void)
{
    const char *home = getenv("HOME");
    if (!home || !home[0])
        return NULL;
    struct buf path;
    buf_init(&path, CONFIG_FILE_MAX);
    buf_put_format(&path, "%s/.yzma/yzma.json", home);
    char *text = mem_text_of(buf_bytes(&path));
    buf_done(&path);
    return text;
}

/* The first that exists; ERR_NOT_FOUND for none. */
static enum err find_file(struct buf *text, char **ret_path, struct buf *why)
{
    char *candidates[] = {mem_text("yzma.json"), home_path(), mem_text("/etc/yzma/yzma.json")};
    enum { CANDIDATES = sizeof candidates / sizeof *candidates };
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < CANDIDATES; i++) {
        if (err == ERR_NOT_FOUND && candidates[i]) {
            err = read_file(candidates[i], text, why);
            if (err == OK) {
                *ret_path = candidates[i];
                candidates[i] = NULL;
            }
        }
        free(candidates[i]);
    }
    return err;
}

enum err config_load(struct config *config, const char *path, char **ret_path, struct buf *why)
{
    struct buf text;
    buf_init(&text, CONFIG_FILE_MAX);
    char *found = NULL;
    enum err err;
    if (path) {
        err = read_file(path, &text, why);
        if (err == OK)
            found = mem_text(path);
        if (err == ERR_NOT_FOUND)
            buf_put_format(why, "%s: no such file", path);
    } else {
        err = find_file(&text, &found, why);
        if (err == ERR_NOT_FOUND)
            err = OK;
    }
    if (err == OK) {
        config_init(config);
        if (found)
            err = config_read_text(config, found, buf_bytes(&text), why);
        if (err != OK)
            config_done(config);
    }
    buf_done(&text);
    if (err == OK)
        *ret_path = found;
    else
        free(found);
    return err;
}

static bool is_any_address(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static char *label_of(const char *text)
{
    return mem_text_of(bytes_of(text, strnlen(text, LABEL_TEXT_MAX)));
}

/* What is wrong with the settings together; NULL for nothing. */
static const char *find_clash(const struct config *config)
{
    if (config->peering.replication_port == REPLICATION_PORT_NEXT && config->peering.bind_port == UINT16_MAX)
        return "Peering.ReplicationPort: must be set where BindPort is 65535, as no port follows it";
    if (config->peering.replication_port == config->peering.bind_port)
        return "Peering.ReplicationPort: must differ from BindPort, as gossip listens there";
    if (config->api.bodies_bytes_max < config->api.value_bytes_max)
        return "API.MaxBodiesInFlight: must be at least MaxValueBytes, or the largest value never fits";
    if (config->peering.advertise_address && is_any_address(config->peering.advertise_address))
        return "Peering.AdvertiseAddress: must be an address at which peers reach this node";
    return NULL;
}

enum err config_fill_defaults(struct config *config, const struct machine *machine, struct buf *why)
{
    const char *clash = find_clash(config);
    if (clash) {
        buf_put_text(why, clash);
        return ERR_MALFORMED;
    }
    if (config->api.threads == 0)
        config->api.threads = machine->cores;
    if (!config->peering.name)
        config->peering.name = label_of(machine->host_name);
    if (!config->peering.federation.node_name)
        config->peering.federation.node_name = mem_text(config->peering.name);
    if (config->peering.replication_port == REPLICATION_PORT_NEXT)
        config->peering.replication_port = config->peering.bind_port + 1;
    if (config->peering.advertise_port == 0)
        config->peering.advertise_port = config->peering.bind_port;
    if (!config->peering.advertise_address) {
        /* Bound to one address, there is no other to be reached at. */
        const char *bound = config->peering.bind_address;
        const char *address = !is_any_address(bound)     ? bound
                              : strcmp(bound, "::") == 0 ? machine->address6
                                                         : machine->address4;
        config->peering.advertise_address = mem_text(address);
    }
    struct config_endpoint *ingress = &config->peering.federation.api_ingress;
    if (!ingress->host) {
        ingress->host = mem_text(config->peering.advertise_address);
        ingress->port = (uint16_t)config->peering.replication_port;
    }
    return OK;
}
