/* The CRC-64 of Jones, as Redis uses it: reflected, starting with 0. Four bits at a time: a
 * table of sixteen is quick enough for what comes from a disk. */
#include "rdb.h"

uint64_t crc64(uint64_t crc, struct bytes bytes)
{
    /* Entry i: i shifted out of the register, by the polynomial 0xad93d23594c935a9 reflected. */
    static const uint64_t table[16] = {
        UINT64_C(0x0000000000000000), UINT64_C(0x7d08ff3b88be6f81), UINT64_C(0xfa11fe77117cdf02),
        UINT64_C(0x8719014c99c2b083), UINT64_C(0xdf7adabd7a6e2d6f), UINT64_C(0xa2722586f2d042ee),
        UINT64_C(0x256b24ca6b12f26d), UINT64_C(0x5863dbf1e3ac9dec), UINT64_C(0x95ac9329ac4bc9b5),
        UINT64_C(0xe8a46c1224f5a634), UINT64_C(0x6fbd6d5ebd3716b7), UINT64_C(0x12b5926535897936),
        UINT64_C(0x4ad64994d625e4da), UINT64_C(0x37deb6af5e9b8b5b), UINT64_C(0xb0c7b7e3c7593bd8),
        UINT64_C(0xcdcf48d84fe75459),
    };
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.data[i];
        crc = table[crc & 15] ^ (crc >> 4);
        crc = table[crc & 15] ^ (crc >> 4);
    }
    return crc;
}
