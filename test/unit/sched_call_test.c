/* sources: hcall/domctl.c hcall/sysctl.c hcall/sysctl_cpu.c hcall/schedctl.c hcall/bitmap.c core/domain.c core/policy.c core/numa.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/p2m.c core/logdirty.c core/ptab.c core/pod.c core/frame.c core/heap.c */
/*
 * What the tool stack asks of the scheduler, on the real scheduler: four CPUs in Pool-0, dom0 that asks, a guest with two
 * vCPUs. After every refusal the whole visible state is compared with that before.
 */
#include "unit/hcall.h"
#include "core/cpupool.h"
#include "hcall/domctl.h"
#include "hcall/sysctl.h"
#include "hvm/cpuid.h"

/* Every operation of the table exists; those of the files above replace these. */
#define DOMCTL(name, target, dir)                       \
	WEAK long domctl_##name(struct domctl_call *c) \
	{                                               \
		return -ENOSYS;                         \
	}
#define SYSCTL(name, dir)                               \
	WEAK long sysctl_##name(struct sysctl_call *c) \
	{                                               \
		return -ENOSYS;                         \
	}
#include "hcall/ops.def"

/* --- what the rest answers --- */

size_t console_ring_read(uint32_t *index, char *buf, size_t n)
{
	return 0;
}

void console_ring_clear(void)
{
}

void console_debug_key(char k)
{
}

unsigned cpuid_featureset(unsigned index, uint32_t *words, unsigned max)
{
	return 0;
}

const struct cpuid_policy *cpuid_system(enum cpuid_system which)
{
	return NULL;
}

bool hcall_preempt(void)
{
	return host_preempt_wanted;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return -err;
}

/* --- the caller: domain 0; the guest --- */

#define CPUS   4u
#define ANY    XEN_SYSCTL_CPUPOOL_PAR_ANY
#define NOPOOL 77u
#define HARD   XEN_VCPUAFFINITY_HARD
#define SOFT   XEN_VCPUAFFINITY_SOFT

#define CREATE	XEN_SYSCTL_CPUPOOL_OP_CREATE
#define DESTROY XEN_SYSCTL_CPUPOOL_OP_DESTROY
#define INFO	XEN_SYSCTL_CPUPOOL_OP_INFO
#define ADD	XEN_SYSCTL_CPUPOOL_OP_ADDCPU
#define REMOVE	XEN_SYSCTL_CPUPOOL_OP_RMCPU
#define MOVE	XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN
#define FREE	XEN_SYSCTL_CPUPOOL_OP_FREEINFO

#define CTL   CALLER(struct xen_sysctl, 0)
#define DOM   CALLER(struct xen_domctl, 1024)
#define MAP1  CALLER(uint64_t, 4096)
#define MAP2  CALLER(uint64_t, 4104)
#define PARAM CALLER(xen_domctl_schedparam_vcpu_t, 8192)
#define BEYOND ((void *)(CALLER_BASE + CALLER_SIZE)) /* not the caller's memory */

static struct domain *dom0, *guest;
static struct hcall call;
static uint64_t free_before;

static long sysctl(uint32_t cmd)
{
	CTL->cmd = cmd;
	CTL->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	return hcall_sysctl(&call);
}

static long domctl(uint32_t cmd, domid_t dom)
{
	DOM->cmd = cmd;
	DOM->domain = dom;
	DOM->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(1024);
	return hcall_domctl(&call);
}

static struct domain *make(uint32_t pool, uint32_t vcpus)
{
	struct domain_config c = {.id = DOMID_INVALID, .max_vcpus = vcpus, .grant_opts = 1, .max_grant_frames = -1,
				  .max_maptrack_frames = -1, .pool = pool};
	struct domain *d;

	assert_int_equal(domain_create(&c, &d), 0);
	for (uint32_t i = 0; i < vcpus; i++)
		assert_int_equal(domain_vcpu_create(d, i), 0);
	return d;
}

static void end(struct domain *d)
{
	while (domain_kill(d) == -ERESTART)
		;
	domain_reap();
}

static int boot(void **state)
{
	const struct cpumask cpu0 = { { 1 } };
	struct domain_config c = {.id = 0, .max_vcpus = 1, .grant_opts = 1, .max_grant_frames = -1,
				  .max_maptrack_frames = -1, .rights = RIGHT_ALL};

	host_boot(HOST_FRAMES_DEFAULT);
	host_cpus = CPUS;
	for (unsigned i = 0; i < CPUS; i++)
		timer_cpu_init(i);
	domain_init();
	sched_init(SCHED_SHARE);
	time_init();
	if (domain_create(&c, &dom0) || domain_vcpu_create(dom0, 0))
		return -1;
	if (sched_set_affinity(dom0->vcpu[0], &cpu0, NULL))
		return -1;
	sched_domain_unpause(dom0);
	sched_up(dom0->vcpu[0]);
	return 0;
}

/* The other CPUs do what they were asked to. */
static void cpus_pick(void)
{
	for (host_cpu = 1; host_cpu < CPUS; host_cpu++)
		assert_null(sched_pick());
	host_cpu = 0;
	assert_ptr_equal(sched_pick(), dom0->vcpu[0]);
}

static int setup(void **state)
{
	caller_reset();
	cpus_pick();
	call = (struct hcall){.v = dom0->vcpu[0], .d = dom0};
	free_before = frame_free_count() + heap_free_frames();
	guest = make(0, 2);
	return 0;
}

/* --- pools --- */

/* what: the scheduler (CREATE), the CPU (ADD, REMOVE) or the domain (MOVE). */
static long pool(uint32_t op, uint32_t id, uint32_t what)
{
	CTL->u.cpupool_op = (struct xen_sysctl_cpupool_op){.op = op, .cpupool_id = id, .sched_id = what, .cpu = what,
							   .domid = what, .cpumap = {{(void *)ADDRESS(4096)}, 64}};
	*MAP1 = ~0ull;
	return sysctl(XEN_SYSCTL_cpupool_op);
}

static bool pool_is(uint32_t id, uint64_t cpus, uint32_t domains)
{
	return pool(INFO, id, 0) == 0 && CTL->u.cpupool_op.cpupool_id == id && *MAP1 == cpus &&
	       CTL->u.cpupool_op.n_dom == domains;
}

static bool free_is(uint64_t cpus)
{
	return pool(FREE, 0, 0) == 0 && *MAP1 == cpus;
}

/* A pool with the CPUs of the mask, taken from Pool-0. */
static uint32_t pool_with(uint32_t sched, unsigned cpus)
{
	uint32_t id;

	assert_int_equal(pool(CREATE, ANY, sched), 0);
	id = CTL->u.cpupool_op.cpupool_id;
	for (unsigned i = 0; i < CPUS; i++) {
		if (!(cpus >> i & 1))
			continue;
		assert_int_equal(pool(REMOVE, 0, i), 0);
		assert_int_equal(pool(ADD, id, i), 0);
	}
	return id;
}

static void drop_pool(uint32_t id, unsigned cpus)
{
	for (unsigned i = 0; i < CPUS; i++) {
		if (!(cpus >> i & 1))
			continue;
		assert_int_equal(pool(REMOVE, id, i), 0);
		assert_int_equal(pool(ADD, 0, i), 0);
	}
	assert_int_equal(pool(DESTROY, id, 0), 0);
}

static int teardown(void **state)
{
	end(guest);
	assert_null(domain_next(1));
	assert_int_equal(frame_free_count() + heap_free_frames(), free_before);
	assert_true(pool_is(0, 0xf, 1));
	assert_int_equal(pool(INFO, 1, 0), -ENOENT);
	assert_true(free_is(0));
	return 0;
}

static void rights(void **state)
{
	call = (struct hcall){.v = guest->vcpu[0], .d = guest};
	assert_int_equal(pool(INFO, 0, 0), -EPERM);
	assert_int_equal(pool(CREATE, ANY, XEN_SCHEDULER_CREDIT2), -EPERM);
	assert_int_equal(sysctl(XEN_SYSCTL_scheduler_op), -EPERM);
	assert_int_equal(sysctl(XEN_SYSCTL_sched_id), -EPERM);
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, 0), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, guest->id), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, guest->id), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, guest->id), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), -EPERM);
	call = (struct hcall){.v = dom0->vcpu[0], .d = dom0};
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, 555), -ESRCH);
}

static void pool_life(void **state)
{
	uint32_t id;

	assert_int_equal(sysctl(XEN_SYSCTL_sched_id), 0);
	assert_int_equal(CTL->u.sched_id.sched_id, XEN_SCHEDULER_CREDIT2);
	assert_true(pool_is(0, 0xf, 2));
	assert_int_equal(CTL->u.cpupool_op.sched_id, XEN_SCHEDULER_CREDIT2);
	assert_int_equal(pool(INFO, ANY, 0), -ENOENT);
	assert_int_equal(pool(0, 0, 0), -ENOSYS);
	assert_int_equal(pool(8, 0, 0), -ENOSYS);
	assert_int_equal(pool(CREATE, ANY, XEN_SCHEDULER_CREDIT), -ENOENT);
	assert_int_equal(pool(CREATE, ANY, XEN_SCHEDULER_ARINC653), -ENOENT);
	assert_int_equal(pool(CREATE, ANY, 0), -ENOENT);
	assert_int_equal(pool(CREATE, 0, XEN_SCHEDULER_CREDIT2), -EEXIST);
	assert_int_equal(pool(INFO, 1, 0), -ENOENT);

	assert_int_equal(pool(CREATE, 10, XEN_SCHEDULER_RTDS), 0);
	assert_int_equal(pool(CREATE, 10, XEN_SCHEDULER_RTDS), -EEXIST);
	assert_int_equal(pool(CREATE, ANY, XEN_SCHEDULER_NULL), 0);
	id = CTL->u.cpupool_op.cpupool_id;
	assert_int_equal(id, 1);
	assert_true(pool_is(10, 0, 0));
	assert_int_equal(CTL->u.cpupool_op.sched_id, XEN_SCHEDULER_RTDS);
	assert_int_equal(pool(INFO, 2, 0), 0); /* the next one */
	assert_int_equal(CTL->u.cpupool_op.cpupool_id, 10);
	assert_true(pool_is(1, 0, 0));
	assert_int_equal(CTL->u.cpupool_op.sched_id, XEN_SCHEDULER_NULL);
	assert_int_equal(pool(DESTROY, 0, 0), -EBUSY);
	assert_int_equal(pool(DESTROY, NOPOOL, 0), -ENOENT);
	assert_int_equal(pool(DESTROY, 1, 0), 0);
	assert_int_equal(pool(DESTROY, 10, 0), 0);
	assert_int_equal(pool(DESTROY, 10, 0), -ENOENT);
}

static void maps(void **state)
{
	struct xen_sysctl_cpupool_op *p = &CTL->u.cpupool_op;

	*p = (struct xen_sysctl_cpupool_op){.op = INFO, .cpumap = {{BEYOND}, 8}};
	assert_int_equal(sysctl(XEN_SYSCTL_cpupool_op), -EFAULT);
	*p = (struct xen_sysctl_cpupool_op){.op = FREE, .cpumap = {{BEYOND}, 8}};
	assert_int_equal(sysctl(XEN_SYSCTL_cpupool_op), -EFAULT);
	*p = (struct xen_sysctl_cpupool_op){.op = INFO, .cpumap = {{BEYOND}, 0}};
	assert_int_equal(sysctl(XEN_SYSCTL_cpupool_op), 0);
	*p = (struct xen_sysctl_cpupool_op){.op = INFO, .cpumap = {{(void *)ADDRESS(4096)}, 1u << 20}};
	assert_int_equal(sysctl(XEN_SYSCTL_cpupool_op), -E2BIG);
	*p = (struct xen_sysctl_cpupool_op){.op = INFO, .cpumap = {{(void *)ADDRESS(4096)}, 2}};
	*MAP1 = ~0ull;
	assert_int_equal(sysctl(XEN_SYSCTL_cpupool_op), 0);
	assert_int_equal(*MAP1, ~0xfcull); /* one byte, two bits */
}

static void pool_cpus(void **state)
{
	assert_int_equal(pool(CREATE, 10, XEN_SCHEDULER_CREDIT2), 0);
	assert_int_equal(pool(ADD, NOPOOL, 3), -ENOENT);
	assert_int_equal(pool(ADD, 10, CPUS), -EINVAL);
	assert_int_equal(pool(ADD, 10, 5000), -EINVAL);
	assert_int_equal(pool(ADD, 10, 3), -ENODEV);
	assert_int_equal(pool(ADD, 10, ANY), -ENODEV);
	assert_int_equal(pool(REMOVE, NOPOOL, 3), -ENOENT);
	assert_int_equal(pool(REMOVE, 0, CPUS), -EINVAL);
	assert_int_equal(pool(REMOVE, 10, ANY), -EINVAL);
	assert_int_equal(pool(REMOVE, 10, 3), -EADDRNOTAVAIL);
	assert_true(pool_is(0, 0xf, 2));
	assert_true(pool_is(10, 0, 0));

	assert_int_equal(pool(REMOVE, 0, 3), 0);
	assert_int_equal(pool(REMOVE, 0, 3), -EADDRNOTAVAIL);
	assert_true(free_is(8));
	assert_int_equal(pool(REMOVE, 0, ANY), 0);
	assert_true(free_is(0xc));
	assert_int_equal(pool(ADD, 10, 3), 0);
	assert_int_equal(pool(ADD, 10, 3), -ENODEV);
	assert_int_equal(pool(ADD, 10, ANY), 0);
	assert_true(pool_is(10, 0xc, 0));
	assert_int_equal(pool(DESTROY, 10, 0), -EBUSY); /* it has CPUs */
	assert_true(pool_is(0, 3, 2));
	assert_true(free_is(0));
	assert_int_equal(pool(REMOVE, 10, 2), 0);
	assert_int_equal(pool(REMOVE, 10, 3), 0); /* the last one of nobody */
	assert_int_equal(pool(DESTROY, 10, 0), 0);
	assert_int_equal(pool(ADD, 0, 2), 0);
	assert_int_equal(pool(ADD, 0, ANY), 0);
}

static long affinity(uint32_t cmd, uint32_t vcpu, uint32_t flags, uint64_t hard, uint64_t soft)
{
	*MAP1 = hard;
	*MAP2 = soft;
	DOM->u.vcpuaffinity = (struct xen_domctl_vcpuaffinity){.vcpu = vcpu, .flags = flags,
							       .cpumap_hard = {{(void *)ADDRESS(4096)}, 64},
							       .cpumap_soft = {{(void *)ADDRESS(4104)}, 64}};
	return domctl(cmd, guest->id);
}

static long pin(uint32_t flags, uint64_t hard, uint64_t soft)
{
	return affinity(XEN_DOMCTL_setvcpuaffinity, 0, flags, hard, soft);
}

static bool pinned(uint64_t hard, uint64_t soft)
{
	return affinity(XEN_DOMCTL_getvcpuaffinity, 0, HARD | SOFT, 0, 0) == 0 && *MAP1 == hard && *MAP2 == soft;
}

static uint32_t cpu_of(uint32_t vcpu)
{
	DOM->u.getvcpuinfo.vcpu = vcpu;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), 0);
	return DOM->u.getvcpuinfo.cpu;
}

static uint32_t pool_of_guest(void)
{
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, guest->id), 0);
	return DOM->u.getdomaininfo.cpupool;
}

static void moving(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_CREDIT2, 0xc);
	struct domain *d;

	assert_int_equal(pool(MOVE, id, 555), -ESRCH);
	assert_int_equal(pool(MOVE, id, DOMID_SELF), -ESRCH);
	assert_int_equal(pool(MOVE, id, DOMID_XEN), -ESRCH);
	assert_int_equal(pool(MOVE, id, 0x10000), -ESRCH);
	assert_int_equal(pool(MOVE, id, 0), -EPERM); /* the caller itself */
	assert_int_equal(pool(MOVE, 0, 0), -EPERM);
	assert_int_equal(pool(MOVE, NOPOOL, guest->id), -ENOENT);
	assert_int_equal(pool(CREATE, 20, XEN_SCHEDULER_CREDIT2), 0);
	assert_int_equal(pool(MOVE, 20, guest->id), -ENOENT); /* it has no CPU */
	assert_int_equal(pool(DESTROY, 20, 0), 0);
	assert_int_equal(pin(HARD | SOFT, 1, 1), 0);
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	assert_true(pinned(1, 1)); /* it was there */
	assert_int_equal(pool_of_guest(), 0);

	assert_int_equal(pool(MOVE, id, guest->id), 0);
	assert_int_equal(pool_of_guest(), id);
	assert_true(pool_is(id, 0xc, 1));
	assert_true(pool_is(0, 3, 1));
	assert_true(pinned(0xf, 0xf));
	assert_true(cpu_of(0) >= 2 && cpu_of(1) >= 2);
	assert_int_equal(pool(DESTROY, id, 0), -EBUSY);
	assert_int_equal(pool(REMOVE, id, 2), 0);
	assert_int_equal(pool(DESTROY, id, 0), -EBUSY);
	assert_int_equal(pool(REMOVE, id, 3), -EBUSY);
	assert_int_equal(pool(REMOVE, id, ANY), -EBUSY);
	assert_true(pool_is(id, 8, 1));
	assert_int_equal(pool(ADD, id, 2), 0);
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	assert_int_equal(pool_of_guest(), 0);

	d = make(id, 1);
	assert_int_equal(cpupool_of(d), id);
	assert_int_equal(pool(DESTROY, id, 0), -EBUSY);
	end(d);
	drop_pool(id, 0xc);
}

/* A CPU is not taken from under a vCPU that may run nowhere else. */
static void pinned_cpu_stays(void **state)
{
	assert_int_equal(pin(HARD, 0xff & ~7, 0), 0); /* of the CPUs there are: 3 */
	assert_int_equal(*MAP1, 8);
	assert_int_equal(pool(REMOVE, 0, 3), -EADDRINUSE);
	assert_true(pool_is(0, 0xf, 2));
	assert_int_equal(pin(HARD, 0xc, 0), 0);
	assert_int_equal(pool(REMOVE, 0, 3), 0);
	assert_true(pinned(0xc, 0xf));
	assert_int_equal(pin(HARD, 8, 0), -EINVAL);
	assert_int_equal(pin(SOFT, 0, 8), 0);
	assert_int_equal(*MAP2, 0); /* none of it is in effect */
	assert_int_equal(pool(ADD, 0, 3), 0);
}

/* createdomain's pool */
static void creation(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_CREDIT2, 8);
	struct xen_domctl_createdomain good = {.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
					       .max_vcpus = 1,
					       .max_evtchn_port = 1023,
					       .max_grant_frames = -1,
					       .max_maptrack_frames = -1,
					       .grant_opts = 1,
					       .arch.emulation_flags = XEN_X86_EMU_LAPIC,
					       .cpupool_id = NOPOOL};
	struct domain *d;

	DOM->u.createdomain = good;
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), -ESRCH);
	DOM->u.createdomain.cpupool_id = ANY;
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), -ESRCH);
	assert_true(pool_is(id, 8, 0));
	assert_int_equal(pool(CREATE, 20, XEN_SCHEDULER_CREDIT2), 0);
	DOM->u.createdomain.cpupool_id = 20; /* it has no CPU */
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), -ESRCH);
	assert_true(pool_is(20, 0, 0));
	assert_int_equal(pool(DESTROY, 20, 0), 0);
	DOM->u.createdomain.cpupool_id = id;
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), 0);
	d = domain_find(DOM->domain);
	assert_true(pool_is(id, 8, 1));
	end(d);
	assert_true(pool_is(id, 8, 0));
	drop_pool(id, 8);
}

/* --- affinity --- */

static void affinities(void **state)
{
	struct xen_domctl_vcpuaffinity *a = &DOM->u.vcpuaffinity;

	assert_true(pinned(0xf, 0xf));
	assert_int_equal(affinity(XEN_DOMCTL_getvcpuaffinity, 2, HARD, 0, 0), -EINVAL);
	assert_int_equal(affinity(XEN_DOMCTL_setvcpuaffinity, 2, HARD, 1, 0), -EINVAL);
	assert_int_equal(affinity(XEN_DOMCTL_getvcpuaffinity, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(pin(0, 1, 1), -EINVAL);
	assert_int_equal(pin(XEN_VCPUAFFINITY_FORCE, 1, 1), 0);
	assert_true(pinned(0xf, 0xf));
	assert_int_equal(pin(HARD, 0xf2, 0), 0);
	assert_int_equal(*MAP1, 2);
	assert_true(pinned(2, 0xf));
	assert_int_equal(cpu_of(0), 1);
	assert_int_equal(pin(HARD | SOFT, 0xc, 7), 0);
	assert_int_equal(*MAP1, 0xc);
	assert_int_equal(*MAP2, 4);
	assert_true(pinned(0xc, 7));
	assert_int_equal(pin(SOFT, 0, 0), 0);
	assert_true(pinned(0xc, 0));

	assert_int_equal(pin(HARD, 0, 0), -EINVAL);
	assert_int_equal(pin(HARD, 0xf0, 0), -EINVAL);
	assert_int_equal(pin(HARD | SOFT, 0xf0, 1), -EINVAL);
	*a = (struct xen_domctl_vcpuaffinity){.flags = HARD | SOFT};
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, guest->id), -EINVAL);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, guest->id), -EINVAL);
	*MAP1 = 1;
	a->cpumap_hard = (struct xenctl_bitmap){{(void *)ADDRESS(4096)}, 64};
	a->cpumap_soft = (struct xenctl_bitmap){{BEYOND}, 64};
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, guest->id), -EFAULT);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, guest->id), -EFAULT);
	assert_int_equal(pin(HARD | SOFT, 1, 1), 0);
	assert_int_equal(pin(HARD | SOFT, 0xc, 0), 0);
	read_only_from = ADDRESS(4096); /* readable, but no answer can go there */
	assert_int_equal(pin(HARD, 1, 1), -EFAULT);
	assert_int_equal(pin(SOFT, 1, 1), -EFAULT);
	read_only_from = CALLER_BASE + CALLER_SIZE;
	assert_true(pinned(0xc, 0));
	assert_int_equal(affinity(XEN_DOMCTL_getvcpuaffinity, 1, HARD | SOFT, 0, 0), 0);
	assert_int_equal(*MAP1, 0xf); /* the other vCPU */
}

/* --- weights --- */

static long weigh(uint32_t sched, uint32_t cmd, uint16_t weight, uint16_t cap)
{
	DOM->u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = sched, .cmd = cmd};
	DOM->u.scheduler_op.u.credit2 = (struct xen_domctl_sched_credit2){.weight = weight, .cap = cap};
	return domctl(XEN_DOMCTL_scheduler_op, guest->id);
}

static long set_weight(uint16_t weight, uint16_t cap)
{
	return weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_putinfo, weight, cap);
}

static bool weighs(uint16_t weight, uint16_t cap)
{
	return weigh(XEN_SCHEDULER_CREDIT2, XEN_DOMCTL_SCHEDOP_getinfo, 9, 9) == 0 &&
	       DOM->u.scheduler_op.u.credit2.weight == weight && DOM->u.scheduler_op.u.credit2.cap == cap;
}

static void weights(void **state)
{
	assert_true(weighs(256, 0));
	assert_int_equal(set_weight(0, 0), 0);
	assert_true(weighs(256, 0));
	assert_int_equal(set_weight(512, 50), 0);
	assert_true(weighs(512, 50));
	assert_int_equal(set_weight(0, 200), 0);
	assert_true(weighs(512, 200));
	assert_int_equal(set_weight(1, 201), -EINVAL); /* over both vCPUs */
	assert_int_equal(set_weight(1, 65535), -EINVAL);
	assert_true(weighs(512, 200));
	assert_int_equal(set_weight(65535, 1), 0);
	assert_true(weighs(65535, 1));
	assert_int_equal(set_weight(1, 0), 0);
	assert_true(weighs(1, 0));
	for (uint32_t id = 0; id < 12; id++)
		if (id != XEN_SCHEDULER_CREDIT2)
			assert_int_equal(weigh(id, XEN_DOMCTL_SCHEDOP_putinfo, 7, 7), -EINVAL);
	for (uint32_t cmd = 2; cmd < 6; cmd++)
		assert_int_equal(weigh(XEN_SCHEDULER_CREDIT2, cmd, 7, 7), -EINVAL);
	assert_true(weighs(1, 0));
}

static long rate(uint32_t id, uint32_t sched, uint32_t cmd, uint32_t us)
{
	CTL->u.scheduler_op = (struct xen_sysctl_scheduler_op){.cpupool_id = id, .sched_id = sched, .cmd = cmd};
	CTL->u.scheduler_op.u.sched_credit2.ratelimit_us = us;
	return sysctl(XEN_SYSCTL_scheduler_op);
}

static long set_rate(uint32_t us)
{
	return rate(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, us);
}

static bool rate_is(uint32_t us)
{
	return rate(0, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_getinfo, 77) == 0 &&
	       CTL->u.scheduler_op.u.sched_credit2.ratelimit_us == us;
}

static void rate_limit(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_RTDS, 0);

	assert_true(rate_is(1000));
	assert_int_equal(set_rate(99), -EINVAL);
	assert_int_equal(set_rate(500001), -EINVAL);
	assert_int_equal(rate(0, XEN_SCHEDULER_CREDIT, XEN_SYSCTL_SCHEDOP_putinfo, 500), -EINVAL);
	assert_int_equal(rate(0, XEN_SCHEDULER_CREDIT2, 2, 500), -EINVAL);
	assert_int_equal(rate(NOPOOL, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 500), -ESRCH);
	assert_int_equal(rate(ANY, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 500), -ESRCH);
	assert_int_equal(rate(id, XEN_SCHEDULER_CREDIT2, XEN_SYSCTL_SCHEDOP_putinfo, 500), -EINVAL);
	assert_int_equal(rate(id, XEN_SCHEDULER_RTDS, XEN_SYSCTL_SCHEDOP_putinfo, 500), -EOPNOTSUPP);
	assert_true(rate_is(1000));
	assert_int_equal(set_rate(100), 0);
	assert_true(rate_is(100));
	assert_int_equal(set_rate(500000), 0);
	assert_true(rate_is(500000));
	assert_int_equal(set_rate(0), 0);
	assert_true(rate_is(0));
	assert_int_equal(set_rate(1000), 0);
	drop_pool(id, 0);
}

/* --- promises --- */

static long promise(uint32_t cmd, uint32_t period, uint32_t budget)
{
	DOM->u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = XEN_SCHEDULER_RTDS, .cmd = cmd};
	DOM->u.scheduler_op.u.rtds = (struct xen_domctl_sched_rtds){.period = period, .budget = budget};
	return domctl(XEN_DOMCTL_scheduler_op, guest->id);
}

static long vcpus(uint32_t cmd, uint32_t n, void *at)
{
	DOM->u.scheduler_op = (struct xen_domctl_scheduler_op){.sched_id = XEN_SCHEDULER_RTDS, .cmd = cmd};
	DOM->u.scheduler_op.u.v.vcpus.p = at;
	DOM->u.scheduler_op.u.v.nr_vcpus = n;
	return domctl(XEN_DOMCTL_scheduler_op, guest->id);
}

static void param(unsigned i, uint32_t vcpu, uint32_t period, uint32_t budget, uint32_t flags)
{
	PARAM[i] = (xen_domctl_schedparam_vcpu_t){.vcpuid = vcpu, .u.rtds = {period, budget, flags}};
}

static long put_one(uint32_t vcpu, uint32_t period, uint32_t budget, uint32_t flags)
{
	param(0, vcpu, period, budget, flags);
	return vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 1, (void *)ADDRESS(8192));
}

static bool promised(uint32_t vcpu, uint32_t period, uint32_t budget, uint32_t flags)
{
	param(0, vcpu, 0, 0, 0);
	return vcpus(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 1, (void *)ADDRESS(8192)) == 0 &&
	       DOM->u.scheduler_op.u.v.nr_vcpus == 1 && PARAM->u.rtds.period == period &&
	       PARAM->u.rtds.budget == budget && PARAM->u.rtds.flags == flags;
}

#define PUT   XEN_DOMCTL_SCHEDOP_putinfo
#define GET   XEN_DOMCTL_SCHEDOP_getinfo
#define EXTRA XEN_DOMCTL_SCHEDRT_extra

static void promises(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_RTDS, 8);
	uint32_t flags;

	assert_int_equal(promise(GET, 0, 0), -EINVAL); /* not in this pool yet */
	assert_int_equal(pool(MOVE, id, guest->id), 0);
	assert_int_equal(promise(GET, 0, 0), 0);
	assert_int_equal(DOM->u.scheduler_op.u.rtds.period, 10000);
	assert_int_equal(DOM->u.scheduler_op.u.rtds.budget, 4000);
	assert_int_equal(promise(PUT, 20000, 5000), 0);
	param(0, 0, 0, 0, 0);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 1, (void *)ADDRESS(8192)), 0);
	flags = PARAM->u.rtds.flags;
	assert_true(promised(0, 20000, 5000, flags) && promised(1, 20000, 5000, flags));
	assert_int_equal(put_one(0, 10000, 1000, 0), 0);
	assert_int_equal(put_one(1, 30000, 6000, EXTRA), 0);
	assert_true(promised(0, 10000, 1000, 0) && promised(1, 30000, 6000, EXTRA));

	assert_int_equal(promise(PUT, 0, 1000), -EINVAL);
	assert_int_equal(promise(PUT, 1000, 0), -EINVAL);
	assert_int_equal(promise(PUT, 1000, 1001), -EINVAL);
	assert_int_equal(put_one(0, 10000, 10001, 0), -EINVAL);
	assert_int_equal(put_one(0, 10000, 9, 0), -EINVAL);
	assert_int_equal(put_one(0, 3600000001u, 10000, 0), -EINVAL);
	assert_int_equal(put_one(2, 10000, 1000, 0), -EINVAL);
	assert_int_equal(promise(PUT, 10000, 6000), -ENOSPC); /* two of them on one CPU */
	assert_int_equal(put_one(0, 10000, 9000, 0), -ENOSPC);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 1, BEYOND), -EFAULT);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 1, BEYOND), -EFAULT);
	assert_int_equal(vcpus(4, 1, (void *)ADDRESS(8192)), -EINVAL);
	assert_int_equal(set_weight(1, 1), -EINVAL);
	assert_true(promised(0, 10000, 1000, 0) && promised(1, 30000, 6000, EXTRA));
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	drop_pool(id, 8);
}

/* A list is done up to the first element that fails, and the caller learns how far. */
static void promise_lists(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_RTDS, 8);

	assert_int_equal(pool(MOVE, id, guest->id), 0);
	param(0, 0, 10000, 1000, 0);
	param(1, 1, 20000, 2000, 0);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 2, (void *)ADDRESS(8192)), 0);
	assert_int_equal(DOM->u.scheduler_op.u.v.nr_vcpus, 2);
	assert_true(promised(0, 10000, 1000, 0) && promised(1, 20000, 2000, 0));
	param(0, 0, 10000, 3000, 0);
	param(1, 5, 10000, 3000, 0);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 2, (void *)ADDRESS(8192)), 0);
	assert_int_equal(DOM->u.scheduler_op.u.v.nr_vcpus, 1);
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 1, (void *)(ADDRESS(8192) + sizeof(*PARAM))), -EINVAL);
	assert_true(promised(0, 10000, 3000, 0) && promised(1, 20000, 2000, 0));
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 0, NULL), 0);
	/* A list that runs out of the caller's memory. */
	memcpy(memory + CALLER_SIZE - sizeof(*PARAM), PARAM, sizeof(*PARAM));
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_getvcpuinfo, 5, (void *)(CALLER_BASE + CALLER_SIZE - sizeof(*PARAM))), 0);
	assert_int_equal(DOM->u.scheduler_op.u.v.nr_vcpus, 1);
	/* A long one is done in pieces. */
	for (unsigned i = 0; i < 100; i++)
		param(i, i & 1, 10000, 1000 + i, 0);
	host_preempt_wanted = true;
	assert_int_equal(vcpus(XEN_DOMCTL_SCHEDOP_putvcpuinfo, 100, (void *)ADDRESS(8192)), 0);
	assert_int_equal(DOM->u.scheduler_op.u.v.nr_vcpus, 64);
	host_preempt_wanted = false;
	assert_true(promised(1, 10000, 1063, 0));
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	drop_pool(id, 8);
}

/* Its promises are kept where it is: they hold CPUs, affinities and newcomers back. */
static void promises_hold(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_RTDS, 0xc);
	struct domain *other = make(0, 3);

	assert_int_equal(pool(MOVE, id, guest->id), 0);
	assert_int_equal(promise(PUT, 10000, 6000), 0); /* one on each CPU */
	assert_int_equal(pin(HARD, 0xf, 0), 0);
	assert_int_equal(pool(REMOVE, id, 2), -ENOSPC);
	assert_int_equal(pool(MOVE, id, other->id), -ENOSPC);
	assert_int_equal(cpupool_of(other), 0);
	assert_true(pool_is(id, 0xc, 1));
	assert_true(promised(0, 10000, 6000, EXTRA) && promised(1, 10000, 6000, EXTRA));
	assert_int_equal(promise(PUT, 10000, 1000), 0);
	assert_int_equal(pool(MOVE, id, other->id), 0);
	end(other);
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	drop_pool(id, 0xc);
}

static void null_policy(void **state)
{
	uint32_t id = pool_with(XEN_SCHEDULER_NULL, 0xc);

	assert_int_equal(pool(MOVE, id, guest->id), 0);
	assert_int_equal(pool_of_guest(), id);
	assert_int_equal(weigh(XEN_SCHEDULER_NULL, XEN_DOMCTL_SCHEDOP_getinfo, 0, 0), -EOPNOTSUPP);
	assert_int_equal(set_weight(1, 1), -EINVAL);
	assert_int_equal(promise(GET, 0, 0), -EINVAL);
	assert_int_equal(pool(MOVE, 0, guest->id), 0);
	drop_pool(id, 0xc);
}

/* --- information --- */

static void vcpu_info(void **state)
{
	struct xen_domctl_getvcpuinfo *i = &DOM->u.getvcpuinfo;
	struct vcpu *v = guest->vcpu[0];
	uint64_t ran;

	i->vcpu = 2;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), -EINVAL);
	i->vcpu = 0;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), 0);
	assert_true(!i->online && !i->running && i->cpu_time == 0);
	assert_int_equal(pin(HARD, 4, 0), 0);
	sched_domain_unpause(guest);
	sched_up(v);
	host_cpu = 2;
	assert_ptr_equal(sched_pick(), v);
	host_ns += 5000000;
	host_cpu = 0;
	i->vcpu = 0;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), 0);
	assert_true(i->online && i->running && !i->blocked);
	assert_int_equal(i->cpu, 2);
	assert_int_equal(i->cpu_time, 5000000);
	host_cpu = 2;
	sched_block(v);
	assert_null(sched_pick());
	host_ns += 7000000;
	host_cpu = 0;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, guest->id), 0);
	assert_true(i->online && !i->running && i->blocked);
	ran = i->cpu_time;
	assert_int_equal(ran, 5000000);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, guest->id), 0);
	assert_int_equal(DOM->u.getdomaininfo.cpu_time, ran);
	assert_true(DOM->u.getdomaininfo.flags & XEN_DOMINF_blocked);
	sched_domain_pause_nosync(guest);
}

static void idle_times(void **state)
{
	struct xen_sysctl_getcpuinfo *g = &CTL->u.getcpuinfo;
	struct xen_sysctl_cpuinfo *info = CALLER(struct xen_sysctl_cpuinfo, 4096);
	uint64_t before[CPUS];

	*g = (struct xen_sysctl_getcpuinfo){.max_cpus = 64};
	g->info.p = (void *)ADDRESS(4096);
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), 0);
	assert_int_equal(g->nr_cpus, CPUS);
	for (unsigned i = 0; i < CPUS; i++)
		before[i] = info[i].idletime;
	host_ns += 1000000; /* dom0 runs on one CPU, the others idle */
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), 0);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(info[i].idletime - before[i], i == dom0->vcpu[0]->sched.cpu ? 0 : 1000000);
	g->max_cpus = 2;
	memset(info, 0xee, 4 * sizeof(*info));
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), 0);
	assert_int_equal(g->nr_cpus, 2);
	assert_true(info[2].idletime == 0xeeeeeeeeeeeeeeee);
	g->max_cpus = 64;
	g->info.p = BEYOND;
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), -EFAULT);
}

/* Two control operations at once: the second waits for the first, with nothing done. */
static void one_at_a_time(void **state)
{
	assert_true(domctl_trylock());
	assert_int_equal(pool(CREATE, ANY, XEN_SCHEDULER_CREDIT2), -ERESTART);
	assert_int_equal(pool(REMOVE, 0, 3), -ERESTART);
	assert_int_equal(pin(HARD, 1, 0), -ERESTART);
	assert_true(pool_is(0, 0xf, 2)); /* asking needs no lock */
	domctl_unlock();
	assert_true(pinned(0xf, 0xf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(rights),
		T(pool_life),
		T(maps),
		T(pool_cpus),
		T(moving),
		T(pinned_cpu_stays),
		T(creation),
		T(affinities),
		T(weights),
		T(rate_limit),
		T(promises),
		T(promise_lists),
		T(promises_hold),
		T(null_policy),
		T(vcpu_info),
		T(idle_times),
		T(one_at_a_time),
	};

	return cmocka_run_group_tests(tests, boot, NULL);
}
