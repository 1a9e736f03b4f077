/*
 * THE SEAM, downwards: what a machine offers. Implemented by x86/ (real hardware) and test/host/ (a fake machine).
 * Interrupts are off everywhere in the hypervisor except inside port_idle() and port_poll(), which call up
 * (port/upcall.h) with no lock held.
 */
#ifndef PORT_MACHINE_H
#define PORT_MACHINE_H

#include "lib/types.h"

#define NR_CPUS 256

/* --- CPUs --- */
unsigned port_cpu(void);       /* index of this CPU, 0 is the boot CPU */
unsigned port_cpu_count(void); /* CPUs online */
uint32_t port_cpu_apicid(unsigned cpu);
void port_kick(unsigned cpu); /* makes that CPU leave port_idle() or its guest soon (IPI); never waits */
void port_notify(
	unsigned cpu); /* has a guest there take in what is posted to it (SDM vol. 3, 30.6); no guest, no effect */
#define PORT_KICK_AGAIN                                                                                                \
	100000u	       /* who waits for a CPU kicks it again after as many rounds: emulators lose one now and then */
void port_relax(void); /* in a loop that waits for what another CPU does in its run loop */
void port_poll(void);  /* lets pending interrupts be handled now */
void port_idle(void);  /* waits for an interrupt (sti; hlt); returns after at least one was handled */

/*
 * --- topology; read-only once the CPUs run ---
 * Socket and core are the numbers that the APIC ID holds: to be compared, not counted on to be dense. A machine without
 * (sound) SRAT and SLIT tables has one node, 0. Distances as in the SLIT: 10 is a node to itself, 255 out of reach.
 * The ranges of nodes are sorted, do not overlap and cover [0, ~0): a hole belongs to the range below it.
 */
#define PORT_MAX_NODES	     64u
#define PORT_MAX_NODE_RANGES 64u
#define PORT_NODE_LOCAL	     10u
uint32_t port_cpu_socket(unsigned cpu);
uint32_t port_cpu_core(unsigned cpu); /* within its socket */
unsigned port_threads_per_core(void);
unsigned port_cores_per_socket(void);
unsigned port_node_count(void);
unsigned port_cpu_node(unsigned cpu);
uint8_t port_node_distance(unsigned from, unsigned to);
unsigned port_node_ranges(void);
unsigned port_node_range(unsigned i, uint64_t *start, uint64_t *end); /* frame numbers, end exclusive; -> its node */

/* --- time --- */
uint64_t port_tsc(void);
bool port_tsc_reliable(void); /* the same on all CPUs at any time; else port_now() is what each CPU takes it for */
uint64_t port_tsc_khz(void);
uint64_t port_now(void);			   /* ns since boot; the same on all CPUs, never goes back */
void port_tsc_scale(uint32_t *mul, int8_t *shift); /* pvclock factors: ns = ((tsc << shift) * mul) >> 32 */
uint64_t port_tsc_to_ns(uint64_t tsc);		   /* port_now() at that TSC value */
uint64_t port_ns_to_tsc(uint64_t ns);
void port_timer_arm(uint64_t deadline); /* ns as port_now(); this CPU's timer; ~0 = never; past = at once */
/*
 * Boot CPU, once: who enters a guest sees to it that the stay ends after port_timer_left() ticks of the TSC (0: it is due; ~0:
 * never). The machine's timer then ends port_idle() only, and port_poll() finds out by itself that the deadline has passed.
 */
void port_timer_defer(void);
uint64_t port_timer_left(void);
uint64_t port_rtc_seconds(void); /* wall clock, seconds since 1970, read from the CMOS clock */

/*
 * --- memory of the hypervisor ---
 * port_direct(m): where the hypervisor sees frame m while it owns it. Only frames that port_direct_map() mapped may be
 * touched. Mapping a frame that is mapped already, or unmapping one that is not, is our own mistake (panic).
 * Order 0 or ORDER_2M. Neither allocates: returns false only when out of page-table frames (map).
 */
void *port_direct(mfn_t m);
mfn_t port_direct_mfn(const void *p); /* inverse, for direct and image addresses */
bool port_direct_map(mfn_t m, unsigned order);
void port_direct_unmap(mfn_t m, unsigned order);

/* A second, long-lived mapping of one guest frame that the ABI registers (shared page). NULL: out of slots. */
void *port_vmap(mfn_t m);
void port_vunmap(void *p);

/* Long-lived uncached mapping of device registers, size bytes; NULL: out of slots. Never removed. */
void *port_mmio_map(paddr_t pa, size_t size);

/* This CPU's window slots for short accesses to guest frames; slot < PORT_WINDOWS. Flushes the slot locally. */
#define PORT_WINDOWS 32
void *port_window_map(unsigned slot, mfn_t m);
void port_window_unmap(unsigned slot);

/* --- the platform --- */
void port_console_write(const char *s, size_t n); /* raw bytes to the serial line */
/* I/O ports that the hypervisor keeps for itself (its serial line): first to last; false: none. No domain may touch them. */
bool port_console_ports(uint16_t *first, uint16_t *last);
uint32_t port_io_read(uint16_t port, unsigned size);
void port_io_write(uint16_t port, unsigned size, uint32_t value);
_Noreturn void port_halt(void); /* stops this machine for good (all CPUs) */
_Noreturn void port_reboot(void);
void port_backtrace(void); /* prints this CPU's call chain with symbols */

/*
 * --- interrupts of devices (for domains with the hardware right) ---
 * A host vector is allocated per line or message; when it fires, upcall_irq(vector) is called with the local APIC
 * already acknowledged; a level-triggered GSI is masked before and stays masked until port_gsi_unmask().
 * cpu: which CPU takes it. All return -errno or >= 0.
 */
unsigned port_gsi_count(void);
int port_gsi_bind(unsigned gsi, bool level, bool active_low, unsigned cpu); /* -> host vector, unmasked */
void port_gsi_mask(unsigned gsi);
void port_gsi_unmask(unsigned gsi);
void port_gsi_unbind(unsigned gsi);
int port_vector_alloc(void); /* -> host vector for an MSI, -ENOSPC */
void port_vector_free(unsigned vector);
/* The message that makes a device raise host vector on cpu. */
void port_msi_message(unsigned vector, unsigned cpu, uint64_t *address, uint32_t *data);

/* PCI configuration space, any function; size 1, 2, 4; reg < 4096 (above 255 only with MCFG, else all ones). */
uint32_t port_pci_read(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size);
void port_pci_write(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size, uint32_t value);

#endif
