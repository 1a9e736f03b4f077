/*
 * hvm/vlapic.c: the virtual local APIC: xAPIC page and x2APIC MSRs, timer (one-shot, periodic, TSC
 * deadline), IPIs, EOI broadcast to the vIO-APIC. Source: Intel SDM vol. 3 chapter 11, AMD APM vol. 2
 * chapter 16. IRR is set atomically by any CPU; everything else is touched only by the CPU that runs (or
 * owns) the vCPU.
 */
#ifndef HVM_VLAPIC_H
#define HVM_VLAPIC_H

#include "core/timer.h"
#include "lib/types.h"

struct vcpu;
struct domain;

#define APIC_DEFAULT_BASE 0xfee00000ull

struct vlapic {
	uint32_t *page; /* a heap page: the registers where the architecture has them, posted interrupts behind them */
	uint64_t base_msr; /* IA32_APIC_BASE */
	uint32_t esr_latched;
	uint32_t irr_sum, isr_sum; /* bit i: word i of IRR (a hint, never missing one), ISR (exact) is not 0 */
	bool moved;		   /* IRR or ISR changed while the CPU, which delivers from them, was not looking */
	bool levels_changed;	   /* TMR did */
	uint64_t icr;
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start;  /* ns when the count was loaded */
	uint64_t timer_period; /* ns for periodic, 0 else */
	uint64_t tsc_deadline;
	struct timer timer;
};

#define VLAPIC_BUS_NS 10 /* one bus tick in ns: 100 MHz, divided by the divide register */

void vlapic_init(struct vcpu *v);  /* power-on; lapic.page is there */
void vlapic_reset(struct vcpu *v); /* INIT: ID and base kept */
bool vlapic_enabled(struct vcpu *v);
bool vlapic_software_enabled(const struct vlapic *a); /* SVR says so */
bool vlapic_x2apic(struct vcpu *v);
uint32_t vlapic_id(struct vcpu *v); /* xAPIC: 8 bits; x2APIC: 32 bits */

void vlapic_set_irq(struct vcpu *v, uint8_t vector, bool level); /* any CPU; wakes v */
int vlapic_pending(struct vcpu *v);				 /* highest vector above PPR that is in IRR, or -1 */
/* What is pending is offered to the guest (out of IRR); it was not taken (back into IRR), or it was (into ISR). */
void vlapic_offer(struct vcpu *v, uint8_t vector);
void vlapic_retract(struct vcpu *v, uint8_t vector);
void vlapic_ack(struct vcpu *v, uint8_t vector);
void vlapic_eoi(struct vcpu *v);
/*
 * Where the CPU itself delivers (vendor_apic_delivers), from IRR in the page: what to tell it before an entry. This CPU runs v.
 * status: true when the vectors it is to go on with changed: highest of ISR << 8 | highest of IRR. levels: true when the
 * vectors changed whose EOI is to exit, because vlapic_eoi_exit() must see it.
 */
bool vlapic_status(struct vcpu *v, uint16_t *status);
bool vlapic_levels(struct vcpu *v, uint64_t vectors[4]);
void vlapic_eoi_exit(struct vcpu *v, uint8_t vector);
void vlapic_written(struct vcpu *v, uint32_t offset); /* the guest wrote the register in the page already */
#define VLAPIC_POSTED 0x800u /* offset in the page of the descriptor of posted interrupts (SDM vol. 3, 30.6) */

uint8_t vlapic_get_tpr(struct vcpu *v); /* CR8 = this >> 4 */
void vlapic_set_tpr(struct vcpu *v, uint8_t tpr);

/* xAPIC page; offset 0..0xfff; size 1, 2, 4, 8 (others than aligned 4 behave as hardware allows or as Xen does). */
uint32_t vlapic_mmio_read(struct vcpu *v, uint32_t offset);
void vlapic_mmio_write(struct vcpu *v, uint32_t offset, uint32_t value);
/* MSRs 0x800-0x8ff, 0x1b and 0x6e0. False: #GP. */
bool vlapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool vlapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);

void vlapic_timer(struct vcpu *v); /* TIMER_VLAPIC is due */

/*
 * This CPU stops running v (run queue's lock held); and, when it has left it and holds no lock: a SIPI that came meanwhile
 * is obeyed.
 */
void vlapic_leave(struct vcpu *v);
void vlapic_left(void);

/* The register page as xen/hvm/save.h struct hvm_hw_lapic_regs has it; import takes checked data of a paused vCPU. */
#define VLAPIC_PAGE_BYTES 1024
void vlapic_export(struct vcpu *v, uint8_t page[VLAPIC_PAGE_BYTES]);
void vlapic_import(struct vcpu *v, const uint8_t page[VLAPIC_PAGE_BYTES]);

/* Interrupt message (from the vIO-APIC or an MSI) to the matching vCPUs of d. INIT and start-up messages are ignored. */
void vlapic_deliver(struct domain *d, uint32_t dest, bool logical, uint8_t mode, uint8_t vector, bool level);

#endif
