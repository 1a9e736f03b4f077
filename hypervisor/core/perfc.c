/*
 * core/perfc.c: see perfc.h. Owns the counters' names and values. Locks: none: each CPU writes its own values, a reader
 * sees each value as it was at some moment.
 */
#include "core/perfc.h"

#include "core/log.h"

struct perfc_cpu perfc_cpu[NR_CPUS];

static const struct {
	const char *name;
	uint16_t first, values;
} counters[] = {
#define PERFC(id, values, name) { name, PERFC_##id, values },
#include "core/perfc.def"
};

unsigned perfc_counters(void)
{
	return ARRAY_SIZE(counters);
}

const char *perfc_name(unsigned i, unsigned *first, unsigned *values)
{
	*first = counters[i].first;
	*values = counters[i].values;
	return counters[i].name;
}

uint32_t perfc_sum(unsigned which)
{
	uint32_t sum = 0;

	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		sum += __atomic_load_n(&perfc_cpu[cpu].value[which], __ATOMIC_RELAXED);
	return sum;
}

void perfc_reset(void)
{
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		for (unsigned i = 0; i < PERFC_VALUES; i++)
			__atomic_store_n(&perfc_cpu[cpu].value[i], 0, __ATOMIC_RELAXED);
}

void perfc_dump(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		for (unsigned k = 0; k < counters[i].values; k++) {
			uint32_t n = perfc_sum(counters[i].first + k);

			if (n && counters[i].values == 1)
				log_info("%s: %u", counters[i].name, n);
			else if (n)
				log_info("%s[%u]: %u", counters[i].name, k, n);
		}
}
