/*
 * The timer of the virtual local APIC: one-shot, periodic, TSC deadline. Source: Intel SDM vol. 3, 11.5.4.
 *
 * Owns: the timer_*, tsc_deadline and timer fields of struct vlapic. Locks: none; touched by the CPU that runs the vCPU, by
 * the CPU whose queue the due timer was in, or while the vCPU does not run.
 * Invariants: the timer is queued exactly while it counts.
 */
#include "core/domain.h"
#include "hvm/hvm.h"
#include "hvm/tsc.h"
#include "hvm/vlapic_private.h"
#include "lib/lib.h"
#include "port/machine.h"

#define LVT_MODE	0x60000u /* bits 17, 18 */
#define LVT_PERIODIC	0x20000u
#define LVT_TSCDEADLINE 0x40000u

#define PERIOD_MIN_NS 100000u /* a faster periodic timer would only starve its owner */

static inline uint64_t tick_ns(const struct vlapic *a)
{
	unsigned code = (a->timer_divide & 3) | ((a->timer_divide >> 1) & 4);

	return (uint64_t)VLAPIC_BUS_NS << ((code + 1) & 7);
}

static inline uint32_t mode_of(const struct vlapic *a)
{
	return REG(a, R_LVT_TIMER) & LVT_MODE;
}

static void fire(struct vcpu *v)
{
	uint32_t lvt = REG(apic_of(v), R_LVT_TIMER);

	if (!(lvt & LVT_MASKED))
		vlapic_set_irq(v, (uint8_t)lvt, false);
}

/* Loads the count: the initial count, with already elapsed ns gone. */
static void load(struct vcpu *v, uint64_t elapsed)
{
	struct vlapic *a = apic_of(v);
	uint64_t length = a->timer_initial * tick_ns(a);

	a->timer_start = port_now() - elapsed;
	a->timer_period = 0;
	if (!length || mode_of(a) == LVT_TSCDEADLINE) {
		timer_stop(&a->timer);
		return;
	}
	if (mode_of(a) == LVT_PERIODIC)
		a->timer_period = MAX(length, PERIOD_MIN_NS);
	timer_set(&a->timer, a->timer_start + (a->timer_period ? a->timer_period : length));
}

uint32_t vlapic_timer_current(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	uint64_t tick = tick_ns(a), length = a->timer_initial * tick, gone;

	if (!length || mode_of(a) == LVT_TSCDEADLINE)
		return 0;
	gone = port_now() - a->timer_start;
	if (a->timer_period)
		gone %= a->timer_period;
	return gone >= length ? 0 : (uint32_t)((length - gone) / tick);
}

void vlapic_timer_set_deadline(struct vcpu *v, uint64_t guest_tsc)
{
	struct vlapic *a = apic_of(v);
	uint64_t host = tsc_host(v, guest_tsc);

	if (mode_of(a) != LVT_TSCDEADLINE)
		return;
	a->tsc_deadline = guest_tsc;
	if (!guest_tsc) {
		timer_stop(&a->timer);
	} else if ((int64_t)(host - port_tsc()) <= 0) {
		timer_stop(&a->timer);
		a->tsc_deadline = 0;
		fire(v);
	} else {
		timer_set(&a->timer, port_tsc_to_ns(host));
	}
}

void vlapic_timer(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	uint64_t period =
		__atomic_load_n(&a->timer_period, __ATOMIC_RELAXED); /* once: v may run elsewhere and clear it */
	uint64_t now, start;

	a->tsc_deadline = 0;
	if (period) {
		now = port_now();
		start = a->timer_start + period;
		if (start + period <= now) /* late by whole periods: they are lost */
			start = now - (now - start) % period;
		a->timer_start = start;
		timer_set(&a->timer, start + period);
	}
	fire(v);
}

void vlapic_timer_set_lvt(struct vcpu *v, uint32_t value)
{
	struct vlapic *a = apic_of(v);
	uint32_t old = mode_of(a), mode = value & LVT_MODE;
	bool counting = timer_active(&a->timer);

	REG(a, R_LVT_TIMER) = value;
	if (old == mode)
		return;
	if (old == LVT_TSCDEADLINE || mode == LVT_TSCDEADLINE) {
		timer_stop(&a->timer);
		a->timer_initial = 0;
		a->timer_period = 0;
		a->tsc_deadline = 0;
	} else if (counting) {
		load(v, port_now() - a->timer_start);
	}
}

void vlapic_timer_set_divide(struct vcpu *v, uint32_t value)
{
	struct vlapic *a = apic_of(v);
	uint32_t current = vlapic_timer_current(v);
	bool counting = timer_active(&a->timer);

	a->timer_divide = value & DIVIDE_BITS;
	if (counting && mode_of(a) != LVT_TSCDEADLINE)
		load(v, (uint64_t)(a->timer_initial - current) * tick_ns(a));
}

void vlapic_timer_set_initial(struct vcpu *v, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	if (mode_of(a) == LVT_TSCDEADLINE)
		return;
	a->timer_initial = value;
	load(v, 0);
}

uint32_t vlapic_timer_initial(struct vcpu *v)
{
	const struct vlapic *a = apic_of(v);

	return mode_of(a) == LVT_TSCDEADLINE ? 0 : a->timer_initial;
}

uint64_t vlapic_timer_deadline(struct vcpu *v)
{
	const struct vlapic *a = apic_of(v);

	return mode_of(a) == LVT_TSCDEADLINE ? a->tsc_deadline : 0;
}

void vlapic_timer_reset(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	timer_stop(&a->timer);
	a->timer_initial = a->timer_divide = 0;
	a->timer_start = a->timer_period = a->tsc_deadline = 0;
}

void vlapic_timer_import(struct vcpu *v, uint32_t divide, uint32_t initial, uint32_t current)
{
	struct vlapic *a = apic_of(v);

	a->timer_divide = divide & DIVIDE_BITS;
	a->timer_initial = initial;
	if (a->tsc_deadline)
		vlapic_timer_set_deadline(v, a->tsc_deadline);
	else if (current && current <= initial)
		load(v, (uint64_t)(initial - current) * tick_ns(a));
	else if (mode_of(a) == LVT_PERIODIC)
		load(v, 0);
}
