/* RESP, the language of Redis: a command is an array of strings, here the words of
 * the target and then the body; of answers those that single commands have. */
#include "machine.h"
#include "pattern.h"
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 16 };

static char *request(const char *method, const char *address, const char *target, const char *body,
                     size_t body_len, size_t value_len)
{
    char *copy = strdup(target), *words[WORDS_MAX], *rest = copy, *text;
    size_t count = 0, size;
    if (!copy)
        die("memory");
    for (char *word; count < WORDS_MAX && (word = strsep(&rest, " "));)
        words[count++] = word;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        die("memory");
    fprintf(out, "*%zu\r\n", count + (body != NULL));
    for (size_t i = 0; i < count; i++)
        fprintf(out, "$%zu\r\n%s\r\n", pattern_len(words[i], value_len), words[i]);
    if (body)
        fprintf(out, "$%zu\r\n%s\r\n", body_len, body);
    if (fclose(out) != 0)
        die("memory");
    free(copy);
    return text;
}

/* "+OK", ":1", "-ERR ..", "$5" and the string, "$-1" for none. */
static enum answer_state answer(const char *data, size_t len, struct answer *ret_answer)
{
    const char *line_end = memmem(data, len, "\r\n", 2);
    if (!line_end)
        return ANSWER_PART;
    const char *body = data + 1;
    size_t body_len = (size_t)(line_end - body), whole = (size_t)(line_end + 2 - data);
    bool good = *data == '+' || *data == ':';
    if (*data == '$') {
        long wanted = strtol(body, NULL, 10);
        good = wanted >= 0;
        body = line_end + 2;
        body_len = good ? (size_t)wanted : 0;
        whole += good ? body_len + 2 : 0;
    } else if (!good && *data != '-') {
        return ANSWER_BAD;
    }
    if (len < whole)
        return ANSWER_PART;
    *ret_answer = (struct answer){.good = good, .body = body, .body_len = body_len};
    return len == whole ? ANSWER_WHOLE : ANSWER_BAD;
}

const struct protocol protocol_resp = {.request = request, .answer = answer};
