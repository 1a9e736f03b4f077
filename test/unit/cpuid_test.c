/* sources: hvm/cpuid.c */
/*
 * What guests are told of the CPU: nothing that they do not get, and policies in the form that the tool stack can write back.
 * The fake CPU's leaves are those of a part with all that is hidden: AMX, scalable machine check banks, CET, more leaves.
 */
#include "unit/hvm_fake.h"

#include "hvm/cpuid.h"

static uint32_t leaves[16][4], extended[0x22][4], xstate[64][4], structured[3][4];
static uint64_t xcr0;

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	if (leaf == 0xd && subleaf < 64)
		memcpy(out, xstate[subleaf], 16);
	else if (leaf == 7 && subleaf < 3)
		memcpy(out, structured[subleaf], 16);
	else if (leaf == 4 && subleaf < 4)
		out[0] = 0x121 + subleaf;
	else if (leaf < 16)
		memcpy(out, leaves[leaf], 16);
	else if (leaf >= 0x80000000 && leaf < 0x80000022)
		memcpy(out, extended[leaf - 0x80000000], 16);
}

uint64_t port_host_xcr0(void)
{
	return xcr0;
}

/* --- what is not linked --- */

void vlapic_init(struct vcpu *v)
{
}

bool tsc_emulated(const struct domain *d)
{
	return false;
}

uint64_t hvm_get_cr(struct vcpu *v, unsigned cr)
{
	return 0;
}

static int setup(void **state)
{
	fake_machine(1);
	memset(leaves, 0xff, sizeof(leaves));
	memset(extended, 0xff, sizeof(extended));
	memset(structured, 0xff, sizeof(structured));
	memset(xstate, 0, sizeof(xstate));
	leaves[0][0] = 0x1f;
	structured[0][0] = 2;
	extended[0][0] = 0x80000028;
	extended[8][0] = 0x3030;
	xcr0 = 0x207;		/* x87, SSE, AVX, PKRU */
	xstate[0][0] = 0x60207; /* AMX as well */
	xstate[0][2] = 11008;
	xstate[1][0] = 0x1f;
	xstate[1][2] = 0x1900;
	xstate[2][0] = 256, xstate[2][1] = 576;
	xstate[9][0] = 8, xstate[9][1] = 2688;
	xstate[17][0] = 64, xstate[17][1] = 2752;
	xstate[18][0] = 8192, xstate[18][1] = 2816;
	vendor_xsaves = true;
	cpuid_init();
	return 0;
}

static const xen_cpuid_leaf_t *leaf(uint32_t number, uint32_t subleaf)
{
	const struct cpuid_policy *p = cpuid_system(CPUID_HVM_MAX);

	for (uint32_t i = 0; i < p->nr_leaves; i++)
		if (p->leaf[i].leaf == number && p->leaf[i].subleaf == subleaf)
			return &p->leaf[i];
	return NULL;
}

#define PLAIN XEN_CPUID_INPUT_UNUSED

static void is(uint32_t number, uint32_t subleaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	const xen_cpuid_leaf_t *l = leaf(number, subleaf);

	assert_non_null(l);
	if (l->a != a || l->b != b || l->c != c || l->d != d)
		fail_msg("leaf %x.%x: %08x %08x %08x %08x", number, subleaf, l->a, l->b, l->c, l->d);
}

static void test_hidden(void **state)
{
	is(0, PLAIN, 0xd, ~0u, ~0u, ~0u);
	is(5, PLAIN, 0, 0, 0, 0);
	is(6, PLAIN, 4, 0, 0, 0);
	is(0xa, PLAIN, 0, 0, 0, 0);
	is(7, 2, 0, 0, 0, 0x37);
	is(0x80000000, PLAIN, 0x80000021, ~0u, ~0u, ~0u);
	is(0x80000007, PLAIN, 0, 0, 0, 0x100); /* Linux reads banks of the scalable kind when EBX has them, and dies */
	is(0x8000000a, PLAIN, 0, 0, 0, 0);
	is(0x8000001e, PLAIN, 0, 0, 0, 0);
	is(0x80000021, PLAIN, 0x78000044, 0, 0, 0);
	assert_null(leaf(0xe, PLAIN));
	assert_null(leaf(0x80000022, PLAIN));
	assert_int_equal(leaf(1, PLAIN)->c >> 5 & 1, 0);	  /* VMX */
	assert_int_equal(leaf(0x80000001, PLAIN)->c >> 2 & 1, 0); /* SVM */
	assert_int_equal(leaf(1, PLAIN)->c >> 31, 1);
}

/* The state that the hypervisor switches, and its size; no gap, for the tool stack fills them when it writes a policy. */
static void test_xstate(void **state)
{
	is(0xd, 0, 0x207, 0, 2696, 0);
	is(0xd, 1, 0xf, 0, 0, 0);
	is(0xd, 2, 256, 576, 0, 0);
	for (uint32_t i = 3; i < 9; i++)
		is(0xd, i, 0, 0, 0, 0);
	is(0xd, 9, 8, 2688, 0, 0);
	assert_null(leaf(0xd, 10));
	vendor_xsaves = false;
	cpuid_init();
	is(0xd, 1, 0x7, 0, 0, 0);
	xcr0 = 0; /* no XSAVE: nor what needs it */
	cpuid_init();
	is(0xd, 0, 0, 0, 0, 0);
	assert_int_equal(leaf(1, PLAIN)->c & (BIT(26) | BIT(28)), 0);
	assert_int_equal(leaf(7, 0)->b & BIT(5), 0);
}

/* libxc reads a policy, and writes it into as many leaves as that had: all up to the last, caches up to the first of type 0. */
/* The guest is told that its x2APIC costs no exits where that is so, and then only (xen/arch-x86/cpuid.h, leaf 5). */
static void test_x2apic_told(void **state)
{
	uint32_t out[4];

	assert_int_equal(cpuid_domain_init(&fake_domain), 0);
	for (unsigned i = 0; i < 2; i++) {
		vendor_x2apic_free = i;
		cpuid_guest(&fake_vcpu[0], XEN_CPUID_LEAF(4), 0, out);
		assert_int_equal(out[0] & (XEN_HVM_CPUID_APIC_ACCESS_VIRT | XEN_HVM_CPUID_X2APIC_VIRT),
				 i * XEN_HVM_CPUID_X2APIC_VIRT);
	}
	vendor_x2apic_free = false;
}

static void test_as_many_as_the_tools_write(void **state)
{
	uint32_t basic = 14 - 4, caches = 5, features = 3, topology = 1, states = 10, hypervisors = 2, more = 0x22;

	assert_true(cpuid_system(CPUID_HVM_DEFAULT)->nr_leaves >=
		    basic + caches + features + topology + states + hypervisors + more);
	assert_true(cpuid_system(CPUID_HVM_DEFAULT)->nr_leaves <= CPUID_MAX_LEAVES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_hidden, setup),
		cmocka_unit_test_setup(test_xstate, setup),
		cmocka_unit_test_setup(test_as_many_as_the_tools_write, setup),
		cmocka_unit_test_setup(test_x2apic_told, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
