/* sources: hvm/svm.c hvm/svm_decode.c hvm/tsc.c hvm/tlb.c hvm/spec.c hvm/hvm.c hvm/cr.c hvm/msr.c hvm/insn.c hvm/decode.c hvm/vlapic.c hvm/vlapic_timer.c core/heap.c core/frame.c */
/* Entries and exits of the vendor backend, with port_svm_enter() as the CPU; and what real CPUs do that QEMU does not. */
#include "unit/hvm_fake.h"

#include "core/heap.h"
#include "core/time.h"
#include "hvm/io.h"
#include "hvm/msr.h"
#include "hvm/run.h"
#include "hvm/vendor.h"
#include "hvm/vpci.h"
#include "port/cpu.h"
#include "port/upcall.h"

#define EVENT(vector, type) ((vector) | (uint64_t)(type) << 8 | BIT(31))

static struct vcpu *const v = &fake_vcpu[0];
static struct vcpu_info info[FAKE_VCPUS];
static uint64_t injected, leaves_rip, interrupts, aux_written;
static unsigned aux_writes, crashes;
static uint64_t ratio[2], leaves_code = VMEXIT_INTR;

/* --- a CPU that keeps every field of a VMCB that it may keep (APM vol. 2, 15.15), for ever --- */

#define FIELDS(from, to)                                                                                               \
	{                                                                                                              \
		offsetof(struct vmcb, from), offsetof(struct vmcb, to)                                                 \
	}
static const size_t clean_fields[][3][2] = {
	{ FIELDS(cr_read, iopm_pa), FIELDS(tsc_offset, asid) },
	{ FIELDS(iopm_pa, tsc_offset) },
	{ FIELDS(asid, tlb_control) },
	{ FIELDS(vintr, shadow) },
	{ FIELDS(n_cr3, lbr_enable), FIELDS(g_pat, debugctl) },
	{ FIELDS(cr4, dr7), FIELDS(efer, pad7) },
	{ FIELDS(dr7, rflags) },
	{ FIELDS(seg[SEG_GDTR], seg[SEG_GDTR + 1]), FIELDS(seg[SEG_IDTR], seg[SEG_IDTR + 1]) },
	{ FIELDS(seg[SEG_ES], seg[SEG_FS]), FIELDS(cpl, pad6) },
	{ FIELDS(cr2, pad9) },
};
static struct vmcb kept[2][FAKE_VCPUS]; /* [CPU][vCPU] */
static struct vcpu *entered = &fake_vcpu[0];
static unsigned clean_groups, stale_groups;
static uint64_t chance = 1;

static void use_what_was_kept(struct vmcb *c)
{
	char *k = (char *)&kept[host_cpu][entered->id];

	for (unsigned g = 0; g < ARRAY_SIZE(clean_fields); g++)
		for (unsigned i = 0; i < 3; i++) {
			size_t from = clean_fields[g][i][0], bytes = clean_fields[g][i][1] - from;

			if (!(c->clean & BIT(g)))
				memcpy(k + from, (char *)c + from, bytes);
			else
				stale_groups += memcmp(k + from, (char *)c + from, bytes) != 0;
			clean_groups += c->clean >> g & 1;
		}
	/* What the guest did meanwhile is in both. */
	c->cr2 = host_random(&chance);
	c->cr3 = host_random(&chance);
	if (c->cr2 & 1)
		c->vintr &= ~(uint64_t)VINTR_IRQ;
	memcpy(k, c, sizeof(*c));
}

/* The CPU: notes what was injected, runs to leaves_rip, exits with an interrupt. */
void port_svm_enter(uint64_t vmcb_pa, uint64_t *regs)
{
	struct vmcb *c = svm_vmcb(entered);

	use_what_was_kept(c);
	injected = c->event_inj;
	c->event_inj = 0;
	c->rip = leaves_rip;
	c->exit_code = leaves_code;
	c->exit_int_info = interrupts;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	if (msr == 0xc0000103) {
		aux_written = value;
		aux_writes++;
	}
	if (msr == 0xc0000104)
		ratio[host_cpu] = value;
	return true;
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
	crashes++;
}

int cpuid_domain_init(struct domain *d)
{
	return 0;
}

void guestmem_enter(struct domain *d)
{
}

void guestmem_leave(void)
{
}

int io_domain_init(struct domain *d)
{
	return 0;
}

void io_domain_destroy(struct domain *d)
{
}

void irq_domain_release(struct domain *d)
{
}

void run_left(void)
{
}

bool run_entered(struct vcpu *c)
{
	return false;
}

void timer_kill(struct timer *t)
{
}

void time_update_vcpu(struct vcpu *c)
{
}

int upcall_hypercall_page(struct domain *d, gfn_t gfn)
{
	return 0;
}

void vioapic_eoi(struct domain *d, uint8_t vector)
{
}

void vioapic_init(struct domain *d, uint32_t nr_pins)
{
}

void vioapic_pulse(struct domain *d, uint32_t pin)
{
}

void vpci_destroy(struct domain *d)
{
}

void vpit_init(struct domain *d)
{
}

void vpit_timer(struct vcpu *c)
{
}

static unsigned shut_down_as = ~0u;

void domain_shutdown(struct domain *d, uint8_t code)
{
	shut_down_as = code;
}

static int setup(void **state)
{
	fake_machine(2);
	host_boot(4096);
	fake_hvm.io_bitmap = fake_hvm.msr_bitmap = heap_alloc_pages(2);
	for (unsigned i = 0; i < 2; i++) {
		fake_vcpu[i].info = &info[i];
		fake_hvcpu[i].fpu = heap_alloc_pages(0);
		assert_int_equal(svm_vcpu_init(&fake_vcpu[i]), 0);
		hvm_reset(&fake_vcpu[i]);
	}
	injected = leaves_rip = interrupts = crashes = 0;
	host_cpu = 0;
	entered = v;
	return 0;
}

static uint64_t enter(uint64_t rip)
{
	struct exit e;

	leaves_rip = rip;
	svm_run(v, &e);
	return injected;
}

/* The exit at IRET comes before the IRET: a waiting NMI must not come until RIP has left it. */
static void test_nmi_mask(void **state)
{
	v->hvm->nmi_pending = true;
	assert_int_equal(enter(0x1000), EVENT(2, 2));
	v->hvm->nmi_pending = true;
	assert_int_equal(enter(0x2000), 0); /* in the handler */
	assert_true(svm_vmcb(v)->general1 & INTERCEPT_IRET);
	svm_window(v); /* at 0x2000 */
	assert_false(svm_vmcb(v)->general1 & INTERCEPT_IRET);
	assert_int_equal(enter(0x2000), 0);
	assert_int_equal(enter(0x3000), 0);
	assert_int_equal(enter(0x3000), EVENT(2, 2)); /* the IRET is done */
	assert_true(svm_vmcb(v)->general1 & INTERCEPT_IRET);
}

/* The CPU interrupts the delivery of event; -> what the next entry injects. */
static uint64_t redelivered(uint64_t event)
{
	struct exit e;

	interrupts = event;
	svm_run(v, &e);
	interrupts = 0;
	if (e.interrupted & BIT(31))
		hvm_redeliver(v, e.interrupted);
	return enter(0x1000);
}

static void test_redelivery(void **state)
{
	vlapic_init(v);
	assert_true(vlapic_msr_write(v, 0x1b, APIC_DEFAULT_BASE | BIT(11)));
	vlapic_mmio_write(v, 0xf0, 0x1ff);
	assert_int_equal(redelivered(EVENT(14, 3) | BIT(11) | 6ull << 32), EVENT(14, 3) | BIT(11) | 6ull << 32);
	assert_int_equal(redelivered(EVENT(2, 2)), EVENT(2, 2));
	assert_int_equal(redelivered(EVENT(0x80, 4)), 0); /* INT 0x80, INT3, INTO run again */
	assert_int_equal(redelivered(EVENT(3, 3)), 0);
	assert_int_equal(redelivered(EVENT(4, 3)), 0);
	assert_int_equal(redelivered(EVENT(0x40, 0)),
			 EVENT(0x40, 0)); /* injected, not offered: nobody else knows of it */
	vlapic_set_irq(v, 0x50, false);
	assert_int_equal(redelivered(EVENT(0x50, 0)), 0); /* offered anew */
	assert_int_equal(svm_vmcb(v)->vintr >> 32 & 0xff, 0x50);
}

/* QEMU's TCG may deliver what the field says although nothing is offered: never vector 0. */
static void test_idle_vector(void **state)
{
	vlapic_init(v);
	enter(0x1000);
	assert_int_equal(svm_vmcb(v)->vintr >> 32, 0xff);
	assert_true(vlapic_msr_write(v, 0x1b, APIC_DEFAULT_BASE | BIT(11)));
	vlapic_mmio_write(v, 0xf0, 0x1ff);
	vlapic_set_irq(v, 0x50, false);
	enter(0x1000);
	assert_int_equal(svm_vmcb(v)->vintr >> 32, 0x50);
	svm_vmcb(v)->vintr &= ~BIT(8); /* taken */
	vlapic_offer(v, 0x50);
	enter(0x1000);
	assert_false(svm_vmcb(v)->vintr & BIT(8));
	assert_int_equal(svm_vmcb(v)->vintr >> 32, 0x50);
}

/* Their delivery can raise them again without end, and no interrupt comes in between. */
static void test_looping_exceptions_exit(void **state)
{
	assert_true(svm_vmcb(v)->exceptions & BIT(1));
	assert_true(svm_vmcb(v)->exceptions & BIT(17));
}

/* After SYSRET on AMD's CPUs: CPL 3, SS.DPL still 0. */
static void test_cpl_is_the_stack_segments_dpl(void **state)
{
	struct segment s;

	svm_vmcb(v)->seg[SEG_SS].attr = 0xc93;
	svm_vmcb(v)->cpl = 3;
	hvm_get_segment(v, SEG_SS, &s);
	assert_int_equal(s.attr, 0xcf3);
	hvm_set_segment(v, SEG_SS, &s);
	assert_int_equal(hvm_cpl(v), 3);
}

static void test_advance(void **state)
{
	svm_vmcb(v)->shadow = 1;
	svm_vmcb(v)->dr7 |= BIT(13);
	v->regs.rflags = 2 | BIT(16);
	hvm_advance(v, 2);
	assert_int_equal(v->regs.rflags, 2);
	assert_int_equal(svm_vmcb(v)->shadow, 0);
	assert_int_equal(v->hvm->inject.vector, EVENT_NONE);
	v->regs.rflags = 2 | BIT(8);
	hvm_advance(v, 2); /* single step over an emulated instruction */
	assert_int_equal(v->hvm->inject.vector, 1);
	assert_int_equal(svm_vmcb(v)->dr6, 0xffff4ff0);
	assert_false(svm_vmcb(v)->dr7 & BIT(13));
}

static void test_xcr0(void **state)
{
	const uint64_t host = 0x2e7;

	assert_true(hvm_xcr0_ok(1, host));
	assert_true(hvm_xcr0_ok(7, host));
	assert_true(hvm_xcr0_ok(0x2e7, host));
	assert_false(hvm_xcr0_ok(0, host));
	assert_false(hvm_xcr0_ok(6, host));
	assert_false(hvm_xcr0_ok(5, host));
	assert_false(hvm_xcr0_ok(0x27, host)); /* AVX-512: all three or none, with AVX */
	assert_false(hvm_xcr0_ok(0xc7, host));
	assert_false(hvm_xcr0_ok(0xe3, host));
	assert_false(hvm_xcr0_ok(0x1f, host)); /* not the host's */
}

static void test_tsc_aux_follows_the_vcpu(void **state)
{
	assert_true(msr_write(&fake_vcpu[0], 0xc0000103, 7));
	assert_int_equal(aux_written, 7);
	aux_writes = 0;
	msr_switch_in(&fake_vcpu[1]);
	assert_int_equal(aux_written, 0);
	msr_switch_in(&fake_vcpu[1]);
	assert_int_equal(aux_writes, 1);
	msr_switch_in(&fake_vcpu[0]);
	assert_int_equal(aux_written, 7);
	assert_false(msr_write(&fake_vcpu[0], 0xc0000103, 1ull << 32));
}

static void change_something(struct vcpu *x)
{
	static const enum hvm_reg regs[] = { REG_CR2, REG_EFER, REG_DR6, REG_DR7,   REG_PAT,
					     REG_CR0, REG_CR3,	REG_CR4, REG_SHADOW };
	uint64_t value = host_random(&chance);
	struct segment s;

	switch (host_random(&chance) >> 20 & 15) {
	case 0:
		vendor_set(x, regs[value % ARRAY_SIZE(regs)], value);
		break;
	case 1:
		hvm_get_segment(x, (enum seg)(value % SEG_COUNT), &s);
		s.base ^= value;
		hvm_set_segment(x, (enum seg)(value % SEG_COUNT), &s);
		break;
	case 2:
		svm_trap_tsc(x, value & 1);
		break;
	case 3:
		svm_set_tsc_offset(x, value);
		break;
	case 4:
		x->hvm->nmi_pending = true;
		break;
	case 5:
		if (svm_vmcb(x)->general1 & INTERCEPT_IRET)
			svm_window(x);
		break;
	case 6:
		svm_allow_debug_registers(x);
		break;
	case 7:
		svm_flush_linear(x);
		break;
	case 8:
		svm_flush_nested(x);
		break;
	case 9:
		vlapic_set_irq(x, 0x30 + value % 0xc0, false);
		break;
	case 10:
		vlapic_mmio_write(x, 0x80, value & 0xf0);
		break;
	}
}

/* The model never reads a field again that is said to be clean: no entry may find it changed. */
static void test_clean_bits(void **state)
{
	struct exit e;

	svm_features.clean = CLEAN_ALL;
	svm_features.asids = 4;
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		host_cpu = cpu;
		assert_int_equal(svm_cpu_init(cpu), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		vlapic_init(&fake_vcpu[i]);
		assert_true(vlapic_msr_write(&fake_vcpu[i], 0x1b, APIC_DEFAULT_BASE | BIT(11)));
		vlapic_mmio_write(&fake_vcpu[i], 0xf0, 0x1ff);
	}
	memset(kept, 0x5a, sizeof(kept));
	clean_groups = stale_groups = 0;
	for (unsigned n = 0; n < 100000; n++) {
		uint64_t r = host_random(&chance) >> 16;

		host_cpu = r & 7 ? host_cpu : r >> 3 & 1;
		entered = &fake_vcpu[r & 0x70 ? entered->id : r >> 7 & 1];
		if (r >> 8 & 1)
			change_something(entered);
		leaves_rip = r;
		leaves_code = r >> 9 & 7 ? VMEXIT_INTR : VMEXIT_CR_WRITE0;
		svm_run(entered, &e);
		assert_int_equal(stale_groups, 0);
	}
	assert_true(clean_groups > 1000000); /* of three million */
	svm_features.clean = 0;
	leaves_code = VMEXIT_INTR;
}

static void test_tsc_ratio_follows_the_vcpu(void **state)
{
	svm_cpu_init(0);
	svm_set_tsc_rate(&fake_vcpu[0], 5ull << 31);
	svm_switch_in(&fake_vcpu[0]);
	assert_int_equal(ratio[0], 5ull << 31);
	svm_switch_in(&fake_vcpu[1]);
	assert_int_equal(ratio[0], 1ull << 32);
	ratio[0] = 0;
	svm_switch_in(&fake_vcpu[1]); /* it is so */
	assert_int_equal(ratio[0], 0);
	fake_hvcpu[1].loaded_on = 1;
	svm_set_tsc_rate(&fake_vcpu[1], 3ull << 32);
	assert_int_equal(fake_hvcpu[1].loaded_on, 0); /* so that it is switched in where it was */
	svm_switch_in(&fake_vcpu[1]);
	assert_int_equal(ratio[0], 3ull << 32);
}

static void test_start_states(void **state)
{
	struct domain *d = &fake_domain;

	assert_true(cr_state_ok(d, 0x11, 0, 0));
	assert_true(cr_state_ok(d, 0x80050033, 0x20, 0x500));
	assert_false(cr_state_ok(d, 0x80000010, 0, 0));	       /* paging without protection */
	assert_false(cr_state_ok(d, 0x20000011, 0, 0));	       /* NW without CD */
	assert_false(cr_state_ok(d, 0x80000011, 0, 0x500));    /* long mode without PAE */
	assert_false(cr_state_ok(d, 0x80000011, 0x20, 0x100)); /* LME and paging, no LMA */
	assert_false(cr_state_ok(d, 0x11, 0x2000, 0));	       /* VMXE */
	assert_false(cr_state_ok(d, 0x11, 0x800000, 0));       /* CET */
	assert_false(cr_state_ok(d, 0x11, 0, 0x1000));	       /* SVME is not a guest's */
	svm_vmcb(v)->cr0 = 0x11;
	assert_true(cr_write(v, 0, 0x11 | BIT(6) | BIT(17)));
	assert_int_equal(hvm_get_cr(v, 0), 0x11);
}

static void test_double_and_triple_fault(void **state)
{
	hvm_inject_pf(v, 0x1000, 2);
	hvm_inject_pf(v, 0x2000, 2);
	assert_int_equal(v->hvm->inject.vector, 8);
	assert_true(v->hvm->inject.has_error);
	fake_domain.params[HVM_PARAM_TRIPLE_FAULT_REASON] = SHUTDOWN_reboot;
	hvm_inject_gp(v);
	assert_int_equal(shut_down_as, SHUTDOWN_reboot);
	assert_int_equal(crashes, 0);
	fake_domain.rights = RIGHT_HARDWARE;
	hvm_inject_gp(v);
	assert_int_equal(crashes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nmi_mask, setup),
		cmocka_unit_test_setup(test_redelivery, setup),
		cmocka_unit_test_setup(test_idle_vector, setup),
		cmocka_unit_test_setup(test_looping_exceptions_exit, setup),
		cmocka_unit_test_setup(test_cpl_is_the_stack_segments_dpl, setup),
		cmocka_unit_test_setup(test_advance, setup),
		cmocka_unit_test_setup(test_xcr0, setup),
		cmocka_unit_test_setup(test_tsc_aux_follows_the_vcpu, setup),
		cmocka_unit_test_setup(test_clean_bits, setup),
		cmocka_unit_test_setup(test_tsc_ratio_follows_the_vcpu, setup),
		cmocka_unit_test_setup(test_start_states, setup),
		cmocka_unit_test_setup(test_double_and_triple_fault, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
