// SPDX-License-Identifier: Apache-2.0
/*
 * Micro benchmark: one PVH kernel, run as dom0's, that measures single operations of the hypervisor under it.
 *
 * QEMU runs it with -icount shift=0,sleep=off: the TSC then counts executed instructions, guest's and hypervisor's.
 * Each row is the minimum over 32 batches, per operation, the loop around it included. It prints lines `ROW key value`.
 * With the word "two" on its command line it measures what two vCPUs on two CPUs do to each other, and nothing else.
 * Owns: everything in this domain. Locks: none; two vCPUs share volatile flags.
 */
#include "lib/guest.h"
#include "../bench/mark.h"

const char guest_name[] = "micro";

#define BATCHES	       32
#define CALLBACK       0xf4
#define IPI	       0x41
#define GRANTS	       16
#define EXTENTS	       32
#define UNHANDLED_PORT 0x20 /* the PIC: a PVH domain has none, and dom0 may not reach the machine's */

struct interrupt_frame;
#ifdef __clang__ /* what the handlers call is built without vector registers */
#pragma clang diagnostic ignored "-Winterrupt-service-routine"
#endif
#define INTERRUPT static __attribute__((interrupt)) void

static uint64_t overhead; /* two readings of the TSC */

static void row(const char *key, uint64_t value)
{
	print("ROW %s %lu\n", key, value);
}

/* Runs stmt n times a batch; per is what one stmt counts for. */
#define MEASURE(key, n, per, stmt)                                                                                     \
	do {                                                                                                           \
		uint64_t best_ = ~0UL;                                                                                 \
                                                                                                                       \
		for (unsigned int b_ = 0; b_ < BATCHES; b_++) {                                                        \
			uint64_t t_;                                                                                   \
                                                                                                                       \
			mark_begin(mark_name(key));                                                                    \
			t_ = cpu_tsc();                                                                                \
			for (unsigned int i_ = 0; i_ < (n); i_++)                                                      \
				stmt;                                                                                  \
			t_ = cpu_tsc() - t_ - overhead;                                                                \
			mark_end(mark_name(key), t_);                                                                  \
			best_ = t_ < best_ ? t_ : best_;                                                               \
		}                                                                                                      \
		row(key, best_ / ((n) * (per)));                                                                       \
	} while (0)

static void measure_overhead(void)
{
	overhead = ~0UL;
	for (unsigned int b = 0; b < BATCHES; b++) {
		uint64_t t = cpu_tsc();

		t = cpu_tsc() - t;
		overhead = t < overhead ? t : overhead;
	}
	row("rdtsc", overhead);
}

/* In a page of its own: an instruction near the end of a page takes the hypervisor one more walk to read. */
__attribute__((noinline, aligned(PAGE_SIZE))) static void exits(void)
{
	uint32_t r[4];
	uint64_t efer = cpu_rdmsr(0xc0000080);

	MEASURE("out", 64, 1, cpu_outb(UNHANDLED_PORT, 0));
	MEASURE("cpuid0", 64, 1, cpu_cpuid(0, 0, r));
	MEASURE("cpuidhv", 64, 1, cpu_cpuid(0x40000001, 0, r));
	MEASURE("rdmsr", 64, 1, cpu_rdmsr(APIC_BASE_MSR));
	MEASURE("wrmsr", 64, 1, cpu_wrmsr(0xc0000080, efer));
}

static void calls(void)
{
	static xen_domain_handle_t handle;
	static struct vcpu_runstate_info state;
	struct vcpu_set_singleshot_timer timer = {.timeout_abs_ns = event_now() + 1000000000000UL};

	MEASURE("null", 64, 1, hc_version(XENVER_version, 0));
	MEASURE("copyout", 64, 1, hc_version(XENVER_guest_handle, handle));
	MEASURE("yield", 64, 1, hc_sched(SCHEDOP_yield, 0));
	MEASURE("runstate", 64, 1, hc_vcpu(VCPUOP_get_runstate_info, 0, &state));
	MEASURE("settimer", 64, 1, hc_vcpu(VCPUOP_set_singleshot_timer, 0, &timer));
	hc_vcpu(VCPUOP_stop_singleshot_timer, 0, 0);
}

/* ---- events: the callback needs no EOI ---- */

static volatile bool arrived[2];
static volatile uint64_t arrived_tsc;

static inline void take(unsigned int vcpu)
{
	struct vcpu_info *v = &event_shared->vcpu_info[vcpu];

	v->evtchn_upcall_pending = 0;
	v->evtchn_pending_sel = 0;
	arrived[vcpu] = true;
}

INTERRUPT on_event(struct interrupt_frame *f)
{
	(void)f;
	take(0);
	event_shared->evtchn_pending[0] = 0;
}

INTERRUPT on_timer(struct interrupt_frame *f)
{
	(void)f;
	arrived_tsc = cpu_tsc();
	take(0);
	event_shared->evtchn_pending[0] = 0;
}

static void callback_init(void)
{
	struct xen_hvm_param p = {
		.domid = DOMID_SELF,
		.index = HVM_PARAM_CALLBACK_IRQ,
		.value = (uint64_t)HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | CALLBACK,
	};

	event_map_shared();
	memset(event_shared->evtchn_mask, 0xff, sizeof(event_shared->evtchn_mask));
	trap_gate(CALLBACK, on_event);
	CHECK_EQ("callback vector", hc_hvm(HVMOP_set_param, &p), 0);
}

static void events(void)
{
	evtchn_port_t port;

	CHECK_EQ("bind_ipi", event_bind_ipi(0, &port), 0);
	event_clear(port);
	MEASURE("sendmasked", 64, 1, (event_send(port), event_shared->evtchn_pending[0] = 0));
	event_set_mask(port, false);
	cpu_irq_on();
	MEASURE("sendself", 64, 1, event_send(port));
	cpu_irq_off();
	CHECK("events arrived", arrived[0]);
	event_close(port);
}

/* Lateness: from the deadline to the handler's first instructions, in ns. */
static void lateness(const char *key, evtchn_port_t port, bool halted)
{
	uint64_t best = ~0UL;

	(void)port;
	for (unsigned int b = 0; b < BATCHES; b++) {
		struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = event_now() + 300000};
		uint64_t late;

		arrived[0] = false;
		mark_begin(mark_name(key));
		hc_vcpu(VCPUOP_set_singleshot_timer, 0, &t);
		if (halted) {
			while (!arrived[0])
				cpu_halt();
		} else {
			cpu_irq_on();
			while (!arrived[0])
				;
			cpu_irq_off();
		}
		mark_end(mark_name(key), 0);
		late = event_time_of(arrived_tsc) - t.timeout_abs_ns - overhead;
		best = late < best ? late : best;
	}
	row(key, best);
}

static void timers(void)
{
	evtchn_port_t port;

	CHECK_EQ("bind timer", event_bind_virq(VIRQ_TIMER, 0, &port), 0);
	event_set_mask(port, false);
	trap_gate(CALLBACK, on_timer);
	lateness("latespin", port, false);
	lateness("latehalt", port, true);
	trap_gate(CALLBACK, on_event);
	event_close(port);
}

/* ---- memory ---- */

static uint64_t timed_calls(const char *key, unsigned int op, struct xen_memory_reservation *r, xen_pfn_t *list)
{
	unsigned int per_call = r->nr_extents;
	uint64_t t;

	mark_begin(mark_name(key));
	t = cpu_tsc();
	for (unsigned int i = 0; i < EXTENTS; i += per_call) {
		set_xen_guest_handle(r->extent_start, list + i);
		if (hc_memory(op, r) != per_call)
			CHECK("reservation calls do their work", false);
	}
	t = cpu_tsc() - t - overhead;
	mark_end(mark_name(key), t);
	return t;
}

static void reservation(const char *down, const char *up, char *pages, unsigned int per_call)
{
	static xen_pfn_t list[EXTENTS];
	struct xen_memory_reservation r = {.nr_extents = per_call, .domid = DOMID_SELF};
	uint64_t best_down = ~0UL, best_up = ~0UL, t;

	for (unsigned int b = 0; b < BATCHES; b++) {
		for (unsigned int i = 0; i < EXTENTS; i++)
			list[i] = (unsigned long)pages / PAGE_SIZE + i;
		t = timed_calls(down, XENMEM_decrease_reservation, &r, list);
		best_down = t < best_down ? t : best_down;
		t = timed_calls(up, XENMEM_populate_physmap, &r, list);
		best_up = t < best_up ? t : best_up;
	}
	row(down, best_down / EXTENTS);
	row(up, best_up / EXTENTS);
}

/* A hole beside the pages keeps their 2 MiB from being merged and split again each time. */
static void memory(void)
{
	char *pages = guest_pages(EXTENTS);

	peer_hole(1);
	reservation("decrease", "populate", pages, 1);
	reservation("decrease32", "populate32", pages, EXTENTS);
}

/* ---- grants ---- */

static struct grant_entry_v1 *own_grants;

static void grants_init(void)
{
	struct xen_add_to_physmap x = {.domid = DOMID_SELF, .space = XENMAPSPACE_grant_table};

	own_grants = peer_hole(1);
	x.gpfn = (unsigned long)own_grants / PAGE_SIZE;
	CHECK_EQ("map the grant table", hc_memory(XENMEM_add_to_physmap, &x), 0);
}

static void grants_fill(struct grant_entry_v1 *table, unsigned long gfn)
{
	for (unsigned int i = 0; i < GRANTS; i++)
		table[16 + i] = (struct grant_entry_v1){
			.flags = GTF_permit_access,
			.domid = 0,
			.frame = (uint32_t)(gfn + i),
		};
}

static void copies(const char *key, domid_t dom, unsigned int n, char *to)
{
	static struct gnttab_copy c[GRANTS];

	for (unsigned int i = 0; i < n; i++) {
		c[i].source.u.ref = 16 + i;
		c[i].source.domid = dom;
		c[i].dest.u.gmfn = (unsigned long)to / PAGE_SIZE + i;
		c[i].dest.domid = DOMID_SELF;
		c[i].len = PAGE_SIZE;
		c[i].flags = GNTCOPY_source_gref;
	}
	MEASURE(key, 8, n, hc_grant(GNTTABOP_copy, c, n));
	for (unsigned int i = 0; i < n; i++)
		CHECK_EQ("grant copy", c[i].status, GNTST_okay);
}

/*
 * Xen takes an own page out of its place when its grant is mapped, and leaves the place empty at the unmap: fill it
 * again, unmeasured. An empty place reads as ones.
 */
static void refill(char *page)
{
	xen_pfn_t gfn = (unsigned long)page / PAGE_SIZE;
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
	volatile uint64_t *word = (uint64_t *)page;

	*word = 0;
	if (*word == 0)
		return;
	set_xen_guest_handle(r.extent_start, &gfn);
	CHECK_EQ("refill an own page", hc_memory(XENMEM_populate_physmap, &r), 1);
}

/* Each of the grants is mapped and unmapped once a batch; own is where their pages are, when they are ours. */
static void maps(const char *key, domid_t dom, char *at, char *own)
{
	struct gnttab_map_grant_ref m = {.host_addr = (unsigned long)at, .flags = GNTMAP_host_map, .dom = dom};
	struct gnttab_unmap_grant_ref u = {.host_addr = (unsigned long)at};
	uint64_t best = ~0UL;
	unsigned int bad = 0;

	for (unsigned int b = 0; b < BATCHES; b++) {
		uint64_t t;

		mark_begin(mark_name(key));
		t = cpu_tsc();
		for (unsigned int i = 0; i < GRANTS; i++) {
			m.ref = 16 + i;
			hc_grant(GNTTABOP_map_grant_ref, &m, 1);
			u.handle = m.handle;
			hc_grant(GNTTABOP_unmap_grant_ref, &u, 1);
			bad += m.status != GNTST_okay || u.status != GNTST_okay;
		}
		t = cpu_tsc() - t - overhead;
		mark_end(mark_name(key), t);
		best = t < best ? t : best;
		for (unsigned int i = 0; own && i < GRANTS; i++)
			refill(own + i * PAGE_SIZE);
	}
	CHECK_EQ("grants map and unmap", bad, 0);
	row(key, best / GRANTS);
}

static void grants(void)
{
	char *from = guest_pages(GRANTS), *to = guest_pages(GRANTS), *hole = peer_hole(1);

	grants_init();
	grants_fill(own_grants, (unsigned long)from / PAGE_SIZE);
	copies("copyself", DOMID_SELF, 1, to);
	copies("copy16", DOMID_SELF, GRANTS, to);
	maps("mapself", 0, hole, from);
	if (!peer_create())
		return;
	grants_fill(peer_grants, 0);
	copies("copypeer", peer_domid, 1, to);
	maps("mappeer", peer_domid, hole, NULL);
	peer_destroy();
}

/* ---- local APIC ---- */

#define APIC_REG(reg) (*(volatile uint32_t *)(0xfee00000UL + (reg)))

INTERRUPT on_ipi_mmio(struct interrupt_frame *f)
{
	(void)f;
	APIC_REG(APIC_EOI) = 0;
	arrived[0] = true;
}

INTERRUPT on_ipi_msr(struct interrupt_frame *f)
{
	(void)f;
	__asm__ volatile("wrmsr" : : "c"(0x80b), "a"(0), "d"(0) : "memory");
	arrived[0] = true;
}

static void wrmsr(uint32_t msr, uint32_t v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"(v), "d"(0) : "memory");
}

static void local_apic(void)
{
	if (cpu_rdmsr(APIC_BASE_MSR) & 1UL << 10)
		apic_x2_leave();
	apic_enable();
	arrived[0] = false;
	trap_gate(IPI, on_ipi_mmio);
	MEASURE("xid", 64, 1, (void)APIC_REG(APIC_ID));
	MEASURE("xeoi", 64, 1, APIC_REG(APIC_EOI) = 0);
	cpu_irq_on();
	MEASURE("xipi", 64, 1, APIC_REG(APIC_ICR) = 0x40000 | IPI);
	cpu_irq_off();
	CHECK("xAPIC self-IPI arrived", arrived[0]);
	arrived[0] = false;
	trap_gate(IPI, on_ipi_msr);
	if (!apic_x2_enter())
		return;
	MEASURE("x2id", 64, 1, cpu_rdmsr(0x802));
	MEASURE("x2eoi", 64, 1, wrmsr(0x80b, 0));
	cpu_irq_on();
	MEASURE("x2ipi", 64, 1, wrmsr(0x83f, IPI));
	cpu_irq_off();
	CHECK("x2APIC self-IPI arrived", arrived[0]);
}

/* ---- two vCPUs: the second one does as it is told ---- */

enum duty {
	PONG,  /* halts until an event comes, and answers it */
	SLEEP, /* halts */
	SPIN,  /* takes interrupts, has its CPU to itself */
	YIELD, /* counts its turns and yields */
};

static volatile enum duty duty;
static volatile uint64_t turns;
static evtchn_port_t ports[2];

INTERRUPT on_ping(struct interrupt_frame *f)
{
	unsigned int me = smp_on_second();

	(void)f;
	take(me);
	event_clear(ports[me]);
}

/* The first thing that the vCPU does is to read the clock. */
INTERRUPT on_wake(struct interrupt_frame *f)
{
	(void)f;
	arrived_tsc = cpu_tsc();
	take(1);
	event_clear(ports[1]);
}

INTERRUPT on_ipi_other(struct interrupt_frame *f)
{
	(void)f;
	arrived_tsc = cpu_tsc();
	wrmsr(0x80b, 0);
	arrived[1] = true;
}

static void await(unsigned int me)
{
	while (!arrived[me])
		cpu_halt();
	arrived[me] = false;
}

static void second(void)
{
	for (;;) {
		while (duty == PONG) {
			await(1);
			event_send(ports[0]);
		}
		while (duty == SLEEP)
			cpu_halt();
		while (duty == YIELD) {
			turns++;
			hc_sched(SCHEDOP_yield, 0);
		}
		cpu_irq_on();
		while (duty == SPIN)
			__asm__ volatile("pause");
		cpu_irq_off();
	}
}

static void second_x2(void)
{
	smp_to_x2(1);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1ff);
	second();
}

static bool second_start(void (*entry)(void))
{
	for (unsigned int v = 0; v < 2; v++) {
		if (!CHECK_EQ("bind an IPI", event_bind_ipi(v, &ports[v]), 0))
			return false;
		event_set_mask(ports[v], false);
	}
	arrived[0] = arrived[1] = false;
	return CHECK_EQ("start vCPU 1", smp_start(1, entry), 0);
}

static void ping(void)
{
	event_send(ports[1]);
	await(0);
}

static void send_event(void)
{
	event_send(ports[1]);
}

static void send_ipi(void)
{
	apic_ipi(1, IPI);
}

/* Who yields does so first: both loops are the same but for who counts the turns. */
#define YIELDS 32
static void switches(void)
{
	uint64_t best = ~0UL;

	duty = YIELD;
	ping();
	for (unsigned int b = 0; b < BATCHES; b++) {
		uint64_t t, was = turns;

		mark_begin(mark_name("switch"));
		t = cpu_tsc();
		for (unsigned int i = 0; i < YIELDS; i++)
			hc_sched(SCHEDOP_yield, 0);
		t = cpu_tsc() - t - overhead;
		mark_end(mark_name("switch"), t);
		if (turns - was == YIELDS && t < best)
			best = t;
	}
	CHECK("each yield lets the other vCPU run", best != ~0UL);
	row("switch", best / (2 * YIELDS));
}

/*
 * From before the sender's instruction to the receiver's first one. rest: TSC ticks that the sender spends first, so that
 * no rate limit protects it. Every CPU's instructions count: QEMU runs one CPU at a time, and the sender, done, does nothing
 * but PAUSE, at which QEMU goes on to the next CPU.
 */
static void reach(const char *key, void (*send)(void), uint64_t rest)
{
	uint64_t best = ~0UL;

	for (unsigned int b = 0; b < BATCHES; b++) {
		uint64_t t = cpu_tsc();

		while (cpu_tsc() - t < rest)
			__asm__ volatile("pause");
		arrived[1] = false;
		mark_begin(mark_name(key));
		t = cpu_tsc();
		send();
		while (!arrived[1])
			__asm__ volatile("pause");
		t = arrived_tsc - t - overhead;
		mark_end(mark_name(key), t);
		best = t < best ? t : best;
	}
	row(key, best);
}

/* Both on one CPU. */
static void one_cpu(void)
{
	trap_gate(CALLBACK, on_ping);
	if (!second_start(second))
		return;
	ping();
	MEASURE("pingpong", 16, 1, ping());
	switches();
	duty = SLEEP;
	trap_gate(CALLBACK, on_wake);
	reach("wake", send_event, 3000000);
}

/* Each on a CPU of its own. */
static void two_cpus(void)
{
	if (!CHECK("x2APIC", apic_x2_enter()))
		return;
	trap_gate(CALLBACK, on_wake);
	trap_gate(IPI, on_ipi_other);
	duty = SPIN;
	if (!second_start(second_x2))
		return;
	reach("x2ipiother", send_ipi, 3000000);
	reach("evipiother", send_event, 3000000);
	duty = SLEEP;
	reach("x2wakeother", send_ipi, 3000000);
	reach("evwakeother", send_event, 3000000);
}

void guest_main(void)
{
	measure_overhead();
	if (guest_option("two")) {
		callback_init();
		two_cpus();
		return;
	}
	exits();
	callback_init();
	calls();
	events();
	timers();
	memory();
	grants();
	local_apic();
	one_cpu();
}
