/*
 * hvm/cpuid.c: CPUID policies: raw, host, the most a guest can have, the default, and each domain's own; the leaves a
 * guest reads. Stored as the ABI serialises them (xen_cpuid_leaf_t, sorted by leaf, subleaf). The dynamic bits (OSXSAVE,
 * APIC id, XSAVE sizes) are filled in when read. Source: xen/arch-x86/cpuid.h, xen/arch-x86/xen.h.
 */
#ifndef HVM_CPUID_H
#define HVM_CPUID_H

#include "lib/xen.h"

struct domain;
struct vcpu;

#define CPUID_MAX_LEAVES 96

struct cpuid_policy {
	uint32_t nr_leaves;
	uint32_t nr_msrs;
	xen_cpuid_leaf_t leaf[CPUID_MAX_LEAVES];
	xen_msr_entry_t msr[2];
};

enum cpuid_system {
	CPUID_RAW,
	CPUID_HOST,
	CPUID_PV_MAX,
	CPUID_HVM_MAX,
	CPUID_PV_DEFAULT,
	CPUID_HVM_DEFAULT,
	CPUID_SYSTEMS
};

void cpuid_init(void);						  /* boot CPU, builds the system policies */
const struct cpuid_policy *cpuid_system(enum cpuid_system which); /* XEN_SYSCTL_get_cpu_policy indexes 0-5 */
int cpuid_domain_init(struct domain *d);			  /* default policy; 0, -ENOMEM */
/* XEN_DOMCTL_set_cpu_policy: merged into d's; must be within hvm_max. 0, -EINVAL with *bad_leaf, *bad_subleaf, *bad_msr set. */
int cpuid_set(struct domain *d, const xen_cpuid_leaf_t *leaves, uint32_t nr, const xen_msr_entry_t *msrs,
	      uint32_t nr_msrs, uint32_t *bad_leaf, uint32_t *bad_subleaf, uint32_t *bad_msr);
/* XEN_SYSCTL_get_cpu_featureset: index as the sysctl's; words of the featureset (10 or more). Returns how many. */
unsigned cpuid_featureset(unsigned index, uint32_t *words, unsigned max);
void cpuid_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* A feature bit of d's policy, by leaf/reg/bit. */
bool cpuid_has_at(const struct domain *d, uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit);
bool cpuid_has(const struct domain *d, uint32_t leaf, unsigned reg, unsigned bit);

#endif
