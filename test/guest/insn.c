// SPDX-License-Identifier: Apache-2.0
/*
 * Instructions that exit: their length with prefixes and across pages, port and string I/O, and the forms of memory
 * access that reach emulated registers.
 *
 * Without NRIP save the hypervisor finds lengths itself; a wrong one shows here as a wrong register or an exception.
 */
#include "lib/guest.h"

const char guest_name[] = "insn";

#define DEAD_PORT 0x20 /* the PIC, which a PVH domain does not have */
#define TPR	  (*(volatile uint32_t *)0xfee00080UL)
#define TPR8	  (*(volatile uint8_t *)0xfee00080UL)
#define TPR16	  (*(volatile uint16_t *)0xfee00080UL)

/* Runs code, followed by a RET, placed so that its first `before` bytes end a page. Returns RAX. */
static unsigned long run(const void *code, size_t n, size_t before, unsigned long ax, unsigned long cx)
{
	static char *page;
	unsigned long dx = 0, bx;
	char *at;

	if (!page)
		page = guest_pages(2);
	at = page + PAGE_SIZE - before;
	memcpy(at, code, n);
	at[n] = (char)0xc3;
	__asm__ volatile("call *%[at]"
			 : "+a"(ax), "+c"(cx), "+d"(dx), "=b"(bx)
			 : [at] "S"(at)
			 : "memory", "rdi", "r8", "r9", "r10", "r11", "cc");
	return ax;
}

struct code {
	const char *name, *bytes;
	size_t n;
};
#define CODE(name, bytes)                                                                                              \
	{                                                                                                              \
		name, bytes, sizeof(bytes) - 1                                                                         \
	}

static void lengths(void)
{
	static const struct code cpuid[] = {
		CODE("cpuid", "\x0f\xa2"),
		CODE("66 cpuid", "\x66\x0f\xa2"),
		CODE("rex.w cpuid", "\x48\x0f\xa2"),
		CODE("repne cpuid", "\xf2\x0f\xa2"),
		CODE("rep cpuid", "\xf3\x0f\xa2"),
		CODE("cs cpuid", "\x2e\x0f\xa2"),
		CODE("67 66 ds rex cpuid", "\x67\x66\x3e\x41\x0f\xa2"),
		CODE("many prefixes cpuid", "\x66\x66\x66\x2e\x2e\x36\x3e\x67\x48\x0f\xa2"),
	};
	static const struct code rdmsr[] = {
		CODE("rdmsr", "\x0f\x32"),
		CODE("66 rdmsr", "\x66\x0f\x32"),
		CODE("rex.w rdmsr", "\x48\x0f\x32"),
		CODE("rep gs rdmsr", "\xf3\x65\x0f\x32"),
	};
	static const struct code call[] = {
		CODE("vmmcall", "\x0f\x01\xd9"),
		CODE("66 vmmcall", "\x66\x0f\x01\xd9"),
		CODE("rex.w vmmcall", "\x48\x0f\x01\xd9"),
		CODE("fs rex vmmcall", "\x64\x4f\x0f\x01\xd9"),
	};
	uint32_t r[4];
	uint64_t base = cpu_rdmsr(APIC_BASE_MSR);
	unsigned long version = (unsigned long)hc_version(XENVER_version, 0);

	cpu_cpuid(0x40000001, 0, r);
	for (unsigned int i = 0; i < ARRAY_SIZE(cpuid); i++)
		for (size_t b = 0; b <= cpuid[i].n; b++)
			CHECK_EQ(cpuid[i].name, run(cpuid[i].bytes, cpuid[i].n, b, 0x40000001, 0), r[0]);
	for (unsigned int i = 0; i < ARRAY_SIZE(rdmsr); i++)
		for (size_t b = 0; b <= rdmsr[i].n; b++)
			CHECK_EQ(rdmsr[i].name, run(rdmsr[i].bytes, rdmsr[i].n, b, 0, APIC_BASE_MSR), (uint32_t)base);
	if (!guest_amd)
		return;
	/* xen_version: RDI holds whatever, so ask for the version by the sub-op in RDI through a trampoline of MOVs. */
	for (unsigned int i = 0; i < ARRAY_SIZE(call); i++) {
		char with[16] = "\x31\xff"; /* xor %edi,%edi: XENVER_version */

		memcpy(with + 2, call[i].bytes, call[i].n);
		for (size_t b = 0; b <= call[i].n + 2; b++)
			CHECK_EQ(call[i].name, run(with, call[i].n + 2, b, __HYPERVISOR_xen_version, 0), version);
	}
}

static void ports(void)
{
	char buf[16];
	unsigned long ax = 0x1122334455667788UL, n = 4;
	void *p = buf;

	__asm__ volatile("inb $0x20, %%al" : "+a"(ax));
	CHECK_EQ("in al, imm8: all ones, rest kept", ax, 0x11223344556677ffUL);
	ax = 0x1122334455667788UL;
	__asm__ volatile("inw %%dx, %%ax" : "+a"(ax) : "d"(DEAD_PORT));
	CHECK_EQ("in ax, dx", ax, 0x112233445566ffffUL);
	ax = 0x1122334455667788UL;
	__asm__ volatile("inl %%dx, %%eax" : "+a"(ax) : "d"(DEAD_PORT));
	CHECK_EQ("in eax, dx clears the top", ax, 0xffffffffUL);
	__asm__ volatile("outb %%al, %%dx; outw %%ax, %%dx; outl %%eax, %%dx; outb %%al, $0x20"
			 :
			 : "a"(0), "d"(DEAD_PORT));
	memset(buf, 0, sizeof(buf));
	__asm__ volatile("rep insb" : "+D"(p), "+c"(n) : "d"(DEAD_PORT) : "memory");
	CHECK("rep insb fills", buf[0] == -1 && buf[3] == -1 && buf[4] == 0);
	CHECK("rep insb moves on", p == buf + 4 && n == 0);
	p = buf;
	n = 3;
	__asm__ volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(DEAD_PORT) : "memory");
	CHECK("rep outsb moves on", p == buf + 3 && n == 0);
	p = buf;
	n = 2;
	__asm__ volatile("rep insl" : "+D"(p), "+c"(n) : "d"(DEAD_PORT) : "memory");
	CHECK("rep insl moves on", p == buf + 8 && n == 0);
	p = buf + 8;
	__asm__ volatile("std; insw; cld" : "+D"(p) : "d"(DEAD_PORT) : "memory");
	CHECK("insw downwards", p == buf + 6);
	n = 0;
	__asm__ volatile("rep insb" : "+D"(p), "+c"(n) : "d"(DEAD_PORT) : "memory");
	CHECK("rep insb of none", n == 0 && p == buf + 6);
	cpu_outb(0xe9, 0);
}

static void register_forms(void)
{
	unsigned long r;
	uint32_t word = 0x70, *p = &word;
	void *to = (void *)0xfee00080UL;
	bool zero, carry;

	TPR = 0x20;
	CHECK_EQ("mov r32", TPR, 0x20);
	__asm__ volatile("movl $0x30, (%0)" : : "r"(to) : "memory");
	CHECK_EQ("mov imm32", TPR, 0x30);
	__asm__ volatile("movb (%1), %b0" : "=q"(r) : "r"(to), "0"(0x1234567890UL));
	CHECK_EQ("mov r8 keeps the rest", r, 0x1234567830UL);
	__asm__ volatile("movw (%1), %w0" : "=r"(r) : "r"(to), "0"(0x1234567890UL));
	CHECK_EQ("mov r16 keeps the rest", r, 0x1234560030UL);
	__asm__ volatile("movl (%1), %k0" : "=r"(r) : "r"(to), "0"(0x1234567890UL));
	CHECK_EQ("mov r32 clears the rest", r, 0x30);
	__asm__ volatile("movzbl (%1), %k0" : "=r"(r) : "r"(to), "0"(-1UL));
	CHECK_EQ("movzx r32, m8", r, 0x30);
	__asm__ volatile("movzwq (%1), %0" : "=r"(r) : "r"(to), "0"(-1UL));
	CHECK_EQ("movzx r64, m16", r, 0x30);
	__asm__ volatile("movslq (%1), %0" : "=r"(r) : "r"(to), "0"(-1UL));
	CHECK_EQ("movsxd r64, m32", r, 0x30);
	__asm__ volatile("movabs %%eax, 0xfee00080" : : "a"(0x40));
	CHECK_EQ("mov moffs", TPR, 0x40);
	r = 0;
	__asm__ volatile("movl 0x40(%1,%2,4), %k0" : "=r"(r) : "r"(0xfee00000UL), "r"(0x10UL));
	CHECK_EQ("base, index, displacement", r, 0x40);
	__asm__ volatile("movl (%1), %%r13d; mov %%r13, %0" : "=r"(r) : "r"(to) : "r13");
	CHECK_EQ("into r13", r, 0x40);
	__asm__ volatile("movsl" : "+S"(p), "+D"(to) : : "memory");
	CHECK_EQ("movs to the register", TPR, 0x70);
	CHECK("movs moves on", to == (void *)0xfee00084UL && p == &word + 1);
	to = &word;
	p = (uint32_t *)0xfee00080UL;
	word = 0;
	__asm__ volatile("movsl" : "+S"(p), "+D"(to) : : "memory");
	CHECK_EQ("movs from the register", word, 0x70);
	to = (void *)0xfee00080UL;
	__asm__ volatile("stosl" : "+D"(to) : "a"(0x10) : "memory");
	CHECK_EQ("stos", TPR, 0x10);
	p = (uint32_t *)0xfee00080UL;
	__asm__ volatile("lodsl" : "+S"(p), "=a"(r));
	CHECK_EQ("lods", (uint32_t)r, 0x10);
	to = (void *)0xfee00080UL;
	__asm__ volatile("orl $0x60, (%0)" : : "r"(to) : "memory");
	CHECK_EQ("or imm8", TPR, 0x70);
	__asm__ volatile("andl %1, (%0)" : : "r"(to), "r"(0x50) : "memory");
	CHECK_EQ("and r32", TPR, 0x50);
	__asm__ volatile("xorl %1, (%0)" : : "r"(to), "r"(0x30) : "memory");
	CHECK_EQ("xor", TPR, 0x60);
	__asm__ volatile("testl $0x40, (%1)" : "=@ccz"(zero) : "r"(to));
	CHECK("test of a set bit", !zero);
	__asm__ volatile("testl $0x10, (%1)" : "=@ccz"(zero) : "r"(to));
	CHECK("test of a clear bit", zero);
	__asm__ volatile("cmpl $0x60, (%1)" : "=@ccz"(zero) : "r"(to));
	CHECK("cmp equal", zero);
	__asm__ volatile("cmpl $0x61, (%1)" : "=@ccc"(carry) : "r"(to));
	CHECK("cmp below", carry);
	r = 0x20;
	__asm__ volatile("xchgl %k0, (%1)" : "+r"(r) : "r"(to) : "memory");
	CHECK("xchg swaps", r == 0x60 && TPR == 0x20);
	r = 0;
	__asm__ volatile("addl (%1), %k0" : "+r"(r) : "r"(to));
	CHECK_EQ("add from memory", r, 0x20);
	__asm__ volatile("pushq %1; popq %0" : "=r"(r) : "r"(3UL));
	TPR = 0;
}

/* A hole: nothing answers, so every read is ones and every write is lost. */
static void hole_forms(void)
{
	char *hole = peer_hole(1), buf[32];
	unsigned long r, n = 4;
	void *from = hole, *to = buf;
	bool zero;

	CHECK_EQ("read 8", *(volatile uint8_t *)(hole + 3), 0xff);
	CHECK_EQ("read 16", *(volatile uint16_t *)(hole + 6), 0xffff);
	CHECK_EQ("read 32", *(volatile uint32_t *)(hole + 8), 0xffffffffU);
	CHECK_EQ("read 64", *(volatile uint64_t *)(hole + 16), -1L);
	CHECK_EQ("read unaligned", *(volatile uint64_t *)(hole + 19), -1L);
	*(volatile uint8_t *)hole = 1;
	*(volatile uint16_t *)hole = 1;
	*(volatile uint32_t *)hole = 1;
	*(volatile uint64_t *)hole = 1;
	__asm__ volatile("movq $-5, (%0)" : : "r"(hole) : "memory");
	CHECK_EQ("writes are lost", *(volatile uint64_t *)hole, -1L);
	memset(buf, 0, sizeof(buf));
	__asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
	CHECK("rep movs out of it", n == 0 && from == hole + 16 && to == buf + 16 && buf[15] == -1 && buf[16] == 0);
	from = buf;
	to = hole;
	n = 3;
	__asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
	CHECK("rep movs into it", n == 0 && to == hole + 24);
	to = hole;
	n = 5;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(7) : "memory");
	CHECK("rep stos into it", n == 0 && to == hole + 5);
	__asm__ volatile("cmpq $-1, (%1)" : "=@ccz"(zero) : "r"(hole));
	CHECK("cmp with it", zero);
	r = 5;
	__asm__ volatile("xchgq %0, (%1)" : "+r"(r) : "r"(hole) : "memory");
	CHECK_EQ("xchg with it", r, -1L);
	__asm__ volatile("movsbq (%1), %0" : "=r"(r) : "r"(hole));
	CHECK_EQ("movsx from it", r, -1L);
	__asm__ volatile("lock orl $1, (%0)" : : "r"(hole) : "memory");
	__asm__ volatile("lock addq $1, (%0)" : : "r"(hole) : "memory");
	CHECK_EQ("locked ones are lost as well", *(volatile uint64_t *)hole, -1L);
}

static void refused_control(unsigned long cr0, unsigned long cr4)
{
	trap_arm();
	__asm__ volatile(TRAP_TRY("mov %0, %%cr4") : : "r"(cr4 | 1UL << 40) : "memory");
	CHECK_EQ("unknown CR4 bit", trap_seen.vector, TRAP_GP);
	trap_arm();
	__asm__ volatile(TRAP_TRY("mov %0, %%cr4") : : "r"(cr4 & ~0x20UL) : "memory");
	CHECK_EQ("PAE cannot go in long mode", trap_seen.vector, TRAP_GP);
	trap_arm();
	__asm__ volatile(TRAP_TRY("mov %0, %%cr0") : : "r"(cr0 & ~1UL) : "memory");
	CHECK_EQ("PE cannot go while paging", trap_seen.vector, TRAP_GP);
}

static void control(void)
{
	unsigned long cr0, cr4, v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | 8)); /* TS */
	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	CHECK_EQ("CR0.TS stays", v, cr0 | 8);
	__asm__ volatile("clts; mov %%cr0, %0" : "=r"(v));
	CHECK_EQ("CLTS clears it", v, cr0);
	__asm__ volatile("smsw %0" : "=r"(v));
	CHECK_EQ("SMSW", v & 0xffff, cr0 & 0xffff);
	__asm__ volatile("lmsw %w0; mov %%cr0, %1" : "+r"(cr0), "=r"(v));
	CHECK_EQ("LMSW", v, cr0);
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x80)); /* PGE */
	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	CHECK_EQ("CR4.PGE stays", v, cr4 | 0x80);
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
	refused_control(cr0, cr4);
	/* NW without CD is not tried: Xen 4.17 enters with it, and the domain dies of an invalid VMCB. */
	__asm__ volatile("wbinvd; invlpg (%0)" : : "r"(&v) : "memory");
	__asm__ volatile("mov %0, %%dr0; mov %%dr0, %1" : : "r"(0x123456UL), "r"(v));
	__asm__ volatile("mov %%dr0, %0" : "=r"(v));
	CHECK_EQ("DR0 holds", v, 0x123456);
	trap_arm();
	__asm__ volatile(TRAP_TRY("ud2") : : : "memory");
	CHECK_EQ("UD2 stays the guest's", trap_seen.vector, TRAP_UD);
	trap_arm();
	__asm__ volatile(TRAP_TRY("mov (%0), %%rax") : : "r"(0x800000000000UL) : "rax", "memory");
	CHECK_EQ("non-canonical access", trap_seen.vector, TRAP_GP);
	trap_arm();
	__asm__ volatile(TRAP_TRY("mov (%0), %%rax") : : "r"(0x7f0000000000UL) : "rax", "memory");
	CHECK_EQ("unmapped access", trap_seen.vector, TRAP_PF);
	trap_arm();
	__asm__ volatile(TRAP_TRY("vmrun %%rax") : : "a"(0x100000) : "memory");
	CHECK_EQ("no nested VMRUN", trap_seen.vector, TRAP_UD);
	trap_arm();
	__asm__ volatile(TRAP_TRY("stgi") : : : "memory");
	CHECK_EQ("no STGI", trap_seen.vector, TRAP_UD);
	trap_arm();
	__asm__ volatile(TRAP_TRY("rdpmc") : : "c"(0x1234) : "rax", "rdx", "memory");
	CHECK_EITHER("RDPMC of no counter (QEMU has none at all)", trap_seen.vector, TRAP_GP, TRAP_UD);
}

/* ---- exceptions that a hypervisor hands on: single steps, breakpoints, and NMIs that wait for the IRET ---- */

static unsigned int steps, step_seen, nmi_depth, nmi_worst;

static void on_step(struct trap_regs *r)
{
	unsigned long dr6;

	(void)r;
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	step_seen += dr6 >> 14 & 1;
	__asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0UL));
	steps++;
}

static void on_breakpoint(struct trap_regs *r)
{
	(void)r;
}

static void on_nmi(struct trap_regs *r)
{
	uint32_t regs[4];

	(void)r;
	nmi_worst = ++nmi_depth > nmi_worst ? nmi_depth : nmi_worst;
	if (trap_count[2] == 1)
		apic_write(0x300, 0x44400); /* another one to itself */
	cpu_cpuid(0, 0, regs);
	nmi_depth--;
}

static void handed_on(void)
{
	uint32_t regs[4];

	trap_set(1, on_step);
	trap_set(2, on_nmi);
	trap_set(3, on_breakpoint);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "nop; cpuid; nop\n"
			 "pushfq; andq $~0x100, (%%rsp); popfq"
			 : : "a"(0), "c"(0) : "rbx", "rdx", "memory", "cc");
	CHECK_EQ("single steps, one over an instruction that exits", steps, 6);
	CHECK_EQ("each named in DR6", step_seen, 6);
	__asm__ volatile("int3" : : : "memory");
	CHECK_EQ("INT3", trap_count[3], 1);
	apic_write(0x300, 0x44400);
	for (unsigned int i = 0; i < 10; i++)
		cpu_cpuid(0, 0, regs);
	CHECK_EQ("both NMIs came", trap_count[2], 2);
	CHECK_EQ("the second after the IRET of the first", nmi_worst, 1);
}

void guest_main(void)
{
	if (cpu_rdmsr(APIC_BASE_MSR) & 1UL << 10)
		apic_x2_leave();
	apic_enable();
	lengths();
	ports();
	register_forms();
	hole_forms();
	control();
	handed_on();
}
