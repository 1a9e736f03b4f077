/*
 * hvm/tsc.c: the TSC as a guest reads it (XEN_DOMCTL_settscinfo, tsc_mode= of xl; xen/arch-x86/cpuid.h, leaf 3). Native: the
 * CPU answers, the machine's TSC plus an offset. Emulated: every RDTSC exits, and the frequency is the one the guest was
 * started with, whatever this machine's is. guest_tsc() and guest_tsc_scale() of port/guest.h are here too.
 * Locks: none; a vCPU's are its own, the domain's change while it is paused.
 */
#ifndef HVM_TSC_H
#define HVM_TSC_H

#include "core/domain.h"

#define TSC_MODE_DEFAULT                                                                                               \
	0u /* emulated only where the machine's TSC would not do: unreliable, or of another frequency */
#define TSC_MODE_EMULATE 1u
#define TSC_MODE_NATIVE	 2u

/* d is paused. khz 0: this machine's. What its vCPUs read goes on from where it is. */
void tsc_set_mode(struct domain *d, uint32_t mode, uint32_t khz);
bool tsc_emulated(const struct domain *d);
/* v's TSC reads value when the machine's is host_tsc. */
void tsc_set(struct vcpu *v, uint64_t value, uint64_t host_tsc);
/* What the machine's TSC is when v's is guest: the inverse of guest_tsc(), but for rounding where frequencies differ. */
uint64_t tsc_host(struct vcpu *v, uint64_t guest);

#endif
