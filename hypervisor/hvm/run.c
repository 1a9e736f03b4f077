/*
 * hvm/run.c: the loop every CPU runs: pick a vCPU, enter it, handle its exit. Owns what each CPU says about itself: whose
 * memory it may be looking at, and which vCPU's registers it still holds. Locks: none.
 *
 * Stale translations: guest_tlb_flush() counts the domain's tlb_gen up; a CPU flushes what a vCPU may hold before it enters
 * it, and says so in places[].seen. guest_tlb_sync() waits until every CPU that runs the domain has said so, or has left it.
 * Windows of core/guestmem.c are looked up anew by each operation, so between two entries no old one is in use either. A CPU
 * that waits counts as having flushed (quiet): two that wait for each other both go on.
 */
#include "hvm/run.h"

#include "core/console.h"
#include "core/guestmem.h"
#include "core/log.h"
#include "core/perfc.h"
#include "core/time.h"
#include "core/trace.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/msr.h"
#include "hvm/spec.h"
#include "hvm/vendor.h"
#include "lib/lock.h"
#include "port/guest.h"
#include "port/machine.h"
#include "port/upcall.h"

static struct place {
	const struct domain *domain; /* whose vCPU this CPU runs, NULL = nobody's; read by others, never followed */
	uint32_t seen;		     /* tlb_gen of that domain up to which this CPU has flushed */
	bool quiet;		     /* waits in guest_tlb_sync() */
	const struct vcpu *loaded;   /* whose state the FPU and debug registers hold, if it agrees; this CPU only */
} __attribute__((aligned(64))) places[NR_CPUS];

int run_init(const char *virt_off, const char *spec_ctrl)
{
	int rc = vendor_init(virt_off);

	if (rc)
		return rc;
	spec_init(spec_ctrl);
	spec_cpu_init();
	cpuid_init();
	rc = msr_init();
	return rc ? rc : vendor_cpu_init(port_cpu());
}

/* --- who runs where --- */

void run_left(void)
{
	__atomic_store_n(&places[port_cpu()].domain, NULL, __ATOMIC_RELEASE);
}

bool run_entered(struct vcpu *v)
{
	unsigned cpu = port_cpu();
	struct place *p = &places[cpu];
	bool holds = p->loaded == v && v->hvm->loaded_on == cpu + 1;

	/* The exchange is the fence that guest_tlb_sync() relies on: it sees us here, or prepare() sees its tlb_gen. */
	__atomic_store_n(&p->seen, v->hvm->tlb_gen, __ATOMIC_RELEASE);
	(void)__atomic_exchange_n(&p->domain, v->domain, __ATOMIC_SEQ_CST);
	p->loaded = v;
	v->hvm->loaded_on = cpu + 1;
	return holds;
}

/* May that CPU still use translations of d from before generation gen? */
static bool lags(unsigned cpu, const struct domain *d, uint32_t gen)
{
	const struct place *p = &places[cpu];

	return __atomic_load_n(&p->domain, __ATOMIC_SEQ_CST) == d &&
	       (int32_t)(gen - __atomic_load_n(&p->seen, __ATOMIC_ACQUIRE)) > 0 &&
	       !__atomic_load_n(&p->quiet, __ATOMIC_ACQUIRE);
}

bool guest_tlb_settled(struct domain *d)
{
	unsigned self = port_cpu();
	uint32_t gen = __atomic_load_n(&d->hvm->tlb_gen, __ATOMIC_SEQ_CST);

	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		if (cpu != self && lags(cpu, d, gen))
			return false;
	return true;
}

void guest_waits(bool on)
{
	__atomic_store_n(&places[port_cpu()].quiet, on, __ATOMIC_SEQ_CST);
}

void guest_tlb_sync(struct domain *d)
{
	unsigned self = port_cpu();
	uint32_t gen = __atomic_load_n(&d->hvm->tlb_gen, __ATOMIC_SEQ_CST);

	guest_waits(true);
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
		if (cpu == self || !lags(cpu, d, gen))
			continue;
		for (unsigned n = 0; lags(cpu, d, gen); n++) {
			if (n % PORT_KICK_AGAIN == 0)
				port_kick(cpu);
			lock_wait();
		}
	}
	guest_waits(false);
}

/* --- the loop --- */

/* The flush comes last: writing the runstate area may take pages away (populate on demand). */
static void prepare(struct vcpu *v)
{
	struct domain *d = v->domain;
	uint32_t gen;

	if (v->runstate_stamp != v->sched.state_entered) {
		v->runstate_stamp = v->sched.state_entered;
		time_update_runstate(v);
	}
	gen = __atomic_load_n(&d->hvm->tlb_gen, __ATOMIC_ACQUIRE);
	if (v->hvm->tlb_gen != gen) {
		v->hvm->tlb_gen = gen;
		vendor_flush_nested(v);
		__atomic_store_n(&places[port_cpu()].seen, gen, __ATOMIC_RELEASE);
	}
	p2m_flush_some(d);
}

/* What interrupts asked for, with no lock held and no guest entered. */
static void deferred_work(void)
{
	if (timer_due())
		timer_expire();
	console_work();
}

/* One counter for each kind of exit, in the same order. */
#define PERFC_EXIT(kind, name) _Static_assert(PERFC_exit_##kind - PERFC_exit_NONE == EXIT_##kind, name);
#include "core/perfc.def"
_Static_assert(PERFC_hypercalls - PERFC_exit_NONE == EXIT_UNKNOWN + 1, "one for each");

static void run_traced(struct vcpu *v, struct exit *e)
{
	TRACE(TRC_HVM_VMENTRY);
	vendor_run(v, e);
	TRACE(TRC_HVM_VMEXIT64, (uint32_t)e->reason, (uint32_t)v->regs.rip, (uint32_t)(v->regs.rip >> 32));
	trace_notify();
}

/* exits: this CPU's counters of them. */
static void run_once(struct vcpu *v, uint32_t *exits)
{
	struct exit e;

	prepare(v);
	guestmem_end(); /* what the last exit looked at; page tables may change from here on */
	if (unlikely(trace_events))
		run_traced(v, &e);
	else
		vendor_run(v, &e);
	exits[e.kind]++;
	/* After an exception too: one that comes back at every entry would keep interrupts out. */
	if (e.kind == EXIT_INTERRUPT || e.kind == EXIT_EXCEPTION) {
		port_poll();
		deferred_work();
	}
	if (e.interrupted >> 31 & 1)
		hvm_redeliver(v, e.interrupted);
	exit_handle(v, &e);
	if (unlikely(spec_l1d_flush) && e.kind == EXIT_HYPERCALL)
		spec_flush_l1d();
}

_Noreturn void run_loop(void)
{
	uint32_t *exits = &perfc_cpu[port_cpu()].value[PERFC_exit_NONE];
	struct vcpu *v = NULL;

	for (;;) {
		if (unlikely(timer_due()))
			timer_expire();
		domain_reap();
		if (!v || unlikely(sched_needed())) {
			struct vcpu *last = v;

			v = sched_pick();
			vlapic_left();
			if (!v) {
				console_work();	     /* what a poll within a hypercall took in */
				if (!sched_needed()) /* vlapic_left() or that may have asked this very CPU, without a kick */
					port_idle();
				deferred_work();
				continue;
			}
			if (v != last)
				guest_switch_in(v);
		}
		run_once(v, exits);
	}
}

_Noreturn void upcall_cpu_main(void)
{
	unsigned cpu = port_cpu();

	spec_cpu_init();
	if (vendor_cpu_init(cpu)) {
		log_err("CPU %u cannot run guests: it is offline for good", cpu);
		if (sched_cpu_fail(cpu))
			panic("a vCPU is bound to CPU %u", cpu);
	}
	run_loop();
}
