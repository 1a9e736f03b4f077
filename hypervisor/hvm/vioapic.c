/*
 * The virtual I/O APIC. Source: Intel 82093AA data sheet (version 0x11: no EOI register).
 *
 * Owns: struct vioapic. Locks: vioapic.lock; held while physical lines are updated (irq.c's lock is inside
 * it), not while messages go to vlapics (they wake vCPUs, and the scheduler's lock is outside).
 * Invariants: a level pin with remote IRR set has been sent and not finished. The physical line behind a
 * level pin is masked from the moment it fires until the EOI of an unmasked pin, or until the guest unmasks
 * the pin.
 */
#include "hvm/vioapic.h"

#include "core/domain.h"
#include "hvm/hvm.h"
#include "hvm/irq.h"
#include "lib/lib.h"

#define REDIR_MASKED	  BIT(16)
#define REDIR_LEVEL	  BIT(15)
#define REDIR_REMOTE_IRR  BIT(14)
#define REDIR_ACTIVE_LOW  BIT(13)
#define REDIR_LOGICAL	  BIT(11)
#define REDIR_WRITABLE_LO 0x1afffu /* all but delivery status and remote IRR */
#define VERSION		  0x11u

#define REG_SELECT 0x00
#define REG_WINDOW 0x10

#define INDEX_ID      0
#define INDEX_VERSION 1
#define INDEX_ARB     2
#define INDEX_REDIR   0x10

void vioapic_init(struct domain *d, uint32_t nr_pins)
{
	struct vioapic *io = &d->hvm->ioapic;

	spin_lock_init(&io->lock, LOCK_VIOAPIC);
	io->nr_pins = MIN(nr_pins, (uint32_t)VIOAPIC_PINS);
	io->base = VIOAPIC_BASE;
	io->select = 0;
	io->id = 0;
	for (unsigned i = 0; i < VIOAPIC_PINS; i++)
		io->redir[i] = REDIR_MASKED;
}

static void send(struct domain *d, uint64_t redir)
{
	vlapic_deliver(d, (uint32_t)(redir >> 56), redir & REDIR_LOGICAL, (redir >> 8) & 7, (uint8_t)redir,
		       redir & REDIR_LEVEL);
}

static uint32_t read_window(const struct vioapic *io)
{
	uint32_t i;

	switch (io->select) {
	case INDEX_ID:
	case INDEX_ARB:
		return io->id;
	case INDEX_VERSION:
		return VERSION | (io->nr_pins - 1) << 16;
	default:
		i = io->select - INDEX_REDIR;
		if (io->select < INDEX_REDIR || i / 2 >= io->nr_pins)
			return 0xffffffffu;
		return (uint32_t)(i & 1 ? io->redir[i / 2] >> 32 : io->redir[i / 2]);
	}
}

static void write_redir(struct domain *d, struct vioapic *io, uint32_t pin, bool high, uint32_t value)
	REQUIRES(io->lock)
{
	uint64_t redir = io->redir[pin];

	if (high) {
		io->redir[pin] = (uint32_t)redir | (uint64_t)(value & 0xff000000u) << 32;
		return;
	}
	redir = (redir & ~(uint64_t)REDIR_WRITABLE_LO) | (value & REDIR_WRITABLE_LO);
	if (!(redir & REDIR_LEVEL))
		redir &= ~REDIR_REMOTE_IRR; /* how kernels finish a level interrupt without an EOI register */
	io->redir[pin] = redir;
	if (redir & REDIR_REMOTE_IRR && !(redir & REDIR_MASKED))
		return; /* still in service: the EOI unmasks the line */
	irq_gsi_update(d, pin, redir & REDIR_MASKED, redir & REDIR_LEVEL, redir & REDIR_ACTIVE_LOW);
}

uint32_t vioapic_mmio_read(struct domain *d, uint32_t offset)
{
	struct vioapic *io = &d->hvm->ioapic;
	uint32_t value = 0xffffffffu;

	spin_lock(&io->lock);
	if (offset == REG_SELECT)
		value = io->select;
	else if (offset == REG_WINDOW)
		value = read_window(io);
	spin_unlock(&io->lock);
	return value;
}

void vioapic_mmio_write(struct domain *d, uint32_t offset, uint32_t value)
{
	struct vioapic *io = &d->hvm->ioapic;
	uint32_t i;

	spin_lock(&io->lock);
	if (offset == REG_SELECT) {
		io->select = value & 0xff;
	} else if (offset == REG_WINDOW && io->select == INDEX_ID) {
		io->id = value & 0x0f000000u;
	} else if (offset == REG_WINDOW && io->select >= INDEX_REDIR) {
		i = io->select - INDEX_REDIR;
		if (i / 2 < io->nr_pins)
			write_redir(d, io, i / 2, i & 1, value);
	}
	spin_unlock(&io->lock);
}

void vioapic_pulse(struct domain *d, uint32_t pin)
{
	struct vioapic *io = &d->hvm->ioapic;
	uint64_t redir;
	bool sent;

	if (pin >= io->nr_pins)
		return;
	spin_lock(&io->lock);
	redir = io->redir[pin];
	sent = !(redir & REDIR_MASKED);
	if (redir & REDIR_LEVEL) {
		sent = sent && !(redir & REDIR_REMOTE_IRR);
		if (sent)
			io->redir[pin] |= REDIR_REMOTE_IRR;
	}
	spin_unlock(&io->lock);
	if (sent)
		send(d, redir);
}

void vioapic_eoi(struct domain *d, uint8_t vector)
{
	struct vioapic *io = &d->hvm->ioapic;

	spin_lock(&io->lock);
	for (uint32_t pin = 0; pin < io->nr_pins; pin++) {
		uint64_t redir = io->redir[pin];

		if (!(redir & REDIR_REMOTE_IRR) || (uint8_t)redir != vector)
			continue;
		io->redir[pin] &= ~REDIR_REMOTE_IRR;
		if (!(redir & REDIR_MASKED))
			irq_gsi_eoi(d, pin);
	}
	spin_unlock(&io->lock);
}
