/* sources: hcall/domctl.c hcall/domctl_vcpu.c hcall/schedctl.c hcall/domctl_hvm.c hcall/domctl_misc.c hcall/domctl_numa.c core/numa.c hcall/bitmap.c hcall/page.c core/domain.c core/policy.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/p2m.c core/logdirty.c core/ptab.c core/pod.c core/frame.c core/heap.c */
#include "unit/hcall.h"
#include "core/numa.h"
#include "hcall/page.h"
#include "hvm/context.h"
#include "hvm/cpuid.h"
#include "hvm/tsc.h"
#include "hvm/msr.h"

/* --- what hvm/ answers --- */

static int context_ret;
static size_t context_loaded;

size_t context_size(struct domain *d)
{
	return 100;
}

int context_save(struct domain *d, void *buf, size_t size)
{
	assert_int_equal(size, 100);
	memset(buf, 'c', 90);
	return 90;
}

int context_load(struct domain *d, const void *buf, size_t size)
{
	context_loaded = size;
	return context_ret;
}

int context_save_one(struct domain *d, unsigned type, unsigned instance, void *buf, size_t size)
{
	if (type != 2)
		return -ENOENT;
	if (buf)
		memset(buf, 'p', 8);
	return 8;
}

int cpuid_set(struct domain *d, const xen_cpuid_leaf_t *leaves, uint32_t nr, const xen_msr_entry_t *msrs,
	      uint32_t nr_msrs, uint32_t *bad_leaf, uint32_t *bad_subleaf, uint32_t *bad_msr)
{
	for (uint32_t i = 0; i < nr; i++) {
		if (leaves[i].leaf != 7)
			continue;
		*bad_leaf = 7;
		*bad_subleaf = leaves[i].subleaf;
		return -EINVAL;
	}
	return 0;
}

void hvm_get_segment(struct vcpu *v, enum seg s, struct segment *out)
{
	*out = (struct segment){.sel = (uint16_t)(8 * s), .base = 0x1000ull * s};
}

uint64_t hvm_get_cr(struct vcpu *v, unsigned cr)
{
	return cr;
}

unsigned hvm_cpl(struct vcpu *v)
{
	return 0;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	*value = msr;
	return true;
}

bool hcall_preempt(void)
{
	return host_preempt_wanted;
}

static unsigned refused;

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	refused++;
	return -err;
}

/* test/unit/tsc_test.c has what it does */
void tsc_set_mode(struct domain *d, uint32_t mode, uint32_t khz)
{
	assert_true(d->pause_count > 0);
	d->tsc_mode = mode;
	d->tsc_khz = khz;
}

static struct hvm_vcpu hvm_of_vcpu[4];

int guest_vcpu_init(struct vcpu *v)
{
	v->hvm = &hvm_of_vcpu[v->id];
	return 0;
}

/* --- the caller: domain 0 --- */

static struct domain *dom0;
static struct hcall call;

static uint64_t free_before;

static uint64_t free_frames(void)
{
	return frame_free_count() + heap_free_frames();
}

static int boot(void **state)
{
	struct domain_config c = {.id = 0,
				  .max_vcpus = 1,
				  .grant_opts = 1,
				  .max_grant_frames = -1,
				  .max_maptrack_frames = -1,
				  .rights = RIGHT_ALL};

	host_boot(HOST_FRAMES_DEFAULT);
	host_cpus = 4;
	for (unsigned i = 0; i < host_cpus; i++)
		timer_cpu_init(i);
	domain_init();
	sched_init(SCHED_SHARE);
	time_init();
	if (domain_create(&c, &dom0) || domain_vcpu_create(dom0, 0))
		return -1;
	call = (struct hcall){.v = dom0->vcpu[0], .d = dom0};
	return 0;
}

static int setup(void **state)
{
	caller_reset();
	memset(hvm_of_vcpu, 0, sizeof(hvm_of_vcpu));
	refused = 0;
	context_ret = 0;
	free_before = free_frames();
	return 0;
}

/* Every test destroys what it made; nothing is lost. */
static int teardown(void **state)
{
	domain_reap();
	assert_int_equal(free_frames(), free_before);
	assert_null(domain_next(1));
	return 0;
}

#define OP   CALLER(struct xen_domctl, 0)
#define DATA 4096u /* where the caller keeps what structures point at */

static void *handle(size_t index)
{
	return (void *)ADDRESS(index);
}

static long domctl(uint32_t cmd, domid_t dom)
{
	OP->cmd = cmd;
	OP->domain = dom;
	OP->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	return hcall_domctl(&call);
}

/* As `xl create` asks for a PVH guest. */
static void pvh_config(uint32_t vcpus)
{
	memset(OP, 0, sizeof(*OP));
	OP->u.createdomain = (struct xen_domctl_createdomain){
		.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
		.max_vcpus = vcpus,
		.max_evtchn_port = 1023,
		.max_grant_frames = -1,
		.max_maptrack_frames = -1,
		.grant_opts = 2,
		.arch.emulation_flags = XEN_X86_EMU_LAPIC,
		.handle = "uuid of guest",
	};
}

static domid_t create(uint32_t vcpus)
{
	pvh_config(vcpus);
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), 0);
	return OP->domain;
}

static void destroy(domid_t id)
{
	long ret;

	do {
		ret = domctl(XEN_DOMCTL_destroydomain, id);
	} while (ret == -ERESTART);
	assert_int_equal(ret, 0);
}

/* --- dispatch --- */

static void wrong_callers(void **state)
{
	struct domain *guest;
	domid_t id = create(1);

	OP->interface_version = XEN_DOMCTL_INTERFACE_VERSION + 1;
	assert_int_equal(hcall_domctl(&call), -EACCES);
	call.arg[0] = 8;
	assert_int_equal(hcall_domctl(&call), -EFAULT);
	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, 77), -ESRCH);
	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, DOMID_SELF), -ESRCH);
	assert_int_equal(domctl(XEN_DOMCTL_gdbsx_domstatus, id), -ENOSYS);
	assert_int_equal(refused, 1);
	assert_int_equal(domctl(4711, id), -ENOSYS);
	assert_int_equal(domctl(XEN_DOMCTL_assign_device, DOMID_IO), -ENODEV);

	guest = domain_find(id);
	call.d = guest;
	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, id), -EPERM);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), -EPERM);
	pvh_config(1);
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), -EPERM);
	call.d = dom0;
	destroy(id);
}

static void answer_has_no_place(void **state)
{
	pvh_config(1);
	OP->cmd = XEN_DOMCTL_createdomain;
	OP->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	call.arg[0] = ADDRESS(0);
	read_only_from = ADDRESS(0);
	assert_int_equal(hcall_domctl(&call), -EFAULT);
	read_only_from = ADDRESS(CALLER_SIZE);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, 1), -ESRCH); /* nothing was made */
}

/* --- life --- */

static void create_and_destroy(void **state)
{
	domid_t id = create(2);
	struct domain *d = domain_find(id);

	assert_int_not_equal(id, 0);
	assert_memory_equal(d->uuid, "uuid of guest", 13);
	assert_int_equal(domctl(XEN_DOMCTL_max_vcpus, id), -EINVAL);
	OP->u.max_vcpus.max = 2;
	assert_int_equal(domctl(XEN_DOMCTL_max_vcpus, id), 0);
	assert_non_null(domain_vcpu(d, 1));
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), 0);
	assert_int_equal(OP->u.getdomaininfo.max_vcpu_id, 1);
	assert_int_equal(OP->u.getdomaininfo.flags,
			 XEN_DOMINF_hvm_guest | XEN_DOMINF_hap | XEN_DOMINF_paused | XEN_DOMINF_blocked);
	destroy(id);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), -ESRCH);
	assert_int_equal(domctl(XEN_DOMCTL_destroydomain, 0), -EINVAL);
}

static void next_domain(void **state)
{
	domid_t id = create(1);

	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, 1), 0);
	assert_int_equal(OP->domain, id);
	assert_int_equal(OP->u.getdomaininfo.domain, id);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, (domid_t)(id + 1)), -ESRCH);
	destroy(id);
}

static long create_with(uint32_t flags, uint32_t emulation, uint32_t vcpus, uint32_t grants)
{
	pvh_config(vcpus);
	OP->u.createdomain.flags = flags;
	OP->u.createdomain.arch.emulation_flags = emulation;
	OP->u.createdomain.grant_opts = grants;
	return domctl(XEN_DOMCTL_createdomain, 0);
}

static void bad_configs(void **state)
{
	uint32_t pvh = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, lapic = XEN_X86_EMU_LAPIC;

	assert_int_equal(create_with(0, lapic, 1, 1), -EINVAL);
	assert_int_equal(create_with(XEN_DOMCTL_CDF_hvm, lapic, 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh | XEN_DOMCTL_CDF_iommu, lapic, 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh | XEN_DOMCTL_CDF_nested_virt, lapic, 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh | 1u << 31, lapic, 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh, lapic, 0, 1), -EINVAL);
	assert_int_equal(create_with(pvh, lapic, DOMAIN_MAX_VCPUS + 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh, lapic, 1, 3), -EINVAL);
	assert_int_equal(create_with(pvh, lapic, 1, 0), -EINVAL);
	assert_int_equal(create_with(pvh, lapic, 1, 0x12), -EINVAL);
	assert_int_equal(create_with(pvh, 1u << 20, 1, 1), -EINVAL);
	assert_int_equal(create_with(pvh, XEN_X86_EMU_ALL, 1, 1), -EOPNOTSUPP);
	pvh_config(1);
	OP->u.createdomain.cpupool_id = 3;
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 0), -ESRCH);
	pvh_config(1);
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 9), 0);
	pvh_config(1);
	assert_int_equal(domctl(XEN_DOMCTL_createdomain, 9), -EEXIST);
	destroy(9);
}

static void pauses(void **state)
{
	domid_t id = create(1);
	struct domain *d = domain_find(id);

	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, id), 0);
	assert_int_equal(d->pause_count, 2);
	assert_int_equal(domctl(XEN_DOMCTL_unpausedomain, id), 0);
	assert_true(d->created_paused);
	assert_int_equal(domctl(XEN_DOMCTL_unpausedomain, id), 0);
	assert_int_equal(d->pause_count, 0);
	assert_int_equal(domctl(XEN_DOMCTL_unpausedomain, id), -EINVAL);
	for (unsigned i = 0; i < 255; i++)
		assert_int_equal(domctl(XEN_DOMCTL_pausedomain, id), 0);
	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, id), -EOVERFLOW);
	assert_int_equal(domctl(XEN_DOMCTL_pausedomain, 0), -EINVAL);
	destroy(id);
}

static void shutdown_is_seen(void **state)
{
	domid_t id = create(1);

	domain_shutdown(domain_find(id), SHUTDOWN_suspend);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), 0);
	assert_true(OP->u.getdomaininfo.flags & XEN_DOMINF_shutdown);
	assert_int_equal(OP->u.getdomaininfo.flags >> XEN_DOMINF_shutdownshift & 255, SHUTDOWN_suspend);
	assert_int_equal(domctl(XEN_DOMCTL_resumedomain, id), 0);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), 0);
	assert_false(OP->u.getdomaininfo.flags & XEN_DOMINF_shutdown);
	destroy(id);
}

static void limits(void **state)
{
	domid_t id = create(1);

	OP->u.max_mem.max_memkb = 8192;
	assert_int_equal(domctl(XEN_DOMCTL_max_mem, id), 0);
	assert_int_equal(domctl(XEN_DOMCTL_getdomaininfo, id), 0);
	assert_int_equal(OP->u.getdomaininfo.max_pages, 2048);
	OP->u.paging_mempool.size = 7 * PAGE_SIZE + 1;
	assert_int_equal(domctl(XEN_DOMCTL_set_paging_mempool_size, id), -EINVAL);
	OP->u.paging_mempool.size = 7 << 20;
	assert_int_equal(domctl(XEN_DOMCTL_set_paging_mempool_size, id), 0);
	OP->u.paging_mempool.size = 0;
	assert_int_equal(domctl(XEN_DOMCTL_get_paging_mempool_size, id), 0);
	assert_int_equal(OP->u.paging_mempool.size, 7 << 20);
	OP->u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
	assert_int_equal(domctl(XEN_DOMCTL_shadow_op, id), 0);
	memcpy(OP->u.setdomainhandle.handle, "another uuid....", 16);
	assert_int_equal(domctl(XEN_DOMCTL_setdomainhandle, id), 0);
	assert_memory_equal(domain_find(id)->uuid, "another uuid....", 16);
	destroy(id);
}

/* --- vCPUs --- */

static domid_t create_with_vcpus(uint32_t n)
{
	domid_t id = create(n);

	OP->u.max_vcpus.max = n;
	assert_int_equal(domctl(XEN_DOMCTL_max_vcpus, id), 0);
	return id;
}

static void affinity(void **state)
{
	domid_t id = create_with_vcpus(1);
	struct xen_domctl_vcpuaffinity *a = &OP->u.vcpuaffinity;
	uint8_t *hard = memory + DATA;

	*a = (struct xen_domctl_vcpuaffinity){.flags = XEN_VCPUAFFINITY_HARD, .cpumap_hard = {{handle(DATA)}, 12}};
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, id), 0);
	assert_int_equal(hard[0], 0x0f);
	assert_int_equal(hard[1], 0);
	hard[0] = 0xfe;
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, id), 0);
	assert_int_equal(hard[0], 0x0e); /* effective: CPUs 1-3 of 0-3 */
	assert_int_equal(hard[1], 0);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, id), 0);
	assert_int_equal(hard[0], 0x0e);
	assert_int_equal(hard[1], 0);
	hard[0] = 0xf0;
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, id), -EINVAL);
	a->vcpu = 1;
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, id), -EINVAL);
	a->vcpu = 0;
	a->flags = 0;
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, id), -EINVAL);
	/* A bitmap larger than what we know is filled with zeroes. */
	memset(hard, 0xff, 100);
	*a = (struct xen_domctl_vcpuaffinity){.flags = XEN_VCPUAFFINITY_SOFT, .cpumap_soft = {{handle(DATA)}, 640}};
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuaffinity, id), 0);
	assert_int_equal(hard[0], 0x0f);
	assert_int_equal(hard[31], 0);
	assert_int_equal(hard[32], 0);
	assert_int_equal(hard[79], 0);
	assert_int_equal(hard[80], 0xff);
	destroy(id);
}

static void nodes(void **state)
{
	domid_t id = create(1);

	OP->u.nodeaffinity.nodemap = (struct xenctl_bitmap){{handle(DATA)}, 8};
	assert_int_equal(domctl(XEN_DOMCTL_setnodeaffinity, id), -EINVAL);
	memory[DATA] = 1;
	assert_int_equal(domctl(XEN_DOMCTL_setnodeaffinity, id), 0);
	memory[DATA] = 0xff;
	assert_int_equal(domctl(XEN_DOMCTL_getnodeaffinity, id), 0);
	assert_int_equal(memory[DATA], 1);
	destroy(id);
}

static uint8_t nodes_of(domid_t id)
{
	OP->u.nodeaffinity.nodemap = (struct xenctl_bitmap){{handle(DATA)}, 8};
	memory[DATA] = 0xff;
	assert_int_equal(domctl(XEN_DOMCTL_getnodeaffinity, id), 0);
	return memory[DATA];
}

static long set_nodes(domid_t id, uint8_t mask)
{
	OP->u.nodeaffinity.nodemap = (struct xenctl_bitmap){{handle(DATA)}, 8};
	memory[DATA] = mask;
	return domctl(XEN_DOMCTL_setnodeaffinity, id);
}

static void pin(domid_t id, uint32_t vcpu, uint32_t flags, uint8_t cpus)
{
	memory[DATA] = memory[DATA + 8] = cpus;
	OP->u.vcpuaffinity = (struct xen_domctl_vcpuaffinity){.vcpu = vcpu, .flags = flags,
							      .cpumap_hard = {{handle(DATA)}, 8},
							      .cpumap_soft = {{handle(DATA + 8)}, 8}};
	assert_int_equal(domctl(XEN_DOMCTL_setvcpuaffinity, id), 0);
}

/* Three nodes, two CPUs on each of the first two: affinity follows the vCPUs until it is set. */
static void nodes_follow_cpus(void **state)
{
	domid_t id = create_with_vcpus(2);

	host_nodes = 3;
	host_cpu_node[2] = host_cpu_node[3] = 1;
	assert_int_equal(nodes_of(id), 7);
	pin(id, 0, XEN_VCPUAFFINITY_HARD, 0x0c);
	assert_int_equal(nodes_of(id), 3); /* vCPU 1 may use any CPU */
	pin(id, 1, XEN_VCPUAFFINITY_HARD, 0x04);
	assert_int_equal(nodes_of(id), 2);
	pin(id, 1, XEN_VCPUAFFINITY_HARD, 0x0f);
	assert_int_equal(nodes_of(id), 3);
	pin(id, 1, XEN_VCPUAFFINITY_SOFT, 0x08);
	assert_int_equal(nodes_of(id), 2);
	assert_int_equal(set_nodes(id, 0), -EINVAL);
	assert_int_equal(set_nodes(id, 0x78), -EINVAL); /* none of this machine's */
	assert_int_equal(nodes_of(id), 2);
	assert_int_equal(set_nodes(id, 0xfd), 0);
	assert_int_equal(nodes_of(id), 5);
	pin(id, 0, XEN_VCPUAFFINITY_HARD, 0x01);
	assert_int_equal(nodes_of(id), 5);
	assert_int_equal(set_nodes(id, 0xff), 0); /* all: follow again */
	assert_int_equal(nodes_of(id), 3);
	OP->u.nodeaffinity.nodemap = (struct xenctl_bitmap){{NULL}, 8};
	assert_int_equal(domctl(XEN_DOMCTL_setnodeaffinity, id), -EFAULT);
	assert_int_equal(domctl(XEN_DOMCTL_getnodeaffinity, id), -EFAULT);
	host_nodes = 1;
	host_cpu_node[2] = host_cpu_node[3] = 0;
	destroy(id);
}

static void put_vnuma(void)
{
	static const unsigned d[4] = {10, 20, 20, 10}, of_vcpu[3] = {0, 1, 1}, pnode[2] = {0, 63};
	static const struct xen_vmemrange range[2] = {{0, 0x100000, 0, 0}, {0x100000, 0x200000, 0, 1}};

	memcpy(memory + DATA, d, sizeof(d));
	memcpy(memory + DATA + 64, of_vcpu, sizeof(of_vcpu));
	memcpy(memory + DATA + 128, pnode, sizeof(pnode));
	memcpy(memory + DATA + 192, range, sizeof(range));
	OP->u.vnuma = (struct xen_domctl_vnuma){.nr_vnodes = 2, .nr_vmemranges = 2, .nr_vcpus = 3};
	OP->u.vnuma.vdistance.p = handle(DATA);
	OP->u.vnuma.vcpu_to_vnode.p = handle(DATA + 64);
	OP->u.vnuma.vnode_to_pnode.p = handle(DATA + 128);
	OP->u.vnuma.vmemrange.p = handle(DATA + 192);
}

#define VNUMA_BAD(change, err)                                              \
	do {                                                                \
		put_vnuma();                                                \
		change;                                                     \
		assert_int_equal(domctl(XEN_DOMCTL_setvnumainfo, id), err); \
	} while (0)

static void virtual_nodes(void **state)
{
	static struct vnuma t;
	domid_t id = create_with_vcpus(3);
	struct domain *d = domain_find(id);
	unsigned pnode;

	assert_false(numa_get_vnuma(d, &t));
	assert_true(numa_pnode(d, 5, &pnode));
	assert_int_equal(pnode, ~0u);
	VNUMA_BAD(OP->u.vnuma.pad = 1, -EINVAL);
	VNUMA_BAD(OP->u.vnuma.nr_vnodes = 0, -EINVAL);
	VNUMA_BAD(OP->u.vnuma.nr_vnodes = 33, -EINVAL);
	VNUMA_BAD(OP->u.vnuma.nr_vmemranges = 171, -EINVAL);
	VNUMA_BAD(OP->u.vnuma.nr_vcpus = 2, -EINVAL);
	VNUMA_BAD(*CALLER(unsigned, DATA + 64) = 2, -EINVAL);
	VNUMA_BAD(CALLER(struct xen_vmemrange, DATA + 192)->nid = 2, -EINVAL);
	VNUMA_BAD(CALLER(struct xen_vmemrange, DATA + 192)->end = 0, -EINVAL);
	VNUMA_BAD(*CALLER(unsigned, DATA + 132) = 64, -E2BIG);
	VNUMA_BAD(OP->u.vnuma.vdistance.p = NULL, -EFAULT);
	VNUMA_BAD(OP->u.vnuma.vmemrange.p = NULL, -EFAULT);
	assert_false(numa_get_vnuma(d, &t));
	for (unsigned i = 0; i < 3; i++) { /* it may be set again; the first is freed */
		put_vnuma();
		assert_int_equal(domctl(XEN_DOMCTL_setvnumainfo, id), 0);
	}
	assert_true(numa_get_vnuma(d, &t));
	assert_int_equal(t.nr_nodes, 2);
	assert_int_equal(t.distance[1], 20);
	assert_int_equal(t.node_of_vcpu[2], 1);
	assert_int_equal(t.range[1].end, 0x200000);
	assert_true(numa_pnode(d, 0, &pnode));
	assert_int_equal(pnode, 0);
	assert_true(numa_pnode(d, 1, &pnode));
	assert_int_equal(pnode, 63);
	assert_false(numa_pnode(d, 2, &pnode));
	destroy(id);
}

static void vcpu_info_and_weight(void **state)
{
	domid_t id = create_with_vcpus(1);

	OP->u.getvcpuinfo.vcpu = 0;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, id), 0);
	assert_int_equal(OP->u.getvcpuinfo.online, 0);
	OP->u.getvcpuinfo.vcpu = 1;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpuinfo, id), -EINVAL);
	OP->u.scheduler_op =
		(struct xen_domctl_scheduler_op){.sched_id = XEN_SCHEDULER_CREDIT2, .cmd = XEN_DOMCTL_SCHEDOP_getinfo};
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, id), 0);
	assert_int_equal(OP->u.scheduler_op.u.credit2.weight, 256);
	OP->u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
	OP->u.scheduler_op.u.credit2.weight = 512;
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, id), 0);
	assert_int_equal(domain_find(id)->sched_weight, 512);
	OP->u.scheduler_op.sched_id = XEN_SCHEDULER_RTDS;
	assert_int_equal(domctl(XEN_DOMCTL_scheduler_op, id), -EINVAL);
	destroy(id);
}

static void registers(void **state)
{
	domid_t id = create_with_vcpus(1);
	struct vcpu *v = domain_find(id)->vcpu[0];
	struct vcpu_guest_context *c = CALLER(struct vcpu_guest_context, DATA);

	OP->u.vcpucontext.vcpu = 0;
	OP->u.vcpucontext.ctxt.p = handle(DATA);
	assert_int_equal(domctl(XEN_DOMCTL_getvcpucontext, id), -ENODATA);
	v->initialised = true;
	v->regs.rip = 0x1234;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpucontext, id), 0);
	assert_int_equal(c->user_regs.rip, 0x1234);
	assert_int_equal(c->user_regs.cs, 8 * SEG_CS);
	assert_int_equal(c->ctrlreg[3], 3);
	assert_int_equal(c->flags, VGCF_in_kernel);
	assert_int_equal(c->gs_base_kernel, 0x1000 * SEG_GS);
	c->user_regs.rax = 1; /* as libxc tells a resumed guest */
	c->user_regs.rflags = ~0ull;
	c->flags |= VGCF_online;
	assert_int_equal(domctl(XEN_DOMCTL_setvcpucontext, id), 0);
	assert_int_equal(v->regs.rax, 1);
	assert_true(v->regs.rflags & 2);
	assert_false(v->regs.rflags >> 22);
	assert_true(v->sched.up);
	OP->u.vcpucontext.vcpu = 5;
	assert_int_equal(domctl(XEN_DOMCTL_getvcpucontext, id), -EINVAL);
	assert_int_equal(domctl(XEN_DOMCTL_setvcpucontext, id), -EINVAL);
	destroy(id);
}

static void triggers(void **state)
{
	domid_t id = create_with_vcpus(1);

	OP->u.sendtrigger = (struct xen_domctl_sendtrigger){XEN_DOMCTL_SENDTRIGGER_NMI, 0};
	assert_int_equal(domctl(XEN_DOMCTL_sendtrigger, id), 0);
	assert_true(hvm_of_vcpu[0].nmi_pending);
	OP->u.sendtrigger.vcpu = 1;
	assert_int_equal(domctl(XEN_DOMCTL_sendtrigger, id), -ESRCH);
	OP->u.sendtrigger.trigger = XEN_DOMCTL_SENDTRIGGER_POWER;
	assert_int_equal(domctl(XEN_DOMCTL_sendtrigger, id), 0);
	OP->u.sendtrigger.trigger = 99;
	assert_int_equal(domctl(XEN_DOMCTL_sendtrigger, id), -ENOSYS);
	destroy(id);
}

/* --- the virtual machine --- */

static void context(void **state)
{
	domid_t id = create(1);
	struct xen_domctl_hvmcontext *c = &OP->u.hvmcontext;

	c->buffer.p = NULL;
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext, id), 0);
	assert_int_equal(c->size, 100);
	c->buffer.p = handle(DATA);
	c->size = 99;
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext, id), -ENOSPC);
	c->size = 200;
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext, id), 0);
	assert_int_equal(c->size, 90);
	assert_int_equal(memory[DATA + 89], 'c');
	assert_int_equal(memory[DATA + 90], 0);
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext, 0), -EINVAL);

	assert_int_equal(domctl(XEN_DOMCTL_sethvmcontext, id), 0);
	assert_int_equal(context_loaded, 90);
	context_ret = -EINVAL;
	assert_int_equal(domctl(XEN_DOMCTL_sethvmcontext, id), -EINVAL);
	c->size = 1 << 30;
	assert_int_equal(domctl(XEN_DOMCTL_sethvmcontext, id), -E2BIG);
	c->size = 1000;
	c->buffer.p = (void *)16;
	assert_int_equal(domctl(XEN_DOMCTL_sethvmcontext, id), -EFAULT);
	assert_int_equal(domain_find(id)->pause_count, 1);
	destroy(id);
}

static void context_partial(void **state)
{
	domid_t id = create(1);
	struct xen_domctl_hvmcontext_partial *p = &OP->u.hvmcontext_partial;

	*p = (struct xen_domctl_hvmcontext_partial){.type = 2};
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext_partial, id), 0);
	assert_int_equal(p->bufsz, 8);
	p->buffer.p = handle(DATA);
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext_partial, id), 0);
	assert_int_equal(memory[DATA + 7], 'p');
	p->bufsz = 7;
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext_partial, id), -ENOSPC);
	p->type = 3;
	assert_int_equal(domctl(XEN_DOMCTL_gethvmcontext_partial, id), -ENOENT);
	destroy(id);
}

static void policy(void **state)
{
	static struct cpuid_policy mine = {.nr_leaves = 2, .nr_msrs = 1, .leaf = {{.leaf = 0}, {.leaf = 1}}};
	struct xen_domctl_cpu_policy *p = &OP->u.cpu_policy;
	xen_cpuid_leaf_t *l = CALLER(xen_cpuid_leaf_t, DATA);
	domid_t id = create(1);

	domain_find(id)->cpuid = &mine;
	*p = (struct xen_domctl_cpu_policy){.nr_leaves = 1, .nr_msrs = 1};
	p->leaves.p = handle(DATA);
	p->msrs.p = handle(2 * DATA);
	assert_int_equal(domctl(XEN_DOMCTL_get_cpu_policy, id), -ENOBUFS);
	p->nr_leaves = 50;
	assert_int_equal(domctl(XEN_DOMCTL_get_cpu_policy, id), 0);
	assert_int_equal(p->nr_leaves, 2);
	assert_int_equal(l[1].leaf, 1);

	assert_int_equal(domctl(XEN_DOMCTL_set_cpu_policy, id), 0);
	l[1] = (xen_cpuid_leaf_t){.leaf = 7, .subleaf = 1};
	assert_int_equal(domctl(XEN_DOMCTL_set_cpu_policy, id), -EINVAL);
	assert_int_equal(p->err_leaf, 7);
	assert_int_equal(p->err_subleaf, 1);
	assert_int_equal(p->err_msr, ~0u);
	p->nr_leaves = 1 << 20;
	assert_int_equal(domctl(XEN_DOMCTL_set_cpu_policy, id), -E2BIG);
	domctl(XEN_DOMCTL_unpausedomain, id);
	assert_int_equal(domctl(XEN_DOMCTL_set_cpu_policy, id), -EEXIST);
	domain_find(id)->cpuid = NULL;
	destroy(id);
}

static void time_of_a_domain(void **state)
{
	domid_t id = create(1);
	struct xen_domctl_tsc_info *t = &OP->u.tsc_info;

	*t = (struct xen_domctl_tsc_info){.tsc_mode = 2, .gtsc_khz = 1000000, .incarnation = 4};
	assert_int_equal(domctl(XEN_DOMCTL_settscinfo, id), 0);
	memset(t, 0, sizeof(*t));
	assert_int_equal(domctl(XEN_DOMCTL_gettscinfo, id), 0);
	assert_int_equal(t->tsc_mode, 2);
	assert_int_equal(t->incarnation, 4);
	assert_int_equal(t->gtsc_khz, 0);
	t->tsc_mode = 1;
	t->gtsc_khz = 123456;
	assert_int_equal(domctl(XEN_DOMCTL_settscinfo, id), 0);
	assert_int_equal(domain_find(id)->tsc_mode, 1);
	assert_int_equal(domctl(XEN_DOMCTL_gettscinfo, id), 0);
	assert_int_equal(t->gtsc_khz, 123456);
	t->tsc_mode = 3;
	assert_int_equal(domctl(XEN_DOMCTL_settscinfo, id), -EINVAL);
	OP->u.settimeoffset.time_offset_seconds = -3600;
	assert_int_equal(domctl(XEN_DOMCTL_settimeoffset, id), 0);
	assert_int_equal(domain_find(id)->time_offset_seconds, -3600);
	assert_int_equal(domctl(XEN_DOMCTL_get_address_size, id), 0);
	assert_int_equal(OP->u.address_size.size, 64);
	destroy(id);
}

/* --- memory, rights --- */

static mfn_t give_page(struct domain *d, uint64_t gfn)
{
	mfn_t m;

	d->max_frames = 100;
	m = frame_alloc(d, 0, 0);
	assert_true(mfn_valid(m));
	assert_int_equal(p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW), 0);
	return m;
}

static void page_types(void **state)
{
	domid_t id = create(1);
	uint64_t *gfn = CALLER(uint64_t, DATA);

	give_page(domain_find(id), 5);
	for (unsigned i = 0; i < 70; i++)
		gfn[i] = i;
	OP->u.getpageframeinfo3.num = 70;
	OP->u.getpageframeinfo3.array.p = handle(DATA);
	assert_int_equal(domctl(XEN_DOMCTL_getpageframeinfo3, id), 0);
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(gfn[i], i == 5 ? XEN_DOMCTL_PFINFO_NOTAB : XEN_DOMCTL_PFINFO_XTAB);
	OP->u.getpageframeinfo3.num = 1025;
	assert_int_equal(domctl(XEN_DOMCTL_getpageframeinfo3, id), -E2BIG);
	destroy(id);
}

static long shadow_op(domid_t id, uint32_t op, uint64_t pages)
{
	OP->u.shadow_op.op = op;
	OP->u.shadow_op.pages = pages;
	OP->u.shadow_op.stats.dirty_count = 99;
	return domctl(XEN_DOMCTL_shadow_op, id);
}

static void log_dirty(void **state)
{
	domid_t id = create(1);
	struct domain *d = domain_find(id);
	const uint8_t *bits = CALLER(uint8_t, DATA);

	for (uint64_t i = 0; i < 10; i++)
		give_page(d, i * 5000);
	OP->u.shadow_op = (struct xen_domctl_shadow_op){.dirty_bitmap.p = handle(DATA)};
	assert_int_equal(shadow_op(0, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, 0), -EINVAL);
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_PEEK, 100), -EINVAL);
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_ENABLE, 0), -EINVAL);
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, 0), 0);
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, 0), -EINVAL);
	for (uint64_t i = 1; i < 10; i += 2)
		assert_true(p2m_fault(d, GFN(i * 5000), true, false));
	/* Restarted until it is done: the caller's structure shows only the end, the bits of all pieces are there. */
	host_preempt_wanted = true;
	for (unsigned restarts = 0; shadow_op(id, XEN_DOMCTL_SHADOW_OP_CLEAN, 50003) == -ERESTART; restarts++) {
		assert_int_equal(OP->u.shadow_op.stats.dirty_count, 99);
		assert_true(restarts < 20);
	}
	assert_int_equal(OP->u.shadow_op.stats.dirty_count, 5);
	assert_int_equal(OP->u.shadow_op.stats.fault_count, 0);
	assert_int_equal(OP->u.shadow_op.pages, 50003);
	for (uint64_t i = 0; i < 50000; i++)
		assert_int_equal(bits[i / 8] >> (i % 8) & 1, i % 10000 == 5000);
	/* Another call than the one that was stopped starts at the beginning. */
	assert_true(p2m_fault(d, GFN(0), true, false));
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_PEEK, 50000), -ERESTART);
	host_preempt_wanted = false;
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_PEEK, 40000), 0);
	assert_int_equal(OP->u.shadow_op.stats.dirty_count, 1);
	/* A bitmap that cannot be written leaves what is dirty dirty. */
	OP->u.shadow_op.dirty_bitmap.p = (void *)8;
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_CLEAN, 40000), -EFAULT);
	OP->u.shadow_op.dirty_bitmap.p = NULL;
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_CLEAN, 1), 0);
	assert_int_equal(OP->u.shadow_op.stats.dirty_count, 1);
	OP->u.shadow_op.mode = 2;
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_CLEAN, 1), -EINVAL);
	OP->u.shadow_op.mode = 0;
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_OFF, 0), 0);
	assert_int_equal(shadow_op(id, XEN_DOMCTL_SHADOW_OP_CLEAN, 1), -EINVAL);
	assert_int_equal(shadow_op(id, 77, 1), -EINVAL);
	destroy(id);
}

static void hypercall_page(void **state)
{
	domid_t id = create(1);
	mfn_t m = give_page(domain_find(id), 7);
	uint8_t first[9];

	OP->u.hypercall_init.gmfn = 7;
	assert_int_equal(domctl(XEN_DOMCTL_hypercall_init, id), 0);
	host_peek(m, 32 * __HYPERVISOR_memory_op, first, sizeof(first));
	assert_memory_equal(first, "\xb8\x0c\x00\x00\x00\x0f\x01\xd9\xc3", 9);
	assert_int_equal(frame_refs(m), 1);
	OP->u.hypercall_init.gmfn = 8;
	assert_int_equal(domctl(XEN_DOMCTL_hypercall_init, id), -EINVAL);
	destroy(id);
}

static void hardware_rights(void **state)
{
	domid_t id = create(1);

	OP->u.ioport_permission = (struct xen_domctl_ioport_permission){0x3f8, 8, 0};
	assert_int_equal(domctl(XEN_DOMCTL_ioport_permission, id), 0);
	OP->u.ioport_permission.allow_access = 1;
	assert_int_equal(domctl(XEN_DOMCTL_ioport_permission, id), -EOPNOTSUPP);
	assert_int_equal(domctl(XEN_DOMCTL_ioport_permission, 0), 0);
	OP->u.ioport_permission.nr_ports = 0xffffffff;
	assert_int_equal(domctl(XEN_DOMCTL_ioport_permission, id), -EINVAL);
	OP->u.iomem_permission = (struct xen_domctl_iomem_permission){~0ull, 2, 0};
	assert_int_equal(domctl(XEN_DOMCTL_iomem_permission, id), -EINVAL);
	dom0->rights &= ~RIGHT_HARDWARE;
	OP->u.irq_permission = (struct xen_domctl_irq_permission){.pirq = 5};
	assert_int_equal(domctl(XEN_DOMCTL_irq_permission, id), -EPERM);
	dom0->rights = RIGHT_ALL;
	OP->u.set_virq_handler.virq = VIRQ_TIMER;
	assert_int_equal(domctl(XEN_DOMCTL_set_virq_handler, id), -EINVAL);
	OP->u.set_virq_handler.virq = NR_VIRQS;
	assert_int_equal(domctl(XEN_DOMCTL_set_virq_handler, id), -EINVAL);
	OP->u.set_virq_handler.virq = VIRQ_DOM_EXC;
	assert_int_equal(domctl(XEN_DOMCTL_set_virq_handler, id), 0);
	OP->u.set_target.target = id;
	assert_int_equal(domctl(XEN_DOMCTL_set_target, id), -EINVAL);
	OP->u.set_target.target = 999;
	assert_int_equal(domctl(XEN_DOMCTL_set_target, id), -ESRCH);
	destroy(id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(wrong_callers),
		T(answer_has_no_place),
		T(create_and_destroy),
		T(next_domain),
		T(bad_configs),
		T(pauses),
		T(shutdown_is_seen),
		T(limits),
		T(affinity),
		T(nodes),
		T(nodes_follow_cpus),
		T(virtual_nodes),
		T(vcpu_info_and_weight),
		T(registers),
		T(triggers),
		T(context),
		T(context_partial),
		T(policy),
		T(time_of_a_domain),
		T(page_types),
		T(log_dirty),
		T(hypercall_page),
		T(hardware_rights),
	};

	return cmocka_run_group_tests(tests, boot, NULL);
}
