/* What other threads have for the loop: finished works, requests of the API, a
 * new block list, and that the store has changed. */
#include "cluster_state.h"

#include "mem.h"

#include <stdlib.h>

void inbox_init(struct inbox *inbox)
{
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->end = &inbox->works;
    inbox->waiters_end = &inbox->waiters;
}

static struct name_list copy_names(const char *const *names, size_t count)
{
    struct name_list copy = {.names = mem_new(count * sizeof *copy.names), .count = count};
    for (size_t i = 0; i < count; i++)
        copy.names[i] = mem_text(names[i]);
    return copy;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static struct key_list copy_keys(const struct bytes *keys, size_t count)
{
    struct key_list copy = {.keys = mem_new(count * sizeof *copy.keys), .count = count};
    for (size_t i = 0; i < count; i++)
        copy.keys[i] = bytes_of(mem_copy(keys[i].data, keys[i].len), keys[i].len);
    return copy;
}

static void free_keys(struct key_list list)
{
    for (size_t i = 0; i < list.count; i++) {
        mem_wipe((void *)list.keys[i].data, list.keys[i].len);
        free((void *)list.keys[i].data);
    }
    free(list.keys);
}

static void free_waiter(struct waiter *waiter)
{
    free_names(waiter->names, waiter->name_count);
    free(waiter);
}

void inbox_done(struct inbox *inbox)
{
    while (inbox->works) {
        struct store_work *work = inbox->works;
        inbox->works = work->next;
        store_work_free(work);
    }
    free_names(inbox->blocked.names, inbox->blocked.count);
    free_keys(inbox->keys);
    pthread_mutex_destroy(&inbox->lock);
}

/* ---- from any thread ------------------------------------------------------- */

void inbox_take_work(struct store_work *work)
{
    struct cluster *c = work->ctx;
    work->next = NULL;
    pthread_mutex_lock(&c->inbox.lock);
    *c->inbox.end = work;
    c->inbox.end = &work->next;
    pthread_mutex_unlock(&c->inbox.lock);
    uv_async_send(&c->wake);
}

enum err cluster_request(struct cluster *c, enum node_request request, const char *const *names,
                         size_t name_count, void (*done)(void *done_ctx, struct node_reply *reply),
                         void *done_ctx)
{
    struct name_list copy = copy_names(names, name_count);
    struct waiter *waiter = mem_new(sizeof *waiter);
    *waiter = (struct waiter){
        .request = request, .names = copy.names, .name_count = copy.count, .done = done, .ctx = done_ctx};
    enum err err = OK;
    pthread_mutex_lock(&c->inbox.lock);
    if (!c->inbox.open) {
        err = ERR_CLOSED;
    } else if (c->inbox.waiter_count >= REQUESTS_MAX) {
        err = ERR_BUSY;
    } else {
        c->inbox.waiter_count++;
        *c->inbox.waiters_end = waiter;
        c->inbox.waiters_end = &waiter->next;
        uv_async_send(&c->wake); /* while the inbox is open, the loop is there */
    }
    pthread_mutex_unlock(&c->inbox.lock);
    if (err != OK) {
        net_count(c, NET_REQUESTS_REFUSED, 1);
        free_waiter(waiter);
    }
    return err;
}

void cluster_configure(struct cluster *c, const char *const *blocked, size_t blocked_count)
{
    struct name_list copy = copy_names(blocked, blocked_count);
    pthread_mutex_lock(&c->inbox.lock);
    struct name_list old = c->inbox.blocked;
    c->inbox.blocked = copy;
    c->inbox.configured = true;
    pthread_mutex_unlock(&c->inbox.lock);
    free_names(old.names, old.count);
    uv_async_send(&c->wake);
}

void cluster_rekey(struct cluster *c, const struct bytes *keys, size_t key_count)
{
    struct key_list copy = copy_keys(keys, key_count);
    pthread_mutex_lock(&c->inbox.lock);
    struct key_list old = c->inbox.keys;
    c->inbox.keys = copy;
    c->inbox.rekeyed = true;
    pthread_mutex_unlock(&c->inbox.lock);
    free_keys(old);
    uv_async_send(&c->wake);
}

void cluster_store_visible(struct cluster *c)
{
    atomic_store(&c->inbox.changed, true);
}

/* With nobody connected there is nobody to tell at once: the node learns of it with
 * the next event, whatever that is, and each commit is spared a wake-up. */
void cluster_store_changed(struct cluster *c)
{
    if (atomic_load(&c->inbox.changed) && atomic_load(&c->streams) > 0)
        uv_async_send(&c->wake);
}

/* ---- on the loop ------------------------------------------------------------- */

static void give_works(struct cluster *c, struct store_work *works)
{
    while (works) {
        struct store_work *work = works;
        works = work->next;
        work->next = NULL;
        cluster_step(c, &(struct node_event){.kind = NODE_STORED, .ticket = work->ticket, .work = work});
        store_work_free(work);
    }
}

static void give_requests(struct cluster *c, struct waiter *waiters)
{
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        struct name_list names = {waiter->names, waiter->name_count};
        waiter->names = NULL;
        waiter->name_count = 0;
        waiter->ticket = ++c->next_request;
        waiter->next = c->waiting;
        c->waiting = waiter;
        /* The waiter may be gone after the step. */
        cluster_step(c, &(struct node_event){.kind = NODE_REQUEST,
                                             .ticket = waiter->ticket,
                                             .request = waiter->request,
                                             .names = (const char *const *)names.names,
                                             .name_count = names.count});
        free_names(names.names, names.count);
    }
}

void inbox_empty(struct cluster *c)
{
    struct inbox *inbox = &c->inbox;
    pthread_mutex_lock(&inbox->lock);
    struct store_work *works = inbox->works;
    struct waiter *waiters = inbox->waiters;
    struct name_list blocked = inbox->blocked;
    struct key_list keys = inbox->keys;
    bool configured = inbox->configured, rekeyed = inbox->rekeyed;
    inbox->works = NULL;
    inbox->end = &inbox->works;
    inbox->waiters = NULL;
    inbox->waiters_end = &inbox->waiters;
    inbox->blocked = (struct name_list){0};
    inbox->keys = (struct key_list){0};
    inbox->configured = inbox->rekeyed = false;
    pthread_mutex_unlock(&inbox->lock);

    give_works(c, works);
    cluster_look_at_store(c);
    if (configured)
        cluster_step(c, &(struct node_event){.kind = NODE_CONFIGURE,
                                             .names = (const char *const *)blocked.names,
                                             .name_count = blocked.count});
    if (rekeyed)
        cluster_step(c, &(struct node_event){.kind = NODE_REKEY, .keys = keys.keys, .key_count = keys.count});
    free_names(blocked.names, blocked.count);
    free_keys(keys);
    give_requests(c, waiters);
}

static void end_waiter(struct cluster *c, struct waiter *waiter, struct node_reply *reply)
{
    pthread_mutex_lock(&c->inbox.lock);
    c->inbox.waiter_count--;
    pthread_mutex_unlock(&c->inbox.lock);
    waiter->done(waiter->ctx, reply);
    free_waiter(waiter);
}

void inbox_reply(struct cluster *c, uint64_t ticket, struct node_reply *reply)
{
    struct waiter **link = &c->waiting;
    while (*link && (*link)->ticket != ticket)
        link = &(*link)->next;
    struct waiter *waiter = *link;
    if (!waiter) {
        node_reply_free(reply);
        return;
    }
    *link = waiter->next;
    end_waiter(c, waiter, reply);
}

static void refuse_all(struct cluster *c, struct waiter *waiters)
{
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        struct node_reply *reply = mem_new(sizeof *reply);
        reply->err = ERR_CLOSED;
        end_waiter(c, waiter, reply);
    }
}

void inbox_close(struct cluster *c)
{
    pthread_mutex_lock(&c->inbox.lock);
    struct waiter *waiters = c->inbox.waiters;
    c->inbox.waiters = NULL;
    c->inbox.waiters_end = &c->inbox.waiters;
    c->inbox.open = false;
    pthread_mutex_unlock(&c->inbox.lock);
    refuse_all(c, waiters);
    refuse_all(c, c->waiting);
    c->waiting = NULL;
}
