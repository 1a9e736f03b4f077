/*
 * hvm/cpuid.c: see cpuid.h. Owns the system policies, made once at boot, read-only afterwards; a domain's policy changes
 * only while the domain has not run. No locks.
 *
 * A policy is a sorted list of leaves. What a guest may have is a white list of feature words; leaves that are not
 * feature words pass as the host has them, except those that describe what a guest does not get.
 */
#include "hvm/cpuid.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "hvm/hvm.h"
#include "hvm/tsc.h"
#include "hvm/vendor.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/guest.h"
#include "port/machine.h"

#define NO_SUBLEAF    XEN_CPUID_INPUT_UNUSED
#define XEN_BASE      0x40000000u
#define LAST_BASIC    0xdu
#define LAST_EXTENDED 0x80000021u
#define CR4_OSXSAVE   BIT(18)
#define CR4_PKE	      BIT(22)

enum reg { A, B, C, D };

/* The feature words of xen/arch-x86/cpufeatureset.h, by index: where each lives, and what a guest may see of it. */
struct word {
	uint32_t leaf, subleaf;
	enum reg reg;
	uint32_t allowed;
};

static const struct word words[] = {
	{ 1, NO_SUBLEAF, D, 0x178bfbff },
	{ 1, NO_SUBLEAF, C, 0xf7f83203 & ~BIT(27) },
	{ 0x80000001, NO_SUBLEAF, D, 0xee5bf3ff & ~BIT(28) },
	{ 0x80000001, NO_SUBLEAF, C, 0x002109f3 },
	{ 0xd, 1, A, 0xf },
	{ 7, 0, B, 0xf1bf07a9 & ~BIT(25) & ~BIT(26) & ~BIT(27) & ~BIT(4) },
	{ 7, 0, C, 0x00405f47 },
	{ 0x80000007, NO_SUBLEAF, D, 0x100 },
	{ 0x80000008, NO_SUBLEAF, B, 0x750fd205 },
	{ 7, 0, D, 0xbc004410 },
	{ 7, 1, A, 0x00001c30 },
	{ 0x80000021, NO_SUBLEAF, A, 0x78000044 },
	{ 7, 1, B, 0 },
	{ 7, 2, D, 0x37 },
	{ 7, 1, C, 0 },
	{ 7, 1, D, 0 },
};

#define NEED_XSAVE_1C (BIT(26) | BIT(28) | BIT(29) | BIT(12)) /* XSAVE, AVX, F16C, FMA */
#define NEED_XSAVE_7B (BIT(5) | BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31))
#define ALWAYS_1C     (BIT(21) | BIT(24) | BIT(31)) /* x2APIC, TSC deadline, hypervisor: ours, whatever the host has */

static struct cpuid_policy system_policy[CPUID_SYSTEMS];

static bool before(const xen_cpuid_leaf_t *l, uint32_t leaf, uint32_t subleaf)
{
	return l->leaf < leaf || (l->leaf == leaf && l->subleaf < subleaf);
}

/* Index of the first entry not before (leaf, subleaf). */
static uint32_t position(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	uint32_t lo = 0, hi = p->nr_leaves;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (before(&p->leaf[mid], leaf, subleaf))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const xen_cpuid_leaf_t *find(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	uint32_t i = position(p, leaf, NO_SUBLEAF);

	/* Leaves without subleaves carry NO_SUBLEAF, the greatest value, so they are last of their leaf. */
	if (i < p->nr_leaves && p->leaf[i].leaf == leaf && p->leaf[i].subleaf == NO_SUBLEAF)
		return &p->leaf[i];
	i = position(p, leaf, subleaf);
	return i < p->nr_leaves && p->leaf[i].leaf == leaf && p->leaf[i].subleaf == subleaf ? &p->leaf[i] : NULL;
}

static uint32_t *reg_of(xen_cpuid_leaf_t *l, enum reg r)
{
	return r == A ? &l->a : r == B ? &l->b : r == C ? &l->c : &l->d;
}

static void put(struct cpuid_policy *p, const xen_cpuid_leaf_t *l)
{
	uint32_t i = position(p, l->leaf, l->subleaf);

	if (i < p->nr_leaves && p->leaf[i].leaf == l->leaf && p->leaf[i].subleaf == l->subleaf) {
		p->leaf[i] = *l;
		return;
	}
	if (p->nr_leaves == CPUID_MAX_LEAVES)
		return;
	memmove(&p->leaf[i + 1], &p->leaf[i], (p->nr_leaves - i) * sizeof(p->leaf[0]));
	p->leaf[i] = *l;
	p->nr_leaves++;
}

static uint32_t word_value(const struct cpuid_policy *p, unsigned w)
{
	const xen_cpuid_leaf_t *l = find(p, words[w].leaf, words[w].subleaf);

	return l ? *reg_of((xen_cpuid_leaf_t *)l, words[w].reg) : 0;
}

/* --- building --- */

static void add_host(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	uint32_t r[4];
	xen_cpuid_leaf_t l = { .leaf = leaf, .subleaf = subleaf };

	port_cpuid(leaf, subleaf == NO_SUBLEAF ? 0 : subleaf, r);
	l.a = r[0];
	l.b = r[1];
	l.c = r[2];
	l.d = r[3];
	put(p, &l);
}

static void add_basic(struct cpuid_policy *p, uint32_t leaf)
{
	uint32_t r[4], last = 0;

	switch (leaf) {
	case 4:
		last = 5;
		break;
	case 7:
		port_cpuid(7, 0, r);
		last = MIN(r[0], 2u);
		break;
	case 0xb:
		last = 1;
		break;
	case 0xd:
		last = 1;
		break;
	default:
		add_host(p, leaf, NO_SUBLEAF);
		return;
	}
	for (uint32_t i = 0; i <= last; i++)
		add_host(p, leaf, i);
	/* Without gaps: the tool stack writes a policy back in as many leaves as it read, and fills them. */
	for (uint32_t i = 2; leaf == 0xd && port_host_xcr0() >> i; i++)
		add_host(p, 0xd, i);
}

static void build_host(struct cpuid_policy *p)
{
	uint32_t r[4], max;

	port_cpuid(0, 0, r);
	max = MIN(r[0], LAST_BASIC);
	for (uint32_t leaf = 0; leaf <= max; leaf++)
		add_basic(p, leaf);
	port_cpuid(0x80000000, 0, r);
	max = MIN(r[0], LAST_EXTENDED);
	for (uint32_t leaf = 0x80000000; leaf <= max && p->nr_leaves < CPUID_MAX_LEAVES; leaf++)
		add_host(p, leaf, NO_SUBLEAF);
	for (uint32_t leaf = XEN_BASE; leaf <= XEN_BASE + 0x100; leaf += 0x100) {
		xen_cpuid_leaf_t ours = { .leaf = leaf, .subleaf = NO_SUBLEAF };

		put(p, &ours); /* the tool stack's serialised form has them; what a guest reads is made by xen_leaf() */
	}
	p->nr_msrs = 0;
}

static void cut(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	xen_cpuid_leaf_t *l = (xen_cpuid_leaf_t *)find(p, leaf, subleaf);

	if (!l)
		return;
	l->a &= a;
	l->b &= b;
	l->c &= c;
	l->d &= d;
}

static void zero_leaf(struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	cut(p, leaf, subleaf, 0, 0, 0, 0);
}

/* XSAVE state: the components that the hypervisor switches, and the bytes they take (SDM vol. 1, 13.2). */
static void cut_xstate(struct cpuid_policy *p)
{
	uint64_t xcr0 = port_host_xcr0();
	xen_cpuid_leaf_t *l = (xen_cpuid_leaf_t *)find(p, 0xd, 0);

	if (!l)
		return;
	cut(p, 0xd, 0, (uint32_t)xcr0, ~0u, 0, (uint32_t)(xcr0 >> 32));
	l->c = 576;
	for (uint32_t i = 2; i < 63; i++) {
		const xen_cpuid_leaf_t *part = find(p, 0xd, i);

		if (!(xcr0 & BIT(i)))
			zero_leaf(p, 0xd, i);
		else if (part)
			l->c = MAX(l->c, part->a + part->b);
	}
	/* XSAVES has no state of its own: IA32_XSS is 0. */
	cut(p, 0xd, 1, vendor_xsaves ? ~0u : ~(uint32_t)BIT(3), ~0u, 0, 0);
}

/* The most a guest can have: the host's leaves, feature words cut to the white list. */
static void build_guest(struct cpuid_policy *p, const struct cpuid_policy *host)
{
	bool xsave = port_host_xcr0() != 0;
	xen_cpuid_leaf_t *l;

	*p = *host;
	for (unsigned w = 0; w < ARRAY_SIZE(words); w++) {
		l = (xen_cpuid_leaf_t *)find(p, words[w].leaf, words[w].subleaf);
		if (l)
			*reg_of(l, words[w].reg) &= words[w].allowed;
	}
	l = (xen_cpuid_leaf_t *)find(p, 1, NO_SUBLEAF);
	if (!xsave)
		l->c &= ~NEED_XSAVE_1C;
	l->c |= ALWAYS_1C;
	l->b &= 0x0000ffff;
	l = (xen_cpuid_leaf_t *)find(p, 7, 0);
	if (l && !xsave)
		l->b &= ~NEED_XSAVE_7B;
	l = (xen_cpuid_leaf_t *)find(p, 0, NO_SUBLEAF);
	l->a = MIN(l->a, LAST_BASIC);
	l = (xen_cpuid_leaf_t *)find(p, 0x80000000, NO_SUBLEAF);
	l->a = MIN(l->a, LAST_EXTENDED);
	cut(p, 7, 2, 0, 0, 0, ~0u);
	/* Of EBX Linux would believe machine check banks of AMD's scalable kind, and die reading them. */
	cut(p, 0x80000007, NO_SUBLEAF, 0, 0, 0, ~0u);
	cut(p, 0x80000021, NO_SUBLEAF, ~0u, 0, 0, 0);
	zero_leaf(p, 5, NO_SUBLEAF);   /* MONITOR */
	zero_leaf(p, 0xa, NO_SUBLEAF); /* performance counters */
	zero_leaf(p, 3, NO_SUBLEAF);
	for (uint32_t i = 0; i < 2; i++)
		zero_leaf(p, 0xb, i);
	cut_xstate(p);
	if (!xsave)
		for (uint32_t i = 0; i < 63; i++)
			zero_leaf(p, 0xd, i);
	cut(p, 6, NO_SUBLEAF, BIT(2), 0, 0, 0); /* ARAT */
	for (uint32_t leaf = 0x80000009; leaf < 0x80000021; leaf++)
		zero_leaf(p, leaf, NO_SUBLEAF);
	cut(p, 0x80000008, NO_SUBLEAF, 0xffff, ~0u, 0, 0);
}

void cpuid_init(void)
{
	struct cpuid_policy *raw = &system_policy[CPUID_RAW];

	build_host(raw);
	system_policy[CPUID_HOST] = *raw;
	build_guest(&system_policy[CPUID_HVM_MAX], raw);
	system_policy[CPUID_HVM_DEFAULT] = system_policy[CPUID_HVM_MAX];
}

const struct cpuid_policy *cpuid_system(enum cpuid_system which)
{
	return &system_policy[which];
}

unsigned cpuid_featureset(unsigned index, uint32_t *out, unsigned max)
{
	static const uint8_t which[] = { CPUID_RAW,	    CPUID_HOST,	  CPUID_PV_DEFAULT,
					 CPUID_HVM_DEFAULT, CPUID_PV_MAX, CPUID_HVM_MAX };
	unsigned n = MIN(max, (unsigned)ARRAY_SIZE(words));

	if (index >= ARRAY_SIZE(which))
		return 0;
	for (unsigned w = 0; w < n; w++)
		out[w] = word_value(&system_policy[which[index]], w);
	return ARRAY_SIZE(words);
}

int cpuid_domain_init(struct domain *d)
{
	d->cpuid = heap_new(struct cpuid_policy);
	if (!d->cpuid)
		return -ENOMEM;
	*d->cpuid = system_policy[CPUID_HVM_DEFAULT];
	return 0;
}

/* A leaf the tool stack gives: known, and not above what the host has. Xen's own leaves are accepted and made by us. */
static bool acceptable(const struct cpuid_policy *max, const xen_cpuid_leaf_t *l)
{
	if (l->leaf >= XEN_BASE && l->leaf < XEN_BASE + 0x200)
		return true;
	if (l->leaf == 0 || l->leaf == 0x80000000)
		return l->a <= find(max, l->leaf, NO_SUBLEAF)->a || l->a <= (l->leaf | 0xd);
	return l->leaf <= 0xd || (l->leaf >= 0x80000000 && l->leaf <= 0x80000021);
}

int cpuid_set(struct domain *d, const xen_cpuid_leaf_t *leaves, uint32_t nr, const xen_msr_entry_t *msrs,
	      uint32_t nr_msrs, uint32_t *bad_leaf, uint32_t *bad_subleaf, uint32_t *bad_msr)
{
	const struct cpuid_policy *max = &system_policy[CPUID_HVM_MAX];

	*bad_leaf = *bad_subleaf = *bad_msr = ~0u;
	for (uint32_t i = 0; i < nr; i++)
		if (!acceptable(max, &leaves[i])) {
			*bad_leaf = leaves[i].leaf;
			*bad_subleaf = leaves[i].subleaf;
			return -EINVAL;
		}
	for (uint32_t i = 0; i < nr_msrs; i++)
		if (msrs[i].idx != 0xce && msrs[i].idx != 0x10a) {
			*bad_msr = msrs[i].idx;
			return -EINVAL;
		}
	for (uint32_t i = 0; i < nr; i++)
		if (leaves[i].leaf < XEN_BASE || leaves[i].leaf >= 0x80000000)
			put(d->cpuid, &leaves[i]);
	for (unsigned w = 0; w < ARRAY_SIZE(words); w++) {
		xen_cpuid_leaf_t *l = (xen_cpuid_leaf_t *)find(d->cpuid, words[w].leaf, words[w].subleaf);

		if (l)
			*reg_of(l, words[w].reg) &= word_value(max, w);
	}
	return 0;
}

bool cpuid_has_at(const struct domain *d, uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit)
{
	const xen_cpuid_leaf_t *l = find(d->cpuid, leaf, subleaf);

	return l && (*reg_of((xen_cpuid_leaf_t *)l, (enum reg)reg) & BIT(bit));
}

bool cpuid_has(const struct domain *d, uint32_t leaf, unsigned reg, unsigned bit)
{
	return cpuid_has_at(d, leaf, 0, reg, bit);
}

/* --- reading --- */

static void tsc_leaf(struct vcpu *v, uint32_t subleaf, uint32_t out[4])
{
	uint64_t offset = port_tsc_to_ns(0) + v->hvm->tsc_offset;
	int8_t shift;

	switch (subleaf) {
	case 0:
		out[0] = (tsc_emulated(v->domain) ? BIT(0) : 0) | (port_tsc_reliable() ? BIT(1) : 0) |
			 (cpuid_has(v->domain, 0x80000001, D, 27) ? BIT(2) : 0);
		out[1] = v->domain->tsc_mode;
		out[2] = v->domain->tsc_khz;
		out[3] = v->domain->tsc_incarnation;
		break;
	case 1:
		out[0] = (uint32_t)offset;
		out[1] = (uint32_t)(offset >> 32);
		guest_tsc_scale(v, &out[2], &shift);
		out[3] = (uint32_t)(int32_t)shift;
		break;
	case 2:
		out[0] = (uint32_t)port_tsc_khz();
		break;
	}
}

static void xen_leaf(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	switch (leaf) {
	case 0:
		out[0] = XEN_BASE + XEN_CPUID_MAX_NUM_LEAVES;
		out[1] = XEN_CPUID_SIGNATURE_EBX;
		out[2] = XEN_CPUID_SIGNATURE_ECX;
		out[3] = XEN_CPUID_SIGNATURE_EDX;
		break;
	case 1:
		out[0] = 4 << 16 | 17;
		break;
	case 2:
		out[0] = 1;
		out[1] = XEN_BASE; /* the hypercall page's MSR */
		break;
	case 3:
		tsc_leaf(v, subleaf, out);
		break;
	case 4:
		if (subleaf)
			break;
		out[0] = XEN_HVM_CPUID_VCPU_ID_PRESENT | XEN_HVM_CPUID_DOMID_PRESENT | XEN_HVM_CPUID_UPCALL_VECTOR |
			 (vendor_x2apic_free ? XEN_HVM_CPUID_X2APIC_VIRT : 0);
		out[1] = v->id;
		out[2] = v->domain->id;
		break;
	}
}

/* Bits that depend on the vCPU's state, or that only the CPU itself knows. */
static void dynamic(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	uint32_t live[4];

	switch (leaf) {
	case 1:
		out[1] = (out[1] & 0x00ffffff) | v->id * 2 << 24;
		if (hvm_get_cr(v, 4) & CR4_OSXSAVE)
			out[2] |= BIT(27);
		if (!(v->hvm->lapic.base_msr & BIT(11)))
			out[3] &= ~(uint32_t)BIT(9);
		break;
	case 7:
		if (subleaf == 0 && (hvm_get_cr(v, 4) & CR4_PKE))
			out[2] |= BIT(4);
		break;
	case 0xb:
		out[2] = (out[2] & ~0xffu) | (subleaf & 0xff);
		out[3] = v->id * 2;
		break;
	case 0xd:
		if (subleaf < 2 && port_host_xcr0()) {
			port_cpuid(0xd, subleaf, live);
			out[1] = live[1]; /* the size for the XCR0 in force, the guest's own */
		}
		break;
	}
}

void cpuid_guest(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpuid_policy *p = v->domain->cpuid;
	const xen_cpuid_leaf_t *l;

	out[0] = out[1] = out[2] = out[3] = 0;
	if (leaf >= XEN_BASE && leaf < 0x80000000) {
		if (leaf <= XEN_BASE + XEN_CPUID_MAX_NUM_LEAVES)
			xen_leaf(v, leaf - XEN_BASE, subleaf, out);
		return;
	}
	l = find(p, leaf, subleaf);
	if (l) {
		out[0] = l->a;
		out[1] = l->b;
		out[2] = l->c;
		out[3] = l->d;
	}
	if (leaf && leaf <= 0xd)
		dynamic(v, leaf, subleaf, out);
}
