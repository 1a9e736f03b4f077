/*
 * hvm/vmx_check.c: why a CPU refuses to enter a guest: the checks of control fields, of guest state and of the event to inject
 * that the SDM lists (vol. 3, 26.2.1 and 26.3.1), in the order in which they are cheap to explain. Pure.
 */
#ifndef HVM_VMX_CHECK_H
#define HVM_VMX_CHECK_H

#include "hvm/hvm.h"

struct vmx_state {
	uint64_t cr0, cr3, cr4, efer, rflags, rip, dr7, debugctl, pat, link;
	uint64_t sysenter_esp, sysenter_eip, pending_debug;
	uint64_t pdpte[4];
	uint32_t entry, secondary; /* controls */
	uint32_t event, blocking, activity;
	uint32_t address_bits; /* MAXPHYADDR */
	struct segment seg[SEG_COUNT];
	uint32_t rights[SEG_COUNT]; /* as in the VMCS; not of GDTR and IDTR */
};

#define VMX_ERROR_CONTROLS 7u

enum vmx_word { WORD_PIN, WORD_PRIMARY, WORD_SECONDARY, WORD_EXIT, WORD_ENTRY, WORD_COUNT };

struct vmx_controls {
	uint32_t word[WORD_COUNT];
	uint64_t allowed[WORD_COUNT]; /* the CPU's MSRs: low half must be set, high half may be (SDM A.2 to A.5) */
	uint64_t io_bitmap[2], msr_bitmap, virtual_apic, posted, log, eptp, ept_caps;
	uint32_t vpid, notify_vector, tpr_threshold, cr3_targets, event;
	uint32_t address_bits;
};

const char *vmx_check_controls(const struct vmx_controls *c, uint64_t *value); /* as below */
/* NULL: nothing wrong was found. Else what is wrong; *value is the field it is about. */
const char *vmx_check(const struct vmx_state *s, uint64_t *value);
/* The meaning of a VM-instruction error number (SDM 30.4). */
const char *vmx_instruction_error(uint64_t number);

#endif
