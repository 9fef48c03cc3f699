/* What the log says of membership: one line for each change of state, with what it
 * came from and what happens next. */
#include "node_state.h"
#include "units.h"

#include <stdio.h>

#define BYTES(bytes) (int)(bytes).len, (const char *)(bytes).data

/* Whole seconds are exact enough for people. */
static unsigned long long seconds(uint64_t ms)
{
    return (unsigned long long)((ms + 500) / 1000);
}

static bool is_us(const struct node *n, struct bytes name)
{
    return bytes_equal(name, bytes_str(n->name));
}

static void joined(const struct swim_event *event, struct effects *out)
{
    char address[ADDR_TEXT_MAX];
    struct meta meta;
    bool replica = meta_decode(event->meta, &meta) == OK;
    effects_notice(out, NOTICE_INFO, "event=member_joined node=%.*s addr=%s inc=%u cause=%s next=%s",
                   BYTES(event->name), addr_text(&event->addr, address), event->incarnation,
                   event->was == MEMBER_DEAD   ? "back from the dead"
                   : event->was == MEMBER_LEFT ? "back after leaving"
                                               : "new",
                   replica ? "replication connects to it" : "a member only: it holds no replica");
}

static void suspected(const struct swim_event *event, struct effects *out)
{
    effects_notice(
        out, NOTICE_WARN,
        "event=member_suspect node=%.*s by=%.*s inc=%u cause=%s next=\"dead in %llu s at the latest, "
        "unless it contradicts\"",
        BYTES(event->name), BYTES(event->by), event->incarnation, event->error ? event->error : "hearsay",
        seconds(event->lasts_ms));
}

static void died(const struct node *n, const struct swim_event *event, struct effects *out)
{
    char cause[64] = "hearsay";
    if (event->was == MEMBER_SUSPECT && is_us(n, event->by))
        snprintf(cause, sizeof cause, "did not contradict for %llu s", seconds(event->lasts_ms));
    effects_notice(out, NOTICE_WARN,
                   "event=member_dead node=%.*s by=%.*s inc=%u cause=%s next=\"is pinged now and then; its "
                   "replica is expected back\"",
                   BYTES(event->name), BYTES(event->by), event->incarnation, cause);
}

static void conflict(const struct node *n, const struct swim_event *event, struct effects *out)
{
    char claimed[ADDR_TEXT_MAX], known[ADDR_TEXT_MAX];
    bool ours = is_us(n, event->name);
    /* Of others as a rule the member itself, restarted somewhere else. */
    effects_notice(
        out, ours ? NOTICE_ERROR : NOTICE_WARN,
        "event=name_conflict node=%.*s addr=%s known=%s inc=%u cause=%s next=%s", BYTES(event->name),
        addr_text(&event->addr, claimed), addr_text(&event->known, known), event->incarnation,
        ours ? "another node has our name: a copy of this store?" : "claims the name of a living member",
        ours ? "replication compares their pasts: a peer that knows the older one gives the copy a new id; "
               "else stop the copy and run: yzma reidentify"
             : "refused until that one is gone, or it has proven its replica id");
}

static void refused(const struct swim_event *event, struct effects *out)
{
    char address[ADDR_TEXT_MAX];
    effects_notice(out, NOTICE_WARN,
                   "event=peer_refused addr=%s reason=%s next=\"nothing is exchanged with it\"",
                   addr_text(&event->addr, address), event->text);
}

static void path(const struct swim_event *event, struct effects *out)
{
    char cause[SWIM_NAME_MAX + 32];
    snprintf(cause, sizeof cause, "UDP %s %.*s blocked", event->to_blocked ? "to" : "from",
             BYTES(event->name));
    if (event->to_blocked || event->from_blocked)
        effects_notice(
            out, NOTICE_WARN,
            "event=udp_blocked node=%.*s cause=%s next=\"stays a member by TCP; news may take until the "
            "next exchange\"",
            BYTES(event->name), cause);
    else
        effects_notice(out, NOTICE_INFO, "event=udp_open node=%.*s cause=\"datagrams pass again\"",
                       BYTES(event->name));
}

void tell_change(struct node *n, const struct swim_event *event, struct effects *out)
{
    char address[ADDR_TEXT_MAX];
    switch (event->kind) {
    case SWIM_JOINED:
        joined(event, out);
        break;
    case SWIM_UPDATED:
        effects_notice(out, NOTICE_INFO, "event=member_updated node=%.*s addr=%s inc=%u", BYTES(event->name),
                       addr_text(&event->addr, address), event->incarnation);
        break;
    case SWIM_SUSPECTED:
        suspected(event, out);
        break;
    case SWIM_CLEARED:
        effects_notice(out, NOTICE_INFO,
                       "event=member_cleared node=%.*s inc=%u cause=\"contradicted after %llu s\"",
                       BYTES(event->name), event->incarnation, seconds(event->lasts_ms));
        break;
    case SWIM_DEAD:
        died(n, event, out);
        break;
    case SWIM_LEFT:
        effects_notice(
            out, NOTICE_INFO,
            "event=member_left node=%.*s inc=%u cause=\"said goodbye\" next=\"is sent nothing until "
            "it joins again\"",
            BYTES(event->name), event->incarnation);
        break;
    case SWIM_REAPED:
        effects_notice(out, NOTICE_INFO, "event=member_forgotten node=%.*s cause=\"gone for long\"",
                       BYTES(event->name));
        break;
    case SWIM_REFUTED:
        if (event->by.len)
            effects_notice(out, NOTICE_WARN,
                           "event=refuted node=%s by=%.*s inc=%u cause=\"was suspected\" next=\"probes more "
                           "patiently: health score %u\"",
                           n->name, BYTES(event->by), event->incarnation, swim_health(n->swim));
        break;
    case SWIM_CONFLICT:
        conflict(n, event, out);
        break;
    case SWIM_REFUSED:
        refused(event, out);
        break;
    case SWIM_BLOCKED:
        effects_notice(
            out, NOTICE_WARN,
            "event=member_blocked node=%.*s addr=%s cause=Peering.Block next=\"nothing is exchanged "
            "with it\"",
            BYTES(event->name), addr_text(&event->addr, address));
        break;
    case SWIM_PATH:
        path(event, out);
        break;
    case SWIM_USER:
    case SWIM_OLD_KEY:
        break; /* said where it is acted upon */
    case SWIM_JOIN_DONE:
        break;
    }
}
