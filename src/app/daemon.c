#include "daemon.h"

#include "cli.h"

int daemon_run(const struct config *config)
{
    log_error("event=start_refused reason=%s", "this build has no server yet");
    return EXIT_CODE_REFUSED;
}
