/*
 * The virtual local APIC of each vCPU; its timer is hvm/vlapic_timer.c. Source: Intel SDM vol. 3 chapter 11, AMD APM
 * vol. 2 chapter 16.
 *
 * Owns: struct vlapic in struct hvm_vcpu, init_pending and sipi there. Locks: none for the registers: IRR, TMR, irr_sum
 * and esr_latched are changed atomically by any CPU; the rest only by the CPU that runs the vCPU, or for a vCPU that does
 * not run. domain.lock for the start state: INIT, SIPI, VCPUOP_initialise.
 * Where the CPU delivers interrupts itself (vendor_apic_delivers) it has IRR and ISR while the guest runs: others post.
 * Invariants: a bit in word i of IRR is never set while bit i of irr_sum stays clear (set after it, rechecked when
 * cleared); isr_sum is exact; both only where the hypervisor delivers. In x2APIC mode LDR follows from the ID.
 */
#include "hvm/vlapic.h"

#include "core/domain.h"
#include "core/sched.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/vendor.h"
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

	return (a->base_msr & BASE_ENABLE) && vlapic_software_enabled(a);
}

bool vlapic_software_enabled(const struct vlapic *a)
{
	return REG(a, R_SVR) & SVR_ENABLE;
}

uint32_t vlapic_id(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	return is_x2(a) ? v->id * 2 : REG(a, R_ID) >> 24;
}

static uint32_t x2_ldr(const struct vcpu *v)
{
	uint32_t id = v->id * 2;

	return ((id >> 4) << 16) | (1u << (id & 15));
}

/* --- IRR, ISR and priority --- */

/* sum: the words worth looking at. */
static inline int highest(struct vlapic *a, unsigned reg, uint32_t sum)
{
	while (sum) {
		unsigned i = 31u - (unsigned)__builtin_clz(sum);
		uint32_t word = REG(a, reg + i);

		if (likely(word))
			return (int)(i * 32 + 31u - (unsigned)__builtin_clz(word));
		sum &= ~(1u << i);
	}
	return -1;
}

static inline int highest_irr(struct vlapic *a)
{
	uint32_t sum;

	if (unlikely(vendor_apic_delivers))
		return highest(a, R_IRR, 0xff);
	while ((sum = __atomic_load_n(&a->irr_sum, __ATOMIC_ACQUIRE)) != 0) {
		unsigned i = 31u - (unsigned)__builtin_clz(sum);
		uint32_t word = __atomic_load_n(&REG(a, R_IRR + i), __ATOMIC_ACQUIRE);

		if (likely(word))
			return (int)(i * 32 + 31u - (unsigned)__builtin_clz(word));
		__atomic_and_fetch(&a->irr_sum, ~(1u << i), __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&REG(a, R_IRR + i), __ATOMIC_SEQ_CST))
			__atomic_or_fetch(&a->irr_sum, 1u << i, __ATOMIC_SEQ_CST);
	}
	return -1;
}

static inline int highest_isr(struct vlapic *a)
{
	return highest(a, R_ISR, vendor_apic_delivers ? 0xff : a->isr_sum);
}

static inline uint8_t ppr(struct vlapic *a)
{
	int isr = highest_isr(a);

	if (isr < 0 || (REG(a, R_TPR) & 0xf0) >= (uint32_t)(isr & 0xf0))
		return (uint8_t)REG(a, R_TPR);
	return (uint8_t)(isr & 0xf0);
}

static inline void irr_or(struct vlapic *a, unsigned i, uint32_t bit)
{
	__atomic_or_fetch(&REG(a, R_IRR + i), bit, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&a->irr_sum, __ATOMIC_SEQ_CST) & (1u << i)))
		__atomic_or_fetch(&a->irr_sum, 1u << i, __ATOMIC_SEQ_CST);
}

/* --- where the CPU delivers: nobody but it touches IRR while the guest runs; what comes is posted meanwhile --- */

struct posted {
	uint32_t pir[8]; /* the CPU takes these in by itself when it is told to (SDM vol. 3, 30.6) */
	uint32_t on;	 /* bit 0: there are some */
	uint32_t cpus_own[7];
	uint32_t level[8]; /* these come with the next entry, once the CPU knows that their EOI is to exit */
	uint32_t level_on;
};

static inline struct posted *posted(struct vlapic *a)
{
	return (struct posted *)((uint8_t *)a->page + VLAPIC_POSTED);
}

/* False: something was posted before that nobody took in yet. */
static bool post(struct vlapic *a, unsigned i, uint32_t bit, bool level)
{
	struct posted *p = posted(a);

	__atomic_or_fetch(level ? &p->level[i] : &p->pir[i], bit, __ATOMIC_SEQ_CST);
	return !__atomic_exchange_n(level ? &p->level_on : &p->on, 1, __ATOMIC_SEQ_CST);
}

/* Into IRR with it. This CPU runs the vCPU, or nobody does. */
static void collect(struct vlapic *a)
{
	struct posted *p = posted(a);

	if (__atomic_load_n(&p->on, __ATOMIC_RELAXED)) {
		__atomic_exchange_n(&p->on, 0, __ATOMIC_SEQ_CST);
		for (unsigned i = 0; i < 8; i++)
			if (__atomic_load_n(&p->pir[i], __ATOMIC_RELAXED))
				REG(a, R_IRR + i) |= __atomic_exchange_n(&p->pir[i], 0, __ATOMIC_SEQ_CST);
		a->moved = true;
	}
	if (unlikely(__atomic_load_n(&p->level_on, __ATOMIC_RELAXED))) {
		__atomic_exchange_n(&p->level_on, 0, __ATOMIC_SEQ_CST);
		for (unsigned i = 0; i < 8; i++) {
			uint32_t bits = __atomic_exchange_n(&p->level[i], 0, __ATOMIC_SEQ_CST);

			REG(a, R_IRR + i) |= bits;
			REG(a, R_TMR + i) |= bits;
		}
		a->moved = a->levels_changed = true;
	}
}

bool vlapic_status(struct vcpu *v, uint16_t *status)
{
	struct vlapic *a = apic_of(v);
	int irr, isr;

	collect(a);
	if (likely(!a->moved))
		return false;
	a->moved = false;
	irr = highest_irr(a);
	isr = highest_isr(a);
	*status = (uint16_t)((isr < 0 ? 0 : isr << 8) | (irr < 0 ? 0 : irr));
	return true;
}

bool vlapic_levels(struct vcpu *v, uint64_t vectors[4])
{
	struct vlapic *a = apic_of(v);

	if (likely(!a->levels_changed))
		return false;
	a->levels_changed = false;
	for (unsigned i = 0; i < 4; i++)
		vectors[i] = REG(a, R_TMR + 2 * i) | (uint64_t)REG(a, R_TMR + 2 * i + 1) << 32;
	return true;
}

void vlapic_eoi_exit(struct vcpu *v, uint8_t vector)
{
	vioapic_eoi(v->domain, vector);
}

/* --- both --- */

/* False: something came before that the vCPU is to look at already. */
static inline bool set_irr(struct vlapic *a, uint8_t vector, bool level)
{
	unsigned i = vector / 32;
	uint32_t bit = 1u << (vector & 31), *tmr = &REG(a, R_TMR + i);

	if (unlikely(vendor_apic_delivers))
		return post(a, i, bit, level);
	if (unlikely(level))
		__atomic_or_fetch(tmr, bit, __ATOMIC_RELAXED);
	else if (unlikely(*tmr & bit))
		__atomic_and_fetch(tmr, ~bit, __ATOMIC_RELAXED);
	irr_or(a, i, bit);
	return true;
}

int vlapic_pending(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	int irr;

	if (unlikely(vendor_apic_delivers))
		collect(a);
	irr = highest_irr(a);
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
	__atomic_and_fetch(&REG(apic_of(v), R_IRR + vector / 32), ~(1u << (vector & 31)), __ATOMIC_SEQ_CST);
}

void vlapic_retract(struct vcpu *v, uint8_t vector)
{
	irr_or(apic_of(v), vector / 32, 1u << (vector & 31));
}

void vlapic_ack(struct vcpu *v, uint8_t vector)
{
	struct vlapic *a = apic_of(v);

	REG(a, R_ISR + vector / 32) |= 1u << (vector & 31);
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
	REG(a, R_ISR + i) &= ~bit;
	if (!REG(a, R_ISR + i))
		a->isr_sum &= ~(1u << i);
	a->moved = true;
	if (unlikely(REG(a, R_TMR + i) & bit))
		vioapic_eoi(v->domain, (uint8_t)vector);
}

static void raise_error(struct vcpu *v, uint32_t bit)
{
	struct vlapic *a = apic_of(v);
	uint32_t lvt = *lvt_of(a, LVT_ERROR);

	__atomic_or_fetch(&a->esr_latched, bit, __ATOMIC_RELAXED);
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		set_irr(a, (uint8_t)lvt, false);
}

void vlapic_set_irq(struct vcpu *v, uint8_t vector, bool level)
{
	bool fresh;

	if (unlikely(vector < 16)) {
		__atomic_or_fetch(&apic_of(v)->esr_latched, ESR_RECV_VEC, __ATOMIC_RELAXED);
		return;
	}
	fresh = set_irr(apic_of(v), vector, level);
	if (likely(!vendor_apic_posted || level))
		sched_wake(v); /* or it leaves the guest on the CPU where it runs */
	else
		sched_notify(v, fresh);
}

uint8_t vlapic_get_tpr(struct vcpu *v)
{
	return (uint8_t)REG(apic_of(v), R_TPR);
}

void vlapic_set_tpr(struct vcpu *v, uint8_t tpr)
{
	REG(apic_of(v), R_TPR) = tpr;
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
	mine = REG(a, R_LDR) >> 24;
	if (REG(a, R_DFR) >> 28 == 0xf)
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
	case R_PPR:
		return ppr(a);
	case R_ICR:
		return (uint32_t)a->icr;
	case R_ICR2:
		return (uint32_t)(a->icr >> 32);
	case R_INITIAL:
		return vlapic_timer_initial(v);
	case R_CURRENT:
		return vlapic_timer_current(v);
	case R_DIVIDE:
		return a->timer_divide;
	default:
		return REG(a, reg);
	}
}

static void write_svr(struct vcpu *v, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	REG(a, R_SVR) = value & SVR_WRITABLE;
	if (!(value & SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			*lvt_of(a, i) |= LVT_MASKED;
}

static void write_lvt(struct vcpu *v, unsigned i, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	value &= lvt_writable[i] & ~LVT_PENDING;
	if (!(REG(a, R_SVR) & SVR_ENABLE))
		value |= LVT_MASKED;
	if (i == LVT_TIMER)
		vlapic_timer_set_lvt(v, value);
	else
		*lvt_of(a, i) = value;
}

/* Registers that mean the same in both modes; the value is checked or cut already. False: not writable. */
static bool write_common(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct vlapic *a = apic_of(v);

	switch (reg) {
	case R_TPR:
		REG(a, R_TPR) = value & 0xff;
		return true;
	case R_EOI:
		vlapic_eoi(v);
		return true;
	case R_SVR:
		write_svr(v, value);
		return true;
	case R_ESR:
		REG(a, R_ESR) = __atomic_exchange_n(&a->esr_latched, 0, __ATOMIC_RELAXED);
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
		REG(a, R_ID) = value & 0xff000000u;
		break;
	case R_LDR:
		REG(a, R_LDR) = value & 0xff000000u;
		break;
	case R_DFR:
		REG(a, R_DFR) = value | 0x0fffffffu;
		break;
	default:
		if (!write_common(v, reg, value))
			raise_error(v, ESR_REGISTER);
		break;
	}
}

/* Registers whose write the CPU puts in the page, and then exits: of x2APIC mode's, a SELF IPI of no vector. */
void vlapic_written(struct vcpu *v, uint32_t offset)
{
	struct vlapic *a = apic_of(v);

	if (offset >> 4 == R_SELF_IPI) {
		REG(a, R_SELF_IPI) = 0;
		raise_error(v, ESR_SEND_VEC);
	}
}

/* --- MSRs --- */

/* What follows from the mode, as it is switched on. */
static void identify(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);

	REG(a, R_ID) = is_x2(a) ? v->id * 2 : v->id * 2 << 24;
	REG(a, R_LDR) = is_x2(a) ? x2_ldr(v) : 0;
}

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
	a->base_msr = value;
	if (mode != was)
		identify(v);
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
	REG(a, R_VERSION) = VERSION;
	REG(a, R_TPR) = REG(a, R_ESR) = a->esr_latched = 0;
	REG(a, R_LDR) = is_x2(a) ? x2_ldr(v) : 0;
	REG(a, R_DFR) = 0xffffffffu;
	REG(a, R_SVR) = 0xff;
	/* Sums before words: another CPU may set a bit of both meanwhile. */
	__atomic_store_n(&posted(a)->on, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&posted(a)->level_on, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&a->irr_sum, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 8; i++) {
		posted(a)->pir[i] = posted(a)->level[i] = 0;
		REG(a, R_IRR + i) = REG(a, R_ISR + i) = REG(a, R_TMR + i) = 0;
	}
	a->isr_sum = 0;
	a->moved = a->levels_changed = true;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		*lvt_of(a, i) = LVT_MASKED;
	a->icr = 0;
}

void vlapic_init(struct vcpu *v)
{
	struct vlapic *a = apic_of(v);
	uint32_t *page = a->page;

	memset(a, 0, sizeof(*a));
	a->page = page;
	timer_init(&a->timer, TIMER_VLAPIC, v);
	a->base_msr = APIC_DEFAULT_BASE | BASE_ENABLE | (v->id == 0 ? BASE_BSP : 0);
	identify(v);
	vlapic_reset(v);
}

void vlapic_export(struct vcpu *v, uint8_t page[VLAPIC_PAGE_BYTES])
{
	memset(page, 0, VLAPIC_PAGE_BYTES);
	if (vendor_apic_delivers)
		collect(apic_of(v));
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

	identify(v);
	if (!is_x2(a)) {
		REG(a, R_ID) = page_reg(page, R_ID) & 0xff000000u;
		REG(a, R_LDR) = page_reg(page, R_LDR) & 0xff000000u;
		REG(a, R_DFR) = page_reg(page, R_DFR) | 0x0fffffffu;
	}
	REG(a, R_TPR) = page_reg(page, R_TPR) & 0xff;
	REG(a, R_SVR) = page_reg(page, R_SVR) & SVR_WRITABLE;
	REG(a, R_ESR) = page_reg(page, R_ESR) & 0xff;
	a->icr = (page_reg(page, R_ICR) & ICR_WRITABLE & ~ICR_BUSY) | (uint64_t)page_reg(page, R_ICR2) << 32;
	a->irr_sum = a->isr_sum = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint32_t real = i ? 0xffffffffu : 0xffff0000u; /* vectors below 16 do not exist */

		REG(a, R_IRR + i) = page_reg(page, R_IRR + i) & real;
		REG(a, R_ISR + i) = page_reg(page, R_ISR + i) & real;
		REG(a, R_TMR + i) = page_reg(page, R_TMR + i) & real;
		a->irr_sum |= (uint32_t)(REG(a, R_IRR + i) != 0) << i;
		a->isr_sum |= (uint32_t)(REG(a, R_ISR + i) != 0) << i;
	}
	a->moved = a->levels_changed = true;
	*lvt_of(a, LVT_CMCI) = (page_reg(page, R_CMCI) & lvt_writable[LVT_CMCI]) | LVT_MASKED;
	for (unsigned i = LVT_TIMER; i < LVT_COUNT; i++)
		*lvt_of(a, i) = page_reg(page, R_LVT_TIMER + i - LVT_TIMER) & lvt_writable[i];
	vlapic_timer_import(v, page_reg(page, R_DIVIDE), page_reg(page, R_INITIAL), page_reg(page, R_CURRENT));
}
