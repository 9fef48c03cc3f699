/* What one durable write costs on this disk at the least: 300 bytes written to a file
 * that is laid out and was written to before, and fdatasync; one after the other.
 *
 * usage: fdatasync FILE SECONDS         prints {"count": .., "us": {..}}; removes the file */
#include "histogram.h"
#include "machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILE_LEN = 64 << 20, /* a log segment's size; nothing special about it */
    WRITE_LEN = 300,     /* a frame with one value of 128 bytes */
    BLOCK_LEN = 1 << 20,
};

static void lay_out(int fd)
{
    static char block[BLOCK_LEN];
    memset(block, 0x5a, sizeof block);
    for (off_t at = 0; at < FILE_LEN; at += BLOCK_LEN)
        if (pwrite(fd, block, sizeof block, at) != BLOCK_LEN)
            die("write");
    if (fsync(fd) != 0)
        die("fsync");
}

static void measure(int fd, uint64_t stop_us, struct histogram *h)
{
    char frame[WRITE_LEN];
    memset(frame, 0xa5, sizeof frame);
    for (off_t at = 0; now_us() < stop_us; at = (at + WRITE_LEN) % (FILE_LEN - WRITE_LEN)) {
        uint64_t start = now_us();
        if (pwrite(fd, frame, sizeof frame, at) != WRITE_LEN || fdatasync(fd) != 0)
            die("write");
        histogram_add(h, now_us() - start);
    }
}

int main(int argc, char **argv)
{
    static struct histogram h;
    if (argc != 3) {
        fputs("usage: fdatasync FILE SECONDS\n", stderr);
        return 2;
    }
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(argv[1]);
    unlink(argv[1]);
    lay_out(fd);
    measure(fd, now_us() + (uint64_t)(strtod(argv[2], NULL) * 1e6), &h);
    printf("{\"count\": %llu, \"us\": ", (unsigned long long)h.total);
    histogram_print(&h);
    printf("}\n");
    close(fd);
    return 0;
}
