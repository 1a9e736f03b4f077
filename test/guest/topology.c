// SPDX-License-Identifier: Apache-2.0
/*
 * What tells a domain where it is: APIC IDs in CPUID, the machine's topology, NUMA affinity, virtual NUMA nodes, TSC modes.
 * Source: public headers sysctl.h, domctl.h, memory.h, arch-x86/cpuid.h. The tool stack's part is dom0's only.
 */
#include "lib/guest.h"

#include <xen/domctl.h>
#include <xen/sysctl.h>

const char guest_name[] = "topology";

static struct xen_domctl op;
static struct xen_sysctl ctl;

static void apic_ids(void)
{
	uint32_t r[4], id;

	cpu_cpuid(1, 0, r);
	id = r[1] >> 24;
	CHECK_EQ("the first vCPU's APIC ID", id, 0);
	cpu_cpuid(0, 0, r);
	if (r[0] < 0xb)
		return;
	for (uint32_t level = 0; level < 2; level++) {
		cpu_cpuid(0xb, level, r);
		CHECK_EQ("leaf 0xb names its level", r[2] & 0xff, level);
		CHECK_EQ("leaf 0xb has the APIC ID", r[3], id);
		CHECK_EQ("leaf 0xb names no level beyond it", r[1], 0);
	}
}

static void tsc_leaf(void)
{
	uint32_t r[4];

	cpu_cpuid(0x40000003, 0, r);
	CHECK("a frequency", r[2] > 1000);
	cpu_cpuid(0x40000003, 2, r);
	CHECK("the machine's frequency", r[0] > 1000);
}

static long sysctl(uint32_t cmd)
{
	ctl.cmd = cmd;
	ctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	return HC(__HYPERVISOR_sysctl, &ctl);
}

static void machine(void)
{
	static struct xen_sysctl_cputopo cpu[2];
	static struct xen_sysctl_meminfo mem[2];
	static uint32_t distance[4];

	CHECK_EQ("physinfo", sysctl(XEN_SYSCTL_physinfo), 0);
	CHECK_EQ("one node", ctl.u.physinfo.nr_nodes, 1);
	CHECK_EQ("threads per core", ctl.u.physinfo.threads_per_core, 1);
	CHECK_EQ("cores per socket", ctl.u.physinfo.cores_per_socket, 1);
	cpu[1].node = 77;
	ctl.u.cputopoinfo.num_cpus = 2;
	set_xen_guest_handle(ctl.u.cputopoinfo.cputopo, cpu);
	CHECK_EQ("cputopoinfo", sysctl(XEN_SYSCTL_cputopoinfo), 0);
	CHECK_EQ("one CPU", ctl.u.cputopoinfo.num_cpus, 1);
	CHECK_EQ("on node 0", cpu[0].node, 0);
	CHECK_EQ("no other is written", cpu[1].node, 77);
	mem[1].memsize = 77;
	distance[1] = 77;
	ctl.u.numainfo.num_nodes = 2;
	set_xen_guest_handle(ctl.u.numainfo.meminfo, mem);
	set_xen_guest_handle(ctl.u.numainfo.distance, distance);
	CHECK_EQ("numainfo", sysctl(XEN_SYSCTL_numainfo), 0);
	CHECK_EQ("one node again", ctl.u.numainfo.num_nodes, 1);
	CHECK("some memory, some of it free", mem[0].memsize > mem[0].memfree && mem[0].memfree > 0);
	CHECK_EQ("the distance to itself", distance[0], 10);
	CHECK("nothing else is written", mem[1].memsize == 77 && distance[1] == 77);
}

static long node_affinity(uint32_t cmd, uint8_t *map, unsigned int bits)
{
	op.u.nodeaffinity.nodemap.nr_bits = bits;
	set_xen_guest_handle(op.u.nodeaffinity.nodemap.bitmap, map);
	return peer_domctl(cmd, &op);
}

static void nodes(void)
{
	static uint8_t map[8];

	CHECK_EQ("affinity to no node", node_affinity(XEN_DOMCTL_setnodeaffinity, map, 64), -XEN_EINVAL);
	map[0] = 2;
	CHECK_EQ("to one that is not there", node_affinity(XEN_DOMCTL_setnodeaffinity, map, 64), -XEN_EINVAL);
	map[0] = 3;
	CHECK_EQ("to one that is, too", node_affinity(XEN_DOMCTL_setnodeaffinity, map, 64), 0);
	map[0] = 0xfe;
	CHECK_EQ("getnodeaffinity", node_affinity(XEN_DOMCTL_getnodeaffinity, map, 8), 0);
	CHECK_EQ("has the node that is there", map[0] & 1, 1);
	CHECK_EQ("from nowhere", node_affinity(XEN_DOMCTL_setnodeaffinity, (uint8_t *)~0xfffUL, 8), -XEN_EFAULT);
}

static unsigned int vdistance[4] = {10, 20, 20, 10}, vcpu_to_vnode[1] = {1}, vnode_to_pnode[2] = {0, 63};
static struct xen_vmemrange ranges[2] = {{0, 0x10000, 0, 0}, {0x10000, 0x20000, 0, 1}};

static long set_vnuma(unsigned int nodes, unsigned int vcpus, unsigned int nr_ranges, unsigned int pad)
{
	op.u.vnuma = (struct xen_domctl_vnuma){.nr_vnodes = nodes, .nr_vmemranges = nr_ranges, .nr_vcpus = vcpus, .pad = pad};
	set_xen_guest_handle(op.u.vnuma.vdistance, vdistance);
	set_xen_guest_handle(op.u.vnuma.vcpu_to_vnode, vcpu_to_vnode);
	set_xen_guest_handle(op.u.vnuma.vnode_to_pnode, vnode_to_pnode);
	set_xen_guest_handle(op.u.vnuma.vmemrange, ranges);
	return peer_domctl(XEN_DOMCTL_setvnumainfo, &op);
}

static struct xen_vnuma_topology_info info;
static unsigned int got_distance[4], got_vcpu[4];
static struct xen_vmemrange got_range[4];

static long get_vnuma(domid_t who, unsigned int nodes, unsigned int vcpus, unsigned int nr_ranges)
{
	info = (struct xen_vnuma_topology_info){
		.domid = who, .nr_vnodes = nodes, .nr_vcpus = vcpus, .nr_vmemranges = nr_ranges};
	set_xen_guest_handle(info.vdistance.h, got_distance);
	set_xen_guest_handle(info.vcpu_to_vnode.h, got_vcpu);
	set_xen_guest_handle(info.vmemrange.h, got_range);
	return hc_memory(XENMEM_get_vnumainfo, &info);
}

static void virtual_nodes(void)
{
	CHECK_EQ("no virtual nodes yet", get_vnuma(peer_domid, 4, 4, 4), -XEN_EOPNOTSUPP);
	CHECK_EQ("without nodes", set_vnuma(0, 1, 2, 0), -XEN_EINVAL);
	CHECK_EQ("for more vCPUs than it has", set_vnuma(2, 2, 2, 0), -XEN_EINVAL);
	CHECK_EQ("padding", set_vnuma(2, 1, 2, 1), -XEN_EINVAL);
	CHECK_EQ("too many nodes", set_vnuma(100000, 1, 2, 0), -XEN_EINVAL);
	CHECK_EQ("too many ranges", set_vnuma(2, 1, 100000, 0), -XEN_EINVAL);
	vnode_to_pnode[1] = 64;
	CHECK_EQ("on a node that no machine has", set_vnuma(2, 1, 2, 0), -XEN_E2BIG);
	vnode_to_pnode[1] = 63;
	CHECK_EQ("still none", get_vnuma(peer_domid, 4, 4, 4), -XEN_EOPNOTSUPP);
	CHECK_EQ("without ranges", set_vnuma(2, 1, 0, 0), 0);
	CHECK_EQ("which is told", get_vnuma(peer_domid, 2, 1, 0), 0);
	CHECK_EQ("in their place", set_vnuma(2, 1, 2, 0), 0);
	CHECK_EQ("no room for nodes", get_vnuma(peer_domid, 1, 1, 2), -XEN_ENOBUFS);
	CHECK("and how much is needed", info.nr_vnodes == 2 && info.nr_vcpus == 1 && info.nr_vmemranges == 2);
	CHECK_EQ("no room for vCPUs", get_vnuma(peer_domid, 2, 0, 2), -XEN_ENOBUFS);
	CHECK_EQ("no room for ranges", get_vnuma(peer_domid, 2, 1, 1), -XEN_ENOBUFS);
	CHECK_EQ("room enough", get_vnuma(peer_domid, 4, 4, 4), 0);
	CHECK("numbers", info.nr_vnodes == 2 && info.nr_vcpus == 1 && info.nr_vmemranges == 2);
	CHECK("distances", !memcmp(got_distance, vdistance, sizeof(vdistance)));
	CHECK_EQ("the vCPU's node", got_vcpu[0], 1);
	CHECK("ranges", !memcmp(got_range, ranges, sizeof(ranges)));
}

/* The caller's own domain has no virtual nodes; another's are not its business. */
static void own_nodes(void)
{
	CHECK_EQ("own virtual nodes", get_vnuma(DOMID_SELF, 4, 4, 4), -XEN_EOPNOTSUPP);
	CHECK_EQ("of nobody", get_vnuma(1234, 4, 4, 4), -XEN_ESRCH);
	if (!guest_dom0)
		CHECK_EQ("of dom0", get_vnuma(0, 4, 4, 4), -XEN_EPERM);
	info.pad = 1;
	info.domid = DOMID_SELF;
	CHECK_EQ("padding", hc_memory(XENMEM_get_vnumainfo, &info), -XEN_EINVAL);
	CHECK_EQ("from nowhere", hc_memory(XENMEM_get_vnumainfo, (void *)~0xfffUL), -XEN_EFAULT);
}

static long populate(xen_pfn_t gfn, unsigned int flags)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .mem_flags = flags, .domid = peer_domid};

	set_xen_guest_handle(r.extent_start, &gfn);
	return hc_memory(XENMEM_populate_physmap, &r);
}

static void named_nodes(void)
{
	CHECK_EQ("a frame of node 0", populate(100, XENMEMF_exact_node(0)), 1);
	CHECK_EQ("or of node 0 rather", populate(101, XENMEMF_node(0)), 1);
	CHECK_EQ("of a virtual node", populate(102, XENMEMF_node(0) | XENMEMF_vnode), 1);
	CHECK_EQ("of one whose node is not there", populate(103, XENMEMF_exact_node(1) | XENMEMF_vnode), 0);
	CHECK_EQ("rather than from elsewhere", populate(103, XENMEMF_node(1) | XENMEMF_vnode), 1);
	CHECK_EQ("of one that it does not have", populate(104, XENMEMF_node(2) | XENMEMF_vnode), 0);
}

static void tsc_modes(void)
{
	static const uint32_t modes[] = {1, 2, 0};

	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		op.u.tsc_info = (struct xen_domctl_tsc_info){.tsc_mode = modes[i]};
		CHECK_EQ("settscinfo", peer_domctl(XEN_DOMCTL_settscinfo, &op), 0);
		CHECK_EQ("gettscinfo", peer_domctl(XEN_DOMCTL_gettscinfo, &op), 0);
		CHECK_EQ("the mode", op.u.tsc_info.tsc_mode, modes[i]);
		if (modes[i] == 2)
			CHECK("no frequency of its own", !op.u.tsc_info.gtsc_khz && !op.u.tsc_info.elapsed_nsec);
		else
			CHECK("a frequency", op.u.tsc_info.gtsc_khz > 1000);
	}
	op.u.tsc_info = (struct xen_domctl_tsc_info){.tsc_mode = 1, .gtsc_khz = 123456};
	CHECK_EQ("a frequency of its own", peer_domctl(XEN_DOMCTL_settscinfo, &op), 0);
	CHECK_EQ("gettscinfo", peer_domctl(XEN_DOMCTL_gettscinfo, &op), 0);
	CHECK_EQ("is kept", op.u.tsc_info.gtsc_khz, 123456);
	op.u.tsc_info = (struct xen_domctl_tsc_info){.tsc_mode = 4};
	CHECK_EQ("no such mode", peer_domctl(XEN_DOMCTL_settscinfo, &op), -XEN_EINVAL);
	op.u.tsc_info = (struct xen_domctl_tsc_info){.tsc_mode = 3};
	CHECK_EQ("a mode that went", peer_domctl(XEN_DOMCTL_settscinfo, &op), -XEN_EINVAL);
}

void guest_main(void)
{
	event_init();
	apic_ids();
	tsc_leaf();
	own_nodes();
	if (!guest_dom0)
		return;
	machine();
	if (!peer_create())
		return;
	op.u.max_vcpus.max = 1;
	CHECK_EQ("a vCPU", peer_domctl(XEN_DOMCTL_max_vcpus, &op), 0);
	nodes();
	virtual_nodes();
	named_nodes();
	tsc_modes();
	CHECK_EQ("destroy", peer_destroy(), 0);
}
