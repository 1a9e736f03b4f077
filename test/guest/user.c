// SPDX-License-Identifier: Apache-2.0
/*
 * Privilege 3: a hypercall is refused there, privileged instructions fault in the guest, what is open to all still
 * works.
 *
 * Sources: public header xen.h (hypercalls are the kernel's); AMD APM vol. 3 for each instruction.
 */
#include "lib/guest.h"

const char guest_name[] = "user";

#define BACK 0x80

extern uint64_t gdt_tss[2], pml4_table[512], pdpt_table[512], pd_table[2048];

static struct {
	uint32_t zero;
	uint64_t rsp[3], rest[9];
	uint32_t end;
} __attribute__((packed)) tss;

static char kernel_stack[16384] __attribute__((aligned(16))), user_stack[16384] __attribute__((aligned(16)));
static unsigned long back_ip, back_sp, result;

/* INT BACK ends the stay at privilege 3: go on in the kernel where it began. */
static void back(struct trap_regs *regs)
{
	result = regs->ax;
	regs->ip = back_ip;
	regs->sp = back_sp;
	regs->cs = 0x08;
	regs->ss = 0x18;
}

/* Runs code, which ends in INT BACK, at privilege 3; returns its RAX. */
static unsigned long user(void (*code)(void))
{
	trap_arm();
	__asm__ volatile("push %%rbx; push %%rbp\n"
			 "mov %%rsp, %[sp]\n"
			 "lea 1f(%%rip), %%rax\n"
			 "mov %%rax, %[ip]\n"
			 "push $0x23; push %[ustack]; push $2; push $0x2b; push %[code]\n"
			 "iretq\n"
			 "1: pop %%rbp; pop %%rbx"
			 : [sp] "=m"(back_sp), [ip] "=m"(back_ip)
			 : [ustack] "r"(user_stack + sizeof(user_stack)), [code] "r"(code)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
			   "memory", "cc");
	return result;
}

static void prepare(void)
{
	uint64_t base = (uint64_t)&tss;

	for (unsigned int i = 0; i < 2048; i++)
		pd_table[i] |= 4;
	for (unsigned int i = 0; i < 4; i++)
		pdpt_table[i] |= 4;
	pml4_table[0] |= 4;
	__asm__ volatile("mov %0, %%cr3" : : "r"(pml4_table) : "memory");
	tss.rsp[0] = (uint64_t)kernel_stack + sizeof(kernel_stack);
	tss.end = sizeof(tss) << 16;
	gdt_tss[0] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89UL << 40 | (base >> 24 & 0xff) << 56;
	gdt_tss[1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(0x30));
	trap_set(BACK, back);
	trap_user(BACK);
}

/* One routine for privilege 3: loads RAX, tries one instruction, comes back. */
#define USER(name, rax, insn)                                                                                          \
	static __attribute__((naked)) void name(void)                                                                  \
	{                                                                                                              \
		__asm__ volatile("mov $" rax ", %eax\nxor %edi, %edi\n" TRAP_TRY(insn) "int $0x80");                   \
	}

USER(do_vmmcall, "17", "vmmcall")
USER(do_vmcall, "17", "vmcall")
USER(do_cpuid, "0x40000001", "cpuid")
USER(do_rdmsr, "0", "rdmsr")
USER(do_wrmsr, "0", "wrmsr")
USER(do_hlt, "0", "hlt")
USER(do_out, "0", "out %al, $0x20")
USER(do_in, "0", "in $0x20, %al")
USER(do_cr, "0", "mov %rax, %cr4")
USER(do_dr, "0", "mov %rax, %dr7")
USER(do_wbinvd, "0", "wbinvd")
USER(do_invlpg, "0", "invlpg (%rax)")
USER(do_rdtsc, "0", "rdtsc")
USER(do_ud2, "0", "ud2")
USER(do_apic, "0xfee00030", "mov (%rax), %eax")
USER(do_vmrun, "0x1000", "vmrun %rax")

static void faults(const char *name, void (*code)(void), unsigned long vector)
{
	user(code);
	CHECK_EQ(name, trap_seen.vector, vector);
}

void guest_main(void)
{
	uint32_t r[4];

	prepare();
	cpu_cpuid(0x40000001, 0, r);
	CHECK_EQ("a hypercall is refused", user(guest_amd ? do_vmmcall : do_vmcall), -XEN_EPERM);
	CHECK_EQ("without a fault", trap_seen.vector, TRAP_NONE);
	CHECK_EQ("CPUID works", user(do_cpuid), r[0]);
	faults("RDMSR", do_rdmsr, TRAP_GP);
	faults("WRMSR", do_wrmsr, TRAP_GP);
	faults("HLT", do_hlt, TRAP_GP);
	faults("OUT", do_out, TRAP_GP);
	faults("IN", do_in, TRAP_GP);
	faults("CR4", do_cr, TRAP_GP);
	faults("DR7", do_dr, TRAP_GP);
	faults("WBINVD", do_wbinvd, TRAP_GP);
	faults("INVLPG", do_invlpg, TRAP_GP);
	faults("RDTSC works", do_rdtsc, TRAP_NONE);
	faults("UD2", do_ud2, TRAP_UD);
	user(do_vmrun);
	CHECK_EITHER("VMRUN", trap_seen.vector, TRAP_UD, TRAP_GP);
	if (cpu_rdmsr(APIC_BASE_MSR) & 1UL << 10)
		apic_x2_leave();
	CHECK_EQ("a register in memory is read", user(do_apic), apic_read(APIC_VERSION));
	CHECK_EQ("the kernel's hypercalls go on", hc_version(XENVER_version, 0), 4 << 16 | 17);
}
