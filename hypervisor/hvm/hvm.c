/*
 * hvm/hvm.c: the virtual machine as a whole: making and destroying its state, reset and start states, register access,
 * injection; and what core/ asks through port/guest.h. Owns struct hvm_domain and struct hvm_vcpu.
 * Locks: none of its own; a vCPU's state is touched by the CPU that runs it, or while it is paused or down.
 */
#include "hvm/hvm.h"

#include "core/guestmem.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "core/time.h"
#include "hvm/cpuid.h"
#include "hvm/io.h"
#include "hvm/msr.h"
#include "hvm/offer.h"
#include "hvm/run.h"
#include "hvm/spec.h"
#include "hvm/vendor.h"
#include "hvm/vpci.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/guest.h"
#include "port/machine.h"

#define CR0_PE	  BIT(0)
#define CR0_ET	  BIT(4)
#define CR0_NW	  BIT(29)
#define CR0_CD	  BIT(30)
#define CR0_PG	  BIT(31)
#define EFER_LMA  BIT(10)
#define EFER_SVME BIT(12)
#define FLAG_IF	  BIT(9)
#define FLAG_TF	  BIT(8)
#define FLAG_RF	  BIT(16)
#define FLAG_VM	  BIT(17)
#define DR6_BS	  BIT(14)
#define DR7_GD	  BIT(13)

#define ATTR_CODE16 0x009bu /* present, DPL 0, code, readable, accessed */
#define ATTR_DATA16 0x0093u
#define ATTR_CODE32 0x0c9bu
#define ATTR_DATA32 0x0c93u
#define ATTR_LDT    0x0082u
#define ATTR_TSS    0x008bu
#define ATTR_LONG   BIT(9)
#define ATTR_BIG    BIT(10)

/* --- life --- */

int guest_domain_init(struct domain *d)
{
	static uint64_t number;

	int rc;

	d->hvm = heap_new(struct hvm_domain);
	if (!d->hvm)
		return -ENOMEM;
	d->hvm->number = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
	d->hvm->msr_bitmap = msr_bitmap();
	vpit_init(d);
	rc = io_domain_init(d);
	if (!rc)
		rc = cpuid_domain_init(d);
	if (rc)
		return rc;
	if (d->rights & RIGHT_HARDWARE)
		vioapic_init(d, port_gsi_count());
	return 0;
}

void guest_domain_destroy(struct domain *d)
{
	timer_kill(&d->hvm->pit.timer);
	if (d->hvm->vpci)
		vpci_destroy(d);
	if (d->hvm->io_bitmap)
		io_domain_destroy(d);
	if (d->cpuid)
		heap_free(d->cpuid, sizeof(*d->cpuid));
	heap_free(d->hvm, sizeof(*d->hvm));
	d->hvm = NULL;
}

int guest_vcpu_init(struct vcpu *v)
{
	struct hvm_vcpu *h = heap_new(struct hvm_vcpu);
	int rc = -ENOMEM;

	if (!h)
		return rc;
	v->hvm = h;
	h->fpu = heap_alloc_pages(0);
	h->lapic.page = heap_alloc_pages(0);
	if (h->fpu && h->lapic.page)
		rc = vendor_vcpu_init(v);
	if (rc) {
		guest_vcpu_destroy(v);
		return rc;
	}
	vlapic_init(v);
	hvm_reset(v);
	return 0;
}

void guest_vcpu_destroy(struct vcpu *v)
{
	struct hvm_vcpu *h = v->hvm;

	timer_kill(&h->lapic.timer);
	vendor_vcpu_destroy(v);
	if (h->fpu)
		heap_free_pages(h->fpu, 0);
	if (h->lapic.page)
		heap_free_pages(h->lapic.page, 0);
	heap_free(h, sizeof(*h));
	v->hvm = NULL;
}

/* --- start states --- */

static void set_flat(struct vcpu *v, enum seg s, uint16_t sel, uint16_t attr, uint32_t limit)
{
	struct segment g = { .sel = sel, .attr = attr, .limit = limit, .base = 0 };

	hvm_set_segment(v, s, &g);
}

void hvm_reset(struct vcpu *v)
{
	struct hvm_vcpu *h = v->hvm;
	memset(&v->regs, 0, sizeof(v->regs));
	for (enum seg s = SEG_ES; s <= SEG_GS; s++)
		set_flat(v, s, 0, ATTR_DATA16, 0xffff);
	hvm_set_segment(v, SEG_CS, &(struct segment){ 0xf000, ATTR_CODE16, 0xffff, 0xffff0000 });
	set_flat(v, SEG_GDTR, 0, 0, 0xffff);
	set_flat(v, SEG_IDTR, 0, 0, 0xffff);
	set_flat(v, SEG_LDTR, 0, ATTR_LDT, 0xffff);
	set_flat(v, SEG_TR, 0, ATTR_TSS, 0xffff);
	hvm_set_efer(v, 0);
	hvm_set_cr(v, 0, CR0_ET | CR0_CD | CR0_NW);
	hvm_set_cr(v, 2, 0);
	hvm_set_cr(v, 3, 0);
	hvm_set_cr(v, 4, 0);
	vendor_set(v, REG_DR6, 0xffff0ff0);
	vendor_set(v, REG_DR7, 0x400);
	vendor_set(v, REG_SHADOW, 0);
	v->regs.rflags = 2;
	v->regs.rip = 0xfff0;
	v->regs.rdx = 0x600;
	h->inject.vector = EVENT_NONE;
	h->nmi_pending = h->nmi_masked = h->nmi_iret = false;
	__atomic_store_n(&h->init_pending, false, __ATOMIC_SEQ_CST);
	h->xcr0 = 1;
	port_fpu_init(h->fpu);
	h->loaded_on = 0;
	vendor_flush_nested(v);
}

void hvm_sipi(struct vcpu *v, uint8_t vector)
{
	hvm_reset(v);
	hvm_set_segment(v, SEG_CS,
			&(struct segment){ (uint16_t)(vector << 8), ATTR_CODE16, 0xffff, (uint64_t)vector << 12 });
	v->regs.rip = 0;
	time_update_vcpu(v);
	__atomic_store_n(&v->initialised, true, __ATOMIC_RELEASE);
}

void hvm_start_pvh(struct vcpu *v, uint32_t eip, uint32_t ebx)
{
	hvm_reset(v);
	for (enum seg s = SEG_ES; s <= SEG_GS; s++)
		set_flat(v, s, 0, ATTR_DATA32, ~0u);
	set_flat(v, SEG_CS, 0, ATTR_CODE32, ~0u);
	set_flat(v, SEG_TR, 0, ATTR_TSS, 0x67);
	hvm_set_cr(v, 0, CR0_PE | CR0_ET);
	v->regs.rdx = 0;
	v->regs.rip = eip;
	v->regs.rbx = ebx;
	v->initialised = true;
}

/* VCPUOP_initialise of an HVM domain: xen/hvm/hvm_vcpu.h. Everything is checked before v is touched. */
static bool segment_ok(const struct segment *g, bool code)
{
	bool present = g->attr & 0x80;

	return !present || ((g->attr & 0x10) && (!code || (g->attr & 8)));
}

static void set_paging(struct vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	hvm_set_efer(v, efer);
	hvm_set_cr(v, 4, cr4);
	hvm_set_cr(v, 3, cr3);
	hvm_set_cr(v, 0, cr0);
}

int hvm_vcpu_start_context(struct vcpu *v, const struct vcpu_hvm_context *ctx)
{
	struct segment cs, ds, ss, es, tr;

	if (ctx->mode != VCPU_HVM_MODE_32B && ctx->mode != VCPU_HVM_MODE_64B)
		return -EINVAL;
	if (ctx->mode == VCPU_HVM_MODE_32B) {
		const struct vcpu_hvm_x86_32 *r = &ctx->cpu_regs.x86_32;

		cs = (struct segment){ 0, r->cs_ar, r->cs_limit, r->cs_base };
		ds = (struct segment){ 0, r->ds_ar, r->ds_limit, r->ds_base };
		ss = (struct segment){ 0, r->ss_ar, r->ss_limit, r->ss_base };
		es = (struct segment){ 0, r->es_ar, r->es_limit, r->es_base };
		tr = (struct segment){ 0, r->tr_ar, r->tr_limit, r->tr_base };
		if (!(cs.attr & 0x80) || !segment_ok(&cs, true) || !segment_ok(&ds, false) || !segment_ok(&ss, false) ||
		    !segment_ok(&es, false) || (r->eflags & FLAG_VM) || !(r->eflags & 2) ||
		    !cr_state_ok(v->domain, r->cr0 | CR0_ET, r->cr4, r->efer))
			return -EINVAL;
		hvm_reset(v);
		v->regs = (struct regs){ .rax = r->eax,
					 .rcx = r->ecx,
					 .rdx = r->edx,
					 .rbx = r->ebx,
					 .rsp = r->esp,
					 .rbp = r->ebp,
					 .rsi = r->esi,
					 .rdi = r->edi,
					 .rip = r->eip,
					 .rflags = r->eflags };
		set_paging(v, r->cr0, r->cr3, r->cr4, r->efer);
	} else {
		const struct vcpu_hvm_x86_64 *r = &ctx->cpu_regs.x86_64;

		if (!(r->cr0 & CR0_PG) || !(r->cr0 & CR0_PE) || !(r->cr4 & BIT(5)) || !(r->efer & EFER_LMA) ||
		    !cr_state_ok(v->domain, r->cr0 | CR0_ET, r->cr4, r->efer))
			return -EINVAL;
		cs = (struct segment){ 0, 0xa9b, ~0u, 0 };
		ds = ss = es = (struct segment){ 0, ATTR_DATA32, ~0u, 0 };
		tr = (struct segment){ 0, ATTR_TSS, 0x67, 0 };
		hvm_reset(v);
		v->regs = (struct regs){ .rax = r->rax,
					 .rcx = r->rcx,
					 .rdx = r->rdx,
					 .rbx = r->rbx,
					 .rsp = r->rsp,
					 .rbp = r->rbp,
					 .rsi = r->rsi,
					 .rdi = r->rdi,
					 .rip = r->rip,
					 .rflags = r->rflags };
		set_paging(v, r->cr0, r->cr3, r->cr4, r->efer);
	}
	hvm_set_segment(v, SEG_CS, &cs);
	hvm_set_segment(v, SEG_DS, &ds);
	hvm_set_segment(v, SEG_SS, &ss);
	hvm_set_segment(v, SEG_ES, &es);
	hvm_set_segment(v, SEG_TR, &tr);
	v->initialised = true;
	return 0;
}

/* --- registers --- */

void hvm_get_segment(struct vcpu *v, enum seg s, struct segment *out)
{
	VENDOR(get_segment(v, s, out));
}

void hvm_set_segment(struct vcpu *v, enum seg s, const struct segment *in)
{
	VENDOR(set_segment(v, s, in));
}

uint64_t hvm_get_cr(struct vcpu *v, unsigned cr)
{
	switch (cr) {
	case 0:
		return vendor_get(v, REG_CR0);
	case 2:
		return vendor_get(v, REG_CR2);
	case 3:
		return vendor_get(v, REG_CR3);
	case 4:
		return vendor_get(v, REG_CR4);
	case 8:
		return vlapic_get_tpr(v) >> 4;
	}
	panic("read of CR%u", cr);
}

void hvm_set_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
	switch (cr) {
	case 0:
		vendor_set(v, REG_CR0, value | CR0_ET);
		break;
	case 2:
		vendor_set(v, REG_CR2, value);
		return;
	case 3:
		vendor_set(v, REG_CR3, value);
		break;
	case 4:
		vendor_set(v, REG_CR4, value);
		break;
	case 8:
		vlapic_set_tpr(v, (uint8_t)(value << 4));
		return;
	default:
		panic("write of CR%u", cr);
	}
	vendor_flush_linear(v);
}

uint64_t hvm_get_efer(struct vcpu *v)
{
	return vendor_get(v, REG_EFER) & ~EFER_SVME;
}

void hvm_set_efer(struct vcpu *v, uint64_t value)
{
	vendor_set(v, REG_EFER, vendor_vmx ? value : value | EFER_SVME);
	vendor_flush_linear(v);
}

static bool is_64bit(struct vcpu *v)
{
	struct segment cs;

	if (likely(!vendor_vmx))
		return (svm_vmcb(v)->efer & EFER_LMA) && (svm_vmcb(v)->seg[SEG_CS].attr & ATTR_LONG);
	vmx_get_segment(v, SEG_CS, &cs);
	return (vmx_get(v, REG_EFER) & EFER_LMA) && (cs.attr & ATTR_LONG);
}

enum cpu_mode hvm_mode(struct vcpu *v)
{
	struct segment cs;

	if (is_64bit(v))
		return MODE_64;
	if (!(vendor_get(v, REG_CR0) & CR0_PE))
		return MODE_REAL;
	if (v->regs.rflags & FLAG_VM)
		return MODE_V86;
	hvm_get_segment(v, SEG_CS, &cs);
	return cs.attr & ATTR_BIG ? MODE_32 : MODE_16;
}

unsigned hvm_cpl(struct vcpu *v)
{
	return VENDOR(cpl(v));
}

void guest_paging_state(struct vcpu *v, struct guest_paging *out)
{
	out->cr0 = vendor_get(v, REG_CR0);
	out->cr3 = vendor_get(v, REG_CR3);
	out->cr4 = vendor_get(v, REG_CR4);
	out->efer = vendor_get(v, REG_EFER);
	out->rflags = v->regs.rflags;
	out->cpl = hvm_cpl(v);
}

/* --- injection --- */

static bool contributory(unsigned vector)
{
	return vector == 0 || (vector >= 10 && vector <= 13);
}

void hvm_triple_fault(struct vcpu *v)
{
	struct domain *d = v->domain;

	if (d->rights & RIGHT_HARDWARE) {
		domain_crash(d, "triple fault");
		return;
	}
	log_err("domain %u (vcpu %u): triple fault", d->id, v->id);
	vendor_dump(v);
	domain_shutdown(d, (uint8_t)d->params[HVM_PARAM_TRIPLE_FAULT_REASON]);
}

/* Two exceptions at once become a double fault where the architecture says so (APM vol. 2, 8.2.9), three a shutdown. */
void hvm_inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	struct hvm_vcpu *h = v->hvm;
	unsigned first = h->inject.vector;

	if (first != EVENT_NONE && h->inject.type == 3) {
		if (first == 8) {
			hvm_triple_fault(v);
			return;
		}
		if ((contributory(first) && contributory(vector)) ||
		    (first == 14 && (contributory(vector) || vector == 14))) {
			vector = 8;
			has_error = true;
			error = 0;
		}
	}
	h->inject.vector = (uint8_t)vector;
	h->inject.type = 3;
	h->inject.has_error = has_error;
	h->inject.error = error;
}

void hvm_inject_gp(struct vcpu *v)
{
	hvm_inject_exception(v, 13, true, 0);
}

void hvm_inject_ud(struct vcpu *v)
{
	hvm_inject_exception(v, 6, false, 0);
}

/* Injection, unlike the CPU's own delivery, leaves DR7.GD set (APM vol. 2, 13.1.1.4 and 15.20). */
void hvm_inject_db(struct vcpu *v)
{
	vendor_set(v, REG_DR7, vendor_get(v, REG_DR7) & ~(uint64_t)DR7_GD);
	hvm_inject_exception(v, 1, false, 0);
}

void hvm_inject_pf(struct vcpu *v, gva_t addr, uint32_t code)
{
	vendor_set(v, REG_CR2, addr);
	hvm_inject_exception(v, 14, true, code);
}

void hvm_redeliver(struct vcpu *v, uint64_t info)
{
	struct hvm_vcpu *h = v->hvm;
	unsigned type = info >> EVENT_TYPE_SHIFT & 7, vector = (uint8_t)info;

	if (h->inject.vector != EVENT_NONE)
		return;
	if (type == 4 ||
	    (type == 3 && (vector == 3 || vector == 4))) /* INT n, INT3, INTO: the instruction runs again */
		return;
	h->inject.vector = (uint8_t)vector;
	h->inject.type = (uint8_t)type;
	h->inject.has_error = info & EVENT_HAS_ERROR;
	h->inject.error = (uint32_t)(info >> 32);
}

void hvm_advance(struct vcpu *v, unsigned length)
{
	v->regs.rip += length;
	if (unlikely(hvm_mode(v) != MODE_64))
		v->regs.rip = (uint32_t)v->regs.rip;
	vendor_set(v, REG_SHADOW, 0);
	if (unlikely(v->regs.rflags & (FLAG_TF | FLAG_RF))) {
		v->regs.rflags &= ~(uint64_t)FLAG_RF;
		if (v->regs.rflags & FLAG_TF) { /* single step: the trap after the instruction */
			vendor_set(v, REG_DR6, vendor_get(v, REG_DR6) | DR6_BS);
			hvm_inject_db(v);
		}
	}
}

/* --- what core/ asks (port/guest.h) --- */

void guest_event_pending(struct vcpu *v)
{
	uint8_t vector = v->hvm->upcall_vector;

	if (vector) {
		vlapic_set_irq(v, vector, false);
		return;
	}
	if (v->domain->hvm->callback_gsi && v->domain->hvm->ioapic.nr_pins)
		vioapic_pulse(v->domain, v->domain->hvm->callback_gsi);
	sched_wake(v);
}

bool guest_interrupt_pending(struct vcpu *v)
{
	const struct hvm_vcpu *h = v->hvm;

	if (h->inject.vector != EVENT_NONE || h->nmi_pending)
		return true;
	/* An upcall without a vector or line is nothing the CPU would take: a poller sleeps on (xen/sched.h, SCHEDOP_poll). */
	return (v->regs.rflags & FLAG_IF) &&
	       (vlapic_pending(v) >= 0 || (v->info->evtchn_upcall_pending && v->domain->hvm->callback_vector));
}

void guest_timer(struct vcpu *v, unsigned kind)
{
	if (kind == TIMER_VLAPIC)
		vlapic_timer(v);
	else
		vpit_timer(v);
}

void guest_tlb_flush(struct domain *d)
{
	if (d->hvm)
		__atomic_fetch_add(&d->hvm->tlb_gen, 1, __ATOMIC_SEQ_CST);
}

bool guest_uses_ept(void)
{
	return vendor_vmx;
}

bool guest_logs_writes(void)
{
	return vendor_logs_writes;
}

bool guest_dirty_flags(void)
{
	return vendor_dirty_flags;
}

void guest_dump(struct vcpu *v)
{
	vendor_dump(v);
}

void guest_release_irqs(struct domain *d)
{
	irq_domain_release(d);
}

void guest_switch_out(struct vcpu *v)
{
	struct hvm_vcpu *h = v->hvm;

	if (port_host_xcr0())
		port_set_xcr0(port_host_xcr0());
	port_fpu_save(h->fpu);
	if (h->debug_used)
		port_dr_save(h->dr);
	spec_switch_out(v);
	if (vendor_vmx)
		vmx_switch_out(v);
	vlapic_leave(v);
	run_left();
}

void guest_switch_in(struct vcpu *v)
{
	struct hvm_vcpu *h = v->hvm;
	bool held;

	if (port_host_xcr0())
		port_set_xcr0(h->xcr0);
	held = run_entered(v);
	if (vendor_vmx)
		vmx_switch_in(v, held);
	else if (!held)
		svm_switch_in(v);
	if (held)
		return; /* this CPU idled since it ran v: all is as it was */
	port_fpu_restore(h->fpu);
	if (h->debug_used)
		port_dr_restore(h->dr);
	msr_switch_in(v);
	spec_switch_in(v);
	guestmem_enter(v->domain);
	time_update_vcpu(v);
}
