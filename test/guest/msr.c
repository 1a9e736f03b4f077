// SPDX-License-Identifier: Apache-2.0
/*
 * MSRs as a guest sees them: the architectural ones, machine check banks, and those that do not exist.
 *
 * Sources: AMD APM vol. 2 (appendix A), Intel SDM vol. 4. The list of what Linux reads comes from the measured ABI use.
 */
#include "lib/guest.h"

const char guest_name[] = "msr";

#define EFER	 0xc0000080
#define EFER_SCE 1UL
#define EFER_LME (1UL << 8)
#define EFER_LMA (1UL << 10)
#define EFER_NX	 (1UL << 11)

static void reads(uint32_t msr, const char *name)
{
	uint64_t v = cpu_rdmsr(msr);

	CHECK(name, trap_seen.vector == TRAP_NONE);
	print("%s (%x) reads %lx\n", name, msr, v);
}

static void faults(const char *name)
{
	CHECK_EQ(name, trap_seen.vector, TRAP_GP);
	CHECK_EQ(name, trap_seen.error, 0);
}

/* Where a hypervisor lets the CPU answer, the emulator's leniency shows: #GP or nothing; then undo it. */
static void may_fault(uint32_t msr, uint64_t v, const char *name)
{
	uint64_t old = cpu_rdmsr(msr);

	cpu_wrmsr(msr, v);
	CHECK_EITHER(name, trap_seen.vector, TRAP_GP, TRAP_NONE);
	cpu_wrmsr(msr, old);
}

/* Writes v, checks that it reads back, restores. */
static void writes(uint32_t msr, uint64_t v, const char *name)
{
	uint64_t old = cpu_rdmsr(msr);

	cpu_wrmsr(msr, v);
	CHECK_EQ(name, trap_seen.vector, TRAP_NONE);
	CHECK_EQ(name, cpu_rdmsr(msr), v);
	cpu_wrmsr(msr, old);
	CHECK_EQ(name, cpu_rdmsr(msr), old);
}

static void efer(void)
{
	uint64_t v = cpu_rdmsr(EFER);

	CHECK("EFER shows long mode", (v & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA));
	CHECK("EFER hides SVME", !(v & 1UL << 12));
	cpu_wrmsr(EFER, v | EFER_SCE | EFER_NX);
	CHECK_EQ("set SCE and NX", trap_seen.vector, TRAP_NONE);
	CHECK_EQ("they stay", cpu_rdmsr(EFER), v | EFER_SCE | EFER_NX);
	cpu_wrmsr(EFER, v | 1UL << 63);
	faults("EFER with an unknown bit");
	cpu_wrmsr(EFER, v | 1UL << 12);
	faults("EFER.SVME without nested virtualisation");
	cpu_wrmsr(EFER, v & ~EFER_LME);
	faults("clear EFER.LME while paging");
	cpu_wrmsr(EFER, v);
	CHECK_EQ("EFER is as before", cpu_rdmsr(EFER), v);
}

static void apic_base(void)
{
	uint64_t v = cpu_rdmsr(APIC_BASE_MSR);

	CHECK_EQ("APIC at its place", v & ~0xfffUL, 0xfee00000);
	CHECK("APIC enabled", v & 1UL << 11);
	CHECK("boot CPU", v & 1UL << 8);
	cpu_wrmsr(APIC_BASE_MSR, v | 1UL << 63);
	faults("APIC_BASE with a reserved high bit");
	cpu_wrmsr(APIC_BASE_MSR, (v & ~(1UL << 11)) | 1UL << 10);
	faults("APIC_BASE x2APIC without enable");
	CHECK_EQ("APIC_BASE is as before", cpu_rdmsr(APIC_BASE_MSR), v);
}

static void memory_types(void)
{
	uint64_t cap = cpu_rdmsr(0xfe);

	CHECK("MTRRcap: variable ranges", (cap & 0xff) > 0 && (cap & 0xff) <= 16);
	reads(0x2ff, "MTRR default type");
	reads(0x200, "MTRR base 0");
	reads(0x201, "MTRR mask 0");
	reads(0x250, "MTRR fixed 64K");
	reads(0x26f, "MTRR fixed last");
	cpu_wrmsr(0xfe, cap);
	faults("MTRRcap is read only");
	cpu_wrmsr(0x2ff, 0x702);
	faults("MTRR default of a reserved type");
	/* Xen starts a domain with its own PAT, a CPU with that of the manuals. */
	CHECK_EITHER("PAT at start", cpu_rdmsr(0x277), 0x0007040600070406, 0x0000050100070406);
	writes(0x277, 0x0007010600070106, "PAT is writable");
	may_fault(0x277, 0x0007020600070406, "PAT with a reserved type");
	may_fault(0x277, 0x0807040600070406, "PAT with reserved bits");
}

static void other(void)
{
	uint64_t t0, t1;

	t0 = cpu_rdmsr(0x10);
	CHECK_EQ("TSC reads", trap_seen.vector, TRAP_NONE);
	t1 = cpu_tsc();
	CHECK("TSC by MSR and by RDTSC agree", t1 >= t0 && t1 - t0 < 1000000000);
	writes(0x174, 0x08, "SYSENTER_CS");
	writes(0x175, 0x123456000, "SYSENTER_ESP");
	writes(0x176, 0xffffffff80001000, "SYSENTER_EIP");
	writes(0xc0000081, 0x0023001000000000, "STAR");
	writes(0xc0000082, 0xffffffff81000000, "LSTAR");
	writes(0xc0000084, 0x47700, "SFMASK");
	writes(0xc0000100, 0x1234560, "FS_BASE");
	writes(0xc0000101, 0x1234560, "GS_BASE");
	writes(0xc0000102, 0xffff888000000000, "KERNEL_GS_BASE");
	may_fault(0xc0000100, 0x1234000000000000, "FS_BASE not canonical");
	may_fault(0xc0000082, 0x1234000000000000, "LSTAR not canonical");
	reads(0x8b, "microcode level");
	reads(0x179, "MCG_CAP");
	reads(0x17a, "MCG_STATUS");
	reads(0x400, "MC0_CTL");
	reads(0x401, "MC0_STATUS");
	cpu_wrmsr(0x401, 0);
	CHECK_EQ("MC0_STATUS takes 0", trap_seen.vector, TRAP_NONE);
	reads(0xc0010010, "SYSCFG");
	reads(0xc001001f, "NB_CFG");
	reads(0xc0010015, "HWCR");
	reads(0xc0011029, "DE_CFG");
	cpu_rdmsr(0xc0010058);
	faults("MMIO configuration base");
	reads(0xc0010000, "PERF_CTL0");
	reads(0xc0010007, "PERF_CTR3");
}

static void unknown(void)
{
	static const uint32_t none[] = {0x2, 0x1ff, 0x12345678, 0xc0000fff, 0xc0020000, 0xffffffff, 0x40000200, 0x8ff};

	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++) {
		cpu_rdmsr(none[i]);
		faults("read of an unknown MSR");
		cpu_wrmsr(none[i], 0);
		faults("write of an unknown MSR");
	}
	cpu_rdmsr(0x40000000);
	print("the hypercall MSR reads: vector %lx\n", trap_seen.vector);
}

void guest_main(void)
{
	efer();
	apic_base();
	memory_types();
	other();
	unknown();
}
