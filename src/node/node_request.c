#include "node_request.h"

#include <stdlib.h>

void node_reply_free(struct node_reply *reply)
{
    if (!reply)
        return;
    free(reply->error);
    buf_done(&reply->data);
    free(reply);
}
