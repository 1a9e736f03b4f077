// SPDX-License-Identifier: MIT
// xen-args: dom0_max_vcpus=2
/*
 * Two vCPUs: start by hypercall, events and timers bound to the second, local APIC IPIs, runstate of the other, stop
 * and go.
 *
 * Sources: public headers vcpu.h, event_channel.h; AMD APM vol. 2 chapter 16 for the IPIs.
 */
#include "lib/guest.h"

const char guest_name[] = "smp";

#define MS   1000000UL
#define WAKE 0x61

static volatile unsigned int second_runs, second_upcalls, second_wakes, command, done;
static volatile uint32_t second_apic_id, second_vcpu_id;

enum { NOTHING, TIMER, DOWN };

static void upcall(struct trap_regs *regs)
{
	unsigned int me = smp_on_second();
	struct vcpu_info *v = &event_shared->vcpu_info[me];

	(void)regs;
	v->evtchn_upcall_pending = 0;
	v->evtchn_pending_sel = 0;
	if (me)
		second_upcalls++;
	else
		event_upcalls++;
	apic_eoi();
}

static void wake(struct trap_regs *regs)
{
	(void)regs;
	if (smp_on_second())
		second_wakes++;
	apic_eoi();
}

static void second(void)
{
	uint32_t r[4];

	second_runs++;
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1ff);
	second_apic_id = apic_read(APIC_ID) >> 24;
	cpu_cpuid(0x40000004, 0, r);
	second_vcpu_id = r[1];
	for (;;) {
		if (command == TIMER) {
			struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = event_now() + 2 * MS};

			command = NOTHING;
			done = hc_vcpu(VCPUOP_set_singleshot_timer, 1, &t) == 0;
		}
		if (command == DOWN) {
			command = NOTHING;
			hc_vcpu(VCPUOP_down, 1, 0);
			done = 2; /* goes on here after VCPUOP_up */
		}
		cpu_halt();
	}
}

static bool until(volatile unsigned int *counter, unsigned int value)
{
	uint64_t end = event_now() + 500 * MS;

	while (*counter < value && event_now() < end)
		hc_sched(SCHEDOP_yield, 0);
	return *counter >= value;
}

static void starting(void)
{
	xen_hvm_evtchn_upcall_vector_t v = {.vcpu = 1, .vector = EVENT_VECTOR};

	CHECK_EQ("vCPU 1 is down", hc_vcpu(VCPUOP_is_up, 1, 0), 0);
	CHECK_EQ("up before initialise", hc_vcpu(VCPUOP_up, 1, 0), -XEN_EINVAL);
	CHECK_EQ("its upcall vector", hc_hvm(HVMOP_set_evtchn_upcall_vector, &v), 0);
	CHECK_EQ("start it", smp_start(second), 0);
	CHECK_EQ("vCPU 1 is up", hc_vcpu(VCPUOP_is_up, 1, 0), 1);
	CHECK("it runs", until(&second_runs, 1));
	CHECK_EQ("its number", second_vcpu_id, 1);
	CHECK_EQ("its APIC id", second_apic_id, 2);
	CHECK_EQ("initialise twice", smp_start(second), -XEN_EEXIST);
}

static void events_across(void)
{
	evtchn_port_t ipi, unbound, port, virq;
	struct evtchn_bind_vcpu b = {.vcpu = 1};
	struct evtchn_status st = {.dom = DOMID_SELF};
	unsigned int was = second_upcalls, mine = event_upcalls;

	CHECK_EQ("bind_ipi to vCPU 1", event_bind_ipi(1, &ipi), 0);
	event_set_mask(ipi, false);
	CHECK_EQ("send", event_send(ipi), 0);
	CHECK("arrives there", until(&second_upcalls, was + 1));
	event_clear(ipi);
	cpu_irq_window();
	CHECK_EQ("not here", event_upcalls, mine);

	event_alloc(DOMID_SELF, DOMID_SELF, &unbound);
	event_bind(DOMID_SELF, unbound, &port);
	b.port = unbound;
	CHECK_EQ("bind_vcpu", hc_event(EVTCHNOP_bind_vcpu, &b), 0);
	st.port = unbound;
	hc_event(EVTCHNOP_status, &st);
	CHECK_EQ("status shows the vCPU", st.vcpu, 1);
	event_clear(unbound);
	event_set_mask(unbound, false);
	was = second_upcalls;
	event_send(port);
	CHECK("a moved port arrives there", until(&second_upcalls, was + 1));
	event_close(port);
	event_close(unbound);

	CHECK_EQ("timer event of vCPU 1", event_bind_virq(VIRQ_TIMER, 1, &virq), 0);
	event_set_mask(virq, false);
	was = second_upcalls;
	command = TIMER;
	done = 0;
	event_clear(ipi);
	event_send(ipi);
	CHECK("it sets its timer", until(&done, 1));
	CHECK("which fires there", until(&second_upcalls, was + 2));
	event_clear(virq);
	event_clear(ipi);
}

static void local_apics(void)
{
	unsigned int was = second_wakes;

	apic_write(APIC_ICR_HI, second_apic_id << 24);
	apic_write(APIC_ICR, WAKE);
	CHECK("fixed IPI", until(&second_wakes, was + 1));
	apic_write(APIC_ICR, 0xc0000 | WAKE);
	CHECK("to all but self", until(&second_wakes, was + 2));
	cpu_irq_window();
	CHECK_EQ("not to self", trap_count[WAKE] - (second_wakes - was), was);
}

static void stop_and_go(void)
{
	struct vcpu_runstate_info r;
	evtchn_port_t ipi;

	CHECK_EQ("runstate of the other", hc_vcpu(VCPUOP_get_runstate_info, 1, &r), 0);
	CHECK("it sleeps or waits",
	      r.state == RUNSTATE_blocked || r.state == RUNSTATE_runnable || r.state == RUNSTATE_running);
	event_bind_ipi(1, &ipi);
	event_set_mask(ipi, false);
	command = DOWN;
	done = 0;
	event_send(ipi);
	for (unsigned int i = 0; i < 10000 && hc_vcpu(VCPUOP_is_up, 1, 0) == 1; i++)
		hc_sched(SCHEDOP_yield, 0);
	CHECK_EQ("it went down", hc_vcpu(VCPUOP_is_up, 1, 0), 0);
	hc_vcpu(VCPUOP_get_runstate_info, 1, &r);
	CHECK_EQ("offline", r.state, RUNSTATE_offline);
	CHECK_EQ("up again", hc_vcpu(VCPUOP_up, 1, 0), 0);
	CHECK("it goes on where it was", until(&done, 2));
}

/* AMD APM vol. 2 section 16.5: INIT, then a start-up IPI whose vector is the page that real mode begins in. */
#define START_PAGE 0x08
static void init_sipi(void)
{
	static const char code[] = {
		0x2e,	    (char)0xc7, 0x06,	    0x00, 0x01, 0x34, 0x12, /* movw $0x1234, %cs:0x100 */
		(char)0xf4, (char)0xeb, (char)0xfd,			    /* hlt; jmp back to it */
	};
	volatile uint16_t *mark = (uint16_t *)(START_PAGE * PAGE_SIZE + 0x100);
	uint64_t end = event_now() + 500 * MS;

	memcpy((void *)(START_PAGE * PAGE_SIZE), code, sizeof(code));
	*mark = 0;
	apic_write(APIC_ICR_HI, second_apic_id << 24);
	apic_write(APIC_ICR, 0x4500);
	hc_sched(SCHEDOP_yield, 0);
	CHECK_EQ("INIT stops it", hc_vcpu(VCPUOP_is_up, 1, 0), 0);
	apic_write(APIC_ICR, 0x4600 | START_PAGE);
	while (*mark != 0x1234 && event_now() < end)
		hc_sched(SCHEDOP_yield, 0);
	CHECK_EQ("it runs in real mode", *mark, 0x1234);
	hc_sched(SCHEDOP_yield, 0);
	CHECK_EQ("a halt with interrupts off is its end", hc_vcpu(VCPUOP_is_up, 1, 0), 0);
	*mark = 0;
	apic_write(APIC_ICR, 0x4600 | START_PAGE);
	for (unsigned int i = 0; i < 100; i++)
		hc_sched(SCHEDOP_yield, 0);
	CHECK_EQ("a start-up IPI without INIT does nothing", *mark, 0);
}

void guest_main(void)
{
	if (cpu_rdmsr(APIC_BASE_MSR) & 1UL << 10)
		apic_x2_leave();
	event_init();
	trap_set(EVENT_VECTOR, upcall);
	trap_set(WAKE, wake);
	if (hc_vcpu(VCPUOP_is_up, 1, 0) == -XEN_ENOENT) {
		print("one vCPU only: nothing to test\n");
		CHECK("runs", true);
		return;
	}
	starting();
	events_across();
	local_apics();
	stop_and_go();
	init_sipi();
}
