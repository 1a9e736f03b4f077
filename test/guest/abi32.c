// SPDX-License-Identifier: Apache-2.0
/*
 * A 32-bit kernel: protected mode first without paging, then with it; the hypercall page by the MSR of CPUID leaf
 * 0x40000002; the 32-bit layouts of the ABI's structures; tasks, which no other kernel has.
 *
 * Sources: public headers arch-x86/cpuid.h, arch-x86/xen-x86_32.h; register use EBX, ECX, EDX, ESI, EDI.
 */
#include "lib/guest.h"

const char guest_name[] = "abi32";

#define BAD 0xe0000000UL /* no memory, no device */

static PAGE char page[PAGE_SIZE];
static PAGE uint32_t directory[1024];
static char *area;

static long page_call(unsigned long op, unsigned long a1, unsigned long a2, unsigned long a3)
{
	long ret;

	__asm__ volatile("call *%[at]"
			 : "=a"(ret), "+b"(a1), "+c"(a2), "+d"(a3)
			 : [at] "S"(page + 32 * op), "0"(op)
			 : "memory");
	return ret;
}

static void hypercall_page(void)
{
	uint32_t r[4];

	cpu_cpuid(0x40000002, 0, r);
	CHECK_EQ("one page", r[0], 1);
	cpu_wrmsr(r[1], (unsigned long)page);
	CHECK_EQ("the MSR takes it", trap_seen.vector, TRAP_NONE);
	CHECK_EQ("a call through the page", page_call(__HYPERVISOR_xen_version, XENVER_version, 0, 0), 4 << 16 | 17);
	CHECK_EQ("another", page_call(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0), 0);
	CHECK_EQ("iret is an invalid opcode there", *(uint16_t *)(page + 32 * __HYPERVISOR_iret), 0x0b0f);
	cpu_wrmsr(r[1], 0xfffff000000UL);
	CHECK_EQ("a page that is not there", trap_seen.vector, TRAP_GP);
	cpu_wrmsr(r[1], (unsigned long)page | 1);
	CHECK_EQ("page index 1", trap_seen.vector, TRAP_GP);
}

static void calls(const char *mode)
{
	xen_extraversion_t extra;
	struct xen_feature_info f = {.submap_idx = 0};
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
	xen_pfn_t gfn = (unsigned long)area / PAGE_SIZE;
	struct vcpu_runstate_info state;
	struct multicall_entry m[3] = {
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_version}},
		{.op = 55},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
	};
	evtchn_port_t port;
	unsigned int was;

	print("32 bits, %s\n", mode);
	CHECK_EQ("extraversion", hc_version(XENVER_extraversion, extra), 0);
	CHECK_EQ("features", hc_version(XENVER_get_features, &f), 0);
	CHECK("features are there", f.submap >> XENFEAT_auto_translated_physmap & 1);
	CHECK_EQ("unknown hypercall", HC(63, 0), -XEN_ENOSYS);
	set_xen_guest_handle(r.extent_start, &gfn);
	CHECK_EQ("decrease", hc_memory(XENMEM_decrease_reservation, &r), 1);
	CHECK_EQ("a hole", *(volatile uint32_t *)area, 0xffffffff);
	CHECK_EQ("populate", hc_memory(XENMEM_populate_physmap, &r), 1);
	*(volatile uint32_t *)area = 77;
	CHECK_EQ("memory", *(volatile uint32_t *)area, 77);
	CHECK_EQ("runstate", hc_vcpu(VCPUOP_get_runstate_info, 0, &state), 0);
	CHECK_EQ("running", state.state, RUNSTATE_running);
	CHECK_EQ("multicall", HC(__HYPERVISOR_multicall, m, 3), 0);
	CHECK("its results",
	      m[0].result == (4 << 16 | 17) && m[1].result == (unsigned long)-XEN_ENOSYS && m[2].result == 4096);
	CHECK_EQ("bind_ipi", event_bind_ipi(0, &port), 0);
	event_set_mask(port, false);
	was = event_seen[port];
	CHECK_EQ("send", event_send(port), 0);
	cpu_irq_window();
	CHECK_EQ("arrived", event_seen[port], was + 1);
	CHECK_EQ("close", event_close(port), 0);
	CHECK("clock", event_now() > 0);
}

static void shared_layout(void)
{
	struct vcpu_time_info *t = &event_vcpu()->time;

	CHECK_EQ("shared_info has the 32-bit layout", sizeof(event_shared->evtchn_pending), 128);
	CHECK("time record is where 32-bit kernels look", t->tsc_to_system_mul != 0 && t->system_time != 0);
	CHECK("wall clock too", event_shared->wc_sec > 1577836800U);
}

/* 4 MiB pages, one to one; what lies at BAD is left out. */
static void paging_on(void)
{
	unsigned long v;

	for (unsigned int i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0x83;
	directory[BAD >> 22] = 0;
	__asm__ volatile("mov %%cr4, %0; orl $0x10, %0; mov %0, %%cr4" : "=r"(v));
	__asm__ volatile("mov %0, %%cr3" : : "r"(directory) : "memory");
	__asm__ volatile("mov %%cr0, %0; orl $0x80010000, %0; mov %0, %%cr0" : "=r"(v) : : "memory");
}

/* --- two tasks: this one and one that counts, and says what it found (SDM vol. 3, 7.3) --- */

#define TASK_SELF  0x30
#define TASK_OTHER 0x38
#define TSS_WORDS  26
#define NT	   (1U << 14)
#define TS	   (1U << 3)
#define GATE	   0x90
#define NO_SEGMENT 0x1238U

extern uint64_t gdt_tss[2];
extern const char task_code[];
uint32_t task_self[TSS_WORDS] __attribute__((aligned(128))), task_other[TSS_WORDS] __attribute__((aligned(128)));
uint32_t task_stack[256];
volatile uint32_t task_count, task_flags, task_cr0, task_error, task_takes_error, task_jumps;

/* After an exception the other goes on behind an instruction of two bytes. */
__asm__(".pushsection .text\n"
	"task_code:\n"
	"	pushfl\n"
	"	popl task_flags\n"
	"	mov %cr0, %eax\n"
	"	mov %eax, task_cr0\n"
	"	incl task_count\n"
	"	cmpl $0, task_takes_error\n"
	"	je 1f\n"
	"	popl task_error\n"
	"	addl $2, task_self + 32\n"
	"1:	cmpl $0, task_jumps\n"
	"	jne 2f\n"
	"	iretl\n"
	"	jmp task_code\n"
	"2:	ljmp $0x30, $0\n"
	"	jmp task_code\n"
	".popsection\n");

static uint64_t task_descriptor(const uint32_t *tss)
{
	uint64_t base = (unsigned long)tss;

	return (sizeof(task_self) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24) << 56;
}

/* It ran once more, as part of this task or not, and this one is the busy one again. */
static void task_ran(uint32_t count, bool nested)
{
	CHECK_EQ("it ran", task_count, count);
	CHECK_EQ("as part of this one", task_flags & NT, nested ? NT : 0U);
	CHECK("with the FPU to be switched", task_cr0 & TS || guest_option("oracle")); /* Xen keeps it to itself */
	CHECK_EQ("its descriptor is free", gdt_tss[1] >> 40 & 0xff, 0x89);
	CHECK_EQ("this one's is busy", gdt_tss[0] >> 40 & 0xff, 0x8b);
	if (nested)
		CHECK_EQ("the way back was written", task_other[0] & 0xffff, TASK_SELF);
}

static void tasks(void)
{
	unsigned long cr3, kept = 0x5a5a1234;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	memset(task_other, 0, sizeof(task_other));
	task_other[7] = cr3;
	task_other[8] = (unsigned long)task_code;
	task_other[9] = 2;
	task_other[14] = (unsigned long)(task_stack + 256);
	for (unsigned int i = 18; i < 24; i++)
		task_other[i] = i == 19 ? 0x10 : 0x18; /* ES, CS, SS, DS, FS, GS */
	task_self[7] = cr3;
	gdt_tss[0] = task_descriptor(task_self);
	gdt_tss[1] = task_descriptor(task_other);
	__asm__ volatile("ltr %w0" : : "r"(TASK_SELF));

	__asm__ volatile("lcall $0x38, $0" : "+S"(kept) : : "memory", "cc");
	CHECK_EQ("registers are this task's", kept, 0x5a5a1234);
	task_ran(1, true);
	trap_task(GATE, TASK_OTHER);
	__asm__ volatile("int $0x90" : "+D"(kept) : : "memory", "cc");
	CHECK_EQ("and after an interrupt", kept, 0x5a5a1234);
	task_ran(2, true);
	trap_task(TRAP_GP, TASK_OTHER);
	task_takes_error = 1;
	__asm__ volatile(".byte 0x8e, 0xe0" : : "a"(NO_SEGMENT) : "memory", "cc"); /* mov %ax, %fs */
	trap_gate_default(TRAP_GP);
	task_takes_error = 0;
	task_ran(3, true);
	CHECK_EQ("the error code was on its stack", task_error, NO_SEGMENT);
	task_jumps = 1;
	__asm__ volatile("ljmp $0x38, $0" : : : "memory", "cc");
	task_ran(4, false);
}

void guest_main(void)
{
	area = guest_pages(1);
	/* Writing the MSR also tells the hypervisor that shared_info is to have the 32-bit layout. */
	hypercall_page();
	event_init();
	shared_layout();
	calls("no paging");
	paging_on();
	calls("paging");
	CHECK_EQ("a pointer to nothing", hc_version(XENVER_extraversion, BAD), -XEN_EFAULT);
	CHECK_EQ("the hypercall page again", page_call(__HYPERVISOR_xen_version, XENVER_version, 0, 0), 4 << 16 | 17);
	tasks();
}
