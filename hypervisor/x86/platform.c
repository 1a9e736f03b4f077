/*
 * I/O ports, halt and reset of the machine. No locks, no state.
 */
#include "lib/lib.h"
#include "port/machine.h"
#include "x86/cpu.h"
#include "x86/x86.h"

uint32_t port_io_read(uint16_t port, unsigned size)
{
	return size == 1 ? x86_in8(port) : size == 2 ? x86_in16(port) : x86_in32(port);
}

void port_io_write(uint16_t port, unsigned size, uint32_t value)
{
	if (size == 1)
		x86_out8(port, (uint8_t)value);
	else if (size == 2)
		x86_out16(port, (uint16_t)value);
	else
		x86_out32(port, value);
}

void port_halt(void)
{
	trap_stop_others();
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* The ways in turn: ACPI's reset register, the chipset's, the keyboard controller, a triple fault. */
void port_reboot(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt = { 0, 0 };
	uint64_t address;
	uint8_t space, value;

	trap_stop_others();
	if (acpi_reset_register(&space, &address, &value)) {
		if (space == 1)
			x86_out8((uint16_t)address, value);
		else if (space == 2) /* bus 0; device, function, register in words of the address */
			port_pci_write(0, (uint16_t)((address >> 32 & 31) << 3 | (address >> 16 & 7)), address & 0xff,
				       1, value);
		time_delay_us(50000);
	}
	x86_out8(0xcf9, 2);
	x86_out8(0xcf9, 6);
	time_delay_us(50000);
	x86_out8(0x64, 0xfe);
	time_delay_us(50000);
	__asm__ volatile("lidt %0; int3" : : "m"(no_idt));
	for (;;)
		__asm__ volatile("hlt");
}
