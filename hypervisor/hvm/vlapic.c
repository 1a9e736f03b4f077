/*
 * The virtual local APIC of each vCPU; its timer is hvm/vlapic_timer.c. Source: Intel SDM vol. 3 chapter 11, AMD APM
 * vol. 2 chapter 16.
 *
 * Owns: struct vlapic in struct hvm_vcpu, init_pending and sipi there. Locks: none for the registers: IRR, TMR, irr_sum
 * and esr_latched are changed atomically by any CPU; the rest only by the CPU that runs the vCPU, or for a vCPU that does
 * not run. domain.lock for the start state: INIT, SIPI, VCPUOP_initialise.
 * Invariants: a bit in irr[i] is never set while bit i of irr_sum stays clear (set after it, rechecked when
 * cleared); isr_sum is exact. In x2APIC mode LDR follows from the ID.
 */
#include "hvm/vlapic.h"

#include "core/domain.h"
#include "core/sched.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/vlapic_private.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define BASE_BSP    BIT(8)
#define BASE_X2	    BIT(10)
#define BASE_ENABLE BIT(11)
#define BASE_ADDR   0xfffffff000ull

#define MSR_APIC_BASE	 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u

/* Register numbers: offset in the page / 16, x2APIC MSR - 0x800. */
enum {
	R_ID = 0x02,
	R_VERSION = 0x03,
	R_TPR = 0x08,
	R_APR = 0x09,
	R_PPR = 0x0a,
	R_EOI = 0x0b,
	R_LDR = 0x0d,
	R_DFR = 0x0e,
	R_SVR = 0x0f,
	R_ISR = 0x10,
	R_TMR = 0x18,
	R_IRR = 0x20,
	R_ESR = 0x28,
	R_CMCI = 0x2f,
	R_ICR = 0x30,
	R_ICR2 = 0x31,
	R_LVT_TIMER = 0x32,
	R_LVT_ERROR = 0x37,
	R_INITIAL = 0x38,
	R_CURRENT = 0x39,
	R_DIVIDE = 0x3e,
	R_SELF_IPI = 0x3f,
};

#define VERSION	     0x50014u /* six LVT entries, no directed EOI: what Xen shows */
#define SVR_ENABLE   0x100u
#define SVR_WRITABLE 0x3ffu
#define ICR_BUSY     0x1000u
#define ICR_WRITABLE 0xcdfffu /* of the low half: vector, mode, destination mode, busy, assert, level, shorthand */
#define ESR_SEND_VEC 0x20u
#define ESR_RECV_VEC 0x40u
#define ESR_REGISTER 0x80u

enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_RESERVED, MODE_NMI, MODE_INIT, MODE_STARTUP, MODE_EXTINT };

static const uint32_t lvt_writable[LVT_COUNT] = {
	[LVT_CMCI] = 0x117ff,  [LVT_TIMER] = 0x710ff, [LVT_THERMAL] = 0x117ff, [LVT_PERF] = 0x117ff,
	[LVT_LINT0] = 0x1f7ff, [LVT_LINT1] = 0x1f7ff, [LVT_ERROR] = 0x110ff,
};

static inline bool is_x2(const struct vlapic *a)
{
	return a->base_msr & BASE_X2;
}

bool vlapic_x2apic(struct vcpu *v)
{
	return is_x2(apic_of(v));
}

bool vlapic_enabled(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	return (a->base_msr & BASE_ENABLE) && (a->svr & SVR_ENABLE);
}

uint32_t vlapic_id(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	return is_x2(a) ? v->id * 2 : a->id;
}

static uint32_t x2_ldr(const struct vcpu *v)
{
	uint32_t id = v->id * 2;

	return ((id >> 4) << 16) | (1u << (id & 15));
}

/* --- IRR, ISR and priority --- */

static inline int highest_irr(struct vlapic *a)
{
	uint32_t sum;

	while ((sum = __atomic_load_n(&a->irr_sum, __ATOMIC_ACQUIRE)) != 0) {
		unsigned i = 31u - (unsigned)__builtin_clz(sum);
		uint32_t word = __atomic_load_n(&a->irr[i], __ATOMIC_ACQUIRE);

		if (likely(word))
			return (int)(i * 32 + 31u - (unsigned)__builtin_clz(word));
		__atomic_and_fetch(&a->irr_sum, ~(1u << i), __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&a->irr[i], __ATOMIC_SEQ_CST))
			__atomic_or_fetch(&a->irr_sum, 1u << i, __ATOMIC_SEQ_CST);
	}
	return -1;
}

static inline int highest_isr(const struct vlapic *a)
{
	unsigned i;

	if (!a->isr_sum)
		return -1;
	i = 31u - (unsigned)__builtin_clz(a->isr_sum);
	return (int)(i * 32 + 31u - (unsigned)__builtin_clz(a->isr[i]));
}

static inline uint8_t ppr(const struct vlapic *a)
{
	int isr = highest_isr(a);

	if (isr < 0 || (a->tpr & 0xf0) >= (uint32_t)(isr & 0xf0))
		return (uint8_t)a->tpr;
	return (uint8_t)(isr & 0xf0);
}

static inline void irr_or(struct vlapic *a, unsigned i, uint32_t bit)
{
	__atomic_or_fetch(&a->irr[i], bit, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&a->irr_sum, __ATOMIC_SEQ_CST) & (1u << i)))
		__atomic_or_fetch(&a->irr_sum, 1u << i, __ATOMIC_SEQ_CST);
}

static inline void set_irr(struct vlapic *a, uint8_t vector, bool level)
{
	unsigned i = vector / 32;
	uint32_t bit = 1u << (vector & 31);

	if (unlikely(level))
		__atomic_or_fetch(&a->tmr[i], bit, __ATOMIC_RELAXED);
	else if (unlikely(a->tmr[i] & bit))
		__atomic_and_fetch(&a->tmr[i], ~bit, __ATOMIC_RELAXED);
	irr_or(a, i, bit);
}

int vlapic_pending(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	int irr = highest_irr(a);

	if (irr < 0)
		return -1;
	return (irr & 0xf0) > (ppr(a) & 0xf0) ? irr : -1;
}

/*
 * Out of IRR before the guest runs: one that comes while the guest handles this one is then one more, not the same.
 * highest_irr() clears the summary when it looks next.
 */
void vlapic_offer(struct vcpu *v, uint8_t vector)
{
	__atomic_and_fetch(&apic_of(v)->irr[vector / 32], ~(1u << (vector & 31)), __ATOMIC_SEQ_CST);
}

void vlapic_retract(struct vcpu *v, uint8_t vector)
{
	irr_or(apic_of(v), vector / 32, 1u << (vector & 31));
}

void vlapic_ack(struct vcpu *v, uint8_t vector)
{
	struct vlapic *a = apic_of(v);

	a->isr[vector / 32] |= 1u << (vector & 31);
	a->isr_sum |= 1u << vector / 32;
}

void vlapic_eoi(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	int vector = highest_isr(a);
	unsigned i;
	uint32_t bit;

	if (vector < 0)
		return;
	i = (unsigned)vector / 32;
	bit = 1u << (vector & 31);
	a->isr[i] &= ~bit;
	if (!a->isr[i])
		a->isr_sum &= ~(1u << i);
	if (unlikely(a->tmr[i] & bit))
		vioapic_eoi(v->domain, (uint8_t)vector);
}

static void raise_error(struct vcpu *v, uint32_t bit)
{
	struct vlapic *a = apic_of(v);
	uint32_t lvt = a->lvt[LVT_ERROR];

	__atomic_or_fetch(&a->esr_latched, bit, __ATOMIC_RELAXED);
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		set_irr(a, (uint8_t)lvt, false);
}

void vlapic_set_irq(struct vcpu *v, uint8_t vector, bool level)
{
	if (unlikely(vector < 16)) {
		__atomic_or_fetch(&apic_of(v)->esr_latched, ESR_RECV_VEC, __ATOMIC_RELAXED);
		return;
	}
	set_irr(apic_of(v), vector, level);
	sched_wake(v); /* or it leaves the guest on the CPU where it runs */
}

uint8_t vlapic_get_tpr(struct vcpu *v)
{
	return (uint8_t)apic_of(v)->tpr;
}

void vlapic_set_tpr(struct vcpu *v, uint8_t tpr)
{
	apic_of(v)->tpr = tpr;
}

/* --- messages --- */

static bool matches(struct vcpu *t, uint32_t dest, bool logical)
{
	struct vlapic *a = apic_of(t);
	uint32_t mine;

	if (dest == 0xffffffffu || dest == 0xff)
		return true; /* no vCPU has 255 as its ID */
	if (!logical)
		return dest == vlapic_id(t);
	if (is_x2(a)) {
		mine = x2_ldr(t);
		return dest >> 16 == mine >> 16 && (dest & mine & 0xffff);
	}
	mine = a->ldr >> 24;
	if (a->dfr >> 28 == 0xf)
		return dest & mine;
	return dest >> 4 == mine >> 4 && (dest & mine & 0xf);
}

/*
 * INIT and SIPI. A vCPU that gets INIT goes down and has no start state any more; the SIPI gives it one when no CPU runs it
 * any longer. Who finds that: the sender, or the CPU that leaves it (vlapic_left()). Each looks after it said its part,
 * and one of the two takes the word of the SIPI.
 */
#define SIPI_CAME 0x100u

static struct vcpu *left[NR_CPUS]; /* a vCPU with INIT pending that this CPU left, with a reference to its domain */

static bool on_a_cpu(const struct vcpu *t)
{
	return __atomic_load_n(&t->sched.on_cpu, __ATOMIC_SEQ_CST);
}

static void start_up(struct vcpu *t)
{
	struct hvm_vcpu *h = t->hvm;
	bool start = false;
	uint32_t sipi;

	spin_lock(&t->domain->lock);
	if (!on_a_cpu(t)) {
		sipi = __atomic_exchange_n(&h->sipi, 0, __ATOMIC_SEQ_CST);
		start = sipi && h->init_pending && !t->sched.up;
		if (start) {
			vlapic_reset(t);
			hvm_sipi(t, (uint8_t)sipi);
		}
	}
	spin_unlock(&t->domain->lock);
	if (!start)
		return;
	sched_up(t);
	/* The reset took back an upcall that was asked for before the vCPU ever ran; without it no later one would come. */
	if (t->info->evtchn_upcall_pending)
		guest_event_pending(t);
}

void vlapic_leave(struct vcpu *v)
{
	if (likely(!__atomic_load_n(&v->hvm->init_pending, __ATOMIC_RELAXED)) || left[port_cpu()])
		return;
	domain_hold(v->domain);
	left[port_cpu()] = v;
}

void vlapic_left(void)
{
	struct vcpu *v = left[port_cpu()];

	if (likely(!v))
		return;
	left[port_cpu()] = NULL;
	start_up(v);
	domain_put(v->domain);
}

/* After sched_down() either no CPU runs t, or the one that does calls vlapic_leave() and sees init_pending. */
static void init(struct vcpu *t)
{
	struct hvm_vcpu *h = t->hvm;

	spin_lock(&t->domain->lock);
	__atomic_store_n(&h->sipi, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&h->init_pending, true, __ATOMIC_SEQ_CST);
	t->initialised = false;
	spin_unlock(&t->domain->lock);
	sched_down(t);
}

static void sipi(struct vcpu *t, uint8_t vector)
{
	struct hvm_vcpu *h = t->hvm;

	if (!__atomic_load_n(&h->init_pending, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&h->sipi, SIPI_CAME | vector, __ATOMIC_SEQ_CST);
	start_up(t);
}

static void accept(struct vcpu *t, uint8_t mode, uint8_t vector, bool level)
{
	switch (mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		if (vlapic_enabled(t))
			vlapic_set_irq(t, vector, level);
		break;
	case MODE_NMI:
		__atomic_store_n(&t->hvm->nmi_pending, true, __ATOMIC_RELEASE);
		sched_wake(t);
		break;
	default: /* SMI and ExtINT have no meaning here; INIT and SIPI come from vCPUs only */
		break;
	}
}

/* What another vCPU, or t itself, sends. No locks held. */
static void accept_ipi(struct vcpu *t, uint8_t mode, uint8_t vector)
{
	if (unlikely(mode == MODE_INIT))
		init(t);
	else if (unlikely(mode == MODE_STARTUP))
		sipi(t, vector);
	else
		accept(t, mode, vector, false);
}

static void deliver_lowest(struct domain *d, uint32_t dest, bool logical, uint8_t vector, bool level)
{
	struct vcpu *t, *best = NULL;

	for_each_vcpu (d, t) {
		if (!matches(t, dest, logical) || !vlapic_enabled(t))
			continue;
		if (!best || ppr(apic_of(t)) < ppr(apic_of(best)))
			best = t;
	}
	if (best)
		vlapic_set_irq(best, vector, level);
}

void vlapic_deliver(struct domain *d, uint32_t dest, bool logical, uint8_t mode, uint8_t vector, bool level)
{
	struct vcpu *t;

	if (mode == MODE_LOWEST) {
		deliver_lowest(d, dest, logical, vector, level);
		return;
	}
	for_each_vcpu (d, t)
		if (matches(t, dest, logical))
			accept(t, mode, vector, level);
}

static void send_ipi(struct vcpu *v, uint32_t low, uint32_t dest)
{
	uint8_t mode = (low >> 8) & 7, vector = (uint8_t)low;
	unsigned shorthand = (low >> 18) & 3;
	bool level = low & 0x8000;
	struct vcpu *t;

	if (unlikely(mode <= MODE_LOWEST && vector < 16)) {
		raise_error(v, ESR_SEND_VEC);
		return;
	}
	if (unlikely(mode == MODE_INIT && level && !(low & 0x4000)))
		return; /* INIT level de-assert */
	switch (shorthand) {
	case 0:
		if (likely(mode < MODE_INIT)) {
			vlapic_deliver(v->domain, dest, low & 0x800, mode, vector, false);
			break;
		}
		for_each_vcpu (v->domain, t)
			if (matches(t, dest, low & 0x800))
				accept_ipi(t, mode, vector);
		break;
	case 1:
		if (mode <= MODE_LOWEST) {
			if (vlapic_enabled(v)) /* v runs: no wake-up needed */
				set_irr(apic_of(v), vector, false);
		} else if (mode == MODE_NMI) {
			v->hvm->nmi_pending = true;
		}
		break;
	default:
		for_each_vcpu (v->domain, t)
			if (shorthand == 2 || t != v)
				accept_ipi(t, mode, vector);
		break;
	}
}

/* --- registers, both modes --- */

static uint32_t read_reg(struct vcpu *v, unsigned reg)
{
	struct vlapic *a = apic_of(v);

	switch (reg) {
	case R_ID:
		return is_x2(a) ? v->id * 2 : a->id << 24;
	case R_VERSION:
		return VERSION;
	case R_TPR:
		return a->tpr;
	case R_PPR:
		return ppr(a);
	case R_LDR:
		return is_x2(a) ? x2_ldr(v) : a->ldr;
	case R_DFR:
		return a->dfr;
	case R_SVR:
		return a->svr;
	case R_ISR ... R_ISR + 7:
		return a->isr[reg - R_ISR];
	case R_TMR ... R_TMR + 7:
		return a->tmr[reg - R_TMR];
	case R_IRR ... R_IRR + 7:
		return a->irr[reg - R_IRR];
	case R_ESR:
		return a->esr;
	case R_CMCI:
		return a->lvt[LVT_CMCI];
	case R_ICR:
		return (uint32_t)a->icr;
	case R_ICR2:
		return (uint32_t)(a->icr >> 32);
	case R_LVT_TIMER ... R_LVT_ERROR:
		return a->lvt[reg - R_LVT_TIMER + LVT_TIMER];
	case R_INITIAL:
		return vlapic_timer_initial(v);
	case R_CURRENT:
		return vlapic_timer_current(v);
	case R_DIVIDE:
		return a->timer_divide;
	default:
		return 0;
	}
}

static void write_svr(struct vcpu *v, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	a->svr = value & SVR_WRITABLE;
	if (!(a->svr & SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			a->lvt[i] |= LVT_MASKED;
}

static void write_lvt(struct vcpu *v, unsigned i, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	value &= lvt_writable[i] & ~LVT_PENDING;
	if (!(a->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	if (i == LVT_TIMER)
		vlapic_timer_set_lvt(v, value);
	else
		a->lvt[i] = value;
}

/* Registers that mean the same in both modes; the value is checked or cut already. False: not writable. */
static bool write_common(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	switch (reg) {
	case R_TPR:
		a->tpr = value & 0xff;
		return true;
	case R_EOI:
		vlapic_eoi(v);
		return true;
	case R_SVR:
		write_svr(v, value);
		return true;
	case R_ESR:
		a->esr = __atomic_exchange_n(&a->esr_latched, 0, __ATOMIC_RELAXED);
		return true;
	case R_CMCI:
		write_lvt(v, LVT_CMCI, value);
		return true;
	case R_LVT_TIMER ... R_LVT_ERROR:
		write_lvt(v, reg - R_LVT_TIMER + LVT_TIMER, value);
		return true;
	case R_INITIAL:
		vlapic_timer_set_initial(v, value);
		return true;
	case R_DIVIDE:
		vlapic_timer_set_divide(v, value);
		return true;
	default:
		return false;
	}
}

uint32_t vlapic_mmio_read(struct vcpu *v, uint32_t offset)
{
	return read_reg(v, offset >> 4);
}

void vlapic_mmio_write(struct vcpu *v, uint32_t offset, uint32_t value)
{
	struct vlapic *a = apic_of(v);
	unsigned reg = offset >> 4;

	switch (reg) {
	case R_EOI:
		vlapic_eoi(v);
		break;
	case R_ICR:
		a->icr = (a->icr & ~0xffffffffull) | (value & ICR_WRITABLE & ~ICR_BUSY);
		send_ipi(v, (uint32_t)a->icr, (uint32_t)(a->icr >> 56));
		break;
	case R_ICR2:
		a->icr = (uint32_t)a->icr | (uint64_t)(value & 0xff000000u) << 32;
		break;
	case R_ID:
		a->id = value >> 24;
		break;
	case R_LDR:
		a->ldr = value & 0xff000000u;
		break;
	case R_DFR:
		a->dfr = value | 0x0fffffffu;
		break;
	default:
		if (!write_common(v, reg, value))
			raise_error(v, ESR_REGISTER);
		break;
	}
}

/* --- MSRs --- */

static bool base_write(struct vcpu *v, uint64_t value)
{
	struct vlapic *a = apic_of(v);
	uint64_t old = a->base_msr, mode = value & (BASE_ENABLE | BASE_X2), was = old & (BASE_ENABLE | BASE_X2);

	if (value & ~(BASE_ADDR | BASE_ENABLE | BASE_X2 | BASE_BSP))
		return false;
	if ((value & BASE_ADDR) != APIC_DEFAULT_BASE) /* the page does not move */
		return false;
	if (mode == BASE_X2 || (was == 0 && mode == (BASE_ENABLE | BASE_X2)) ||
	    (was == (BASE_ENABLE | BASE_X2) && mode == BASE_ENABLE))
		return false; /* SDM figure 11-27: the only way out of x2APIC mode is off */
	if ((mode & BASE_X2) && !cpuid_has(v->domain, 1, 2, 21))
		return false;
	if (mode == 0 && was != 0)
		vlapic_reset(v);
	if (mode == BASE_ENABLE && was == 0)
		a->id = (uint8_t)(v->id * 2);
	a->base_msr = value;
	return true;
}

static bool x2_readable(unsigned reg)
{
	switch (reg) {
	case R_ID:
	case R_VERSION:
	case R_TPR:
	case R_PPR:
	case R_LDR:
	case R_SVR:
	case R_ISR ... R_ESR:
	case R_CMCI:
	case R_ICR:
	case R_LVT_TIMER ... R_CURRENT:
	case R_DIVIDE:
		return true;
	default:
		return false;
	}
}

bool vlapic_msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	struct vlapic *a = apic_of(v);

	if (msr - 0x800 < 0x100) {
		if (unlikely(!is_x2(a)))
			return false;
		msr -= 0x800;
		if (msr == R_ID) {
			*value = v->id * 2;
			return true;
		}
		if (!x2_readable(msr))
			return false;
		*value = msr == R_ICR ? a->icr : read_reg(v, msr);
		return true;
	}
	if (msr == MSR_APIC_BASE) {
		*value = a->base_msr;
		return true;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*value = vlapic_timer_deadline(v);
		return true;
	}
	return false;
}

/* The bits of a register's low half that x2APIC mode lets be written; 0 with *ok false: none at all. */
static uint32_t x2_writable(unsigned reg, bool *ok)
{
	*ok = true;
	switch (reg) {
	case R_TPR:
		return 0xff;
	case R_SVR:
		return SVR_WRITABLE;
	case R_ESR:
		return 0;
	case R_CMCI:
		return lvt_writable[LVT_CMCI];
	case R_LVT_TIMER ... R_LVT_ERROR:
		return lvt_writable[reg - R_LVT_TIMER + LVT_TIMER];
	case R_INITIAL:
		return 0xffffffffu;
	case R_DIVIDE:
		return DIVIDE_BITS;
	default:
		*ok = false;
		return 0;
	}
}

static bool x2_write(struct vcpu *v, unsigned reg, uint64_t value)
{
	struct vlapic *a = apic_of(v);
	uint32_t writable;
	bool ok;

	if (reg == R_ICR) {
		if ((uint32_t)value & ~ICR_WRITABLE)
			return false;
		a->icr = value & ~(uint64_t)ICR_BUSY;
		if ((value & 0xcf00) == 0x4000 && (value & 0xc0000) == 0 && !(value & 0x800) &&
		    value >> 32 == v->id * 2 && (value & 0xff) >= 16 && vlapic_enabled(v))
			set_irr(a, (uint8_t)value, false); /* to itself by its own ID */
		else
			send_ipi(v, (uint32_t)a->icr, (uint32_t)(value >> 32));
		return true;
	}
	if (value >> 32)
		return false;
	if (reg == R_SELF_IPI) {
		if (value & ~0xffull)
			return false;
		send_ipi(v, 0x40000u | (uint32_t)value, 0);
		return true;
	}
	writable = x2_writable(reg, &ok);
	if (!ok || (value & ~(uint64_t)writable))
		return false;
	return write_common(v, reg, (uint32_t)value);
}

bool vlapic_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct vlapic *a = apic_of(v);

	if (likely(msr - 0x800 < 0x100)) {
		if (unlikely(!is_x2(a)))
			return false;
		if (likely(msr == 0x800 + R_EOI)) {
			if (unlikely(value))
				return false;
			vlapic_eoi(v);
			return true;
		}
		return x2_write(v, msr - 0x800, value);
	}
	if (msr == MSR_APIC_BASE)
		return base_write(v, value);
	if (msr == MSR_TSC_DEADLINE) {
		vlapic_timer_set_deadline(v, value);
		return true;
	}
	return false;
}

/* --- life --- */

void vlapic_reset(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	vlapic_timer_reset(v);
	a->version = VERSION;
	a->tpr = a->ldr = a->esr = a->esr_latched = 0;
	a->dfr = 0xffffffffu;
	a->svr = 0xff;
	__atomic_store_n(&a->irr_sum, 0,
			 __ATOMIC_SEQ_CST); /* before irr: another CPU may set a bit of both meanwhile */
	memset(a->irr, 0, sizeof(a->irr));
	memset(a->isr, 0, sizeof(a->isr));
	memset(a->tmr, 0, sizeof(a->tmr));
	a->isr_sum = 0;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		a->lvt[i] = LVT_MASKED;
	a->icr = 0;
}

void vlapic_init(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	memset(a, 0, sizeof(*a));
	timer_init(&a->timer, TIMER_VLAPIC, v);
	a->base_msr = APIC_DEFAULT_BASE | BASE_ENABLE | (v->id == 0 ? BASE_BSP : 0);
	a->id = (uint8_t)(v->id * 2);
	vlapic_reset(v);
}

void vlapic_export(struct vcpu *v, uint8_t page[VLAPIC_PAGE_BYTES])
{
	memset(page, 0, VLAPIC_PAGE_BYTES);
	for (unsigned reg = R_ID; reg <= R_DIVIDE; reg++) {
		uint32_t value = read_reg(v, reg);

		memcpy(page + reg * 16, &value, sizeof(value));
	}
}

static uint32_t page_reg(const uint8_t *page, unsigned reg)
{
	uint32_t value;

	memcpy(&value, page + reg * 16, sizeof(value));
	return value;
}

void vlapic_import(struct vcpu *v, const uint8_t page[VLAPIC_PAGE_BYTES])
{
	struct vlapic *a = apic_of(v);

	if (!is_x2(a)) {
		a->id = page_reg(page, R_ID) >> 24;
		a->ldr = page_reg(page, R_LDR) & 0xff000000u;
		a->dfr = page_reg(page, R_DFR) | 0x0fffffffu;
	}
	a->tpr = page_reg(page, R_TPR) & 0xff;
	a->svr = page_reg(page, R_SVR) & SVR_WRITABLE;
	a->esr = page_reg(page, R_ESR) & 0xff;
	a->icr = (page_reg(page, R_ICR) & ICR_WRITABLE & ~ICR_BUSY) | (uint64_t)page_reg(page, R_ICR2) << 32;
	a->irr_sum = a->isr_sum = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint32_t real = i ? 0xffffffffu : 0xffff0000u; /* vectors below 16 do not exist */

		a->irr[i] = page_reg(page, R_IRR + i) & real;
		a->isr[i] = page_reg(page, R_ISR + i) & real;
		a->tmr[i] = page_reg(page, R_TMR + i) & real;
		a->irr_sum |= (uint32_t)(a->irr[i] != 0) << i;
		a->isr_sum |= (uint32_t)(a->isr[i] != 0) << i;
	}
	a->lvt[LVT_CMCI] = (page_reg(page, R_CMCI) & lvt_writable[LVT_CMCI]) | LVT_MASKED;
	for (unsigned i = LVT_TIMER; i < LVT_COUNT; i++)
		a->lvt[i] = page_reg(page, R_LVT_TIMER + i - LVT_TIMER) & lvt_writable[i];
	vlapic_timer_import(v, page_reg(page, R_DIVIDE), page_reg(page, R_INITIAL), page_reg(page, R_CURRENT));
}
