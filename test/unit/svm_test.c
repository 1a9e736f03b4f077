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

/* The CPU: notes what was injected, runs to leaves_rip, exits with an interrupt. */
void port_svm_enter(uint64_t vmcb_pa, uint64_t *regs)
{
	struct vmcb *c = svm_vmcb(v);

	injected = c->event_inj;
	c->event_inj = 0;
	c->rip = leaves_rip;
	c->exit_code = VMEXIT_INTR;
	c->exit_int_info = interrupts;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	if (msr == 0xc0000103) {
		aux_written = value;
		aux_writes++;
	}
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
	assert_int_equal(redelivered(EVENT(0x40, 0)), EVENT(0x40, 0)); /* injected, not offered: nobody else knows of it */
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

static void test_start_states(void **state)
{
	struct domain *d = &fake_domain;

	assert_true(cr_state_ok(d, 0x11, 0, 0));
	assert_true(cr_state_ok(d, 0x80050033, 0x20, 0x500));
	assert_false(cr_state_ok(d, 0x80000010, 0, 0));	     /* paging without protection */
	assert_false(cr_state_ok(d, 0x20000011, 0, 0));	     /* NW without CD */
	assert_false(cr_state_ok(d, 0x80000011, 0, 0x500));  /* long mode without PAE */
	assert_false(cr_state_ok(d, 0x80000011, 0x20, 0x100)); /* LME and paging, no LMA */
	assert_false(cr_state_ok(d, 0x11, 0x2000, 0));	     /* VMXE */
	assert_false(cr_state_ok(d, 0x11, 0x800000, 0));     /* CET */
	assert_false(cr_state_ok(d, 0x11, 0, 0x1000));	     /* SVME is not a guest's */
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
		cmocka_unit_test_setup(test_start_states, setup),
		cmocka_unit_test_setup(test_double_and_triple_fault, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
