// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=4
// cpus: 4
// xen-cpus: 1
// vcpus: 128
/*
 * Many vCPUs: start by hypercall and by INIT and SIPI, interrupts between them in both modes of the local APIC, events and
 * timers bound to one, run state of another, stop and go, INIT of one that runs.
 *
 * Sources: public headers vcpu.h, event_channel.h; AMD APM vol. 2 chapter 16 and 15.28 for the IPIs, Intel SDM vol. 3
 * 11.6 and 11.12 for x2APIC destinations.
 */
#include "lib/guest.h"

const char guest_name[] = "smp";

#define MS   1000000UL
#define IPI  0x61
#define FLAT 8U /* vCPUs that a logical destination can tell apart */

#define ICR_LOWEST  0x100U
#define ICR_NMI	    0x400U
#define ICR_INIT    0x4500U
#define ICR_STARTUP 0x4600U
#define ICR_LOGICAL 0x800U
#define ICR_SELF    0x40000U
#define ICR_ALL	    0x80000U
#define ICR_OTHERS  0xc0000U

static unsigned int vcpus;
static volatile unsigned int ipis[SMP_MAX], nmis[SMP_MAX], apic_ids[SMP_MAX], numbers[SMP_MAX], answers[SMP_MAX];
static evtchn_port_t ring[SMP_MAX];
static volatile unsigned int ring_at;

static void on_ipi(struct trap_regs *regs)
{
	(void)regs;
	ipis[smp_id()]++;
	apic_eoi();
}

static void on_nmi(struct trap_regs *regs)
{
	(void)regs;
	nmis[smp_id()]++;
}

/* ---- starting ---- */

static void learn(unsigned int me)
{
	uint32_t r[4];

	apic_ids[me] = apic_x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
	cpu_cpuid(0x40000004, 0, r);
	numbers[me] = r[1];
}

static void start_by_sipi(unsigned int v)
{
	smp_prepare_sipi(v, smp_worker);
	apic_send(APIC_ID_OF(v), ICR_INIT);
	apic_send(APIC_ID_OF(v), ICR_STARTUP | SMP_SIPI_PAGE);
	apic_send(APIC_ID_OF(v), ICR_STARTUP | SMP_SIPI_PAGE); /* the second one that kernels send does nothing */
}

/* Odd ones by hypercall, even ones by INIT and SIPI. */
static void starting(void)
{
	unsigned int bad = 0;

	for (unsigned int v = 1; v < vcpus; v++) {
		bad += hc_vcpu(VCPUOP_is_up, v, 0) != 0;
		bad += hc_vcpu(VCPUOP_up, v, 0) != -XEN_EINVAL;
		bad += smp_events(v) != 0;
	}
	CHECK_EQ("all others are down and cannot go up", bad, 0);
	for (unsigned int v = 1; v < vcpus; v++)
		if (v & 1)
			CHECK_EQ("start by hypercall", smp_start(v, smp_worker), 0);
		else
			start_by_sipi(v);
	bad = 0;
	for (unsigned int v = 1; v < vcpus; v++)
		bad += !SMP_UNTIL(smp_started[v] == 1) || hc_vcpu(VCPUOP_is_up, v, 0) != 1;
	CHECK_EQ("vCPUs that did not start", bad, 0);
	for (unsigned int v = 1; v < vcpus; v++)
		bad += !smp_run(v, learn) || numbers[v] != v || apic_ids[v] != APIC_ID_OF(v);
	CHECK_EQ("wrong numbers or APIC IDs", bad, 0);
	CHECK_EQ("initialise twice", smp_start(1, smp_worker), -XEN_EEXIST);
	CHECK_EQ("none beyond the last", hc_vcpu(VCPUOP_is_up, vcpus, 0), -XEN_ENOENT);
}

/* ---- interrupts of the local APIC ---- */

static unsigned int was[SMP_MAX];

static void remember(void)
{
	for (unsigned int v = 0; v < vcpus; v++)
		was[v] = ipis[v] + nmis[v];
}

/* How many of the vCPUs from first to last did not get one more, plus how many others got something. */
static unsigned int wrong(unsigned int first, unsigned int last)
{
	unsigned int n = 0;

	for (unsigned int v = 0; v < vcpus; v++) {
		unsigned int more = ipis[v] + nmis[v] - was[v];

		if (v < first || v > last)
			n += more != 0;
		else if (guest_option("oracle")) /* QEMU delivers what Xen injects by EVENTINJ twice now and then */
			n += more == 0;
		else
			n += more != 1;
	}
	return n;
}

/* Exactly the vCPUs from first to last got one more. The vCPU asking takes what came for it. */
static void got(const char *name, unsigned int first, unsigned int last)
{
	cpu_irq_window();
	SMP_UNTIL(!wrong(first, last));
	CHECK_EQ(name, wrong(first, last), 0);
	remember();
}

/* Exactly one of first to last, and nobody else. */
static void got_one(const char *name, unsigned int first, unsigned int last)
{
	unsigned int n, others = 0;

	cpu_irq_window();
#define SUM                                                                                                            \
	({                                                                                                             \
		n = 0;                                                                                                 \
		for (unsigned int v = first; v <= last; v++)                                                           \
			n += ipis[v] + nmis[v] - was[v];                                                               \
		n;                                                                                                     \
	})
	SMP_UNTIL(SUM > 0);
	CHECK(name, guest_option("oracle") ? SUM > 0 : SUM == 1);
	for (unsigned int v = 0; v < vcpus; v++)
		others += (v < first || v > last) && ipis[v] + nmis[v] != was[v];
	CHECK_EQ("lowest priority: nobody else", others, 0);
	remember();
}

static void both_modes(void)
{
	unsigned int last = vcpus - 1;

	remember();
	apic_ipi(1, IPI);
	got("fixed", 1, 1);
	apic_ipi(last, IPI);
	got("fixed, to the last", last, last);
	apic_ipi(0, IPI);
	got("fixed, to itself by its ID", 0, 0);
	apic_ipi_self(IPI);
	got("self", 0, 0);
	apic_send(0, ICR_ALL | IPI);
	got("to all", 0, last);
	apic_send(0, ICR_OTHERS | IPI);
	got("to all others", 1, last);
	apic_send(apic_x2 ? 0xffffffff : 0xff, IPI);
	got("broadcast by physical ID", 0, last);
	apic_send(APIC_ID_OF(1), ICR_NMI);
	got("NMI", 1, 1);
	apic_send(0, ICR_OTHERS | ICR_NMI);
	got("NMI to all others", 1, last);
	CHECK_EQ("NMI by hypercall", hc_vcpu(VCPUOP_send_nmi, last, 0), 0);
	got("it arrives", last, last);
	apic_send(1, IPI); /* IDs are even */
	got("nobody's ID", 1, 0);
}

static void flat_address(unsigned int me)
{
	apic_write(APIC_LDR, me < FLAT ? 1U << (24 + me) : 0);
}

/* Clusters of four: vCPUs 0-3 in cluster 0, 4-7 in cluster 1; the rest in one that is not asked. */
static void cluster_address(unsigned int me)
{
	apic_write(APIC_DFR, 0x0fffffff);
	apic_write(APIC_LDR, me < FLAT ? (me / 4) << 28 | 1U << (24 + me % 4) : 14U << 28 | 1U << 24);
}

static void everyone(const char *name, smp_job *job)
{
	unsigned int late = 0;

	job(0);
	for (unsigned int v = 1; v < vcpus; v++)
		smp_give(v, job);
	for (unsigned int v = 1; v < vcpus; v++)
		late += !smp_wait(v);
	CHECK_EQ(name, late, 0);
}

static void x1_logical(void)
{
	unsigned int last = vcpus < FLAT ? vcpus - 1 : FLAT - 1;

	everyone("flat addresses", flat_address);
	remember();
	apic_send(0x04, ICR_LOGICAL | IPI);
	got("flat: one", 2, 2);
	apic_send(0x0c, ICR_LOGICAL | IPI);
	got("flat: two", 2, 3);
	if (vcpus <= FLAT) { /* who has no bit is addressed by the manuals, not so on Xen */
		apic_send(0xff, ICR_LOGICAL | IPI);
		got("flat: all", 0, last);
	}
	apic_send(0x0e, ICR_LOGICAL | ICR_LOWEST | IPI);
	got_one("flat: lowest priority, one of three", 1, 3);
	everyone("cluster addresses", cluster_address);
	apic_send(0x06, ICR_LOGICAL | IPI);
	got("cluster 0: two", 1, 2);
	apic_send(0x0f, ICR_LOGICAL | IPI);
	got("cluster 0: all four", 0, 3);
	if (last == 7) {
		apic_send(0x1c, ICR_LOGICAL | IPI);
		got("cluster 1: two", 6, 7);
		apic_send(0x1f, ICR_LOGICAL | ICR_LOWEST | IPI);
		got_one("cluster 1: lowest priority", 4, 7);
	}
}

/* Logical x2APIC IDs: cluster = ID / 16, bit = ID % 16; IDs are even, so eight vCPUs in a cluster. */
static void x2_logical(void)
{
	unsigned int last = vcpus < 8 ? vcpus - 1 : 7;

	remember();
	apic_send(1U << 2, ICR_LOGICAL | IPI);
	got("x2: one of cluster 0", 1, 1);
	apic_send(1U << 4 | 1U << 6, ICR_LOGICAL | IPI);
	got("x2: two of cluster 0", 2, 3);
	apic_send(0xffff, ICR_LOGICAL | IPI);
	got("x2: all of cluster 0", 0, last);
	if (vcpus > 8) {
		apic_send(1U << 16 | 0xffff, ICR_LOGICAL | IPI);
		got("x2: all of cluster 1", 8, 15);
	}
	if (vcpus == SMP_MAX) {
		apic_send(15U << 16 | 1U << 14, ICR_LOGICAL | IPI);
		got("x2: the last of cluster 15", 127, 127);
	}
	apic_send(0xfc, ICR_LOGICAL | ICR_LOWEST | IPI);
	got_one("x2: lowest priority", 1, 3);
}

/* ---- events ---- */

static void pass_on(unsigned int me, evtchn_port_t port)
{
	answers[me]++;
	if (port == ring[me]) {
		ring_at = me;
		if (me)
			event_send(ring[(me + 1) % vcpus]);
	}
}

/* A token goes round through all vCPUs by event-channel IPIs. */
static void event_ring(void)
{
	unsigned int bad = 0;

	for (unsigned int v = 0; v < vcpus; v++) {
		bad += event_bind_ipi(v, &ring[v]) != 0;
		smp_own(v, ring[v]);
		event_set_mask(ring[v], false);
	}
	CHECK_EQ("an IPI port for each", bad, 0);
	for (unsigned int round = 1; round <= 3; round++) {
		ring_at = vcpus;
		CHECK_EQ("send", event_send(ring[1]), 0);
		SMP_UNTIL(({
			cpu_irq_window();
			answers[0] == round;
		}));
		CHECK_EQ("the token came back", ring_at, 0);
	}
	for (unsigned int v = 0; v < vcpus; v++)
		bad += answers[v] != 3;
	CHECK_EQ("vCPUs that did not have it three times", bad, 0);
}

static volatile long timer_rc;

static void set_timer(unsigned int me)
{
	struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = event_now() + 2 * MS};

	timer_rc = hc_vcpu(VCPUOP_set_singleshot_timer, me, &t);
}

static void events_across(void)
{
	evtchn_port_t unbound, port, virq;
	struct evtchn_bind_vcpu b = {.vcpu = 1};
	struct evtchn_status st = {.dom = DOMID_SELF};
	struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = 1};
	unsigned int before = answers[1], mine = answers[0];

	event_alloc(DOMID_SELF, DOMID_SELF, &unbound);
	event_bind(DOMID_SELF, unbound, &port);
	b.port = unbound;
	CHECK_EQ("bind_vcpu", hc_event(EVTCHNOP_bind_vcpu, &b), 0);
	st.port = unbound;
	hc_event(EVTCHNOP_status, &st);
	CHECK_EQ("status shows the vCPU", st.vcpu, 1);
	event_clear(unbound);
	smp_own(1, unbound);
	event_set_mask(unbound, false);
	event_send(port);
	CHECK("a moved port arrives there", SMP_UNTIL(answers[1] == before + 1));
	event_close(port);
	event_close(unbound);
	CHECK_EQ("timer event of vCPU 1", event_bind_virq(VIRQ_TIMER, 1, &virq), 0);
	smp_own(1, virq);
	event_set_mask(virq, false);
	CHECK_EQ("not another's timer", hc_vcpu(VCPUOP_set_singleshot_timer, 1, &t), -XEN_EINVAL);
	CHECK("it sets its own", smp_run(1, set_timer));
	CHECK_EQ("rightly", timer_rc, 0);
	CHECK("which fires there", SMP_UNTIL(answers[1] == before + 2));
	event_close(virq);
	cpu_irq_window();
	CHECK_EQ("none of it here", answers[0], mine);
}

/* ---- stop and go ---- */

static volatile unsigned int went_on[SMP_MAX], spins[SMP_MAX];

static void go_down(unsigned int me)
{
	hc_vcpu(VCPUOP_down, me, 0);
	went_on[me]++;
}

static void stop_and_go(void)
{
	unsigned int last = vcpus - 1;
	struct vcpu_runstate_info r;

	hc_vcpu(VCPUOP_get_runstate_info, last, &r);
	CHECK("it sleeps or waits",
	      r.state == RUNSTATE_blocked || r.state == RUNSTATE_runnable || r.state == RUNSTATE_running);
	for (unsigned int i = 0; i < 20; i++) {
		smp_give(last, go_down);
		if (!CHECK("it went down", SMP_UNTIL(hc_vcpu(VCPUOP_is_up, last, 0) == 0)))
			return;
		hc_vcpu(VCPUOP_get_runstate_info, last, &r);
		/* Down, and a moment later off its CPU. */
		SMP_UNTIL((hc_vcpu(VCPUOP_get_runstate_info, last, &r), r.state == RUNSTATE_offline));
		CHECK_EQ("offline", r.state, RUNSTATE_offline);
		CHECK_EQ("still where it was", went_on[last], i);
		CHECK_EQ("up again", hc_vcpu(VCPUOP_up, last, 0), 0);
		CHECK("it goes on", smp_wait(last));
		CHECK_EQ("once", went_on[last], i + 1);
	}
	CHECK_EQ("up twice", hc_vcpu(VCPUOP_up, last, 0), 0);
}

/* Runs on and on without an exit of its own. */
static void spin(unsigned int me)
{
	for (;;)
		spins[me]++;
}

static void init_running(unsigned int v)
{
	unsigned int before = spins[v], starts = smp_started[v];

	smp_give(v, spin);
	CHECK("it runs", SMP_UNTIL(spins[v] != before));
	smp_prepare_sipi(v, smp_worker);
	apic_send(APIC_ID_OF(v), ICR_INIT);
	CHECK("INIT stops it", SMP_UNTIL(hc_vcpu(VCPUOP_is_up, v, 0) == 0));
	before = spins[v];
	for (unsigned int i = 0; i < 1000; i++)
		smp_relax();
	CHECK_EQ("it stands still", spins[v], before);
	CHECK_EQ("not started", smp_started[v], starts);
	apic_send(APIC_ID_OF(v), ICR_STARTUP | SMP_SIPI_PAGE);
	CHECK("a start-up IPI starts it", SMP_UNTIL(smp_started[v] == starts + 1));
	CHECK("it works", smp_run(v, learn));
	CHECK_EQ("its APIC ID is what it was", apic_ids[v], APIC_ID_OF(v));
	apic_send(APIC_ID_OF(v), ICR_STARTUP | SMP_SIPI_PAGE);
	for (unsigned int i = 0; i < 100; i++)
		smp_relax();
	CHECK_EQ("without INIT it does nothing", smp_started[v], starts + 1);
}

/* INIT and SIPI to everyone else at once, while all of them run. */
static void init_all(void)
{
	unsigned int starts[SMP_MAX], bad = 0;

	for (unsigned int v = 1; v < vcpus; v++) {
		starts[v] = smp_started[v];
		smp_prepare_sipi(v, smp_worker);
		if (v < FLAT)
			smp_give(v, spin);
	}
	apic_send(0, ICR_OTHERS | ICR_INIT);
	for (unsigned int v = 1; v < vcpus; v++)
		bad += !SMP_UNTIL(hc_vcpu(VCPUOP_is_up, v, 0) == 0);
	CHECK_EQ("not stopped by INIT to all others", bad, 0);
	apic_send(0, ICR_OTHERS | ICR_STARTUP | SMP_SIPI_PAGE);
	for (unsigned int v = 1; v < vcpus; v++)
		bad += !SMP_UNTIL(smp_started[v] == starts[v] + 1);
	CHECK_EQ("not started by SIPI to all others", bad, 0);
	everyone("all work", learn);
}

/* A halt with interrupts off is the end of a vCPU, until INIT. */
static void halt_for_good(unsigned int me)
{
	(void)me;
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void halted(void)
{
	unsigned int starts = smp_started[2];

	smp_give(2, halt_for_good);
	CHECK("a halt with interrupts off is its end", SMP_UNTIL(hc_vcpu(VCPUOP_is_up, 2, 0) == 0));
	start_by_sipi(2);
	CHECK("until INIT and SIPI", SMP_UNTIL(smp_started[2] == starts + 1));
	CHECK("it works", smp_run(2, learn));
}

void guest_main(void)
{
	event_init();
	if (apic_x2)
		apic_x2_leave();
	vcpus = smp_count();
	if (vcpus < 4) {
		print("fewer than four vCPUs: nothing to test\n");
		CHECK("runs", true);
		return;
	}
	print("%u vCPUs\n", vcpus);
	smp_on_event(pass_on);
	trap_set(IPI, on_ipi);
	trap_set(2, on_nmi);
	smp_jobs_init(false);
	starting();
	event_ring();
	events_across();
	both_modes();
	x1_logical();
	stop_and_go();
	init_running(1);
	init_running(2);
	halted();
	init_all();
	if (!apic_has_x2())
		return;
	everyone("x2APIC mode", smp_to_x2);
	smp_jobs_init(apic_x2_enter());
	everyone("numbers in x2APIC mode", learn);
	both_modes();
	x2_logical();
	init_running(1);
	init_running(2);
	init_all();
	x2_logical();
}
