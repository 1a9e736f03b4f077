/*
 * hcall/domctl.c: XEN_DOMCTL_*: the dispatcher, and a domain's life: create, pause, destroy, information, limits.
 * Source: xen/domctl.h. The other files are domctl_vcpu.c, domctl_hvm.c, domctl_numa.c, domctl_misc.c and schedctl.c.
 * Locks: domctl_lock (outermost of all) makes these calls one at a time; a caller that finds it taken restarts.
 */
#include "core/cpupool.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/log.h"
#include "core/policy.h"
#include "hcall/domctl.h"
#include "lib/lib.h"

static spinlock_t domctl_lock = SPINLOCK_INIT(LOCK_DOMCTL);

bool domctl_trylock(void) NO_LOCK_CHECK
{
	return spin_trylock(&domctl_lock);
}

void domctl_unlock(void) NO_LOCK_CHECK
{
	spin_unlock(&domctl_lock);
}

enum domctl_target { TARGET_REFUSED, TARGET_NONE, TARGET_NEXT, TARGET_DOMAIN };
enum domctl_dir { DIR_IN, DIR_INOUT };

struct domctl_rule {
	enum domctl_target target;
	enum domctl_dir dir;
};

static struct domctl_rule domctl_rule(uint32_t cmd)
{
	switch (cmd) {
#define DOMCTL(name, target, dir)                                                                                      \
	case XEN_DOMCTL_##name:                                                                                        \
		return (struct domctl_rule){ TARGET_##target, DIR_##dir };
#include "hcall/ops.def"
	default:
		return (struct domctl_rule){ TARGET_REFUSED, DIR_IN };
	}
}

static long domctl_run(struct domctl_call *c)
{
	switch (c->op.cmd) {
#define DOMCTL(name, target, dir)                                                                                      \
	case XEN_DOMCTL_##name:                                                                                        \
		return domctl_##name(c);
#define DOMCTL_REFUSED(name, error)                                                                                    \
	case XEN_DOMCTL_##name:                                                                                        \
		return -error;
#define DOMCTL_MISSING(name, error)                                                                                    \
	case XEN_DOMCTL_##name:                                                                                        \
		return hcall_unimplemented("domctl", c->op.cmd, error);
#include "hcall/ops.def"
	default:
		return -ENOSYS;
	}
}

static long domctl_locked(struct domctl_call *c, enum domctl_dir dir)
{
	gva_t arg = c->h->arg[0];
	long ret;

	if (dir == DIR_INOUT && guestmem_check_write(c->h->v, arg, sizeof(c->op)))
		return -EFAULT;
	if (!domctl_trylock())
		return -ERESTART;
	ret = domctl_run(c);
	domctl_unlock();
	if ((ret >= 0 && dir == DIR_INOUT) || c->back_on_error)
		if (guestmem_write(c->h->v, arg, &c->op, sizeof(c->op)))
			return -EFAULT;
	return ret;
}

/* 32-bit callers have the same layout: every handle and 64-bit word of this interface is aligned to 8 bytes. */
long hcall_domctl(struct hcall *h)
{
	struct domctl_call c = { .h = h };
	struct domctl_rule rule;
	enum action action = ACTION_DOMCTL;
	long ret;

	if (hcall_copy_in(h, &c.op, h->arg[0]))
		return -EFAULT;
	if (c.op.interface_version != XEN_DOMCTL_INTERFACE_VERSION)
		return -EACCES;
	rule = domctl_rule(c.op.cmd);
	if (rule.target == TARGET_NEXT) {
		c.d = domain_next(c.op.domain);
		action = ACTION_DOMINFO;
	} else if (rule.target == TARGET_DOMAIN || c.op.domain < DOMID_FIRST_RESERVED) {
		c.d = rule.target == TARGET_NONE ? NULL : domain_get(c.op.domain);
	}
	if (!c.d && (rule.target == TARGET_DOMAIN || rule.target == TARGET_NEXT))
		return -ESRCH;

	ret = policy_may(h->d, action, c.d);
	if (!ret)
		ret = domctl_locked(&c, rule.dir);
	if (c.d)
		domain_put(c.d);
	return ret;
}

/* --- life --- */

#define CDF_OFFERED (XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap | XEN_DOMCTL_CDF_oos_off | XEN_DOMCTL_CDF_xs_domain)

/* xl says only that the domain could not be created: for what people try, the reason goes to the log. */
static long check_config(const struct xen_domctl_createdomain *cfg, const struct domain *caller)
{
	uint32_t grants = XEN_DOMCTL_GRANT_version(cfg->grant_opts);

	if (cfg->flags & ~((XEN_DOMCTL_CDF_MAX << 1) - 1) || cfg->iommu_opts & ~((XEN_DOMCTL_IOMMU_MAX << 1) - 1))
		return -EINVAL;
	if (!(cfg->flags & XEN_DOMCTL_CDF_hvm) || !(cfg->flags & XEN_DOMCTL_CDF_hap)) {
		log_guest(LOG_WARN, caller->id, "createdomain: PV and shadow paging are not offered, use type=\"pvh\"");
		return -EINVAL;
	}
	if (cfg->flags & ~CDF_OFFERED || cfg->iommu_opts || cfg->vmtrace_size)
		return -EINVAL;
	if (cfg->max_vcpus == 0 || cfg->max_vcpus > DOMAIN_MAX_VCPUS)
		return -EINVAL;
	if (grants < 1 || grants > 2 || cfg->grant_opts & ~XEN_DOMCTL_GRANT_version_mask)
		return -EINVAL;
	if (cfg->arch.emulation_flags & ~XEN_X86_EMU_ALL || cfg->arch.misc_flags & ~(XEN_X86_MISC_FLAGS_MAX))
		return -EINVAL;
	if (cfg->arch.emulation_flags != XEN_X86_EMU_LAPIC) {
		log_guest(LOG_WARN, caller->id, "createdomain: there are no device models yet, use type=\"pvh\"");
		return hcall_unimplemented("createdomain with emulation", cfg->arch.emulation_flags, EOPNOTSUPP);
	}
	return 0;
}

long domctl_createdomain(struct domctl_call *c)
{
	const struct xen_domctl_createdomain *cfg = &c->op.u.createdomain;
	struct domain_config config = {
		.id = c->op.domain == 0 || c->op.domain >= DOMID_FIRST_RESERVED ? DOMID_INVALID : c->op.domain,
		.max_vcpus = cfg->max_vcpus,
		.pool = cfg->cpupool_id,
		.max_evtchn_port = cfg->max_evtchn_port,
		.max_grant_frames = cfg->max_grant_frames,
		.max_maptrack_frames = cfg->max_maptrack_frames,
		.grant_opts = cfg->grant_opts,
		.options = cfg->flags,
		.emulation = cfg->arch.emulation_flags,
		.rights = cfg->flags & XEN_DOMCTL_CDF_xs_domain ? RIGHT_XENSTORE : 0,
	};
	struct domain *d;
	long ret = check_config(cfg, c->h->d);

	if (ret)
		return ret;
	memcpy(config.uuid, cfg->handle, sizeof(config.uuid));
	ret = domain_create(&config, &d);
	if (ret)
		return ret == -ENOENT ? -ESRCH : ret; /* no such pool, or none with CPUs */
	d->ssidref = cfg->ssidref;
	d->params[HVM_PARAM_TRIPLE_FAULT_REASON] = SHUTDOWN_reboot;
	c->op.domain = d->id;
	return 0;
}

long domctl_destroydomain(struct domctl_call *c)
{
	return c->d == c->h->d ? -EINVAL : domain_kill(c->d);
}

#define MAX_PAUSES 255u

long domctl_pausedomain(struct domctl_call *c)
{
	struct domain *d = c->d;
	long ret = 0;

	if (d == c->h->d)
		return -EINVAL;
	spin_lock(&d->lock);
	if (d->ctl_pause_count >= MAX_PAUSES)
		ret = -EOVERFLOW;
	else
		d->ctl_pause_count++;
	spin_unlock(&d->lock);
	if (!ret)
		sched_domain_pause(d);
	return ret;
}

/* The pause a domain is created with counts as the tool stack's first. */
long domctl_unpausedomain(struct domctl_call *c)
{
	struct domain *d = c->d;
	long ret = 0;

	spin_lock(&d->lock);
	if (d->ctl_pause_count)
		d->ctl_pause_count--;
	else if (d->created_paused)
		d->created_paused = false;
	else
		ret = -EINVAL;
	spin_unlock(&d->lock);
	if (!ret)
		sched_domain_unpause(d);
	return ret;
}

long domctl_resumedomain(struct domctl_call *c)
{
	if (c->d == c->h->d)
		return -EINVAL;
	domain_resume(c->d);
	return 0;
}

/* --- information and limits --- */

static void fill_vcpus(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
	bool all_blocked = true;
	struct vcpu *v;

	info->max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
	info->cpu_time = d->cpu_time_dead;
	for_each_vcpu (d, v) {
		uint64_t time[4], entered;
		int state;

		sched_runstate(v, time, &entered, &state);
		info->cpu_time += time[RUNSTATE_running];
		info->max_vcpu_id = v->id;
		if (!v->sched.up)
			continue;
		info->nr_online_vcpus++;
		if (!v->sched.blocked)
			all_blocked = false;
		if (state == RUNSTATE_running)
			info->flags |= XEN_DOMINF_running;
	}
	if (all_blocked)
		info->flags |= XEN_DOMINF_blocked;
}

void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
	memset(info, 0, sizeof(*info));
	info->domain = d->id;
	info->flags = XEN_DOMINF_hvm_guest | XEN_DOMINF_hap;
	fill_vcpus(d, info);

	spin_lock(&d->lock);
	if (domain_dying(d))
		info->flags |= XEN_DOMINF_dying;
	if (d->is_shut_down)
		info->flags |= XEN_DOMINF_shutdown | (uint32_t)d->shutdown_code << XEN_DOMINF_shutdownshift;
	if (d->ctl_pause_count || d->created_paused)
		info->flags |= XEN_DOMINF_paused;
	spin_unlock(&d->lock);
	if (d->rights & RIGHT_XENSTORE)
		info->flags |= d->options & XEN_DOMCTL_CDF_xs_domain ? XEN_DOMINF_xs_domain : 0;

	info->tot_pages = d->frames;
	info->max_pages = MIN(d->max_frames, (uint64_t)UINT32_MAX); /* what tools show as no limit */
	info->outstanding_pages = d->claimed;
	info->shared_info_frame = d->shared_info_gfn; /* like Xen: a gfn, ~0 while the guest has it nowhere */
	info->ssidref = d->ssidref;
	info->cpupool = cpupool_of(d);
	memcpy(info->handle, d->uuid, sizeof(info->handle));
	info->arch_config.emulation_flags = d->emulation;
}

long domctl_getdomaininfo(struct domctl_call *c)
{
	domctl_fill_info(c->d, &c->op.u.getdomaininfo);
	c->op.domain = c->d->id;
	return 0;
}

long domctl_max_mem(struct domctl_call *c)
{
	/* Xen counts pages in 32 bits; kept so that a tool reads back the same. */
	c->d->max_frames = MIN(c->op.u.max_mem.max_memkb >> (PAGE_SHIFT - 10), (uint64_t)UINT32_MAX);
	return 0;
}

long domctl_max_vcpus(struct domctl_call *c)
{
	struct domain *d = c->d;

	if (d == c->h->d || c->op.u.max_vcpus.max != d->max_vcpus)
		return -EINVAL;
	for (uint32_t i = 0; i < d->max_vcpus; i++) {
		int ret = d->vcpu[i] ? 0 : domain_vcpu_create(d, i);

		if (ret)
			return ret;
	}
	return 0;
}

long domctl_setdomainhandle(struct domctl_call *c)
{
	memcpy(c->d->uuid, c->op.u.setdomainhandle.handle, sizeof(c->d->uuid));
	return 0;
}
