#include "vectors.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

static char *read_text(const char *folder, const char *name, const char *ending)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s.%s", VECTORS_DIR, folder, name, ending);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: not readable", path);
    char *text = NULL;
    size_t len = 0, room = 0, got;
    do {
        if (room - len < 4096)
            text = mem_grow(text, room = room * 2 + 8192);
        got = fread(text + len, 1, room - len - 1, file);
        len += got;
    } while (got > 0);
    fclose(file);
    text[len] = '\0';
    return text;
}

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* Lines of hex; those that start with # are comments. */
static void read_hex(const char *text, struct vector *v)
{
    v->data = mem_new(strlen(text) / 2 + 1);
    for (const char *at = text; *at; at++) {
        if (*at == '#') {
            at = strchr(at, '\n');
            continue;
        }
        if (!isxdigit((unsigned char)*at))
            continue;
        v->data[v->len++] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
        at++;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vector *)a)->name, ((const struct vector *)b)->name);
}

struct vectors vectors_load(const char *folder)
{
    struct vectors v = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", VECTORS_DIR, folder);
    DIR *dir = opendir(path);
    if (!dir)
        fail_msg("%s: not readable", path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n < 5 || strcmp(entry->d_name + n - 4, ".hex") != 0)
            continue;
        v.list = mem_grow(v.list, (v.count + 1) * sizeof *v.list);
        struct vector *vector = &v.list[v.count++];
        *vector = (struct vector){.name = mem_text_of(bytes_of(entry->d_name, n - 4))};
        char *hex = read_text(folder, vector->name, "hex");
        read_hex(hex, vector);
        free(hex);
        vector->json = read_text(folder, vector->name, "json");
    }
    closedir(dir);
    qsort(v.list, v.count, sizeof *v.list, by_name);
    return v;
}

void vectors_done(struct vectors *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free(v->list[i].name);
        free(v->list[i].data);
        free(v->list[i].json);
    }
    free(v->list);
    *v = (struct vectors){0};
}
