/*
 * core/perfc.c: event counters (core/perfc.def), summed up for xenperf and the debug keys p and P. A CPU counts in
 * cache lines of its own. Values wrap at 32 bits as the ABI's do; one may be lost while they are reset.
 */
#ifndef CORE_PERFC_H
#define CORE_PERFC_H

#include "port/machine.h"

/* PERFC_<id> is the index of the counter's first value. */
enum perfc {
#define PERFC(id, values, name) PERFC_##id, PERFC_##id##_last = PERFC_##id + (values)-1,
#include "core/perfc.def"
	PERFC_VALUES,
};

/* Aligned so that finding a CPU's takes one shift. */
struct perfc_cpu {
	uint32_t value[PERFC_VALUES];
} __attribute__((aligned(512)));

extern struct perfc_cpu perfc_cpu[NR_CPUS];

/* cpu: this CPU. which: PERFC_<id>, plus an index below its values. */
static inline void perfc_inc(unsigned cpu, size_t which)
{
	perfc_cpu[cpu].value[which]++;
}

/* Numbers beyond what the ABI has are not counted. */
static inline void perfc_hypercall(unsigned cpu, uint32_t nr)
{
	if (likely(nr <= PERFC_hypercalls_last - PERFC_hypercalls))
		perfc_inc(cpu, PERFC_hypercalls + (size_t)nr);
}

unsigned perfc_counters(void);
/* Name of counter i < perfc_counters(), *values: how many it has, *first: its first index. */
const char *perfc_name(unsigned i, unsigned *first, unsigned *values);
uint32_t perfc_sum(unsigned which); /* over all CPUs */
void perfc_reset(void);
void perfc_dump(void); /* debug key p: those that are not 0 */

#endif
