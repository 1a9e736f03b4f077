/* sources: hcall/table.c hcall/multicall.c hcall/page.c hcall/misc.c hcall/console_io.c hcall/physdev_op.c core/policy.c */
#include "unit/hcall.h"
#include "hcall/page.h"

/* --- the rest of the surface: what was called with what --- */

static struct hcall seen;
static unsigned calls;
static long answer;
static unsigned restarts; /* how often memory_op restarts before it answers */

static long note(struct hcall *h)
{
	seen = *h;
	calls++;
	return answer;
}

long hcall_memory_op(struct hcall *h)
{
	if (restarts) {
		restarts--;
		h->arg[0] += 1 << 6; /* progress, as memory_op keeps it */
		calls++;
		return -ERESTART;
	}
	return note(h);
}

#define FAKE(name)                                                                                                     \
	long hcall_##name(struct hcall *h)                                                                             \
	{                                                                                                              \
		return note(h);                                                                                        \
	}
FAKE(event_channel_op)
FAKE(grant_table_op)
FAKE(sched_op)
FAKE(vcpu_op)
FAKE(xen_version)
FAKE(hvm_op)
FAKE(platform_op)
FAKE(sysctl)
FAKE(domctl)

static char console[4096];
static size_t console_len, input_len;

void console_write_guest(unsigned domid, const char *s, size_t n)
{
	memcpy(console + console_len, s, n);
	console_len += n;
}

size_t console_read(char *buf, size_t n)
{
	n = MIN(n, input_len);
	memset(buf, 'x', n);
	input_len -= n;
	return n;
}

static unsigned messages;

void log_printf(enum log_level level, const char *fmt, ...)
{
	messages++;
}

static enum cpu_mode mode;
static unsigned cpl, length, advanced;

enum cpu_mode hvm_mode(struct vcpu *v)
{
	return mode;
}

unsigned hvm_cpl(struct vcpu *v)
{
	return cpl;
}

void hvm_advance(struct vcpu *v, unsigned n)
{
	advanced += n;
}

unsigned insn_length(struct vcpu *v, enum insn_expect expect)
{
	assert_int_equal(expect, INSN_VMMCALL);
	return length;
}

static struct domain dom;
static struct vcpu vcpu;

static int setup(void **state)
{
	host_machine(512);
	caller_reset();
	memset(&dom, 0, sizeof(dom));
	memset(&vcpu, 0, sizeof(vcpu));
	vcpu.domain = &dom;
	host_current = &vcpu;
	timer_init(&vcpu.singleshot, TIMER_SINGLESHOT, &vcpu);
	calls = restarts = advanced = cpl = 0;
	console_len = input_len = 0;
	length = 3;
	answer = 0;
	mode = MODE_64;
	return 0;
}

static int teardown(void **state)
{
	timer_stop(&vcpu.singleshot);
	return 0;
}

/* Said once; a guest that makes up operations does not keep others from being said. */
static void refused_once(void **state)
{
	messages = 0;
	assert_int_equal(hcall_unimplemented("an op", 3, ENOSYS), -ENOSYS);
	assert_int_equal(hcall_unimplemented("an op", 3, ENOSYS), -ENOSYS);
	assert_int_equal(messages, 1);
	assert_int_equal(hcall_unimplemented("another", 3, EOPNOTSUPP), -EOPNOTSUPP);
	assert_int_equal(messages, 2);
	for (unsigned i = 100; i < 300; i++)
		hcall_unimplemented("an op", i, ENOSYS);
	assert_int_equal(messages, 64); /* that domain has said enough */
	vcpu.domain->refusals_said = 0; /* as another domain */
	hcall_unimplemented("a third", 1, ENOSYS);
	assert_int_equal(messages, 65);
}

/* --- the calling convention --- */

static void long_mode(void **state)
{
	vcpu.regs = (struct regs){
		.rax = __HYPERVISOR_sched_op, .rdi = 1ull << 40, .rsi = 2, .rdx = 3, .r10 = 4, .r8 = 5, .r9 = 6};
	answer = -EINVAL;
	hcall_exit(&vcpu, 3);
	for (unsigned i = 1; i < 6; i++)
		assert_int_equal(seen.arg[i], i + 1);
	assert_int_equal(seen.arg[0], 1ull << 40);
	assert_false(seen.compat);
	assert_int_equal(vcpu.regs.rax, -EINVAL);
	assert_int_equal(advanced, 3);
}

static void protected_mode(void **state)
{
	mode = MODE_32;
	vcpu.regs = (struct regs){.rax = 0xabcd00000000ull | __HYPERVISOR_sched_op,
				  .rbx = 1,
				  .rcx = ~0ull,
				  .rdx = 3,
				  .rsi = 4,
				  .rdi = 5,
				  .rbp = 6};
	answer = -EINVAL;
	hcall_exit(&vcpu, 0);
	assert_true(seen.compat);
	assert_int_equal(seen.arg[0], 1);
	assert_int_equal(seen.arg[1], UINT32_MAX);
	assert_int_equal(seen.arg[4], 5);
	assert_int_equal(vcpu.regs.rax, (uint32_t)-EINVAL);
	assert_int_equal(advanced, 3);
}

static void unprivileged(void **state)
{
	cpl = 3;
	vcpu.regs.rax = __HYPERVISOR_sched_op;
	hcall_exit(&vcpu, 3);
	assert_int_equal(calls, 0);
	assert_int_equal(vcpu.regs.rax, -EPERM);
	assert_int_equal(advanced, 3);
	mode = MODE_REAL; /* the CPL of real mode is 0, whatever the descriptor says */
	vcpu.regs.rax = __HYPERVISOR_sched_op;
	hcall_exit(&vcpu, 3);
	assert_int_equal(calls, 1);
}

static void unknown_number(void **state)
{
	static const uint64_t none[] = {0, 11, 40, 63, 64, 4096, 0x100000000ull | __HYPERVISOR_sched_op, ~0ull};

	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		vcpu.regs.rax = none[i];
		hcall_exit(&vcpu, 3);
		assert_int_equal(vcpu.regs.rax, -ENOSYS);
	}
	assert_int_equal(calls, 0);
}

static void instruction_not_readable(void **state)
{
	length = 0;
	vcpu.regs.rax = __HYPERVISOR_sched_op;
	hcall_exit(&vcpu, 0);
	assert_int_equal(calls, 0);
	assert_int_equal(advanced, 0);
	assert_int_equal(vcpu.regs.rax, __HYPERVISOR_sched_op);
}

static void restart(void **state)
{
	restarts = 1;
	answer = 7;
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_memory_op, .rdi = 6, .rsi = 99};
	hcall_exit(&vcpu, 3);
	assert_int_equal(advanced, 0);
	assert_int_equal(vcpu.regs.rax, __HYPERVISOR_memory_op);
	assert_int_equal(vcpu.regs.rdi, 6 + 64);
	assert_int_equal(vcpu.regs.rsi, 99);
	hcall_exit(&vcpu, 3);
	assert_int_equal(advanced, 3);
	assert_int_equal(vcpu.regs.rax, 7);
}

static void preempt(void **state)
{
	assert_false(hcall_preempt());
	host_preempt_wanted = true;
	assert_true(hcall_preempt());
}

/* --- multicall --- */

static void batch(void **state)
{
	struct multicall_entry *e = CALLER(struct multicall_entry, 0);

	for (unsigned i = 0; i < 3; i++)
		e[i] = (struct multicall_entry){.op = __HYPERVISOR_sched_op, .args = {i, 11}, .result = 99};
	e[1].op = __HYPERVISOR_multicall;
	answer = 5;
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_multicall, .rdi = ADDRESS(0), .rsi = 3};
	hcall_exit(&vcpu, 3);
	assert_int_equal(vcpu.regs.rax, 0);
	assert_int_equal(calls, 2);
	assert_int_equal(e[0].result, 5);
	assert_int_equal(e[1].result, -EINVAL);
	assert_int_equal(e[2].result, 5);
	assert_int_equal(seen.arg[0], 2);
}

static void batch_of_32_bit(void **state)
{
	uint32_t *e = CALLER(uint32_t, 0);

	mode = MODE_32;
	e[0] = e[8] = __HYPERVISOR_sched_op;
	e[2] = 77;
	e[10] = 78;
	answer = -EBUSY;
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_multicall, .rbx = ADDRESS(0), .rcx = 2};
	hcall_exit(&vcpu, 3);
	assert_int_equal(vcpu.regs.rax, 0);
	assert_int_equal(e[1], (uint32_t)-EBUSY);
	assert_int_equal(e[9], (uint32_t)-EBUSY);
	assert_int_equal(seen.arg[0], 78);
	assert_true(seen.compat);
}

static void batch_restarts(void **state)
{
	struct multicall_entry *e = CALLER(struct multicall_entry, 0);
	unsigned exits = 0;

	for (unsigned i = 0; i < 2; i++)
		e[i] = (struct multicall_entry){.op = __HYPERVISOR_memory_op, .args = {6}};
	restarts = 2;
	host_preempt_wanted = true;
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_multicall, .rdi = ADDRESS(0), .rsi = 2};
	while (!advanced && exits++ < 10)
		hcall_exit(&vcpu, 3);
	assert_int_equal(exits, 4); /* two inner restarts, one between the entries */
	assert_int_equal(vcpu.regs.rax, 0);
	assert_int_equal(e[0].args[0], 6 + 2 * 64);
	assert_int_equal(e[1].args[0], 6);
	assert_int_equal(calls, 4);
}

static void batch_bad_memory(void **state)
{
	struct multicall_entry *e = CALLER(struct multicall_entry, 0);

	e->op = __HYPERVISOR_sched_op;
	read_only_from = ADDRESS(0);
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_multicall, .rdi = ADDRESS(0), .rsi = 1};
	hcall_exit(&vcpu, 3);
	assert_int_equal(vcpu.regs.rax, -EFAULT);
	assert_int_equal(calls, 0); /* found before anything ran */
	vcpu.regs = (struct regs){.rax = __HYPERVISOR_multicall, .rdi = 1, .rsi = 0};
	hcall_exit(&vcpu, 3);
	assert_int_equal(vcpu.regs.rax, 0);
}

/* --- the page, console_io, vm_assist, set_timer_op, physdev_op --- */

static void page(void **state)
{
	static const uint8_t sched[] = {0xb8, __HYPERVISOR_sched_op, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3, 0xcc};
	static uint8_t p[PAGE_SIZE];

	hcall_page_fill(p, false);
	assert_memory_equal(p + 32 * __HYPERVISOR_sched_op, sched, sizeof(sched));
	assert_int_equal(p[32 * __HYPERVISOR_iret], 0x0f);
	assert_int_equal(p[32 * __HYPERVISOR_iret + 1], 0x0b);
	assert_int_equal(p[32 * 127 + 1], 127);
	hcall_page_fill(p, true);
	assert_int_equal(p[7], 0xc1);
}

static long call(long (*op)(struct hcall *), struct hcall *h)
{
	h->v = &vcpu;
	h->d = &dom;
	return op(h);
}

static void console_write(void **state)
{
	struct hcall h = {.arg = {CONSOLEIO_write, 1000, ADDRESS(0)}};
	unsigned n = 0;
	long ret;

	memset(memory, 'a', 1000);
	assert_int_equal(call(hcall_console_io, &h), -EPERM);
	dom.rights = RIGHT_CONSOLE;
	host_preempt_wanted = true;
	while ((ret = call(hcall_console_io, &h)) == -ERESTART)
		n++;
	assert_int_equal(ret, 0);
	assert_int_equal(n, 3);
	assert_int_equal(console_len, 1000);
	h = (struct hcall){.arg = {CONSOLEIO_write, 10, 8}};
	assert_int_equal(call(hcall_console_io, &h), -EFAULT);
	h = (struct hcall){.arg = {9, 10, ADDRESS(0)}};
	assert_int_equal(call(hcall_console_io, &h), -ENOSYS);
	h = (struct hcall){.arg = {CONSOLEIO_write, 0x80000000, ADDRESS(0)}};
	assert_int_equal(call(hcall_console_io, &h), -EINVAL);
}

static void console_input(void **state)
{
	struct hcall h = {.arg = {CONSOLEIO_read, 100, ADDRESS(0)}};

	dom.rights = RIGHT_CONSOLE;
	assert_int_equal(call(hcall_console_io, &h), 0);
	input_len = 5;
	read_only_from = ADDRESS(0);
	assert_int_equal(call(hcall_console_io, &h), -EFAULT);
	assert_int_equal(input_len, 5); /* nothing is lost */
	read_only_from = ADDRESS(CALLER_SIZE);
	assert_int_equal(call(hcall_console_io, &h), 5);
	assert_memory_equal(memory, "xxxxx", 6);
}

static void assist(void **state)
{
	struct hcall h = {.arg = {VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag}};

	assert_int_equal(call(hcall_vm_assist, &h), 0);
	assert_int_equal(dom.vm_assist, 1 << VMASST_TYPE_runstate_update_flag);
	h.arg[0] = VMASST_CMD_disable;
	assert_int_equal(call(hcall_vm_assist, &h), 0);
	assert_int_equal(dom.vm_assist, 0);
	h.arg[1] = VMASST_TYPE_writable_pagetables;
	assert_int_equal(call(hcall_vm_assist, &h), -EINVAL);
	h.arg[1] = 1ull << 32 | 63;
	assert_int_equal(call(hcall_vm_assist, &h), -EINVAL);
}

static void timer_op(void **state)
{
	struct hcall h = {.arg = {1ull << 33}};

	assert_int_equal(call(hcall_set_timer_op, &h), 0);
	assert_int_equal(vcpu.singleshot.deadline, 1ull << 33);
	h = (struct hcall){.compat = true, .arg = {5, 1}};
	assert_int_equal(call(hcall_set_timer_op, &h), 0);
	assert_int_equal(vcpu.singleshot.deadline, 5 + (1ull << 32));
	h = (struct hcall){.arg = {~0ull}};
	assert_int_equal(call(hcall_set_timer_op, &h), 0);
	assert_true(vcpu.singleshot.deadline < 1000000000);
	h.arg[0] = 0;
	assert_int_equal(call(hcall_set_timer_op, &h), 0);
	assert_false(timer_active(&vcpu.singleshot));
}

static void physdev(void **state)
{
	struct physdev_pci_mmcfg_reserved *m = CALLER(struct physdev_pci_mmcfg_reserved, 0);
	struct hcall h = {.arg = {PHYSDEVOP_pci_mmcfg_reserved, ADDRESS(0)}};

	assert_int_equal(call(hcall_physdev_op, &h), -ENOSYS);
	dom.rights = RIGHT_HARDWARE;
	m->end_bus = 255;
	assert_int_equal(call(hcall_physdev_op, &h), 0);
	h.arg[0] = PHYSDEVOP_pci_device_add;
	assert_int_equal(call(hcall_physdev_op, &h), 0);
	h.arg[1] = 8;
	assert_int_equal(call(hcall_physdev_op, &h), -EFAULT);
	h.arg[0] = PHYSDEVOP_map_pirq;
	assert_int_equal(call(hcall_physdev_op, &h), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(long_mode),
		T(protected_mode),
		T(unprivileged),
		T(unknown_number),
		T(instruction_not_readable),
		T(restart),
		T(preempt),
		T(batch),
		T(batch_of_32_bit),
		T(batch_restarts),
		T(batch_bad_memory),
		T(refused_once),
		T(page),
		T(console_write),
		T(console_input),
		T(assist),
		T(timer_op),
		T(physdev),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
