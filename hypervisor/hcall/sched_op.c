/*
 * hcall/sched_op.c: a vCPU yields, blocks, polls; a domain shuts down. Source: xen/sched.h. Locks: domain.lock for the
 * shutdown code, hcall/domctl.c's for affinity.
 *
 * Nothing waits in here: a blocking op marks the vCPU blocked and returns 0; the run loop goes on with another one.
 */
#include "core/evtchn.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/compat.h"
#include "hcall/domctl.h"
#include "hcall/table.h"
#include "lib/lib.h"
#include "port/machine.h"

COMPAT_SAME_SIZE(sched_remote_shutdown);
COMPAT_SAME_SIZE(sched_watchdog);

#define POLL_MAX      128u
#define NS_PER_SECOND 1000000000ull

struct poll {
	gva_t ports;
	uint32_t nr;
	uint64_t timeout; /* absolute, ns; 0 = none */
};

static int read_poll(struct hcall *h, gva_t arg, struct poll *p)
{
	uint8_t raw[sizeof(struct sched_poll)];
	struct sched_poll a;

	if (h->compat) {
		uint32_t ports;

		if (guestmem_read(h->v, raw, arg, COMPAT_sched_poll_SIZE))
			return -EFAULT;
		memcpy(&ports, raw + COMPAT_sched_poll_ports, sizeof(ports));
		memcpy(&p->nr, raw + COMPAT_sched_poll_nr_ports, sizeof(p->nr));
		memcpy(&p->timeout, raw + COMPAT_sched_poll_timeout, sizeof(p->timeout));
		p->ports = ports;
		return 0;
	}
	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	p->ports = (gva_t)(uintptr_t)a.ports.p;
	p->nr = a.nr_ports;
	p->timeout = a.timeout;
	return 0;
}

/* 1: one of the ports is pending, 0: none is, -EINVAL: not a port. */
static int any_pending(struct domain *d, const evtchn_port_t *ports, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		int rc = evtchn_port_pending(d, ports[i]);

		if (rc)
			return rc;
	}
	return 0;
}

/*
 * Blocked first, looked after: an event that comes in between finds the vCPU blocked and polling and wakes it. A pending
 * interrupt ends the poll before it begins.
 */
static long poll(struct hcall *h, gva_t arg)
{
	evtchn_port_t ports[POLL_MAX];
	struct vcpu *v = h->v;
	struct poll p;
	int rc;

	if (read_poll(h, arg, &p))
		return -EFAULT;
	if (p.nr > POLL_MAX)
		return -EINVAL;
	if (guestmem_read(v, ports, p.ports, p.nr * sizeof(ports[0])))
		return -EFAULT;
	evtchn_note_poller(v, p.nr == 1 ? ports[0] : 0);
	sched_block(v);
	rc = any_pending(h->d, ports, p.nr);
	if (rc || !__atomic_load_n(&v->sched.blocked, __ATOMIC_RELAXED)) {
		sched_wake(v);
		__atomic_store_n(&v->sched.polling, false, __ATOMIC_SEQ_CST);
		return rc < 0 ? rc : 0;
	}
	if (p.timeout)
		timer_set(&v->poll, p.timeout);
	return 0;
}

static long shutdown(struct hcall *h, gva_t arg)
{
	struct sched_shutdown a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	domain_shutdown(h->d, (uint8_t)a.reason);
	return 0;
}

/* What a later shutdown will report; the first one said counts. */
static long shutdown_code(struct hcall *h, gva_t arg)
{
	struct sched_shutdown a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	spin_lock(&h->d->lock);
	if (h->d->shutdown_code == DOMAIN_NOT_SHUT)
		h->d->shutdown_code = (uint8_t)a.reason;
	spin_unlock(&h->d->lock);
	return 0;
}

/* id 0 takes a free watchdog and returns its number; a number sets it again, or with timeout 0 gives it back. */
static long watchdog(struct hcall *h, gva_t arg)
{
	struct domain *d = h->d;
	struct sched_watchdog a;
	long ret = 0;
	unsigned i;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.id > ARRAY_SIZE(d->watchdog) || (!a.id && !a.timeout))
		return -EINVAL;
	spin_lock(&d->lock);
	i = a.id ? a.id - 1 : d->watchdogs & 1;
	if (!a.id && (d->watchdogs & BIT(i))) {
		ret = -ENOSPC;
	} else if (a.id && !(d->watchdogs & BIT(i))) {
		ret = -EINVAL;
	} else if (!a.timeout) {
		d->watchdogs &= (uint8_t)~BIT(i);
		timer_stop(&d->watchdog[i]);
	} else {
		d->watchdogs |= (uint8_t)BIT(i);
		timer_set(&d->watchdog[i], port_now() + a.timeout * NS_PER_SECOND);
		ret = a.id ? 0 : i + 1;
	}
	spin_unlock(&d->lock);
	return ret;
}

/* For device models and the tool stack: never for the caller itself, unless it may control domains. */
static long remote_shutdown(struct hcall *h, gva_t arg)
{
	struct sched_remote_shutdown a;
	struct domain *d;
	int rc;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	d = domain_get(a.domain_id);
	if (!d)
		return -ESRCH;
	rc = policy_may(h->d, d == h->d ? ACTION_DOMCTL : ACTION_PARAMS, d);
	if (!rc)
		domain_shutdown(d, (uint8_t)a.reason);
	domain_put(d);
	return rc;
}

static long block(struct vcpu *v)
{
	v->info->evtchn_upcall_mask = 0;
	sched_block(v);
	return 0;
}

static long pin(struct vcpu *v, unsigned cpu)
{
	struct cpumask one = CPUMASK_NONE, was = v->sched.hard;
	int rc;

	cpumask_set(&one, cpu);
	rc = sched_set_affinity(v, &one, NULL);
	if (!rc && !v->pinned)
		v->unpinned = was;
	v->pinned = v->pinned || !rc;
	return rc;
}

static long unpin(struct vcpu *v)
{
	const struct cpumask all = CPUMASK_ALL;

	/* Its pool may have lost those CPUs meanwhile. */
	if (v->pinned && sched_set_affinity(v, &v->unpinned, NULL))
		sched_set_affinity(v, &all, NULL);
	v->pinned = false;
	return 0;
}

/* The calling vCPU runs on that CPU only, whatever its hard affinity was; a negative number: as before. */
static long pin_override(struct hcall *h, gva_t arg)
{
	struct sched_pin_override a;
	long rc;

	if (policy_may(h->d, ACTION_HARDWARE, NULL))
		return -EPERM;
	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.pcpu >= (int32_t)port_cpu_count())
		return -EINVAL;
	if (!domctl_trylock())
		return -ERESTART;
	rc = a.pcpu < 0 ? unpin(h->v) : pin(h->v, (unsigned)a.pcpu);
	domctl_unlock();
	return rc;
}

long hcall_sched_op(struct hcall *h)
{
	uint32_t op = (uint32_t)h->arg[0];
	gva_t arg = h->arg[1];

	switch (op) {
	case SCHEDOP_yield:
		sched_yield_cpu(h->v);
		return 0;
	case SCHEDOP_block:
		return block(h->v);
	case SCHEDOP_poll:
		return poll(h, arg);
	case SCHEDOP_shutdown:
		return shutdown(h, arg);
	case SCHEDOP_shutdown_code:
		return shutdown_code(h, arg);
	case SCHEDOP_remote_shutdown:
		return remote_shutdown(h, arg);
	case SCHEDOP_watchdog:
		return watchdog(h, arg);
	case SCHEDOP_pin_override:
		return pin_override(h, arg);
	default:
		return -ENOSYS;
	}
}
