/* Runs a fuzz target over a corpus: every *.hex below the folders that are named, and
 * each of them also cut short at every length and with bits flipped; and of every *.lines
 * each line, as it is. Bytes in hex, lines with # are comments. A corpus without files
 * fails: nothing was looked at. */
#include "fuzz.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 1 << 20, CUTS_MAX = 512, FLIPS = 64 };

static unsigned long inputs;

static int hex_digit(int c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static size_t read_hex(FILE *file, uint8_t *out)
{
    size_t n = 0;
    for (int c; (c = fgetc(file)) != EOF && n < INPUT_MAX;) {
        if (c == '#')
            while (c != EOF && c != '\n')
                c = fgetc(file);
        if (!isxdigit(c))
            continue;
        int low = fgetc(file);
        if (!isxdigit(low))
            break;
        out[n++] = (uint8_t)(hex_digit(c) << 4 | hex_digit(low));
    }
    return n;
}

static void run(const uint8_t *data, size_t size)
{
    LLVMFuzzerTestOneInput(data, size);
    inputs++;
}

static void run_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = read_hex(file, data);
    fclose(file);
    run(data, size);
    for (size_t cut = 0; cut < size && cut < CUTS_MAX; cut++)
        run(data, cut);
    for (size_t flip = 0; flip < FLIPS && size > 0 && size < 4096; flip++) {
        size_t at = (flip * 2654435761u) % size;
        uint8_t bit = (uint8_t)(1u << flip % 8);
        data[at] ^= bit;
        run(data, size);
        data[at] ^= bit;
    }
}

/* What fuzzing found worth keeping: an input a line. */
static void run_lines(const char *path)
{
    static uint8_t data[INPUT_MAX];
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    for (ssize_t len; (len = getline(&line, &room, file)) > 0;) {
        FILE *one = fmemopen(line, (size_t)len, "r");
        if (!one) {
            perror(path);
            exit(1);
        }
        run(data, read_hex(one, data));
        fclose(one);
    }
    free(line);
    fclose(file);
}

static void run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[1024];
        size_t n = strlen(entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (n > 4 && strcmp(entry->d_name + n - 4, ".hex") == 0)
            run_file(path);
        if (n > 6 && strcmp(entry->d_name + n - 6, ".lines") == 0)
            run_lines(path);
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_folder(argv[i]);
    printf("%lu inputs\n", inputs);
    return inputs == 0;
}
