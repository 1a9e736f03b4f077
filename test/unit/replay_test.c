/* sources: hvm/svm_decode.c hvm/vmx_decode.c */
/*
 * What the two vendors' CPUs reported of the same guest event, recorded while the guest kernels insn, lapic and calls ran in
 * Bochs (corei7_skylake_x) and in QEMU (SVM), must become the same struct exit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hvm/vendor.h"
#include "hvm/vmcs.h"

struct svm_features svm_features;

struct svm_report {
	uint64_t code, info1, info2, interrupted, next_rip, rip;
};

static const struct {
	enum exit_kind kind;
	const char *what;
	struct vmx_report vmx;
	struct svm_report svm;
} events[] = {
	{ EXIT_CR_WRITE, "mov to CR4",
	  { 28, 0x0, 0x0, 0x0, 0x0, 3, 0x0, 0x4, 0x0, 0x0, 0x1000086 },
	  { 0x14, 0x0, 0x0, 0x0, 0x0, 0x1000086 } },
	{ EXIT_CR_WRITE, "mov to CR0",
	  { 28, 0x0, 0x0, 0x0, 0x0, 3, 0x0, 0x0, 0x0, 0x0, 0x10000a4 },
	  { 0x10, 0x0, 0x0, 0x0, 0x0, 0x10000a4 } },
	{ EXIT_NPF, "write of a device register",
	  { 48, 0x0, 0x0, 0x0, 0x0, 6, 0x0, 0x582, 0xfee00080, 0xfee00080, 0x10005ea },
	  { 0x400, 0x100000006, 0xfee00080, 0x0, 0x0, 0x10005ea } },
	{ EXIT_NPF, "read of one",
	  { 48, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x581, 0xfee00080, 0xfee00080, 0x10005f0 },
	  { 0x400, 0x100000004, 0xfee00080, 0x0, 0x0, 0x10005f0 } },
	{ EXIT_DR, "mov to DR0",
	  { 29, 0x0, 0x0, 0x0, 0x0, 3, 0x0, 0x0, 0x0, 0x0, 0x1000c07 },
	  { 0x30, 0x0, 0x0, 0x0, 0x0, 0x1000c07 } },
	{ EXIT_WBINVD, "wbinvd",
	  { 54, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x0, 0x0, 0x0, 0x1000bf7 },
	  { 0x89, 0x0, 0x0, 0xb0d, 0x0, 0x1000bf7 } },
	{ EXIT_RDPMC, "rdpmc",
	  { 15, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x0, 0x0, 0x0, 0x1000d1e },
	  { 0x6f, 0x0, 0x0, 0x306, 0x0, 0x1000d1e } },
	{ EXIT_EXCEPTION, "single step",
	  { 0, 0x80000301, 0x0, 0x0, 0x0, 0, 0x0, 0x4000, 0x0, 0x0, 0x1000d7d },
	  { 0x41, 0x0, 0x0, 0xb0d, 0x0, 0x1000d7d } },
	{ EXIT_CPUID, "cpuid",
	  { 10, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x0, 0x0, 0x0, 0x10001d0 },
	  { 0x72, 0x0, 0x0, 0x0, 0x0, 0x10001d0 } },
	{ EXIT_RDMSR, "rdmsr",
	  { 31, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x0, 0x0, 0x0, 0x1000096 },
	  { 0x7c, 0x0, 0x0, 0x0, 0x0, 0x1000096 } },
	{ EXIT_WRMSR, "wrmsr",
	  { 32, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x0, 0x0, 0x0, 0x100009d },
	  { 0x7c, 0x1, 0x0, 0x0, 0x0, 0x100009d } },
	{ EXIT_HYPERCALL, "vmcall, vmmcall",
	  { 18, 0x0, 0x0, 0x0, 0x0, 3, 0x0, 0x0, 0x0, 0x0, 0x1002c90 },
	  { 0x81, 0x0, 0x0, 0x0, 0x0, 0x1002c90 } },
	{ EXIT_IO, "in $0x20, %al",
	  { 30, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x200048, 0x0, 0x0, 0x100043e },
	  { 0x7b, 0x200011, 0x1000440, 0x0, 0x0, 0x100043e } },
	{ EXIT_IO, "in %dx, %ax",
	  { 30, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x200009, 0x0, 0x0, 0x1000466 },
	  { 0x7b, 0x200021, 0x1000468, 0x0, 0x0, 0x1000466 } },
	{ EXIT_IO, "in %dx, %eax",
	  { 30, 0x0, 0x0, 0x0, 0x0, 1, 0x0, 0x20000b, 0x0, 0x0, 0x1000489 },
	  { 0x7b, 0x200041, 0x100048a, 0x0, 0x0, 0x1000489 } },
	{ EXIT_IO, "out %al, %dx",
	  { 30, 0x0, 0x0, 0x0, 0x0, 1, 0x0, 0x200000, 0x0, 0x0, 0x10004a5 },
	  { 0x7b, 0x200010, 0x10004a6, 0x0, 0x0, 0x10004a5 } },
	{ EXIT_IO, "out %ax, %dx",
	  { 30, 0x0, 0x0, 0x0, 0x0, 2, 0x0, 0x200001, 0x0, 0x0, 0x10004a6 },
	  { 0x7b, 0x200020, 0x10004a8, 0x0, 0x0, 0x10004a6 } },
	{ EXIT_IO, "out %eax, %dx",
	  { 30, 0x0, 0x0, 0x0, 0x0, 1, 0x0, 0x200003, 0x0, 0x0, 0x10004a8 },
	  { 0x7b, 0x200040, 0x10004a9, 0x0, 0x0, 0x10004a8 } },
};

static struct exit from_svm(const struct svm_report *r)
{
	static struct vmcb c;
	struct exit e = { 0 };

	c.exit_code = r->code;
	c.exit_info1 = r->info1;
	c.exit_info2 = r->info2;
	c.exit_int_info = r->interrupted;
	c.next_rip = r->next_rip;
	c.rip = r->rip;
	svm_decode(&c, &e);
	return e;
}

static struct exit from_vmx(const struct vmx_report *r)
{
	struct exit e = { 0 };

	vmx_decode(r, &e);
	return e;
}

/* Only what one of the CPUs does not report may differ: lengths and what can be decoded instead, and the reason's number. */
static void same(const struct exit *a, const struct exit *b, const char *what)
{
	if (a->kind != b->kind || a->in != b->in || a->string != b->string || a->rep != b->rep || a->size != b->size ||
	    a->port != b->port || a->next_rip != b->next_rip || a->write != b->write || a->exec != b->exec ||
	    a->present != b->present || a->walk != b->walk || a->gpa != b->gpa || a->cr != b->cr ||
	    a->vector != b->vector || a->error_code != b->error_code || a->aux != b->aux)
		fail_msg("%s: the two decode differently", what);
	if ((a->interrupted | b->interrupted) & BIT(31))
		assert_int_equal(a->interrupted, b->interrupted);
}

static void test_recorded_exits(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
		struct exit v = from_vmx(&events[i].vmx), s = from_svm(&events[i].svm);

		if (v.kind != events[i].kind)
			fail_msg("%s: kind %u, not %u", events[i].what, v.kind, events[i].kind);
		same(&v, &s, events[i].what);
	}
}

/* A fault in the middle of another event's delivery, in both formats. */
static void test_interrupted_events(void **state)
{
	static const struct {
		uint32_t vmx, error;
		uint64_t svm;
	} cases[] = {
		{ 0x80000050, 0, 0x80000050 },		      /* external interrupt */
		{ 0x80000202, 0, 0x80000202 },		      /* NMI */
		{ 0x80000b0e, 6, 0x80000b0e | 6ull << 32 },   /* page fault */
		{ 0x80000480, 0, 0x80000480 },		      /* INT 0x80 */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmx_report v = { .reason = VMX_EPT_VIOLATION, .idt_event = cases[i].vmx, .idt_error = cases[i].error };
		struct svm_report s = { .code = VMEXIT_NPF, .interrupted = cases[i].svm };

		assert_int_equal(from_vmx(&v).interrupted, from_svm(&s).interrupted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_exits),
		cmocka_unit_test(test_interrupted_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
