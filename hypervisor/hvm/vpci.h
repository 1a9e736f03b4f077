/*
 * hvm/vpci.c: trapped PCI configuration space of the hardware domain (ports 0xcf8/0xcfc and MMCONFIG) and
 * its MSI capability; hvm/vmsix.c: MSI-X tables. Everything else passes through; the IOMMU's function is
 * hidden (all ones).
 */
#ifndef HVM_VPCI_H
#define HVM_VPCI_H

#include "lib/types.h"

struct domain;
struct vcpu;
struct vpci_domain;

int vpci_init(struct domain *d, uint64_t mmcfg_base, uint8_t bus_start, uint8_t bus_end); /* base 0: none */
void vpci_hide(struct domain *d, uint16_t bdf);						  /* all ones from now on */
void vpci_destroy(struct domain *d);
uint32_t vpci_port_read(struct vcpu *v, uint16_t port, unsigned size); /* 0xcf8..0xcff */
void vpci_port_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
/* MMCONFIG and MSI-X table pages. True if gpa is one of ours (the access was done). */
bool vpci_mmio_owns(struct domain *d, uint64_t gpa);
uint64_t vpci_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size);
void vpci_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value);

#endif
