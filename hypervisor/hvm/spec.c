/*
 * hvm/spec.c: see spec.h. Owns the plan, read-only once the machine runs, and for each CPU the domain it last ran and the
 * SPEC_CTRL it holds. No locks: a CPU looks at its own.
 */
#include "hvm/spec.h"

#include "core/domain.h"
#include "core/log.h"
#include "hvm/hvm.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/machine.h"
#include "port/upcall.h"

#define DE_CFG_LFENCE BIT(1)

/* CPUID 7, EDX */
#define HAS_MD_CLEAR  BIT(10)
#define HAS_IBRS      BIT(26) /* and IBPB */
#define HAS_STIBP     BIT(27)
#define HAS_L1D_FLUSH BIT(28)
#define HAS_ARCH_CAPS BIT(29)
#define HAS_SSBD      BIT(31)
/* CPUID 0x80000008, EBX */
#define AMD_IBPB   BIT(12)
#define AMD_IBRS   BIT(14)
#define AMD_STIBP  BIT(15)
#define AMD_SSBD   BIT(24)
#define AMD_BTC_NO BIT(29)
/* CPUID 0x80000021, EAX */
#define AMD_LFENCE	BIT(2)
#define AMD_IBPB_BRTYPE BIT(28)
#define AMD_SRSO_NO	BIT(29)
/* IA32_ARCH_CAPABILITIES */
#define CAPS_RDCL_NO	BIT(0)
#define CAPS_IBRS_ALL	BIT(1)
#define CAPS_SKIP_L1D	BIT(3)
#define CAPS_MDS_NO	BIT(5)
#define CAPS_TAA_NO	BIT(8)
#define CAPS_MMIO_NO	(BIT(13) | BIT(14) | BIT(15)) /* SBDR_SSDP, FBSDP, PSDP */
#define CAPS_FB_CLEAR	BIT(17)
#define CAPS_PBRSB_NO	BIT(24)
#define CAPS_RFDS_CLEAR BIT(28)
/* What tells a guest about the CPU; the other bits are switches for which there is no MSR here. */
#define CAPS_GUEST                                                                                                     \
	(CAPS_RDCL_NO | CAPS_IBRS_ALL | BIT(2) | CAPS_SKIP_L1D | BIT(4) | CAPS_MDS_NO | BIT(6) | CAPS_TAA_NO |         \
	 CAPS_MMIO_NO | CAPS_FB_CLEAR | BIT(19) | BIT(20) | CAPS_PBRSB_NO | BIT(26) | BIT(27) | CAPS_RFDS_CLEAR)

static const char *const names[SPEC_DEFENCES] = { "rsb", "ibpb-entry", "ibpb", "md-clear", "l1d-flush", "lfence" };

static struct spec_cpu cpu;
static struct spec_plan plan;
bool spec_l1d_flush;

static struct {
	uint64_t domain; /* number of the domain whose vCPU ran last; 0: none */
	uint64_t ctrl;	 /* what SPEC_CTRL holds */
} here[NR_CPUS];

/* --- the decision --- */

static bool can(const struct spec_cpu *c, enum spec_defence d)
{
	switch (d) {
	case SPEC_RSB:
		return true;
	case SPEC_IBPB_EXIT:
	case SPEC_IBPB:
		return (c->leaf7_d & HAS_IBRS) || (c->leaf80000008_b & AMD_IBPB);
	case SPEC_MD_CLEAR:
		return c->leaf7_d & HAS_MD_CLEAR;
	case SPEC_L1D_FLUSH:
		return c->leaf7_d & HAS_L1D_FLUSH;
	case SPEC_LFENCE:
		return c->amd && c->family >= 0x10 && c->family != 0x11;
	case SPEC_DEFENCES:
		break;
	}
	return false;
}

/* Intel's cores that never had L1TF and MDS, though they have no IA32_ARCH_CAPABILITIES to say so: the first Atoms. */
static bool in_order(const struct spec_cpu *c)
{
	static const uint8_t models[] = { 0x1c, 0x26, 0x27, 0x35, 0x36 };

	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		if (c->model == models[i])
			return true;
	return c->family != 6;
}

/* Is that needed? *why: the reason, either way. */
static bool needs(const struct spec_cpu *c, enum spec_defence d, const char **why)
{
	bool yes = false;

	switch (d) {
	case SPEC_RSB:
		yes = c->amd || !(c->arch_caps & CAPS_IBRS_ALL) || !(c->arch_caps & CAPS_PBRSB_NO);
		*why = yes ? "returns here could follow what a guest left" : "the CPU keeps guests' returns apart";
		break;
	case SPEC_IBPB_EXIT:
		if (c->amd && c->family == 0x17) {
			yes = !(c->leaf80000008_b & AMD_BTC_NO);
			*why = yes ? "branch type confusion" : "no branch type confusion";
		} else if (c->amd && c->family >= 0x19) {
			yes = !(c->leaf80000021_a & AMD_SRSO_NO);
			*why = !yes ? "no SRSO"
			       : (c->leaf80000021_a & AMD_IBPB_BRTYPE)
				       ? "SRSO"
				       : "SRSO; without newer microcode it does not help";
		} else {
			*why = "its returns are predicted by the return stack";
		}
		break;
	case SPEC_IBPB:
		yes = true;
		*why = "predictions are shared by all domains of a CPU";
		break;
	case SPEC_MD_CLEAR:
		yes = !c->amd && !in_order(c) &&
		      (!(c->arch_caps & CAPS_MDS_NO) || !(c->arch_caps & CAPS_TAA_NO) ||
		       (c->arch_caps & (CAPS_FB_CLEAR | CAPS_RFDS_CLEAR)));
		*why = yes ? "MDS, TAA, MMIO or RFDS" : "no MDS and its like";
		break;
	case SPEC_L1D_FLUSH:
		yes = !c->amd && !in_order(c) && !(c->arch_caps & (CAPS_RDCL_NO | CAPS_SKIP_L1D));
		*why = yes ? "L1TF" : "no L1TF";
		break;
	case SPEC_LFENCE:
		yes = c->amd && !(c->leaf80000021_a & AMD_LFENCE);
		*why = yes ? "LFENCE would not wait" : "LFENCE waits by itself";
		break;
	case SPEC_DEFENCES:
		break;
	}
	return yes;
}

/* One word of the option: -> does it mean something? */
static bool obey(const struct spec_cpu *c, struct spec_plan *p, const char *word, size_t n)
{
	bool on = n < 3 || strncmp(word, "no-", 3);
	bool all = lib_word_is(word, n, "no") || lib_word_is(word, n, "yes"), known = all;

	if (all)
		on = n == 3;
	else if (!on)
		word += 3, n -= 3;
	for (enum spec_defence d = 0; d < SPEC_DEFENCES; d++) {
		if (!all && (d == SPEC_LFENCE || !lib_word_is(word, n, names[d])))
			continue;
		known = true;
		p->on[d] = on && (can(c, d) || d == SPEC_MD_CLEAR); /* VERW is harmless where it does not help */
		p->why[d] = p->on[d] == on ? "as the options say" : "the options ask for it, but the CPU has no means";
	}
	return known;
}

const char *spec_decide(const struct spec_cpu *c, const char *options, struct spec_plan *p)
{
	const char *word;
	size_t n;

	for (enum spec_defence d = 0; d < SPEC_DEFENCES; d++) {
		p->on[d] = needs(c, d, &p->why[d]);
		if (c->emulated) {
			p->on[d] = false;
			p->why[d] = "an emulated CPU does not speculate";
		} else if (p->on[d] && !can(c, d)) {
			p->on[d] = false;
			p->why[d] = "NEEDED, but the CPU has no means: newer microcode may bring it";
		}
	}
	while ((word = lib_next_word(&options, &n)))
		if (n && !obey(c, p, word, n))
			return word;
	return NULL;
}

/* --- at boot --- */

static void look(struct spec_cpu *c)
{
	uint32_t r[4], max;

	*c = (struct spec_cpu){ .emulated = port_cpu_emulated() };
	port_cpuid(0, 0, r);
	c->amd = r[1] != 0x756e6547; /* "Genu", as in GenuineIntel */
	if (r[0] >= 7) {
		port_cpuid(7, 0, r);
		c->leaf7_d = r[3];
	}
	port_cpuid(1, 0, r);
	c->family = (uint8_t)((r[0] >> 8 & 15) + ((r[0] >> 8 & 15) == 15 ? r[0] >> 20 & 0xff : 0));
	c->model = (uint8_t)((r[0] >> 4 & 15) | (r[0] >> 12 & 0xf0));
	port_cpuid(0x80000000, 0, r);
	max = r[0];
	if (max >= 0x80000008) {
		port_cpuid(0x80000008, 0, r);
		c->leaf80000008_b = r[1];
	}
	if (max >= 0x80000021) {
		port_cpuid(0x80000021, 0, r);
		c->leaf80000021_a = r[0];
	}
	if ((c->leaf7_d & HAS_ARCH_CAPS) && !port_rdmsr(MSR_ARCH_CAPS, &c->arch_caps))
		c->arch_caps = 0;
}

static void say(void)
{
	log_info("speculation: the hypervisor has no indirect branch; guests have%s%s%s%s%s",
		 spec_has_ctrl() ? " SPEC_CTRL" : "", spec_has_command(MSR_PRED_CMD) ? " IBPB" : "",
		 spec_has_command(MSR_FLUSH_CMD) ? " L1D_FLUSH" : "", cpu.leaf7_d & HAS_MD_CLEAR ? " MD_CLEAR" : "",
		 cpu.arch_caps	   ? " ARCH_CAPABILITIES"
		 : spec_has_ctrl() ? ""
				   : " none of its registers");
	for (enum spec_defence d = 0; d < SPEC_DEFENCES; d++)
		log_info("  %s: %s (%s)", names[d], plan.on[d] ? "on" : "off", plan.why[d]);
	if (port_threads_per_core() > 1 && (plan.on[SPEC_L1D_FLUSH] || plan.on[SPEC_MD_CLEAR]))
		log_warn("speculation: the threads of a core see each other's data through L1TF or MDS: switch them "
			 "off in the firmware, or keep domains that do not trust each other on different cores "
			 "(cpupools)");
}

void spec_init(const char *options)
{
	const char *unknown;

	look(&cpu);
	unknown = spec_decide(&cpu, options, &plan);
	if (unknown)
		log_err("option spec-ctrl: \"%s\" (from there on) is none of no, yes, [no-]rsb, ibpb-entry, ibpb, "
			"md-clear, l1d-flush",
			unknown);
	port_guard_entries((plan.on[SPEC_RSB] ? PORT_GUARD_RSB : 0) | (plan.on[SPEC_IBPB_EXIT] ? PORT_GUARD_IBPB : 0) |
			   (plan.on[SPEC_MD_CLEAR] ? PORT_GUARD_VERW : 0));
	spec_l1d_flush = plan.on[SPEC_L1D_FLUSH];
	say();
}

void spec_cpu_init(void)
{
	uint64_t value;

	if (plan.on[SPEC_LFENCE] && port_rdmsr(MSR_DE_CFG, &value))
		port_wrmsr(MSR_DE_CFG, value | DE_CFG_LFENCE);
	if (spec_has_ctrl())
		port_wrmsr(MSR_SPEC_CTRL, 0);
}

/* --- at work --- */

void spec_flush_l1d(void)
{
	port_wrmsr(MSR_FLUSH_CMD, 1);
}

void spec_switch_out(struct vcpu *v)
{
	if (spec_has_ctrl() && port_rdmsr(MSR_SPEC_CTRL, &v->hvm->spec_ctrl))
		here[port_cpu()].ctrl = v->hvm->spec_ctrl;
}

void spec_switch_in(struct vcpu *v)
{
	unsigned self = port_cpu();
	uint64_t number = v->domain->hvm->number;

	if (spec_has_ctrl() && here[self].ctrl != v->hvm->spec_ctrl) {
		port_wrmsr(MSR_SPEC_CTRL, v->hvm->spec_ctrl);
		here[self].ctrl = v->hvm->spec_ctrl;
	}
	if (here[self].domain == number)
		return;
	if (plan.on[SPEC_IBPB] && here[self].domain)
		port_wrmsr(MSR_PRED_CMD, 1);
	if (spec_l1d_flush)
		spec_flush_l1d();
	here[self].domain = number;
}

/* --- what guests have --- */

bool spec_has_ctrl(void)
{
	return (cpu.leaf7_d & (HAS_IBRS | HAS_STIBP | HAS_SSBD)) ||
	       (cpu.leaf80000008_b & (AMD_IBRS | AMD_STIBP | AMD_SSBD));
}

bool spec_has_command(uint32_t msr)
{
	return can(&cpu, msr == MSR_PRED_CMD ? SPEC_IBPB : SPEC_L1D_FLUSH);
}

/* What is flushed here, a hypervisor in the guest need not flush again. */
uint64_t spec_guest_arch_caps(void)
{
	return (cpu.arch_caps & CAPS_GUEST) | (spec_l1d_flush ? CAPS_SKIP_L1D : 0);
}
