/* sources: core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/pod.c core/logdirty.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c hvm/spec.c hvm/run.c */
/*
 * All of core/ and the loop of hvm/run.c on several fake CPUs, whose guests do seeded random operations on shared domains:
 * events, grants, maps, pauses, affinity, pools of all policies, CPUs up and down, timers, log-dirty, domains made and killed. At the end nothing is lost and nothing
 * is left over. The CPUs are either contexts of one thread, switched by the seed wherever a lock is taken or dropped (a
 * failure prints its seed, THREADS_SEED=n runs that one alone), or real threads: test/threads/run.sh runs those alone
 * (an argument is given) under ThreadSanitizer. THREADS_OPS=n: how many operations each CPU does then.
 */
#include "unit/world.h"

#include "core/cpupool.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/msr.h"
#include "hvm/run.h"
#include "hvm/vendor.h"
#include "port/upcall.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#define CPUS	4u
#define PORTS	12u
#define STACK	(256u << 10)
#define RAM_GFN 200u /* frames that come and go: 32 gfns */
#define MAP_GFN 300u /* foreign and granted pages of others: 32 gfns */
#define POD_GFN 400u /* populated on demand: 32 gfns */
#define REFS	16u
#define EXTRA	7u /* the domain that is made and killed */

static uint32_t port[WORLD_DOMAINS][PORTS], peer[WORLD_DOMAINS][PORTS];
static uint32_t timer_port[WORLD_DOMAINS][WORLD_VCPUS];
static bool due[WORLD_DOMAINS][PORTS]; /* sent and not seen by the guest yet; atomic */
static uint64_t deadline[CPUS];
static bool contexts; /* the CPUs are contexts of this thread */
static ucontext_t home, context[CPUS];
static uint64_t order; /* what the contexts are switched by */
static uint64_t seeds[CPUS];
static int todo;	/* operations left, of all CPUs; atomic */
static unsigned ready;	/* CPUs that have seen that none is left; atomic */
static unsigned sleeps; /* times that a CPU idled since the last operation; atomic */
static bool rests[CPUS];
static bool ended[CPUS];
static spinlock_t control = SPINLOCK_INIT(LOCK_DOMCTL);

/* What has to have happened, and not only been tried, for a run to count; atomic. */
enum feat {
	FEAT_POOL,
	FEAT_EDF,
	FEAT_PROMISE,
	FEAT_NULL,
	FEAT_CPU_DOWN,
	FEAT_VCPU_DOWN,
	FEAT_RATELIMIT,
	FEAT_YIELD,
	FEAT_POLL,
	FEAT_FIFO,
	FEAT_FIFO_TAKEN,
	FEAT_PRIORITY,
	FEAT_RESET,
	FEAT_GLOBAL_VIRQ,
	FEAT_VERSION_2,
	FEAT_SWAP,
	FEAT_STATUS_FRAME,
	FEAT_CHANGE_TYPE,
	FEAT_MARK_DIRTY,
	FEAT_POD_TARGET,
	FEAT_LOGDIRTY,
	FEATS
};
static unsigned feats[FEATS];

static void did(enum feat f)
{
	__atomic_fetch_add(&feats[f], 1, __ATOMIC_RELAXED);
}

uint32_t port_cpu_socket(unsigned cpu)
{
	return cpu / 2;
}

/* --- the fake CPUs --- */

static bool inside; /* a context runs */

static void switch_context(void)
{
	unsigned from = host_cpu, to = host_random(&order) % CPUS;

	while (ended[to])
		to = (to + 1) % CPUS;
	if (to == from)
		return;
	host_cpu = to;
	swapcontext(&context[from], &context[to]);
}

void lock_point(void)
{
	if (contexts && inside && (host_random(&order) >> 20) % 4 == 0)
		switch_context();
}

void lock_wait(void)
{
	if (contexts && inside)
		switch_context();
	else
		sched_yield();
}

void port_relax(void)
{
	if (!inside) {
		/* One thread is all CPUs again. */
		unsigned self = host_cpu;

		for (host_cpu = 0; host_cpu < CPUS; host_cpu++)
			if (host_cpu != self && sched_needed())
				sched_pick();
		host_cpu = self;
		return;
	}
	lock_wait();
}

void port_timer_arm(uint64_t t)
{
	deadline[host_cpu] = t;
}

static void look_at_clock(void)
{
	if (__atomic_add_fetch(&host_ns, 500, __ATOMIC_RELAXED) >= deadline[host_cpu])
		upcall_timer();
}

/* This CPU does nothing any more: when all have come that far, it stops. */
static void rest(void)
{
	if (__atomic_load_n(&todo, __ATOMIC_SEQ_CST) > 0)
		return;
	if (!rests[host_cpu])
		__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	rests[host_cpu] = true;
	if (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < CPUS) {
		lock_wait();
		return;
	}
	guestmem_leave();
	if (!contexts)
		pthread_exit(NULL);
	ended[host_cpu] = true;
	for (unsigned i = 0; i < CPUS; i++)
		if (!ended[i])
			switch_context();
	setcontext(&home);
}

void port_idle(void)
{
	unsigned n;

	look_at_clock();
	n = __atomic_fetch_add(&sleeps, 1, __ATOMIC_RELAXED);
	if (n > 1000000)
		abort(); /* all sleep for ever: a wake-up was lost */
	if (!contexts && n % 1000 == 999)
		usleep(10000); /* a busy host may have taken the thread that works off its CPU */
	rest();
	lock_wait();
}

void port_poll(void)
{
}

bool guest_interrupt_pending(struct vcpu *v)
{
	return __atomic_load_n(&v->info->evtchn_upcall_pending, __ATOMIC_SEQ_CST);
}

int guest_domain_init(struct domain *d)
{
	d->hvm = calloc(1, sizeof(*d->hvm));
	return 0;
}

void guest_domain_destroy(struct domain *d)
{
	free(d->hvm);
}

int guest_vcpu_init(struct vcpu *v)
{
	v->hvm = calloc(1, sizeof(*v->hvm));
	return 0;
}

void guest_vcpu_destroy(struct vcpu *v)
{
	free(v->hvm);
}

void guest_tlb_flush(struct domain *d)
{
	__atomic_fetch_add(&d->hvm->tlb_gen, 1, __ATOMIC_SEQ_CST);
}

void guest_switch_in(struct vcpu *v)
{
	run_entered(v);
	guestmem_enter(v->domain);
}

void guest_switch_out(struct vcpu *v)
{
	guestmem_leave();
	run_left();
}

void svm_flush_nested(struct vcpu *v)
{
}

void svm_run(struct vcpu *v, struct exit *e)
{
	look_at_clock();
	e->kind = EXIT_INTERRUPT;
	e->interrupted = 0;
}

void console_work(void)
{
}

void cpuid_init(void)
{
}

int msr_init(void)
{
	return 0;
}

void vlapic_left(void)
{
}

void trace_notify(void)
{
}

/* --- what guests do --- */

static uint64_t *bits(struct domain *d)
{
	return (uint64_t *)d->shared_info->evtchn_pending;
}

/* One of the world's three: its index; another one: WORLD_DOMAINS. */
static unsigned index_of(const struct domain *d)
{
	return d->id < WORLD_DOMAINS ? d->id : WORLD_DOMAINS;
}

/* Ports that belong to nobody for long. */
static uint32_t some_port(const struct domain *d, uint64_t r)
{
	return (index_of(d) < WORLD_DOMAINS ? 32 : 1) + r % 16;
}

static void take_fifo(struct vcpu *v);

static void take_events(struct vcpu *v)
{
	struct domain *d = v->domain;
	unsigned i = index_of(d);

	if (i == WORLD_DOMAINS)
		take_fifo(v);
	__atomic_store_n(&v->info->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->info->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	if (i < WORLD_DOMAINS)
		__atomic_fetch_and(&bits(d)[0], ~(1ull << timer_port[i][v->id]), __ATOMIC_SEQ_CST);
	for (uint32_t k = 0; i < WORLD_DOMAINS && k < PORTS; k++) {
		uint64_t m = 1ull << port[i][k];

		if (k % WORLD_VCPUS != v->id ||
		    (__atomic_load_n(&d->shared_info->evtchn_mask[0], __ATOMIC_SEQ_CST) & m))
			continue;
		if (__atomic_fetch_and(&bits(d)[0], ~m, __ATOMIC_SEQ_CST) & m)
			__atomic_store_n(&due[i][k], false, __ATOMIC_SEQ_CST);
	}
}

static void send(struct domain *d, uint64_t r)
{
	unsigned prev = (index_of(d) + WORLD_DOMAINS - 1) % WORLD_DOMAINS, k = r % PORTS;

	if (index_of(d) == WORLD_DOMAINS) {
		evtchn_send(d, some_port(d, r));
		return;
	}
	__atomic_store_n(&due[prev][k], true, __ATOMIC_SEQ_CST);
	if (evtchn_send(d, peer[prev][k]))
		abort();
}

/* The extra domain has the FIFO ABI: its vCPUs' control blocks and its event words, in its RAM. */
#define CONTROL_GFN 40u
#define ARRAY_GFN   44u

static void *fifo_page(struct domain *d, uint64_t gfn)
{
	return port_direct(p2m_lookup(d, GFN(gfn)).mfn); /* mapped as long as the ABI is in force */
}

static void use_fifo(struct domain *d)
{
	bool all = true;
	uint32_t ipi;

	for (uint32_t i = 0; i < WORLD_VCPUS; i++)
		all = !evtchn_init_control(d->vcpu[i], CONTROL_GFN + i, 0) && all;
	if (all && !evtchn_expand_array(d, ARRAY_GFN))
		did(FEAT_FIFO);
	for (uint32_t i = 0; i < 2 * WORLD_VCPUS; i++)
		evtchn_bind_ipi(d, i % WORLD_VCPUS, &ipi);
}

/* As a guest does it, as far as it goes: others write to these pages, too. */
static void take_fifo(struct vcpu *v)
{
	struct evtchn_fifo_control_block *c;
	event_word_t *words;
	uint32_t ready, port;

	if (!v->domain->evtchn.fifo)
		return;
	c = fifo_page(v->domain, CONTROL_GFN + v->id);
	words = fifo_page(v->domain, ARRAY_GFN);
	ready = __atomic_exchange_n(&c->ready, 0, __ATOMIC_SEQ_CST);
	for (unsigned q = 0; q <= EVTCHN_FIFO_PRIORITY_MIN; q++) {
		port = ready >> q & 1 ? __atomic_load_n(&c->head[q], __ATOMIC_SEQ_CST) : 0;
		for (unsigned n = 0; port && port < PAGE_SIZE / sizeof(*words) && n < 64; n++) {
			uint32_t w = __atomic_fetch_and(
				&words[port],
				~(1u << EVTCHN_FIFO_LINKED | EVTCHN_FIFO_LINK_MASK | 1u << EVTCHN_FIFO_PENDING),
				__ATOMIC_SEQ_CST);

			if (w >> EVTCHN_FIFO_PENDING & 1)
				did(FEAT_FIFO_TAKEN);
			port = w & EVTCHN_FIFO_LINK_MASK;
		}
	}
}

static void churn_ports(struct vcpu *v, struct domain *other, uint64_t r)
{
	struct domain *d = v->domain;
	uint32_t p = some_port(d, r >> 8), q;
	struct evtchn_status_out out;

	switch (r % 12) {
	case 0:
	case 8:
		evtchn_alloc_unbound(d, other->id, &q);
		break;
	case 1:
	case 9:
		evtchn_bind_interdomain(d, other, some_port(other, r >> 8), &q);
		break;
	case 10:
		if (!evtchn_set_priority(d, p, (r >> 16) % 16) && d->evtchn.fifo)
			did(FEAT_PRIORITY);
		break;
	case 2:
		evtchn_bind_ipi(d, v->id, &q);
		break;
	case 3:
	case 4:
		evtchn_close(d, p);
		break;
	case 5:
		evtchn_bind_vcpu(d, p, (r >> 16) % WORLD_VCPUS);
		break;
	case 6:
		evtchn_status(d, p, &out);
		break;
	default:
		evtchn_send(d, p);
	}
}

static void give(struct domain *d, domid_t to, uint64_t r)
{
	struct grant_entry_v1 *e;

	if (__atomic_load_n(&d->grant.version, __ATOMIC_RELAXED) != 1)
		return;
	e = (struct grant_entry_v1 *)d->grant.frames[0] + 8 + r % REFS;
	if (__atomic_load_n(&e->flags, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&e->domid, to, __ATOMIC_RELAXED);
	__atomic_store_n(&e->frame, (uint32_t)((r >> 8) % WORLD_RAM), __ATOMIC_RELAXED);
	__atomic_store_n(&e->flags, GTF_permit_access, __ATOMIC_RELEASE);
}

/* The whole table of a domain changes. */
static void table(struct domain *d, struct domain *other, uint64_t r)
{
	struct gnttab_set_version version = { .version = 1 + (r >> 8) % 2 };
	struct gnttab_swap_grant_ref swap = { .ref_a = 8 + (r >> 8) % REFS, .ref_b = 8 + (r >> 16) % REFS };
	struct gnttab_query_size size = { .dom = other->id };
	mfn_t m;

	switch (r % 4) {
	case 0:
		if (!grant_set_version(d, &version) && version.version == 2)
			did(FEAT_VERSION_2);
		break;
	case 1:
		grant_swap_refs(d, &swap);
		if (swap.status == GNTST_okay)
			did(FEAT_SWAP);
		break;
	case 2:
		grant_query_size(d, &size);
		break;
	default:
		if (!grant_frame(d, 0, true, &m)) {
			did(FEAT_STATUS_FRAME);
			frame_put(m);
		}
	}
}

static void grants(struct domain *d, struct domain *other, uint64_t r)
{
	uint32_t ref = 8 + (r >> 8) % REFS;
	gfn_t to = GFN(MAP_GFN + (r >> 16) % 32);
	struct grant_unmapped u[2];
	unsigned n = 0;

	if ((r >> 48) % 8 == 0) {
		table(d, other, r);
	} else if (r % 4 == 0) {
		give(d, other->id, r >> 8);
	} else if (r % 4 == 1) {
		struct gnttab_map_grant_ref op = {
			.host_addr = to.n << PAGE_SHIFT, .flags = GNTMAP_host_map, .ref = ref, .dom = other->id
		};

		grant_map(d, &op);
	} else if (r % 4 == 2) {
		for (uint32_t h = (r >> 24) % 32; n < 2 && h < 32; h++) {
			struct gnttab_unmap_grant_ref op = { .host_addr = to.n << PAGE_SHIFT, .handle = h };

			n += grant_unmap(d, &op, &u[n]);
		}
		grant_unmap_end(d, u, n);
	} else {
		struct gnttab_copy op = { .source.u.ref = ref,
					  .source.domid = other->id,
					  .dest.u.gmfn = (r >> 16) % WORLD_RAM,
					  .dest.domid = DOMID_SELF,
					  .len = 64,
					  .flags = GNTCOPY_source_gref };
		struct grant_kept kept = { 0 };

		grant_copy(d, &op, &kept);
		grant_copy_end(d, &kept);
	}
}

static void place(struct domain *d, uint64_t gfn, mfn_t m)
{
	if (p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW))
		frame_release_alloc(d, m);
}

static void memory(struct domain *d, struct domain *other, uint64_t r)
{
	uint64_t gfn = RAM_GFN + (r >> 8) % 32, to = MAP_GFN + (r >> 16) % 32;
	bool readonly = r >> 16 & 1;
	mfn_t m;

	switch (r % 10) {
	case 8:
		if (!p2m_change_type(d, GFN(gfn), readonly ? P2M_RAM_RW : P2M_RAM_RO,
				     readonly ? P2M_RAM_RO : P2M_RAM_RW))
			did(FEAT_CHANGE_TYPE);
		break;
	case 9:
		if (!p2m_get_frame(other, GFN(gfn), true, &m)) {
			p2m_mark_dirty(other, GFN(gfn), m);
			frame_put(m);
			did(FEAT_MARK_DIRTY);
		}
		break;
	case 0:
		m = frame_alloc(d, 0, 0);
		if (mfn_valid(m))
			place(d, gfn, m);
		break;
	case 1:
		p2m_release(d, GFN(gfn));
		break;
	case 2:
		if (!p2m_take(d, GFN(gfn), &m)) {
			guest_tlb_sync(d);
			place(d, RAM_GFN + (r >> 24) % 32, m);
		}
		break;
	case 3:
		if (!p2m_get_frame(other, GFN(gfn), true, &m) && p2m_map(d, GFN(to), m, 0, P2M_FOREIGN))
			frame_put(m);
		break;
	case 4:
		if (p2m_lookup(d, GFN(to)).type == P2M_FOREIGN)
			p2m_unmap(d, GFN(to), 0);
		break;
	case 5:
		pod_mark(d, GFN(POD_GFN + (r >> 8) % 32), 0);
		break;
	case 6:
		p2m_fault(d, GFN(POD_GFN + (r >> 8) % 32), r >> 16 & 1, false);
		break;
	default:
		p2m_release(d, GFN(POD_GFN + (r >> 8) % 32));
	}
	if ((r >> 40) % 4 == 0)
		p2m_flush(d);
}

static void copy(struct domain *d, struct domain *other, uint64_t r)
{
	uint64_t x, gpa = ((r % 2 ? RAM_GFN : 0) + (r >> 8) % 32) << PAGE_SHIFT;

	guestmem_read_gpa(d, &x, gpa, sizeof(x));
	guestmem_read_gpa(other, &x, gpa, sizeof(x));
	guestmem_end();
}

static void timers(struct vcpu *v, uint64_t r)
{
	struct vcpu *w = v->domain->vcpu[(r >> 8) % WORLD_VCPUS];
	uint64_t now = __atomic_load_n(&host_ns, __ATOMIC_RELAXED);

	if (r % 2)
		timer_set(&v->singleshot, now + r % 20000);
	else if (w)
		timer_stop(&w->periodic);
	timer_set(&v->periodic, now + 3000 + r % 50000);
}

static void make_or_kill(void)
{
	struct domain *d = domain_get(EXTRA);

	if (!d && domain_find(EXTRA))
		return; /* on its way out of the list */
	if (!d) {
		d = world_domain(EXTRA);
		use_fifo(d);
		sched_domain_unpause(d);
	} else {
		while (domain_kill(d) == -ERESTART)
			;
		domain_put(d);
	}
}

static void turn_logdirty(struct domain *d, uint64_t r)
{
	static bool on[WORLD_DOMAINS + 1]; /* under control */
	uint8_t bits[LOGDIRTY_PIECE / 8];
	uint64_t at = 0;

	if (on[index_of(d)] && r % 2) {
		logdirty_read(d, 0, LOGDIRTY_PIECE, (r >> 8) % 4, bits);
		return;
	}
	while (!logdirty_switch(d, !d->p2m.logdirty, &at))
		;
	on[index_of(d)] = d->p2m.logdirty;
	if (d->p2m.logdirty)
		did(FEAT_LOGDIRTY);
}

/* Pool 1 begins anew, with another policy, the upper half of the CPUs and that domain, if it is let in. */
static void second_pool(struct domain *d, uint64_t r)
{
	static const enum sched_policy policy[] = { SCHED_SHARE, SCHED_EDF, SCHED_NULL };
	uint32_t id = 1;

	for (unsigned i = 0; i < WORLD_DOMAINS; i++)
		cpupool_move_domain(dom[i], 0);
	cpupool_move_domain(d, 0);
	cpupool_destroy(1);
	if (cpupool_create(&id, policy[r % 3]))
		return;
	for (unsigned cpu = CPUS / 2; cpu < CPUS; cpu++) {
		cpupool_remove_cpu(0, cpu);
		cpupool_add_cpu(1, cpu);
	}
	if (!cpupool_move_domain(d, 1))
		did(r % 3 == 1 ? FEAT_EDF : r % 3 == 2 ? FEAT_NULL : FEAT_POOL);
}

static void change_cpus(struct domain *other, uint64_t r)
{
	unsigned cpu = CPUS / 2 + (r >> 16) % (CPUS / 2);

	switch (r % 4) {
	case 0:
		second_pool(other, r >> 16);
		break;
	case 1:
		if (cpupool_remove_cpu(0, cpu))
			cpupool_remove_cpu(1, cpu);
		cpupool_add_cpu((r >> 24) % 4 != 0, cpu);
		break;
	case 2:
		cpupool_move_domain(other, (r >> 24) % 4 != 0);
		break;
	default:
		if (!sched_cpu_down(cpu)) {
			did(FEAT_CPU_DOWN);
			if (sched_cpu_up(cpu))
				abort();
		}
	}
}

/* What a tool stack asks for; control is held. other is not the caller's domain. */
static void tools(struct domain *other, uint64_t r)
{
	struct cpumask hard = { { 1 + (r >> 16) % 15 } };
	struct vcpu *w = other->vcpu[(r >> 8) % WORLD_VCPUS];
	uint64_t time[4], entered;
	int state;

	switch (r % 16) {
	case 0:
		if (!w)
			break;
		sched_vcpu_pause(w);
		sched_vcpu_unpause(w);
		break;
	case 1:
		sched_domain_pause(other);
		sched_domain_unpause(other);
		break;
	case 2:
		if (w)
			sched_set_affinity(w, (r >> 32) % 2 ? &hard : NULL, (r >> 32) % 3 ? &hard : NULL);
		break;
	case 3:
		if ((r >> 32) % 4 == 0)
			make_or_kill();
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		change_cpus(other, r >> 8);
		break;
	case 8:
		if (!sched_set_promise_all(other, 10000, 300 + (r >> 16) % 4000, r >> 32 & 1))
			did(FEAT_PROMISE);
		else if (w)
			sched_set_promise(w, 10000, 300 + (r >> 16) % 4000, r >> 32 & 1);
		break;
	case 9:
		if (!w)
			break;
		sched_down(w);
		sched_runstate(w, time, &entered, &state);
		sched_up(w);
		did(FEAT_VCPU_DOWN);
		break;
	case 10:
		if (!cpupool_set_ratelimit(0, (r >> 16) % 3 * 100))
			did(FEAT_RATELIMIT);
		break;
	case 11:
		if (index_of(other) < WORLD_DOMAINS)
			break;
		sched_domain_pause(other);
		while (evtchn_reset(other) == -ERESTART)
			;
		use_fifo(other);
		sched_domain_unpause(other);
		did(FEAT_RESET);
		break;
	case 12:
		if (!evtchn_set_global_virq_handler(other, VIRQ_DOM_EXC))
			did(FEAT_GLOBAL_VIRQ);
		break;
	case 13:
		while (pod_set_target(other, (r >> 16) % 128) == -ERESTART)
			;
		did(FEAT_POD_TARGET);
		break;
	case 14:
		turn_logdirty(other, r >> 16);
		break;
	default:
		sched_set_weight(other, (uint16_t)(1 + (r >> 16) % 500), (uint16_t)((r >> 32) % 2 ? 0 : 50));
	}
}

/* A guest waits for an event of a port, as SCHEDOP_poll does, until its timer at the latest. */
static void wait_for_port(struct vcpu *v, uint64_t r)
{
	uint32_t p = some_port(v->domain, r);

	evtchn_note_poller(v, p);
	sched_block(v);
	if (evtchn_port_pending(v->domain, p) || !__atomic_load_n(&v->sched.blocked, __ATOMIC_SEQ_CST)) {
		sched_wake(v);
		__atomic_store_n(&v->sched.polling, false, __ATOMIC_SEQ_CST);
		return;
	}
	timer_set(&v->poll, __atomic_load_n(&host_ns, __ATOMIC_RELAXED) + 1 + (r >> 8) % 50000);
	did(FEAT_POLL);
}

static unsigned done[12]; /* how often each operation was done; atomic */

static void operate(struct vcpu *v, struct domain *other, uint64_t r)
{
	struct domain *d = v->domain;

	__atomic_fetch_add(&done[r % 12], 1, __ATOMIC_RELAXED);
	switch (r % 12) {
	case 0:
	case 1:
		send(d, r >> 8);
		break;
	case 2:
		take_events(v);
		if (r >> 40 & 1) {
			wait_for_port(v, r >> 8);
			break;
		}
		timer_set(&v->singleshot, __atomic_load_n(&host_ns, __ATOMIC_RELAXED) + 1 + (r >> 8) % 50000);
		sched_block(v);
		break;
	case 3:
		if (index_of(d) < WORLD_DOMAINS)
			__atomic_fetch_or(&d->shared_info->evtchn_mask[0], 1ul << port[d->id][(r >> 8) % PORTS],
					  __ATOMIC_SEQ_CST);
		break;
	case 4:
		if (index_of(d) < WORLD_DOMAINS)
			evtchn_unmask(d, port[d->id][(r >> 8) % PORTS]);
		break;
	case 5:
		churn_ports(v, other, r >> 8);
		break;
	case 6:
		grants(d, other, r >> 8);
		break;
	case 7:
		memory(d, other, r >> 8);
		break;
	case 8:
		copy(d, other, r >> 8);
		break;
	case 9:
		timers(v, r >> 8);
		if (r >> 50 & 1) {
			sched_yield_cpu(v);
			did(FEAT_YIELD);
		}
		break;
	case 10:
		if (d->id || other == d || !spin_trylock(&control))
			break;
		tools(other, r >> 8);
		spin_unlock(&control);
		break;
	default:
		take_events(v);
	}
}

void exit_handle(struct vcpu *v, const struct exit *e)
{
	uint64_t r = host_random(&seeds[host_cpu]);
	struct domain *other;

	rest();
	if (__atomic_fetch_sub(&todo, 1, __ATOMIC_SEQ_CST) <= 0)
		return;
	__atomic_store_n(&sleeps, 0, __ATOMIC_RELAXED);
	other = domain_get((r >> 4) % 5 ? (domid_t)((r >> 4) % WORLD_DOMAINS) : EXTRA);
	if (!other)
		return;
	operate(v, other, r >> 12);
	guestmem_end();
	domain_put(other);
}

/* --- the test --- */

static int begin(void)
{
	world_begin(NULL);
	host_cpus = CPUS;
	memset(due, 0, sizeof(due));
	memset(ended, 0, sizeof(ended));
	ready = 0;
	for (unsigned i = 0; i < CPUS; i++)
		deadline[i] = ~0ull;
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		dom[i]->p2m.pool_frames = 1024;
		grant_setup_table(dom[i], DOMID_SELF, 1);
		for (uint32_t k = 0; k < PORTS; k++) {
			struct domain *other = dom[(i + 1) % WORLD_DOMAINS];

			assert_int_equal(evtchn_alloc_unbound(dom[i], other->id, &port[i][k]), 0);
			assert_int_equal(evtchn_bind_vcpu(dom[i], port[i][k], k % WORLD_VCPUS), 0);
			assert_int_equal(evtchn_bind_interdomain(other, dom[i], port[i][k], &peer[i][k]), 0);
		}
	}
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		for (uint32_t k = 0; k < WORLD_VCPUS; k++)
			assert_int_equal(evtchn_bind_virq(dom[i], VIRQ_TIMER, k, &timer_port[i][k]), 0);
		memset(dom[i]->shared_info, 0, PAGE_SIZE);
		sched_domain_unpause(dom[i]);
	}
	make_or_kill();
	return 0;
}

static void *cpu_thread(void *arg)
{
	host_cpu = (unsigned)(uintptr_t)arg;
	run_loop();
}

static void cpu_context(void)
{
	run_loop();
}

static void run_contexts(void)
{
	static uint8_t stack[CPUS][STACK] __attribute__((aligned(16)));

	getcontext(&home);
	for (unsigned i = 0; i < CPUS; i++) {
		context[i] = home;
		context[i].uc_mcontext.fpregs = &context[i].__fpregs_mem;
		context[i].uc_stack.ss_sp = stack[i];
		context[i].uc_stack.ss_size = STACK;
		makecontext(&context[i], cpu_context, 0);
	}
	host_cpu = 0;
	swapcontext(&home, &context[0]);
}

static void run_threads(void)
{
	pthread_t thread[CPUS];

	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, cpu_thread, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(thread[i], NULL);
}

/* Nobody sleeps on what is there; all that was sent is seen. */
static void check(void)
{
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		for (uint32_t k = 0; k < WORLD_VCPUS; k++) {
			struct vcpu *v = dom[i]->vcpu[k];

			assert_false(v->sched.blocked && v->info->evtchn_upcall_pending);
			assert_int_equal(v->sched.pause_count, 0);
		}
		assert_int_equal(dom[i]->pause_count, 0);
		for (uint32_t k = 0; k < PORTS; k++)
			evtchn_unmask(dom[i], port[i][k]);
		for (uint32_t k = 0; k < WORLD_VCPUS; k++)
			take_events(dom[i]->vcpu[k]);
		for (uint32_t k = 0; k < PORTS; k++)
			assert_false(due[i][k]);
	}
}

/* All CPUs and domains are in Pool-0 again, and only the world's domains live. */
static void tidy(void)
{
	struct domain *d = domain_find(EXTRA);

	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		sched_domain_pause_nosync(dom[i]);
		cpupool_move_domain(dom[i], 0);
	}
	if (d && !d->is_dying) {
		cpupool_move_domain(d, 0);
		sched_domain_pause_nosync(d);
	}
	for (host_cpu = 0; host_cpu < CPUS; host_cpu++) {
		sched_pick();
		guestmem_leave();
	}
	host_cpu = 0;
	while (d && domain_kill(d) == -ERESTART)
		;
	domain_reap(); /* one that is dead may have been in the pool to its end */
	cpupool_destroy(1);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		cpupool_add_cpu(0, cpu);
}

static void once(uint64_t seed, unsigned ops, bool by_contexts)
{
	begin();
	order = seed * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = 0; i < CPUS; i++) {
		seeds[i] = (seed * CPUS + i + 1) * 0x9e3779b97f4a7c15ull;
		rests[i] = false;
	}
	for (unsigned i = 1; i < WORLD_DOMAINS && seed % 2; i++)
		second_pool(dom[i], seed);
	todo = (int)(ops * CPUS);
	sleeps = 0;
	contexts = by_contexts;
	inside = true;
	if (contexts)
		run_contexts();
	else
		run_threads();
	inside = false;
	host_cpu = 0;
	check();
	tidy();
	world_end(NULL);
	for (unsigned i = 0; i < 12; i++)
		assert_true(done[i]);
	if (getenv("THREADS_SAY"))
		for (unsigned i = 0; i < 12; i++)
			fprintf(stderr, "operation %u: %u times\n", i, done[i]);
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

/* Ops that were refused each time prove nothing. Real threads may miss a rare one. */
static void check_feats(unsigned may_miss)
{
	unsigned missed = 0;

	for (unsigned i = 0; i < FEATS; i++) {
		if (getenv("THREADS_SAY"))
			fprintf(stderr, "feat %u: %u times\n", i, feats[i]);
		if (!feats[i] && ++missed > may_miss)
			fail_msg("feat %u of enum feat never happened", i);
		feats[i] = 0;
	}
}

static unsigned seed_now;

static void say_seed(int signal)
{
	fprintf(stderr, "threads_test: seed %u\n", seed_now);
}

static void test_interleavings(void **state)
{
	unsigned first = number("THREADS_SEED", 1),
		 seeds_to_run = getenv("THREADS_SEED") ? 1 : number("THREADS_SEEDS", 1000);

	for (seed_now = first; seed_now < first + seeds_to_run; seed_now++)
		once(seed_now, 100, true);
	if (seeds_to_run > 100)
		check_feats(0);
}

static void test_threads(void **state)
{
	seed_now = number("THREADS_SEED", 1);
	once(seed_now, number("THREADS_OPS", 20000), false);
	if (number("THREADS_OPS", 20000) >= 20000)
		check_feats(2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_interleavings), cmocka_unit_test(test_threads) };

	signal(SIGABRT, say_seed);
	if (argc > 1)
		cmocka_set_test_filter("test_threads"); /* ThreadSanitizer does not know contexts */
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
