// SPDX-License-Identifier: Apache-2.0
// cpus: 4
/*
 * What the tool stack asks of the scheduler: cpupools, affinities, weights and caps, budgets and periods, what CPUs and
 * vCPUs did. As an unprivileged domain: the refusal. The machine has four CPUs, dom0 one vCPU.
 *
 * Owns: the domain `peer`, which has two vCPUs and never runs, and the pools it makes. Sources: public headers sysctl.h,
 * domctl.h. Debian builds Xen without the rtds and null schedulers, so what is asked of them is checked where they are.
 */
#include "lib/guest.h"

#include <xen/domctl.h>
#include <xen/sysctl.h>

const char guest_name[] = "schedctl";

#define BAD  ((void *)0x7f0000000000UL)
#define ANY  XEN_SYSCTL_CPUPOOL_PAR_ANY
#define NONE 77U /* a pool that is not there */
#define BOTH (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT)

#define CREATE	XEN_SYSCTL_CPUPOOL_OP_CREATE
#define DESTROY XEN_SYSCTL_CPUPOOL_OP_DESTROY
#define INFO	XEN_SYSCTL_CPUPOOL_OP_INFO
#define ADD	XEN_SYSCTL_CPUPOOL_OP_ADDCPU
#define REMOVE	XEN_SYSCTL_CPUPOOL_OP_RMCPU
#define MOVE	XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN
#define FREE	XEN_SYSCTL_CPUPOOL_OP_FREEINFO

static struct xen_sysctl ctl;
static struct xen_domctl op;
static struct xen_sysctl_cpupool_op *const p = &ctl.u.cpupool_op;

static long sysctl(uint32_t cmd)
{
	ctl.cmd = cmd;
	ctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	return HC(__HYPERVISOR_sysctl, &ctl);
}

/* ---- pools ---- */

static uint64_t cpus; /* the map of the last pool operation */

/* what: the scheduler (CREATE), the CPU (ADD, REMOVE) or the domain (MOVE). */
static long pool(uint32_t todo, uint32_t id, uint32_t what)
{
	*p = (struct xen_sysctl_cpupool_op){.op = todo, .cpupool_id = id, .sched_id = what, .cpu = what, .domid = what};
	cpus = ~0UL;
	set_xen_guest_handle(p->cpumap.bitmap, (uint8_t *)&cpus);
	p->cpumap.nr_bits = 64;
	return sysctl(XEN_SYSCTL_cpupool_op);
}

/* Is that what the pool has? */
static bool pool_is(uint32_t id, uint64_t map, uint32_t domains)
{
	return pool(INFO, id, 0) == 0 && p->cpupool_id == id && cpus == map && p->n_dom == domains;
}

static bool free_is(uint64_t map)
{
	return pool(FREE, 0, 0) == 0 && cpus == map;
}

static void pool_life(void)
{
	CHECK_EQ("sched_id", sysctl(XEN_SYSCTL_sched_id), 0);
	CHECK_EQ("is credit2's", ctl.u.sched_id.sched_id, XEN_SCHEDULER_CREDIT2);
	CHECK("pool 0 has all CPUs and us", pool_is(0, 0xf, 1));
	CHECK_EQ("its scheduler", p->sched_id, XEN_SCHEDULER_CREDIT2);
	CHECK("no CPU is free", free_is(0));
	CHECK_EQ("no pool behind it", pool(INFO, 1, 0), -XEN_ENOENT);
	CHECK_EQ("nor at the end of numbers", pool(INFO, ANY, 0), -XEN_ENOENT);
	CHECK_EQ("no such operation", pool(0, 0, 0), -XEN_ENOSYS);
	CHECK_EQ("nor this", pool(99, 0, 0), -XEN_ENOSYS);

	CHECK_EQ("create with no such scheduler", pool(CREATE, ANY, 99), -XEN_ENOENT);
	CHECK_EQ("create with a scheduler of the past", pool(CREATE, ANY, 4), -XEN_ENOENT);
	CHECK_EQ("create pool 0 again", pool(CREATE, 0, XEN_SCHEDULER_CREDIT2), -XEN_EEXIST);
	CHECK_EQ("create pool 10", pool(CREATE, 10, XEN_SCHEDULER_CREDIT2), 0);
	CHECK_EQ("create it twice", pool(CREATE, 10, XEN_SCHEDULER_CREDIT2), -XEN_EEXIST);
	CHECK("it is empty", pool_is(10, 0, 0));
	CHECK_EQ("create any", pool(CREATE, ANY, XEN_SCHEDULER_CREDIT2), 0);
	CHECK("its number is free, and told", p->cpupool_id != 0 && p->cpupool_id != 10 && p->cpupool_id != ANY);
	CHECK_EQ("destroy it", pool(DESTROY, p->cpupool_id, 0), 0);
	CHECK_EQ("the next pool", pool(INFO, 3, 0), 0);
	CHECK_EQ("is pool 10", p->cpupool_id, 10);
	*p = (struct xen_sysctl_cpupool_op){.op = INFO, .cpumap.nr_bits = 64};
	set_xen_guest_handle(p->cpumap.bitmap, (uint8_t *)BAD);
	CHECK_EQ("info to a bad place", sysctl(XEN_SYSCTL_cpupool_op), -XEN_EFAULT);
}

static void pool_cpus(void)
{
	CHECK_EQ("add to no pool", pool(ADD, NONE, 3), -XEN_ENOENT);
	CHECK_EQ("add no CPU", pool(ADD, 10, 4), -XEN_EINVAL);
	CHECK_EQ("add CPU 5000", pool(ADD, 10, 5000), -XEN_EINVAL);
	CHECK_EQ("add a CPU that is taken", pool(ADD, 10, 3), -XEN_ENODEV);
	CHECK_EQ("add any while none is free", pool(ADD, 10, ANY), -XEN_ENODEV);
	CHECK_EQ("remove from no pool", pool(REMOVE, NONE, 3), -XEN_ENOENT);
	CHECK_EQ("remove no CPU", pool(REMOVE, 0, 4), -XEN_EINVAL);
	CHECK_EQ("remove any from an empty pool", pool(REMOVE, 10, ANY), -XEN_EINVAL);
	CHECK_EQ("remove another pool's CPU", pool(REMOVE, 10, 3), -XEN_EADDRNOTAVAIL);
	CHECK("nothing has changed", pool_is(0, 0xf, 2) && pool_is(10, 0, 0) && free_is(0));

	CHECK_EQ("remove CPU 3", pool(REMOVE, 0, 3), 0);
	CHECK_EQ("remove it twice", pool(REMOVE, 0, 3), -XEN_EADDRNOTAVAIL);
	CHECK("it is free", pool_is(0, 7, 2) && free_is(8));
	CHECK_EQ("remove any", pool(REMOVE, 0, ANY), 0);
	CHECK("that was the last", pool_is(0, 3, 2) && free_is(0xc));
	CHECK_EQ("move a domain to an empty pool", pool(MOVE, 10, peer_domid), -XEN_ENOENT);
	CHECK_EQ("add CPU 3", pool(ADD, 10, 3), 0);
	CHECK_EQ("add it twice", pool(ADD, 10, 3), -XEN_ENODEV);
	CHECK_EQ("add any", pool(ADD, 10, ANY), 0);
	CHECK("that was the other", pool_is(10, 0xc, 0) && free_is(0));
}

/* ---- affinities ---- */

static uint64_t hard, soft;

static long affinity(uint32_t cmd, uint32_t vcpu, uint32_t flags, uint64_t h, uint64_t s)
{
	hard = h;
	soft = s;
	op.u.vcpuaffinity = (struct xen_domctl_vcpuaffinity){.vcpu = vcpu, .flags = flags};
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, (uint8_t *)&hard);
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_soft.bitmap, (uint8_t *)&soft);
	op.u.vcpuaffinity.cpumap_hard.nr_bits = op.u.vcpuaffinity.cpumap_soft.nr_bits = 64;
	return peer_domctl(cmd, &op);
}

static long pin(uint32_t flags, uint64_t h, uint64_t s)
{
	return affinity(XEN_DOMCTL_setvcpuaffinity, 0, flags, h, s);
}

static bool pinned(uint64_t h, uint64_t s)
{
	return affinity(XEN_DOMCTL_getvcpuaffinity, 0, BOTH, 0, 0) == 0 && hard == h && soft == s;
}

/* All four CPUs are in the peer's pool. */
static void affinities(void)
{
	CHECK("any CPU at first", pinned(0xf, 0xf));
	CHECK_EQ("of no vCPU", affinity(XEN_DOMCTL_getvcpuaffinity, 2, BOTH, 0, 0), -XEN_EINVAL);
	CHECK_EQ("set of no vCPU", affinity(XEN_DOMCTL_setvcpuaffinity, 2, BOTH, 1, 1), -XEN_EINVAL);
	CHECK_EQ("get neither", affinity(XEN_DOMCTL_getvcpuaffinity, 0, 0, 0, 0), -XEN_EINVAL);
	CHECK_EQ("set neither", pin(0, 1, 1), -XEN_EINVAL);
	CHECK_EQ("only undo an override", pin(XEN_VCPUAFFINITY_FORCE, 1, 1), 0);
	CHECK("which was not there", pinned(0xf, 0xf));

	CHECK_EQ("hard, with CPUs that are not there", pin(XEN_VCPUAFFINITY_HARD, 0xf2, 0), 0);
	CHECK_EQ("in effect", hard, 2);
	CHECK("kept", pinned(2, 0xf));
	CHECK_EQ("soft", pin(XEN_VCPUAFFINITY_SOFT, 0, 7), 0);
	CHECK_EQ("in effect within hard", soft, 2);
	CHECK("kept as given", pinned(2, 7));
	CHECK_EQ("both", pin(BOTH, 0xc, 7), 0);
	CHECK("in effect", hard == 0xc && soft == 4);
	CHECK_EQ("both, and undo an override", pin(BOTH | XEN_VCPUAFFINITY_FORCE, 6, 2), 0);
	CHECK("kept", pinned(6, 2));
	CHECK_EQ("soft to none", pin(XEN_VCPUAFFINITY_SOFT, 0, 0), 0);
	CHECK("is allowed", pinned(6, 0));
	CHECK_EQ("hard to none", pin(XEN_VCPUAFFINITY_HARD, 0, 0), -XEN_EINVAL);
	CHECK_EQ("hard to what is not there", pin(XEN_VCPUAFFINITY_HARD, 0xf0, 0), -XEN_EINVAL);
	CHECK_EQ("both, hard to what is not there", pin(BOTH, 0xf0, 1), -XEN_EINVAL);
	CHECK("nothing has changed", pinned(6, 0));

	op.u.vcpuaffinity = (struct xen_domctl_vcpuaffinity){.flags = BOTH};
	CHECK_EQ("no maps", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), -XEN_EINVAL);
	CHECK_EQ("no room", peer_domctl(XEN_DOMCTL_getvcpuaffinity, &op), -XEN_EINVAL);
	hard = 1;
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, (uint8_t *)&hard);
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_soft.bitmap, (uint8_t *)BAD);
	op.u.vcpuaffinity.cpumap_hard.nr_bits = op.u.vcpuaffinity.cpumap_soft.nr_bits = 64;
	CHECK_EQ("a bad map", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), -XEN_EFAULT);
	CHECK_EQ("bad room", peer_domctl(XEN_DOMCTL_getvcpuaffinity, &op), -XEN_EFAULT);
	CHECK("nothing has changed", pinned(6, 0));
	hard = 4;
	op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
	op.u.vcpuaffinity.cpumap_hard.nr_bits = 2;
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, (uint8_t *)&hard);
	CHECK_EQ("a CPU beyond the bits of the map", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), -XEN_EINVAL);
	op.u.vcpuaffinity.cpumap_hard.nr_bits = 3;
	CHECK_EQ("the last bit of the map", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), 0);
	CHECK("kept", pinned(4, 0));
}

/* Pool 10 has CPUs 2 and 3, pool 0 has 0 and 1; the peer moves between them. */
static void moving(void)
{
	CHECK_EQ("any CPU", pin(BOTH, ~0UL, 0x5), 0);
	CHECK("in effect: those of the pool", hard == 3 && soft == 1);
	CHECK_EQ("hard to another pool's CPUs", pin(XEN_VCPUAFFINITY_HARD, 0xc, 0), -XEN_EINVAL);
	CHECK_EQ("move it to where it is", pool(MOVE, 0, peer_domid), 0);
	CHECK_EQ("to no pool", pool(MOVE, NONE, peer_domid), -XEN_ENOENT);
	CHECK_EQ("nobody", pool(MOVE, 10, 777), -XEN_ESRCH);
	CHECK_EQ("not a domain", pool(MOVE, 10, DOMID_XEN), -XEN_ESRCH);
	CHECK_EQ("dom0, by dom0", pool(MOVE, 10, 0), -XEN_EPERM);
	CHECK_EQ("DOMID_SELF", pool(MOVE, 10, DOMID_SELF), -XEN_ESRCH);
	CHECK("nothing has changed", pool_is(0, 3, 2) && pool_is(10, 0xc, 0));
	CHECK_EQ("pin it", pin(BOTH, 1, 1), 0);

	CHECK_EQ("move it", pool(MOVE, 10, peer_domid), 0);
	CHECK("it is there", pool_is(10, 0xc, 1) && pool_is(0, 3, 1));
	CHECK_EQ("getdomaininfo", peer_domctl(XEN_DOMCTL_getdomaininfo, &op), 0);
	CHECK_EQ("says so", op.u.getdomaininfo.cpupool, 10);
	op.u.getvcpuinfo.vcpu = 0;
	CHECK_EQ("getvcpuinfo", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK("a CPU of the pool", op.u.getvcpuinfo.cpu == 2 || op.u.getvcpuinfo.cpu == 3);
	CHECK("its affinity is gone", pinned(0xf, 0xf));

	CHECK_EQ("pin it to CPU 2", pin(XEN_VCPUAFFINITY_HARD, 7, 0), 0);
	CHECK_EQ("in effect", hard, 4);
	/* Xen breaks the affinity, we refuse. */
	if (CHECK_EITHER("take CPU 2 away", pool(REMOVE, 10, 2), 0, -XEN_EADDRINUSE) && pool_is(10, 0xc, 1)) {
		CHECK("its affinity is kept", pinned(7, 0xf));
		CHECK_EQ("any CPU", pin(XEN_VCPUAFFINITY_HARD, ~0UL, 0), 0);
		CHECK_EQ("take CPU 2 away", pool(REMOVE, 10, 2), 0);
	}
	CHECK("it may use any CPU", pinned(0xf, 0xf));
	CHECK_EQ("take the last CPU away", pool(REMOVE, 10, 3), -XEN_EBUSY);
	CHECK_EQ("or any", pool(REMOVE, 10, ANY), -XEN_EBUSY);
	CHECK_EQ("destroy the pool", pool(DESTROY, 10, 0), -XEN_EBUSY);
	CHECK_EQ("destroy pool 0", pool(DESTROY, 0, 0), -XEN_EBUSY);
	CHECK_EQ("destroy none", pool(DESTROY, NONE, 0), -XEN_ENOENT);
	CHECK("nothing has changed", pool_is(10, 8, 1) && free_is(4));
	CHECK_EQ("move it back", pool(MOVE, 0, peer_domid), 0);
	CHECK_EQ("destroy a pool that has a CPU", pool(DESTROY, 10, 0), -XEN_EBUSY);
	CHECK_EQ("take the last CPU of nobody", pool(REMOVE, 10, 3), 0);
	CHECK_EQ("destroy the pool", pool(DESTROY, 10, 0), 0);
	CHECK_EQ("it is gone", pool(DESTROY, 10, 0), -XEN_ENOENT);
	CHECK("its CPUs are free", free_is(0xc));
}

/* ---- weights and limits ---- */

static struct xen_domctl_sched_credit2 *const credit = &op.u.scheduler_op.u.credit2;

static long weigh(uint32_t sched, uint32_t cmd, uint16_t weight, uint16_t cap)
{
	op.u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = sched, .cmd = cmd};
	*credit = (struct xen_domctl_sched_credit2){.weight = weight, .cap = cap};
	return peer_domctl(XEN_DOMCTL_scheduler_op, &op);
}

static bool weighs(uint16_t weight, uint16_t cap)
{
	return weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0) == 0 && credit->weight == weight &&
	       credit->cap == cap;
}

static long set_weight(uint16_t weight, uint16_t cap)
{
	return weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_putinfo, weight, cap);
}

static void weights(void)
{
	CHECK("the default", weighs(256, 0));
	CHECK_EQ("leave the weight", set_weight(0, 0), 0);
	CHECK("as it is", weighs(256, 0));
	CHECK_EQ("weight and cap", set_weight(512, 50), 0);
	CHECK("stay", weighs(512, 50));
	CHECK_EQ("only the cap", set_weight(0, 200), 0);
	CHECK("stays", weighs(512, 200));
	CHECK_EQ("a cap over both vCPUs", set_weight(0, 201), -XEN_EINVAL);
	CHECK("nothing has changed", weighs(512, 200));
	CHECK_EQ("the extremes", set_weight(1, 0), 0);
	CHECK("stay", weighs(1, 0));
	CHECK_EQ("on the other side", set_weight(65535, 1), 0);
	CHECK("stay", weighs(65535, 1));
	CHECK_EQ("another scheduler's", weigh(XEN_SCHEDULER_CREDIT, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0), -XEN_EINVAL);
	CHECK_EQ("rtds's", weigh(XEN_SCHEDULER_RTDS, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0), -XEN_EINVAL);
	CHECK_EQ("nobody's", weigh(99, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0), -XEN_EINVAL);
	CHECK_EQ("of a vCPU", weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_getvcpuinfo, 0, 0), -XEN_EINVAL);
	CHECK_EQ("no such operation", weigh(XEN_SCHEDULER_CREDIT2, 4, 0, 0), -XEN_EINVAL);
}

static long global(uint32_t id, uint32_t sched, uint32_t cmd, uint32_t us)
{
	ctl.u.scheduler_op = (struct xen_sysctl_scheduler_op){.cpupool_id = id, .sched_id = sched, .cmd = cmd};
	ctl.u.scheduler_op.u.sched_credit2.ratelimit_us = us;
	return sysctl(XEN_SYSCTL_scheduler_op);
}

static bool rate_is(uint32_t us)
{
	return global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, ~0U) == 0 &&
	       ctl.u.scheduler_op.u.sched_credit2.ratelimit_us == us;
}

static void rate_limit(void)
{
	CHECK("the default", rate_is(1000));
	CHECK_EQ("too low", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 99), -XEN_EINVAL);
	CHECK_EQ("too high", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 500001), -XEN_EINVAL);
	CHECK("nothing has changed", rate_is(1000));
	CHECK_EQ("the lowest", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 100), 0);
	CHECK("stays", rate_is(100));
	CHECK_EQ("the highest", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 500000), 0);
	CHECK("stays", rate_is(500000));
	CHECK_EQ("none", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 0), 0);
	CHECK("stays", rate_is(0));
	CHECK_EQ("as before", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 1000), 0);
	CHECK_EQ("no such operation", global(0, XEN_SCHEDULER_CREDIT2, 2, 0), -XEN_EINVAL);
	CHECK_EQ("another scheduler", global(0, XEN_SCHEDULER_CREDIT, XEN_SYSCTL_SCHEDOP_getinfo, 0), -XEN_EINVAL);
	CHECK_EQ("no pool", global(NONE, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, 0), -XEN_ESRCH);
	CHECK_EQ("nor this", global(ANY, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, 0), -XEN_ESRCH);
}

/* ---- promises, where there are such schedulers ---- */

static xen_domctl_schedparam_vcpu_t params[3];
static struct xen_domctl_sched_rtds *const rt = &op.u.scheduler_op.u.rtds;

static long promise(uint32_t period, uint32_t budget)
{
	op.u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = XEN_SCHEDULER_RTDS,
							     .cmd = XEN_DOMCTL_SCHEDOP_putinfo};
	*rt = (struct xen_domctl_sched_rtds){.period = period, .budget = budget};
	return peer_domctl(XEN_DOMCTL_scheduler_op, &op);
}

static long vcpu_params(uint32_t cmd, uint32_t n, void *at)
{
	op.u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = XEN_SCHEDULER_RTDS, .cmd = cmd};
	set_xen_guest_handle(op.u.scheduler_op.u.v.vcpus, (xen_domctl_schedparam_vcpu_t *)at);
	op.u.scheduler_op.u.v.nr_vcpus = n;
	return peer_domctl(XEN_DOMCTL_scheduler_op, &op);
}

static long promise_vcpu(uint32_t vcpu, uint32_t period, uint32_t budget, uint32_t flags)
{
	params[0] = (xen_domctl_schedparam_vcpu_t){.vcpuid = vcpu, .u.rtds = {period, budget, flags}};
	return vcpu_params(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 1, params);
}

/* Both vCPUs' parameters are in params afterwards. */
static bool promised(uint32_t vcpu, uint32_t period, uint32_t budget, uint32_t flags)
{
	memset(params, 0, sizeof(params));
	params[1].vcpuid = 1;
	return vcpu_params(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 2, params) == 0 && op.u.scheduler_op.u.v.nr_vcpus == 2 &&
	       params[vcpu].u.rtds.period == period && params[vcpu].u.rtds.budget == budget &&
	       params[vcpu].u.rtds.flags == flags;
}

static void promises(uint32_t id)
{
	CHECK_EQ("getinfo", promise(10000, 2000), 0);
	CHECK("both vCPUs have it", promised(0, 10000, 2000, XEN_DOMCTL_SCHEDRT_extra) || promised(0, 10000, 2000, 0));
	CHECK("as the first", params[1].u.rtds.period == 10000 && params[1].u.rtds.budget == 2000);
	CHECK_EQ("one vCPU", promise_vcpu(1, 20000, 5000, 0), 0);
	CHECK("has its own", promised(1, 20000, 5000, 0));
	CHECK_EQ("beyond its budget, too", promise_vcpu(0, 10000, 4000, XEN_DOMCTL_SCHEDRT_extra), 0);
	CHECK("is told", promised(0, 10000, 4000, XEN_DOMCTL_SCHEDRT_extra));
	CHECK_EQ("no period", promise(0, 1000), -XEN_EINVAL);
	CHECK_EQ("no budget", promise(1000, 0), -XEN_EINVAL);
	CHECK_EQ("more budget than period", promise_vcpu(0, 10000, 10001, 0), -XEN_EINVAL);
	CHECK_EQ("too short", promise_vcpu(0, 9, 9, 0), -XEN_EINVAL);
	CHECK_EQ("too long", promise_vcpu(0, 3600000001U, 10000, 0), -XEN_EINVAL);
	CHECK_EQ("no such vCPU", promise_vcpu(2, 10000, 4000, 0), -XEN_EINVAL);
	CHECK_EQ("what one CPU cannot keep", promise(10000, 9000), -XEN_ENOSPC);
	params[0] = (xen_domctl_schedparam_vcpu_t){.vcpuid = 0, .u.rtds = {10000, 1000, 0}};
	params[1] = (xen_domctl_schedparam_vcpu_t){.vcpuid = 2, .u.rtds = {10000, 1000, 0}};
	CHECK_EQ("a bad one behind a good one", vcpu_params(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 2, params), 0);
	CHECK_EQ("the good one is done", op.u.scheduler_op.u.v.nr_vcpus, 1);
	CHECK("so", promised(0, 10000, 1000, 0));
	CHECK_EQ("as before", promise_vcpu(0, 10000, 4000, XEN_DOMCTL_SCHEDRT_extra), 0);
	CHECK_EQ("a bad list", vcpu_params(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 1, BAD), -XEN_EFAULT);
	CHECK_EQ("bad room", vcpu_params(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 1, BAD), -XEN_EFAULT);
	CHECK("nothing has changed", promised(0, 10000, 4000, XEN_DOMCTL_SCHEDRT_extra) && promised(1, 20000, 5000, 0));
	CHECK_EQ("weights have no meaning", weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0), -XEN_EINVAL);
	CHECK_EQ("nor a rate limit", global(id, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, 0), -XEN_EINVAL);
}

/* CPU 3 is free. The peer goes to a pool of another scheduler and comes back. */
static void other_schedulers(void)
{
	static const uint32_t ids[] = {XEN_SCHEDULER_RTDS, XEN_SCHEDULER_NULL};

	for (unsigned int i = 0; i < ARRAY_SIZE(ids); i++) {
		long rc = pool(CREATE, ANY, ids[i]);
		uint32_t id = p->cpupool_id;

		CHECK_EITHER("create a pool for promises", rc, 0, -XEN_ENOENT);
		if (rc)
			continue;
		CHECK_EQ("add CPU 3", pool(ADD, id, 3), 0);
		CHECK_EQ("it", pool(INFO, id, 0), 0);
		CHECK_EQ("has this scheduler", p->sched_id, ids[i]);
		rc = pool(MOVE, id, peer_domid);
		if (ids[i] == XEN_SCHEDULER_RTDS && CHECK_EQ("move the peer", rc, 0))
			promises(id);
		/* Two vCPUs and one CPU. */
		if (ids[i] == XEN_SCHEDULER_NULL)
			CHECK_EITHER("move the peer", rc, 0, -XEN_ENOSPC);
		CHECK_EQ("move it back", pool(MOVE, 0, peer_domid), 0);
		CHECK_EQ("take CPU 3 away", pool(REMOVE, id, 3), 0);
		CHECK_EQ("destroy the pool", pool(DESTROY, id, 0), 0);
	}
}

/* ---- domains and times ---- */

static long create(uint32_t pool_id)
{
	struct xen_domctl o = {
		.u.createdomain =
			{
				.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
				.max_vcpus = 2,
				.max_evtchn_port = 1023,
				.max_grant_frames = -1,
				.max_maptrack_frames = -1,
				.grant_opts = XEN_DOMCTL_GRANT_version(1),
				.arch.emulation_flags = XEN_X86_EMU_LAPIC,
				.cpupool_id = pool_id,
			},
	};
	long rc;

	peer_domid = 0; /* any free number */
	rc = peer_domctl(XEN_DOMCTL_createdomain, &o);
	if (rc)
		return rc;
	peer_domid = o.domain;
	o.u.paging_mempool.size = 2UL << 20;
	CHECK_EQ("peer's paging pool", peer_domctl(XEN_DOMCTL_set_paging_mempool_size, &o), 0);
	o.u.max_vcpus.max = 2;
	return peer_domctl(XEN_DOMCTL_max_vcpus, &o);
}

static void creation(void)
{
	domid_t was = peer_domid;

	CHECK_EQ("a domain in no pool", create(NONE), -XEN_ESRCH);
	CHECK_EQ("pool 5", pool(CREATE, 5, XEN_SCHEDULER_CREDIT2), 0);
	CHECK_EQ("with CPU 3", pool(ADD, 5, 3), 0);
	CHECK_EQ("a domain in it", create(5), 0);
	CHECK("is there", pool_is(5, 8, 1));
	op.u.getvcpuinfo.vcpu = 1;
	CHECK_EQ("getvcpuinfo", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK("on its CPU, offline, never ran", op.u.getvcpuinfo.cpu == 3 && !op.u.getvcpuinfo.online &&
						      !op.u.getvcpuinfo.running && op.u.getvcpuinfo.cpu_time == 0);
	CHECK_EQ("take its last CPU", pool(REMOVE, 5, 3), -XEN_EBUSY);
	CHECK_EQ("its end", peer_domctl(XEN_DOMCTL_destroydomain, &op), 0);
	CHECK("it is not there", pool_is(5, 8, 0));
	CHECK_EQ("take CPU 3", pool(REMOVE, 5, 3), 0);
	CHECK_EQ("destroy pool 5", pool(DESTROY, 5, 0), 0);
	peer_domid = was;
}

static void times(void)
{
	static struct xen_sysctl_cpuinfo info[8];
	domid_t was = peer_domid;
	uint64_t before;

	ctl.u.getcpuinfo.max_cpus = ARRAY_SIZE(info);
	set_xen_guest_handle(ctl.u.getcpuinfo.info, info);
	CHECK_EQ("getcpuinfo", sysctl(XEN_SYSCTL_getcpuinfo), 0);
	CHECK_EQ("of all CPUs", ctl.u.getcpuinfo.nr_cpus, 4);
	CHECK("CPU 3 was idle, and not longer than the machine is on",
	      info[3].idletime > 0 && info[3].idletime <= event_now());
	CHECK("CPU 0 was idle less", info[0].idletime < info[3].idletime);
	ctl.u.getcpuinfo.max_cpus = 1;
	CHECK_EQ("getcpuinfo", sysctl(XEN_SYSCTL_getcpuinfo), 0);
	CHECK_EQ("of one CPU", ctl.u.getcpuinfo.nr_cpus, 1);
	ctl.u.getcpuinfo.max_cpus = 8;
	set_xen_guest_handle(ctl.u.getcpuinfo.info, (xen_sysctl_cpuinfo_t *)BAD);
	CHECK_EQ("getcpuinfo to a bad place", sysctl(XEN_SYSCTL_getcpuinfo), -XEN_EFAULT);

	peer_domid = 0;
	op.u.getvcpuinfo.vcpu = 0;
	CHECK_EQ("we", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK("run", op.u.getvcpuinfo.online && op.u.getvcpuinfo.running && !op.u.getvcpuinfo.blocked);
	before = op.u.getvcpuinfo.cpu_time;
	CHECK_EQ("we", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK("run on", op.u.getvcpuinfo.cpu_time > before);
	CHECK_EQ("pin ourselves to CPU 1", pin(XEN_VCPUAFFINITY_HARD, 2, 0), 0);
	CHECK_EQ("we", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK_EQ("run there", op.u.getvcpuinfo.cpu, 1);
	CHECK_EQ("to CPU 0", pin(XEN_VCPUAFFINITY_HARD, 1, 0), 0);
	CHECK_EQ("we", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), 0);
	CHECK_EQ("run there", op.u.getvcpuinfo.cpu, 0);
	CHECK_EQ("to any", pin(BOTH, ~0UL, ~0UL), 0);
	peer_domid = was;
}

void guest_main(void)
{
	event_init();
	if (!guest_dom0) {
		CHECK_EQ("cpupool_op", pool(INFO, 0, 0), -XEN_EPERM);
		CHECK_EQ("scheduler_op", global(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, 0), -XEN_EPERM);
		CHECK_EQ("sched_id", sysctl(XEN_SYSCTL_sched_id), -XEN_EPERM);
		CHECK_EQ("dom0's weight", set_weight(1, 1), -XEN_EPERM);
		CHECK_EQ("dom0's affinity", pin(XEN_VCPUAFFINITY_HARD, 1, 0), -XEN_EPERM);
		return;
	}
	/* Debian's Xen may hang when it takes the CPU away that dom0 runs on. */
	CHECK_EQ("pin ourselves to CPU 0", pin(XEN_VCPUAFFINITY_HARD, 1, 0), 0);
	pool_life();
	rate_limit();
	if (!CHECK_EQ("a peer", create(0), 0))
		return;
	affinities();
	weights();
	CHECK_EQ("any CPU", pin(BOTH, ~0UL, ~0UL), 0);
	pool_cpus();
	moving();
	other_schedulers();
	creation();
	times();
	CHECK_EQ("peer goes", peer_domctl(XEN_DOMCTL_destroydomain, &op), 0);
	CHECK_EQ("give CPU 2 back", pool(ADD, 0, 2), 0);
	CHECK_EQ("give CPU 3 back", pool(ADD, 0, 3), 0);
	/* On Xen the peer counts until the last of it is gone. */
	CHECK("pool 0 has all CPUs", pool(INFO, 0, 0) == 0 && cpus == 0xf);
}
