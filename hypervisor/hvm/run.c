/*
 * hvm/run.c: the loop every CPU runs: pick a vCPU, enter it, handle its exit. Owns which vCPU's FPU state each CPU holds
 * (lazily: it stays loaded over idling until another vCPU comes). Locks: none.
 */
#include "hvm/run.h"

#include "core/console.h"
#include "core/guestmem.h"
#include "core/log.h"
#include "core/time.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/msr.h"
#include "hvm/vendor.h"
#include "port/guest.h"
#include "port/machine.h"
#include "port/upcall.h"

static struct vcpu *loaded[NR_CPUS];

int run_init(void)
{
	int rc = svm_init();

	if (rc)
		return rc;
	cpuid_init();
	rc = msr_init();
	return rc ? rc : svm_cpu_init(port_cpu());
}

void run_forget(struct vcpu *v)
{
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		if (loaded[cpu] == v) {
			loaded[cpu] = NULL;
			guestmem_leave();
		}
}

static void load(struct vcpu *v)
{
	struct vcpu **on = &loaded[port_cpu()];

	if (*on == v)
		return;
	if (*on)
		guest_switch_out(*on);
	*on = v;
	guest_switch_in(v);
}

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
		svm_flush_tlb(v);
		p2m_flush(d);
	}
}

/* What interrupts asked for, with no lock held and no guest entered. */
static void deferred_work(void)
{
	if (timer_due())
		timer_expire();
	console_work();
}

static void run_once(struct vcpu *v)
{
	struct exit e;

	prepare(v);
	guestmem_end(); /* what the last exit looked at; page tables may change from here on */
	svm_run(v, &e);
	/* After an exception too: one that comes back at every entry would keep interrupts out. */
	if (e.kind == EXIT_INTERRUPT || e.kind == EXIT_EXCEPTION) {
		port_poll();
		deferred_work();
	}
	if (e.interrupted >> 31 & 1)
		svm_redeliver(v, e.interrupted);
	exit_handle(v, &e);
}

_Noreturn void run_loop(void)
{
	struct vcpu *v = NULL;

	for (;;) {
		if (unlikely(timer_due()))
			timer_expire();
		domain_reap();
		if (!v || unlikely(sched_needed())) {
			v = sched_pick();
			if (!v) {
				port_idle();
				deferred_work();
				continue;
			}
			load(v);
		}
		run_once(v);
	}
}

_Noreturn void upcall_cpu_main(void)
{
	unsigned cpu = port_cpu();

	timer_cpu_init(cpu);
	if (svm_cpu_init(cpu))
		log_err("CPU %u cannot run guests; it idles", cpu);
	run_loop();
}
