/*
 * The firmware's ACPI tables, found once at start-up (x86/acpi.c). Source: ACPI 6.4, 5.2. Boot CPU, start-up only: no
 * locks. Only tables whose length and checksum are right are listed.
 */
#ifndef PORT_ACPI_H
#define PORT_ACPI_H

#include "lib/types.h"

unsigned port_acpi_count(void); /* tables that the XSDT or RSDT names */
/* The i-th table, i < port_acpi_count(): signature (not terminated), machine address, length in bytes. */
void port_acpi_nth(unsigned i, char sig[4], paddr_t *pa, uint32_t *len);
/* The n-th table (from 0) with this signature, mapped read-only for good, or NULL. */
const void *port_acpi_find(const char sig[4], unsigned n);
/* Any table by address (FACS, DSDT of the FADT): its whole length mapped, or NULL. No checksum is asked for. */
const void *port_acpi_map(paddr_t pa);

#endif
