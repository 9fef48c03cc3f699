#include "document.h"

#include <errno.h>
#include <stdio.h>

enum { DOCUMENT_MAX = 16 << 20, CHUNK = 4096, MARK_MAX = 128 };

static enum err read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    char chunk[CHUNK];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_put(out, chunk, n);
    enum err err = ferror(file) ? ERR_IO : out->err;
    fclose(file);
    return err;
}

static enum err write_file(const char *path, struct bytes text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return ERR_IO;
    size_t written = fwrite(text.data, 1, text.len, file);
    return fclose(file) == 0 && written == text.len ? OK : ERR_IO;
}

enum err document_put(const char *path, const char *name, struct bytes text)
{
    struct buf old, new;
    buf_init(&old, DOCUMENT_MAX);
    buf_init(&new, DOCUMENT_MAX);
    enum err err = read_file(path, &old);
    buf_put_u8(&old, '\0');
    if (err != OK)
        goto out;
    char first[MARK_MAX], last[MARK_MAX];
    snprintf(first, sizeof first, "<!-- generated: %s -->\n", name);
    snprintf(last, sizeof last, "<!-- end: %s -->\n", name);
    const char *document = (const char *)old.data;
    const char *from = strstr(document, first), *to = from ? strstr(from, last) : NULL;
    if (!to) {
        err = ERR_NOT_FOUND;
        goto out;
    }
    from += strlen(first);
    buf_put(&new, document, (size_t)(from - document));
    buf_put_bytes(&new, text);
    buf_put_text(&new, to);
    err = new.err == OK ? write_file(path, buf_bytes(&new)) : new.err;
out:
    buf_done(&old);
    buf_done(&new);
    return err;
}
