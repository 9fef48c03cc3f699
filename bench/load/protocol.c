#include "protocol.h"

#include <stdlib.h>
#include <string.h>

const struct protocol *protocol_named(const char *name)
{
    return strcmp(name, "http") == 0 ? &protocol_http : strcmp(name, "resp") == 0 ? &protocol_resp : NULL;
}

void request_lay_out(const struct request *r, const char *address, struct pattern *ret_pattern)
{
    size_t body_len = r->body ? pattern_len(r->body, r->value_len) : 0;
    char *text = r->protocol->request(r->method, address, r->target, r->body, body_len, r->value_len);
    pattern_init(ret_pattern, text, r->value_len, r->seed);
    free(text);
}
