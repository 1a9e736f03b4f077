/*
 * hvm/exit.h: the vendor-neutral record of why a guest stopped. svm_decode() and vmx_decode() are pure functions that
 * fill it; hvm/exit.c handles it in one switch.
 */
#ifndef HVM_EXIT_H
#define HVM_EXIT_H

#include "lib/types.h"

struct vcpu;

enum exit_kind {
	EXIT_NONE,	/* nothing to do (host interrupt: handled by port_poll) */
	EXIT_INTERRUPT, /* a physical interrupt or NMI */
	EXIT_WINDOW,	/* SVM: IRET of an NMI handler; VMX: the guest can take an interrupt or NMI now */
	EXIT_EXCEPTION, /* vector, error_code, addr (for #PF) */
	EXIT_CPUID,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_HYPERCALL, /* VMMCALL or VMCALL */
	EXIT_HLT,
	EXIT_IO,       /* port, size, in, string, rep, seg, addr_size */
	EXIT_NPF,      /* nested page fault: gpa, write, exec, present */
	EXIT_CR_WRITE, /* cr, gpr when decoded */
	EXIT_CR_READ,  /* CR8 alone: cr, gpr */
	EXIT_DR,
	EXIT_XSETBV,
	EXIT_RDTSC, /* aux */
	EXIT_PAUSE,
	EXIT_WBINVD,   /* and INVD */
	EXIT_MONITOR,  /* MONITOR, MWAIT */
	EXIT_SHUTDOWN, /* triple fault */
	EXIT_RDPMC,
	EXIT_EOI,	 /* virtual APIC: vector's end was virtualised, and somebody wants to know */
	EXIT_APIC_WRITE, /* virtual APIC: gpa, an offset in its page, is written already */
	EXIT_TASK,	 /* VMX: selector, task; by an event that pushes one: has_error, error_code */
	EXIT_UD,	 /* an instruction the guest may not use: inject #UD */
	EXIT_INIT,
	EXIT_INVALID, /* the CPU refused the state: our mistake, ends the domain */
	EXIT_UNKNOWN, /* ends the domain */
};

enum exit_task { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE }; /* what asked for the switch; GATE: one in the IDT */

struct exit {
	enum exit_kind kind;
	uint64_t reason;		 /* the vendor's code, for messages */
	uint8_t length;			 /* instruction length when the CPU reported it, else 0 */
	bool in, string, rep;		 /* EXIT_IO */
	bool write, exec, present, walk; /* EXIT_NPF; walk: fault on the guest's own page-table access */
	bool aux;			 /* EXIT_RDTSC: it was RDTSCP, which reads TSC_AUX too */
	uint8_t size;			 /* EXIT_IO: 1, 2, 4 */
	uint8_t addr_size;		 /* EXIT_IO string: 2, 4, 8 */
	uint8_t seg;			 /* EXIT_IO string: SEG_*, when reported; 0xff = decode */
	uint8_t vector;			 /* EXIT_EXCEPTION */
	uint8_t cr, gpr;		 /* EXIT_CR_WRITE; gpr 0xff = decode */
	uint16_t port, selector;
	uint8_t task; /* enum exit_task */
	bool has_error;
	uint32_t error_code;
	gpa_t gpa;
	gva_t addr;	   /* linear address when reported (#PF, EPT) */
	uint64_t next_rip; /* EXIT_IO on SVM (EXITINFO2); 0 = unknown */
	/* An event whose delivery this exit interrupted and that nobody offers anew; valid bit 31, as EXITINTINFO. */
	uint64_t
		interrupted; /* SVM format (vmx_decode translates): vector | type << 8 | ev << 11 | valid << 31 | err << 32 */
};

/* Handles one exit of the current vCPU. */
void exit_handle(struct vcpu *v, const struct exit *e);

#endif
