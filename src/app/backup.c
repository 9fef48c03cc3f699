/* yzma backup: asks a running node for piece after piece and writes them down. The file
 * has its name only once it is whole and on disk. */
#include "tools.h"

#include "api_client.h"
#include "backup_file.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { ANSWER_MAX = FRAME_HEADER + FRAME_MAX + (64 << 10) };

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

static enum err get(const struct config_endpoint *endpoint, const char *target, struct buf *answer,
                    struct bytes *ret_body, struct buf *why)
{
    unsigned status;
    enum err err = api_get(endpoint, target, answer, &status, ret_body, why);
    if (err == OK && status != 200) {
        buf_put_format(why, "the node answers %u: %.*s", status, (int)ret_body->len,
                       (const char *)ret_body->data);
        err = ERR_REFUSED;
    }
    return err;
}

static enum err copy(const struct config_endpoint *endpoint, int fd, const char *path,
                     struct backup_place *place, struct buf *why)
{
    struct replica_id id;
    struct buf answer, target;
    struct bytes body;
    buf_init(&answer, ANSWER_MAX);
    enum err err = get(endpoint, "/cluster/backup", &answer, &body, why);
    if (err == OK && (body.len != BACKUP_HEAD_SIZE || backup_get_head(body, &id) != OK)) {
        buf_put_text(why, "the node gave no backup that this program knows");
        err = ERR_MALFORMED;
    }
    if (err == OK)
        err = write_all(fd, path, body, why);
    backup_begin(place);
    while (err == OK && place->at.phase != WALK_NONE) {
        struct store_work *work = NULL;
        size_t size;
        buf_init(&target, 2048);
        put_target(&target, place);
        err = target.err == OK ? get(endpoint, (const char *)target.data, &answer, &body, why) : target.err;
        if (err == OK && (backup_next(place, body, &size, &work) != OK || size != body.len)) {
            buf_put_text(why, "the node gave a piece that is not whole");
            err = ERR_MALFORMED;
        }
        if (err == OK)
            err = write_all(fd, path, body, why);
        store_work_free(work);
        buf_done(&target);
    }
    buf_done(&answer);
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

enum err tool_backup(const struct cli *cli, FILE *out, struct buf *why)
{
    struct config_endpoint endpoint = {0};
    struct backup_place place;
    char *part = mem_new(strlen(cli->file) + sizeof ".part");
    sprintf(part, "%s.part", cli->file);
    enum err err = api_find(cli, &endpoint, why);
    int fd = -1;
    if (err == OK && access(cli->file, F_OK) == 0) {
        buf_put_format(why, "%s exists", cli->file);
        err = ERR_EXISTS;
    }
    if (err == OK && (fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        err = failed(why, part);
    if (err == OK) {
        err = copy(&endpoint, fd, part, &place, why);
        if (err == OK && fsync(fd) != 0)
            err = failed(why, part);
        close(fd);
        if (err == OK && link(part, cli->file) != 0) /* not over a file that has come meanwhile */
            err = failed(why, cli->file);
        unlink(part);
    }
    if (err == OK) {
        sync_folder_of(cli->file);
        fprintf(out, "%s: %llu records\n", cli->file, (unsigned long long)place.records);
    }
    free(endpoint.host);
    free(part);
    return err;
}
