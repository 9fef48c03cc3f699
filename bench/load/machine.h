/* What the generators ask of the machine: the time, and what processes cost. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdint.h>

/* Prints the error of the last call, and ends with 2: no measurement. */
_Noreturn void die(const char *what);

uint64_t now_us(void);

/* User and system time of all threads so far; of a process by its id in steps of
 * 10 ms, as the kernel shows it. */
uint64_t cpu_us_of(int pid);
uint64_t cpu_us_own(void);

/* A connected blocking socket with TCP_NODELAY to an IPv4 address "A.B.C.D:PORT". */
int connect_to(const char *address);

#endif
