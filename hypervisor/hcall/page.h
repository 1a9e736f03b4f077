/* hcall/page.c: the hypercall page (XEN_DOMCTL_hypercall_init and the MSR of the hypervisor CPUID leaf 2). */
#ifndef HCALL_PAGE_H
#define HCALL_PAGE_H

#include "lib/types.h"

struct domain;

#define HCALL_PAGE_ENTRY 32u /* bytes per hypercall number (xen/xen.h, hypercall page) */

/* Entry nr: mov $nr, %eax; vmmcall (or vmcall); ret. */
void hcall_page_fill(uint8_t page[PAGE_SIZE], bool vmcall);
/* Writes the page into d's RAM at g. 0, -EINVAL (no writable RAM there), -ENOMEM. */
int hcall_page_install(struct domain *d, gfn_t g);

#endif
