/*
 * hvm/vmsix.c: MSI-X tables of the hardware domain's functions. Source: PCI Local Bus 3.0, 6.8.2. The pages
 * of a table are trapped; the domain reads back what it wrote, the device holds the host's message.
 * Everything else on those pages passes through. Locks: vpci.c's, held by every caller; p2m.lock may not be
 * held.
 */
#ifndef HVM_VMSIX_H
#define HVM_VMSIX_H

#include "lib/types.h"

struct domain;

struct vmsix_entry {
	uint64_t address; /* as the guest wrote them */
	uint32_t data;
	int handle; /* of irq.c, -1: no host vector yet */
};

struct vmsix {
	uint8_t cap;		   /* offset of the capability, 0: the function has none */
	uint8_t bir;		   /* which BAR */
	uint16_t entries;	   /* in the table */
	uint32_t offset;	   /* of the table in that BAR */
	gpa_t table;		   /* where the table is now, 0: not decoded */
	paddr_t mapped;		   /* page the mapping below starts with */
	volatile uint8_t *map;	   /* uncached mapping of the table's pages, made at the first access; NULL */
	struct vmsix_entry *entry; /* heap; NULL until the first access */
};

void vmsix_discover(struct vmsix *m, uint16_t bdf, uint8_t cap);
void vmsix_relocate(struct domain *d, struct vmsix *m, uint16_t bdf); /* a BAR or the command register was written */
bool vmsix_owns(const struct vmsix *m, gpa_t gpa);
uint64_t vmsix_read(struct vmsix *m, gpa_t gpa, unsigned size);
void vmsix_write(struct domain *d, struct vmsix *m, gpa_t gpa, unsigned size, uint64_t value);
void vmsix_release(struct vmsix *m); /* MSI-X was switched off: host vectors go */
void vmsix_destroy(struct vmsix *m);

#endif
