/*
 * hcall/domctl_vcpu.c: XEN_DOMCTL_* about vCPUs: registers, triggers. What is about scheduling is in schedctl.c.
 * Source: xen/domctl.h, xen/arch-x86/xen.h (vcpu_guest_context). Locks: under domctl_lock; the sched lock inside
 * sched_*.
 */
#include "core/guestmem.h"
#include "core/heap.h"
#include "hcall/domctl.h"
#include "hvm/hvm.h"
#include "hvm/msr.h"
#include "lib/lib.h"

#define MSR_KERNEL_GS_BASE 0xc0000102u
#define RFLAGS_ALWAYS_ONE  (1u << 1)
#define RFLAGS_WRITABLE	   0x3f7fd5u /* defined bits, APM vol. 2, 3.1.6 */

/* --- registers --- */

static void regs_to_abi(struct vcpu *v, struct cpu_user_regs *u)
{
	const struct regs *r = &v->regs;
	struct segment s[SEG_GS + 1];

	for (unsigned i = 0; i <= SEG_GS; i++)
		hvm_get_segment(v, (enum seg)i, &s[i]);
	u->r15 = r->r15;
	u->r14 = r->r14;
	u->r13 = r->r13;
	u->r12 = r->r12;
	u->rbp = r->rbp;
	u->rbx = r->rbx;
	u->r11 = r->r11;
	u->r10 = r->r10;
	u->r9 = r->r9;
	u->r8 = r->r8;
	u->rax = r->rax;
	u->rcx = r->rcx;
	u->rdx = r->rdx;
	u->rsi = r->rsi;
	u->rdi = r->rdi;
	u->rip = r->rip;
	u->rflags = r->rflags;
	u->rsp = r->rsp;
	u->cs = s[SEG_CS].sel;
	u->ss = s[SEG_SS].sel;
	u->ds = s[SEG_DS].sel;
	u->es = s[SEG_ES].sel;
	u->fs = s[SEG_FS].sel;
	u->gs = s[SEG_GS].sel;
}

static void regs_from_abi(struct vcpu *v, const struct cpu_user_regs *u)
{
	struct regs *r = &v->regs;

	r->r15 = u->r15;
	r->r14 = u->r14;
	r->r13 = u->r13;
	r->r12 = u->r12;
	r->rbp = u->rbp;
	r->rbx = u->rbx;
	r->r11 = u->r11;
	r->r10 = u->r10;
	r->r9 = u->r9;
	r->r8 = u->r8;
	r->rax = u->rax;
	r->rcx = u->rcx;
	r->rdx = u->rdx;
	r->rsi = u->rsi;
	r->rdi = u->rdi;
	r->rip = u->rip;
	r->rflags = (u->rflags & RFLAGS_WRITABLE) | RFLAGS_ALWAYS_ONE;
	r->rsp = u->rsp;
}

static void fill_context(struct vcpu *v, struct vcpu_guest_context *ctxt)
{
	struct segment fs, gs;
	uint64_t kernel_gs = 0;

	regs_to_abi(v, &ctxt->user_regs);
	hvm_get_segment(v, SEG_FS, &fs);
	hvm_get_segment(v, SEG_GS, &gs);
	msr_read(v, MSR_KERNEL_GS_BASE, &kernel_gs);
	ctxt->fs_base = fs.base;
	ctxt->gs_base_user = hvm_cpl(v) ? gs.base : kernel_gs;
	ctxt->gs_base_kernel = hvm_cpl(v) ? kernel_gs : gs.base;
	ctxt->ctrlreg[0] = hvm_get_cr(v, 0);
	ctxt->ctrlreg[2] = hvm_get_cr(v, 2);
	ctxt->ctrlreg[3] = hvm_get_cr(v, 3);
	ctxt->ctrlreg[4] = hvm_get_cr(v, 4);
	ctxt->flags = (v->sched.up ? VGCF_online : 0) | (hvm_cpl(v) == 0 ? VGCF_in_kernel : 0);
	ctxt->vm_assist = v->domain->vm_assist;
}

long domctl_getvcpucontext(struct domctl_call *c)
{
	struct xen_domctl_vcpucontext *op = &c->op.u.vcpucontext;
	struct vcpu *v = domain_vcpu(c->d, op->vcpu);
	struct vcpu_guest_context *ctxt;
	long ret;

	if (!v || v == c->h->v)
		return -EINVAL;
	if (!v->initialised)
		return -ENODATA;
	if (c->h->compat)
		return hcall_unimplemented("getvcpucontext of a 32-bit caller", 0, EOPNOTSUPP);
	ctxt = heap_new(struct vcpu_guest_context);
	if (!ctxt)
		return -ENOMEM;
	sched_vcpu_pause(v);
	fill_context(v, ctxt);
	sched_vcpu_unpause(v);
	ret = hcall_copy_out(c->h, (gva_t)op->ctxt.p, ctxt);
	heap_free(ctxt, sizeof(*ctxt));
	return ret;
}

/* For a guest in hardware containment only the general registers and the online state are taken, as on Xen. */
long domctl_setvcpucontext(struct domctl_call *c)
{
	struct xen_domctl_vcpucontext *op = &c->op.u.vcpucontext;
	struct vcpu *v = domain_vcpu(c->d, op->vcpu);
	gva_t from = (gva_t)op->ctxt.p;
	struct cpu_user_regs regs;
	unsigned long flags;

	if (c->d == c->h->d || !v)
		return -EINVAL;
	if (c->h->compat || !from)
		return hcall_unimplemented("setvcpucontext", !from, EOPNOTSUPP);
	if (guestmem_read(c->h->v, &flags, from + offsetof(struct vcpu_guest_context, flags), sizeof(flags)) ||
	    guestmem_read(c->h->v, &regs, from + offsetof(struct vcpu_guest_context, user_regs), sizeof(regs)))
		return -EFAULT;
	sched_domain_pause(c->d);
	regs_from_abi(v, &regs);
	v->initialised = true;
	if (flags & VGCF_online)
		sched_up(v);
	else
		sched_down(v);
	sched_domain_unpause(c->d);
	return 0;
}

long domctl_sendtrigger(struct domctl_call *c)
{
	const struct xen_domctl_sendtrigger *t = &c->op.u.sendtrigger;
	struct vcpu *v = domain_vcpu(c->d, t->vcpu);

	switch (t->trigger) {
	case XEN_DOMCTL_SENDTRIGGER_NMI:
		if (!v)
			return -ESRCH;
		v->hvm->nmi_pending = true;
		sched_wake(v);
		return 0;
	case XEN_DOMCTL_SENDTRIGGER_POWER:
	case XEN_DOMCTL_SENDTRIGGER_SLEEP:
		return 0; /* buttons of the ACPI PM block, which a PVH guest does not have (as on Xen) */
	default:
		return -ENOSYS;
	}
}
