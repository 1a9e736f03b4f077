/* sources: hvm/tsc.c hvm/vlapic.c hvm/vlapic_timer.c */
/* The virtual local APIC: priorities, both register interfaces, IPIs, INIT-SIPI, timers, save and load. */
#include "unit/hvm_fake.h"

static struct vcpu *const v = &fake_vcpu[0];
static unsigned eois;
static uint8_t eoi_vector;

void vioapic_eoi(struct domain *d, uint8_t vector)
{
	eois++;
	eoi_vector = vector;
}

void svm_set_tsc_offset(struct vcpu *c, uint64_t offset)
{
}

void svm_trap_tsc(struct vcpu *c, bool on)
{
}

static int setup(void **state)
{
	fake_machine(4);
	eois = 0;
	for (unsigned i = 0; i < 4; i++)
		vlapic_mmio_write(&fake_vcpu[i], 0xf0, 0x1ff);
	return 0;
}

static void to_x2(struct vcpu *t)
{
	assert_true(vlapic_msr_write(t, 0x1b, APIC_DEFAULT_BASE | 0xc00 | (t->id ? 0 : 0x100)));
}

static uint64_t rd(uint32_t msr)
{
	uint64_t x = ~0ull;

	assert_true(vlapic_msr_read(v, msr, &x));
	return x;
}

static void wr(uint32_t msr, uint64_t x)
{
	assert_true(vlapic_msr_write(v, msr, x));
}

static bool wr_fails(uint32_t msr, uint64_t x)
{
	return !vlapic_msr_write(v, msr, x);
}

static void reset_values(void **state)
{
	fake_machine(2);
	assert_int_equal(v->hvm->lapic.base_msr, 0xfee00900);
	assert_int_equal(fake_vcpu[1].hvm->lapic.base_msr, 0xfee00800);
	assert_int_equal(vlapic_mmio_read(&fake_vcpu[1], 0x20), 2u << 24);
	assert_int_equal(vlapic_mmio_read(v, 0x30), 0x50014);
	assert_int_equal(vlapic_mmio_read(v, 0xf0), 0xff);
	assert_int_equal(vlapic_mmio_read(v, 0xe0), 0xffffffff);
	assert_int_equal(vlapic_mmio_read(v, 0x320), 0x10000);
	assert_false(vlapic_enabled(v));
}

static void priorities(void **state)
{
	assert_int_equal(vlapic_pending(v), -1);
	vlapic_set_irq(v, 0x31, false);
	vlapic_set_irq(v, 0xf3, false);
	vlapic_set_irq(v, 0x35, false);
	assert_int_equal(fake_woken & 1, 1);
	assert_int_equal(vlapic_pending(v), 0xf3);
	fake_taken(v, 0xf3);
	assert_int_equal(vlapic_pending(v), -1);
	assert_int_equal(vlapic_mmio_read(v, 0xa0), 0xf0);
	vlapic_eoi(v);
	assert_int_equal(vlapic_pending(v), 0x35);
	vlapic_set_tpr(v, 0x30);
	assert_int_equal(vlapic_pending(v), -1);
	vlapic_set_tpr(v, 0x2f);
	assert_int_equal(vlapic_pending(v), 0x35);
	fake_taken(v, 0x35);
	assert_int_equal(vlapic_pending(v), -1); /* same class */
	vlapic_eoi(v);
	assert_int_equal(vlapic_pending(v), 0x31);
	fake_taken(v, 0x31);
	vlapic_eoi(v);
	vlapic_eoi(v); /* nothing in service: ignored */
	assert_int_equal(vlapic_pending(v), -1);
	assert_int_equal(v->hvm->lapic.isr_sum, 0);
}

/* Against a plain model: sets of vectors, highest first. */
static void model(void **state)
{
	uint64_t seed = 4711;
	bool irr[256] = { 0 }, isr[256] = { 0 };

	for (unsigned n = 0; n < 20000; n++) {
		uint64_t r = host_random(&seed);
		uint8_t vector = (uint8_t)(16 + r % 240);
		int want = -1, service = -1;

		for (int i = 255; i >= 16; i--) {
			if (isr[i] && service < 0)
				service = i;
			if (irr[i] && want < 0)
				want = i;
		}
		if (want >= 0 && service >= 0 && (want & 0xf0) <= (service & 0xf0))
			want = -1;
		assert_int_equal(vlapic_pending(v), want);
		if (r >> 32 & 1) {
			vlapic_set_irq(v, vector, false);
			irr[vector] = true;
		} else if (want >= 0 && (r >> 33 & 1)) {
			fake_taken(v, (uint8_t)want);
			irr[want] = false;
			isr[want] = true;
		} else {
			vlapic_eoi(v);
			if (service >= 0)
				isr[service] = false;
		}
	}
}

static void level_eoi(void **state)
{
	vlapic_set_irq(v, 0x41, true);
	fake_taken(v, 0x41);
	vlapic_mmio_write(v, 0xb0, 0);
	assert_int_equal(eois, 1);
	assert_int_equal(eoi_vector, 0x41);
	vlapic_set_irq(v, 0x41, false);
	fake_taken(v, 0x41);
	vlapic_mmio_write(v, 0xb0, 0);
	assert_int_equal(eois, 1);
}

static void x2apic_modes(void **state)
{
	uint64_t x;

	assert_false(vlapic_msr_read(v, 0x802, &x));
	assert_true(wr_fails(0x80b, 0));
	assert_true(wr_fails(0x1b, APIC_DEFAULT_BASE | 0x500)); /* x2APIC without enable */
	fake_x2apic_offered = false;
	assert_true(wr_fails(0x1b, APIC_DEFAULT_BASE | 0xd00));
	fake_x2apic_offered = true;
	to_x2(v);
	assert_int_equal(rd(0x802), 0);
	assert_true(wr_fails(0x1b, APIC_DEFAULT_BASE | 0x900)); /* only to off */
	wr(0x1b, APIC_DEFAULT_BASE | 0x100);
	assert_true(wr_fails(0x1b, APIC_DEFAULT_BASE | 0xd00)); /* off to x2APIC */
	wr(0x1b, APIC_DEFAULT_BASE | 0x900);
	assert_false(vlapic_x2apic(v));
	assert_true(wr_fails(0x1b, 0xfed00000 | 0x900));
	assert_true(wr_fails(0x1b, APIC_DEFAULT_BASE | 0x901));
}

static void x2apic_registers(void **state)
{
	uint64_t x;

	to_x2(v);
	to_x2(&fake_vcpu[1]);
	assert_true(vlapic_msr_read(&fake_vcpu[1], 0x802, &x));
	assert_int_equal(x, 2);
	assert_int_equal(rd(0x80d), 1);
	assert_int_equal(rd(0x803), 0x50014);
	wr(0x808, 0x20);
	assert_int_equal(rd(0x808), 0x20);
	assert_int_equal(rd(0x80a), 0x20);
	wr(0x808, 0);
	assert_true(wr_fails(0x808, 0x100));
	assert_true(wr_fails(0x80b, 1));
	assert_true(wr_fails(0x802, 0));
	assert_true(wr_fails(0x80d, 0));
	assert_true(wr_fails(0x828, 1));
	assert_true(wr_fails(0x831, 0));
	assert_true(wr_fails(0x83f, 0x100));
	assert_true(wr_fails(0x832, 1ull << 32));
	assert_true(wr_fails(0x835, 0x100000));
	assert_false(vlapic_msr_read(v, 0x80b, &x));
	assert_false(vlapic_msr_read(v, 0x80e, &x));
	assert_false(vlapic_msr_read(v, 0x831, &x));
	assert_false(vlapic_msr_read(v, 0x83f, &x));
	assert_false(vlapic_msr_read(v, 0x8ff, &x));
	wr(0x832, 0x200f0);
	assert_int_equal(rd(0x832), 0x200f0);
	wr(0x80f, 0xff); /* software disable masks the LVT */
	assert_int_equal(rd(0x832), 0x300f0);
	wr(0x832, 0xf0);
	assert_int_equal(rd(0x832), 0x100f0);
}

static void self_ipi(void **state)
{
	to_x2(v);
	fake_woken = 0;
	wr(0x83f, 0xf1);
	assert_int_equal(vlapic_pending(v), 0xf1);
	fake_taken(v, 0xf1);
	wr(0x80b, 0);
	wr(0x830, 0x40000 | 0xf2); /* shorthand self */
	fake_taken(v, 0xf2);
	wr(0x80b, 0);
	wr(0x830, 0x40f3); /* by ID 0, assert set as Linux has it */
	assert_int_equal(vlapic_pending(v), 0xf3);
	assert_int_equal(rd(0x830), 0x40f3);
	fake_taken(v, 0xf3);
	wr(0x80b, 0);
	wr(0x83f, 3); /* illegal vector */
	assert_int_equal(vlapic_pending(v), -1);
	wr(0x828, 0);
	assert_int_equal(rd(0x828), 0x20);
	wr(0x828, 0);
	assert_int_equal(rd(0x828), 0);
}

static void ipis(void **state)
{
	to_x2(v);
	to_x2(&fake_vcpu[2]);
	wr(0x830, 4ull << 32 | 0x55);
	assert_int_equal(vlapic_pending(&fake_vcpu[2]), 0x55);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), -1);
	wr(0x830, 0xc0000 | 0x66); /* all but self */
	assert_int_equal(vlapic_pending(v), -1);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), 0x66);
	assert_int_equal(vlapic_pending(&fake_vcpu[3]), 0x66);
	wr(0x830, 0x80000 | 0x77); /* all */
	assert_int_equal(vlapic_pending(v), 0x77);
	wr(0x830, 4ull << 32 | 0x400);
	assert_true(fake_vcpu[2].hvm->nmi_pending);
	wr(0x830, 0xffffffffull << 32 | 0x88); /* physical broadcast */
	assert_int_equal(vlapic_pending(&fake_vcpu[3]), 0x88);
	/* logical: vCPU 2 has ID 4: cluster 0, bit 4 */
	wr(0x830, 0x10ull << 32 | 0x800 | 0x99);
	assert_int_equal(vlapic_pending(&fake_vcpu[2]), 0x99);
}

static void xapic_logical(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		vlapic_mmio_write(&fake_vcpu[i], 0xd0, 1u << (24 + i));
	vlapic_mmio_write(v, 0x310, 0x6u << 24);
	vlapic_mmio_write(v, 0x300, 0x800 | 0x51);
	assert_int_equal(vlapic_pending(&fake_vcpu[0]), -1);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), 0x51);
	assert_int_equal(vlapic_pending(&fake_vcpu[2]), 0x51);
	/* lowest priority: one of them, the one with the lower PPR */
	vlapic_set_tpr(&fake_vcpu[1], 0x80);
	vlapic_deliver(&fake_domain, 6, true, 1, 0x91, false);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), -1);
	assert_int_equal(vlapic_pending(&fake_vcpu[2]), 0x91);
	/* cluster model */
	vlapic_mmio_write(&fake_vcpu[3], 0xe0, 0x0fffffff);
	vlapic_mmio_write(&fake_vcpu[3], 0xd0, 0x21u << 24);
	vlapic_deliver(&fake_domain, 0x21, true, 0, 0xa1, false);
	assert_int_equal(vlapic_pending(&fake_vcpu[3]), 0xa1);
	vlapic_mmio_write(v, 0x300, 0x400 | 0xc0000);
	assert_true(fake_vcpu[3].hvm->nmi_pending);
	assert_false(v->hvm->nmi_pending);
}

/* The same vector comes again while the guest has the first one, before its exit says so: both arrive. */
static void again_while_offered(void **state)
{
	vlapic_set_irq(v, 0x61, false);
	vlapic_offer(v, 0x61);
	assert_int_equal(vlapic_pending(v), -1);
	vlapic_set_irq(v, 0x61, false);
	vlapic_ack(v, 0x61);
	vlapic_eoi(v);
	assert_int_equal(vlapic_pending(v), 0x61);
	vlapic_offer(v, 0x61);
	vlapic_retract(v, 0x61); /* not taken: still there, once */
	assert_int_equal(vlapic_pending(v), 0x61);
	fake_taken(v, 0x61);
	vlapic_eoi(v);
	assert_int_equal(vlapic_pending(v), -1);
}

static void init_sipi(void **state)
{
	struct vcpu *t = &fake_vcpu[1];

	fake_sipis = 0;
	t->sched.up = false;
	to_x2(v);
	wr(0x830, 2ull << 32 | 0x600 | 0x9a); /* SIPI without INIT: nothing */
	assert_int_equal(fake_sipis, 0);
	wr(0x830, 2ull << 32 | 0xc500); /* INIT, level, assert */
	wr(0x830, 2ull << 32 | 0x8500); /* de-assert: ignored */
	assert_true(t->hvm->init_pending);
	/* An upcall asked for before it ever ran outlives the reset: Linux sets up a CPU's events before it starts it. */
	t->info->evtchn_upcall_pending = 1;
	host_events_pending = 0;
	wr(0x830, 2ull << 32 | 0x69a);
	assert_int_equal(fake_sipis, 1);
	assert_int_equal(fake_sipi_vector, 0x9a);
	assert_int_equal(host_events_pending, 1);
	wr(0x830, 2ull << 32 | 0x69a); /* the second one finds it up */
	assert_int_equal(fake_sipis, 1);
	assert_true(t->sched.up && t->initialised);
	wr(0x830, 2ull << 32 | 0x4500);
	assert_false(t->sched.up);
	assert_false(t->initialised); /* VCPUOP_up has nothing to start */
}

/* The SIPI finds the vCPU still on its CPU: that CPU obeys when it has left it, once. */
static void sipi_while_running(void **state)
{
	struct vcpu *t = &fake_vcpu[1];

	fake_sipis = 0;
	to_x2(v);
	t->sched.on_cpu = true;
	vlapic_leave(t); /* no INIT: nothing to remember */
	assert_int_equal(fake_domain.refs, 0);
	wr(0x830, 2ull << 32 | 0x4500);
	wr(0x830, 2ull << 32 | 0x612);
	wr(0x830, 2ull << 32 | 0x634);
	assert_int_equal(fake_sipis, 0);
	vlapic_leave(t);
	assert_int_equal(fake_domain.refs, 1);
	t->sched.on_cpu = false;
	vlapic_left();
	assert_int_equal(fake_sipis, 1);
	assert_int_equal(fake_sipi_vector, 0x34);
	assert_int_equal(fake_domain.refs, 0);
	vlapic_left();
	assert_int_equal(fake_sipis, 1);
	/* INIT takes back a SIPI that nobody obeyed yet. */
	t->sched.on_cpu = true;
	wr(0x830, 2ull << 32 | 0x4500);
	wr(0x830, 2ull << 32 | 0x612);
	wr(0x830, 2ull << 32 | 0x4500);
	vlapic_leave(t);
	t->sched.on_cpu = false;
	vlapic_left();
	assert_int_equal(fake_sipis, 1);
	assert_false(t->sched.up);
	/* Messages of devices do neither. */
	vlapic_deliver(&fake_domain, 2, false, 6, 0x12, false);
	assert_int_equal(fake_sipis, 1);
}

static void timer_oneshot(void **state)
{
	struct timer *t = &v->hvm->lapic.timer;

	vlapic_mmio_write(v, 0x3e0, 0xb); /* divide by 1 */
	vlapic_mmio_write(v, 0x320, 0x40);
	vlapic_mmio_write(v, 0x380, 1000);
	assert_int_equal(t->deadline, host_ns + 10000);
	host_ns += 4000;
	assert_int_equal(vlapic_mmio_read(v, 0x390), 600);
	vlapic_mmio_write(v, 0x3e0, 0); /* divide by 2: the rest takes twice as long */
	assert_int_equal(vlapic_mmio_read(v, 0x390), 600);
	assert_int_equal(t->deadline, host_ns + 12000);
	host_ns += 12000;
	t->slot = -1;
	vlapic_timer(v);
	assert_int_equal(vlapic_pending(v), 0x40);
	assert_int_equal(vlapic_mmio_read(v, 0x390), 0);
	assert_false(timer_active(t));
	vlapic_mmio_write(v, 0x380, 5);
	vlapic_mmio_write(v, 0x380, 0);
	assert_false(timer_active(t));
}

static void timer_periodic(void **state)
{
	struct timer *t = &v->hvm->lapic.timer;
	uint64_t start;

	vlapic_mmio_write(v, 0x3e0, 0xb);
	vlapic_mmio_write(v, 0x320, 0x20041);
	vlapic_mmio_write(v, 0x380, 100000); /* 1 ms */
	start = host_ns;
	assert_int_equal(t->deadline, start + 1000000);
	host_ns += 1000100;
	vlapic_timer(v);
	assert_int_equal(t->deadline, start + 2000000);
	host_ns = start + 7500000;
	vlapic_timer(v);
	assert_int_equal(t->deadline, start + 8000000);
	assert_int_equal(vlapic_mmio_read(v, 0x390), 50000);
	vlapic_mmio_write(v, 0x380, 1); /* 10 ns: held to the shortest period */
	assert_int_equal(t->deadline, host_ns + 100000);
	vlapic_mmio_write(v, 0x320, 0x10041);
	assert_int_equal(vlapic_pending(v), 0x41);
}

static void timer_tsc_deadline(void **state)
{
	struct timer *t = &v->hvm->lapic.timer;

	v->hvm->tsc_offset = 1000000;
	wr(0x6e0, 5000);
	assert_int_equal(rd(0x6e0), 0); /* not in that mode */
	vlapic_mmio_write(v, 0x320, 0x40042);
	wr(0x6e0, host_ns + 1000000 + 500);
	assert_int_equal(t->deadline, host_ns + 500);
	assert_int_equal(rd(0x6e0), host_ns + 1000500);
	wr(0x6e0, 0);
	assert_false(timer_active(t));
	wr(0x6e0, 1); /* past: at once */
	assert_int_equal(vlapic_pending(v), 0x42);
	assert_int_equal(rd(0x6e0), 0);
	vlapic_mmio_write(v, 0x320, 0x42);
	vlapic_mmio_write(v, 0x380, 7);
	assert_int_equal(vlapic_mmio_read(v, 0x380), 7);
}

static void xapic_writes(void **state)
{
	vlapic_mmio_write(v, 0x30, 0); /* read-only: an ESR bit, nothing else */
	vlapic_mmio_write(v, 0x280, 0);
	assert_int_equal(vlapic_mmio_read(v, 0x280), 0x80);
	vlapic_mmio_write(v, 0x350, 0xffffffff);
	assert_int_equal(vlapic_mmio_read(v, 0x350), 0x1e7ff);
	vlapic_mmio_write(v, 0x80, 0x1ff);
	assert_int_equal(vlapic_get_tpr(v), 0xff);
	assert_int_equal(vlapic_mmio_read(v, 0x400), 0);
	vlapic_mmio_write(v, 0xf0, 0xff);
	vlapic_deliver(&fake_domain, 0, false, 0, 0x44, false); /* software-disabled: not taken */
	vlapic_set_tpr(v, 0);
	assert_int_equal(vlapic_pending(v), -1);
}

static void save_load(void **state)
{
	uint8_t page[VLAPIC_PAGE_BYTES], again[VLAPIC_PAGE_BYTES];
	struct vcpu *t = &fake_vcpu[1];

	to_x2(t);
	vlapic_set_irq(t, 0x31, true);
	vlapic_set_irq(t, 0x81, false);
	fake_taken(t, 0x81);
	vlapic_set_tpr(t, 0x10);
	vlapic_msr_write(t, 0x832, 0x200ee);
	vlapic_msr_write(t, 0x83e, 0xb);
	vlapic_msr_write(t, 0x838, 100000);
	host_ns += 300000;
	vlapic_export(t, page);
	vlapic_reset(t);
	vlapic_import(t, page);
	vlapic_export(t, again);
	assert_memory_equal(page, again, sizeof(page));
	assert_int_equal(t->hvm->lapic.timer.deadline, host_ns + 700000);
	vlapic_eoi(t);
	assert_int_equal(vlapic_pending(t), 0x31);
	memset(page, 0xff, sizeof(page)); /* rubbish is cut to what exists */
	vlapic_import(t, page);
	assert_int_equal(t->hvm->lapic.page[0x80], 0xffff0000);
	vlapic_import(v, page);
}

/* --- a CPU that delivers by itself (SDM vol. 3, 30.1 and 30.6), against the hypervisor's own delivery --- */

static struct {
	uint8_t rvi, svi;
	uint64_t eoi_exits[4];
} cpu;

static uint32_t *apic_word(struct vcpu *t, unsigned reg, uint8_t vector)
{
	return &t->hvm->lapic.page[4 * (reg + vector / 32)];
}

static uint8_t highest_in(struct vcpu *t, unsigned reg)
{
	for (unsigned vector = 255; vector; vector--)
		if (*apic_word(t, reg, (uint8_t)vector) >> vector % 32 & 1)
			return (uint8_t)vector;
	return 0;
}

static void cpu_enters(void)
{
	uint16_t status;

	if (vlapic_status(v, &status)) {
		cpu.rvi = (uint8_t)status;
		cpu.svi = (uint8_t)(status >> 8);
	}
	vlapic_levels(v, cpu.eoi_exits);
	assert_int_equal(cpu.rvi, highest_in(v, 0x20));
	assert_int_equal(cpu.svi, highest_in(v, 0x10));
}

static void cpu_is_told(void)
{
	uint32_t *posted = v->hvm->lapic.page + VLAPIC_POSTED / 4;

	posted[8] = 0;
	for (unsigned i = 0; i < 8; i++) {
		*apic_word(v, 0x20, (uint8_t)(32 * i)) |= posted[i];
		posted[i] = 0;
	}
	cpu.rvi = highest_in(v, 0x20);
}

static int cpu_takes(void)
{
	uint8_t vector = cpu.rvi, tpr = (uint8_t)v->hvm->lapic.page[0x20] & 0xf0, ppr = cpu.svi & 0xf0;

	ppr = tpr > ppr ? tpr : ppr;
	if ((vector & 0xf0) <= ppr)
		return -1;
	*apic_word(v, 0x20, vector) &= ~(1u << vector % 32);
	*apic_word(v, 0x10, vector) |= 1u << vector % 32;
	cpu.svi = vector;
	cpu.rvi = highest_in(v, 0x20);
	return vector;
}

static void cpu_ends(void)
{
	uint8_t vector = cpu.svi;

	*apic_word(v, 0x10, vector) &= ~(1u << vector % 32);
	cpu.svi = highest_in(v, 0x10);
	if (cpu.eoi_exits[vector / 64] >> vector % 64 & 1)
		vlapic_eoi_exit(v, vector);
}

/* Vectors from 0x80 on are level-triggered. Both take the same in the same order, and the I/O APIC hears of the same ends. */
static void cpu_delivers(void **state)
{
	struct vcpu *w = &fake_vcpu[1];
	uint64_t seed = 88172645463325252ull;
	unsigned taken = 0, ends = 0;
	bool inside = false;

	memset(&cpu, 0, sizeof(cpu));
	for (unsigned step = 0; step < 300000; step++) {
		uint64_t r = host_random(&seed);
		uint8_t vector = (uint8_t)(16 + (r >> 8) % 240);
		int expect;

		switch (r % 8) {
		case 0:
		case 1:
			vendor_apic_delivers = vendor_apic_posted = true;
			vlapic_set_irq(v, vector, vector >= 0x80);
			vendor_apic_delivers = vendor_apic_posted = false;
			vlapic_set_irq(w, vector, vector >= 0x80);
			if (!inside)
				break;
			if (vector < 0x80)
				cpu_is_told();
			else
				inside = false; /* kicked */
			break;
		case 2:
			v->hvm->lapic.page[0x20] = vector;
			vlapic_set_tpr(w, vector);
			break;
		case 3:
			inside = false;
			break;
		default:
			vendor_apic_delivers = true;
			if (!inside)
				cpu_enters();
			inside = true;
			eois = 0;
			if (r >> 32 & 1 && cpu.svi) {
				if (r >> 33 & 1) {
					cpu_ends();
				} else { /* its EOI was no register that is virtualised */
					vlapic_eoi(v);
					cpu_enters();
				}
				vendor_apic_delivers = false;
				ends += eois;
				eois = eois ? 0 : 1;
				vlapic_eoi(w);
				assert_int_equal(eois, 1);
			}
			vendor_apic_delivers = true;
			expect = vlapic_pending(v);
			assert_int_equal(cpu_takes(), expect);
			vendor_apic_delivers = false;
			assert_int_equal(vlapic_pending(w), expect);
			if (expect >= 0)
				fake_taken(w, (uint8_t)expect);
			taken += expect >= 0;
			break;
		}
	}
	assert_true(taken > 10000 && ends > 1000);
}

/* Nobody is told twice of what nobody took in yet; level-triggered ones have the CPU leave the guest. */
static void posting(void **state)
{
	uint8_t page[VLAPIC_PAGE_BYTES];
	uint64_t levels[4];
	uint16_t status;

	vendor_apic_delivers = vendor_apic_posted = true;
	vlapic_status(v, &status);
	vlapic_levels(v, levels);
	fake_notified = fake_woken = 0;
	vlapic_set_irq(v, 0x41, false);
	vlapic_set_irq(v, 0x52, false);
	assert_int_equal(fake_notified, 1);
	assert_int_equal(fake_woken, 0);
	assert_true(vlapic_status(v, &status));
	assert_int_equal(status, 0x52);
	assert_false(vlapic_status(v, &status));
	assert_false(vlapic_levels(v, levels));
	vlapic_set_irq(v, 0x93, true);
	assert_int_equal(fake_woken, 1);
	assert_int_equal(fake_notified, 1);
	assert_true(vlapic_status(v, &status));
	assert_int_equal(status, 0x93);
	assert_true(vlapic_levels(v, levels));
	assert_int_equal(levels[2], 1ull << (0x93 - 0x80));
	assert_int_equal(levels[0] | levels[1] | levels[3], 0);
	/* What is posted only is saved, and gone after a reset. */
	vlapic_set_irq(v, 0x64, false);
	vlapic_export(v, page);
	assert_int_equal(page[0x230], 0x10);
	vlapic_set_irq(v, 0x65, false);
	vlapic_set_irq(v, 0x95, true);
	vlapic_reset(v);
	assert_int_equal(vlapic_pending(v), -1);
	vlapic_mmio_write(v, 0xf0, 0x1ff);
	vlapic_import(v, page);
	assert_int_equal(vlapic_pending(v), 0x93);
	assert_true(vlapic_levels(v, levels));
	assert_int_equal(levels[2], 1ull << (0x93 - 0x80));
	/* A SELF IPI of no vector: the CPU leaves it to us. */
	v->hvm->lapic.page[0xfc] = 7;
	vlapic_written(v, 0x3f0);
	assert_int_equal(v->hvm->lapic.page[0xfc], 0);
	vlapic_mmio_write(v, 0x280, 0);
	assert_int_equal(vlapic_mmio_read(v, 0x280), 0x20);
	vendor_apic_delivers = vendor_apic_posted = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_values),
		cmocka_unit_test_setup(priorities, setup),
		cmocka_unit_test_setup(model, setup),
		cmocka_unit_test_setup(level_eoi, setup),
		cmocka_unit_test_setup(x2apic_modes, setup),
		cmocka_unit_test_setup(x2apic_registers, setup),
		cmocka_unit_test_setup(self_ipi, setup),
		cmocka_unit_test_setup(ipis, setup),
		cmocka_unit_test_setup(xapic_logical, setup),
		cmocka_unit_test_setup(again_while_offered, setup),
		cmocka_unit_test_setup(init_sipi, setup),
		cmocka_unit_test_setup(sipi_while_running, setup),
		cmocka_unit_test_setup(timer_oneshot, setup),
		cmocka_unit_test_setup(timer_periodic, setup),
		cmocka_unit_test_setup(timer_tsc_deadline, setup),
		cmocka_unit_test_setup(xapic_writes, setup),
		cmocka_unit_test_setup(save_load, setup),
		cmocka_unit_test_setup(cpu_delivers, setup),
		cmocka_unit_test_setup(posting, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
