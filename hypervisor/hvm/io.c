/*
 * Who answers a port or a device address of a virtual machine, and the IN, OUT, INS, OUTS instructions.
 *
 * Owns: I/O permission bitmaps, the debug port's text, the trapped PM1a control port. Locks: none; the
 * per-domain text and power-management registers are only ever torn, never out of bounds, when two vCPUs
 * write them at once.
 * Invariants: an access that nobody answers reads all ones and writes nothing. The bitmap (APM vol. 2,
 * 15.10.1) is 12 KiB, one bit a port, 1 = exit; domains without the hardware right share one that is all
 * ones.
 */
#include "hvm/io.h"

#include "core/guestmem.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "hvm/hvm.h"
#include "hvm/insn.h"
#include "hvm/vpci.h"
#include "lib/lib.h"
#include "port/machine.h"

#define BITMAP_BYTES (3 * PAGE_SIZE)
#define BITMAP_ORDER 2
#define STRING_PIECE 128u /* elements per exit */

#define PORT_DEBUG   0xe9
#define PORT_PM_BASE 0xb000 /* PM1 status, enable, control, timer of guests; xen/hvm/params.h ACPI_IOPORTS version 1 */
#define PM_TIMER_HZ  3579545ull
#define PM1_SLP_EN   0x2000u
#define PM1_SCI_EN   0x0001u

static uint8_t trap_all[BITMAP_BYTES] __attribute__((aligned(4096)));

/* --- the bitmap --- */

int io_domain_init(struct domain *d)
{
	struct hvm_domain *h = d->hvm;
	uint16_t first, last;

	if (!trap_all[0])
		memset(trap_all, 0xff, sizeof(trap_all));
	h->io_bitmap = trap_all;
	if (policy_may(d, ACTION_HARDWARE, NULL))
		return 0;
	h->io_bitmap = heap_alloc_pages(BITMAP_ORDER);
	if (!h->io_bitmap)
		return -ENOMEM;
	memset(h->io_bitmap + 2 * PAGE_SIZE, 0xff, PAGE_SIZE); /* past port 0xffff: accesses that wrap */
	io_trap_port_range(d, 0x20, 0x21);
	io_trap_port_range(d, 0xa0, 0xa1);
	io_trap_port_range(d, 0x40, 0x43);
	io_trap_port_range(d, 0x61, 0x61);
	io_trap_port_range(d, 0xcf8, 0xcff);
	if (port_console_ports(&first, &last))
		io_trap_port_range(d, first, last);
	return 0;
}

void io_domain_destroy(struct domain *d)
{
	if (d->hvm->io_bitmap && d->hvm->io_bitmap != trap_all)
		heap_free_pages(d->hvm->io_bitmap, BITMAP_ORDER);
	d->hvm->io_bitmap = NULL;
}

void io_trap_port_range(struct domain *d, uint16_t first, uint16_t last)
{
	uint8_t *map = d->hvm->io_bitmap;

	ASSERT(map && map != trap_all);
	for (uint32_t port = first; port <= last; port++)
		map[port / 8] |= (uint8_t)(1u << (port & 7));
}

/* --- small models --- */

static void debug_write(struct domain *d, char c)
{
	struct hvm_domain *h = d->hvm;

	if (c != '\n' && c != '\t' && (c < 0x20 || c > 0x7e))
		return;
	spin_lock(&d->lock);
	if (c != '\n')
		h->debug_line[h->debug_len++] = c;
	if (c == '\n' || h->debug_len == sizeof(h->debug_line) - 1) {
		h->debug_line[h->debug_len] = 0;
		log_guest(LOG_DEBUG, d->id, "%s", h->debug_line);
		h->debug_len = 0;
	}
	spin_unlock(&d->lock);
}

/* PM1a_CNT of the machine (ACPI 4.8.3.2.1): the hardware domain powers the machine off with it. */
static void pm1_write(struct domain *d, unsigned size, uint32_t value)
{
	struct hvm_domain *h = d->hvm;
	unsigned type = (value >> 10) & 7;

	if (size == 1) { /* the low byte holds no sleep bits; the high one is refused by the caller */
		port_io_write(h->pm1_port, 1, value);
		return;
	}
	if (!(value & PM1_SLP_EN)) {
		port_io_write(h->pm1_port, size, value);
		return;
	}
	if (h->pm1_s5 && type != h->pm1_s5 - 1u) {
		log_warn("d%u: sleep type %u refused, only power-off is done", d->id, type);
		return;
	}
	log_info("d%u switches the machine off", d->id);
	port_io_write(h->pm1_port, size, value);
}

static bool is_pm1(const struct hvm_domain *h, uint16_t port, unsigned size)
{
	return h->pm1_port && port < h->pm1_port + 2 && port + size > h->pm1_port;
}

static uint32_t guest_pm_read(struct domain *d, uint16_t port)
{
	uint64_t ns = port_now();

	switch (port - PORT_PM_BASE) {
	case 0:
		return d->hvm->pm_status;
	case 2:
		return d->hvm->pm_enable;
	case 4:
		return d->hvm->pm_control | PM1_SCI_EN;
	case 8:
		return (uint32_t)(ns / 1000000000u * PM_TIMER_HZ + ns % 1000000000u * PM_TIMER_HZ / 1000000000u);
	default:
		return 0xffffffffu;
	}
}

static void guest_pm_write(struct domain *d, uint16_t port, uint32_t value)
{
	switch (port - PORT_PM_BASE) {
	case 0:
		d->hvm->pm_status &= (uint16_t)~value; /* write one to clear */
		break;
	case 2:
		d->hvm->pm_enable = (uint16_t)value;
		break;
	case 4:
		d->hvm->pm_control = (uint16_t)value & 0x1c07;
		break;
	default:
		break;
	}
}

/* --- ports --- */

uint32_t io_port_read(struct vcpu *v, uint16_t port, unsigned size)
{
	struct domain *d = v->domain;

	if (port >= 0x40 && port <= 0x61)
		return port <= 0x43 || port == 0x61 ? vpit_read(v, port, size) : 0xffffffffu;
	if (unlikely(d->hvm->vpci)) {
		if (port >= 0xcf8 && port <= 0xcff)
			return vpci_port_read(v, port, size);
		if (is_pm1(d->hvm, port, size))
			return port_io_read(port, size);
	}
	if (unlikely(d->emulation & XEN_X86_EMU_PM) && (port & ~0xfu) == PORT_PM_BASE)
		return guest_pm_read(d, port);
	return 0xffffffffu;
}

void io_port_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
	struct domain *d = v->domain;

	if (port >= 0x40 && port <= 0x61) {
		if (port <= 0x43 || port == 0x61)
			vpit_write(v, port, size, value);
	} else if (port == PORT_DEBUG) {
		if (size == 1)
			debug_write(d, (char)value);
	} else if (unlikely(d->hvm->vpci)) {
		if (port >= 0xcf8 && port <= 0xcff)
			vpci_port_write(v, port, size, value);
		else if (is_pm1(d->hvm, port, size) && port == d->hvm->pm1_port)
			pm1_write(d, size, value);
	} else if (unlikely(d->emulation & XEN_X86_EMU_PM) && (port & ~0xfu) == PORT_PM_BASE) {
		guest_pm_write(d, port, value);
	}
}

/* --- INS, OUTS --- */

static uint64_t size_mask(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static void add_index(uint64_t *reg, int64_t by, unsigned addr_size)
{
	uint64_t mask = size_mask(addr_size), sum = *reg + (uint64_t)by;

	*reg = addr_size == 4 ? (uint32_t)sum : (*reg & ~mask) | (sum & mask);
}

/* One element. False: a fault was injected and nothing happened. */
static bool string_element(struct vcpu *v, const struct exit *e, gva_t va)
{
	unsigned user = hvm_cpl(v) == 3 ? GUESTMEM_USER : 0;
	struct guestmem_fault f = { 0 };
	uint32_t value = 0;
	int rc;

	if (e->in) {
		rc = guestmem_translate(v, va, GUESTMEM_WRITE | user, &f.gpa, &f);
		if (rc == 0) {
			value = io_port_read(v, e->port, e->size);
			rc = guestmem_access_write(v, va, &value, e->size, GUESTMEM_WRITE | user, &f);
		}
	} else {
		rc = guestmem_access_read(v, &value, va, e->size, user, &f);
		if (rc == 0)
			io_port_write(v, e->port, e->size, value);
	}
	if (rc && f.not_ram)
		hvm_inject_gp(v); /* from device to device: nobody does it */
	else if (rc)
		hvm_inject_pf(v, f.addr, f.code);
	return rc == 0;
}

static void string_io(struct vcpu *v, const struct exit *e)
{
	int64_t step = v->regs.rflags & 0x400 ? -(int64_t)e->size : (int64_t)e->size;
	uint64_t *index = e->in ? &v->regs.rdi : &v->regs.rsi, mask;
	struct segment s = { 0 };
	struct insn in;
	bool injected;
	enum seg seg;

	if (!insn_get(v, &in, &injected)) {
		if (!injected)
			hvm_inject_ud(v);
		return;
	}
	seg = e->in ? SEG_ES : in.seg == SEG_NO_PREFIX ? SEG_DS : (enum seg)in.seg;
	mask = size_mask(in.addr_size);
	if (hvm_mode(v) != MODE_64 || seg == SEG_FS || seg == SEG_GS)
		hvm_get_segment(v, seg, &s);
	for (unsigned n = 0; n < STRING_PIECE; n++) {
		if (e->rep && !(v->regs.rcx & mask))
			break;
		if (!string_element(v, e, s.base + (*index & mask)))
			return;
		add_index(index, step, in.addr_size);
		if (!e->rep)
			break;
		add_index(&v->regs.rcx, -1, in.addr_size);
	}
	if (!e->rep || !(v->regs.rcx & mask))
		hvm_advance(v, in.length);
}

void io_exit(struct vcpu *v, const struct exit *e)
{
	unsigned length;
	uint64_t value;

	if (unlikely(e->string)) {
		string_io(v, e);
		return;
	}
	if (likely(e->next_rip))
		length = (unsigned)(e->next_rip - v->regs.rip);
	else if (e->length)
		length = e->length;
	else if ((length = insn_length(v, INSN_ANY)) == 0)
		return;
	if (e->in) {
		value = io_port_read(v, e->port, e->size);
		if (e->size == 4)
			v->regs.rax = (uint32_t)value;
		else
			v->regs.rax = (v->regs.rax & ~size_mask(e->size)) | (value & size_mask(e->size));
	} else {
		io_port_write(v, e->port, e->size, (uint32_t)(v->regs.rax & size_mask(e->size)));
	}
	hvm_advance(v, length);
}

/* --- device addresses --- */

static inline bool is_lapic(gpa_t gpa)
{
	return gpa >> PAGE_SHIFT == APIC_DEFAULT_BASE >> PAGE_SHIFT;
}

static inline bool is_vioapic(const struct domain *d, gpa_t gpa)
{
	return d->hvm->ioapic.nr_pins && (gpa & PAGE_MASK) == d->hvm->ioapic.base;
}

bool io_mmio_owns(struct domain *d, gpa_t gpa)
{
	if (is_lapic(gpa) || is_vioapic(d, gpa))
		return true;
	return d->hvm->vpci && vpci_mmio_owns(d, gpa);
}

/* Any access inside one 32-bit register, which stands every 16 bytes, is allowed; nothing else is answered. */
static bool lapic_access(struct vcpu *v, gpa_t gpa, unsigned size)
{
	const uint64_t mode = v->hvm->lapic.base_msr;

	return (gpa & 15) + size <= 4 && (mode & BIT(11)) && !(mode & BIT(10));
}

uint64_t io_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size)
{
	struct domain *d = v->domain;

	if (likely(is_lapic(gpa))) {
		if (!lapic_access(v, gpa, size))
			return ~0ull;
		return vlapic_mmio_read(v, gpa & 0xff0) >> ((gpa & 3) * 8);
	}
	if (is_vioapic(d, gpa))
		return vioapic_mmio_read(d, gpa & 0xff);
	if (d->hvm->vpci && vpci_mmio_owns(d, gpa))
		return vpci_mmio_read(v, gpa, size);
	return ~0ull;
}

void io_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value)
{
	struct domain *d = v->domain;
	uint32_t shift = (gpa & 3) * 8, mask;

	if (likely(is_lapic(gpa))) {
		if (!lapic_access(v, gpa, size))
			return;
		if (unlikely(size != 4)) {
			mask = (uint32_t)size_mask(size) << shift;
			value = (vlapic_mmio_read(v, gpa & 0xff0) & ~mask) | ((uint32_t)(value << shift) & mask);
		}
		vlapic_mmio_write(v, gpa & 0xff0, (uint32_t)value);
	} else if (is_vioapic(d, gpa)) {
		vioapic_mmio_write(d, gpa & 0xff, (uint32_t)value);
	} else if (d->hvm->vpci && vpci_mmio_owns(d, gpa)) {
		vpci_mmio_write(v, gpa, size, value);
	}
}
