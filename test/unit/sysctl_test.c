/* sources: hcall/sysctl.c hcall/sysctl_cpu.c hcall/platform_op.c hcall/hvm_op.c hcall/bitmap.c core/policy.c */
#include "unit/hcall.h"
#include "hcall/domctl.h"
#include "hcall/sysctl.h"
#include "hvm/cpuid.h"

/* --- what the rest answers --- */

static struct domain domains[3];
static struct hvm_domain hvm_of_domain[3];
static struct vcpu vcpu[3];
static struct vcpu *vcpu_of[3][1];
static struct hvm_vcpu hvm_of_vcpu[3];
static struct vcpu_info info_of[3];

struct domain *domain_next(domid_t from)
{
	for (unsigned i = 0; i < 3; i++)
		if (domains[i].id >= from) {
			domain_hold(&domains[i]);
			return &domains[i];
		}
	return NULL;
}

void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
	memset(info, 0, sizeof(*info));
	info->domain = d->id;
}

static const char ring[] = "first line\nsecond line\n";
static bool cleared;
static char key;

size_t console_ring_read(uint32_t *index, char *buf, size_t n)
{
	size_t left = sizeof(ring) - 1 - MIN(*index, sizeof(ring) - 1);

	n = MIN(n, MIN(left, 7u)); /* in small pieces */
	memcpy(buf, ring + *index, n);
	*index += (uint32_t)n;
	return n;
}

void console_ring_clear(void)
{
	cleared = true;
}

void console_debug_key(char k)
{
	key = k;
}

unsigned cpuid_featureset(unsigned index, uint32_t *words, unsigned max)
{
	for (unsigned i = 0; i < MIN(max, 10u); i++)
		words[i] = index << 8 | i;
	return MIN(max, 10u);
}

static struct cpuid_policy host_policy = {.nr_leaves = 3, .nr_msrs = 1};

const struct cpuid_policy *cpuid_system(enum cpuid_system which)
{
	return which == CPUID_PV_MAX || which == CPUID_PV_DEFAULT ? NULL : &host_policy;
}

uint64_t sched_idle_ns(unsigned cpu)
{
	return 7000;
}

struct cpumask sched_online(void)
{
	return (struct cpumask){{(1ull << host_cpus) - 1}};
}

/* test/unit/hotplug_test.c has these. */
long hotplug_up(unsigned cpu)
{
	return -ENOSYS;
}

long hotplug_down(unsigned cpu)
{
	return -ENOSYS;
}

/* test/unit/sched_call_test.c and test/unit/hotplug_test.c have these. */
#define NOT_HERE(name)                              \
	long sysctl_##name(struct sysctl_call *c) \
	{                                           \
		return -ENOSYS;                     \
	}
NOT_HERE(sched_id)
NOT_HERE(scheduler_op)
NOT_HERE(cpupool_op)
NOT_HERE(cpu_hotplug)

uint64_t frame_free_count(void)
{
	return 3000;
}

void frame_node_count(unsigned node, uint64_t *total, uint64_t *free)
{
	*total = host_nodes == 1 ? 4000 : 1000 * (node + 1);
	*free = host_nodes == 1 ? 3000 : 500 * (node + 1);
}

uint64_t heap_free_frames_on(unsigned node)
{
	return host_nodes == 1 ? 0 : node;
}

uint64_t frame_total_count(void)
{
	return 4000;
}

uint64_t frame_limit(void)
{
	return 5000;
}

uint64_t frame_claimed(void)
{
	return 7;
}

struct p2m_entry p2m_lookup(struct domain *d, gfn_t g)
{
	return (struct p2m_entry){.type = (enum p2m_type)g.n};
}

static uint64_t clock_secs;

void time_set_wallclock(uint64_t secs, uint32_t nsecs, uint64_t system_time)
{
	clock_secs = secs;
}

/* test/unit/trace_test.c has these */
long sysctl_tbuf_op(struct sysctl_call *c)
{
	return 0;
}

long sysctl_perfc_op(struct sysctl_call *c)
{
	return 0;
}

bool hcall_preempt(void)
{
	return false;
}

static unsigned refused;

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	refused++;
	return -err;
}

static struct hcall call;

static int setup(void **state)
{
	static const domid_t ids[] = {0, 3, 7};

	host_machine(512);
	caller_reset();
	for (unsigned i = 0; i < 3; i++) {
		memset(&domains[i], 0, sizeof(domains[i]));
		memset(&vcpu[i], 0, sizeof(vcpu[i]));
		memset(&hvm_of_domain[i], 0, sizeof(hvm_of_domain[i]));
		memset(&info_of[i], 0, sizeof(info_of[i]));
		host_domain_add(&domains[i], ids[i]);
		domains[i].hvm = &hvm_of_domain[i];
		domains[i].max_vcpus = 1;
		domains[i].vcpu = vcpu_of[i];
		domains[i].dm_target = DOMID_INVALID;
		vcpu_of[i][0] = &vcpu[i];
		vcpu[i].domain = &domains[i];
		vcpu[i].hvm = &hvm_of_vcpu[i];
		vcpu[i].info = &info_of[i];
	}
	domains[0].rights = RIGHT_ALL;
	call = (struct hcall){.v = &vcpu[0], .d = &domains[0]};
	host_events_pending = host_tlb_flushes = 0;
	refused = 0;
	cleared = false;
	key = 0;
	return 0;
}

/* No handler keeps a reference. */
static int teardown(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(domains[i].refs, 1);
	return 0;
}

#define OP   CALLER(struct xen_sysctl, 0)
#define PF   CALLER(struct xen_platform_op, 0)
#define DATA 4096u

static void *handle(size_t index)
{
	return (void *)ADDRESS(index);
}

static long sysctl(uint32_t cmd)
{
	OP->cmd = cmd;
	OP->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	return hcall_sysctl(&call);
}

static void rights(void **state)
{
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), 0);
	OP->interface_version++;
	assert_int_equal(hcall_sysctl(&call), -EACCES);
	call.arg[0] = 8;
	assert_int_equal(hcall_sysctl(&call), -EFAULT);
	call.d = &domains[1];
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), -EPERM);
	domains[1].rights = RIGHT_XENSTORE;
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), -EPERM);
	OP->u.getdomaininfolist = (struct xen_sysctl_getdomaininfolist){.max_domains = 0};
	assert_int_equal(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
}

static void refusals(void **state)
{
	assert_int_equal(sysctl(XEN_SYSCTL_lockprof_op), -ENOSYS);
	assert_int_equal(sysctl(XEN_SYSCTL_coverage_op), -EOPNOTSUPP);
	assert_int_equal(sysctl(XEN_SYSCTL_psr_cmt_op), -ENODEV);
	assert_int_equal(sysctl(XEN_SYSCTL_psr_alloc), -ENODEV);
	assert_int_equal(refused, 0);
	assert_int_equal(sysctl(XEN_SYSCTL_page_offline_op), -EOPNOTSUPP);
	assert_int_equal(refused, 1);
	assert_int_equal(sysctl(1000), -ENOSYS);
}

static void physinfo(void **state)
{
	struct xen_sysctl_physinfo *p = &OP->u.physinfo;

	host_cpus = 2;
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), 0);
	assert_int_equal(p->nr_cpus, 2);
	assert_int_equal(p->max_cpu_id, 1);
	assert_int_equal(p->nr_nodes, 1);
	assert_int_equal(p->total_pages, 4000);
	assert_int_equal(p->free_pages, 3000);
	assert_int_equal(p->outstanding_pages, 7);
	assert_int_equal(p->max_mfn, 4999);
	assert_int_equal(p->cpu_khz, 1000000);
	assert_int_equal(p->hw_cap[7], 1 << 8 | 7);
	assert_int_equal(p->capabilities, XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_hap |
						  XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2);
}

static void console_log(void **state)
{
	struct xen_sysctl_readconsole *r = &OP->u.readconsole;

	*r = (struct xen_sysctl_readconsole){.count = 100, .index = 5};
	r->buffer.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_readconsole), 0);
	assert_int_equal(r->count, sizeof(ring) - 1);
	assert_int_equal(r->index, sizeof(ring) - 1);
	assert_string_equal((char *)memory + DATA, ring);
	assert_false(cleared);
	*r = (struct xen_sysctl_readconsole){.count = 4, .index = 6, .incremental = 1, .clear = 1};
	r->buffer.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_readconsole), 0);
	assert_memory_equal(memory + DATA, "line", 4);
	assert_int_equal(r->index, 10);
	assert_true(cleared);
}

static void keys(void **state)
{
	memory[DATA] = 'q';
	OP->u.debug_keys = (struct xen_sysctl_debug_keys){.nr_keys = 1};
	OP->u.debug_keys.keys.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_debug_keys), 0);
	assert_int_equal(key, 'q');
	OP->u.debug_keys.nr_keys = 1 << 20;
	assert_int_equal(sysctl(XEN_SYSCTL_debug_keys), -E2BIG);
}

static void list(void **state)
{
	struct xen_sysctl_getdomaininfolist *l = &OP->u.getdomaininfolist;
	struct xen_domctl_getdomaininfo *info = CALLER(struct xen_domctl_getdomaininfo, DATA);

	*l = (struct xen_sysctl_getdomaininfolist){.first_domain = 1, .max_domains = 10};
	l->buffer.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
	assert_int_equal(l->num_domains, 2);
	assert_int_equal(info[0].domain, 3);
	assert_int_equal(info[1].domain, 7);
	l->first_domain = 0;
	l->max_domains = 1;
	assert_int_equal(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
	assert_int_equal(l->num_domains, 1);
	l->buffer.p = NULL;
	assert_int_equal(sysctl(XEN_SYSCTL_getdomaininfolist), -EFAULT);
}

static void topology(void **state)
{
	struct xen_sysctl_cputopo *t = CALLER(struct xen_sysctl_cputopo, DATA);
	struct xen_sysctl_meminfo *m = CALLER(struct xen_sysctl_meminfo, DATA);

	host_cpus = 2;
	OP->u.cputopoinfo.num_cpus = 0;
	OP->u.cputopoinfo.cputopo.p = NULL;
	assert_int_equal(sysctl(XEN_SYSCTL_cputopoinfo), 0);
	assert_int_equal(OP->u.cputopoinfo.num_cpus, 2);
	OP->u.cputopoinfo.num_cpus = 8;
	OP->u.cputopoinfo.cputopo.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_cputopoinfo), 0);
	assert_int_equal(OP->u.cputopoinfo.num_cpus, 2);
	assert_int_equal(t[1].core, 1);
	OP->u.numainfo = (struct xen_sysctl_numainfo){.num_nodes = 0};
	assert_int_equal(sysctl(XEN_SYSCTL_numainfo), 0);
	assert_int_equal(OP->u.numainfo.num_nodes, 1);
	OP->u.numainfo.meminfo.p = handle(DATA);
	OP->u.numainfo.distance.p = handle(2 * DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_numainfo), 0);
	assert_int_equal(m->memsize, 4000 * PAGE_SIZE);
	assert_int_equal(m->memfree, 3000 * PAGE_SIZE);
	assert_int_equal(*CALLER(uint32_t, 2 * DATA), 10);
}

/* Four CPUs in two sockets, a node each. */
static void sockets_and_nodes(void **state)
{
	struct xen_sysctl_cputopo *t = CALLER(struct xen_sysctl_cputopo, DATA);
	struct xen_sysctl_meminfo *m = CALLER(struct xen_sysctl_meminfo, DATA);
	struct xen_sysctl_numainfo *n = &OP->u.numainfo;
	uint32_t *d = CALLER(uint32_t, 2 * DATA);

	host_cpus = 4;
	host_nodes = 2;
	host_socket[2] = host_socket[3] = 5;
	host_cpu_node[2] = host_cpu_node[3] = 1;
	assert_int_equal(sysctl(XEN_SYSCTL_physinfo), 0);
	assert_int_equal(OP->u.physinfo.nr_nodes, 2);
	assert_int_equal(OP->u.physinfo.cores_per_socket, 2);
	assert_int_equal(OP->u.physinfo.threads_per_core, 1);
	OP->u.cputopoinfo = (struct xen_sysctl_cputopoinfo){.num_cpus = 3}; /* room for three */
	OP->u.cputopoinfo.cputopo.p = handle(DATA);
	memset(t, 0xee, 4 * sizeof(*t));
	assert_int_equal(sysctl(XEN_SYSCTL_cputopoinfo), 0);
	assert_int_equal(OP->u.cputopoinfo.num_cpus, 4);
	assert_int_equal(t[1].core, 1);
	assert_int_equal(t[1].socket, 0);
	assert_int_equal(t[2].core, 0);
	assert_int_equal(t[2].socket, 5);
	assert_int_equal(t[2].node, 1);
	assert_int_equal(t[3].node, 0xeeeeeeee);
	*n = (struct xen_sysctl_numainfo){.num_nodes = 1}; /* room for one: one entry, one row of two */
	n->meminfo.p = handle(DATA);
	n->distance.p = handle(2 * DATA);
	memset(d, 0xee, 4 * sizeof(*d));
	memset(m, 0xee, 2 * sizeof(*m));
	assert_int_equal(sysctl(XEN_SYSCTL_numainfo), 0);
	assert_int_equal(n->num_nodes, 2);
	assert_int_equal(d[1], 20);
	assert_int_equal(d[2], 0xeeeeeeee);
	assert_true(m[1].memsize == 0xeeeeeeeeeeeeeeee);
	n->num_nodes = 64;
	assert_int_equal(sysctl(XEN_SYSCTL_numainfo), 0);
	assert_int_equal(n->num_nodes, 2);
	assert_int_equal(m[1].memsize, 2000 * PAGE_SIZE);
	assert_int_equal(m[1].memfree, 1001 * PAGE_SIZE);
	assert_int_equal(d[0], 10);
	assert_int_equal(d[2], 20);
	assert_int_equal(d[3], 10);
	n->distance.p = handle(CALLER_SIZE - 8);
	assert_int_equal(sysctl(XEN_SYSCTL_numainfo), -EFAULT);
	OP->u.availheap = (struct xen_sysctl_availheap){.node = 1};
	assert_int_equal(sysctl(XEN_SYSCTL_availheap), 0);
	assert_int_equal(OP->u.availheap.avail_bytes, 1001 * PAGE_SIZE);
	OP->u.availheap.node = 2;
	assert_int_equal(sysctl(XEN_SYSCTL_availheap), 0);
	assert_int_equal(OP->u.availheap.avail_bytes, 0);
	OP->u.availheap.node = -1;
	assert_int_equal(sysctl(XEN_SYSCTL_availheap), 0);
	assert_int_equal(OP->u.availheap.avail_bytes, 3000 * PAGE_SIZE);
	host_nodes = 1;
	memset(host_socket, 0, 4 * sizeof(host_socket[0]));
	memset(host_cpu_node, 0, 4 * sizeof(host_cpu_node[0]));
}

static void features(void **state)
{
	struct xen_sysctl_cpu_featureset *f = &OP->u.cpu_featureset;

	*f = (struct xen_sysctl_cpu_featureset){.index = 1};
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_featureset), 0);
	assert_int_equal(f->nr_features, 10);
	f->features.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_featureset), 0);
	assert_int_equal(CALLER(uint32_t, DATA)[9], 1 << 8 | 9);
	f->nr_features = 4;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_featureset), -ENOBUFS);
	assert_int_equal(f->nr_features, 4);
	f->index = 6;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_featureset), -EINVAL);
}

static void policies(void **state)
{
	struct xen_sysctl_cpu_policy *p = &OP->u.cpu_policy;

	*p = (struct xen_sysctl_cpu_policy){.index = XEN_SYSCTL_cpu_policy_raw};
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_policy), 0);
	assert_int_equal(p->nr_leaves, CPUID_MAX_LEAVES);
	assert_int_equal(p->nr_msrs, 2);
	p->leaves.p = handle(DATA);
	p->msrs.p = handle(2 * DATA);
	p->index = XEN_SYSCTL_cpu_policy_hvm_default;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_policy), 0);
	assert_int_equal(p->nr_leaves, 3);
	assert_int_equal(p->nr_msrs, 1);
	p->nr_leaves = 2;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_policy), -ENOBUFS);
	p->index = XEN_SYSCTL_cpu_policy_pv_max;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_policy), -EOPNOTSUPP);
	p->index = 6;
	assert_int_equal(sysctl(XEN_SYSCTL_get_cpu_policy), -EINVAL);
}

static void power(void **state)
{
	OP->u.get_pmstat = (struct xen_sysctl_get_pmstat){.type = PMSTAT_get_max_cx};
	assert_int_equal(sysctl(XEN_SYSCTL_get_pmstat), 0);
	OP->u.get_pmstat.type = PMSTAT_get_max_px;
	assert_int_equal(sysctl(XEN_SYSCTL_get_pmstat), -ENODEV);
	OP->u.get_pmstat = (struct xen_sysctl_get_pmstat){.type = PMSTAT_get_cxstat};
	OP->u.get_pmstat.u.getcx.nr = 2;
	OP->u.get_pmstat.u.getcx.triggers.p = handle(DATA);
	OP->u.get_pmstat.u.getcx.residencies.p = handle(DATA + 64);
	host_ns = 10000;
	assert_int_equal(sysctl(XEN_SYSCTL_get_pmstat), 0);
	assert_int_equal(CALLER(uint64_t, DATA + 64)[1], 7000);
	OP->u.get_pmstat.cpuid = 1;
	assert_int_equal(sysctl(XEN_SYSCTL_get_pmstat), -EINVAL);
	OP->u.pm_op = (struct xen_sysctl_pm_op){.cmd = XEN_SYSCTL_pm_op_get_max_cstate};
	assert_int_equal(sysctl(XEN_SYSCTL_pm_op), 0);
	assert_int_equal(OP->u.pm_op.u.get_max_cstate, XEN_SYSCTL_CX_UNLIMITED);
	OP->u.pm_op.cmd = GET_CPUFREQ_PARA;
	assert_int_equal(sysctl(XEN_SYSCTL_pm_op), -EINVAL);
	OP->u.getcpuinfo = (struct xen_sysctl_getcpuinfo){.max_cpus = 4};
	OP->u.getcpuinfo.info.p = handle(DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_getcpuinfo), 0);
	assert_int_equal(OP->u.getcpuinfo.nr_cpus, 1);
	assert_int_equal(CALLER(uint64_t, DATA)[0], 7000);
	OP->u.availheap = (struct xen_sysctl_availheap){.node = -1};
	assert_int_equal(sysctl(XEN_SYSCTL_availheap), 0);
	assert_int_equal(OP->u.availheap.avail_bytes, 3000 * PAGE_SIZE);
}

static void pci_nodes(void **state)
{
	OP->u.pcitopoinfo = (struct xen_sysctl_pcitopoinfo){.num_devs = 2};
	assert_int_equal(sysctl(XEN_SYSCTL_pcitopoinfo), -EINVAL);
	OP->u.pcitopoinfo.devs.p = handle(DATA);
	OP->u.pcitopoinfo.nodes.p = handle(2 * DATA);
	assert_int_equal(sysctl(XEN_SYSCTL_pcitopoinfo), 0);
	assert_int_equal(OP->u.pcitopoinfo.num_devs, 2);
	assert_int_equal(CALLER(uint32_t, 2 * DATA)[1], XEN_INVALID_DEV);
}

/* --- platform_op --- */

static long platform(uint32_t cmd)
{
	PF->cmd = cmd;
	PF->interface_version = XENPF_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	return hcall_platform_op(&call);
}

static void platform_ops(void **state)
{
	PF->u.settime64 = (struct xenpf_settime64){.secs = 1234};
	assert_int_equal(platform(XENPF_settime64), 0);
	assert_int_equal(clock_secs, 1234);
	PF->u.settime64.mbz = 1;
	assert_int_equal(platform(XENPF_settime64), -EINVAL);
	PF->u.pcpu_info = (struct xenpf_pcpuinfo){.xen_cpuid = 0};
	assert_int_equal(platform(XENPF_get_cpuinfo), 0);
	assert_int_equal(PF->u.pcpu_info.flags, XEN_PCPU_FLAGS_ONLINE);
	PF->u.pcpu_info.xen_cpuid = 1;
	assert_int_equal(platform(XENPF_get_cpuinfo), 0);
	assert_int_equal(PF->u.pcpu_info.flags, XEN_PCPU_FLAGS_INVALID);
	PF->u.firmware_info.type = XEN_FW_EFI_INFO;
	assert_int_equal(platform(XENPF_firmware_info), -ENOSYS);
	assert_int_equal(platform(64), -ENOSYS); /* get_dom0_console, of 4.18 */
	assert_int_equal(refused, 0);
	assert_int_equal(platform(XENPF_enter_acpi_sleep), -EOPNOTSUPP);
	PF->interface_version++;
	assert_int_equal(hcall_platform_op(&call), -EACCES);
	call.d = &domains[1];
	assert_int_equal(platform(XENPF_settime64), -EPERM);
}

/* --- hvm_op --- */

static long param(uint32_t op, domid_t dom, uint32_t index, uint64_t value)
{
	*CALLER(struct xen_hvm_param, DATA) = (struct xen_hvm_param){.domid = dom, .index = index, .value = value};
	call.arg[0] = op;
	call.arg[1] = ADDRESS(DATA);
	return hcall_hvm_op(&call);
}

static void params_of_the_tools(void **state)
{
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_STORE_PFN, 0xfeffc), 0);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_STORE_EVTCHN, 1), 0);
	assert_int_equal(param(HVMOP_get_param, 3, HVM_PARAM_STORE_PFN, 0), 0);
	assert_int_equal(CALLER(struct xen_hvm_param, DATA)->value, 0xfeffc);
	assert_int_equal(param(HVMOP_set_param, 4, HVM_PARAM_STORE_PFN, 1), -ESRCH);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_NR_PARAMS, 1), -EINVAL);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_TIMER_MODE, 1), 0);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_TIMER_MODE, 4), -EINVAL);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_ALTP2M, 0), 0);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_ALTP2M, 1), -EOPNOTSUPP);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_NR_IOREQ_SERVER_PAGES, 8), 0);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_NR_IOREQ_SERVER_PAGES, 8), 0);
	assert_int_equal(param(HVMOP_set_param, 3, HVM_PARAM_NR_IOREQ_SERVER_PAGES, 9), -EEXIST);
}

static void params_of_a_guest(void **state)
{
	call.d = &domains[1];
	domains[1].params[HVM_PARAM_STORE_PFN] = 5;
	assert_int_equal(param(HVMOP_get_param, DOMID_SELF, HVM_PARAM_STORE_PFN, 0), 0);
	assert_int_equal(param(HVMOP_set_param, DOMID_SELF, HVM_PARAM_STORE_PFN, 6), -EPERM);
	assert_int_equal(param(HVMOP_get_param, DOMID_SELF, HVM_PARAM_IOREQ_PFN, 0), -EPERM);
	assert_int_equal(param(HVMOP_set_param, 7, HVM_PARAM_STORE_EVTCHN, 6), -EPERM);
	assert_int_equal(param(HVMOP_get_param, 0, HVM_PARAM_STORE_EVTCHN, 6), -EPERM);
}

static void callback(void **state)
{
	call.d = &domains[1];
	assert_int_equal(param(HVMOP_set_param, DOMID_SELF, HVM_PARAM_CALLBACK_IRQ, 1), 0);
	assert_int_equal(hvm_of_domain[1].callback_gsi, 1);
	info_of[1].evtchn_upcall_pending = 1;
	assert_int_equal(param(HVMOP_set_param, DOMID_SELF, HVM_PARAM_CALLBACK_IRQ, 2ull << 56 | 0xf3), 0);
	assert_int_equal(hvm_of_domain[1].callback_gsi, 0);
	assert_int_equal(hvm_of_domain[1].callback_vector, 0xf3);
	assert_int_equal(host_events_pending, 1);
	assert_int_equal(param(HVMOP_set_param, DOMID_SELF, HVM_PARAM_CALLBACK_IRQ, 1ull << 56 | 3 << 11 | 1), 0);
	assert_int_equal(hvm_of_domain[1].callback_gsi, 16 + 13);
}

static long upcall_vector(uint32_t v, uint8_t vector)
{
	*CALLER(struct xen_hvm_evtchn_upcall_vector, DATA) =
		(struct xen_hvm_evtchn_upcall_vector){.vcpu = v, .vector = vector};
	call.arg[0] = HVMOP_set_evtchn_upcall_vector;
	call.arg[1] = ADDRESS(DATA);
	return hcall_hvm_op(&call);
}

static void other_hvm_ops(void **state)
{
	assert_int_equal(upcall_vector(0, 0xf3), 0);
	assert_int_equal(hvm_of_vcpu[0].upcall_vector, 0xf3);
	assert_int_equal(upcall_vector(0, 15), -EINVAL);
	assert_int_equal(upcall_vector(9, 0xf3), -ENOENT);
	call.arg[0] = HVMOP_flush_tlbs;
	assert_int_equal(hcall_hvm_op(&call), -EINVAL);
	call.arg[1] = 0;
	assert_int_equal(hcall_hvm_op(&call), 0);
	assert_int_equal(host_tlb_flushes, 1);
	host_ns = 77;
	call.arg[0] = HVMOP_get_time;
	call.arg[1] = ADDRESS(DATA);
	assert_int_equal(hcall_hvm_op(&call), 0);
	assert_int_equal(*CALLER(uint64_t, DATA), 77);
	*CALLER(struct xen_hvm_pagetable_dying, DATA) = (struct xen_hvm_pagetable_dying){.domid = DOMID_SELF};
	call.arg[0] = HVMOP_pagetable_dying;
	assert_int_equal(hcall_hvm_op(&call), -EINVAL);
	*CALLER(struct xen_hvm_get_mem_type, DATA) = (struct xen_hvm_get_mem_type){.domid = 3, .pfn = P2M_RAM_RO};
	call.arg[0] = HVMOP_get_mem_type;
	assert_int_equal(hcall_hvm_op(&call), 0);
	assert_int_equal(CALLER(struct xen_hvm_get_mem_type, DATA)->mem_type, HVMMEM_ram_ro);
	call.arg[0] = 99;
	assert_int_equal(hcall_hvm_op(&call), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(rights),
		T(refusals),
		T(physinfo),
		T(console_log),
		T(keys),
		T(list),
		T(topology),
		T(sockets_and_nodes),
		T(features),
		T(policies),
		T(power),
		T(pci_nodes),
		T(platform_ops),
		T(params_of_the_tools),
		T(params_of_a_guest),
		T(callback),
		T(other_hvm_ops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
