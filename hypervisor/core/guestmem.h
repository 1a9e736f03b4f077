/*
 * core/guestmem.c: the only file that copies from and to guests. A small per-CPU cache of window mappings
 * (port_window_map): frames of the running domain stay mapped until the CPU leaves it, others until guestmem_end().
 * No locks but p2m.lock for look-ups. Every function may fail half-way only where said.
 *
 * gva: linear addresses of the running vCPU, through its own page tables with its own rights (CPL, SMAP off: the
 * hypercall is the explicit permission; user/supervisor and write bits are honoured at CPL 3 / CR0.WP).
 */
#ifndef CORE_GUESTMEM_H
#define CORE_GUESTMEM_H

#include "lib/types.h"

struct domain;
struct vcpu;

int guestmem_read(struct vcpu *v, void *dst, gva_t src, size_t len); /* 0 or -EFAULT */
int guestmem_write(struct vcpu *v, gva_t dst, const void *src,
		   size_t len);					 /* all writable checked before the first byte */
int guestmem_check_write(struct vcpu *v, gva_t dst, size_t len); /* 0 or -EFAULT; writes nothing */

int guestmem_read_gpa(struct domain *d, void *dst, gpa_t src, size_t len); /* RAM only; 0 or -EFAULT */
int guestmem_write_gpa(struct domain *d, gpa_t dst, const void *src, size_t len);

/* Translation with the architectural page-fault error code on failure. access bits: */
#define GUESTMEM_WRITE 1u
#define GUESTMEM_FETCH 2u
#define GUESTMEM_USER  4u /* as CPL 3; otherwise supervisor */
struct guestmem_fault {
	uint32_t code; /* #PF error code */
	gva_t addr;
	bool not_ram; /* translated, but no RAM at gpa (emulated MMIO) */
	gpa_t gpa;
};
/* For the emulator: as the guest itself would access. 0, or -EFAULT with *f filled. */
int guestmem_translate(struct vcpu *v, gva_t va, unsigned access, gpa_t *gpa, struct guestmem_fault *f);
int guestmem_access_read(struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access, struct guestmem_fault *f);
int guestmem_access_write(struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access,
			  struct guestmem_fault *f);

/* A short view of one machine frame that the caller holds a reference on; ends at guestmem_end() or sooner. */
void *guestmem_window(mfn_t m);
void guestmem_end(void);	       /* the operation is over: windows of other domains go */
void guestmem_enter(struct domain *d); /* this CPU turns to d: d's windows stay until it leaves */
void guestmem_leave(void);	       /* this CPU leaves the running domain: all windows go */
void guestmem_forget(mfn_t m);	       /* a frame changes hands: no CPU keeps a window on it */
/* What d has at gfns [gfn, gfn + count) changed: no CPU goes on using a window found by one of them. */
void guestmem_forget_gfns(struct domain *d, uint64_t gfn, uint64_t count);

#endif
