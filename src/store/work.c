/* Pieces of work: made, weighed, freed. */
#include "check.h"
#include "mem.h"
#include "txn.h"

#include <stdlib.h>

struct store_work *store_work_new(enum work_kind kind)
{
    struct store_work *work = mem_new(sizeof *work);
    work->kind = kind;
    return work;
}

void store_work_add_note(struct store_work *work, const char *name, struct bytes value)
{
    CHECK(work->kind == WORK_NOTES && strlen(name) < NOTE_NAME_MAX);
    work->notes.list = mem_grow(work->notes.list, (work->notes.count + 1) * sizeof *work->notes.list);
    struct note *note = &work->notes.list[work->notes.count++];
    memset(note, 0, sizeof *note);
    memcpy(note->name, name, strlen(name) + 1);
    note->remove = value.data == NULL;
    buf_init(&note->value, value.len);
    buf_put_bytes(&note->value, value);
}

static bool carries_rows(enum work_kind kind)
{
    return kind == WORK_ROWS || kind == WORK_AHEAD || kind == WORK_WALK_START || kind == WORK_WALK_PIECE ||
           kind == WORK_WALK_ROWS || kind == WORK_WALK_STOP;
}

void store_work_free(struct store_work *work)
{
    if (!work)
        return;
    if (carries_rows(work->kind)) {
        buf_done(&work->rows.payload);
        free(work->rows.entries);
        clock_done(&work->rows.source_clock);
        clock_done(&work->rows.source_floor);
    } else if (work->kind == WORK_REIDENTIFY) {
        free(work->reidentify.known);
    } else if (work->kind == WORK_PRUNE) {
        clock_done(&work->prune.floor);
    } else if (work->kind == WORK_NOTES) {
        for (size_t i = 0; i < work->notes.count; i++)
            buf_done(&work->notes.list[i].value);
        free(work->notes.list);
    }
    free(work);
}

void store_work_cost(const struct store_work *work, size_t *ret_records, size_t *ret_bytes)
{
    size_t records = 1, bytes = 0;
    switch (work->kind) {
    case WORK_WRITE:
        bytes = work->write.key.len + work->write.type.len + work->write.value.len;
        break;
    case WORK_ROWS:
    case WORK_AHEAD:
    case WORK_WALK_START:
    case WORK_WALK_PIECE:
    case WORK_WALK_ROWS:
    case WORK_WALK_STOP:
        records = work->rows.count;
        bytes = work->rows.payload.len;
        break;
    case WORK_PRUNE:
        records = PRUNE_ROWS_MAX;
        break;
    case WORK_EXPIRE:
        records = EXPIRE_KEYS_MAX;
        break;
    case WORK_QUARANTINE:
        bytes = TXN_BYTES_MAX; /* what is in there, and wants its transaction alone */
        break;
    case WORK_RETIRE:
        break;
    case WORK_NOTES:
        records = work->notes.count;
        for (size_t i = 0; i < work->notes.count; i++)
            bytes += work->notes.list[i].value.len;
        break;
    case WORK_REIDENTIFY:
        records = TXN_RECORDS_MAX; /* may touch more: it is rare, and wants its transaction alone */
        break;
    }
    *ret_records = records;
    *ret_bytes = bytes;
}

void store_counters(const struct store *store, struct store_counters *ret)
{
    *ret = (struct store_counters){
        .stamps_ahead = store->stamps_ahead,
        .records_merged = store->records_merged,
        .records_damaged = store->records_damaged,
        .rows_pruned = store->rows_pruned,
        .versions_expired = store->versions_expired,
        .records_quarantined = store->records_quarantined,
        .quarantined = store->quarantined,
        .quarantined_bytes = store->quarantined_bytes,
        .conflicts_refused = store->conflicts_refused,
        .replicas_refused = store->replicas_refused,
    };
}
