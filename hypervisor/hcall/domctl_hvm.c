/*
 * hcall/domctl_hvm.c: XEN_DOMCTL_* about the virtual machine: its saved state, CPUID policy, TSC, hypercall page.
 * Source: xen/domctl.h. Locks: under domctl_lock; the domain is paused while its state is read or written.
 */
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/time.h"
#include "hcall/domctl.h"
#include "hcall/page.h"
#include "hvm/context.h"
#include "hvm/cpuid.h"
#include "hvm/tsc.h"
#include "lib/lib.h"
#include "port/machine.h"

#define CONTEXT_MAX 262144u /* the largest block the heap gives */

static long save_to_guest(struct domctl_call *c, size_t size)
{
	gva_t to = (gva_t)c->op.u.hvmcontext.buffer.p;
	void *buf = heap_alloc(size);
	long ret;

	if (!buf)
		return -ENOMEM;
	sched_domain_pause(c->d);
	ret = context_save(c->d, buf, size);
	sched_domain_unpause(c->d);
	if (ret >= 0) {
		c->op.u.hvmcontext.size = (uint32_t)ret;
		ret = guestmem_write(c->h->v, to, buf, (size_t)ret);
	}
	heap_free(buf, size);
	return ret;
}

long domctl_gethvmcontext(struct domctl_call *c)
{
	struct xen_domctl_hvmcontext *op = &c->op.u.hvmcontext;
	size_t size = context_size(c->d);

	if (c->d == c->h->d)
		return -EINVAL;
	if (!op->buffer.p) {
		op->size = (uint32_t)size;
		return 0;
	}
	if (op->size < size)
		return -ENOSPC;
	return save_to_guest(c, size);
}

long domctl_sethvmcontext(struct domctl_call *c)
{
	const struct xen_domctl_hvmcontext *op = &c->op.u.hvmcontext;
	void *buf;
	long ret;

	if (c->d == c->h->d || !op->size)
		return -EINVAL;
	if (op->size > CONTEXT_MAX)
		return -E2BIG;
	buf = heap_alloc(op->size);
	if (!buf)
		return -ENOMEM;
	ret = guestmem_read(c->h->v, buf, (gva_t)op->buffer.p, op->size);
	if (!ret) {
		sched_domain_pause(c->d);
		ret = context_load(c->d, buf, op->size);
		sched_domain_unpause(c->d);
	}
	heap_free(buf, op->size);
	return ret;
}

long domctl_gethvmcontext_partial(struct domctl_call *c)
{
	struct xen_domctl_hvmcontext_partial *op = &c->op.u.hvmcontext_partial;
	long ret, size;
	void *buf;

	if (c->d == c->h->d)
		return -EINVAL;
	size = context_save_one(c->d, op->type, op->instance, NULL, 0);
	if (size < 0)
		return size;
	if (!op->buffer.p) {
		op->bufsz = (uint64_t)size;
		return 0;
	}
	if (op->bufsz < (uint64_t)size)
		return -ENOSPC;
	buf = heap_alloc((size_t)size);
	if (!buf)
		return -ENOMEM;
	sched_domain_pause(c->d);
	ret = context_save_one(c->d, op->type, op->instance, buf, (size_t)size);
	sched_domain_unpause(c->d);
	if (ret >= 0) {
		op->bufsz = (uint64_t)ret;
		ret = guestmem_write(c->h->v, (gva_t)op->buffer.p, buf, (size_t)ret);
	}
	heap_free(buf, (size_t)size);
	return ret;
}

/* --- CPUID policy --- */

long domctl_get_cpu_policy(struct domctl_call *c)
{
	struct xen_domctl_cpu_policy *op = &c->op.u.cpu_policy;
	const struct cpuid_policy *p = c->d->cpuid;
	gva_t leaves = (gva_t)op->leaves.p, msrs = (gva_t)op->msrs.p;

	if (!p)
		return -ENODATA;
	if (op->nr_leaves < p->nr_leaves || op->nr_msrs < p->nr_msrs)
		return -ENOBUFS;
	if (guestmem_check_write(c->h->v, leaves, p->nr_leaves * sizeof(p->leaf[0])) ||
	    guestmem_check_write(c->h->v, msrs, p->nr_msrs * sizeof(p->msr[0])))
		return -EFAULT;
	if (guestmem_write(c->h->v, leaves, p->leaf, p->nr_leaves * sizeof(p->leaf[0])) ||
	    guestmem_write(c->h->v, msrs, p->msr, p->nr_msrs * sizeof(p->msr[0])))
		return -EFAULT;
	op->nr_leaves = p->nr_leaves;
	op->nr_msrs = p->nr_msrs;
	return 0;
}

#define POLICY_MAX_LEAVES 256u /* what a caller may send; only those we keep count in the end */
#define POLICY_MAX_MSRS	  16u

/* buf: nr_leaves leaves, then nr_msrs MSRs. */
static long set_policy(struct domctl_call *c, void *buf)
{
	struct xen_domctl_cpu_policy *op = &c->op.u.cpu_policy;
	size_t leaf_bytes = op->nr_leaves * sizeof(xen_cpuid_leaf_t), msr_bytes = op->nr_msrs * sizeof(xen_msr_entry_t);
	xen_msr_entry_t *msrs = (xen_msr_entry_t *)((char *)buf + leaf_bytes);
	long ret;

	if ((leaf_bytes && guestmem_read(c->h->v, buf, (gva_t)op->leaves.p, leaf_bytes)) ||
	    (msr_bytes && guestmem_read(c->h->v, msrs, (gva_t)op->msrs.p, msr_bytes)))
		return -EFAULT;
	op->err_leaf = op->err_subleaf = op->err_msr = ~0u;
	ret = cpuid_set(c->d, buf, op->nr_leaves, msrs, op->nr_msrs, &op->err_leaf, &op->err_subleaf, &op->err_msr);
	c->back_on_error = ret != 0;
	return ret;
}

long domctl_set_cpu_policy(struct domctl_call *c)
{
	const struct xen_domctl_cpu_policy *op = &c->op.u.cpu_policy;
	size_t size;
	void *buf;
	long ret;

	if (c->d == c->h->d)
		return -EINVAL;
	if (!c->d->created_paused)
		return -EEXIST; /* it has run with the policy it has */
	if (op->nr_leaves > POLICY_MAX_LEAVES || op->nr_msrs > POLICY_MAX_MSRS)
		return -E2BIG;
	size = op->nr_leaves * sizeof(xen_cpuid_leaf_t) + op->nr_msrs * sizeof(xen_msr_entry_t);
	if (!size)
		return 0;
	buf = heap_alloc(size);
	if (!buf)
		return -ENOMEM;
	ret = set_policy(c, buf);
	heap_free(buf, size);
	return ret;
}

long domctl_get_address_size(struct domctl_call *c)
{
	c->op.u.address_size.size = 64;
	return 0;
}

/* --- time --- */

long domctl_settscinfo(struct domctl_call *c)
{
	const struct xen_domctl_tsc_info *t = &c->op.u.tsc_info;
	struct domain *d = c->d;

	if (d == c->h->d || t->tsc_mode > TSC_MODE_NATIVE)
		return -EINVAL;
	sched_domain_pause(d);
	tsc_set_mode(d, t->tsc_mode, t->gtsc_khz);
	d->tsc_incarnation = t->incarnation;
	sched_domain_unpause(d);
	return 0;
}

long domctl_gettscinfo(struct domctl_call *c)
{
	struct xen_domctl_tsc_info *t = &c->op.u.tsc_info;

	t->tsc_mode = c->d->tsc_mode;
	t->incarnation = c->d->tsc_incarnation;
	if (t->tsc_mode == TSC_MODE_NATIVE) { /* it has no time of its own */
		t->gtsc_khz = 0;
		t->elapsed_nsec = 0;
		return 0;
	}
	t->gtsc_khz = c->d->tsc_khz;
	t->elapsed_nsec = port_now();
	return 0;
}

long domctl_settimeoffset(struct domctl_call *c)
{
	c->d->time_offset_seconds = c->op.u.settimeoffset.time_offset_seconds;
	time_update_wallclock(c->d);
	return 0;
}

long domctl_hypercall_init(struct domctl_call *c)
{
	return hcall_page_install(c->d, GFN(c->op.u.hypercall_init.gmfn));
}
