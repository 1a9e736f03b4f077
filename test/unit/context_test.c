/* sources: hvm/spec.c hvm/context.c hvm/tsc.c hvm/vlapic.c hvm/vlapic_timer.c */
/* Machine state as save records: what the tool stack does at creation, a save and restore, and refusals without a trace. */
#include "unit/hvm_fake.h"

#include "hvm/context.h"
#include "hvm/run.h"
#include "hvm/spec.h"
#include "hvm/vendor.h"

static struct vcpu *const v = &fake_vcpu[0];
static uint8_t fpu[FAKE_VCPUS][4096];
static uint64_t vmcb_tsc_offset[FAKE_VCPUS], host_xcr0;
static uint8_t buf[32768];

void vioapic_eoi(struct domain *d, uint8_t vector)
{
}

uint64_t hvm_get_cr(struct vcpu *c, unsigned cr)
{
	struct vmcb *b = svm_vmcb(c);

	return cr == 0 ? b->cr0 : cr == 2 ? b->cr2 : cr == 3 ? b->cr3 : b->cr4;
}

void hvm_set_cr(struct vcpu *c, unsigned cr, uint64_t value)
{
	struct vmcb *b = svm_vmcb(c);

	*(cr == 0 ? &b->cr0 : cr == 2 ? &b->cr2 : cr == 3 ? &b->cr3 : &b->cr4) = value;
}

uint64_t hvm_get_efer(struct vcpu *c)
{
	return svm_vmcb(c)->efer;
}

void hvm_set_efer(struct vcpu *c, uint64_t value)
{
	svm_vmcb(c)->efer = value;
}

void svm_set_tsc_offset(struct vcpu *c, uint64_t offset)
{
	vmcb_tsc_offset[c->id] = offset;
}

uint64_t port_host_xcr0(void)
{
	return host_xcr0;
}

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	if (leaf == 1)
		out[0] = 0x830f10;
	if (leaf == 0x80000000)
		out[0] = 0x80000008;
	if (leaf == 0x80000008) /* IBRS */
		out[1] = BIT(14);
	if (leaf == 0xd && subleaf == 2) { /* AVX */
		out[0] = 256;
		out[1] = 576;
	}
}

static int setup(void **state)
{
	fake_machine(2);
	spec_init("");
	memset(fpu, 0, sizeof(fpu));
	for (unsigned i = 0; i < FAKE_VCPUS; i++) {
		fake_hvcpu[i].fpu = fpu[i];
		fake_hvcpu[i].xcr0 = 1;
		fake_vcpu[i].sched.up = false;
		svm_vmcb(&fake_vcpu[i])->g_pat = 0x0007040600070406;
	}
	host_xcr0 = 0;
	return 0;
}

/* The nth record of a type. */
static void *find(unsigned type, unsigned instance, uint32_t *length)
{
	struct hvm_save_descriptor d;

	for (size_t at = 0;; at += sizeof(d) + d.length) {
		memcpy(&d, buf + at, sizeof(d));
		if (d.typecode == type && d.instance == instance) {
			if (length)
				*length = d.length;
			return buf + at + sizeof(d);
		}
		if (d.typecode == 0)
			return NULL;
	}
}

static size_t append(uint8_t *to, unsigned type, unsigned instance, const void *payload, uint32_t length)
{
	struct hvm_save_descriptor d = { (uint16_t)type, (uint16_t)instance, length };

	memcpy(to, &d, sizeof(d));
	if (length)
		memcpy(to + sizeof(d), payload, length);
	return sizeof(d) + length;
}

/* What libxenguest does for a PVH kernel: header and MTRR per vCPU, then header and CPU for vCPU 0. */
static void create(void **state)
{
	struct hvm_save_header *h;
	struct hvm_hw_mtrr mtrr;
	struct hvm_hw_cpu cpu = { 0 };
	uint8_t out[2048];
	size_t n, size = context_size(&fake_domain);

	assert_in_range(size, 100, sizeof(buf));
	assert_int_equal(context_save(&fake_domain, buf, size - 1), -ENOSPC);
	assert_int_equal(context_save(&fake_domain, buf, size), size);
	h = find(HVM_SAVE_CODE(HEADER), 0, NULL);
	assert_int_equal(h->magic, HVM_FILE_MAGIC);
	assert_int_equal(h->cpuid, 0x830f10);
	assert_null(find(HVM_SAVE_CODE(CPU), 0, NULL)); /* down */
	assert_null(find(CPU_XSAVE_CODE, 0, NULL));
	memcpy(&mtrr, find(HVM_SAVE_CODE(MTRR), 0, NULL), sizeof(mtrr));
	assert_int_equal(sizeof(mtrr), 0x120 - 48); /* as measured, with header and END */
	mtrr.msr_mtrr_def_type = 0x806;
	n = append(out, HVM_SAVE_CODE(HEADER), 0, h, sizeof(*h));
	n += append(out + n, HVM_SAVE_CODE(MTRR), 1, &mtrr, sizeof(mtrr));
	n += append(out + n, 0, 0, NULL, 0);
	assert_int_equal(context_load(&fake_domain, out, n), 0);
	assert_int_equal(fake_vcpu[1].hvm->mtrr_def_type, 0x806);
	assert_false(fake_vcpu[1].sched.up);

	cpu.cs_arbytes = 0xc9b;
	cpu.cs_limit = ~0u;
	cpu.cr0 = 0x11;
	cpu.rip = 0x1000000;
	cpu.rbx = 0x5000;
	cpu.dr6 = 0xffff0ff0;
	cpu.dr7 = 0x400;
	n = append(out, HVM_SAVE_CODE(HEADER), 0, h, sizeof(*h));
	n += append(out + n, HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu));
	n += append(out + n, 0, 0, NULL, 0);
	host_ns = 5000000;
	assert_int_equal(context_load(&fake_domain, out, n), 0);
	assert_true(v->sched.up && v->initialised);
	assert_int_equal(v->regs.rip, 0x1000000);
	assert_int_equal(v->regs.rflags, 2);
	assert_int_equal(svm_vmcb(v)->seg[SEG_CS].attr, 0xc9b);
	assert_int_equal(svm_vmcb(v)->dr7, 0x400);
	assert_false(v->hvm->debug_used);
	assert_int_equal(vmcb_tsc_offset[0], (uint64_t)-5000000);
	assert_int_equal(vmcb_tsc_offset[1], (uint64_t)-5000000); /* the SIPI finds it so */
	assert_int_equal(v->hvm->loaded_on, 0); /* no CPU keeps the old FPU state */
}

static void save_restore(void **state)
{
	struct hvm_save_descriptor d;
	static uint8_t first[32768];
	uint32_t length;
	size_t size;

	host_xcr0 = 7;
	for (unsigned i = 0; i < 2; i++) {
		struct vcpu *c = &fake_vcpu[i];
		struct vmcb *b = svm_vmcb(c);
		uint64_t seed = 7 + i, *r = &c->regs.rax;

		c->sched.up = true;
		for (unsigned k = 0; k < 17; k++)
			r[k] = host_random(&seed);
		c->regs.rflags = 0x246;
		for (unsigned s = 0; s < SEG_COUNT; s++)
			b->seg[s] = (struct segment){ (uint16_t)(s * 8), s == SEG_GDTR || s == SEG_IDTR ? 0 : 0xa9b, 0xfffff,
						      host_random(&seed) };
		b->seg[SEG_GDTR].sel = b->seg[SEG_IDTR].sel = 0;
		b->cr0 = 0x80050033;
		b->cr3 = 0x1234000;
		b->cr4 = 0x6b0;
		b->efer = 0xd01;
		b->dr6 = 0xffff0ff0;
		b->dr7 = 0x401;
		b->lstar = host_random(&seed);
		b->kernel_gs_base = host_random(&seed);
		b->sysenter_eip = host_random(&seed);
		c->hvm->dr[0] = 0x4000;
		c->hvm->tsc_offset = 12345678;
		c->hvm->xcr0 = 7;
		c->hvm->spec_ctrl = i;
		c->hvm->inject.vector = 14;
		c->hvm->inject.type = 3;
		c->hvm->inject.has_error = true;
		c->hvm->inject.error = 4;
		for (unsigned k = 0; k < 832; k++)
			fpu[i][k] = (uint8_t)host_random(&seed);
		memset(fpu[i] + 512, 0, 64);
		fpu[i][512] = 7;
		memset(fpu[i] + 26, 0, 2);
		vlapic_msr_write(c, 0x1b, APIC_DEFAULT_BASE | 0xc00 | (i ? 0 : 0x100));
		vlapic_msr_write(c, 0x80f, 0x1ff);
		vlapic_set_irq(c, 0x77, false);
	}
	size = context_size(&fake_domain);
	assert_int_equal(context_save(&fake_domain, buf, size), size);
	find(CPU_XSAVE_CODE, 1, &length);
	assert_int_equal(length, 24 + 832);
	find(CPU_MSR_CODE, 1, &length);
	assert_int_equal(length, 8 + sizeof(struct hvm_one_msr));
	assert_null(find(CPU_MSR_CODE, 0, NULL)); /* as after reset */
	memcpy(first, buf, size);

	/* into a new domain, some time later */
	setup(NULL);
	host_xcr0 = 7;
	host_ns += 777777;
	assert_int_equal(context_load(&fake_domain, first, size), 0);
	assert_int_equal(context_size(&fake_domain), size);

	assert_int_equal(context_save(&fake_domain, buf, size), size);
	assert_memory_equal(first, buf, size);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), 0x77);
	assert_true(v->hvm->spec_ctrl == 0 && fake_vcpu[1].hvm->spec_ctrl == 1);
	assert_true(v->hvm->debug_used);
	assert_int_equal(v->hvm->tsc_offset + host_ns, 12345678); /* saved when the host's TSC was 0 */

	/* every cut and every broken length is refused, and nothing changes */
	v->regs.rip = 42;
	for (size_t n = 0; n < size; n += n < 64 ? 1 : 61)
		assert_int_equal(context_load(&fake_domain, first, n), -EINVAL);
	for (size_t at = 0; at + sizeof(d) < size; at += sizeof(d) + d.length) {
		uint32_t wrong = 1;

		memcpy(&d, first + at, sizeof(d));
		if (d.typecode == HVM_SAVE_CODE(TSC_ADJUST))
			continue;
		memcpy(buf, first, size);
		memcpy(buf + at + 4, &wrong, 4);
		assert_int_equal(context_load(&fake_domain, buf, size), -EINVAL);
	}
	assert_int_equal(v->regs.rip, 42);
}

static int load_cpu_with(void (*change)(struct hvm_hw_cpu *c))
{
	struct hvm_save_header h = { .magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION };
	struct hvm_hw_cpu cpu = { .cr0 = 0x80000011, .cr4 = 0x20, .msr_efer = 0x500, .flags = 1 };
	uint8_t out[2048];
	size_t n;

	change(&cpu);
	n = append(out, HVM_SAVE_CODE(HEADER), 0, &h, sizeof(h));
	n += append(out + n, HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu));
	n += append(out + n, 0, 0, NULL, 0);
	return context_load(&fake_domain, out, n);
}

static void nothing(struct hvm_hw_cpu *c)
{
}

static void paging_without_pe(struct hvm_hw_cpu *c)
{
	c->cr0 = 0x80000010;
}

static void efer_reserved(struct hvm_hw_cpu *c)
{
	c->msr_efer |= 0x1000; /* SVME is never a guest's */
}

static void long_without_pae(struct hvm_hw_cpu *c)
{
	c->cr4 = 0;
}

static void pending_reserved_type(struct hvm_hw_cpu *c)
{
	c->pending_valid = 1;
	c->pending_type = 5;
	c->pending_vector = 13;
}

static void pending_nmi_as_exception(struct hvm_hw_cpu *c)
{
	c->pending_valid = 1;
	c->pending_type = 3;
	c->pending_vector = 2;
}

static void mxcsr_reserved(struct hvm_hw_cpu *c)
{
	c->fpu_regs[27] = 0x80;
}

static void refusals(void **state)
{
	struct hvm_save_header h = { .magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION };
	struct hvm_hw_lapic l = { .apic_base_msr = 0xfed00900 };
	struct hvm_hw_mtrr m = { .msr_mtrr_cap = 8, .msr_mtrr_def_type = 0x802 };
	uint8_t out[2048], x[4096] = { 0 };
	size_t n;

	assert_int_equal(load_cpu_with(nothing), 0);
	assert_int_equal(load_cpu_with(paging_without_pe), -EINVAL);
	assert_int_equal(load_cpu_with(efer_reserved), -EINVAL);
	assert_int_equal(load_cpu_with(long_without_pae), -EINVAL);
	assert_int_equal(load_cpu_with(mxcsr_reserved), -EINVAL);
	assert_int_equal(load_cpu_with(pending_reserved_type), -EINVAL);
	assert_int_equal(load_cpu_with(pending_nmi_as_exception), -EINVAL);

	n = append(out, HVM_SAVE_CODE(HEADER), 0, &h, sizeof(h));
#define REFUSED(type, instance, p, len)                                                   \
	do {                                                                              \
		size_t k = n + append(out + n, type, instance, p, len);                   \
		k += append(out + k, 0, 0, NULL, 0);                                      \
		assert_int_equal(context_load(&fake_domain, out, k), -EINVAL);            \
	} while (0)
	REFUSED(HVM_SAVE_CODE(LAPIC), 0, &l, sizeof(l));
	l.apic_base_msr = 0xfee00400;
	REFUSED(HVM_SAVE_CODE(LAPIC), 0, &l, sizeof(l));
	REFUSED(HVM_SAVE_CODE(MTRR), 0, &m, sizeof(m));
	m.msr_mtrr_def_type = 6;
	REFUSED(HVM_SAVE_CODE(MTRR), 2, &m, sizeof(m)); /* no such vCPU */
	REFUSED(HVM_SAVE_CODE(PIC), 0, x, sizeof(struct hvm_hw_vpic));
	REFUSED(CPU_XSAVE_CODE, 0, x, 24 + 576); /* no XSAVE on this host */
	host_xcr0 = 0xe7;
	x[8] = 0x27; /* a third of AVX-512: the CPU's XSETBV would fault */
	REFUSED(CPU_XSAVE_CODE, 0, x, 24 + 576);
	x[8] = 0;
	host_xcr0 = 7;
	REFUSED(CPU_XSAVE_CODE, 0, x, 24 + 576); /* xcr0 0 */
	x[8] = 3;
	x[24 + 512] = 4; /* state that xcr0 has not */
	REFUSED(CPU_XSAVE_CODE, 0, x, 24 + 576);
	x[24 + 512] = 3;
	x[24 + 520] = 1; /* compacted */
	REFUSED(CPU_XSAVE_CODE, 0, x, 24 + 576);
	h.magic = 1;
	n = append(out, HVM_SAVE_CODE(HEADER), 0, &h, sizeof(h));
	REFUSED(HVM_SAVE_CODE(MTRR), 0, &m, sizeof(m));
}

static void one_record(void **state)
{
	struct hvm_hw_cpu cpu;

	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(CPU), 0, NULL, 0), -ENOENT);
	v->sched.up = true;
	v->regs.r15 = 15;
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(CPU), 0, NULL, 0), sizeof(cpu));
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu) - 1), -ENOSPC);
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(CPU), 0, &cpu, sizeof(cpu)), sizeof(cpu));
	assert_int_equal(cpu.r15, 15);
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(CPU), 5, &cpu, sizeof(cpu)), -ENOENT);
	assert_int_equal(context_save_one(&fake_domain, 99, 0, &cpu, sizeof(cpu)), -EINVAL);
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(IOAPIC), 0, NULL, 0), -ENOENT);
	fake_hvm.ioapic.nr_pins = 24;
	fake_hvm.ioapic.redir[3] = 0x1234;
	assert_int_equal(context_save_one(&fake_domain, HVM_SAVE_CODE(IOAPIC), 0, buf, sizeof(buf)),
			 sizeof(struct hvm_hw_vioapic));
	assert_int_equal(((struct hvm_hw_vioapic *)buf)->redirtbl[3].bits, 0x1234);
}

/* A timer that runs when state is loaded goes on only if the loaded one runs. */
static void timer_of_before(void **state)
{
	struct hvm_save_header h = { .magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION };
	uint8_t out[2048], regs[VLAPIC_PAGE_BYTES];
	uint64_t value;
	size_t n;

	vlapic_msr_write(v, 0x1b, APIC_DEFAULT_BASE | 0xd00);
	vlapic_msr_write(v, 0x80f, 0x1ff);
	vlapic_export(v, regs);
	vlapic_msr_write(v, 0x832, 0x20030); /* periodic */
	vlapic_msr_write(v, 0x838, 1000000);
	host_ns += 5000000;
	assert_true(timer_active(&v->hvm->lapic.timer));
	n = append(out, HVM_SAVE_CODE(HEADER), 0, &h, sizeof(h));
	n += append(out + n, HVM_SAVE_CODE(LAPIC_REGS), 0, regs, sizeof(regs));
	n += append(out + n, 0, 0, NULL, 0);
	assert_int_equal(context_load(&fake_domain, out, n), 0);
	assert_false(timer_active(&v->hvm->lapic.timer));
	assert_true(vlapic_msr_read(v, 0x839, &value));
	assert_int_equal(value, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(create, setup),	 cmocka_unit_test_setup(save_restore, setup),
		cmocka_unit_test_setup(refusals, setup), cmocka_unit_test_setup(one_record, setup),
		cmocka_unit_test_setup(timer_of_before, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
