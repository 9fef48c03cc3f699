/* Name spaces as the beginnings of keys. */
#include "space.h"

#include "check.h"
#include "utf8.h"

enum { COUNTER_BYTE = 0xf8, SET_BYTE = 0xf9, NAME_END = 0x01 };

bool space_name_valid(struct bytes name)
{
    return name.len > 0 && name.len <= SPACE_NAME_MAX && !memchr(name.data, '\0', name.len) &&
           !memchr(name.data, NAME_END, name.len) && utf8_valid_until(name) == name.len;
}

struct space_name space_parse(struct bytes key)
{
    struct space_name none = {.space = SPACE_NONE}, parsed = {.space = SPACE_KEYS, .name = key};
    if (space_has_key(key))
        return parsed;
    parsed.name = bytes_of(key.data + 1, key.len - 1);
    if (key.data[0] == COUNTER_BYTE) {
        parsed.space = SPACE_COUNTERS;
    } else if (key.data[0] == SET_BYTE && parsed.name.len > 1 + ELEMENT_HASH_SIZE) {
        parsed.space = SPACE_SETS;
        parsed.name.len -= 1 + ELEMENT_HASH_SIZE;
        parsed.hash = bytes_of(parsed.name.data + parsed.name.len + 1, ELEMENT_HASH_SIZE);
        if (parsed.name.data[parsed.name.len] != NAME_END ||
            memchr(parsed.hash.data, '\0', ELEMENT_HASH_SIZE))
            return none;
    } else {
        return none;
    }
    return space_name_valid(parsed.name) ? parsed : none;
}

struct bytes space_prefix(enum space space, struct bytes name, uint8_t room[KEY_MAX])
{
    CHECK((space == SPACE_COUNTERS || space == SPACE_SETS) && name.len <= SPACE_NAME_MAX);
    room[0] = space == SPACE_COUNTERS ? COUNTER_BYTE : SET_BYTE;
    if (name.len)
        memcpy(room + 1, name.data, name.len);
    return bytes_of(room, 1 + name.len);
}

static struct bytes set_with(struct bytes name, uint8_t terminator, uint8_t room[KEY_MAX])
{
    struct bytes prefix = space_prefix(SPACE_SETS, name, room);
    room[prefix.len] = terminator;
    return bytes_of(room, prefix.len + 1);
}

struct bytes space_set_begin(struct bytes name, uint8_t room[KEY_MAX])
{
    return set_with(name, NAME_END, room);
}

struct bytes space_set_end(struct bytes name, uint8_t room[KEY_MAX])
{
    return set_with(name, NAME_END + 1, room);
}

struct bytes space_element(struct bytes name, const uint8_t hash[ELEMENT_HASH_SIZE], uint8_t room[KEY_MAX])
{
    struct bytes begin = space_set_begin(name, room);
    memcpy(room + begin.len, hash, ELEMENT_HASH_SIZE);
    return bytes_of(room, begin.len + ELEMENT_HASH_SIZE);
}
