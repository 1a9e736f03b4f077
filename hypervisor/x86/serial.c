/*
 * The serial line (16550): output by polling, input by interrupt. Locks: none; core/console.c serialises writers, input
 * is read on CPU 0 only.
 */
#include "lib/lib.h"
#include "port/boot.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define UART_DATA 0
#define UART_IER  1
#define UART_FCR  2
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5
#define UART_SCR  7

#define LSR_DATA  0x01
#define LSR_EMPTY 0x20
#define FIFO_SIZE 16

static uint16_t uart; /* 0: there is none */
static unsigned vector;

void port_boot_serial(uint16_t port, uint32_t baud)
{
	uart = 0;
	if (!port)
		return;
	x86_out8(port + UART_SCR, 0x5a);
	if (x86_in8(port + UART_SCR) != 0x5a)
		return;
	x86_out8(port + UART_IER, 0);
	if (baud) {
		uint16_t divisor = (uint16_t)MAX(115200 / baud, 1u);

		x86_out8(port + UART_LCR, 0x83);
		x86_out8(port + UART_DATA, (uint8_t)divisor);
		x86_out8(port + UART_IER, (uint8_t)(divisor >> 8));
	}
	x86_out8(port + UART_LCR, 3); /* 8n1 */
	x86_out8(port + UART_FCR, 7);
	x86_out8(port + UART_MCR, 0xb); /* DTR, RTS, interrupt output */
	uart = port;
}

void port_console_write(const char *s, size_t n)
{
	while (uart && n) {
		size_t burst = MIN(n, (size_t)FIFO_SIZE);
		unsigned wait = 0;

		while (!(x86_in8(uart + UART_LSR) & LSR_EMPTY) && ++wait < 1000000)
			x86_pause();
		n -= burst;
		while (burst--)
			x86_out8(uart + UART_DATA, (uint8_t)*s++);
	}
}

bool port_console_ports(uint16_t *first, uint16_t *last)
{
	*first = uart;
	*last = uart + UART_SCR;
	return uart;
}

void serial_rx_init(void)
{
	int v;

	if (!uart)
		return;
	v = ioapic_own_irq(uart == 0x2f8 || uart == 0x2e8 ? 3 : 4);
	if (v < 0) {
		x86_log("serial line: no interrupt, input is off");
		return;
	}
	vector = (unsigned)v;
	x86_out8(uart + UART_IER, 1);
}

unsigned serial_vector(void)
{
	return vector;
}

void serial_interrupt(unsigned v)
{
	for (unsigned i = 0; i < 256 && x86_in8(uart + UART_LSR) & LSR_DATA; i++)
		upcall_console_rx((char)x86_in8(uart + UART_DATA));
}
