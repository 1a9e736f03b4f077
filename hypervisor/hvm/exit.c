/*
 * hvm/exit.c: one switch, one call per kind of exit. Owns nothing. An exit that cannot be handled ends that one domain.
 */
#include "hvm/exit.h"

#include "core/log.h"
#include "port/upcall.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/insn.h"
#include "hvm/io.h"
#include "hvm/msr.h"
#include "hvm/task.h"
#include "hvm/vendor.h"
#include "port/cpu.h"
#include "port/guest.h"
#include "port/machine.h"

#define FLAG_IF BIT(9)

/* The length the CPU reported, or found by decoding; 0: a fault was injected instead. */
static unsigned length_of(struct vcpu *v, const struct exit *e, enum insn_expect expect)
{
	return likely(e->length) ? e->length : insn_length(v, expect);
}

static void do_cpuid(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_CPUID);
	uint32_t out[4];

	if (!length)
		return;
	cpuid_guest(v, (uint32_t)v->regs.rax, (uint32_t)v->regs.rcx, out);
	v->regs.rax = out[0];
	v->regs.rbx = out[1];
	v->regs.rcx = out[2];
	v->regs.rdx = out[3];
	hvm_advance(v, length);
}

static void do_rdmsr(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_RDMSR);
	uint64_t value;

	if (!length)
		return;
	if (!msr_read(v, (uint32_t)v->regs.rcx, &value)) {
		hvm_inject_gp(v);
		return;
	}
	v->regs.rax = (uint32_t)value;
	v->regs.rdx = value >> 32;
	hvm_advance(v, length);
}

static void do_wrmsr(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_WRMSR);

	if (!length)
		return;
	if (msr_write(v, (uint32_t)v->regs.rcx, (uint32_t)v->regs.rax | v->regs.rdx << 32))
		hvm_advance(v, length);
	else
		hvm_inject_gp(v);
}

/* HLT with interrupts off: this vCPU is done for good; the last one of the domain powers it off. */
static void vcpu_stops(struct vcpu *v)
{
	struct vcpu *other;

	sched_down(v);
	for_each_vcpu (v->domain, other)
		if (other->sched.up)
			return;
	log_info("d%u: all vCPUs halted with interrupts off", v->domain->id);
	domain_shutdown(v->domain, SHUTDOWN_poweroff);
}

static void do_hlt(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_HLT);

	if (!length)
		return;
	hvm_advance(v, length);
	if (!(v->regs.rflags & FLAG_IF) && !v->hvm->nmi_pending)
		vcpu_stops(v);
	else
		sched_block(v);
}

static void do_xsetbv(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_XSETBV);
	uint64_t value = (uint32_t)v->regs.rax | v->regs.rdx << 32;

	if (!length)
		return;
	if ((uint32_t)v->regs.rcx || !hvm_xcr0_ok(value, port_host_xcr0()) || hvm_cpl(v)) {
		hvm_inject_gp(v);
		return;
	}
	v->hvm->xcr0 = value;
	port_set_xcr0(value);
	hvm_advance(v, length);
}

static void do_rdtsc(struct vcpu *v, const struct exit *e)
{
	unsigned length = length_of(v, e, INSN_RDTSC);
	uint64_t tsc = guest_tsc(v, port_tsc());

	if (!length)
		return;
	v->regs.rax = (uint32_t)tsc;
	v->regs.rdx = tsc >> 32;
	if (e->aux)
		v->regs.rcx = v->hvm->msr_tsc_aux;
	hvm_advance(v, length);
}

static void do_cr_write(struct vcpu *v, const struct exit *e)
{
	struct insn i;
	bool injected = false;
	uint64_t value;

	if (!insn_get(v, &i, &injected) || !cr_exit_value(v, &i, &value)) {
		if (!injected)
			hvm_inject_ud(v);
		return;
	}
	if (cr_write(v, e->cr, value))
		hvm_advance(v, i.length);
	else
		hvm_inject_gp(v);
}

static void do_npf(struct vcpu *v, const struct exit *e)
{
	struct domain *d = v->domain;

	if (!io_mmio_owns(d, e->gpa)) {
		if (p2m_fault(d, GFN(e->gpa >> PAGE_SHIFT), e->write, e->exec))
			return;
		if (p2m_lookup(d, GFN(e->gpa >> PAGE_SHIFT)).type == P2M_POD) {
			domain_crash(d, "no memory left to populate %lx: it touched more than its target", e->gpa);
			return;
		}
	}
	if (e->exec || e->walk) {
		domain_crash(d, "%s at guest-physical %lx, where there is no memory",
			     e->exec ? "instruction fetch" : "page-table walk", e->gpa);
		return;
	}
	if (!emulate_mmio(v, e->gpa, e->write))
		domain_crash(d, "cannot emulate the instruction that %s guest-physical %lx",
			     e->write ? "writes" : "reads", e->gpa);
}

static void do_simple_skip(struct vcpu *v, const struct exit *e, enum insn_expect expect)
{
	unsigned length = length_of(v, e, expect);

	if (length)
		hvm_advance(v, length);
}

void exit_handle(struct vcpu *v, const struct exit *e)
{
	switch (e->kind) {
	case EXIT_NONE:
	case EXIT_INTERRUPT:
		break;
	case EXIT_WRMSR:
		do_wrmsr(v, e);
		break;
	case EXIT_HYPERCALL:
		hcall_exit(v, e->length);
		break;
	case EXIT_IO:
		io_exit(v, e);
		break;
	case EXIT_NPF:
		do_npf(v, e);
		break;
	case EXIT_HLT:
		do_hlt(v, e);
		break;
	case EXIT_CPUID:
		do_cpuid(v, e);
		break;
	case EXIT_RDMSR:
		do_rdmsr(v, e);
		break;
	case EXIT_WINDOW:
		vendor_window(v);
		break;
	case EXIT_RDTSC:
		do_rdtsc(v, e);
		break;
	case EXIT_PAUSE:
		do_simple_skip(v, e, INSN_PAUSE);
		sched_yield_cpu(v);
		break;
	case EXIT_WBINVD:
		do_simple_skip(v, e, INSN_WBINVD);
		break;
	case EXIT_XSETBV:
		do_xsetbv(v, e);
		break;
	case EXIT_CR_WRITE:
		do_cr_write(v, e);
		break;
	case EXIT_CR_READ:
		*insn_gpr(v, e->gpr) = hvm_get_cr(v, e->cr);
		hvm_advance(v, e->length);
		break;
	case EXIT_DR:
		v->hvm->debug_used = true;
		port_dr_restore(v->hvm->dr);
		vendor_allow_debug_registers(v);
		break;
	case EXIT_MONITOR:
	case EXIT_UD:
		hvm_inject_ud(v);
		break;
	case EXIT_RDPMC:
		hvm_inject_gp(v);
		break;
	case EXIT_EOI:
		vlapic_eoi_exit(v, e->vector);
		break;
	case EXIT_APIC_WRITE:
		vlapic_written(v, (uint32_t)e->gpa);
		break;
	case EXIT_TASK:
		task_switch(v, e);
		break;
	case EXIT_INIT:
		break;
	case EXIT_SHUTDOWN:
		hvm_triple_fault(v);
		break;
	case EXIT_EXCEPTION:
		if (e->vector == 1)
			hvm_inject_db(v);
		else if (e->vector == 17)
			hvm_inject_exception(v, 17, true, 0);
		else
			domain_crash(v->domain, "machine check or unexpected exception %u", e->vector);
		break;
	case EXIT_INVALID:
		domain_crash(v->domain, "the CPU refused the state of its registers (below)");
		break;
	case EXIT_UNKNOWN:
		domain_crash(v->domain, "exit %lx is not known", e->reason);
		break;
	}
}
