#include "crc.h"

#include "crc_tables.h"

#if defined(__ARM_FEATURE_CRC32) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARM_CRC
#include <arm_acle.h>
#endif

static uint32_t slice_by_8(const uint32_t table[8][256], uint32_t crc, struct bytes bytes)
{
    const uint8_t *p = bytes.data, *end = p + bytes.len;
    crc = ~crc;
    for (; end - p >= 8; p += 8) {
        uint32_t low = crc ^
                       ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; p < end; p++)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}

uint32_t crc32_ieee(uint32_t crc, struct bytes bytes)
{
    return bytes.len ? slice_by_8(ieee_table, crc, bytes) : crc;
}

/* The processor's own instruction, about four times the table's speed: SSE 4.2
 * where the processor has it; on 64-bit ARM where the build may assume it
 * (-march=armv8-a+crc or later), because asking at run time takes more of libc
 * than this floor has. */
#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, struct bytes bytes)
{
    const uint8_t *p = bytes.data, *end = p + bytes.len;
    uint64_t c = ~crc;
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; p < end; p++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return ~(uint32_t)c;
}
#elif defined(ARM_CRC)
static uint32_t crc32c_hardware(uint32_t crc, struct bytes bytes)
{
    const uint8_t *p = bytes.data, *end = p + bytes.len;
    uint32_t c = ~crc;
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __crc32cd(c, word);
    }
    for (; p < end; p++)
        c = __crc32cb(c, *p);
    return ~c;
}
#endif

uint32_t crc32c_table(uint32_t crc, struct bytes bytes)
{
    return bytes.len ? slice_by_8(castagnoli_table, crc, bytes) : crc;
}

uint32_t crc32c(uint32_t crc, struct bytes bytes)
{
    if (!bytes.len)
        return crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_hardware(crc, bytes);
#elif defined(ARM_CRC)
    return crc32c_hardware(crc, bytes);
#endif
    return crc32c_table(crc, bytes);
}
