/*
 * hcall/schedctl.c: what the tool stack asks of the scheduler, by sysctl and by domctl: pools of CPUs, weights and
 * promises, affinities, what a vCPU does. Source: xen/sysctl.h, xen/domctl.h. Locks: all that changes something is under
 * domctl_lock, so that a domain's pool and its vCPUs' affinities hold still meanwhile; sched_control inside core/.
 */
#include "core/cpupool.h"
#include "core/guestmem.h"
#include "core/log.h"
#include "core/numa.h"
#include "hcall/bitmap.h"
#include "hcall/domctl.h"
#include "hcall/sysctl.h"
#include "lib/lib.h"
#include "port/machine.h"

static uint32_t abi_of(enum sched_policy policy)
{
	switch (policy) {
	case SCHED_SHARE:
		return XEN_SCHEDULER_CREDIT2;
	case SCHED_EDF:
		return XEN_SCHEDULER_RTDS;
	case SCHED_NULL:
		break;
	}
	return XEN_SCHEDULER_NULL;
}

static bool policy_of_abi(uint32_t id, enum sched_policy *policy)
{
	for (*policy = SCHED_SHARE; *policy <= SCHED_NULL; ++*policy)
		if (abi_of(*policy) == id)
			return true;
	return false;
}

/* The pool of d. */
static void pool_of(const struct domain *d, struct cpupool_info *out)
{
	int ret = cpupool_info(cpupool_of(d), false, out);

	ASSERT(!ret); /* it has a domain */
}

/* --- pools --- */

long sysctl_sched_id(struct sysctl_call *c)
{
	struct cpupool_info pool;
	int ret = cpupool_info(0, false, &pool);

	ASSERT(!ret);
	c->op.u.sched_id.sched_id = abi_of(pool.policy);
	return 0;
}

long sysctl_scheduler_op(struct sysctl_call *c)
{
	struct xen_sysctl_scheduler_op *s = &c->op.u.scheduler_op;
	struct cpupool_info pool;

	if (s->cmd != XEN_SYSCTL_SCHEDOP_putinfo && s->cmd != XEN_SYSCTL_SCHEDOP_getinfo)
		return -EINVAL;
	if (cpupool_info(s->cpupool_id, false, &pool))
		return -ESRCH;
	if (s->sched_id != abi_of(pool.policy))
		return -EINVAL;
	if (pool.policy != SCHED_SHARE)
		return -EOPNOTSUPP; /* no parameter that a whole pool has */
	if (s->cmd == XEN_SYSCTL_SCHEDOP_putinfo)
		return cpupool_set_ratelimit(s->cpupool_id, s->u.sched_credit2.ratelimit_us);
	s->u.sched_credit2.ratelimit_us = pool.ratelimit_us;
	return 0;
}

static long pool_info(struct sysctl_call *c)
{
	struct xen_sysctl_cpupool_op *p = &c->op.u.cpupool_op;
	struct cpupool_info pool;
	int ret = cpupool_info(p->cpupool_id, true, &pool);

	if (ret)
		return ret;
	p->cpupool_id = pool.id;
	p->sched_id = abi_of(pool.policy);
	p->n_dom = pool.domains;
	return bitmap_copy_out(c->h, &p->cpumap, &pool.cpus);
}

static long pool_free_cpus(struct sysctl_call *c)
{
	struct cpumask cpus = cpupool_free_cpus();

	return bitmap_copy_out(c->h, &c->op.u.cpupool_op.cpumap, &cpus);
}

static long pool_create(struct xen_sysctl_cpupool_op *p)
{
	enum sched_policy policy;

	return policy_of_abi(p->sched_id, &policy) ? cpupool_create(&p->cpupool_id, policy) : -ENOENT;
}

/* Its CPUs go first, one by one. */
static long pool_destroy(uint32_t id)
{
	struct cpupool_info pool;
	int ret = cpupool_info(id, false, &pool);

	if (ret)
		return ret;
	return cpumask_empty(&pool.cpus) ? cpupool_destroy(id) : -EBUSY;
}

/* The header has ENODEV for a CPU that is not in the pool. Xen answers otherwise, and so do we. */
static long pool_remove_cpu(const struct xen_sysctl_cpupool_op *p)
{
	int ret = cpupool_remove_cpu(p->cpupool_id, p->cpu);

	if (ret == -ENODEV)
		return p->cpu == XEN_SYSCTL_CPUPOOL_PAR_ANY ? -EINVAL : -EADDRNOTAVAIL;
	return ret;
}

/* Into the pool that it is in: nothing happens. Nobody moves itself: the CPU it calls from would be taken away from it. */
static long pool_move(struct sysctl_call *c)
{
	const struct xen_sysctl_cpupool_op *p = &c->op.u.cpupool_op;
	struct domain *d = p->domid < DOMID_FIRST_RESERVED ? domain_get((domid_t)p->domid) : NULL;
	long ret = 0;

	if (!d)
		return -ESRCH;
	if (d == c->h->d) {
		ret = -EPERM;
	} else if (cpupool_of(d) != p->cpupool_id) {
		ret = cpupool_move_domain(d, p->cpupool_id);
		if (!ret)
			numa_follow_vcpus(d);
		if (ret == -EBUSY)
			ret = -ENOENT; /* a pool without CPUs: as if there were none */
	}
	domain_put(d);
	return ret;
}

static long pool_change(struct sysctl_call *c)
{
	struct xen_sysctl_cpupool_op *p = &c->op.u.cpupool_op;

	switch (p->op) {
	case XEN_SYSCTL_CPUPOOL_OP_CREATE:
		return pool_create(p);
	case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
		return pool_destroy(p->cpupool_id);
	case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
		return cpupool_add_cpu(p->cpupool_id, p->cpu);
	case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
		return pool_remove_cpu(p);
	case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
		return pool_move(c);
	default:
		return -ENOSYS;
	}
}

long sysctl_cpupool_op(struct sysctl_call *c)
{
	long ret;

	switch (c->op.u.cpupool_op.op) {
	case XEN_SYSCTL_CPUPOOL_OP_INFO:
		return pool_info(c);
	case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
		return pool_free_cpus(c);
	default:
		if (!domctl_trylock())
			return -ERESTART;
		ret = pool_change(c);
		domctl_unlock();
		return ret;
	}
}

/* --- weights and promises --- */

static long share_op(struct domctl_call *c)
{
	struct xen_domctl_scheduler_op *s = &c->op.u.scheduler_op;
	struct xen_domctl_sched_credit2 *p = &s->u.credit2;
	struct domain *d = c->d;
	uint32_t vcpus = 0;
	struct vcpu *v;

	switch (s->cmd) {
	case XEN_DOMCTL_SCHEDOP_putinfo: /* weight 0: leave it */
		for_each_vcpu (d, v)
			vcpus++;
		if (p->cap > 100 * vcpus)
			return -EINVAL;
		return sched_set_weight(d, p->weight ? p->weight : d->sched_weight, p->cap);
	case XEN_DOMCTL_SCHEDOP_getinfo:
		p->weight = d->sched_weight;
		p->cap = d->sched_cap;
		return 0;
	default:
		return -EINVAL;
	}
}

static long put_promise(struct vcpu *v, const struct xen_domctl_sched_rtds *p)
{
	return sched_set_promise(v, p->period, p->budget, p->flags & XEN_DOMCTL_SCHEDRT_extra);
}

static void get_promise(struct vcpu *v, struct xen_domctl_sched_rtds *p)
{
	bool extra;

	sched_get_promise(v, &p->period, &p->budget, &extra);
	p->flags = extra ? XEN_DOMCTL_SCHEDRT_extra : 0;
}

#define PREEMPT_EVERY 64u

/* Element by element. The first that fails ends it; the caller learns how many went well before, or the error if none. */
static long edf_vcpus(struct domctl_call *c, bool put)
{
	struct xen_domctl_scheduler_op *s = &c->op.u.scheduler_op;
	gva_t at = (gva_t)s->u.v.vcpus.p;
	uint32_t n;
	long ret = 0;

	for (n = 0; n < s->u.v.nr_vcpus; n++, at += sizeof(xen_domctl_schedparam_vcpu_t)) {
		xen_domctl_schedparam_vcpu_t p;
		struct vcpu *v;

		if (n && n % PREEMPT_EVERY == 0 && hcall_preempt())
			break;
		ret = hcall_copy_in(c->h, &p, at);
		if (ret)
			break;
		v = domain_vcpu(c->d, p.vcpuid);
		ret = -EINVAL;
		if (!v)
			break;
		if (put) {
			ret = put_promise(v, &p.u.rtds);
		} else {
			get_promise(v, &p.u.rtds);
			ret = hcall_copy_out(c->h, at, &p);
		}
		if (ret)
			break;
	}
	s->u.v.nr_vcpus = n;
	return n ? 0 : ret;
}

static long edf_op(struct domctl_call *c)
{
	struct xen_domctl_scheduler_op *s = &c->op.u.scheduler_op;
	struct vcpu *first = domain_vcpu(c->d, 0);
	struct xen_domctl_sched_rtds now = { .flags = XEN_DOMCTL_SCHEDRT_extra };

	switch (s->cmd) {
	case XEN_DOMCTL_SCHEDOP_putinfo: /* whether they go beyond it is not among what this one sets */
		if (first)
			get_promise(first, &now);
		return sched_set_promise_all(c->d, s->u.rtds.period, s->u.rtds.budget,
					     now.flags & XEN_DOMCTL_SCHEDRT_extra);
	case XEN_DOMCTL_SCHEDOP_getinfo: /* the defaults, as the header says */
		s->u.rtds.period = SCHED_EDF_PERIOD_US;
		s->u.rtds.budget = SCHED_EDF_BUDGET_US;
		return 0;
	case XEN_DOMCTL_SCHEDOP_putvcpuinfo:
		return edf_vcpus(c, true);
	case XEN_DOMCTL_SCHEDOP_getvcpuinfo:
		return edf_vcpus(c, false);
	default:
		return -EINVAL;
	}
}

long domctl_scheduler_op(struct domctl_call *c)
{
	struct cpupool_info pool;

	pool_of(c->d, &pool);
	if (c->op.u.scheduler_op.sched_id != abi_of(pool.policy))
		return -EINVAL;
	switch (pool.policy) {
	case SCHED_SHARE:
		return share_op(c);
	case SCHED_EDF:
		return edf_op(c);
	case SCHED_NULL:
		break;
	}
	return -EOPNOTSUPP; /* it has no parameters */
}

/* --- affinity --- */

static long check_affinity(struct domctl_call *c, struct vcpu **v)
{
	const struct xen_domctl_vcpuaffinity *a = &c->op.u.vcpuaffinity;

	if (a->vcpu >= c->d->max_vcpus)
		return -EINVAL;
	*v = domain_vcpu(c->d, a->vcpu);
	if (!*v)
		return -ESRCH;
	if (!a->flags || (a->flags & XEN_VCPUAFFINITY_HARD && !a->cpumap_hard.bitmap.p) ||
	    (a->flags & XEN_VCPUAFFINITY_SOFT && !a->cpumap_soft.bitmap.p))
		return -EINVAL;
	return 0;
}

/* What of it is in effect goes back: the soft mask within the hard one, and that within the pool's CPUs. */
long domctl_setvcpuaffinity(struct domctl_call *c)
{
	const struct xen_domctl_vcpuaffinity *a = &c->op.u.vcpuaffinity;
	bool set_hard = a->flags & XEN_VCPUAFFINITY_HARD, set_soft = a->flags & XEN_VCPUAFFINITY_SOFT;
	struct cpumask hard, soft;
	struct cpupool_info pool;
	struct vcpu *v;
	long ret = check_affinity(c, &v);

	if (!ret && set_hard)
		ret = bitmap_copy_in(c->h, &hard, &a->cpumap_hard);
	if (!ret && set_hard)
		ret = bitmap_check_out(c->h, &a->cpumap_hard);
	if (!ret && set_soft)
		ret = bitmap_copy_in(c->h, &soft, &a->cpumap_soft);
	if (!ret && set_soft)
		ret = bitmap_check_out(c->h, &a->cpumap_soft);
	if (!ret && set_hard && v->pinned) /* SCHEDOP_pin_override comes first */
		ret = -EBUSY;
	if (!ret && (set_hard || set_soft))
		ret = sched_set_affinity(v, set_hard ? &hard : NULL, set_soft ? &soft : NULL);
	if (ret)
		return ret;
	numa_follow_vcpus(c->d);

	pool_of(c->d, &pool);
	hard = cpumask_and(&v->sched.hard, &pool.cpus);
	soft = cpumask_and(&v->sched.soft, &hard);
	if ((set_hard && bitmap_copy_out(c->h, &a->cpumap_hard, &hard)) ||
	    (set_soft && bitmap_copy_out(c->h, &a->cpumap_soft, &soft)))
		return -EFAULT;
	return 0;
}

/* As they were set, of the CPUs that there are. */
long domctl_getvcpuaffinity(struct domctl_call *c)
{
	const struct xen_domctl_vcpuaffinity *a = &c->op.u.vcpuaffinity;
	struct cpumask cpus = CPUMASK_NONE, hard, soft;
	struct vcpu *v;
	long ret = check_affinity(c, &v);

	if (ret)
		return ret;
	for (unsigned i = 0; i < port_cpu_count(); i++)
		cpumask_set(&cpus, i);
	hard = cpumask_and(&v->sched.hard, &cpus);
	soft = cpumask_and(&v->sched.soft, &cpus);
	if (a->flags & XEN_VCPUAFFINITY_HARD)
		ret = bitmap_copy_out(c->h, &a->cpumap_hard, &hard);
	if (!ret && a->flags & XEN_VCPUAFFINITY_SOFT)
		ret = bitmap_copy_out(c->h, &a->cpumap_soft, &soft);
	return ret;
}

/* --- information --- */

/* Where it runs or ran last; when it may not run there any more, a CPU where it may. */
static uint32_t cpu_of(const struct vcpu *v, int state)
{
	struct cpupool_info pool;
	struct cpumask may;
	uint32_t cpu = v->sched.cpu;

	if (state == RUNSTATE_running)
		return cpu;
	pool_of(v->domain, &pool);
	may = cpumask_and(&v->sched.hard, &pool.cpus);
	return cpumask_test(&may, cpu) ? cpu : cpumask_first(&may);
}

long domctl_getvcpuinfo(struct domctl_call *c)
{
	struct xen_domctl_getvcpuinfo *info = &c->op.u.getvcpuinfo;
	struct vcpu *v = domain_vcpu(c->d, info->vcpu);
	uint64_t time[4], entered;
	int state;

	if (info->vcpu >= c->d->max_vcpus)
		return -EINVAL;
	if (!v)
		return -ESRCH;
	sched_runstate(v, time, &entered, &state);
	info->online = v->sched.up;
	info->blocked = v->sched.blocked;
	info->running = state == RUNSTATE_running;
	info->cpu_time = time[RUNSTATE_running];
	info->cpu = cpu_of(v, state);
	return 0;
}
