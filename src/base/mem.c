#include "mem.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

/* What glibc keeps ready for each thread reaches to about this size. */
enum { SMALL = 1024 };

void *mem_new(size_t size)
{
    /* Not calloc for small ones: glibc's goes past what the thread has ready. */
    void *p = size <= SMALL ? malloc(size ? size : 1) : calloc(1, size);
    CHECK(p != NULL);
    return size <= SMALL ? memset(p, 0, size) : p;
}

void *mem_grow(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    CHECK(p != NULL);
    return p;
}

void *mem_copy(const void *data, size_t n)
{
    void *p = mem_new(n);
    if (n)
        memcpy(p, data, n);
    return p;
}

char *mem_text(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

char *mem_text_of(struct bytes bytes)
{
    char *text = mem_new(bytes.len + 1);
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    return text;
}
