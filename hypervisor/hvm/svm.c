/*
 * hvm/svm.c: AMD SVM (APM vol. 2, chapter 15): programs the VMCB; hvm/svm_decode.c decodes its exits. Owns struct svm_vcpu.
 * Locks: none; a VMCB is touched only by the CPU that runs its vCPU, or while the vCPU is paused.
 *
 * External interrupts are offered through the virtual interrupt fields (V_IRQ): the CPU takes the vector when the guest
 * can. It was taken when V_IRQ is clear at the exit (hvm/offer.h).
 */
#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "hvm/offer.h"
#include "hvm/tlb.h"
#include "hvm/vendor.h"
#include "hvm/vmcb.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/machine.h"

#define CPUID_SVM	   0x8000000au
#define SVM_NPT		   BIT(0)
#define SVM_NRIPS	   BIT(3)
#define SVM_TSC_RATE	   BIT(4)
#define SVM_CLEAN	   BIT(5)
#define SVM_FLUSH_BY_ASID  BIT(6)
#define SVM_DECODE_ASSISTS BIT(7)
#define SVM_PAUSE_FILTER   BIT(10)
#define SVM_AVIC	   BIT(13)
#define SVM_VIRTUAL_VMLOAD BIT(15)
#define MSR_TSC_RATIO	   0xc0000104u
#define TSC_RATIO_ONE	   (1ull << 32)
#define EFER_LME	   BIT(8)
#define EFER_LMA	   BIT(10)
#define EFER_SVME	   BIT(12)
#define CR0_PG		   BIT(31)

struct svm_vcpu {
	uint64_t vmcb_pa;
	struct tlb_vcpu tlb;
	struct offer offer; /* in V_IRQ at the last entry */
	uint64_t tsc_ratio; /* 8.32 */
};

struct svm_features svm_features;
static struct tlb_cpu asids[NR_CPUS];
static uint64_t ratio_loaded[NR_CPUS]; /* what the CPU's TSC ratio is */

int svm_init(void)
{
	uint32_t r[4];

	port_cpuid(CPUID_SVM, 0, r);
	svm_features = (struct svm_features){
		.npt = r[3] & SVM_NPT,
		.nrips = (r[3] & SVM_NRIPS) && vendor_may_use("nrips"),
		.decode_assists = (r[3] & SVM_DECODE_ASSISTS) && vendor_may_use("decode-assists"),
		.pause_filter = (r[3] & SVM_PAUSE_FILTER) && vendor_may_use("pause-filter"),
		.flush_by_asid = (r[3] & SVM_FLUSH_BY_ASID) && vendor_may_use("flush-by-asid"),
		.tsc_rate = (r[3] & SVM_TSC_RATE) && vendor_may_use("tsc-scaling"),
		.clean = (r[3] & SVM_CLEAN) && vendor_may_use("vmcb-clean") ? CLEAN_ALL : 0,
		.asids = r[1],
	};
	if (!svm_features.npt) {
		log_err("this CPU's SVM has no nested paging (CPUID 0x8000000a EDX bit 0); Gossamer needs it "
			"(QEMU: a CPU model with +npt)");
		return -ENODEV;
	}
	vendor_tsc_rate_max = svm_features.tsc_rate ? 0xffull << 32 : 0;
	vendor_xsaves = true;				    /* no control of SVM's: what the CPU has */
	vendor_dirty_flags = vendor_may_use("dirty-flags"); /* these page tables have them always */
	log_info("SVM: nested paging, %u ASIDs%s%s%s%s%s%s", svm_features.asids,
		 svm_features.nrips ? ", NRIP save" : "", svm_features.decode_assists ? ", decode assists" : "",
		 svm_features.pause_filter ? ", pause filter" : "", svm_features.flush_by_asid ? ", flush by ASID" : "",
		 svm_features.clean ? ", VMCB clean bits" : "", svm_features.tsc_rate ? ", TSC scaling" : "");
	if (r[3] & (SVM_AVIC | SVM_VIRTUAL_VMLOAD))
		log_info("  there, but not used:%s%s", r[3] & SVM_AVIC ? " AVIC" : "",
			 r[3] & SVM_VIRTUAL_VMLOAD ? " virtual VMLOAD and VMSAVE (guests have no SVM)" : "");
	return 0;
}

int svm_cpu_init(unsigned cpu)
{
	mfn_t save = frame_alloc_hyp(0);

	tlb_cpu_init(&asids[cpu], svm_features.asids, svm_features.flush_by_asid);
	ratio_loaded[cpu] = TSC_RATIO_ONE;
	if (!mfn_valid(save))
		return -ENOMEM;
	if (!port_svm_on(save.n << PAGE_SHIFT)) {
		frame_free_hyp(save, 0);
		log_err("CPU %u: SVM is locked off by the firmware (VM_CR.SVMDIS); enable it there", cpu);
		return -ENODEV;
	}
	return 0;
}

static void program_controls(struct vcpu *v, struct vmcb *c)
{
	const struct hvm_domain *hd = v->domain->hvm;

	c->cr_write = BIT(0) | BIT(4) | BIT(8);
	c->dr_read = c->dr_write = 0xffff; /* until the first use: EXIT_DR */
	/* #DB and #AC can be raised again by their own delivery, for ever: only an exit lets anything else happen. */
	c->exceptions = BIT(1) | BIT(17) | BIT(18);
	c->general1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT | INTERCEPT_RDPMC |
		      INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO |
		      INTERCEPT_MSR | INTERCEPT_SHUTDOWN;
	c->general2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |
		      INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD | INTERCEPT_MONITOR | INTERCEPT_MWAIT |
		      INTERCEPT_XSETBV;
	if (svm_features.pause_filter) {
		c->general1 |= INTERCEPT_PAUSE;
		c->pause_count = 3000;
	}
	c->iopm_pa = port_direct_mfn(hd->io_bitmap).n << PAGE_SHIFT;
	c->msrpm_pa = port_direct_mfn(hd->msr_bitmap).n << PAGE_SHIFT;
	c->vintr = VINTR_MASKING | VINTR_VECTOR; /* 255: the spurious vector of about any kernel */
	c->np_enable = 1;
	c->n_cr3 = v->domain->p2m.root.n << PAGE_SHIFT;
	c->g_pat = 0x0007040600070406ull; /* power-on value */
}

int svm_vcpu_init(struct vcpu *v)
{
	struct svm_vcpu *s = heap_new(struct svm_vcpu);

	if (!s)
		return -ENOMEM;
	v->hvm->vmcb = heap_alloc_pages(0);
	if (!v->hvm->vmcb) {
		heap_free(s, sizeof(*s));
		return -ENOMEM;
	}
	s->tsc_ratio = TSC_RATIO_ONE;
	s->vmcb_pa = port_direct_mfn(v->hvm->vmcb).n << PAGE_SHIFT;
	program_controls(v, v->hvm->vmcb);
	v->hvm->svm = s;
	svm_trap_tsc(v, v->domain->hvm->tsc_emulated);
	return 0;
}

void svm_vcpu_destroy(struct vcpu *v)
{
	struct svm_vcpu *s = v->hvm->svm;

	if (!s)
		return;
	heap_free_pages(v->hvm->vmcb, 0);
	heap_free(s, sizeof(*s));
	v->hvm->svm = NULL;
}

void svm_flush_linear(struct vcpu *v)
{
	tlb_forget_linear(&v->hvm->svm->tlb);
}

void svm_flush_nested(struct vcpu *v)
{
	tlb_forget_nested(&v->hvm->svm->tlb);
}

/* --- state access --- */

void svm_get_segment(struct vcpu *v, enum seg s, struct segment *out)
{
	*out = svm_vmcb(v)->seg[s];
	if (s ==
	    SEG_SS) /* SYSRET sets CPL but not SS.DPL on AMD's CPUs (APM vol. 3, SYSRET): the CPL counts, also in a saved image */
		out->attr = (uint16_t)((out->attr & ~0x60u) | (svm_vmcb(v)->cpl & 3u) << 5);
}

void svm_set_segment(struct vcpu *v, enum seg s, const struct segment *in)
{
	struct vmcb *c = svm_change(v);

	c->seg[s] = *in;
	if (s == SEG_SS)
		c->cpl = in->attr >> 5 & 3;
}

unsigned svm_cpl(struct vcpu *v)
{
	return svm_vmcb(v)->cpl;
}

/* --- entry --- */

static void program_event(struct hvm_vcpu *h, struct vmcb *c)
{
	if (likely(h->inject.vector == EVENT_NONE)) {
		if (likely(!h->nmi_pending))
			return;
		if (h->nmi_masked && !(h->nmi_iret && c->rip != h->nmi_iret_rip))
			return;
		h->nmi_pending = h->nmi_iret = false;
		h->nmi_masked = true;
		c->clean = 0;
		c->general1 |= INTERCEPT_IRET;
		c->event_inj = 2 | 2u << EVENT_TYPE_SHIFT | EVENT_VALID;
		return;
	}
	c->event_inj = h->inject.vector | (uint64_t)h->inject.type << EVENT_TYPE_SHIFT | EVENT_VALID;
	if (h->inject.has_error)
		c->event_inj |= EVENT_HAS_ERROR | (uint64_t)h->inject.error << 32;
	h->inject.vector = EVENT_NONE;
}

/*
 * The vector stays in its field when there is none to offer: should QEMU's TCG take a V_IRQ that is gone (x86/tcg.c), the guest
 * gets what the field says. 0 would be a divide error out of nowhere.
 */
static void offer_interrupt(struct vcpu *v, struct svm_vcpu *s, struct vmcb *c)
{
	uint64_t vintr = VINTR_MASKING | (vlapic_get_tpr(v) >> 4);

	s->offer = offer_find(v);
	offer_make(v, &s->offer);
	if (s->offer.vector != NO_VECTOR)
		vintr |= VINTR_IRQ | VINTR_IGN_TPR | 0xfull << VINTR_PRIO_SHIFT |
			 (uint64_t)s->offer.vector << VINTR_VECTOR_SHIFT;
	else
		vintr |= c->vintr & VINTR_VECTOR;
	if (c->vintr != vintr)
		c->clean &= ~(uint32_t)CLEAN_TPR;
	c->vintr = vintr;
}

static void use_asid(struct svm_vcpu *s, struct vmcb *c)
{
	unsigned cpu = port_cpu();
	struct tlb_flush f = tlb_enter(&asids[cpu], cpu, &s->tlb);

	c->tlb_control = f.all ? TLB_FLUSH_ALL : f.one ? TLB_FLUSH_ASID : 0;
	if (likely(!f.anew))
		return;
	c->clean = 0; /* what the CPU keeps of this VMCB may be as old as may be */
	c->asid = s->tlb.id;
}

void svm_run(struct vcpu *v, struct exit *e)
{
	struct svm_vcpu *s = v->hvm->svm;
	struct vmcb *c = v->hvm->vmcb;

	c->rax = v->regs.rax;
	c->rsp = v->regs.rsp;
	c->rip = v->regs.rip;
	c->rflags = v->regs.rflags;
	use_asid(s, c);
	program_event(v->hvm, c);
	offer_interrupt(v, s, c);

	port_svm_enter(s->vmcb_pa, &v->regs.rax);

	c->clean = svm_features.clean;
	v->regs.rax = c->rax;
	v->regs.rsp = c->rsp;
	v->regs.rip = c->rip;
	v->regs.rflags = c->rflags;
	svm_decode(c, e);
	offer_settle(v, &s->offer, !(c->vintr & VINTR_IRQ), e);
	/* Bochs changes LMA before it finds that the write of CR0.PG exits; VMRUN derives it from LME and PG anyway (APM 15.5.1). */
	if (unlikely(e->kind == EXIT_CR_WRITE)) {
		c->clean = 0;
		c->efer = (c->cr0 & CR0_PG) && (c->efer & EFER_LME) ? c->efer | EFER_LMA : c->efer & ~EFER_LMA;
	}
}

/* --- what the rest of hvm/ changes in the VMCB --- */

void svm_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	svm_change(v)->tsc_offset = offset;
}

/* The ratio is the CPU's own (APM vol. 2, 15.30.5): the next switch to v loads it, also where v ran last. */
void svm_set_tsc_rate(struct vcpu *v, uint64_t rate)
{
	v->hvm->svm->tsc_ratio = rate ? rate : TSC_RATIO_ONE;
	v->hvm->loaded_on = 0;
}

void svm_switch_in(struct vcpu *v)
{
	uint64_t *loaded = &ratio_loaded[port_cpu()], want = v->hvm->svm->tsc_ratio;

	if (likely(*loaded == want))
		return;
	port_wrmsr(MSR_TSC_RATIO, want);
	*loaded = want;
}

void svm_trap_tsc(struct vcpu *v, bool on)
{
	struct vmcb *c = svm_change(v);

	c->general1 = on ? c->general1 | INTERCEPT_RDTSC : c->general1 & ~(uint32_t)INTERCEPT_RDTSC;
	c->general2 = on ? c->general2 | INTERCEPT_RDTSCP : c->general2 & ~(uint32_t)INTERCEPT_RDTSCP;
}

void svm_allow_debug_registers(struct vcpu *v)
{
	struct vmcb *c = svm_change(v);

	c->dr_read = c->dr_write = 0;
}

/* The handler of an NMI is at its IRET: after that the next one may come. */
void svm_window(struct vcpu *v)
{
	svm_change(v)->general1 &= ~(uint32_t)INTERCEPT_IRET;
	v->hvm->nmi_iret = true; /* the exit comes before the IRET: an NMI now would find the handler's stack in use */
	v->hvm->nmi_iret_rip = v->regs.rip;
}

/* Two bits an MSR (read, write) in three ranges of 2 KiB (APM vol. 2, 15.11). */
void svm_msr_pass(uint8_t *bitmap, uint32_t msr, bool writes)
{
	uint32_t range = msr >= 0xc0010000 ? 2 : msr >= 0xc0000000 ? 1 : 0;
	uint32_t bit = range * 2048 * 8 + (msr & 0x1fff) * 2;

	bitmap[bit / 8] &= (uint8_t) ~((writes ? 3u : 1u) << bit % 8);
}

void svm_dump(struct vcpu *v)
{
	const struct vmcb *c = svm_vmcb(v);
	const struct regs *r = &v->regs;

	log_err("  rip %04x:%016lx rflags %lx cpl %u efer %lx", c->seg[SEG_CS].sel, r->rip, r->rflags, c->cpl, c->efer);
	log_err("  cr0 %lx cr2 %lx cr3 %lx cr4 %lx", c->cr0, c->cr2, c->cr3, c->cr4);
	log_err("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", r->rax, r->rbx, r->rcx, r->rdx);
	log_err("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", r->rsi, r->rdi, r->rbp, r->rsp);
	log_err("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", r->r8, r->r9, r->r10, r->r11);
	log_err("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", r->r12, r->r13, r->r14, r->r15);
	log_err("  exit %lx info1 %lx info2 %lx int %lx inj %lx", c->exit_code, c->exit_info1, c->exit_info2,
		c->exit_int_info, c->event_inj);
}
