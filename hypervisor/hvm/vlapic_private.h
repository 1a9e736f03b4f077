/*
 * hvm/vlapic_private.h: what hvm/vlapic.c and hvm/vlapic_timer.c share. Nobody else includes it.
 */
#ifndef HVM_VLAPIC_PRIVATE_H
#define HVM_VLAPIC_PRIVATE_H

#include "hvm/hvm.h"

enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_MASKED  0x10000u
#define LVT_PENDING 0x1000u
#define DIVIDE_BITS 0xbu

static inline struct vlapic *apic_of(struct vcpu *v)
{
	return &v->hvm->lapic;
}

/* vlapic_timer.c: the registers as the guest reads and writes them; values are cut to their writable bits already. */
uint32_t vlapic_timer_initial(struct vcpu *v);
uint32_t vlapic_timer_current(struct vcpu *v);
uint64_t vlapic_timer_deadline(struct vcpu *v); /* guest TSC, 0 = none */
void vlapic_timer_set_initial(struct vcpu *v, uint32_t value);
void vlapic_timer_set_divide(struct vcpu *v, uint32_t value);
void vlapic_timer_set_lvt(struct vcpu *v, uint32_t value);
void vlapic_timer_set_deadline(struct vcpu *v, uint64_t guest_tsc);
void vlapic_timer_reset(struct vcpu *v);
/* From a saved register page; the LVT and tsc_deadline are in place. */
void vlapic_timer_import(struct vcpu *v, uint32_t divide, uint32_t initial, uint32_t current);

#endif
