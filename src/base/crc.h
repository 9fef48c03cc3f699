/* The two checksums: IEEE CRC-32 (zlib's; gossip packets carry it) and CRC-32C
 * (Castagnoli; ours, on records and frames). */
#ifndef YZMA_BASE_CRC_H
#define YZMA_BASE_CRC_H

#include "bytes.h"

/* Both continue from an earlier result: start with 0. */
uint32_t crc32_ieee(uint32_t crc, struct bytes bytes);
uint32_t crc32c(uint32_t crc, struct bytes bytes);
/* The same without the processor's instruction: what runs where there is none. */
uint32_t crc32c_table(uint32_t crc, struct bytes bytes);

#endif
