/*
 * The 8254 timer, its gate and output in port 0x61. Source: Intel 8254 data sheet.
 *
 * Owns: struct vpit. Locks: none: a domain whose vCPUs program one timer from two CPUs at once gets a mixed
 * value, as on hardware, never more. There are no 8259s and no CMOS clock: their ports read all ones, and
 * kernels see by that that they are not there.
 * Invariants: while a channel's gate is low, start holds the ns already counted instead of the time it
 * began.
 */
#include "hvm/vpit.h"

#include "core/domain.h"
#include "core/policy.h"
#include "hvm/hvm.h"
#include "lib/lib.h"
#include "port/machine.h"

#define PIT_HZ	      1193182ull
#define PIT_MUL	      22010322987356911ull /* PIT_HZ / 1e9 * 2^64, rounded up */
#define PERIOD_MIN_NS 100000u
#define TIMER_GSI     2 /* ISA IRQ 0 as the MADT overrides it */

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

#define PORT_CH0  0x40
#define PORT_CTRL 0x43
#define PORT_GATE 0x61

static uint64_t ns_to_ticks(uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns * PIT_MUL) >> 64);
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
	return ticks * 1000000000ull / PIT_HZ;
}

static uint32_t full(const struct vpit_channel *c)
{
	uint32_t reload = __atomic_load_n(&c->reload, __ATOMIC_RELAXED); /* once: another CPU may load 0 */

	return reload ? reload : 0x10000u;
}

static uint64_t elapsed(const struct vpit_channel *c)
{
	return ns_to_ticks(c->gate ? port_now() - c->start : c->start);
}

static uint16_t count(const struct vpit_channel *c)
{
	uint64_t gone = elapsed(c);
	uint32_t n = full(c);

	switch (c->mode) {
	case 2:
		return (uint16_t)(n - gone % n);
	case 3:
		return (uint16_t)(n - (gone * 2) % n);
	default:
		return (uint16_t)(n - gone);
	}
}

static bool out(const struct vpit_channel *c)
{
	uint64_t gone = elapsed(c);
	uint32_t n = full(c);

	switch (c->mode) {
	case 2:
		return gone % n != n - 1;
	case 3:
		return gone % n < (n + 1) / 2;
	case 4:
	case 5:
		return gone != n;
	default: /* 0, 1 */
		return gone >= n;
	}
}

/* --- channel 0 raises its interrupt --- */

static void arm(struct domain *d)
{
	struct vpit *p = &d->hvm->pit;
	const struct vpit_channel *c = &p->ch[0];
	uint64_t ns = ticks_to_ns(full(c));

	if (!d->vcpu || !d->vcpu[0])
		return;
	p->timer.vcpu = d->vcpu[0];
	if (c->mode == 2 || c->mode == 3)
		ns = MAX(ns, (uint64_t)PERIOD_MIN_NS);
	timer_set(&p->timer, c->start + ns);
}

void vpit_timer(struct vcpu *v)
{
	struct domain *d = v->domain;
	struct vpit *p = &d->hvm->pit;
	const struct vpit_channel *c = &p->ch[0];
	uint64_t now, period;

	vioapic_pulse(d, TIMER_GSI);
	if (c->mode != 2 && c->mode != 3)
		return;
	now = port_now();
	period = MAX(ticks_to_ns(full(c)), (uint64_t)PERIOD_MIN_NS);
	timer_set(&p->timer, now + period - (now - c->start) % period);
}

/* --- programming --- */

static void load(struct domain *d, unsigned i, uint16_t value)
{
	struct vpit_channel *c = &d->hvm->pit.ch[i];

	c->reload = value;
	c->null_count = false;
	c->start = c->gate ? port_now() : 0;
	if (i == 0)
		arm(d);
}

static void latch_count(struct vpit_channel *c)
{
	if (c->latched)
		return;
	c->latch = count(c);
	c->latched = true;
}

static void latch_status(struct vpit_channel *c)
{
	if (c->status_latched)
		return;
	c->status =
		(uint8_t)((out(c) ? 0x80 : 0) | (c->null_count ? 0x40 : 0) | c->access << 4 | c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void read_back(struct vpit *p, uint8_t value)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(value & (2u << i)))
			continue;
		if (!(value & 0x20))
			latch_count(&p->ch[i]);
		if (!(value & 0x10))
			latch_status(&p->ch[i]);
	}
}

static void control(struct domain *d, uint8_t value)
{
	struct vpit *p = &d->hvm->pit;
	unsigned i = value >> 6;
	struct vpit_channel *c;

	if (i == 3) {
		read_back(p, value);
		return;
	}
	c = &p->ch[i];
	if (((value >> 4) & 3) == ACCESS_LATCH) {
		latch_count(c);
		return;
	}
	c->access = (value >> 4) & 3;
	c->mode = (value >> 1) & 7;
	if (c->mode > 5)
		c->mode &= 3; /* 6 and 7 are 2 and 3 */
	c->bcd = value & 1;
	c->read_state = c->write_state = 0;
	c->latched = c->status_latched = false;
	c->null_count = true;
	if (i == 0)
		timer_stop(&p->timer);
}

static uint8_t read_channel(struct vpit_channel *c)
{
	uint16_t value;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	value = c->latched ? c->latch : count(c);
	high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_state);
	if (c->access == ACCESS_BOTH)
		c->read_state ^= 1;
	if (c->access != ACCESS_BOTH || high)
		c->latched = false;
	return (uint8_t)(high ? value >> 8 : value);
}

static void write_channel(struct domain *d, unsigned i, uint8_t value)
{
	struct vpit_channel *c = &d->hvm->pit.ch[i];

	switch (c->access) {
	case ACCESS_LOW:
		load(d, i, value);
		break;
	case ACCESS_HIGH:
		load(d, i, (uint16_t)(value << 8));
		break;
	default:
		if (!c->write_state)
			c->write_latch = value;
		else
			load(d, i, (uint16_t)(c->write_latch | value << 8));
		c->write_state ^= 1;
		break;
	}
}

static void set_gate(struct vpit_channel *c, bool gate)
{
	if (c->gate == gate)
		return;
	if (!gate)
		c->start = port_now() - c->start;
	else if (c->mode == 0 || c->mode == 4)
		c->start = port_now() - c->start; /* goes on where it stopped */
	else
		c->start = port_now(); /* a rising gate starts anew */
	c->gate = gate;
}

uint32_t vpit_read(struct vcpu *v, uint16_t port, unsigned size)
{
	struct vpit *p = &v->domain->hvm->pit;

	if (size != 1 || !p->present)
		return 0xffffffffu;
	if (likely(port >= PORT_CH0 && port < PORT_CTRL))
		return read_channel(&p->ch[port - PORT_CH0]);
	if (port == PORT_GATE) /* bit 4 toggles with the refresh of old memory, about every 15 us */
		return p->speaker | (port_now() >> 14 & 1) << 4 | (out(&p->ch[2]) ? 0x20u : 0);
	return 0xffffffffu;
}

void vpit_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
	struct domain *d = v->domain;
	struct vpit *p = &d->hvm->pit;

	if (size != 1 || !p->present)
		return;
	if (port == PORT_CTRL) {
		control(d, (uint8_t)value);
	} else if (port >= PORT_CH0 && port < PORT_CTRL) {
		write_channel(d, port - PORT_CH0, (uint8_t)value);
	} else if (port == PORT_GATE) {
		p->speaker = value & 3;
		set_gate(&p->ch[2], value & 1);
	}
}

void vpit_init(struct domain *d)
{
	struct vpit *p = &d->hvm->pit;

	memset(p, 0, sizeof(*p));
	timer_init(&p->timer, TIMER_VPIT, NULL); /* vCPU 0 comes with the first use */
	p->present = (d->emulation & XEN_X86_EMU_PIT) || policy_may(d, ACTION_HARDWARE, NULL) == 0;
	for (unsigned i = 0; i < 3; i++) {
		p->ch[i].access = ACCESS_BOTH;
		p->ch[i].mode = i == 2 ? 0 : 3;
		p->ch[i].gate = i != 2;
		p->ch[i].null_count = true;
	}
}
