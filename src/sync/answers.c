#include "answers.h"

void answers_clear(struct answers *answers)
{
    buf_done(&answers->record);
    clock_done(&answers->clock);
    clock_done(&answers->floor);
    *answers = (struct answers){0};
}

static enum err decode(struct bytes key, struct bytes encoded, struct record *ret)
{
    return encoded.len ? record_decode(key, encoded, ret) : OK;
}

/* The first one, or both merged: versions borrow from the encoded records. */
static enum err join_records(const struct answers *answers, const struct record_frame *answer,
                             struct buf *ret)
{
    struct record ours = {0}, theirs = {0}, both = {0};
    enum err err = decode(answer->key, buf_bytes(&answers->record), &ours);
    if (err == OK)
        err = decode(answer->key, answer->record, &theirs);
    if (err == OK) {
        record_merge(&ours, &answers->clock, &theirs, &answer->clock, &both);
        if (!record_is_empty(&both))
            record_encode(answer->key, &both, ret);
        err = ret->err;
    }
    record_done(&ours);
    record_done(&theirs);
    record_done(&both);
    return err;
}

enum err answers_fold(struct answers *answers, const struct record_frame *answer)
{
    struct buf record;
    if (!clock_join_fits(&answers->clock, &answer->clock) ||
        !clock_join_fits(&answers->floor, &answer->floor))
        return ERR_TOO_LARGE;
    buf_init(&record, FRAME_MAX);
    enum err err = join_records(answers, answer, &record);
    if (err != OK) {
        buf_done(&record);
        return err;
    }
    buf_done(&answers->record);
    answers->record = record;
    clock_join(&answers->clock, &answer->clock);
    clock_join(&answers->floor, &answer->floor);
    answers->any = true;
    return OK;
}
