/*
 * THE SEAM at start-up: what boot/main.c asks of the machine, in this order, on the boot CPU. No locks.
 */
#ifndef PORT_BOOT_H
#define PORT_BOOT_H

#include "lib/types.h"

/* Exceptions are caught, the serial line at 0x3f8 works. First of all. */
void port_boot_early(void);
/* The serial line moves to another I/O port or speed (baud 0: as the firmware left it; port 0: no serial line). */
void port_boot_serial(uint16_t port, uint32_t baud);
/* Pages of the image, from its first to the end of its data. Machine addresses. */
void port_boot_image(paddr_t *start, paddr_t *end);
/* How many page-table frames the direct map and the vmap area need for RAM in ranges [start[i], end[i]). */
size_t port_boot_table_frames(const paddr_t *start, const paddr_t *end, unsigned n);
/*
 * Final page tables, made of frames from [frame, frame + frames * 4 KiB), below 4 GiB; the image gets its W^X rights and
 * what was mapped one to one beside it is gone.
 */
void port_boot_paging(paddr_t frame, size_t frames);
/* Reads the ACPI tables (rsdp 0: searches), finds CPUs and I/O APICs. Panics with a message without a MADT. */
void port_boot_acpi(paddr_t rsdp);
/* Frames that port_boot_cpus() needs (stacks, per-CPU pages); they are given by port_boot_add_frames(), below 4 GiB. */
size_t port_boot_cpu_frames(void);
void port_boot_add_frames(paddr_t frame, size_t frames);
/* The TSC is not to be trusted, whatever the machine shows (option tsc=unstable). */
void port_boot_distrust_tsc(void);
/* Local APIC, clocks, timer, I/O APICs, PCI, serial interrupts. */
void port_boot_devices(void);
/*
 * Starts the other CPUs (at most max in all) through one page below 640 KiB. They wait until port_boot_release(),
 * then each calls upcall_cpu_main().
 */
void port_boot_cpus(paddr_t trampoline, unsigned max);
void port_boot_release(void);

#endif
