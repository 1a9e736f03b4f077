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

/* Register numbers: offset in the page / 16, x2APIC MSR - 0x800. */
enum {
	R_ID = 0x02,
	R_VERSION = 0x03,
	R_TPR = 0x08,
	R_APR = 0x09,
	R_PPR = 0x0a,
	R_EOI = 0x0b,
	R_LDR = 0x0d,
	R_DFR = 0x0e,
	R_SVR = 0x0f,
	R_ISR = 0x10,
	R_TMR = 0x18,
	R_IRR = 0x20,
	R_ESR = 0x28,
	R_CMCI = 0x2f,
	R_ICR = 0x30,
	R_ICR2 = 0x31,
	R_LVT_TIMER = 0x32,
	R_LVT_ERROR = 0x37,
	R_INITIAL = 0x38,
	R_CURRENT = 0x39,
	R_DIVIDE = 0x3e,
	R_SELF_IPI = 0x3f,
};
#define REG(a, r) ((a)->page[4 * (r)])

static inline struct vlapic *apic_of(struct vcpu *v)
{
	return &v->hvm->lapic;
}

static inline uint32_t *lvt_of(struct vlapic *a, unsigned i)
{
	return &REG(a, i == LVT_CMCI ? R_CMCI : R_LVT_TIMER + i - LVT_TIMER);
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
