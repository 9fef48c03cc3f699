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

struct write_work *store_work_add_write(struct store_work *work)
{
    struct batch_work *batch = &work->batch;
    CHECK(work->kind == WORK_BATCH && batch->count < TXN_RECORDS_MAX);
    if (batch->count == batch->room) {
        batch->room = batch->room ? 2 * batch->room : 16;
        batch->writes = mem_grow(batch->writes, batch->room * sizeof *batch->writes);
    }
    struct write_work *write = &batch->writes[batch->count++];
    memset(write, 0, sizeof *write);
    return write;
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
    } else if (work->kind == WORK_BATCH) {
        free(work->batch.writes);
        free(work->batch.conditions);
        buf_done(&work->batch.text);
    } else if (work->kind == WORK_REIDENTIFY) {
        free(work->reidentify.known);
    } else if (work->kind == WORK_PRUNE) {
        clock_done(&work->prune.floor);
    } else if (work->kind == WORK_NOTES) {
        for (size_t i = 0; i < work->notes.count; i++)
            buf_done(&work->notes.list[i].value);
        free(work->notes.list);
    } else if (work->kind == WORK_REPAIR || work->kind == WORK_MEND) {
        buf_done(&work->repair.record);
        clock_done(&work->repair.source_clock);
        clock_done(&work->repair.source_floor);
        clock_done(&work->repair.others);
    }
    free(work);
}

static size_t write_cost(const struct write_work *write)
{
    return write->key.len + write->type.len + write->value.len + write->weight;
}

void store_work_cost(const struct store_work *work, size_t *ret_records, size_t *ret_bytes)
{
    size_t records = 1, bytes = 0;
    switch (work->kind) {
    case WORK_WRITE:
        bytes = write_cost(&work->write);
        break;
    case WORK_BATCH:
        records = work->batch.count;
        for (size_t i = 0; i < work->batch.count; i++)
            bytes += write_cost(&work->batch.writes[i]);
        break;
    case WORK_COUNT:
        bytes = work->count.key.len + work->count.weight;
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
    case WORK_START:
        break;
    case WORK_NOTES:
        records = work->notes.count;
        for (size_t i = 0; i < work->notes.count; i++)
            bytes += work->notes.list[i].value.len;
        break;
    case WORK_REPAIR:
    case WORK_MEND:
        bytes = work->repair.record.len;
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
        .records_repaired = store->records_repaired,
        .records_mended = store->records_mended,
    };
}
