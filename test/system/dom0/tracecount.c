/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what xentrace wrote (records of xen/trace.h, for each window of a CPU behind a TRC_TRACE_CPU_CHANGE record) and
 * prints a line "NAME COUNT" for each kind of record that the tests ask about, and "cpu N COUNT" for each CPU. Ends with an
 * error when the file does not consist of whole records, or a CPU's time goes back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xen/xen.h>
#include <xen/trace.h>

#define MAX_CPUS 256

static uint32_t in[9];
static uint64_t last[MAX_CPUS], of_cpu[MAX_CPUS];

static struct {
	const char *name;
	uint32_t event, ignore;
	uint64_t count;
} kinds[] = {
	{"lost", TRC_LOST_RECORDS, 0, 0},
	{"wrap", TRC_TRACE_WRAP_BUFFER, 0, 0},
	{"runstate", TRC_SCHED_RUNSTATE_CHANGE, 0x330, 0},
	{"switch", TRC_SCHED_SWITCH, 0, 0},
	{"infprev", TRC_SCHED_SWITCH_INFPREV, 0, 0},
	{"infnext", TRC_SCHED_SWITCH_INFNEXT, 0, 0},
	{"wake", TRC_SCHED_WAKE, 0, 0},
	{"block", TRC_SCHED_BLOCK, 0, 0},
	{"entry", TRC_HVM_VMENTRY, 0, 0},
	{"exit", TRC_HVM_VMEXIT, TRC_64_FLAG, 0},
	{"hypercall", TRC_HVM_VMMCALL, 0, 0},
	{"send", TRC_HW_IRQ + 0x101, 0, 0}, /* Gossamer's own: core/trace.h */
	{"sched", TRC_SCHED & ~0xf000u, 0xffff, 0},
	{"hvm", TRC_HVM & ~0xf000u, 0xffff, 0},
};

static void stop(const char *why, long at)
{
	fprintf(stderr, "tracecount: %s before byte %ld\n", why, at);
	exit(1);
}

/* One record into in[]: its bytes, 0 at the end of the file. */
static unsigned int get(FILE *f)
{
	unsigned int words;

	if (fread(in, 4, 1, f) != 1)
		return 0;
	words = TRC_HD_EXTRA(in[0]) + (TRC_HD_INCLUDES_CYCLE_COUNT(in[0]) ? 2 : 0);
	if (fread(in + 1, 4, words, f) != words)
		stop("half a record", ftell(f));
	return 4 + 4 * words;
}

static void count(uint32_t cpu, long at)
{
	uint32_t event = TRC_HD_TO_EVENT(in[0]);

	of_cpu[cpu]++;
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		kinds[i].count += (event & ~kinds[i].ignore) == kinds[i].event;
	if (TRC_HD_INCLUDES_CYCLE_COUNT(in[0]) && event != TRC_TRACE_WRAP_BUFFER) {
		uint64_t tsc = in[1] | (uint64_t)in[2] << 32;

		if (tsc < last[cpu])
			stop("time that goes back", at);
		last[cpu] = tsc;
	}
}

int main(int argc, char **argv)
{
	FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
	unsigned int bytes;

	if (f == NULL)
		stop("no file", 0);
	while ((bytes = get(f)) != 0) {
		uint32_t cpu = in[1], left = in[2];

		if (TRC_HD_TO_EVENT(in[0]) != TRC_TRACE_CPU_CHANGE || cpu >= MAX_CPUS)
			stop("no start of a window", ftell(f));
		while (left != 0) {
			bytes = get(f);
			if (bytes == 0 || bytes > left)
				stop("a record over the end of its window", ftell(f));
			left -= bytes;
			count(cpu, ftell(f));
		}
	}
	for (unsigned int i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		printf("%s %" PRIu64 "\n", kinds[i].name, kinds[i].count);
	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (of_cpu[cpu] != 0)
			printf("cpu %u %" PRIu64 "\n", cpu, of_cpu[cpu]);
	return 0;
}
