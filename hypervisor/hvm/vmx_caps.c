/*
 * hvm/vmx_caps.c: see vmx_caps.h. Source: SDM vol. 3, appendix A. Owns vmx_caps: written at start-up by the boot CPU, read-only
 * then; no locks.
 */
#include "hvm/vmx_caps.h"

#include "core/log.h"
#include "hvm/vendor.h"
#include "hvm/vmcs.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/machine.h"

struct vmx_caps vmx_caps;

struct control {
	uint32_t bit;
	const char *name;
};

static const struct control pin_controls[] = {
	{ PIN_INTERRUPT, "external-interrupt exiting" },
	{ PIN_NMI, "NMI exiting" },
	{ PIN_VIRTUAL_NMIS, "virtual NMIs" },
	{ 0, NULL },
};

static const struct control primary_controls[] = {
	{ PRIMARY_INTERRUPT_WINDOW, "interrupt-window exiting" },
	{ PRIMARY_TSC_OFFSET, "use TSC offsetting" },
	{ PRIMARY_HLT, "HLT exiting" },
	{ PRIMARY_MWAIT, "MWAIT exiting" },
	{ PRIMARY_RDPMC, "RDPMC exiting" },
	{ PRIMARY_RDTSC, "RDTSC exiting" },
	{ PRIMARY_CR8_LOAD, "CR8-load exiting" },
	{ PRIMARY_CR8_STORE, "CR8-store exiting" },
	{ PRIMARY_NMI_WINDOW, "NMI-window exiting" },
	{ PRIMARY_MOV_DR, "MOV-DR exiting" },
	{ PRIMARY_IO_BITMAPS, "use I/O bitmaps" },
	{ PRIMARY_MSR_BITMAPS, "use MSR bitmaps" },
	{ PRIMARY_MONITOR, "MONITOR exiting" },
	{ PRIMARY_SECONDARY, "activate secondary controls" },
	{ 0, NULL },
};

static const struct control secondary_controls[] = {
	{ SECONDARY_EPT, "enable EPT" },
	{ SECONDARY_WBINVD, "WBINVD exiting" },
	{ SECONDARY_UNRESTRICTED, "unrestricted guest" },
	{ 0, NULL },
};

static const struct control exit_controls[] = {
	{ EXITC_SAVE_DEBUG, "save debug controls" },
	{ EXITC_HOST_64, "host address-space size" },
	{ EXITC_SAVE_PAT, "save IA32_PAT" },
	{ EXITC_LOAD_PAT, "load IA32_PAT" },
	{ EXITC_SAVE_EFER, "save IA32_EFER" },
	{ EXITC_LOAD_EFER, "load IA32_EFER" },
	{ 0, NULL },
};

static const struct control entry_controls[] = {
	{ ENTRYC_LOAD_DEBUG, "load debug controls" },
	{ ENTRYC_IA32E, "IA-32e mode guest" },
	{ ENTRYC_LOAD_PAT, "load IA32_PAT" },
	{ ENTRYC_LOAD_EFER, "load IA32_EFER" },
	{ 0, NULL },
};

/* Controls that the CPU may insist on unless it can say otherwise (SDM A.2), and that would cost an exit each time. */
static const struct control unwanted_controls[] = {
	{ PRIMARY_INVLPG, "INVLPG exiting" },
	{ PRIMARY_CR3_LOAD, "CR3-load exiting" },
	{ PRIMARY_CR3_STORE, "CR3-store exiting" },
	{ 0, NULL },
};

/*
 * A word of controls: all of must, those of may that the CPU has, and what it insists on (low half of the MSR).
 * False: something is missing, and the message names it.
 */
static bool negotiate(uint32_t msr, const struct control *must, uint32_t may, uint32_t *out)
{
	uint32_t want = may;
	uint64_t cap = 0;

	port_rdmsr(msr, &cap);
	for (; must->name; must++) {
		want |= must->bit;
		if (!(cap >> 32 & must->bit)) {
			log_err("this CPU's VMX lacks the control \"%s\" (MSR %x is %lx); Gossamer needs it",
				must->name, msr, cap);
			return false;
		}
	}
	*out = (want & (uint32_t)(cap >> 32)) | (uint32_t)cap;
	return true;
}

static bool refuse_unwanted(void)
{
	for (const struct control *c = unwanted_controls; c->name; c++)
		if (vmx_caps.primary & c->bit) {
			log_err("this CPU's VMX insists on the control \"%s\"; Gossamer needs a CPU that can do "
				"without",
				c->name);
			return false;
		}
	return true;
}

/* RDTSCP and INVPCID follow the CPU: guests find them in their CPUID. */
static uint32_t optional_secondary(void)
{
	return SECONDARY_RDTSCP | SECONDARY_INVPCID | (vendor_may_use("vpid") ? SECONDARY_VPID : 0) |
	       (vendor_may_use("ple") ? SECONDARY_PLE : 0) | (vendor_may_use("xsaves") ? SECONDARY_XSAVES : 0) |
	       (vendor_may_use("tsc-scaling") ? SECONDARY_TSC_SCALING : 0) |
	       (vendor_may_use("virtual-interrupts") ? SECONDARY_INTERRUPTS | SECONDARY_X2APIC : 0) |
	       (vendor_may_use("apic-registers") ? SECONDARY_REGISTERS : 0) |
	       (vendor_may_use("pml") ? SECONDARY_LOG : 0);
}

/* What the CPU has and nobody uses, by the bits of its controls that may be 1. */
static void say_unused(void)
{
	static const struct control secondary[] = {
		{ BIT(13), " VM functions" },
		{ BIT(14), " VMCS shadowing" },
		{ BIT(18), " #VE" },
		{ BIT(22), " mode-based execute control" },
		{ 0, NULL },
	};
	char line[200];
	uint64_t cap = 0;
	size_t n = 0;

	port_rdmsr(MSR_VMX_SECONDARY, &cap);
	for (const struct control *c = secondary; c->name; c++)
		if (cap >> 32 & c->bit)
			n += (size_t)lib_snprintf(line + n, sizeof(line) - n, "%s", c->name);
	if (n)
		log_info("  there, but not used:%s", line);
}

/* Not so on Nehalem's and Westmere's models: its rate is wrong there (errata AAK139, BA86 and their like). */
static bool timer_counts_right(void)
{
	static const uint8_t wrong[] = { 0x1a, 0x1e, 0x1f, 0x25, 0x2c, 0x2e, 0x2f };
	uint32_t r[4];

	port_cpuid(1, 0, r);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		if ((r[0] >> 8 & 15) == 6 && ((r[0] >> 4 & 15) | (r[0] >> 12 & 0xf0)) == wrong[i])
			return false;
	return true;
}

static uint32_t optional_pin(void)
{
	return (vendor_may_use("preemption-timer") && timer_counts_right() ? PIN_TIMER : 0) |
	       (vendor_may_use("posted-interrupts") ? PIN_POSTED : 0);
}

/* Virtual interrupts need a shadow of the TPR; the rest of the virtual APIC is of use with them alone. */
static void settle_apic(void)
{
	bool delivers = (vmx_caps.primary & PRIMARY_TPR_SHADOW) && (vmx_caps.secondary & SECONDARY_INTERRUPTS);

	if (!delivers)
		vmx_caps.secondary &= ~(uint32_t)(SECONDARY_INTERRUPTS | SECONDARY_REGISTERS | SECONDARY_X2APIC);
	if (delivers)
		vmx_caps.primary &= ~(uint32_t)(PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE);
	else
		vmx_caps.primary &= ~(uint32_t)PRIMARY_TPR_SHADOW;
	if (!delivers || !(vmx_caps.exit & EXITC_ACK))
		vmx_caps.pin &= ~(uint32_t)PIN_POSTED;
	if (!(vmx_caps.pin & PIN_POSTED))
		vmx_caps.exit &= ~(uint32_t)EXITC_ACK;
	vendor_apic_delivers = delivers;
	vendor_apic_posted = vmx_caps.pin & PIN_POSTED;
	vendor_x2apic_free = vmx_caps.secondary & SECONDARY_X2APIC && vmx_caps.secondary & SECONDARY_REGISTERS;
}

uint32_t vmx_caps_msr(enum vmx_word w, uint64_t basic)
{
	uint32_t first = basic & BIT(55) ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN;

	switch (w) {
	case WORD_PIN:
		return first;
	case WORD_PRIMARY:
		return first + 1;
	case WORD_EXIT:
		return first + 2;
	case WORD_ENTRY:
		return first + 3;
	case WORD_SECONDARY:
	case WORD_COUNT:
		break;
	}
	return MSR_VMX_SECONDARY;
}

static bool negotiate_all(uint64_t basic)
{
	return negotiate(vmx_caps_msr(WORD_PIN, basic), pin_controls, optional_pin(), &vmx_caps.pin) &&
	       negotiate(vmx_caps_msr(WORD_PRIMARY, basic), primary_controls, PRIMARY_TPR_SHADOW, &vmx_caps.primary) &&
	       negotiate(vmx_caps_msr(WORD_EXIT, basic), exit_controls, EXITC_ACK, &vmx_caps.exit) &&
	       negotiate(vmx_caps_msr(WORD_ENTRY, basic), entry_controls, 0, &vmx_caps.entry) && refuse_unwanted() &&
	       negotiate(MSR_VMX_SECONDARY, secondary_controls, optional_secondary(), &vmx_caps.secondary);
}

static bool ept_fits(void)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} must[] = {
		{ EPT_CAP_WALK4, "page walks of four levels" },
		{ EPT_CAP_WB, "write-back paging structures" },
		{ EPT_CAP_2M, "2 MiB pages" },
		{ EPT_CAP_INVEPT | EPT_CAP_INVEPT_ALL, "INVEPT" },
	};

	port_rdmsr(MSR_VMX_EPT_VPID, &vmx_caps.ept);
	for (unsigned i = 0; i < ARRAY_SIZE(must); i++)
		if ((vmx_caps.ept & must[i].bit) != must[i].bit) {
			log_err("this CPU's EPT lacks %s (MSR %x is %lx); Gossamer needs it", must[i].name,
				MSR_VMX_EPT_VPID, vmx_caps.ept);
			return false;
		}
	if (!(vmx_caps.ept & EPT_CAP_INVVPID) || !(vmx_caps.ept & EPT_CAP_INVVPID_ALL))
		vmx_caps.secondary &= ~(uint32_t)SECONDARY_VPID;
	return true;
}

int vmx_init(void)
{
	uint64_t basic = 0, misc = 0;

	if (!port_rdmsr(MSR_VMX_BASIC, &basic) || !negotiate_all(basic) || !ept_fits())
		return -ENODEV;
	port_rdmsr(MSR_VMX_MISC, &misc);
	vmx_caps.timer_shift = misc & 31;
	if (vmx_caps.pin & PIN_TIMER)
		port_timer_defer();
	settle_apic();
	vmx_caps.revision = (uint32_t)basic & 0x7fffffff;
	vmx_caps.entry &= ~(uint32_t)ENTRYC_IA32E; /* that is each vCPU's own */
	vmx_caps.primary &= ~(uint32_t)(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW | PRIMARY_RDTSC);
	vendor_dirty_flags = vmx_caps.ept & EPT_CAP_FLAGS && vendor_may_use("dirty-flags");
	if (!vendor_dirty_flags)
		vmx_caps.secondary &= ~(uint32_t)SECONDARY_LOG;
	vendor_logs_writes = vmx_caps.secondary & SECONDARY_LOG;
	vendor_xsaves = vmx_caps.secondary & SECONDARY_XSAVES;
	vendor_tsc_rate_max = vmx_caps.secondary & SECONDARY_TSC_SCALING ? (1ull << 48) - 1 : 0;
	log_info("VMX: EPT%s%s%s, unrestricted guest%s%s%s%s%s%s%s%s%s%s",
		 vmx_caps.ept & EPT_CAP_1G ? " with 1 GiB pages" : "", vendor_dirty_flags ? ", dirty flags" : "",
		 vendor_logs_writes ? ", page-modification log" : "",
		 vmx_caps.secondary & SECONDARY_VPID ? ", VPID" : "",
		 vmx_caps.secondary & SECONDARY_RDTSCP ? ", RDTSCP" : "",
		 vmx_caps.secondary & SECONDARY_INVPCID ? ", INVPCID" : "",
		 vmx_caps.secondary & SECONDARY_PLE ? ", PAUSE-loop exiting" : "", vendor_xsaves ? ", XSAVES" : "",
		 vendor_tsc_rate_max ? ", TSC scaling" : "", vmx_caps.pin & PIN_TIMER ? ", preemption timer" : "",
		 vendor_apic_delivers ? ", virtual interrupts" : "",
		 vmx_caps.secondary & SECONDARY_REGISTERS ? ", APIC registers" : "",
		 vendor_apic_posted ? ", posted interrupts" : "");
	say_unused();
	return 0;
}
