/*
 * What a schedule decision costs as the number of vCPUs grows: the scheduler as the hypervisor has it, on a machine that is
 * nothing but a clock, its instructions counted one by one (trap flag). Run by test/bench/sched_cost.sh.
 */
#include "core/log.h"
#include "core/perfc.h"
#include "core/sched_private.h"
#include "port/guest.h"
#include "port/upcall.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST	512u
#define SAMPLES 400u
#define SLICE	10000000ull

static volatile uint64_t instructions;
static uint64_t now;
static struct domain domain[MOST];
static struct vcpu vcpu[MOST], *of[MOST][1];
uint32_t trace_events;
struct perfc_cpu perfc_cpu[NR_CPUS];

static void step(int signal)
{
	(void)signal;
	instructions++;
}

#define COUNT(call)                                                                                                    \
	({                                                                                                             \
		instructions = 0;                                                                                      \
		__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "memory", "cc");                             \
		call;                                                                                                  \
		__asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc");                           \
		instructions;                                                                                          \
	})

/* --- the machine --- */

unsigned port_cpu(void)
{
	return 0;
}

unsigned port_cpu_count(void)
{
	return 2; /* in one queue; the other one never decides */
}

uint32_t port_cpu_socket(unsigned cpu)
{
	return 0;
}

uint64_t port_now(void)
{
	return now;
}

void port_notify(unsigned cpu)
{
}

void port_kick(unsigned cpu)
{
}

void port_relax(void)
{
}

void port_timer_arm(uint64_t deadline)
{
}

void guest_waits(bool on)
{
}

void guest_switch_out(struct vcpu *v)
{
}

void guest_switch_in(struct vcpu *v)
{
}

bool guest_interrupt_pending(struct vcpu *v)
{
	return false;
}

void guest_timer(struct vcpu *v, unsigned kind)
{
}

void evtchn_vcpu_virq(struct vcpu *v, uint32_t virq)
{
}

void domain_shutdown(struct domain *d, uint8_t code)
{
}

void trace_switch(const struct vcpu *prev, const struct vcpu *next, uint64_t ran, uint64_t waited)
{
}

void trace_runstate(const struct vcpu *v, unsigned to)
{
}

void trace_vcpu(uint32_t event, const struct vcpu *v)
{
}

void log_printf(enum log_level level, const char *fmt, ...)
{
}

void log_guest(enum log_level level, unsigned domid, const char *fmt, ...)
{
}

void panic(const char *fmt, ...)
{
	abort();
}

void *heap_alloc(size_t size)
{
	return calloc(1, size);
}

void heap_free(void *p, size_t size)
{
	free(p);
}

void *heap_alloc_pages(unsigned order)
{
	return calloc(1, PAGE_SIZE << order);
}

void heap_free_pages(void *p, unsigned order)
{
	free(p);
}

/* --- what is measured --- */

static void add(unsigned i)
{
	domain[i].id = (domid_t)i;
	domain[i].max_vcpus = 1;
	domain[i].vcpu = of[i];
	domain[i].sched_weight = SCHED_WEIGHT_DEFAULT;
	vcpu[i].domain = &domain[i];
	of[i][0] = &vcpu[i];
	if (sched_domain_init(&domain[i], 0) || sched_vcpu_init(&vcpu[i]))
		abort();
	sched_up(&vcpu[i]);
}

struct cost {
	uint64_t switches, goes_on, wakes;
};

static struct cost measure(unsigned n)
{
	uint64_t switches = 0, goes_on = 0, wakes = 0;

	for (unsigned i = 0; i < 2 * n; i++) { /* all had a turn */
		now += SLICE;
		sched_slice_end();
		sched_pick();
	}
	for (unsigned i = 0; i < SAMPLES; i++) {
		struct vcpu *v;

		now += SLICE;
		sched_slice_end();
		switches += COUNT(sched_pick());
		now += 1000;
		sched_slice_end();
		goes_on += COUNT(sched_pick());
		/* One sleeps a little and wakes up; it is not preempted, it waits its turn. */
		v = sched_current();
		sched_block(v);
		sched_pick();
		now += 1000;
		wakes += COUNT(sched_wake(v));
	}
	switches /= SAMPLES;
	goes_on /= SAMPLES;
	wakes /= SAMPLES;
	printf("| %u | %lu | %lu | %lu |\n", n, switches, goes_on, wakes);
	return (struct cost){ switches, goes_on, wakes };
}

/* As many again may only run on the other CPU, which does not come to it: they are passed over. */
static void pin_half(unsigned n)
{
	struct cpumask other = CPUMASK_NONE;

	cpumask_set(&other, 1);
	for (unsigned i = 0; i < n; i += 2)
		if (sched_set_affinity(&vcpu[i], &other, NULL))
			abort();
}

static bool logarithmic(uint64_t few, uint64_t many)
{
	return many <= few + few / 2;
}

int main(void)
{
	struct cost c, few = { 0 };
	unsigned n = 0;
	bool bad;

	signal(SIGTRAP, step);
	timer_cpu_init(0);
	sched_init(SCHED_SHARE);
	printf("| vCPUs | switch | goes on | wake-up |\n|---:|---:|---:|---:|\n");
	for (unsigned more = 8; more <= MOST; more *= 2) {
		while (n < more)
			add(n++);
		c = measure(n);
		if (more == 8)
			few = c;
	}
	bad = !logarithmic(few.switches, c.switches) || !logarithmic(few.goes_on, c.goes_on) ||
	      !logarithmic(few.wakes, c.wakes);
	printf("\nThe last again, half of them pinned to a CPU that does not come:\n\n");
	pin_half(n);
	measure(n);
	if (bad)
		printf("\nFAIL sched_cost: with %u vCPUs a decision costs over half as much again as with 8\n", MOST);
	return bad;
}
