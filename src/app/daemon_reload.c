/* SIGHUP: the configuration is read again, as at the start. */
#include "config_table.h"
#include "daemon_state.h"

enum { WHY_MAX = 64 << 10 };

static bool takes_effect(const struct setting *s)
{
    return strcmp(s->path, "Server.Log.Level") == 0 || strcmp(s->path, "Peering.Block") == 0;
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
    log_set_level(NOTICE_INFO); /* so that this is seen */
    log_info("event=reloaded level=%s blocked=%zu", levels[config.server.log_level],
             config.peering.block.count);
    log_set_level(config.server.log_level);
    config_done(&config);
}
