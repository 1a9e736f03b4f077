/* hvm/vendor.c: which of the two backends this machine needs. Owns vendor_vmx: set once at start-up, read-only then. */
#include "hvm/vendor.h"

#include "core/log.h"
#include "lib/lib.h"
#include "port/cpu.h"

bool vendor_vmx, vendor_xsaves, vendor_dirty_flags, vendor_logs_writes, vendor_x2apic_free, vendor_apic_delivers,
	vendor_apic_posted;
uint64_t vendor_tsc_rate_max;
static const char *switched_off = "";

/* Is the word [word, word + n) in the list? */
static bool listed(const char *list, const char *word, size_t n)
{
	const char *other;
	size_t k;

	while ((other = lib_next_word(&list, &k)))
		if (k == n && !strncmp(other, word, n))
			return true;
	return false;
}

bool vendor_may_use(const char *feature)
{
	return !listed(switched_off, feature, strlen(feature));
}

static void check_names(const char *off)
{
	static const char all[] =
		"nrips,decode-assists,pause-filter,flush-by-asid,vmcb-clean,tsc-scaling,dirty-flags,vpid,"
		"ple,xsaves,pml,preemption-timer,virtual-interrupts,apic-registers,posted-interrupts";
	const char *word;
	size_t n;

	while ((word = lib_next_word(&off, &n)))
		if (n && !listed(all, word, n))
			log_err("option virt-off: there is no feature \"%s\" (from there on); known are %s", word, all);
}

int vendor_init(const char *off)
{
	uint32_t basic[4], extended[4];

	check_names(off);
	switched_off = off;
	port_cpuid(1, 0, basic);
	port_cpuid(0x80000001, 0, extended);
	vendor_vmx = basic[2] & BIT(5);
	if (vendor_vmx)
		return vmx_init();
	if (extended[2] & BIT(2))
		return svm_init();
	log_err("this CPU has no AMD SVM (CPUID 0x80000001 ECX bit 2) and no Intel VMX (CPUID 1 ECX bit 5); enable "
		"virtualisation in the firmware (or give QEMU a CPU model with +svm,+npt)");
	return -ENODEV;
}
