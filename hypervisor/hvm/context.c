/*
 * A domain's machine state as save records. Source: xen/hvm/save.h and xen/arch-x86/hvm/save.h; what they
 * leave open (which records there are, their order by type, the END record) is as the tool stack's
 * libraries expect it.
 *
 * Owns nothing. Locks: none; the domain is paused, so nobody else touches its vCPUs.
 * Invariants: context_load() reads the whole stream twice: once checking everything, once committing, which
 * cannot fail. Segment attributes are in the VMCB's 12-bit form, in the records as in struct segment.
 */
#include "hvm/context.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "hvm/hvm.h"
#include "hvm/spec.h"
#include "hvm/tsc.h"
#include "hvm/vendor.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/guest.h"
#include "port/machine.h"

typedef struct hvm_save_descriptor descriptor_t;

#define FXSAVE_BYTES  512u
#define XSAVE_HEADER  (offsetof(struct hvm_hw_cpu_xsave, save_area))
#define XSAVE_MINIMUM 576u
#define XCR0_X87      BIT(0)
#define XCR0_SSE      BIT(1)

#define CR0_PE	 BIT(0)
#define CR0_NW	 BIT(29)
#define CR0_CD	 BIT(30)
#define CR0_PG	 BIT(31)
#define CR4_PAE	 BIT(5)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_OK	 (BIT(0) | EFER_LME | EFER_LMA | BIT(11) | BIT(13) | BIT(14))

#define MSRS_HEADER offsetof(struct hvm_msr, msr)

#define BASE_BSP    BIT(8)
#define BASE_X2	    BIT(10)
#define BASE_ENABLE BIT(11)

static const uint8_t saved_types[] = { HVM_SAVE_CODE(HEADER), HVM_SAVE_CODE(CPU),	 HVM_SAVE_CODE(IOAPIC),
				       HVM_SAVE_CODE(LAPIC),  HVM_SAVE_CODE(LAPIC_REGS), HVM_SAVE_CODE(MTRR),
				       CPU_XSAVE_CODE,	      HVM_SAVE_CODE(TSC_ADJUST), CPU_MSR_CODE };

/* --- sizes --- */

/* Bytes of the standard-format XSAVE image for the components of xcr0 (SDM vol. 1, 13.4.3); never over the FPU page. */
static uint32_t xsave_bytes(uint64_t xcr0)
{
	uint32_t bytes = XSAVE_MINIMUM, r[4];

	for (uint64_t rest = xcr0 & ~(XCR0_X87 | XCR0_SSE); rest; rest &= rest - 1) {
		port_cpuid(0xd, lib_ffs64(rest), r);
		bytes = MAX(bytes, r[0] + r[1]);
	}
	return MIN(bytes, (uint32_t)PAGE_SIZE);
}

/* Payload bytes of one record, -ENOENT when the domain has none of it. */
static int record_size(struct domain *d, unsigned type, unsigned instance)
{
	struct vcpu *v = domain_vcpu(d, instance);

	switch (type) {
	case HVM_SAVE_CODE(HEADER):
		return instance ? -ENOENT : (int)HVM_SAVE_LENGTH(HEADER);
	case HVM_SAVE_CODE(IOAPIC):
		return instance || !d->hvm->ioapic.nr_pins ? -ENOENT : (int)HVM_SAVE_LENGTH(IOAPIC);
	default:
		break;
	}
	if (!v)
		return -ENOENT;
	switch (type) {
	case HVM_SAVE_CODE(CPU):
		return v->sched.up ? (int)HVM_SAVE_LENGTH(CPU) : -ENOENT;
	case HVM_SAVE_CODE(LAPIC):
		return HVM_SAVE_LENGTH(LAPIC);
	case HVM_SAVE_CODE(LAPIC_REGS):
		return HVM_SAVE_LENGTH(LAPIC_REGS);
	case HVM_SAVE_CODE(MTRR):
		return HVM_SAVE_LENGTH(MTRR);
	case HVM_SAVE_CODE(TSC_ADJUST):
		return HVM_SAVE_LENGTH(TSC_ADJUST);
	case CPU_XSAVE_CODE:
		if (!v->sched.up || !port_host_xcr0() || !(v->hvm->xcr0 & ~XCR0_X87))
			return -ENOENT;
		return (int)(XSAVE_HEADER + xsave_bytes(v->hvm->xcr0));
	case CPU_MSR_CODE:
		return v->hvm->spec_ctrl ? (int)(MSRS_HEADER + sizeof(struct hvm_one_msr)) : -ENOENT;
	default:
		return -ENOENT;
	}
}

/* --- saving --- */

static void save_header(struct hvm_save_header *h, struct domain *d)
{
	uint32_t r[4];

	port_cpuid(1, 0, r);
	h->magic = HVM_FILE_MAGIC;
	h->version = HVM_FILE_VERSION;
	h->changeset = ~0ull;
	h->cpuid = r[0];
	h->gtsc_khz = d->tsc_khz ? d->tsc_khz : (uint32_t)port_tsc_khz();
}

#define FOR_SEGMENTS(X) X(cs, CS) X(ds, DS) X(es, ES) X(fs, FS) X(gs, GS) X(ss, SS) X(tr, TR) X(ldtr, LDTR)

static void save_segments(struct vcpu *v, struct hvm_hw_cpu *c)
{
	struct segment s;

#define SAVE(name, number)                                                                                             \
	hvm_get_segment(v, SEG_##number, &s);                                                                          \
	c->name##_sel = s.sel;                                                                                         \
	c->name##_limit = s.limit;                                                                                     \
	c->name##_base = s.base;                                                                                       \
	c->name##_arbytes = s.attr;
	FOR_SEGMENTS(SAVE)
#undef SAVE
	hvm_get_segment(v, SEG_IDTR, &s);
	c->idtr_limit = s.limit;
	c->idtr_base = s.base;
	hvm_get_segment(v, SEG_GDTR, &s);
	c->gdtr_limit = s.limit;
	c->gdtr_base = s.base;
}

static void load_segments(struct vcpu *v, const struct hvm_hw_cpu *c)
{
	struct segment s;

#define LOAD(name, number)                                                                                             \
	s = (struct segment){ (uint16_t)c->name##_sel, (uint16_t)(c->name##_arbytes & 0xfff), c->name##_limit,         \
			      c->name##_base };                                                                        \
	hvm_set_segment(v, SEG_##number, &s);
	FOR_SEGMENTS(LOAD)
#undef LOAD
	s = (struct segment){ 0, 0, c->idtr_limit, c->idtr_base };
	hvm_set_segment(v, SEG_IDTR, &s);
	s = (struct segment){ 0, 0, c->gdtr_limit, c->gdtr_base };
	hvm_set_segment(v, SEG_GDTR, &s);
}

#define FOR_GPRS(X)                                                                                                    \
	X(rax)                                                                                                         \
	X(rbx)                                                                                                         \
	X(rcx) X(rdx) X(rbp) X(rsi) X(rdi) X(rsp) X(r8) X(r9) X(r10) X(r11) X(r12) X(r13) X(r14) X(r15) X(rip) X(rflags)

#define FOR_MSRS(X)                                                                                                    \
	X(sysenter_cs, REG_SYSENTER_CS)                                                                                \
	X(sysenter_esp, REG_SYSENTER_ESP)                                                                              \
	X(sysenter_eip, REG_SYSENTER_EIP)                                                                              \
	X(shadow_gs, REG_KERNEL_GS_BASE)                                                                               \
	X(msr_lstar, REG_LSTAR)                                                                                        \
	X(msr_star, REG_STAR)                                                                                          \
	X(msr_cstar, REG_CSTAR) X(msr_syscall_mask, REG_SFMASK) X(dr6, REG_DR6) X(dr7, REG_DR7)

static void save_cpu(struct hvm_hw_cpu *c, struct vcpu *v)
{
	struct hvm_vcpu *h = v->hvm;

	memset(c, 0, sizeof(*c));
	memcpy(c->fpu_regs, h->fpu, FXSAVE_BYTES);
	c->flags = XEN_X86_FPU_INITIALISED;
#define SAVE(r) c->r = v->regs.r;
	FOR_GPRS(SAVE)
#undef SAVE
#define SAVE(field, reg) c->field = vendor_get(v, reg);
	FOR_MSRS(SAVE)
#undef SAVE
	c->cr0 = hvm_get_cr(v, 0);
	c->cr2 = hvm_get_cr(v, 2);
	c->cr3 = hvm_get_cr(v, 3);
	c->cr4 = hvm_get_cr(v, 4);
	c->dr0 = h->dr[0];
	c->dr1 = h->dr[1];
	c->dr2 = h->dr[2];
	c->dr3 = h->dr[3];
	c->msr_efer = hvm_get_efer(v);
	c->msr_tsc_aux = h->msr_tsc_aux;
	c->tsc = guest_tsc(v, port_tsc());
	save_segments(v, c);
	if (h->inject.vector != EVENT_NONE) {
		c->pending_vector = h->inject.vector;
		c->pending_type = h->inject.type;
		c->pending_error_valid = h->inject.has_error;
		c->pending_valid = 1;
		c->error_code = h->inject.error;
	}
}

static void save_lapic(struct hvm_hw_lapic *l, struct vcpu *v)
{
	const struct vlapic *a = &v->hvm->lapic;
	unsigned code = (a->timer_divide & 3) | ((a->timer_divide >> 1) & 4);

	l->apic_base_msr = a->base_msr;
	l->disabled = (a->base_msr & BASE_ENABLE ? 0 : 1u) |
		      (vlapic_software_enabled(a) ? 0 : 2u); /* by hardware, by software */
	l->timer_divisor = 1u << ((code + 1) & 7);
	l->tdt_msr = a->tsc_deadline;
}

static void save_mtrr(struct hvm_hw_mtrr *m, struct vcpu *v)
{
	const struct hvm_vcpu *h = v->hvm;

	m->msr_pat_cr = vendor_get(v, REG_PAT);
	memcpy(m->msr_mtrr_var, h->mtrr_var, sizeof(m->msr_mtrr_var));
	memcpy(m->msr_mtrr_fixed, h->mtrr_fixed, sizeof(m->msr_mtrr_fixed));
	m->msr_mtrr_cap = BIT(10) | BIT(8) | MTRR_VCNT;
	m->msr_mtrr_def_type = h->mtrr_def_type;
}

static void save_ioapic(struct hvm_hw_vioapic *s, struct domain *d)
{
	const struct vioapic *io = &d->hvm->ioapic;

	s->base_address = io->base;
	s->ioregsel = io->select;
	s->id = io->id >> 24;
	for (unsigned i = 0; i < VIOAPIC_PINS; i++)
		s->redirtbl[i].bits = io->redir[i];
}

/* The record's payload; size is what record_size() said. */
static void save_record(struct domain *d, unsigned type, unsigned instance, void *buf, int size)
{
	struct vcpu *v = domain_vcpu(d, instance);
	struct hvm_hw_cpu_xsave *x = buf;

	memset(buf, 0, (size_t)size);
	switch (type) {
	case HVM_SAVE_CODE(HEADER):
		save_header(buf, d);
		break;
	case HVM_SAVE_CODE(CPU):
		save_cpu(buf, v);
		break;
	case HVM_SAVE_CODE(IOAPIC):
		save_ioapic(buf, d);
		break;
	case HVM_SAVE_CODE(LAPIC):
		save_lapic(buf, v);
		break;
	case HVM_SAVE_CODE(LAPIC_REGS):
		vlapic_export(v, ((struct hvm_hw_lapic_regs *)buf)->data);
		break;
	case HVM_SAVE_CODE(MTRR):
		save_mtrr(buf, v);
		break;
	case CPU_XSAVE_CODE:
		x->xfeature_mask = port_host_xcr0();
		x->xcr0 = x->xcr0_accum = v->hvm->xcr0;
		memcpy(&x->save_area, v->hvm->fpu, (size_t)size - XSAVE_HEADER);
		break;
	case CPU_MSR_CODE:
		((struct hvm_msr *)buf)->count = 1;
		((struct hvm_msr *)buf)->msr[0] = (struct hvm_one_msr){ MSR_SPEC_CTRL, 0, v->hvm->spec_ctrl };
		break;
	default: /* TSC_ADJUST: the MSR is not offered, 0 */
		break;
	}
}

size_t context_size(struct domain *d)
{
	size_t bytes = sizeof(descriptor_t); /* END */

	for (unsigned t = 0; t < ARRAY_SIZE(saved_types); t++)
		for (unsigned i = 0; i < d->max_vcpus; i++) {
			int size = record_size(d, saved_types[t], i);

			if (size >= 0)
				bytes += sizeof(descriptor_t) + (size_t)size;
		}
	return bytes;
}

int context_save(struct domain *d, void *buf, size_t size)
{
	uint8_t *at = buf;

	if (size < context_size(d))
		return -ENOSPC;
	for (unsigned t = 0; t < ARRAY_SIZE(saved_types); t++)
		for (unsigned i = 0; i < d->max_vcpus; i++) {
			int bytes = record_size(d, saved_types[t], i);
			descriptor_t desc = { saved_types[t], (uint16_t)i, (uint32_t)bytes };

			if (bytes < 0)
				continue;
			memcpy(at, &desc, sizeof(desc));
			save_record(d, saved_types[t], i, at + sizeof(desc), bytes);
			at += sizeof(desc) + (size_t)bytes;
		}
	memset(at, 0, sizeof(descriptor_t));
	return (int)(at + sizeof(descriptor_t) - (uint8_t *)buf);
}

int context_save_one(struct domain *d, unsigned type, unsigned instance, void *buf, size_t size)
{
	int bytes;

	if (type == 0 || type > HVM_SAVE_CODE_MAX)
		return -EINVAL;
	bytes = record_size(d, type, instance);
	if (bytes < 0 || !buf)
		return bytes;
	if (size < (size_t)bytes)
		return -ENOSPC;
	save_record(d, type, instance, buf, bytes);
	return bytes;
}

/* --- checks --- */

static bool fxsave_ok(const uint8_t *image)
{
	uint32_t mxcsr;

	memcpy(&mxcsr, image + 24, sizeof(mxcsr));
	return !(mxcsr >> 16); /* reserved bits would fault the hypervisor's FXRSTOR */
}

static bool check_cpu(const struct hvm_hw_cpu *c)
{
	uint64_t long_mode = EFER_LME | EFER_LMA;

	if ((c->cr0 >> 32) || ((c->cr0 & CR0_PG) && !(c->cr0 & CR0_PE)) || ((c->cr0 & CR0_NW) && !(c->cr0 & CR0_CD)))
		return false;
	if ((c->cr4 >> 32) || (c->msr_efer & ~EFER_OK) || (c->dr6 >> 32) || (c->dr7 >> 32))
		return false;
	if ((c->msr_efer & EFER_LMA) &&
	    ((c->msr_efer & long_mode) != long_mode || !(c->cr0 & CR0_PG) || !(c->cr4 & CR4_PAE)))
		return false;
	if (!c->pending_valid)
		return true;
	/* What EVENTINJ takes (APM vol. 2, 15.20); vector 2 is the NMI's, never an exception's. */
	return c->pending_type == 0 || c->pending_type == 2 || c->pending_type == 4 ||
	       (c->pending_type == 3 && c->pending_vector < 32 && c->pending_vector != 2);
}

static bool check_lapic(const struct hvm_hw_lapic *l)
{
	uint64_t mode = l->apic_base_msr & (BASE_ENABLE | BASE_X2);

	return (l->apic_base_msr & ~(BASE_ENABLE | BASE_X2 | BASE_BSP)) == APIC_DEFAULT_BASE && mode != BASE_X2;
}

static bool memory_types_ok(uint64_t value, bool pat)
{
	for (unsigned i = 0; i < 64; i += 8) {
		uint8_t t = (uint8_t)(value >> i);

		if (t == 2 || t == 3 || t > (pat ? 7 : 6))
			return false;
	}
	return true;
}

static bool check_mtrr(const struct hvm_hw_mtrr *m)
{
	uint64_t type = m->msr_mtrr_def_type;

	if (!memory_types_ok(m->msr_pat_cr, true) || (m->msr_mtrr_cap & 0xff) != MTRR_VCNT || (type & ~0xcffull) ||
	    !memory_types_ok(type & 0xff, false))
		return false;
	for (unsigned i = 0; i < NUM_FIXED_MSR; i++)
		if (!memory_types_ok(m->msr_mtrr_fixed[i], false))
			return false;
	return true;
}

/* XRSTOR must not fault on it: SDM vol. 1, 13.8. */
static bool check_xsave(const uint8_t *payload, uint32_t length)
{
	struct hvm_hw_cpu_xsave x;
	uint64_t host = port_host_xcr0();

	if (!host || length < sizeof(x))
		return false;
	memcpy(&x, payload, sizeof(x));
	if (!hvm_xcr0_ok(x.xcr0, host))
		return false;
	if (length != XSAVE_HEADER + xsave_bytes(x.xcr0) && length != XSAVE_HEADER + xsave_bytes(x.xcr0_accum & host))
		return false;
	if ((x.save_area.xsave_hdr.xstate_bv & ~x.xcr0) || x.save_area.xsave_hdr.xcomp_bv)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(x.save_area.xsave_hdr.reserved); i++)
		if (x.save_area.xsave_hdr.reserved[i])
			return false;
	return fxsave_ok((const uint8_t *)&x.save_area);
}

/* Registers outside the CPU record: but for SPEC_CTRL none is kept, so each must be at its reset value. */
static bool check_msrs(const uint8_t *payload, uint32_t length)
{
	struct hvm_one_msr m;
	uint32_t count;

	if (length < MSRS_HEADER)
		return false;
	memcpy(&count, payload, sizeof(count));
	if (length != MSRS_HEADER + (uint64_t)count * sizeof(m))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&m, payload + MSRS_HEADER + i * sizeof(m), sizeof(m));
		if (m.val && (m.index != MSR_SPEC_CTRL || !spec_has_ctrl()))
			return false;
	}
	return true;
}

/* The switch to the vCPU writes it; bits that the CPU does not have are refused there. */
static void load_msrs(struct vcpu *v, const uint8_t *payload, uint32_t length)
{
	struct hvm_one_msr m;

	for (uint32_t at = MSRS_HEADER; at < length; at += sizeof(m)) {
		memcpy(&m, payload + at, sizeof(m));
		if (m.index == MSR_SPEC_CTRL)
			v->hvm->spec_ctrl = m.val;
	}
	v->hvm->loaded_on = 0;
}

static void read_cpu(struct hvm_hw_cpu *c, const uint8_t *payload, uint32_t length)
{
	memset(c, 0, sizeof(*c));
	memcpy(c, payload, length);
	if (length == sizeof(struct hvm_hw_cpu_compat))
		_hvm_hw_fix_cpu(c, length);
}

static const char *check_record(struct domain *d, const descriptor_t *desc, const uint8_t *payload)
{
	union {
		struct hvm_hw_cpu cpu;
		struct hvm_hw_lapic lapic;
		struct hvm_hw_mtrr mtrr;
	} u;
	uint32_t length = desc->length;
	bool ok;

	if (desc->typecode != HVM_SAVE_CODE(VIRIDIAN_DOMAIN) && !domain_vcpu(d, desc->instance))
		return "no such vCPU";
	switch (desc->typecode) {
	case HVM_SAVE_CODE(CPU):
		if (length != sizeof(u.cpu) && length != sizeof(struct hvm_hw_cpu_compat))
			return "wrong length";
		read_cpu(&u.cpu, payload, length);
		ok = check_cpu(&u.cpu) && (!(u.cpu.flags & XEN_X86_FPU_INITIALISED) || fxsave_ok(u.cpu.fpu_regs));
		break;
	case HVM_SAVE_CODE(LAPIC):
		if (length != sizeof(u.lapic))
			return "wrong length";
		memcpy(&u.lapic, payload, length);
		ok = check_lapic(&u.lapic);
		break;
	case HVM_SAVE_CODE(LAPIC_REGS):
		ok = length == VLAPIC_PAGE_BYTES;
		break;
	case HVM_SAVE_CODE(MTRR):
		if (length != sizeof(u.mtrr))
			return "wrong length";
		memcpy(&u.mtrr, payload, length);
		ok = check_mtrr(&u.mtrr);
		break;
	case CPU_XSAVE_CODE:
		ok = check_xsave(payload, length);
		break;
	case CPU_MSR_CODE:
		ok = check_msrs(payload, length);
		break;
	case HVM_SAVE_CODE(TSC_ADJUST):
	case HVM_SAVE_CODE(VMCE_VCPU):
	case HVM_SAVE_CODE(VIRIDIAN_DOMAIN):
	case HVM_SAVE_CODE(VIRIDIAN_VCPU):
		return NULL; /* nothing of it is kept */
	default:
		return "unknown type";
	}
	return ok ? NULL : "bad contents";
}

/* --- loading --- */

static void load_cpu(struct vcpu *v, const struct hvm_hw_cpu *c, uint64_t host_tsc)
{
	struct hvm_vcpu *h = v->hvm;
	uint8_t *fpu = h->fpu;

	hvm_reset(v);
	port_fpu_init(fpu);
	if (c->flags & XEN_X86_FPU_INITIALISED) {
		memcpy(fpu, c->fpu_regs, FXSAVE_BYTES);
		if (port_host_xcr0())
			fpu[FXSAVE_BYTES] |= XCR0_X87 | XCR0_SSE; /* XSTATE_BV */
	}
	load_segments(v, c);
#define LOAD(r) v->regs.r = c->r;
	FOR_GPRS(LOAD)
#undef LOAD
	v->regs.rflags |= 2;
#define LOAD(field, reg) vendor_set(v, reg, c->field);
	FOR_MSRS(LOAD)
#undef LOAD
	hvm_set_efer(v, c->msr_efer);
	hvm_set_cr(v, 0, c->cr0);
	hvm_set_cr(v, 2, c->cr2);
	hvm_set_cr(v, 3, c->cr3);
	hvm_set_cr(v, 4, c->cr4);
	h->dr[0] = c->dr0;
	h->dr[1] = c->dr1;
	h->dr[2] = c->dr2;
	h->dr[3] = c->dr3;
	h->debug_used = (c->dr7 & 0xff) || c->dr0 || c->dr1 || c->dr2 || c->dr3;
	if (h->debug_used)
		vendor_allow_debug_registers(v);
	h->msr_tsc_aux = c->msr_tsc_aux;
	tsc_set(v, c->tsc, host_tsc);
	h->inject.vector = c->pending_valid ? c->pending_vector : EVENT_NONE;
	h->inject.type = c->pending_type;
	h->inject.has_error = c->pending_error_valid;
	h->inject.error = c->error_code;
	v->initialised = true;
	sched_up(v);
}

static void load_mtrr(struct vcpu *v, const struct hvm_hw_mtrr *m)
{
	struct hvm_vcpu *h = v->hvm;

	vendor_set(v, REG_PAT, m->msr_pat_cr);
	memcpy(h->mtrr_var, m->msr_mtrr_var, sizeof(h->mtrr_var));
	memcpy(h->mtrr_fixed, m->msr_mtrr_fixed, sizeof(h->mtrr_fixed));
	h->mtrr_def_type = m->msr_mtrr_def_type;
}

static void load_record(struct domain *d, const descriptor_t *desc, const uint8_t *payload, uint64_t host_tsc)
{
	struct vcpu *v = domain_vcpu(d, desc->instance);
	union {
		struct hvm_hw_cpu cpu;
		struct hvm_hw_lapic lapic;
		struct hvm_hw_mtrr mtrr;
	} u;

	switch (desc->typecode) {
	case HVM_SAVE_CODE(CPU):
		read_cpu(&u.cpu, payload, desc->length);
		load_cpu(v, &u.cpu, host_tsc);
		break;
	case HVM_SAVE_CODE(LAPIC):
		memcpy(&u.lapic, payload, sizeof(u.lapic));
		v->hvm->lapic.base_msr = u.lapic.apic_base_msr;
		v->hvm->lapic.tsc_deadline = u.lapic.tdt_msr;
		break;
	case HVM_SAVE_CODE(LAPIC_REGS):
		timer_stop(&v->hvm->lapic.timer); /* the import starts it again if the one that was saved ran */
		v->hvm->lapic.timer_start = v->hvm->lapic.timer_period = 0;
		vlapic_import(v, payload);
		break;
	case HVM_SAVE_CODE(MTRR):
		memcpy(&u.mtrr, payload, sizeof(u.mtrr));
		load_mtrr(v, &u.mtrr);
		break;
	case CPU_XSAVE_CODE:
		memcpy(&v->hvm->xcr0, payload + offsetof(struct hvm_hw_cpu_xsave, xcr0), sizeof(uint64_t));
		memcpy(v->hvm->fpu, payload + XSAVE_HEADER, desc->length - XSAVE_HEADER);
		v->hvm->loaded_on = 0;
		break;
	case CPU_MSR_CODE:
		load_msrs(v, payload, desc->length);
		break;
	default:
		break;
	}
}

/* One record after another from *at; NULL with desc->typecode 0 at the end; NULL with 0xffff when it is cut short. */
static const uint8_t *next_record(const uint8_t *buf, size_t size, size_t *at, descriptor_t *desc)
{
	const uint8_t *payload;

	desc->typecode = 0xffff;
	if (size - *at < sizeof(*desc))
		return NULL;
	memcpy(desc, buf + *at, sizeof(*desc));
	payload = buf + *at + sizeof(*desc);
	if (desc->length > size - *at - sizeof(*desc)) {
		desc->typecode = 0xffff;
		return NULL;
	}
	*at += sizeof(*desc) + desc->length;
	return desc->typecode == HVM_SAVE_CODE(END) ? NULL : payload;
}

static int refuse(struct domain *d, const descriptor_t *desc, const char *why)
{
	log_guest(LOG_WARN, d->id, "machine state refused: record type %u instance %u: %s", desc->typecode,
		  desc->instance, why);
	return -EINVAL;
}

static int check_header(struct domain *d, const uint8_t *buf, size_t size, size_t *at)
{
	struct hvm_save_header h;
	descriptor_t desc;
	const uint8_t *payload = next_record(buf, size, at, &desc);

	if (!payload || desc.typecode != HVM_SAVE_CODE(HEADER) || desc.length != sizeof(h))
		return refuse(d, &desc, "no header");
	memcpy(&h, payload, sizeof(h));
	if (h.magic != HVM_FILE_MAGIC || h.version != HVM_FILE_VERSION)
		return refuse(d, &desc, "wrong magic or version");
	return 0;
}

/* vCPUs that have not started yet (SIPI will) count the same TSC as vCPU 0. */
static void follow_tsc(struct domain *d)
{
	struct vcpu *first = domain_vcpu(d, 0), *v;

	for_each_vcpu (d, v) {
		if (v->initialised || !first)
			continue;
		v->hvm->tsc_offset = first->hvm->tsc_offset;
		vendor_set_tsc_offset(v, v->hvm->tsc_offset);
	}
}

int context_load(struct domain *d, const void *buf, size_t size)
{
	size_t start = 0, at;
	descriptor_t desc;
	const uint8_t *payload;
	const char *why;
	uint64_t host_tsc;
	int rc = check_header(d, buf, size, &start);

	if (rc)
		return rc;
	at = start;
	while ((payload = next_record(buf, size, &at, &desc)) != NULL) {
		why = check_record(d, &desc, payload);
		if (why)
			return refuse(d, &desc, why);
	}
	if (desc.typecode != HVM_SAVE_CODE(END))
		return refuse(d, &desc, "cut short");
	host_tsc = port_tsc();
	at = start;
	while ((payload = next_record(buf, size, &at, &desc)) != NULL)
		load_record(d, &desc, payload, host_tsc);
	follow_tsc(d);
	return 0;
}
