/* sources: hvm/spec.c */
/*
 * Defences against speculation: which CPU gets which, what the option changes, and what is flushed and kept at switches,
 * with the MSRs of a fake CPU. The values of CPUID and IA32_ARCH_CAPABILITIES are those of real parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "host/host.h"
#include "hvm/hvm.h"
#include "hvm/spec.h"
#include "lib/lib.h"
#include "port/cpu.h"

static uint64_t ctrl[NR_CPUS]; /* each CPU's SPEC_CTRL */
static unsigned ibpbs, l1d_flushes, guard;
static uint32_t max_leaf, vendor_b, leaf1_a, leaf7_d, leaf8_b, leaf21_a;
static uint64_t arch_caps, de_cfg;

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	switch (leaf) {
	case 0:
		out[0] = max_leaf;
		out[1] = vendor_b;
		break;
	case 1:
		out[0] = leaf1_a;
		break;
	case 7:
		out[3] = leaf7_d;
		break;
	case 0x80000000:
		out[0] = 0x80000021;
		break;
	case 0x80000008:
		out[1] = leaf8_b;
		break;
	case 0x80000021:
		out[0] = leaf21_a;
		break;
	}
}

bool port_rdmsr(uint32_t msr, uint64_t *value)
{
	*value = msr == MSR_SPEC_CTRL ? ctrl[host_cpu] : msr == MSR_ARCH_CAPS ? arch_caps : de_cfg;
	return true;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	switch (msr) {
	case MSR_SPEC_CTRL:
		ctrl[host_cpu] = value;
		break;
	case MSR_PRED_CMD:
		ibpbs++;
		break;
	case MSR_FLUSH_CMD:
		l1d_flushes++;
		break;
	case MSR_DE_CFG:
		de_cfg = value;
		break;
	}
	return true;
}

void port_guard_entries(unsigned g)
{
	guard = g;
}

/* --- the table --- */

#define ALL_INTEL 0xbc000400u /* IBRS, STIBP, L1D_FLUSH, ARCH_CAPS, SSBD, MD_CLEAR */

static const struct {
	const char *name;
	struct spec_cpu cpu;
	const char *on; /* names of what must be on */
} parts[] = {
	{ "Westmere without microcode", { .family = 6, .model = 0x2c }, "rsb" },
	{ "Skylake-X", { .family = 6, .model = 0x55, .leaf7_d = ALL_INTEL & ~BIT(29) }, "rsb ibpb md-clear l1d-flush" },
	{ "Cascade Lake",
	  { .family = 6, .model = 0x55, .leaf7_d = ALL_INTEL, .arch_caps = 0x2b },
	  "rsb ibpb md-clear" },
	{ "Ice Lake-SP",
	  { .family = 6, .model = 0x6a, .leaf7_d = ALL_INTEL, .arch_caps = 0x20c06b },
	  "rsb ibpb md-clear" },
	{ "Sapphire Rapids",
	  { .family = 6,
	    .model = 0x8f,
	    .leaf7_d = ALL_INTEL,
	    .arch_caps = 0x1 | 0x2 | 0x20 | 0x100 | 0xe000 | BIT(24) },
	  "ibpb" },
	{ "a first Atom", { .family = 6, .model = 0x1c }, "rsb" },
	{ "Zen 2",
	  { .amd = true, .family = 0x17, .model = 0x31, .leaf80000008_b = BIT(12) | BIT(14) },
	  "rsb ibpb-entry ibpb lfence" },
	{ "Zen 3",
	  { .amd = true,
	    .family = 0x19,
	    .model = 1,
	    .leaf80000008_b = BIT(12) | BIT(29),
	    .leaf80000021_a = BIT(2) | BIT(28) },
	  "rsb ibpb-entry ibpb" },
	{ "one without SRSO",
	  { .amd = true, .family = 0x1a, .leaf80000008_b = BIT(12), .leaf80000021_a = BIT(2) | BIT(29) },
	  "rsb ibpb" },
	{ "K10 without microcode", { .amd = true, .family = 0x10 }, "rsb lfence" },
	{ "QEMU's TCG", { .amd = true, .emulated = true, .family = 0x17, .model = 0x31 }, "" },
};

static const char *const names[] = { "rsb", "ibpb-entry", "ibpb", "md-clear", "l1d-flush", "lfence" };

static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at++)
		if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' '))
			return true;
	return false;
}

static void test_parts(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		struct spec_plan p;

		assert_null(spec_decide(&parts[i].cpu, "", &p));
		for (unsigned d = 0; d < SPEC_DEFENCES; d++) {
			if (p.on[d] != listed(parts[i].on, names[d]))
				fail_msg("%s: %s is %s (%s)", parts[i].name, names[d], p.on[d] ? "on" : "off",
					 p.why[d]);
			assert_non_null(p.why[d]);
		}
	}
}

/* What a CPU needs and cannot do is said, not passed over. */
static void test_no_means(void **state)
{
	const struct spec_cpu westmere = { .family = 6, .model = 0x2c };
	struct spec_plan p;

	spec_decide(&westmere, "", &p);
	assert_non_null(strstr(p.why[SPEC_L1D_FLUSH], "NEEDED"));
	assert_non_null(strstr(p.why[SPEC_MD_CLEAR], "NEEDED"));
	assert_null(strstr(p.why[SPEC_LFENCE], "NEEDED"));
	spec_decide(&westmere, "l1d-flush", &p);
	assert_false(p.on[SPEC_L1D_FLUSH]);
	assert_non_null(strstr(p.why[SPEC_L1D_FLUSH], "no means"));
}

static void test_option(void **state)
{
	const struct spec_cpu skylake = { .family = 6, .model = 0x55, .leaf7_d = ALL_INTEL & ~BIT(29) };
	const char *bad = "rsb,nonsense,ibpb";
	struct spec_plan p;

	assert_null(spec_decide(&skylake, "no", &p));
	for (unsigned d = 0; d < SPEC_DEFENCES; d++)
		assert_false(p.on[d]);
	assert_null(spec_decide(&skylake, "yes", &p));
	assert_true(p.on[SPEC_RSB] && p.on[SPEC_IBPB_EXIT] && p.on[SPEC_MD_CLEAR] && p.on[SPEC_L1D_FLUSH]);
	assert_false(p.on[SPEC_LFENCE]);
	assert_null(spec_decide(&skylake, "no-l1d-flush,,ibpb-entry", &p));
	assert_true(p.on[SPEC_RSB] && p.on[SPEC_IBPB_EXIT] && p.on[SPEC_IBPB] && !p.on[SPEC_L1D_FLUSH]);
	assert_null(spec_decide(&skylake, "no,rsb", &p));
	assert_true(p.on[SPEC_RSB] && !p.on[SPEC_IBPB]);
	assert_ptr_equal(spec_decide(&skylake, bad, &p), bad + 4);
	assert_non_null(spec_decide(&skylake, "lfence", &p)); /* nobody wants it off */
	assert_non_null(spec_decide(&skylake, "no-", &p));
}

/* --- at work --- */

static struct hvm_domain hvm_of[2];
static struct domain domains[2];
static struct hvm_vcpu hvcpus[3];
static struct vcpu vcpus[3];

/* A Skylake with two domains: vCPU 0 and 1 are of the one, 2 of the other. */
static void machine(const char *options)
{
	static uint64_t number; /* tests follow each other on the same CPUs */

	host_machine(64);
	memset(ctrl, 0, sizeof(ctrl));
	memset(hvcpus, 0, sizeof(hvcpus));
	for (unsigned i = 0; i < 2; i++) {
		domains[i].hvm = &hvm_of[i];
		hvm_of[i].number = ++number;
	}
	for (unsigned i = 0; i < 3; i++) {
		vcpus[i].domain = &domains[i / 2];
		vcpus[i].hvm = &hvcpus[i];
	}
	max_leaf = 0x16;
	vendor_b = 0x756e6547;
	leaf1_a = 0x50654;
	leaf7_d = ALL_INTEL;
	arch_caps = BIT(7); /* a switch that is not for guests */
	spec_init(options);
	spec_cpu_init();
	ibpbs = l1d_flushes = 0;
}

static void run(unsigned vcpu)
{
	spec_switch_in(&vcpus[vcpu]);
	spec_switch_out(&vcpus[vcpu]);
}

static void test_switches(void **state)
{
	machine("");
	assert_int_equal(guard, PORT_GUARD_RSB | PORT_GUARD_VERW);
	host_cpu = 0;
	run(0);
	l1d_flushes = ibpbs = 0;
	run(1);
	run(0);
	assert_true(ibpbs == 0 && l1d_flushes == 0); /* its own domain */
	run(2);
	assert_true(ibpbs == 1 && l1d_flushes == 1);
	run(2);
	run(0);
	assert_true(ibpbs == 2 && l1d_flushes == 2);
	host_cpu = 1;
	run(0);
	run(1);
	host_cpu = 0;
	run(1); /* this CPU ran nobody else meanwhile */
	assert_int_equal(ibpbs, 2);
	/* A domain has gone, and another is where it was in memory. */
	run(2);
	hvm_of[1].number = ~0ull;
	run(2);
	assert_int_equal(ibpbs, 4);
}

static void test_switched_off(void **state)
{
	machine("no");
	assert_int_equal(guard, 0);
	run(0);
	run(2);
	run(0);
	assert_true(ibpbs == 0 && l1d_flushes == 0 && !spec_l1d_flush);
	assert_int_equal(spec_guest_arch_caps(), 0);
}

/* Each vCPU has its SPEC_CTRL wherever it runs, and nobody else's. */
static void test_ctrl(void **state)
{
	const uint64_t own[] = { 1, 4, 5 };

	machine("");
	for (unsigned i = 0; i < 3; i++) {
		spec_switch_in(&vcpus[i]);
		assert_int_equal(ctrl[0], 0);
		ctrl[0] = own[i]; /* the guest writes it, and does not exit */
		spec_switch_out(&vcpus[i]);
	}
	srand(1);
	for (unsigned n = 0; n < 1000; n++) {
		unsigned i = (unsigned)rand() % 3;

		host_cpu = (unsigned)rand() % 4;
		spec_switch_in(&vcpus[i]);
		assert_int_equal(ctrl[host_cpu], own[i]);
		spec_switch_out(&vcpus[i]);
	}
	host_cpu = 0;
}

static void test_guests(void **state)
{
	machine("");
	assert_true(spec_has_ctrl() && spec_has_command(MSR_PRED_CMD) && spec_has_command(MSR_FLUSH_CMD));
	assert_int_equal(spec_guest_arch_caps(), BIT(3)); /* we flush L1D: it need not; the switch is not shown */
	leaf7_d = 0;
	spec_init("");
	assert_false(spec_has_ctrl() || spec_has_command(MSR_PRED_CMD) || spec_has_command(MSR_FLUSH_CMD));
	assert_int_equal(spec_guest_arch_caps(), 0);
	/* An AMD part: LFENCE is made to wait. */
	vendor_b = 0x68747541;
	leaf1_a = 0x00830f10;
	leaf8_b = BIT(12) | BIT(14);
	de_cfg = 0;
	spec_init("");
	spec_cpu_init();
	assert_int_equal(de_cfg, BIT(1));
	assert_true(spec_has_ctrl() && spec_has_command(MSR_PRED_CMD) && !spec_has_command(MSR_FLUSH_CMD));
	assert_int_equal(guard, PORT_GUARD_RSB | PORT_GUARD_IBPB);
	leaf8_b = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),	 cmocka_unit_test(test_no_means),     cmocka_unit_test(test_option),
		cmocka_unit_test(test_switches), cmocka_unit_test(test_switched_off), cmocka_unit_test(test_ctrl),
		cmocka_unit_test(test_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
