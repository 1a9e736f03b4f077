/* sources: hcall/hotplug.c hcall/platform_op.c hcall/sysctl.c hcall/sysctl_cpu.c hcall/bitmap.c core/domain.c core/policy.c core/numa.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/p2m.c core/logdirty.c core/ptab.c core/pod.c core/frame.c core/heap.c */
/*
 * CPUs go offline and come back, on the real scheduler: four CPUs, dom0 that asks from CPU 1, a guest with two vCPUs. After
 * every refusal what can be seen is compared with that before.
 */
#include "unit/hcall.h"
#include "core/cpupool.h"
#include "core/evtchn.h"
#include "hcall/domctl.h"
#include "hcall/hotplug.h"
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

void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
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
	return false;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return -err;
}

static unsigned threads = 1;

uint32_t port_threads_per_core(void)
{
	return threads;
}

uint32_t port_cpu_core(unsigned cpu)
{
	return cpu / threads;
}

/* --- the callers --- */

#define CPUS 4u
#define CTL  CALLER(struct xen_sysctl, 0)
#define PF   CALLER(struct xen_platform_op, 1024)
#define DATA 4096u
#define UP   XEN_SYSCTL_CPU_HOTPLUG_ONLINE
#define DOWN XEN_SYSCTL_CPU_HOTPLUG_OFFLINE

static struct domain *dom0, *guest;
static struct hcall call;
static uint32_t virq_port;

static long sysctl(uint32_t cmd)
{
	CTL->cmd = cmd;
	CTL->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	return hcall_sysctl(&call);
}

static long hotplug(uint32_t op, uint32_t cpu)
{
	CTL->u.cpu_hotplug = (struct xen_sysctl_cpu_hotplug){.op = op, .cpu = cpu};
	return sysctl(XEN_SYSCTL_cpu_hotplug);
}

static long platform(uint32_t cmd, uint32_t cpu)
{
	PF->cmd = cmd;
	PF->interface_version = XENPF_INTERFACE_VERSION;
	if (cmd == XENPF_get_cpuinfo)
		PF->u.pcpu_info = (struct xenpf_pcpuinfo){.xen_cpuid = cpu};
	else
		PF->u.cpu_ol.cpuid = cpu;
	call.arg[0] = ADDRESS(1024);
	return hcall_platform_op(&call);
}

static struct domain *make(domid_t id, uint32_t vcpus, uint32_t rights)
{
	struct domain_config c = {.id = id, .max_vcpus = vcpus, .max_evtchn_port = 1023, .grant_opts = 1,
				  .max_grant_frames = -1, .max_maptrack_frames = -1, .rights = rights};
	struct domain *d;

	assert_int_equal(domain_create(&c, &d), 0);
	for (uint32_t i = 0; i < vcpus; i++)
		assert_int_equal(domain_vcpu_create(d, i), 0);
	return d;
}

static void pin(struct vcpu *v, uint64_t cpus)
{
	const struct cpumask m = {{cpus}};

	assert_int_equal(sched_set_affinity(v, &m, NULL), 0);
}

/* Every CPU decides, until all have what they asked for; then CPU 1, which has dom0's vCPU, goes on. */
static void cpus_pick(void)
{
	for (unsigned round = 0; round < 3; round++)
		for (host_cpu = 0; host_cpu < CPUS; host_cpu++)
			sched_pick();
	host_cpu = 1;
}

static int boot(void **state)
{
	host_boot(HOST_FRAMES_DEFAULT);
	host_cpus = CPUS;
	for (unsigned i = 0; i < CPUS; i++)
		timer_cpu_init(i);
	domain_init();
	sched_init(SCHED_SHARE);
	time_init();
	dom0 = make(0, 1, RIGHT_ALL);
	guest = make(DOMID_INVALID, 2, 0);
	pin(dom0->vcpu[0], 2);
	if (evtchn_bind_virq(dom0, VIRQ_PCPU_STATE, 0, &virq_port))
		return -1;
	for (struct domain *d = dom0; d; d = d == dom0 ? guest : NULL) {
		sched_domain_unpause(d);
		for (unsigned i = 0; i < d->max_vcpus; i++)
			sched_up(d->vcpu[i]);
	}
	return 0;
}

static int setup(void **state)
{
	caller_reset();
	cpus_pick();
	call = (struct hcall){.v = dom0->vcpu[0], .d = dom0};
	assert_ptr_equal(sched_current(), dom0->vcpu[0]);
	host_events_pending = 0;
	return 0;
}

/* What tools see says that these are online. */
static void assert_online(uint64_t cpus)
{
	struct xen_sysctl_cputopo *topo = CALLER(struct xen_sysctl_cputopo, DATA);
	struct cpumask online = sched_online();

	assert_int_equal(online.word[0], cpus);
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), 0);
	assert_int_equal(CTL->u.physinfo.nr_cpus, __builtin_popcountll(cpus));
	assert_int_equal(CTL->u.physinfo.max_cpu_id, CPUS - 1);
	CTL->u.cputopoinfo = (struct xen_sysctl_cputopoinfo){.num_cpus = CPUS};
	CTL->u.cputopoinfo.cputopo.p = (void *)ADDRESS(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_cputopoinfo), 0);
	assert_int_equal(CTL->u.cputopoinfo.num_cpus, CPUS);
	CTL->u.getcpuinfo = (struct xen_sysctl_getcpuinfo){.max_cpus = CPUS};
	CTL->u.getcpuinfo.info.p = (void *)ADDRESS(2 * DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), 0);
	assert_int_equal(CTL->u.getcpuinfo.nr_cpus, CPUS);
	for (unsigned i = 0; i < CPUS; i++) {
		bool is = cpus >> i & 1;

		assert_int_equal(topo[i].core, is ? i / threads : XEN_INVALID_CORE_ID);
		assert_int_equal(platform(XENPF_get_cpuinfo, i), 0);
		assert_int_equal(PF->u.pcpu_info.flags, is ? XEN_PCPU_FLAGS_ONLINE : 0);
		assert_int_equal(PF->u.pcpu_info.max_present, CPUS - 1);
		CTL->u.get_pmstat = (struct xen_sysctl_get_pmstat){.type = PMSTAT_get_max_cx, .cpuid = i};
		assert_int_equal(sysctl(XEN_SYSCTL_get_pmstat), is ? 0 : -EINVAL);
	}
}

/* A refusal changes nothing and tells nobody. */
static void assert_refused(long got, long wanted)
{
	assert_int_equal(got, wanted);
	assert_int_equal(host_events_pending, 0);
	assert_online(0xf);
}

static int teardown(void **state)
{
	cpus_pick();
	assert_online(0xf);
	return 0;
}

static bool told(void)
{
	bool is = host_events_pending;

	host_events_pending = 0;
	dom0->vcpu[0]->info->evtchn_upcall_pending = 0;
	dom0->vcpu[0]->info->evtchn_pending_sel = 0;
	memset(dom0->shared_info->evtchn_pending, 0, sizeof(dom0->shared_info->evtchn_pending));
	return is;
}

/* --- tests --- */

static void down_and_up(void **state)
{
	assert_int_equal(hotplug(DOWN, 3), 0);
	assert_true(told());
	assert_online(0x7);
	host_cpu = 3;
	assert_null(sched_pick());
	host_cpu = 1;
	assert_int_equal(hotplug(DOWN, 3), -EEXIST);
	assert_false(told());
	assert_int_equal(hotplug(UP, 3), 0);
	assert_true(told());
	assert_int_equal(platform(XENPF_cpu_offline, 2), 0);
	assert_true(told());
	assert_int_equal(platform(XENPF_cpu_offline, 2), 0);
	assert_false(told());
	assert_online(0xb);
	assert_int_equal(platform(XENPF_cpu_online, 2), 0);
	assert_true(told());
	assert_int_equal(platform(XENPF_cpu_online, 2), 0);
	assert_false(told());
}

static void refusals(void **state)
{
	assert_refused(hotplug(DOWN, 0), -EINVAL);
	assert_refused(hotplug(DOWN, CPUS), -EINVAL);
	assert_refused(hotplug(DOWN, ~0u), -EINVAL);
	assert_refused(hotplug(UP, CPUS), -EINVAL);
	assert_refused(hotplug(UP, ~0u), -EINVAL);
	assert_refused(hotplug(UP, 0), -EEXIST);
	assert_refused(hotplug(4, 1), -EOPNOTSUPP);
	assert_refused(hotplug(XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE, 0), -EOPNOTSUPP);
	assert_refused(hotplug(XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE, 0), -EOPNOTSUPP);
	assert_refused(platform(XENPF_cpu_offline, 0), -EOPNOTSUPP);
	assert_refused(platform(XENPF_cpu_offline, CPUS), -EINVAL);
	assert_refused(platform(XENPF_cpu_online, CPUS), -EINVAL);
	pin(guest->vcpu[0], 8);
	assert_refused(hotplug(DOWN, 3), -EADDRINUSE);
	pin(guest->vcpu[0], ~0ull);
}

static void denied(void **state)
{
	call = (struct hcall){.v = guest->vcpu[0], .d = guest};
	assert_int_equal(hotplug(DOWN, 3), -EPERM);
	assert_int_equal(hotplug(UP, 3), -EPERM);
	assert_int_equal(platform(XENPF_cpu_offline, 3), -EPERM);
	assert_int_equal(platform(XENPF_cpu_online, 3), -EPERM);
	call = (struct hcall){.v = dom0->vcpu[0], .d = dom0};
	assert_refused(0, 0);
}

/* The CPU that the caller is on: it goes on elsewhere when its hypercall has ended. */
static void own(void **state)
{
	pin(dom0->vcpu[0], ~0ull);
	assert_int_equal(hotplug(DOWN, 1), 0);
	assert_ptr_equal(sched_current(), dom0->vcpu[0]);
	assert_true(sched_needed());
	assert_null(sched_pick());
	assert_false(dom0->vcpu[0]->sched.on_cpu);
	cpus_pick();
	assert_true(dom0->vcpu[0]->sched.on_cpu);
	assert_int_not_equal(dom0->vcpu[0]->sched.cpu, 1);
	host_cpu = dom0->vcpu[0]->sched.cpu;
	assert_int_equal(hotplug(UP, 1), 0);
	pin(dom0->vcpu[0], 2);
}

/* A vCPU's timer was set on the CPU that goes: CPU 0 has it from then on. */
static void timers(void **state)
{
	struct vcpu *v = guest->vcpu[0];

	pin(guest->vcpu[1], 4);
	pin(v, 8);
	cpus_pick();
	host_cpu = 3;
	assert_ptr_equal(sched_current(), v);
	timer_set(&v->singleshot, host_ns + 1000);
	pin(v, ~0ull);
	host_cpu = 1;
	assert_int_equal(hotplug(DOWN, 3), 0);
	host_cpu = 3;
	assert_null(sched_pick());
	assert_int_equal(v->singleshot.cpu, 0);
	assert_true(timer_active(&v->singleshot));
	assert_int_equal(host_timer_deadline, ~0ull);
	host_ns += 2000;
	timer_expire();
	assert_true(timer_active(&v->singleshot));
	host_cpu = 0;
	assert_true(timer_due());
	timer_expire();
	assert_false(timer_active(&v->singleshot));
	pin(guest->vcpu[1], ~0ull);
	host_cpu = 1;
	assert_int_equal(hotplug(UP, 3), 0);
}

static void last_of_a_pool(void **state)
{
	uint32_t id = CPUPOOL_ANY;

	assert_int_equal(cpupool_create(&id, SCHED_SHARE), 0);
	assert_int_equal(cpupool_remove_cpu(0, 3), 0);
	assert_int_equal(hotplug(DOWN, 3), 0); /* in no pool */
	assert_int_equal(cpupool_add_cpu(id, 3), -ENODEV);
	assert_int_equal(hotplug(UP, 3), 0);
	assert_int_equal(cpupool_remove_cpu(0, 3), 0);
	assert_int_equal(cpupool_add_cpu(id, 3), 0);
	assert_int_equal(cpupool_move_domain(guest, id), 0);
	told();
	assert_refused(hotplug(DOWN, 3), -EBUSY);
	assert_int_equal(cpupool_move_domain(guest, 0), 0);
	assert_int_equal(hotplug(DOWN, 3), 0);
	assert_int_equal(hotplug(UP, 3), 0); /* back in the pool it came from */
	assert_int_equal(cpupool_remove_cpu(id, 3), 0);
	assert_int_equal(cpupool_destroy(id), 0);
	assert_int_equal(cpupool_add_cpu(0, 3), 0);
}

/* Two threads in each core: CPUs 1 and 3 are the second ones. */
static void second_threads(void **state)
{
	threads = 2;
	pin(dom0->vcpu[0], ~0ull);
	assert_int_equal(hotplug(XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE, 0), 0);
	assert_online(0x5);
	assert_int_equal(hotplug(XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE, 0), 0);
	assert_int_equal(hotplug(XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE, 0), 0);
	assert_online(0xf);
	threads = 1;
	pin(dom0->vcpu[0], 2);
}

/* A CPU that cannot run guests takes itself down at start-up, and stays so. The last test. */
static void failed(void **state)
{
	host_cpu = 2;
	sched_domain_pause(guest);
	sched_pick();
	assert_int_equal(sched_cpu_fail(2), 0);
	host_cpu = 1;
	assert_int_equal(hotplug(UP, 2), -EIO);
	assert_int_equal(platform(XENPF_cpu_online, 2), -EIO);
	assert_false(told());
	assert_online(0xb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(down_and_up),
		T(refusals),
		T(denied),
		T(own),
		T(timers),
		T(last_of_a_pool),
		T(second_threads),
		cmocka_unit_test_setup(failed, setup),
	};

	return cmocka_run_group_tests(tests, boot, NULL);
}
