/* sources: hvm/task.c */
/* Task switches: the good ones, and every check of the SDM's that can fail, in which of the two tasks it does. */
#include "unit/hvm_fake.h"

#include "hvm/exit.h"
#include "hvm/task.h"

#define GDT	 0x1000u
#define OLD	 0x08u /* selectors */
#define NEXT	 0x10u
#define CODE	 0x18u
#define DATA	 0x20u
#define LDT	 0x28u
#define ODD	 0x30u /* what a test makes of it */
#define OLD_TSS	 0x2000u
#define NEXT_TSS 0x3000u
#define NT	 BIT(14)

static struct vcpu *const v = &fake_vcpu[0];
static int vector;
static uint32_t code;
static unsigned debug_traps, crashes;

void vlapic_init(struct vcpu *c)
{
}

void hvm_inject_exception(struct vcpu *c, unsigned n, bool has_error, uint32_t error)
{
	assert_true(has_error);
	vector = (int)n;
	code = error;
}

void hvm_inject_db(struct vcpu *c)
{
	debug_traps++;
}

uint64_t hvm_get_cr(struct vcpu *c, unsigned cr)
{
	return cr ? svm_vmcb(c)->cr3 : svm_vmcb(c)->cr0;
}

void hvm_set_cr(struct vcpu *c, unsigned cr, uint64_t value)
{
	*(cr ? &svm_vmcb(c)->cr3 : &svm_vmcb(c)->cr0) = value;
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
	crashes++;
}

static void descriptor(uint16_t selector, uint32_t base, uint32_t limit, uint16_t attr)
{
	uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
		     (uint64_t)(limit >> 16) << 48 | (uint64_t)(attr >> 8) << 52 | (uint64_t)(base >> 24) << 56;

	memcpy(fake_ram + GDT + (selector & ~7u), &d, sizeof(d));
}

static uint8_t type_of(uint16_t selector)
{
	return fake_ram[GDT + selector + 5];
}

static uint32_t word(uint32_t at)
{
	uint32_t w;

	memcpy(&w, fake_ram + at, sizeof(w));
	return w;
}

static void put(uint32_t at, uint32_t w)
{
	memcpy(fake_ram + at, &w, sizeof(w));
}

static int setup(void **state)
{
	static const uint32_t selectors[] = { DATA, CODE, DATA, DATA, 0, DATA };

	fake_machine(1);
	vector = -1;
	debug_traps = crashes = 0;
	descriptor(OLD, OLD_TSS, 0x67, 0x8b);
	descriptor(NEXT, NEXT_TSS, 0x67, 0x89);
	descriptor(CODE, 0, 0xfffff, 0xc9b);
	descriptor(DATA, 0, 0xfffff, 0xc92); /* not accessed yet */
	descriptor(LDT, 0x4000, 0xff, 0x82);
	hvm_set_segment(v, SEG_GDTR, &(struct segment){ .base = GDT, .limit = 0x37 });
	hvm_set_segment(v, SEG_TR, &(struct segment){ OLD, 0x8b, 0x67, OLD_TSS });
	hvm_set_segment(v, SEG_CS, &(struct segment){ 0x1b, 0xcfb, ~0u, 0 });
	svm_vmcb(v)->cr0 = 0x80000011;
	svm_vmcb(v)->dr7 = 0x7ff;
	v->regs = (struct regs){ .rip = 0x500, .rflags = 0x246 | NT, .rax = 1, .rsp = 0x600, .rdi = 7 };
	put(NEXT_TSS + 0x1c, 0x9000);
	put(NEXT_TSS + 0x20, 0x700);
	put(NEXT_TSS + 0x24, 0x202);
	put(NEXT_TSS + 0x28, 11);
	put(NEXT_TSS + 0x38, 0x800);
	put(NEXT_TSS + 0x44, 17);
	for (unsigned i = 0; i < 6; i++)
		put(NEXT_TSS + 0x48 + 4 * i, selectors[i]);
	put(NEXT_TSS + 0x60, LDT);
	return 0;
}

static const struct exit call = { .kind = EXIT_TASK, .selector = NEXT, .task = TASK_CALL, .length = 7 };

static void switches(struct exit e)
{
	task_switch(v, &e);
}

static uint16_t loaded(enum seg g)
{
	struct segment s;

	hvm_get_segment(v, g, &s);
	return s.sel;
}

static void test_call(void **state)
{
	struct segment s;

	switches(call);
	assert_int_equal(vector, -1);
	assert_int_equal(word(OLD_TSS + 0x20), 0x507);
	assert_int_equal(word(OLD_TSS + 0x24), 0x246 | NT);
	assert_int_equal(word(OLD_TSS + 0x28), 1);
	assert_int_equal(word(OLD_TSS + 0x38), 0x600);
	assert_int_equal(word(OLD_TSS + 0x44), 7);
	assert_int_equal(word(OLD_TSS + 0x4c), 0x1b);
	assert_int_equal(word(NEXT_TSS), OLD);
	assert_int_equal(type_of(OLD), 0x8b);
	assert_int_equal(type_of(NEXT), 0x8b);
	assert_int_equal(v->regs.rip, 0x700);
	assert_int_equal(v->regs.rflags, 0x202 | NT);
	assert_int_equal(v->regs.rax, 11);
	assert_int_equal(v->regs.rdi, 17);
	assert_int_equal(svm_vmcb(v)->cr3, 0x9000);
	assert_int_equal(svm_vmcb(v)->cr0, 0x80000019);
	assert_int_equal(svm_vmcb(v)->dr7, 0x6aa);
	hvm_get_segment(v, SEG_TR, &s);
	assert_true(s.sel == NEXT && s.base == NEXT_TSS && (s.attr & 15) == 11);
	hvm_get_segment(v, SEG_SS, &s);
	assert_true(s.sel == DATA && s.limit == ~0u && s.attr == 0xc93);
	assert_int_equal(type_of(DATA), 0x93);
	assert_int_equal(loaded(SEG_CS), CODE);
	assert_int_equal(loaded(SEG_LDTR), LDT);
	hvm_get_segment(v, SEG_FS, &s);
	assert_int_equal(s.attr, 0); /* null */
}

static void test_jump_and_return(void **state)
{
	struct exit e = call;

	e.task = TASK_JMP;
	put(NEXT_TSS, 0x77);
	switches(e);
	assert_int_equal(word(NEXT_TSS), 0x77);
	assert_int_equal(type_of(OLD), 0x89);
	assert_int_equal(type_of(NEXT), 0x8b);
	assert_int_equal(v->regs.rflags, 0x202);
	setup(state);
	descriptor(NEXT, NEXT_TSS, 0x67, 0x8b);
	e.task = TASK_IRET;
	switches(e);
	assert_int_equal(vector, -1);
	assert_int_equal(word(OLD_TSS + 0x24), 0x246);
	assert_int_equal(type_of(OLD), 0x89);
	assert_int_equal(type_of(NEXT), 0x8b);
}

static void test_gate(void **state)
{
	struct exit e = call;

	e.task = TASK_GATE;
	e.length = 0;
	e.has_error = true;
	e.error_code = 0x1234;
	put(NEXT_TSS + 0x64, 1); /* T */
	switches(e);
	assert_int_equal(word(OLD_TSS + 0x20), 0x500);
	assert_int_equal(v->regs.rsp, 0x7fc);
	assert_int_equal(word(0x7fc), 0x1234);
	assert_int_equal(word(NEXT_TSS), OLD);
	assert_int_equal(debug_traps, 1);
	assert_true(svm_vmcb(v)->dr6 & BIT(15));
}

static void test_v86(void **state)
{
	struct segment s;

	put(NEXT_TSS + 0x24, 0x202 | BIT(17));
	put(NEXT_TSS + 0x54, 0x40);
	switches(call);
	assert_int_equal(vector, -1);
	hvm_get_segment(v, SEG_DS, &s);
	assert_true(s.sel == 0x40 && s.base == 0x400 && s.limit == 0xffff && s.attr == 0xf3);
}

/* Nothing of the old task has changed, or (late) the new one runs already. */
static void refused(struct exit e, int expect, uint32_t error, bool late)
{
	switches(e);
	assert_int_equal(vector, expect);
	assert_int_equal(code, error);
	assert_int_equal(v->regs.rip, late ? 0x700 : 0x500);
	assert_int_equal(loaded(SEG_TR), late ? NEXT : OLD);
	assert_int_equal(type_of(OLD), 0x8b);
	assert_int_equal(word(OLD_TSS + 0x20), late ? 0x507 : 0);
	memset(fake_ram, 0, sizeof(fake_ram));
	setup(NULL);
}

static void test_refused(void **state)
{
	struct exit e = call, back = call;

	back.task = TASK_IRET;
	refused(back, 10, NEXT, false); /* not busy */
	descriptor(NEXT, NEXT_TSS, 0x67, 0x8b);
	refused(call, 13, NEXT, false); /* busy */
	descriptor(NEXT, NEXT_TSS, 0x67, 0x81);
	refused(call, 13, NEXT, false); /* of 16 bits */
	descriptor(NEXT, NEXT_TSS, 0x67, 0x09);
	refused(call, 11, NEXT, false);
	descriptor(NEXT, NEXT_TSS, 0x66, 0x89);
	refused(call, 10, NEXT, false);
	e.selector = NEXT | 4;
	refused(e, 13, NEXT | 4, false);
	e.selector = 0x38 | 3;
	refused(e, 13, 0x38, false);
	e.selector = 0;
	refused(e, 13, 0, false);
	descriptor(NEXT, 0x100000, 0x67, 0x89);
	switches(call);
	assert_int_equal(fake_fault_vector, 14);
	assert_int_equal(fake_fault_addr, 0x100000);
	assert_int_equal(v->regs.rip, 0x500);
	setup(NULL);
	hvm_set_segment(v, SEG_TR, &(struct segment){ OLD, 0x83, 0x67, OLD_TSS });
	switches(call);
	assert_int_equal(crashes, 1);
}

static void test_refused_later(void **state)
{
	static const struct {
		uint32_t field, selector;
		uint16_t attr;
		int vector;
		uint32_t error;
	} cases[] = {
		{ 0x60, ODD, 0x89, 10, ODD }, /* LDT: another type */
		{ 0x60, ODD | 4, 0x82, 10, ODD | 4 },
		{ 0x60, ODD, 0x02, 10, ODD },	   /* not present */
		{ 0x4c, 0, 0, 10, 0 },		   /* CS: null */
		{ 0x4c, ODD, 0xc93, 10, ODD },	   /* data */
		{ 0x4c, ODD, 0xcfb, 10, ODD },	   /* privilege 3, selector's 0 */
		{ 0x4c, ODD, 0xc1b, 11, ODD },	   /* not present */
		{ 0x50, 0, 0, 10, 0 },		   /* SS: null */
		{ 0x50, ODD, 0xc91, 10, ODD },	   /* read-only */
		{ 0x50, ODD, 0xcf3, 10, ODD },	   /* privilege 3 */
		{ 0x50, ODD, 0xc13, 12, ODD },	   /* not present */
		{ 0x54, ODD, 0xc99, 10, ODD },	   /* DS: code that cannot be read */
		{ 0x54, ODD, 0xc82, 10, ODD },	   /* a system segment */
		{ 0x54, ODD | 3, 0xc93, 10, ODD }, /* asked for by privilege 3 */
		{ 0x5c, ODD, 0xc13, 11, ODD },	   /* GS: not present */
		{ 0x48, 0x1000, 0, 10, 0x1000 },   /* ES: outside the table */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		put(NEXT_TSS + cases[i].field, cases[i].selector);
		descriptor(ODD, 0, 0xfffff, cases[i].attr);
		refused(call, cases[i].vector, cases[i].error, true);
	}
	put(NEXT_TSS + 0x54, ODD | 3); /* conforming code may be read by all */
	descriptor(ODD, 0, 0xfffff, 0xc9e);
	switches(call);
	assert_int_equal(vector, -1);
	assert_int_equal(type_of(ODD), 0x9f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_call, setup),    cmocka_unit_test_setup(test_jump_and_return, setup),
		cmocka_unit_test_setup(test_gate, setup),    cmocka_unit_test_setup(test_v86, setup),
		cmocka_unit_test_setup(test_refused, setup), cmocka_unit_test_setup(test_refused_later, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
