/*
 * A second heartbeat for CPUs that QEMU's TCG emulates, and for no others. Owns: channel 0 of the 8254. No locks: the
 * vector is set once at start-up.
 *
 * TCG's VMRUN with a virtual interrupt pending (V_IRQ) sets a bit in the word of pending interrupts without its lock, and can
 * so undo the arrival of a physical interrupt at that moment (seen in QEMU 7.2's helper_vmrun). The local APIC keeps the request but
 * the CPU is not told until the next one comes; a guest that spins would run for ever. 18 interrupts a second, passed on to
 * all CPUs, make it 55 ms. There is no other periodic tick: an idle CPU sleeps until its first timer or a kick.
 *
 * hvm/svm.c keeps a harmless vector beside a V_IRQ that is clear, should a virtual interrupt outlive #VMEXIT in the same word. No
 * way to that is known: QEMU 7.2 clears the bit under its lock.
 */
#include "port/cpu.h"
#include "port/machine.h"
#include "x86/cpu.h"
#include "x86/x86.h"

static int vector = -1;

bool port_cpu_emulated(void)
{
	struct cpuid_regs r;

	if (!(x86_cpuid(1, 0).ecx & BIT(31)))
		return false;
	r = x86_cpuid(0x40000000, 0);
	return r.ebx == 0x54474354 && r.ecx == 0x43544743 && r.edx == 0x47435447; /* "TCGTCGTCGTCG" */
}

void tcg_init(void)
{
	if (!port_cpu_emulated())
		return;
	vector = ioapic_own_irq(0);
	x86_out8(0x43, 0x34); /* channel 0, both bytes, mode 2 */
	x86_out8(0x40, 0);    /* 65536 */
	x86_out8(0x40, 0);
	x86_log("QEMU's TCG found: the 8254 is a second heartbeat, for interrupts that it loses");
}

bool tcg_interrupt(unsigned v)
{
	if ((int)v != vector)
		return false;
	apic_eoi();
	for (unsigned cpu = 1; cpu < port_cpu_count(); cpu++)
		port_kick(cpu);
	return true;
}
