/* yzma backup: asks a running node for piece after piece and writes them down. The file
 * has its name only once it is whole and on disk. */
#include "cmd.h"

#include "backup_file.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static enum err failed(struct buf *why, const char *path)
{
    buf_put_format(why, "%s: %s", path, strerror(errno));
    return errno == EEXIST ? ERR_EXISTS : ERR_IO;
}

static enum err write_all(int fd, const char *path, struct bytes bytes, struct buf *why)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n <= 0)
            return failed(why, path);
        bytes = bytes_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return OK;
}

static void put_target(struct buf *target, const struct backup_place *place)
{
    static const char digits[] = "0123456789abcdef";
    struct buf dot;
    buf_put_text(target, place->at.phase == WALK_ROWS ? "/cluster/backup?row=" : "/cluster/backup?after=");
    if (place->at.phase == WALK_ROWS) {
        buf_init(&dot, 64);
        replica_id_encode(&place->at.row_after.replica, &dot);
        buf_put_u64(&dot, place->at.row_after.counter);
        for (size_t i = 0; i < dot.len; i++) {
            buf_put_u8(target, (uint8_t)digits[dot.data[i] >> 4]);
            buf_put_u8(target, (uint8_t)digits[dot.data[i] & 15]);
        }
        buf_done(&dot);
    } else {
        for (size_t i = 0; i < place->at.after_len; i++) {
            buf_put_u8(target, '%');
            buf_put_u8(target, (uint8_t)digits[place->at.after[i] >> 4]);
            buf_put_u8(target, (uint8_t)digits[place->at.after[i] & 15]);
        }
    }
    buf_put_u8(target, 0);
}

/* A piece, into *ret. */
static enum err get(struct client *client, const char *target, struct client_answer *ret, struct buf *why)
{
    struct client_call call = {.target = target, .stop = cmd_interrupted};
    enum err err = client_call(client, &call, ret, why);
    if (err == OK && ret->status != 200) {
        buf_put_format(why, "%s answers %u: ", ret->server, ret->status);
        client_explain(ret, why);
        client_answer_done(ret);
        err = ERR_REFUSED;
    }
    return err;
}

static enum err copy_head(struct client *client, int fd, const char *path, struct buf *why)
{
    struct replica_id id;
    struct client_answer answer;
    enum err err = get(client, "/cluster/backup", &answer, why);
    if (err != OK)
        return err;
    struct bytes body = buf_bytes(&answer.body);
    if (body.len != BACKUP_HEAD_SIZE || backup_get_head(body, &id) != OK) {
        buf_put_text(why, "the node gave no backup that this program knows");
        err = ERR_MALFORMED;
    } else {
        err = write_all(fd, path, body, why);
    }
    client_answer_done(&answer);
    return err;
}

static enum err copy_piece(struct client *client, int fd, const char *path, struct backup_place *place,
                           struct buf *why)
{
    struct store_work *work = NULL;
    struct client_answer answer;
    struct buf target;
    size_t size;
    buf_init(&target, 2048);
    put_target(&target, place);
    enum err err = target.err == OK ? get(client, (const char *)target.data, &answer, why) : target.err;
    buf_done(&target);
    if (err != OK)
        return err;
    struct bytes body = buf_bytes(&answer.body);
    if (backup_next(place, body, &size, &work) != OK || size != body.len) {
        buf_put_text(why, "the node gave a piece that is not whole");
        err = ERR_MALFORMED;
    } else {
        err = write_all(fd, path, body, why);
    }
    store_work_free(work);
    client_answer_done(&answer);
    return err;
}

static enum err copy(struct client *client, int fd, const char *path, struct backup_place *place,
                     struct buf *why)
{
    struct bar bar;
    enum err err = copy_head(client, fd, path, why);
    client_keep_server(client); /* its parts fit together, and no other's to them */
    backup_begin(place);
    bar_begin(&bar, "copied", "records");
    while (err == OK && place->at.phase != WALK_NONE) {
        err = copy_piece(client, fd, path, place, why);
        bar_at(&bar, place->records, 0);
        if (cmd_interrupted(NULL))
            err = ERR_CLOSED;
    }
    bar_end(&bar);
    if (err == ERR_CLOSED)
        buf_put_text(why, "interrupted: nothing is kept of it");
    return err;
}

static void sync_folder_of(const char *path)
{
    char *folder = mem_text(path), *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

/* What the node keeps and cannot read is in no walk. Where it does not answer, nothing is said:
 * the backup is whole. */
static void tell_what_is_not_in_it(struct client *client, const char *path, FILE *out)
{
    struct client_answer answer;
    struct buf why;
    buf_init(&why, 1024);
    if (get(client, "/cluster/status", &answer, &why) == OK) {
        uint64_t records = read_member_number(read_member(cmd_data(&answer), "Quarantine"), "Records");
        if (records)
            fprintf(out, "%s: without %llu records of a newer program, which this node cannot read\n", path,
                    (unsigned long long)records);
        client_answer_done(&answer);
    }
    buf_done(&why);
}

enum err tool_backup(const struct cli *cli, FILE *out, struct buf *why)
{
    const char *path = cli->words[0];
    struct client *client = NULL;
    struct backup_place place;
    char *part = mem_new(strlen(path) + sizeof ".part");
    sprintf(part, "%s.part", path);
    enum err err = cmd_client(cli, &client, why);
    int fd = -1;
    if (err == OK && access(path, F_OK) == 0) {
        buf_put_format(why, "%s exists", path);
        err = ERR_EXISTS;
    }
    if (err == OK && (fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        err = failed(why, part);
    if (err == OK) {
        cmd_catch_signals();
        err = copy(client, fd, part, &place, why);
        if (err == OK && fsync(fd) != 0)
            err = failed(why, part);
        close(fd);
        if (err == OK && link(part, path) != 0) /* not over a file that has come meanwhile */
            err = failed(why, path);
        unlink(part);
    }
    if (err == OK) {
        sync_folder_of(path);
        fprintf(out, "%s: %llu records\n", path, (unsigned long long)place.records);
        tell_what_is_not_in_it(client, path, out);
    }
    client_free(client);
    free(part);
    return err;
}
