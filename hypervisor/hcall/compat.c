/*
 * hcall/compat.c: no code: the proof that what hcall/ treats alike for 32-bit and 64-bit callers is alike. Of
 * xen_platform_op, only the sub-ops that are offered.
 */
#include "hcall/compat.h"

COMPAT_SAME_SIZE(xen_domctl);
COMPAT_SAME_OFF(xen_domctl, u);
COMPAT_SAME_SIZE(xen_domctl_createdomain);
COMPAT_SAME_SIZE(xen_domctl_getdomaininfo);
COMPAT_SAME_SIZE(xen_domctl_vcpuaffinity);
COMPAT_SAME_SIZE(xen_domctl_shadow_op);
COMPAT_SAME_SIZE(xen_domctl_hvmcontext);
COMPAT_SAME_SIZE(xen_domctl_hvmcontext_partial);
COMPAT_SAME_SIZE(xen_domctl_cpu_policy);
COMPAT_SAME_SIZE(xen_domctl_scheduler_op);
COMPAT_SAME_SIZE(xen_sysctl);
COMPAT_SAME_OFF(xen_sysctl, u);
COMPAT_SAME_SIZE(xen_sysctl_readconsole);
COMPAT_SAME_SIZE(xen_sysctl_physinfo);
COMPAT_SAME_SIZE(xen_sysctl_getdomaininfolist);
COMPAT_SAME_SIZE(xen_sysctl_cputopoinfo);
COMPAT_SAME_SIZE(xen_sysctl_numainfo);
COMPAT_SAME_SIZE(xen_sysctl_cpupool_op);
COMPAT_SAME_SIZE(xen_sysctl_cpu_policy);
COMPAT_SAME_SIZE(xen_sysctl_cpu_featureset);
COMPAT_SAME_SIZE(xen_platform_op);
COMPAT_SAME_OFF(xen_platform_op, u);
COMPAT_SAME_SIZE(xenpf_settime64);
COMPAT_SAME_SIZE(xenpf_pcpuinfo);
COMPAT_SAME_SIZE(xenpf_pcpu_version);
COMPAT_SAME_SIZE(physdev_pci_device_add);
COMPAT_SAME_SIZE(physdev_pci_mmcfg_reserved);
COMPAT_SAME_SIZE(xen_hvm_param);
COMPAT_SAME_SIZE(xen_hvm_get_mem_type);
COMPAT_SAME_SIZE(xen_hvm_evtchn_upcall_vector);
COMPAT_SAME_SIZE(xen_hvm_pagetable_dying);
