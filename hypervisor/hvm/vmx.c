/*
 * hvm/vmx.c: Intel VMX (SDM vol. 3, chapters 24 to 31): programs the VMCS with the controls of hvm/vmx_caps.c; hvm/vmx_decode.c
 * decodes its exits. Owns struct vmx_vcpu and which VMCS each CPU has loaded.
 * Locks: none; a VMCS is loaded on the CPU that runs its vCPU, from vmx_switch_in() to vmx_switch_out(), and on no other.
 * Of a vCPU that does not run it is loaded for each single access.
 *
 * Beside the VMCS a vCPU has CR2, DR6 and the MSRs of SYSCALL and SWAPGS: in the CPU while it runs there, in vmx_vcpu else.
 * Only SWAPGS, page faults and, once they are not intercepted any more, moves to DR6 change them without an exit.
 */
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/log.h"
#include "hvm/msr.h"
#include "hvm/offer.h"
#include "hvm/tlb.h"
#include "hvm/vendor.h"
#include "hvm/vmcs.h"
#include "hvm/vmx_caps.h"
#include "hvm/vmx_check.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/machine.h"

#define TSC_MULTIPLIER_ONE BIT(48)
#define CR0_TS		   BIT(3)
#define CR0_NE		   BIT(5)
#define CR0_NW		   BIT(29)
#define CR0_CD		   BIT(30)
#define CR0_PE		   BIT(0)
#define CR0_PG		   BIT(31)
#define CR4_PAE		   BIT(5)
#define CR4_VMXE	   BIT(13)
#define EFER_LMA	   BIT(10)
#define FLAG_IF		   BIT(9)
#define DR6_CAUSE	   0xe00full

#define MSR_STAR	   0xc0000081u
#define MSR_KERNEL_GS_BASE 0xc0000102u

#define ATTR_PRESENT 0x80u
#define ATTR_DPL     0x60u
#define NR_PDPTES    4u
#define LOG_ENTRIES  512u

struct vmx_vcpu {
	void *vmcs;
	uint64_t vmcs_pa;
	struct tlb_vcpu tlb;
	struct offer offer;
	uint32_t primary, entry; /* what the VMCS has in these controls */
	uint32_t cpu;		 /* CPU + 1 whose host state the VMCS has; 0: none */
	bool launched, stale_pdptes;
	uint64_t *log; /* of LOG_ENTRIES addresses, filled from the end; NULL: the CPU has none */
	bool logs;     /* the VMCS has that switched on */
	bool x2apic;   /* the VMCS has the virtual APIC in that mode */
	uint64_t cr2, dr6, kernel_gs_base;
	uint64_t syscall[4]; /* STAR, LSTAR, CSTAR, SFMASK */
};

static struct tlb_cpu vpids[NR_CPUS];
static struct vcpu *loaded[NR_CPUS]; /* whose VMCS; that CPU only */
static uint8_t *x2_bitmap;	     /* of MSRs, while the virtual APIC is in x2APIC mode; read-only once it is made */

/* --- start-up --- */

static uint32_t *new_region(uint64_t *pa)
{
	uint32_t *region = heap_alloc_pages(0);

	if (!region)
		return NULL;
	region[0] = vmx_caps.revision;
	*pa = port_direct_mfn(region).n << PAGE_SHIFT;
	return region;
}

/* Four bitmaps of 1 KiB: reads of low and high MSRs, from MSR_WRITES on writes of them (SDM 24.6.9). */
#define MSR_WRITES 2048u

static void pass(uint8_t *half, uint32_t msr)
{
	uint32_t bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? 8192u : 0u);

	half[bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

void vmx_msr_pass(uint8_t *bitmap, uint32_t msr, bool writes)
{
	pass(bitmap, msr);
	if (writes)
		pass(bitmap + MSR_WRITES, msr);
}

/* What of the MSRs 0x800 to 0x8ff the CPU takes from, or does with, the virtual APIC's page (SDM vol. 3, 30.5). */
static bool make_x2_bitmap(void)
{
	static const uint8_t reads[][2] = {
		{ 0x02, 0x03 }, { 0x0a, 0x0a }, { 0x0d, 0x0d }, { 0x0f, 0x28 }, { 0x32, 0x37 }
	};
	static const uint8_t writes[] = { 0x08, 0x0b, 0x3f }; /* TPR, EOI, SELF IPI */

	x2_bitmap = heap_alloc_pages(0);
	if (!x2_bitmap)
		return false;
	memcpy(x2_bitmap, msr_bitmap(), PAGE_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++)
		pass(x2_bitmap + MSR_WRITES, 0x800u + writes[i]);
	pass(x2_bitmap, 0x808);
	for (unsigned i = 0; vmx_caps.secondary & SECONDARY_REGISTERS && i < ARRAY_SIZE(reads); i++)
		for (unsigned reg = reads[i][0]; reg <= reads[i][1]; reg++)
			pass(x2_bitmap, 0x800 + reg);
	return true;
}

int vmx_cpu_init(unsigned cpu)
{
	uint64_t pa, ept = 0;
	uint32_t *region;

	tlb_cpu_init(&vpids[cpu], BIT(16), false);
	if (!port_rdmsr(MSR_VMX_EPT_VPID, &ept) || ept != vmx_caps.ept) {
		log_err("CPU %u: its VMX is another than the boot CPU's", cpu);
		return -ENODEV;
	}
	if (vmx_caps.secondary & SECONDARY_X2APIC && !x2_bitmap && !make_x2_bitmap())
		return -ENOMEM;
	region = new_region(&pa);
	if (!region)
		return -ENOMEM;
	if (!port_vmx_on(pa)) {
		heap_free_pages(region, 0);
		log_err("CPU %u: VMX is locked off by the firmware (IA32_FEATURE_CONTROL); enable it there", cpu);
		return -ENODEV;
	}
	return 0;
}

/* --- access --- */

static bool is_loaded(const struct vcpu *v)
{
	return loaded[port_cpu()] == v;
}

static bool open(struct vcpu *v)
{
	if (likely(is_loaded(v)))
		return false;
	port_vmptrld(v->hvm->vmx->vmcs_pa);
	return true;
}

/* A VMCS that stays active here could not be loaded elsewhere. */
static void close(struct vcpu *v, bool opened)
{
	struct vcpu *own = loaded[port_cpu()];

	if (likely(!opened))
		return;
	port_vmclear(v->hvm->vmx->vmcs_pa);
	v->hvm->vmx->launched = false;
	if (own)
		port_vmptrld(own->hvm->vmx->vmcs_pa);
}

static uint64_t field_get(struct vcpu *v, uint32_t field)
{
	bool opened = open(v);
	uint64_t value = port_vmread(field);

	close(v, opened);
	return value;
}

static void field_set(struct vcpu *v, uint32_t field, uint64_t value)
{
	bool opened = open(v);

	port_vmwrite(field, value);
	close(v, opened);
}

static enum vmcs_seg vmcs_seg(enum seg s)
{
	switch (s) {
	case SEG_GDTR:
		return VSEG_GDTR;
	case SEG_IDTR:
		return VSEG_IDTR;
	case SEG_LDTR:
		return VSEG_LDTR;
	case SEG_TR:
		return VSEG_TR;
	default:
		return (enum vmcs_seg)s; /* ES to GS: as in the VMCB */
	}
}

/* struct segment has the VMCB's 12 bits of attributes, the VMCS the descriptor's with a hole of 4 (SDM 24.4.1). */
void vmx_get_segment(struct vcpu *v, enum seg s, struct segment *out)
{
	unsigned i = 2 * vmcs_seg(s);
	bool opened = open(v);
	uint32_t rights = 0;

	out->base = port_vmread(VMCS_GUEST_BASE + i);
	out->limit = (uint32_t)port_vmread(VMCS_GUEST_LIMIT + i);
	out->sel = 0;
	if (s != SEG_GDTR && s != SEG_IDTR) {
		out->sel = (uint16_t)port_vmread(VMCS_GUEST_SELECTOR + i);
		rights = (uint32_t)port_vmread(VMCS_GUEST_RIGHTS + i);
	}
	close(v, opened);
	if (rights & VMCS_RIGHTS_UNUSABLE)
		out->attr = rights & ATTR_DPL;
	else
		out->attr = (uint16_t)((rights & 0xff) | (rights >> 4 & 0xf00));
}

void vmx_set_segment(struct vcpu *v, enum seg s, const struct segment *in)
{
	unsigned i = 2 * vmcs_seg(s);
	bool opened = open(v);

	port_vmwrite(VMCS_GUEST_BASE + i, in->base);
	port_vmwrite(VMCS_GUEST_LIMIT + i, in->limit);
	if (s != SEG_GDTR && s != SEG_IDTR) {
		port_vmwrite(VMCS_GUEST_SELECTOR + i, in->sel);
		port_vmwrite(VMCS_GUEST_RIGHTS + i, in->attr & ATTR_PRESENT
							    ? (in->attr & 0xffu) | (in->attr & 0xf00u) << 4
							    : (in->attr & ATTR_DPL) | VMCS_RIGHTS_UNUSABLE);
	}
	close(v, opened);
}

/* SYSRET makes SS.DPL 3 on Intel's CPUs, and an unusable SS has the DPL all the same (SDM 26.3.1.2). */
unsigned vmx_cpl(struct vcpu *v)
{
	return field_get(v, VMCS_GUEST_RIGHTS + 2 * VSEG_SS) >> 5 & 3;
}

static uint64_t cr0_get(struct vcpu *v)
{
	return (field_get(v, VMCS_CR0_SHADOW) & ~(uint64_t)CR0_TS) | (field_get(v, VMCS_GUEST_CR0) & CR0_TS);
}

static uint64_t dr6_get(struct vcpu *v)
{
	return v->hvm->debug_used && is_loaded(v) ? port_dr6_get() : v->hvm->vmx->dr6;
}

static uint64_t msr_get(uint32_t msr)
{
	uint64_t value = 0;

	port_rdmsr(msr, &value);
	return value;
}

uint64_t vmx_get(struct vcpu *v, enum hvm_reg r)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	switch (r) {
	case REG_CR0:
		return cr0_get(v);
	case REG_CR2:
		return is_loaded(v) ? port_cr2_get() : s->cr2;
	case REG_CR3:
		return field_get(v, VMCS_GUEST_CR3);
	case REG_CR4:
		return field_get(v, VMCS_CR4_SHADOW);
	case REG_EFER:
		return field_get(v, VMCS_GUEST_EFER);
	case REG_DR6:
		return dr6_get(v);
	case REG_DR7:
		return field_get(v, VMCS_GUEST_DR7);
	case REG_PAT:
		return field_get(v, VMCS_GUEST_PAT);
	case REG_SHADOW:
		return (field_get(v, VMCS_BLOCKING) & (BLOCKING_STI | BLOCKING_MOVSS)) != 0;
	case REG_SYSENTER_CS:
		return field_get(v, VMCS_GUEST_SYSENTER_CS);
	case REG_SYSENTER_ESP:
		return field_get(v, VMCS_GUEST_SYSENTER_ESP);
	case REG_SYSENTER_EIP:
		return field_get(v, VMCS_GUEST_SYSENTER_EIP);
	case REG_STAR:
	case REG_LSTAR:
	case REG_CSTAR:
	case REG_SFMASK:
		return s->syscall[r - REG_STAR];
	case REG_KERNEL_GS_BASE:
		break;
	}
	return is_loaded(v) ? msr_get(MSR_KERNEL_GS_BASE) : s->kernel_gs_base;
}

/*
 * CR0: the guest owns TS alone, so that CLTS and its like do not exit; NE must be on in VMX operation; CD would switch off
 * the cache of the whole guest, whose memory the hypervisor's own mappings cache.
 */
static void cr0_set(struct vcpu *v, uint64_t value)
{
	field_set(v, VMCS_CR0_SHADOW, value);
	field_set(v, VMCS_GUEST_CR0, (value & ~(uint64_t)(CR0_CD | CR0_NW)) | CR0_NE);
}

static void efer_set(struct vcpu *v, uint64_t value)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	s->entry = value & EFER_LMA ? s->entry | ENTRYC_IA32E : s->entry & ~(uint32_t)ENTRYC_IA32E;
	field_set(v, VMCS_ENTRY, s->entry);
	field_set(v, VMCS_GUEST_EFER, value);
}

static void shadow_set(struct vcpu *v, uint64_t value)
{
	uint64_t blocking = field_get(v, VMCS_BLOCKING), next = blocking & ~(uint64_t)(BLOCKING_STI | BLOCKING_MOVSS);

	next |= value & 1 ? BLOCKING_STI : 0;
	if (unlikely(next != blocking))
		field_set(v, VMCS_BLOCKING, next);
}

void vmx_set(struct vcpu *v, enum hvm_reg r, uint64_t value)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	switch (r) {
	case REG_CR0:
		cr0_set(v, value);
		s->stale_pdptes = true;
		break;
	case REG_CR2:
		s->cr2 = value;
		if (is_loaded(v))
			port_cr2_set(value);
		break;
	case REG_CR3:
		field_set(v, VMCS_GUEST_CR3, value);
		s->stale_pdptes = true;
		break;
	case REG_CR4:
		field_set(v, VMCS_CR4_SHADOW, value);
		field_set(v, VMCS_GUEST_CR4, value | CR4_VMXE);
		s->stale_pdptes = true;
		break;
	case REG_EFER:
		efer_set(v, value);
		break;
	case REG_DR6:
		s->dr6 = value;
		if (v->hvm->debug_used && is_loaded(v))
			port_dr6_set(value);
		break;
	case REG_DR7:
		field_set(v, VMCS_GUEST_DR7, value);
		break;
	case REG_PAT:
		field_set(v, VMCS_GUEST_PAT, value);
		break;
	case REG_SHADOW:
		shadow_set(v, value);
		break;
	case REG_SYSENTER_CS:
		field_set(v, VMCS_GUEST_SYSENTER_CS, value);
		break;
	case REG_SYSENTER_ESP:
		field_set(v, VMCS_GUEST_SYSENTER_ESP, value);
		break;
	case REG_SYSENTER_EIP:
		field_set(v, VMCS_GUEST_SYSENTER_EIP, value);
		break;
	case REG_STAR:
	case REG_LSTAR:
	case REG_CSTAR:
	case REG_SFMASK:
		s->syscall[r - REG_STAR] = value;
		if (is_loaded(v))
			port_wrmsr(MSR_STAR + (r - REG_STAR), value);
		break;
	case REG_KERNEL_GS_BASE:
		s->kernel_gs_base = value;
		if (is_loaded(v))
			port_wrmsr(MSR_KERNEL_GS_BASE, value);
		break;
	}
}

/* --- life --- */

static uint64_t eptp(struct vcpu *v)
{
	return v->domain->p2m.root.n << PAGE_SHIFT | EPTP_WALK4 | EPTP_WB | (vendor_dirty_flags ? EPTP_FLAGS : 0);
}

/* What of it a vCPU has on only at times. */
static uint32_t secondary(const struct vmx_vcpu *s)
{
	return vmx_caps.secondary & ~(uint32_t)((s->x2apic ? 0 : SECONDARY_X2APIC) | (s->logs ? 0 : SECONDARY_LOG));
}

static void program_apic(struct vcpu *v)
{
	uint64_t page = port_direct_mfn(v->hvm->lapic.page).n << PAGE_SHIFT;

	port_vmwrite(VMCS_VIRTUAL_APIC, page);
	port_vmwrite(VMCS_TPR_THRESHOLD, 0);
	port_vmwrite(VMCS_INTERRUPT_STATUS, 0);
	for (unsigned i = 0; i < 4; i++)
		port_vmwrite(VMCS_EOI_EXITS + 2 * i, 0);
	if (!vendor_apic_posted)
		return;
	port_vmwrite(VMCS_NOTIFY_VECTOR, port_vmx_notify_vector());
	port_vmwrite(VMCS_POSTED, page + VLAPIC_POSTED);
}

static void program_controls(struct vcpu *v, struct vmx_vcpu *s)
{
	const struct hvm_domain *hd = v->domain->hvm;
	uint64_t io = port_direct_mfn(hd->io_bitmap).n << PAGE_SHIFT;

	s->primary = vmx_caps.primary;
	s->entry = vmx_caps.entry;
	port_vmwrite(VMCS_PIN, vmx_caps.pin);
	port_vmwrite(VMCS_PRIMARY, s->primary);
	port_vmwrite(VMCS_SECONDARY, secondary(s));
	port_vmwrite(VMCS_EXIT, vmx_caps.exit);
	port_vmwrite(VMCS_ENTRY, s->entry);
	/* #DB and #AC can be raised again by their own delivery, for ever: only an exit lets anything else happen. */
	port_vmwrite(VMCS_EXCEPTIONS, BIT(1) | BIT(17) | BIT(18));
	port_vmwrite(VMCS_PF_MASK, 0);
	port_vmwrite(VMCS_PF_MATCH, 0);
	port_vmwrite(VMCS_CR3_TARGETS, 0);
	port_vmwrite(VMCS_EXIT_STORES, 0);
	port_vmwrite(VMCS_EXIT_LOADS, 0);
	port_vmwrite(VMCS_ENTRY_LOADS, 0);
	port_vmwrite(VMCS_ENTRY_EVENT, 0);
	port_vmwrite(VMCS_IO_BITMAP_A, io);
	port_vmwrite(VMCS_IO_BITMAP_B, io + PAGE_SIZE);
	port_vmwrite(VMCS_MSR_BITMAP, port_direct_mfn(hd->msr_bitmap).n << PAGE_SHIFT);
	port_vmwrite(VMCS_EPTP, eptp(v));
	port_vmwrite(VMCS_TSC_OFFSET, 0);
	port_vmwrite(VMCS_CR0_MASK, ~(uint64_t)CR0_TS);
	port_vmwrite(VMCS_CR4_MASK, ~0ull);
	port_vmwrite(VMCS_LINK, ~0ull);
	port_vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	port_vmwrite(VMCS_GUEST_PAT, 0x0007040600070406ull); /* power-on value */
	port_vmwrite(VMCS_ACTIVITY, 0);
	port_vmwrite(VMCS_BLOCKING, 0);
	port_vmwrite(VMCS_PENDING_DEBUG, 0);
	if (vmx_caps.secondary & SECONDARY_XSAVES)
		port_vmwrite(VMCS_XSS_EXITING, 0); /* IA32_XSS is always 0 */
	if (vmx_caps.secondary & SECONDARY_TSC_SCALING)
		port_vmwrite(VMCS_TSC_MULTIPLIER, TSC_MULTIPLIER_ONE);
	if (vendor_apic_delivers)
		program_apic(v);
	if (s->log) {
		port_vmwrite(VMCS_LOG, port_direct_mfn(s->log).n << PAGE_SHIFT);
		port_vmwrite(VMCS_LOG_INDEX, LOG_ENTRIES - 1);
	}
	if (vmx_caps.secondary & SECONDARY_PLE) {
		port_vmwrite(VMCS_PLE_GAP, 128);
		port_vmwrite(VMCS_PLE_WINDOW, 4096);
	}
}

int vmx_vcpu_init(struct vcpu *v)
{
	struct vmx_vcpu *s = heap_new(struct vmx_vcpu);
	bool opened;

	if (!s)
		return -ENOMEM;
	v->hvm->vmx = s;
	s->vmcs = new_region(&s->vmcs_pa);
	if (vendor_logs_writes)
		s->log = heap_alloc_pages(0);
	if (!s->vmcs || (vendor_logs_writes && !s->log)) {
		vmx_vcpu_destroy(v);
		return -ENOMEM;
	}
	s->offer.vector = NO_VECTOR;
	s->cpu = 0;
	port_vmclear(s->vmcs_pa);
	opened = open(v);
	program_controls(v, s);
	close(v, opened);
	vmx_trap_tsc(v, v->domain->hvm->tsc_emulated);
	return 0;
}

void vmx_vcpu_destroy(struct vcpu *v)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	if (!s)
		return;
	if (s->vmcs)
		heap_free_pages(s->vmcs, 0);
	if (s->log)
		heap_free_pages(s->log, 0);
	heap_free(s, sizeof(*s));
	v->hvm->vmx = NULL;
}

void vmx_flush_linear(struct vcpu *v)
{
	tlb_forget_linear(&v->hvm->vmx->tlb);
}

void vmx_flush_nested(struct vcpu *v)
{
	tlb_forget_nested(&v->hvm->vmx->tlb);
}

void vmx_switch_in(struct vcpu *v, bool held)
{
	struct vmx_vcpu *s = v->hvm->vmx;
	unsigned cpu = port_cpu();

	port_vmptrld(s->vmcs_pa);
	loaded[cpu] = v;
	if (s->cpu != cpu + 1) {
		port_vmx_host_state();
		s->cpu = cpu + 1;
	}
	if (held)
		return;
	port_cr2_set(s->cr2);
	if (v->hvm->debug_used)
		port_dr6_set(s->dr6);
	for (unsigned i = 0; i < ARRAY_SIZE(s->syscall); i++)
		port_wrmsr(MSR_STAR + i, s->syscall[i]);
	port_wrmsr(MSR_KERNEL_GS_BASE, s->kernel_gs_base);
}

void vmx_switch_out(struct vcpu *v)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	s->cr2 = port_cr2_get();
	if (v->hvm->debug_used)
		s->dr6 = port_dr6_get();
	s->kernel_gs_base = msr_get(MSR_KERNEL_GS_BASE);
	port_vmclear(s->vmcs_pa);
	s->launched = false;
	loaded[port_cpu()] = NULL;
}

/* --- entry --- */

static void want_windows(struct vmx_vcpu *s, uint32_t windows)
{
	uint32_t primary = (s->primary & ~(uint32_t)(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW)) | windows;

	if (likely(primary == s->primary))
		return;
	s->primary = primary;
	port_vmwrite(VMCS_PRIMARY, primary);
}

static void inject(uint64_t vector, uint64_t type, bool has_error, uint32_t error)
{
	port_vmwrite(VMCS_ENTRY_EVENT,
		     vector | type << EVENT_TYPE_SHIFT | EVENT_VALID | (has_error ? EVENT_HAS_ERROR : 0));
	if (has_error)
		port_vmwrite(VMCS_ENTRY_ERROR, error);
}

/* The exception or event that handlers want injected, or an NMI. False: none of them. */
static bool inject_event(struct vcpu *v, uint32_t *windows)
{
	struct hvm_vcpu *h = v->hvm;

	if (unlikely(h->inject.vector != EVENT_NONE)) {
		/* In real mode exceptions push no error code (SDM 26.2.1.3). */
		inject(h->inject.vector, h->inject.type, h->inject.has_error && (cr0_get(v) & CR0_PE),
		       h->inject.error & 0xffff);
		h->inject.vector = EVENT_NONE;
		if (h->nmi_pending)
			*windows |= PRIMARY_NMI_WINDOW;
		return true;
	}
	if (likely(!h->nmi_pending))
		return false;
	if (port_vmread(VMCS_BLOCKING) & (BLOCKING_NMI | BLOCKING_MOVSS | BLOCKING_STI)) {
		*windows |= PRIMARY_NMI_WINDOW;
		return false;
	}
	h->nmi_pending = false;
	inject(2, 2, false, 0);
	return true;
}

static void offer_interrupt(struct vcpu *v, struct vmx_vcpu *s)
{
	uint32_t windows = 0;
	bool busy = inject_event(v, &windows);

	s->offer = offer_find(v);
	if (s->offer.vector != NO_VECTOR) {
		if (busy || !(v->regs.rflags & FLAG_IF) ||
		    (port_vmread(VMCS_BLOCKING) & (BLOCKING_STI | BLOCKING_MOVSS))) {
			windows |= PRIMARY_INTERRUPT_WINDOW;
			s->offer.vector = NO_VECTOR;
		} else {
			offer_make(v, &s->offer);
			inject((uint64_t)s->offer.vector, 0, false, 0);
		}
	}
	want_windows(s, windows);
}

static void flush(struct vcpu *v, struct vmx_vcpu *s)
{
	unsigned cpu = port_cpu();
	struct tlb_flush f = tlb_enter(&vpids[cpu], cpu, &s->tlb);

	if (unlikely(f.nested))
		port_invept(vmx_caps.ept & EPT_CAP_INVEPT_ONE ? 1 : 2, eptp(v));
	if (!(vmx_caps.secondary & SECONDARY_VPID))
		return; /* each entry and exit flushes all that is not nested */
	if (unlikely(f.all))
		port_invvpid(2, 0);
	port_vmwrite(VMCS_VPID, s->tlb.id);
}

/* What changed in the virtual APIC since the last stay, or comes with the next one. */
static void virtual_apic(struct vcpu *v, struct vmx_vcpu *s)
{
	uint64_t levels[4];
	uint16_t status;
	bool x2 = vmx_caps.secondary & SECONDARY_X2APIC && vlapic_x2apic(v);

	if (vlapic_status(v, &status))
		port_vmwrite(VMCS_INTERRUPT_STATUS, status);
	if (unlikely(vlapic_levels(v, levels)))
		for (unsigned i = 0; i < 4; i++)
			port_vmwrite(VMCS_EOI_EXITS + 2 * i, levels[i]);
	if (likely(s->x2apic == x2))
		return;
	s->x2apic = x2;
	port_vmwrite(VMCS_SECONDARY, secondary(s));
	port_vmwrite(VMCS_MSR_BITMAP, port_direct_mfn(x2 ? x2_bitmap : v->domain->hvm->msr_bitmap).n << PAGE_SHIFT);
}

/* Log-dirty begins or ends for v. */
static void switch_log(struct vmx_vcpu *s, bool on)
{
	s->logs = on;
	port_vmwrite(VMCS_SECONDARY, secondary(s));
}

/* The index is that of the next entry, and 0xffff when none is left. */
static void empty_log(struct vcpu *v, struct vmx_vcpu *s)
{
	unsigned first = (uint16_t)(port_vmread(VMCS_LOG_INDEX) + 1);

	if (first >= LOG_ENTRIES)
		return;
	logdirty_logged(v->domain, s->log + first, LOG_ENTRIES - first);
	port_vmwrite(VMCS_LOG_INDEX, LOG_ENTRIES - 1);
}

/* The stay ends when this CPU's timer is due, without an interrupt. */
static void limit_stay(void)
{
	uint64_t ticks = port_timer_left();

	if (ticks)
		ticks = MIN(ticks >> vmx_caps.timer_shift, 0xfffffffeull) + 1; /* late by a step at most */
	port_vmwrite(VMCS_TIMER, ticks);
}

/* PAE paging takes its four top entries out of the VMCS; a guest that switches it on by an exit expects them loaded. */
static void load_pdptes(struct vcpu *v, struct vmx_vcpu *s)
{
	uint64_t entry[NR_PDPTES] = { 0 };

	s->stale_pdptes = false;
	if (!(cr0_get(v) & CR0_PG) || !(vmx_get(v, REG_CR4) & CR4_PAE) || (vmx_get(v, REG_EFER) & EFER_LMA))
		return;
	if (guestmem_read_gpa(v->domain, entry, port_vmread(VMCS_GUEST_CR3) & 0xffffffe0u, sizeof(entry)))
		log_guest(LOG_WARN, v->domain->id, "its PAE page table is not in its memory");
	for (unsigned i = 0; i < NR_PDPTES; i++)
		port_vmwrite(VMCS_GUEST_PDPTE + 2 * i, entry[i]);
}

static void read_report(struct vmx_report *r, uint64_t rip)
{
	r->reason = (uint32_t)port_vmread(VMCS_REASON);
	r->idt_event = (uint32_t)port_vmread(VMCS_IDT_EVENT);
	r->idt_error = r->idt_event & EVENT_HAS_ERROR ? (uint32_t)port_vmread(VMCS_IDT_ERROR) : 0;
	r->length = (uint32_t)port_vmread(VMCS_LENGTH);
	r->rip = rip;
	switch (r->reason) {
	case VMX_EXCEPTION:
	case VMX_INTERRUPT:
		r->event = (uint32_t)port_vmread(VMCS_EXIT_EVENT);
		r->error = r->event & EVENT_HAS_ERROR ? (uint32_t)port_vmread(VMCS_EXIT_ERROR) : 0;
		break;
	case VMX_EPT_VIOLATION:
		r->gpa = port_vmread(VMCS_GPA);
		r->linear = port_vmread(VMCS_LINEAR);
		break;
	case VMX_IO:
		r->instruction = (uint32_t)port_vmread(VMCS_INSTRUCTION);
		break;
	}
	r->qualification = port_vmread(VMCS_QUALIFICATION);
}

/* What the CPU leaves to us at an exit: an NMI that came, the cause of a #DB, NMIs that an IRET with a fault let in. */
static void settle_exit(struct vcpu *v, const struct vmx_report *r, const struct exit *e)
{
	bool iret_faulted =
		(r->reason == VMX_EXCEPTION && (r->event & BIT(12)) && (uint8_t)r->event != 8) ||
		((r->reason == VMX_EPT_VIOLATION || r->reason == VMX_LOG_FULL) && (r->qualification & BIT(12)));

	if (r->reason == VMX_EXCEPTION && (r->event >> EVENT_TYPE_SHIFT & 7) == 2)
		port_nmi();
	if (e->kind == EXIT_EXCEPTION && e->vector == 1)
		vmx_set(v, REG_DR6, (dr6_get(v) & ~0xfull) | (r->qualification & DR6_CAUSE));
	if (unlikely(iret_faulted) && !(r->idt_event & EVENT_VALID))
		port_vmwrite(VMCS_BLOCKING, port_vmread(VMCS_BLOCKING) | BLOCKING_NMI);
	/* An NMI whose delivery was interrupted comes again (but not from a task gate): it must not find itself blocked. */
	if (unlikely((r->idt_event & EVENT_VALID) && e->kind != EXIT_TASK &&
		     (r->idt_event >> EVENT_TYPE_SHIFT & 7) == 2))
		port_vmwrite(VMCS_BLOCKING, port_vmread(VMCS_BLOCKING) & ~(uint64_t)BLOCKING_NMI);
}

static void read_state(struct vcpu *v, struct vmx_state *s)
{
	uint32_t r[4];

	port_cpuid(0x80000008, 0, r);
	*s = (struct vmx_state){
		.cr0 = port_vmread(VMCS_GUEST_CR0),
		.cr3 = port_vmread(VMCS_GUEST_CR3),
		.cr4 = port_vmread(VMCS_GUEST_CR4),
		.efer = port_vmread(VMCS_GUEST_EFER),
		.rflags = port_vmread(VMCS_GUEST_RFLAGS),
		.rip = port_vmread(VMCS_GUEST_RIP),
		.dr7 = port_vmread(VMCS_GUEST_DR7),
		.debugctl = port_vmread(VMCS_GUEST_DEBUGCTL),
		.pat = port_vmread(VMCS_GUEST_PAT),
		.link = port_vmread(VMCS_LINK),
		.sysenter_esp = port_vmread(VMCS_GUEST_SYSENTER_ESP),
		.sysenter_eip = port_vmread(VMCS_GUEST_SYSENTER_EIP),
		.pending_debug = port_vmread(VMCS_PENDING_DEBUG),
		.entry = v->hvm->vmx->entry,
		.secondary = vmx_caps.secondary,
		.event = (uint32_t)port_vmread(VMCS_ENTRY_EVENT),
		.blocking = (uint32_t)port_vmread(VMCS_BLOCKING),
		.activity = (uint32_t)port_vmread(VMCS_ACTIVITY),
		.address_bits = r[0] & 0xff,
	};
	for (unsigned i = 0; i < NR_PDPTES; i++)
		s->pdpte[i] = port_vmread(VMCS_GUEST_PDPTE + 2 * i);
	for (enum seg g = SEG_ES; g < SEG_COUNT; g++) {
		vmx_get_segment(v, g, &s->seg[g]);
		if (g != SEG_GDTR && g != SEG_IDTR)
			s->rights[g] = (uint32_t)port_vmread(VMCS_GUEST_RIGHTS + 2 * vmcs_seg(g));
	}
}

static void read_controls(struct vmx_controls *c)
{
	static const uint16_t fields[WORD_COUNT] = { VMCS_PIN, VMCS_PRIMARY, VMCS_SECONDARY, VMCS_EXIT, VMCS_ENTRY };
	uint64_t basic = 0;
	uint32_t r[4];

	port_cpuid(0x80000008, 0, r);
	port_rdmsr(MSR_VMX_BASIC, &basic);
	*c = (struct vmx_controls){
		.io_bitmap = { port_vmread(VMCS_IO_BITMAP_A), port_vmread(VMCS_IO_BITMAP_B) },
		.msr_bitmap = port_vmread(VMCS_MSR_BITMAP),
		.eptp = port_vmread(VMCS_EPTP),
		.ept_caps = vmx_caps.ept,
		.cr3_targets = (uint32_t)port_vmread(VMCS_CR3_TARGETS),
		.event = (uint32_t)port_vmread(VMCS_ENTRY_EVENT),
		.address_bits = r[0] & 0xff,
	};
	for (unsigned i = 0; i < WORD_COUNT; i++) {
		c->word[i] = (uint32_t)port_vmread(fields[i]);
		port_rdmsr(vmx_caps_msr((enum vmx_word)i, basic), &c->allowed[i]);
	}
	/* The rest is there only where the CPU has what it is for. */
	if (vmx_caps.secondary & SECONDARY_VPID)
		c->vpid = (uint32_t)port_vmread(VMCS_VPID);
	if (vendor_logs_writes)
		c->log = port_vmread(VMCS_LOG);
	if (vendor_apic_delivers) {
		c->virtual_apic = port_vmread(VMCS_VIRTUAL_APIC);
		c->tpr_threshold = (uint32_t)port_vmread(VMCS_TPR_THRESHOLD);
	}
	if (vendor_apic_posted) {
		c->posted = port_vmread(VMCS_POSTED);
		c->notify_vector = (uint32_t)port_vmread(VMCS_NOTIFY_VECTOR);
	}
}

/* The CPU did not enter: says why. error: the VM-instruction error, 0: it was the guest's state. */
static void explain(struct vcpu *v, uint64_t error)
{
	struct vmx_controls c;
	struct vmx_state s;
	uint64_t value = 0;
	const char *why = NULL;

	if (error == VMX_ERROR_CONTROLS) {
		read_controls(&c);
		why = vmx_check_controls(&c, &value);
	}
	if (error) {
		log_err("d%uv%u: VM entry refused: %s: %lx (error %lu)", v->domain->id, v->id,
			why ? why : vmx_instruction_error(error), value, error);
		return;
	}
	read_state(v, &s);
	why = vmx_check(&s, &value);
	log_err("d%uv%u: VM entry refused: %s: %lx (exit reason %lx, qualification %lx)", v->domain->id, v->id,
		why ? why : "no check that is known here fails", value, port_vmread(VMCS_REASON),
		port_vmread(VMCS_QUALIFICATION));
}

void vmx_run(struct vcpu *v, struct exit *e)
{
	struct vmx_vcpu *s = v->hvm->vmx;
	struct vmx_report r = { 0 };
	bool entered;

	port_vmwrite(VMCS_GUEST_RSP, v->regs.rsp);
	port_vmwrite(VMCS_GUEST_RIP, v->regs.rip);
	port_vmwrite(VMCS_GUEST_RFLAGS, v->regs.rflags);
	if (unlikely(s->stale_pdptes))
		load_pdptes(v, s);
	flush(v, s);
	if (vendor_apic_delivers)
		virtual_apic(v, s);
	if (unlikely(s->logs != (s->log && logdirty_by_cpu(&v->domain->p2m))))
		switch_log(s, !s->logs);
	offer_interrupt(v, s);
	if (vmx_caps.pin & PIN_TIMER)
		limit_stay();

	entered = port_vmx_enter(&v->regs.rax, s->launched);
	s->launched = s->launched || entered;

	if (unlikely(!entered)) {
		*e = (struct exit){ .kind = EXIT_INVALID, .reason = port_vmread(VMCS_INSTRUCTION_ERROR) };
		explain(v, e->reason);
		offer_settle(v, &s->offer, false, e);
		return;
	}
	v->regs.rsp = port_vmread(VMCS_GUEST_RSP);
	v->regs.rip = port_vmread(VMCS_GUEST_RIP);
	v->regs.rflags = port_vmread(VMCS_GUEST_RFLAGS);
	if (unlikely(s->logs))
		empty_log(v, s);
	read_report(&r, v->regs.rip);
	vmx_decode(&r, e);
	if (unlikely(e->kind == EXIT_INVALID))
		explain(v, 0);
	settle_exit(v, &r, e);
	offer_settle(v, &s->offer, e->kind != EXIT_INVALID, e);
	if (r.reason == VMX_INTERRUPT && r.event & EVENT_VALID) /* the CPU acknowledged it (EXITC_ACK) */
		port_vmx_interrupt((uint8_t)r.event);
}

/* --- what the rest of hvm/ changes in the VMCS --- */

void vmx_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	field_set(v, VMCS_TSC_OFFSET, offset);
}

void vmx_set_tsc_rate(struct vcpu *v, uint64_t rate)
{
	if (vmx_caps.secondary & SECONDARY_TSC_SCALING)
		field_set(v, VMCS_TSC_MULTIPLIER, rate ? rate << 16 : TSC_MULTIPLIER_ONE);
}

static void primary_change(struct vcpu *v, uint32_t bit, bool on)
{
	struct vmx_vcpu *s = v->hvm->vmx;

	s->primary = on ? s->primary | bit : s->primary & ~bit;
	field_set(v, VMCS_PRIMARY, s->primary);
}

void vmx_trap_tsc(struct vcpu *v, bool on)
{
	primary_change(v, PRIMARY_RDTSC, on);
}

void vmx_allow_debug_registers(struct vcpu *v)
{
	if (is_loaded(v))
		port_dr6_set(v->hvm->vmx->dr6);
	primary_change(v, PRIMARY_MOV_DR, false);
}

/* The entry that follows injects what waited. */
void vmx_window(struct vcpu *v)
{
}

void vmx_dump(struct vcpu *v)
{
	const struct regs *r = &v->regs;
	bool opened = open(v);

	log_err("  rip %04lx:%016lx rflags %lx cpl %u efer %lx", port_vmread(VMCS_GUEST_SELECTOR + 2 * VSEG_CS), r->rip,
		r->rflags, vmx_cpl(v), port_vmread(VMCS_GUEST_EFER));
	log_err("  cr0 %lx cr3 %lx cr4 %lx", port_vmread(VMCS_GUEST_CR0), port_vmread(VMCS_GUEST_CR3),
		port_vmread(VMCS_GUEST_CR4));
	log_err("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", r->rax, r->rbx, r->rcx, r->rdx);
	log_err("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", r->rsi, r->rdi, r->rbp, r->rsp);
	log_err("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", r->r8, r->r9, r->r10, r->r11);
	log_err("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", r->r12, r->r13, r->r14, r->r15);
	log_err("  exit %lx qualification %lx event %lx during %lx, injected %lx", port_vmread(VMCS_REASON),
		port_vmread(VMCS_QUALIFICATION), port_vmread(VMCS_EXIT_EVENT), port_vmread(VMCS_IDT_EVENT),
		port_vmread(VMCS_ENTRY_EVENT));
	close(v, opened);
}
