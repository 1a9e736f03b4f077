/* hvm/msr.c: model-specific registers of a guest. False: #GP(0). */
#ifndef HVM_MSR_H
#define HVM_MSR_H

#include "lib/types.h"

struct vcpu;
struct domain;

int msr_init(void); /* the bitmap all domains share: which MSRs do not exit; 0, -ENOMEM */
uint8_t *msr_bitmap(void);
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
void msr_switch_in(struct vcpu *v); /* what the VMCB does not switch: TSC_AUX, which RDTSCP and RDPID read */
uint64_t msr_efer_mask(const struct domain *d); /* the bits a guest may set */
/* hvm/cr.c: control register writes with the architectural checks. False: #GP(0). */
bool cr_write(struct vcpu *v, unsigned cr, uint64_t value);
/* A state that VMRUN takes, of features that d has: checked before it is loaded as a whole. */
bool cr_state_ok(const struct domain *d, uint64_t cr0, uint64_t cr4, uint64_t efer);
/* The value that the instruction behind a CR-write exit would write. False: not such an instruction. */
struct insn;
bool cr_exit_value(struct vcpu *v, const struct insn *i, uint64_t *value);

#endif
