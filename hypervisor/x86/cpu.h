/*
 * The machine's side of a CPU: x86/cpu.c (per-CPU block, descriptor tables, features) and what the files of x86/ offer to
 * each other. A CPU's block is found from its stack pointer: VMRUN leaves no segment base to rely on.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include "lib/types.h"
#include "port/machine.h"
#include "x86/layout.h"

struct tss { /* APM vol. 2, 12.2.5 */
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

struct cpu { /* at CPU_AREA + id * 64 KiB; written by its own CPU only, except where said */
	uint32_t id;
	uint32_t apicid;    /* written by the boot CPU before this one runs */
	uint64_t host_vmcb; /* machine address; VMLOAD of it restores TR (svm_enter.S) */
	uint64_t tlb_seen;  /* generation of the last flush, ~0 while idle; read by others */
	uint64_t *window;   /* PORT_WINDOWS page-table entries */
	uint64_t xcr0;	    /* what the register holds */
	bool online;	    /* read by the boot CPU */
	uint64_t deadline;  /* of its timer while that is deferred, ns; ~0: none */
	uint64_t deadline_tsc;
	uint64_t gdt[5];
	struct tss tss;
};

static inline struct cpu *cpu_block(unsigned n)
{
	return (struct cpu *)(CPU_AREA + ((uint64_t)n << CPU_BLOCK_SHIFT));
}

static inline struct cpu *cpu_this(void)
{
	uint64_t sp;

	__asm__("mov %%rsp, %0" : "=r"(sp));
	return (struct cpu *)(sp & ~(BIT(CPU_BLOCK_SHIFT) - 1));
}

/* cpu.c */
struct cpu_features {
	bool x2apic, tsc_deadline, smep, smap, xsave;
	uint64_t xcr0; /* what the host enables */
	uint32_t xsave_size;
};
extern struct cpu_features cpu_features;
extern unsigned x86_guard; /* PORT_GUARD_* */
void cpu_features_find(void);
void cpu_init(unsigned id); /* descriptor tables and control registers of this CPU */
void cpu_count_set(unsigned n);
void x86_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void x86_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* trap.c */
void trap_init(void); /* fills the IDT; before it becomes read-only */
void trap_load(void);
void trap_stop_others(void); /* halts all other CPUs by NMI */

/* paging.c; frames come from the pool that boot gave, addresses as port_boot_paging() left them */
paddr_t paging_frame(void);	   /* zeroed; panics when the pool is empty */
void paging_cpu_map(unsigned cpu); /* block, stacks and windows of a CPU that is not CPU 0 */
void paging_windows_init(unsigned cpu);
void *paging_firmware_map(paddr_t pa, size_t size); /* cached, read-only */
void paging_low_map(paddr_t pa, bool on);	    /* the trampoline page, one to one, executable */
void paging_flush_check(void);			    /* flushes this CPU's TLB when mappings were removed */
void paging_idle_enter(void);

/* apic.c */
void apic_init(void);	  /* boot CPU: finds the mode, maps the registers */
void apic_cpu_init(void); /* each CPU */
void apic_eoi(void);
uint32_t apic_id(void);
void apic_send_ipi(uint32_t apicid, unsigned vector);
void apic_send_nmi(uint32_t apicid);
void apic_send_init(uint32_t apicid);
void apic_send_startup(uint32_t apicid, unsigned page);
bool apic_timer_needs_calibration(void);
void apic_timer_start_count(void);
uint32_t apic_timer_elapsed(void);
void apic_timer_set_khz(uint64_t khz);
void apic_timer_idle(void); /* before this CPU idles: a deadline that is deferred gets its interrupt */
void apic_timer_poll(void); /* the same as its interrupt when a deferred deadline has passed */
void apic_timer_fired(void);

/* ioapic.c */
void ioapic_init(void);
/* True when the vector is a device's; the rest of its handling is done then. */
void ioapic_interrupt(unsigned vector);
unsigned ioapic_isa_gsi(unsigned irq, bool *level, bool *active_low);
int ioapic_own_irq(unsigned irq); /* binds an ISA line to the hypervisor on CPU 0 -> vector */

/* acpi.c: what the MADT says */
struct acpi_ioapic {
	paddr_t address;
	uint32_t gsi_base;
};
struct acpi_override {
	uint8_t irq;
	uint32_t gsi;
	bool level, active_low;
};
#define ACPI_MAX_IOAPICS   16
#define ACPI_MAX_OVERRIDES 32
struct acpi_machine {
	paddr_t lapic;
	unsigned nr_cpus; /* enabled ones, at most NR_CPUS */
	uint32_t apicid[NR_CPUS];
	unsigned nr_ioapics;
	struct acpi_ioapic ioapic[ACPI_MAX_IOAPICS];
	unsigned nr_overrides;
	struct acpi_override override[ACPI_MAX_OVERRIDES];
};
extern struct acpi_machine acpi_machine;
/* FADT reset register: false when there is none. space: 0 memory, 1 I/O, 2 PCI configuration. */
bool acpi_reset_register(uint8_t *space, uint64_t *address, uint8_t *value);

/* topology.c; both before anything is asked of it. NULL: the firmware has no such table. */
void topology_nodes(const uint8_t *srat, uint32_t srat_len, const uint8_t *slit, uint32_t slit_len);
void topology_cpus(void);

/* tsc.c */
struct tsc_check {
	uint64_t last, behind; /* the latest reading; by how much one was less than the one before */
};
void tsc_check_turn(struct tsc_check *c, uint64_t now);
void tsc_check_with(unsigned cpu); /* boot CPU: compares its TSC with that of the CPU that just came online */
void tsc_check_join(unsigned cpu, const bool *given_up); /* that CPU's part; returns at once when *given_up */

/* time.c */
void time_machine_init(void);
void time_delay_us(unsigned us);

/* serial.c */
void serial_rx_init(void);
void serial_interrupt(unsigned vector);
unsigned serial_vector(void);

/* tcg.c */
void tcg_init(void);
bool tcg_interrupt(unsigned v); /* true when it was the heartbeat; it is dealt with then */

/* fpu.c */
void fpu_cpu_init(void);

/* pci.c */
void pci_machine_init(void);

/* svm.c */
void svm_host_init(void);

/* smp.c */
_Noreturn void smp_cpu_start(void);

#endif
