/*
 * Bringing up the CPUs, first and others. Source: SDM vol. 3, 9.4 (INIT-SIPI-SIPI). Start-up only, one CPU at a time: no
 * locks. Invariant: CPUs 0..port_cpu_count()-1 are online.
 */
#include "lib/lib.h"
#include "port/boot.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define SETTLE_US      10
#define START_US       500
#define PATIENCE_US    1000000
#define FRAMES_PER_CPU (CPU_FRAMES + 2) /* and its VMCB, and table pages */

extern const char trampoline[], trampoline_end[], tramp_jump[], tramp_gdtr[];

static bool released;

void port_boot_early(void)
{
	/* Both 8259s, while the local APIC still passes them on: a request that is up now is taken back. */
	x86_out8(0x21, 0xff);
	x86_out8(0xa1, 0xff);
	trap_init();
	cpu_features_find();
	cpu_init(0);
	port_boot_serial(0x3f8, 115200);
}

size_t port_boot_cpu_frames(void)
{
	return (acpi_machine.nr_cpus - 1) * FRAMES_PER_CPU + 4;
}

void port_boot_devices(void)
{
	svm_host_init();
	fpu_cpu_init();
	apic_init();
	time_machine_init();
	ioapic_init();
	pci_machine_init();
	serial_rx_init();
	tcg_init();
	x86_log("local APIC: %s, %u interrupt lines, %u CPUs", cpu_features.x2apic ? "x2APIC" : "xAPIC",
		port_gsi_count(), acpi_machine.nr_cpus);
}

/* On the new CPU's own stack. */
_Noreturn void smp_cpu_start(void)
{
	struct cpu *c = cpu_this();

	cpu_init(c->id);
	apic_cpu_init();
	fpu_cpu_init();
	svm_host_init();
	paging_flush_check();
	__atomic_store_n(&c->online, true, __ATOMIC_RELEASE);
	tsc_check_join(c->id, &released);
	while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
		port_idle();
	upcall_cpu_main();
}

static bool smp_wait_online(const struct cpu *c, unsigned us)
{
	for (unsigned waited = 0; waited < us; waited += 10) {
		if (__atomic_load_n(&c->online, __ATOMIC_ACQUIRE))
			return true;
		time_delay_us(10);
	}
	return false;
}

static bool smp_start(unsigned cpu, uint32_t apicid, paddr_t page, uint8_t *low)
{
	struct cpu *c = cpu_block(cpu);
	uint64_t stack = (uint64_t)c + CPU_STACK_TOP;

	paging_cpu_map(cpu);
	c->id = cpu;
	c->apicid = apicid;
	memcpy(low + TRAMPOLINE_STACK, &stack, sizeof(stack));
	apic_send_init(apicid);
	time_delay_us(SETTLE_US);
	apic_send_startup(apicid, (unsigned)(page >> PAGE_SHIFT));
	if (smp_wait_online(c, START_US))
		return true;
	apic_send_startup(apicid, (unsigned)(page >> PAGE_SHIFT));
	return smp_wait_online(c, PATIENCE_US);
}

/* The copy's far jump and GDT addresses become absolute. */
static void smp_trampoline(paddr_t page, uint8_t *low)
{
	uint64_t cr3 = x86_read_cr3();
	uint32_t *jump = (uint32_t *)(low + (tramp_jump - trampoline));
	uint32_t *gdt = (uint32_t *)(low + (tramp_gdtr - trampoline) + 2);

	memcpy(low, trampoline, (size_t)(trampoline_end - trampoline));
	memcpy(low + TRAMPOLINE_CR3, &cr3, sizeof(cr3));
	*jump += (uint32_t)page;
	*gdt += (uint32_t)page;
}

void port_boot_cpus(paddr_t page, unsigned max)
{
	const struct acpi_machine *m = &acpi_machine;
	uint32_t self = port_cpu_apicid(0);
	unsigned n = 1;
	uint8_t *low = port_direct(MFN(page >> PAGE_SHIFT));

	cpu_this()->online = true;
	if (m->nr_cpus == 1)
		return;
	paging_low_map(page, true);
	smp_trampoline(page, low);
	for (unsigned i = 0; i < m->nr_cpus && n < max; i++) {
		if (m->apicid[i] == self)
			continue;
		if (!smp_start(n, m->apicid[i], page, low)) {
			/* It may still come up later and use its block: the number is not given again. */
			x86_log("CPU with APIC ID %u does not start; no further CPU is tried", m->apicid[i]);
			break;
		}
		tsc_check_with(n);
		cpu_count_set(++n);
	}
	paging_low_map(page, false);
}

void port_boot_release(void)
{
	__atomic_store_n(&released, true, __ATOMIC_RELEASE);
	for (unsigned i = 1; i < port_cpu_count(); i++)
		port_kick(i);
}
