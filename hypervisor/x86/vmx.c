/*
 * Intel VMX's instructions, and what an exit finds of the host (SDM vol. 3, 24.5, 27.5, 30). No state, no locks: each CPU
 * its own. An instruction that fails here was given something wrong: our own mistake.
 */
#include "lib/lib.h"
#include "port/cpu.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define CR4_VMXE	       BIT(13)
#define MSR_FEATURE_CONTROL    0x3a
#define FEATURE_CONTROL_LOCKED BIT(0)
#define FEATURE_CONTROL_VMX    BIT(2)
#define MSR_PAT		       0x277
#define MSR_VMX_CR0_FIXED0     0x486
#define MSR_VMX_CR4_FIXED0     0x488

/* Host-state fields (SDM appendix B). */
#define HOST_ES		  0x0c00
#define HOST_CS		  0x0c02
#define HOST_SS		  0x0c04
#define HOST_DS		  0x0c06
#define HOST_FS		  0x0c08
#define HOST_GS		  0x0c0a
#define HOST_TR		  0x0c0c
#define HOST_PAT	  0x2c00
#define HOST_EFER	  0x2c02
#define HOST_SYSENTER_CS  0x4c00
#define HOST_CR0	  0x6c00
#define HOST_CR3	  0x6c02
#define HOST_CR4	  0x6c04
#define HOST_FS_BASE	  0x6c06
#define HOST_GS_BASE	  0x6c08
#define HOST_TR_BASE	  0x6c0a
#define HOST_GDTR_BASE	  0x6c0c
#define HOST_IDTR_BASE	  0x6c0e
#define HOST_SYSENTER_ESP 0x6c10
#define HOST_SYSENTER_EIP 0x6c12
#define HOST_RIP	  0x6c16

extern const char vmx_exit[], vmx_exit_rsb[], vmx_exit_ibpb[];

static bool feature_on(void)
{
	uint64_t control;

	if (!port_rdmsr(MSR_FEATURE_CONTROL, &control))
		return false;
	if (!(control & FEATURE_CONTROL_LOCKED)) {
		control |= FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX;
		if (!port_wrmsr(MSR_FEATURE_CONTROL, control))
			return false;
	}
	return control & FEATURE_CONTROL_VMX;
}

bool port_vmx_on(uint64_t region_pa)
{
	bool failed;

	if (!feature_on())
		return false;
	__asm__ volatile("mov %0, %%cr0" : : "r"(x86_read_cr0() | x86_rdmsr(MSR_VMX_CR0_FIXED0)) : "memory");
	x86_write_cr4(x86_read_cr4() | CR4_VMXE | x86_rdmsr(MSR_VMX_CR4_FIXED0));
	__asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region_pa) : "memory");
	return !failed;
}

static void must(bool failed, const char *what, uint64_t operand)
{
	if (unlikely(failed))
		x86_panic("%s failed: %lx", what, operand);
}

void port_vmclear(uint64_t vmcs_pa)
{
	bool failed;

	__asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs_pa) : "memory");
	must(failed, "VMCLEAR", vmcs_pa);
}

void port_vmptrld(uint64_t vmcs_pa)
{
	bool failed;

	__asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs_pa) : "memory");
	must(failed, "VMPTRLD", vmcs_pa);
}

uint64_t port_vmread(uint32_t field)
{
	uint64_t value;
	bool failed;

	__asm__ volatile("vmread %2, %1" : "=@ccbe"(failed), "=r"(value) : "r"((uint64_t)field) : "memory");
	must(failed, "VMREAD", field);
	return value;
}

void port_vmwrite(uint32_t field, uint64_t value)
{
	bool failed;

	__asm__ volatile("vmwrite %1, %2" : "=@ccbe"(failed) : "r"(value), "r"((uint64_t)field) : "memory");
	must(failed, "VMWRITE", field);
}

void port_invept(uint64_t type, uint64_t eptp)
{
	struct {
		uint64_t eptp, zero;
	} descriptor = { eptp, 0 };
	bool failed;

	__asm__ volatile("invept %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
	must(failed, "INVEPT", eptp);
}

void port_invvpid(uint64_t type, uint16_t vpid)
{
	struct {
		uint64_t vpid, linear;
	} descriptor = { vpid, 0 };
	bool failed;

	__asm__ volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
	must(failed, "INVVPID", vpid);
}

static uint64_t exit_path(void)
{
	return (uint64_t)(x86_guard & GUARD_IBPB ? vmx_exit_ibpb : x86_guard & GUARD_RSB ? vmx_exit_rsb : vmx_exit);
}

/* The limits of both tables become 64 KiB at an exit: nothing loads a selector, and there are 256 vectors. */
void port_vmx_host_state(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr;
	const struct cpu *c = cpu_this();
	const struct {
		uint16_t field;
		uint64_t value;
	} fields[] = {
		{ HOST_ES, SEL_DATA },
		{ HOST_CS, SEL_CODE },
		{ HOST_SS, SEL_DATA },
		{ HOST_DS, SEL_DATA },
		{ HOST_FS, 0 },
		{ HOST_GS, 0 },
		{ HOST_TR, SEL_TSS },
		{ HOST_PAT, x86_rdmsr(MSR_PAT) },
		{ HOST_EFER, x86_rdmsr(MSR_EFER) },
		{ HOST_SYSENTER_CS, 0 },
		{ HOST_SYSENTER_ESP, 0 },
		{ HOST_SYSENTER_EIP, 0 },
		{ HOST_CR0, x86_read_cr0() },
		{ HOST_CR3, x86_read_cr3() },
		{ HOST_CR4, x86_read_cr4() },
		{ HOST_FS_BASE, 0 },
		{ HOST_GS_BASE, 0 },
		{ HOST_TR_BASE, (uint64_t)&c->tss },
		{ HOST_GDTR_BASE, (uint64_t)c->gdt },
		{ HOST_RIP, exit_path() },
	};

	__asm__ volatile("sidt %0" : "=m"(idtr));
	port_vmwrite(HOST_IDTR_BASE, idtr.base);
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		port_vmwrite(fields[i].field, fields[i].value);
}

unsigned port_vmx_notify_vector(void)
{
	return VECTOR_NOTIFY;
}

void port_nmi(void)
{
	__asm__ volatile("int $2" : : : "memory");
}

uint64_t port_cr2_get(void)
{
	return x86_read_cr2();
}

void port_cr2_set(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr2" : : "r"(value));
}

uint64_t port_dr6_get(void)
{
	uint64_t value;

	__asm__ volatile("mov %%dr6, %0" : "=r"(value));
	return value;
}

void port_dr6_set(uint64_t value)
{
	__asm__ volatile("mov %0, %%dr6" : : "r"(value));
}
