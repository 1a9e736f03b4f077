// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=4
// cpus: 4
// xen-cpus: 1
// vcpus: 8
/*
 * Stress: vCPUs ask each other and answer, each time by an event, an interrupt or a polled port, picked at random, and sleep
 * in a random way until the answer comes; some go down meanwhile. One lost wake-up leaves somebody asleep for ever.
 *
 * Method: vCPU 0 watches and brings up who went down; each other one has one question out at a time, so every doorbell (who,
 * to whom, how, question or answer) rings for one message only and none can hide the loss of another. The seed is fixed;
 * seed=N on the command line picks another. Sources: public headers event_channel.h, sched.h (SCHEDOP_poll), vcpu.h.
 */
#include "lib/guest.h"

const char guest_name[] = "storm";

#define MAX    8U
#define ROUNDS 1500UL
#define MS     1000000UL

enum { EVENT, IPI, POLL, KINDS };
enum { ASK, ANSWER, WHATS };
enum { HALT, POLLING, SPIN, WAYS };
#define VECTOR(what, from) (0x70 + 16 * (what) + (from))

static unsigned int vcpus;
static evtchn_port_t ports[WHATS][MAX][MAX], poll_port[MAX], timer_port[MAX];
static struct {
	unsigned int what, from;
	bool used;
} meaning[SMP_PORTS];
static volatile unsigned int posted[KINDS][WHATS][MAX][MAX]; /* a message is under way */
static volatile bool answered[MAX], in_poll[MAX], wants_up[MAX], over;
static volatile unsigned long rounds[MAX], asked[MAX], twice[MAX], downs[MAX];
static uint64_t seeds[MAX];

static unsigned int pick(unsigned int me, unsigned int of)
{
	seeds[me] = seeds[me] * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned int)(seeds[me] >> 33) % of;
}

static void ring(unsigned int me, unsigned int to, unsigned int what)
{
	unsigned int kind = pick(me, KINDS);

	__atomic_store_n(&posted[kind][what][me][to], 1, __ATOMIC_SEQ_CST);
	if (kind == EVENT)
		event_send(ports[what][me][to]);
	else if (kind == IPI)
		apic_ipi(to, VECTOR(what, me));
	else
		event_send(poll_port[to]);
}

static void set_pending(evtchn_port_t port)
{
	__atomic_fetch_or(&event_shared->evtchn_pending[port / 64], 1UL << port % 64, __ATOMIC_SEQ_CST);
}

/* A doorbell rang on vCPU me. Interrupts are off. */
static void rang(unsigned int me, unsigned int kind, unsigned int what, unsigned int from)
{
	if (!__atomic_exchange_n(&posted[kind][what][from][me], 0, __ATOMIC_SEQ_CST)) {
		twice[me] += kind != POLL; /* a polled port rings for all its senders */
		return;
	}
	if (what == ASK) {
		asked[me]++;
		ring(me, from, ANSWER);
		return;
	}
	answered[me] = true;
	if (in_poll[me]) /* it may be about to: let it find its port pending */
		set_pending(poll_port[me]);
}

static void polled(unsigned int me)
{
	for (unsigned int what = 0; what < WHATS; what++)
		for (unsigned int from = 1; from < vcpus; from++)
			if (posted[POLL][what][from][me])
				rang(me, POLL, what, from);
}

static void on_event(unsigned int me, evtchn_port_t port)
{
	if (port == poll_port[me])
		polled(me);
	else if (meaning[port].used)
		rang(me, EVENT, meaning[port].what, meaning[port].from);
}

static void on_ipi(struct trap_regs *regs)
{
	unsigned int n = (unsigned int)regs->vector - 0x70;

	apic_eoi();
	rang(smp_id(), IPI, n / 16, n % 16);
}

/* Sleeps once, unless *done. The polled port is unmasked for the time of a halt only. */
static void sleep(unsigned int me, volatile bool *done)
{
	struct sched_poll p = {.nr_ports = 1};

	switch (pick(me, WAYS)) {
	case HALT:
		event_unmask(poll_port[me]);
		if (!*done)
			cpu_halt();
		event_set_mask(poll_port[me], true);
		break;
	case POLLING:
		set_xen_guest_handle(p.ports, &poll_port[me]);
		in_poll[me] = true;
		if (!*done) {
			cpu_irq_on();
			hc_sched(SCHEDOP_poll, &p);
			cpu_irq_off();
		}
		in_poll[me] = false;
		break;
	default:
		for (unsigned int i = pick(me, 200); i && !*done; i--)
			cpu_irq_window();
		smp_relax();
	}
	cpu_irq_window();
	if (event_take(poll_port[me]))
		polled(me);
}

static void stirred(unsigned int me)
{
	struct vcpu_set_singleshot_timer t = {.flags = 0};

	if (pick(me, 4) == 0) {
		t.timeout_abs_ns = event_now() + pick(me, MS / 2);
		hc_vcpu(VCPUOP_set_singleshot_timer, me, &t);
	}
	if (pick(me, 16) == 0) {
		downs[me]++;
		wants_up[me] = true;
		hc_vcpu(VCPUOP_down, me, 0);
	}
}

static void play(unsigned int me)
{
	for (rounds[me] = 0; rounds[me] < ROUNDS; rounds[me]++) {
		unsigned int to = 1 + pick(me, vcpus - 1);

		if (to == me)
			continue;
		answered[me] = false;
		ring(me, to, ASK);
		stirred(me);
		while (!answered[me])
			sleep(me, &answered[me]);
	}
	while (!over)
		sleep(me, &over);
}

static unsigned long progress(void)
{
	unsigned long n = 0;

	for (unsigned int v = 1; v < vcpus; v++)
		n += rounds[v];
	return n;
}

static void stuck(void)
{
	for (unsigned int w = 0; w < 4; w++)
		print("ports from %u: pending %#lx, masked %#lx\n", 64 * w, event_shared->evtchn_pending[w],
		      event_shared->evtchn_mask[w]);
	for (unsigned int v = 1; v < vcpus; v++) {
		struct vcpu_runstate_info r;

		hc_vcpu(VCPUOP_get_runstate_info, v, &r);
		print("vCPU %u: round %lu, up %ld, state %d, answered %d, in poll %d, upcall pending %d\n", v, rounds[v],
		      hc_vcpu(VCPUOP_is_up, v, 0), r.state, answered[v], in_poll[v],
		      smp_info(v)->evtchn_upcall_pending);
		for (unsigned int i = 0; i < KINDS * WHATS; i++)
			for (unsigned int from = 1; from < vcpus; from++)
				if (posted[i / WHATS][i % WHATS][from][v])
					print("  kind %u, %s from vCPU %u under way, port %u\n", i / WHATS,
					      i % WHATS ? "answer" : "question", from, ports[i % WHATS][from][v]);
	}
}

/* Until all rounds are played, or nobody got on for five seconds. */
static void watch(void)
{
	unsigned long last = 0, all = (vcpus - 1) * ROUNDS;
	uint64_t end = 0;

	for (;;) {
		unsigned long n = progress();

		if (n == all)
			break;
		if (n != last || !end)
			end = event_now() + 5000 * MS;
		if (event_now() > end) {
			stuck();
			break;
		}
		last = n;
		for (unsigned int v = 1; v < vcpus; v++)
			if (wants_up[v] && hc_vcpu(VCPUOP_is_up, v, 0) == 0) {
				wants_up[v] = false;
				hc_vcpu(VCPUOP_up, v, 0);
			}
		smp_relax();
	}
	CHECK_EQ("rounds played: no wake-up was lost", progress(), all);
}

static void bind(void)
{
	unsigned int bad = 0;

	for (unsigned int to = 1; to < vcpus; to++) {
		bad += smp_events(to) != 0;
		bad += event_bind_ipi(to, &poll_port[to]) != 0; /* masked but in a halt */
		bad += event_bind_virq(VIRQ_TIMER, to, &timer_port[to]) != 0;
		smp_own(to, poll_port[to]);
		smp_own(to, timer_port[to]);
		event_set_mask(timer_port[to], false);
		for (unsigned int i = 0; i < WHATS * vcpus; i++) {
			unsigned int what = i % WHATS, from = i / WHATS;

			bad += event_bind_ipi(to, &ports[what][from][to]) != 0;
			meaning[ports[what][from][to]].what = what;
			meaning[ports[what][from][to]].from = from;
			meaning[ports[what][from][to]].used = true;
			smp_own(to, ports[what][from][to]);
			event_set_mask(ports[what][from][to], false);
			trap_set(VECTOR(what, from), on_ipi);
		}
	}
	CHECK_EQ("ports for all", bad, 0);
}

static void storm(const char *name)
{
	unsigned long questions = 0, again = 0, went_down = 0;
	unsigned int late = 0;

	over = false;
	for (unsigned int v = 1; v < vcpus; v++) {
		rounds[v] = asked[v] = twice[v] = downs[v] = 0;
		smp_give(v, play);
	}
	watch();
	over = true;
	for (unsigned int v = 1; v < vcpus; v++)
		late += !SMP_UNTIL((apic_ipi(v, SMP_VECTOR), !smp_busy(v)));
	for (unsigned int v = 1; v < vcpus; v++) {
		questions += asked[v];
		again += twice[v];
		went_down += downs[v];
	}
	CHECK_EQ("all come to their end", late, 0);
	CHECK("questions were asked", questions > ROUNDS);
	CHECK("vCPUs went down", went_down > ROUNDS / 64);
	if (!guest_option("oracle")) /* QEMU delivers what Xen injects by EVENTINJ twice now and then */
		CHECK_EQ("doorbells that rang twice", again, 0);
	print("%s: %lu questions, %lu times down, %lu rang twice\n", name, questions, went_down, again);
}

void guest_main(void)
{
	event_init();
	if (apic_x2)
		apic_x2_leave();
	vcpus = smp_count();
	if (vcpus > MAX)
		vcpus = MAX;
	if (vcpus < 4) {
		print("fewer than four vCPUs: nothing to test\n");
		CHECK("runs", true);
		return;
	}
	for (unsigned int v = 0; v < vcpus; v++)
		seeds[v] = guest_number("seed", 1) * 1000 + v;
	smp_on_event(on_event);
	smp_jobs_init(false);
	bind();
	for (unsigned int v = 1; v < vcpus; v++) {
		CHECK_EQ("start", smp_start(v, smp_worker), 0);
		CHECK("it runs", SMP_UNTIL(smp_started[v]));
	}
	storm("xAPIC");
	if (!apic_has_x2())
		return;
	smp_jobs_init(true);
	for (unsigned int v = 1; v < vcpus; v++)
		CHECK("x2APIC mode", smp_run(v, smp_to_x2));
	apic_x2_enter();
	storm("x2APIC");
}
