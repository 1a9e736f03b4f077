/*
 * hcall/table.c: from the hypercall exit to the handler of its number and back. Owns the calling convention: which
 * registers hold the arguments, who may call (CPL 0), how a call restarts. Source: xen/arch-x86/xen-x86_64.h and
 * xen-x86_32.h. Locks: refused.lock for the list of what was refused; nothing else.
 *
 * Invariant: a call that returns -ERESTART leaves RIP where it is and the arguments as the handler left them, so the
 * guest sees only the final result.
 */
#include "core/guestmem.h"
#include "core/log.h"
#include "core/perfc.h"
#include "core/trace.h"
#include "hcall/table.h"
#include "hvm/hvm.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define RFLAGS_IF (1u << 9)

long hcall_dispatch(struct hcall *h)
{
	switch (h->nr) {
#define OP(name, who)                                                                                                  \
	case __HYPERVISOR_##name:                                                                                      \
		return hcall_##name(h);
#define OP_OUTER(name, who)                                                                                            \
	case __HYPERVISOR_##name:                                                                                      \
		return -EINVAL;
#define OP_ARCH(number, name, who)                                                                                     \
	case number:                                                                                                   \
		return hcall_##name(h);
#include "hcall/ops.def"
	default:
		return -ENOSYS;
	}
}

static void load_args(struct hcall *h, const struct regs *r)
{
	if (likely(!h->compat)) {
		h->nr = r->rax <= UINT32_MAX ? (uint32_t)r->rax : UINT32_MAX;
		h->arg[0] = r->rdi;
		h->arg[1] = r->rsi;
		h->arg[2] = r->rdx;
		h->arg[3] = r->r10;
		h->arg[4] = r->r8;
		h->arg[5] = r->r9;
		return;
	}
	h->nr = (uint32_t)r->rax;
	h->arg[0] = (uint32_t)r->rbx;
	h->arg[1] = (uint32_t)r->rcx;
	h->arg[2] = (uint32_t)r->rdx;
	h->arg[3] = (uint32_t)r->rsi;
	h->arg[4] = (uint32_t)r->rdi;
	h->arg[5] = (uint32_t)r->rbp;
}

static void store_args(const struct hcall *h, struct regs *r)
{
	r->rax = h->nr;
	if (likely(!h->compat)) {
		r->rdi = h->arg[0];
		r->rsi = h->arg[1];
		r->rdx = h->arg[2];
		r->r10 = h->arg[3];
		r->r8 = h->arg[4];
		r->r9 = h->arg[5];
		return;
	}
	r->rbx = (uint32_t)h->arg[0];
	r->rcx = (uint32_t)h->arg[1];
	r->rdx = (uint32_t)h->arg[2];
	r->rsi = (uint32_t)h->arg[3];
	r->rdi = (uint32_t)h->arg[4];
	r->rbp = (uint32_t)h->arg[5];
}

void hcall_exit(struct vcpu *v, unsigned length)
{
	enum cpu_mode mode = hvm_mode(v);
	struct hcall h;
	long ret;

	h.v = v;
	h.d = v->domain;
	h.compat = mode != MODE_64;

	/* The length first: when the instruction cannot be fetched, a fault is on its way and nothing may have
	 * happened. */
	if (!length) {
		length = insn_length(v, INSN_VMMCALL);
		if (!length)
			return;
	}

	/* Real mode counts as CPL 0; virtual-8086 code never is. */
	if (unlikely(mode != MODE_REAL && hvm_cpl(v) != 0)) {
		ret = -EPERM;
	} else {
		load_args(&h, &v->regs);
		perfc_hypercall(v->sched.cpu, h.nr);
		TRACE(TRC_HVM_VMMCALL, h.nr);
		ret = unlikely(h.nr == __HYPERVISOR_multicall) ? hcall_multicall(&h) : hcall_dispatch(&h);
	}

	if (unlikely(ret == -ERESTART)) {
		store_args(&h, &v->regs);
		return;
	}
	v->regs.rax = h.compat ? (uint32_t)ret : (uint64_t)ret;
	hvm_advance(v, length);
}

bool hcall_preempt(void)
{
	struct vcpu *v = sched_current();

	port_poll();
	if (sched_needed() || timer_due())
		return true;
	return v && (v->regs.rflags & RFLAGS_IF) && guest_interrupt_pending(v);
}

#define SAID_MOST 64u /* lines about one domain */

/* What was refused lately, so that each is said once. A guest that makes up many pushes others out: they are said again. */
static struct {
	spinlock_t lock;
	unsigned next;
	struct {
		const char *op; /* NULL: nothing yet */
		unsigned sub;
	} seen[64];
} refused = { .lock = SPINLOCK_INIT(LOCK_REFUSED) };

static bool first_refused(const char *op, unsigned sub) REQUIRES(refused.lock)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refused.seen) && refused.seen[i].op; i++)
		if (refused.seen[i].sub == sub && !strcmp(refused.seen[i].op, op))
			return false;
	refused.seen[refused.next].op = op;
	refused.seen[refused.next].sub = sub;
	refused.next = (refused.next + 1) % (unsigned)ARRAY_SIZE(refused.seen);
	return true;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	struct domain *d = sched_current()->domain;
	bool first;

	spin_lock(&refused.lock);
	first = d->refusals_said < SAID_MOST && first_refused(op, sub);
	d->refusals_said += first;
	spin_unlock(&refused.lock);
	if (first)
		log_warn("d%u: unimplemented: %s %u (error %d)", d->id, op, sub, err < 0 ? -err : err);
	return err < 0 ? err : -err;
}
