/* SIGHUP: the configuration is read again, as at the start. */
#include "check.h"
#include "config_table.h"
#include "daemon_state.h"
#include "mem.h"

enum { WHY_MAX = 64 << 10 };

static bool takes_effect(const struct setting *s)
{
    return strcmp(s->path, "Server.Log.Level") == 0 || strcmp(s->path, "Peering.Block") == 0 ||
           strcmp(s->path, "Peering.Keys") == 0;
}

void daemon_keys_read(struct daemon_keys *keys, const struct config *config)
{
    *keys = (struct daemon_keys){.count = config->peering.keys.count};
    CHECK(keys->count <= KEYS_MAX);
    for (size_t i = 0; i < keys->count; i++) {
        buf_init(&keys->bytes[i], KEY_BYTES_MAX);
        CHECK(config_key_bytes(bytes_str(config->peering.keys.texts[i]), &keys->bytes[i]) ==
              OK); /* was parsed */
        keys->list[i] = buf_bytes(&keys->bytes[i]);
    }
}

void daemon_keys_done(struct daemon_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        mem_wipe(keys->bytes[i].data, keys->bytes[i].len);
        buf_done(&keys->bytes[i]);
    }
}

void daemon_reload(struct daemon *d, const struct cli *cli)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct config config;
    struct buf why;
    buf_init(&why, WHY_MAX);
    if (cli_config(cli, &config, &why) != OK) {
        log_error("event=reload_refused reason=%.*s next=\"goes on as it was\"", (int)why.len,
                  (const char *)why.data);
        buf_done(&why);
        return;
    }
    buf_done(&why);
    for (size_t i = 0; i < SETTINGS; i++)
        if (!takes_effect(&settings[i]) && !setting_equal(&settings[i], d->config, &config))
            log_warn("event=setting_waits key=%s next=\"takes effect after a restart\"", settings[i].path);
    cluster_configure(d->cluster, (const char *const *)config.peering.block.texts,
                      config.peering.block.count);
    struct daemon_keys keys;
    daemon_keys_read(&keys, &config);
    cluster_rekey(d->cluster, keys.list, keys.count);
    daemon_keys_done(&keys);
    log_set_level(NOTICE_INFO); /* so that this is seen */
    log_info("event=reloaded level=%s blocked=%zu keys=%zu", levels[config.server.log_level],
             config.peering.block.count, config.peering.keys.count);
    log_set_level(config.server.log_level);
    config_done(&config);
}
