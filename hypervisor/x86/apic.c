/*
 * The local APIC: interrupt acknowledge, inter-processor interrupts, this CPU's timer. x2APIC where the CPU has it,
 * else the memory-mapped registers. Source: Intel SDM vol. 3, ch. 11; APM vol. 2, ch. 16. No locks: a CPU writes its own.
 */
#include "lib/lib.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define APIC_ID		0x20
#define APIC_TPR	0x80
#define APIC_EOI	0xb0
#define APIC_SVR	0xf0
#define APIC_ESR	0x280
#define APIC_ICR	0x300
#define APIC_ICR_HIGH	0x310
#define APIC_LVT_TIMER	0x320
#define APIC_LVT_PERF	0x340
#define APIC_LVT_LINT0	0x350
#define APIC_LVT_LINT1	0x360
#define APIC_LVT_ERROR	0x370
#define APIC_TIMER_INIT 0x380
#define APIC_TIMER_NOW	0x390
#define APIC_TIMER_DIV	0x3e0

#define LVT_MASKED   BIT(16)
#define LVT_NMI	     (4u << 8)
#define LVT_DEADLINE (2u << 17)
#define ICR_BUSY     BIT(12)
#define ICR_ASSERT   BIT(14)
#define ICR_NMI	     (4u << 8)
#define ICR_INIT     (5u << 8)
#define ICR_STARTUP  (6u << 8)
#define BASE_ENABLE  BIT(11)
#define BASE_X2APIC  BIT(10)
#define TIMER_DIV_1  0xbu

static bool x2apic;
static volatile uint32_t *regs; /* xAPIC only */
static uint64_t timer_mul;	/* timer ticks per ns, 32.32; unused with the TSC deadline */
static bool timer_deferred;	/* port_timer_defer() */

static uint32_t apic_read(unsigned reg)
{
	if (x2apic)
		return (uint32_t)x86_rdmsr(MSR_X2APIC + reg / 16);
	return regs[reg / 4];
}

static void apic_write(unsigned reg, uint32_t v)
{
	if (x2apic)
		x86_wrmsr(MSR_X2APIC + reg / 16, v);
	else
		regs[reg / 4] = v;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

uint32_t apic_id(void)
{
	uint32_t id = apic_read(APIC_ID);

	return x2apic ? id : id >> 24;
}

static void apic_icr(uint32_t apicid, uint32_t command)
{
	if (x2apic) {
		__asm__ volatile("mfence; lfence"
				 :
				 :
				 : "memory"); /* this WRMSR waits for no store (SDM vol. 3, 11.12.3) */
		x86_wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)apicid << 32 | command);
		return;
	}
	for (unsigned i = 0; i < 10000 && regs[APIC_ICR / 4] & ICR_BUSY; i++)
		x86_pause();
	regs[APIC_ICR_HIGH / 4] = apicid << 24;
	regs[APIC_ICR / 4] = command;
}

void apic_send_ipi(uint32_t apicid, unsigned vector)
{
	apic_icr(apicid, ICR_ASSERT | vector);
}

void apic_send_nmi(uint32_t apicid)
{
	apic_icr(apicid, ICR_ASSERT | ICR_NMI);
}

void apic_send_init(uint32_t apicid)
{
	apic_icr(apicid, ICR_ASSERT | ICR_INIT);
}

void apic_send_startup(uint32_t apicid, unsigned page)
{
	apic_icr(apicid, ICR_ASSERT | ICR_STARTUP | page);
}

void port_kick(unsigned cpu)
{
	apic_send_ipi(port_cpu_apicid(cpu), VECTOR_KICK);
}

void port_notify(unsigned cpu)
{
	apic_send_ipi(port_cpu_apicid(cpu), VECTOR_NOTIFY);
}

void port_relax(void)
{
	__builtin_ia32_pause();
}

void apic_init(void)
{
	uint64_t base = x86_rdmsr(MSR_APIC_BASE);

	x2apic = cpu_features.x2apic;
	if (!x2apic)
		regs = port_mmio_map(base & 0x000ffffffffff000ull, PAGE_SIZE);
	apic_cpu_init();
	cpu_this()->apicid = apic_id();
}

static void start_timer_mode(void)
{
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (cpu_features.tsc_deadline ? LVT_DEADLINE : 0));
}

void apic_cpu_init(void)
{
	uint64_t base = x86_rdmsr(MSR_APIC_BASE);

	x86_wrmsr(MSR_APIC_BASE, base | BASE_ENABLE);
	if (x2apic)
		x86_wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2APIC);
	apic_write(APIC_SVR, VECTOR_SPURIOUS | BIT(8));
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_LINT0, LVT_MASKED); /* the 8259 is not used */
	apic_write(APIC_LVT_LINT1, LVT_NMI);
	apic_write(APIC_LVT_PERF, LVT_MASKED);
	apic_write(APIC_LVT_ERROR, VECTOR_APIC_ERROR);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_TIMER_DIV, TIMER_DIV_1);
	start_timer_mode();
	apic_write(APIC_TIMER_INIT, 0);
}

bool apic_timer_needs_calibration(void)
{
	return !cpu_features.tsc_deadline;
}

void apic_timer_start_count(void)
{
	apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	apic_write(APIC_TIMER_INIT, ~0u);
}

uint32_t apic_timer_elapsed(void)
{
	uint32_t n = ~0u - apic_read(APIC_TIMER_NOW);

	apic_write(APIC_TIMER_INIT, 0);
	start_timer_mode(); /* counting took it out of deadline mode */
	return n;
}

void apic_timer_set_khz(uint64_t khz)
{
	timer_mul = (khz << 32) / 1000000;
}

static void start_timer(uint64_t deadline)
{
	uint64_t now, ticks;

	if (cpu_features.tsc_deadline) { /* 0 disarms; a deadline that has passed fires at once */
		x86_wrmsr(MSR_TSC_DEADLINE, deadline == ~0ull ? 0 : port_ns_to_tsc(deadline));
		return;
	}
	if (deadline == ~0ull) {
		apic_write(APIC_TIMER_INIT, 0);
		return;
	}
	now = port_now();
	ticks = deadline > now ? (uint64_t)(((unsigned __int128)(deadline - now) * timer_mul) >> 32) + 1 : 1;
	apic_write(APIC_TIMER_INIT, (uint32_t)MIN(ticks, 0xffffffffull));
}

void port_timer_arm(uint64_t deadline)
{
	struct cpu *c = cpu_this();

	if (!timer_deferred) {
		start_timer(deadline);
		return;
	}
	c->deadline = deadline;
	c->deadline_tsc = deadline == ~0ull ? ~0ull : port_ns_to_tsc(deadline);
}

void port_timer_defer(void)
{
	timer_deferred = true; /* what was armed before is due at once: 0 */
}

uint64_t port_timer_left(void)
{
	uint64_t deadline = cpu_this()->deadline_tsc, now = x86_rdtsc();

	if (deadline == ~0ull)
		return ~0ull;
	return deadline > now ? deadline - now : 0;
}

void apic_timer_idle(void)
{
	if (timer_deferred)
		start_timer(cpu_this()->deadline);
}

void apic_timer_poll(void)
{
	if (timer_deferred && !port_timer_left())
		apic_timer_fired();
}

void apic_timer_fired(void)
{
	cpu_this()->deadline = cpu_this()->deadline_tsc = ~0ull;
	upcall_timer();
}
