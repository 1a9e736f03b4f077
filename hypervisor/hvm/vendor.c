/* hvm/vendor.c: which of the two backends this machine needs. Owns vendor_vmx: set once at start-up, read-only then. */
#include "hvm/vendor.h"

#include "core/log.h"
#include "port/cpu.h"

bool vendor_vmx;

int vendor_init(void)
{
	uint32_t basic[4], extended[4];

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
