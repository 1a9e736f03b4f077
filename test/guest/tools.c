// SPDX-License-Identifier: Apache-2.0
/*
 * sysctl, domctl and platform_op as the tool stack and dom0's kernel use them; as an unprivileged domain: their
 * refusal.
 *
 * Sources: public headers sysctl.h, domctl.h, platform.h; which calls matter comes from the measured ABI use.
 */
#include "lib/guest.h"

#include <xen/domctl.h>
#include <xen/platform.h>
#include <xen/sysctl.h>
#include <xen/hvm/save.h>

const char guest_name[] = "tools";

#define BAD ((void *)0x7f0000000000UL)

static struct xen_sysctl ctl;
static struct xen_domctl op;
static uint8_t buffer[16384];

static long sysctl(uint32_t cmd)
{
	ctl.cmd = cmd;
	ctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
	return HC(__HYPERVISOR_sysctl, &ctl);
}

static void machine(void)
{
	struct xen_sysctl_physinfo *p = &ctl.u.physinfo;
	uint32_t n;

	CHECK_EQ("physinfo", sysctl(XEN_SYSCTL_physinfo), 0);
	CHECK("CPUs", p->nr_cpus >= 1 && p->nr_nodes >= 1 && p->threads_per_core >= 1 && p->cores_per_socket >= 1);
	CHECK("memory", p->free_pages < p->total_pages && p->total_pages > 65536 && p->max_mfn >= p->total_pages / 2);
	CHECK("frequency", p->cpu_khz > 1000);
	CHECK("hardware containers with nested paging", (p->capabilities & 9) == 9);
	print("physinfo: capabilities %x, %lu of %lu pages free\n", p->capabilities, p->free_pages, p->total_pages);
	CHECK_EQ("sched_id", sysctl(XEN_SYSCTL_sched_id), 0);
	CHECK_EQ("is credit2's", ctl.u.sched_id.sched_id, XEN_SCHEDULER_CREDIT2);

	ctl.u.cputopoinfo.num_cpus = 0;
	set_xen_guest_handle(ctl.u.cputopoinfo.cputopo, NULL);
	CHECK_EQ("cputopoinfo, how many", sysctl(XEN_SYSCTL_cputopoinfo), 0);
	n = ctl.u.cputopoinfo.num_cpus;
	CHECK("some CPUs", n >= 1 && n <= 512);
	set_xen_guest_handle(ctl.u.cputopoinfo.cputopo, (void *)buffer);
	CHECK_EQ("cputopoinfo", sysctl(XEN_SYSCTL_cputopoinfo), 0);
	/* Xen has not found out on QEMU's CPU. */
	CHECK_EITHER("core 0 or unknown", ((struct xen_sysctl_cputopo *)buffer)->core, 0, XEN_INVALID_CORE_ID);
	ctl.u.numainfo.num_nodes = 0;
	set_xen_guest_handle(ctl.u.numainfo.meminfo, NULL);
	set_xen_guest_handle(ctl.u.numainfo.distance, NULL);
	CHECK_EQ("numainfo, how many", sysctl(XEN_SYSCTL_numainfo), 0);
	CHECK_EQ("one node", ctl.u.numainfo.num_nodes, 1);
	set_xen_guest_handle(ctl.u.numainfo.meminfo, (void *)buffer);
	set_xen_guest_handle(ctl.u.numainfo.distance, (void *)(buffer + 1024));
	CHECK_EQ("numainfo", sysctl(XEN_SYSCTL_numainfo), 0);
	CHECK("its memory", ((struct xen_sysctl_meminfo *)buffer)->memsize > 65536UL * 4096);
	CHECK_EQ("its distance to itself", *(uint32_t *)(buffer + 1024), 10);
}

static void pools_and_policies(void)
{
	ctl.u.cpupool_op = (struct xen_sysctl_cpupool_op){.op = XEN_SYSCTL_CPUPOOL_OP_INFO};
	set_xen_guest_handle(ctl.u.cpupool_op.cpumap.bitmap, buffer);
	ctl.u.cpupool_op.cpumap.nr_bits = 64;
	CHECK_EQ("cpupool 0", sysctl(XEN_SYSCTL_cpupool_op), 0);
	CHECK("holds domains", ctl.u.cpupool_op.n_dom >= 1 && ctl.u.cpupool_op.cpupool_id == 0);
	CHECK("and CPU 0", buffer[0] & 1);
	ctl.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
	ctl.u.cpupool_op.cpupool_id = 1;
	CHECK_EQ("no further pool", sysctl(XEN_SYSCTL_cpupool_op), -XEN_ENOENT);
	ctl.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_FREEINFO;
	CHECK_EQ("free CPUs", sysctl(XEN_SYSCTL_cpupool_op), 0);
	ctl.u.cpupool_op.op = 99;
	CHECK_EQ("no such pool operation", sysctl(XEN_SYSCTL_cpupool_op), -XEN_ENOSYS);

	ctl.u.cpu_featureset.index = XEN_SYSCTL_cpu_featureset_host;
	ctl.u.cpu_featureset.nr_features = 0;
	set_xen_guest_handle(ctl.u.cpu_featureset.features, NULL);
	CHECK_EQ("featureset, how many", sysctl(XEN_SYSCTL_get_cpu_featureset), 0);
	CHECK("words", ctl.u.cpu_featureset.nr_features >= 8 && ctl.u.cpu_featureset.nr_features <= 64);
	set_xen_guest_handle(ctl.u.cpu_featureset.features, (void *)buffer);
	CHECK_EQ("featureset", sysctl(XEN_SYSCTL_get_cpu_featureset), 0);
	CHECK("there is an FPU", *(uint32_t *)buffer & 1);
	ctl.u.cpu_featureset.index = 99;
	CHECK_EQ("no such featureset", sysctl(XEN_SYSCTL_get_cpu_featureset), -XEN_EINVAL);

	ctl.u.cpu_policy = (struct xen_sysctl_cpu_policy){.index = XEN_SYSCTL_cpu_policy_raw};
	CHECK_EQ("policy, how many", sysctl(XEN_SYSCTL_get_cpu_policy), 0);
	CHECK("leaves", ctl.u.cpu_policy.nr_leaves >= 16 && ctl.u.cpu_policy.nr_leaves < 400);
	ctl.u.cpu_policy.index = XEN_SYSCTL_cpu_policy_hvm_default;
	set_xen_guest_handle(ctl.u.cpu_policy.leaves, (void *)buffer);
	set_xen_guest_handle(ctl.u.cpu_policy.msrs, (void *)(buffer + 12288));
	CHECK_EQ("the default policy", sysctl(XEN_SYSCTL_get_cpu_policy), 0);
	CHECK("fewer leaves", ctl.u.cpu_policy.nr_leaves > 4 && ctl.u.cpu_policy.nr_leaves < 400);
	CHECK_EQ("first is leaf 0", ((xen_cpuid_leaf_t *)buffer)->leaf, 0);
	ctl.u.cpu_policy.index = 99;
	CHECK_EQ("no such policy", sysctl(XEN_SYSCTL_get_cpu_policy), -XEN_EINVAL);
}

static void refused_sysctls(void)
{
	CHECK_EQ("unknown sysctl", sysctl(999), -XEN_ENOSYS);
	ctl.cmd = XEN_SYSCTL_physinfo;
	ctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION + 1;
	CHECK_EQ("another version", HC(__HYPERVISOR_sysctl, &ctl), -XEN_EACCES);
	CHECK_EQ("sysctl, bad pointer", HC(__HYPERVISOR_sysctl, BAD), -XEN_EFAULT);
	memset(&ctl, 0, sizeof(ctl));
	/* Debian's Xen is built without; here the operation is not one. */
	CHECK_EITHER("perfc_op", sysctl(XEN_SYSCTL_perfc_op), -XEN_EINVAL, -XEN_ENOSYS);
	CHECK_EQ("lockprof_op", sysctl(XEN_SYSCTL_lockprof_op), -XEN_ENOSYS);
	CHECK_EQ("coverage_op", sysctl(XEN_SYSCTL_coverage_op), -XEN_EOPNOTSUPP);
	CHECK_EQ("psr_cmt_op", sysctl(XEN_SYSCTL_psr_cmt_op), -XEN_ENODEV);
	CHECK_EQ("psr_alloc", sysctl(XEN_SYSCTL_psr_alloc), -XEN_ENODEV);
}

static long tbuf(uint32_t cmd, uint32_t value)
{
	ctl.u.tbuf_op = (struct xen_sysctl_tbuf_op){.cmd = cmd, .evt_mask = value, .size = value};
	return sysctl(XEN_SYSCTL_tbuf_op);
}

static void tracing(void)
{
	CHECK_EQ("trace buffers", tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	CHECK_EQ("none yet", ctl.u.tbuf_op.buffer_mfn | ctl.u.tbuf_op.size, 0);
	CHECK_EQ("all events", ctl.u.tbuf_op.evt_mask, 0x0ffff000);
	CHECK_EQ("tracing into nothing", tbuf(XEN_SYSCTL_TBUFOP_enable, 0), -XEN_EINVAL);
	CHECK_EQ("buffers of no pages", tbuf(XEN_SYSCTL_TBUFOP_set_size, 0), -XEN_EINVAL);
	CHECK_EQ("no such trace operation", tbuf(6, 0), -XEN_EINVAL);
	CHECK_EQ("event mask", tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, 0x0002f000), 0);
	CHECK_EQ("buffers", tbuf(XEN_SYSCTL_TBUFOP_set_size, 2), 0);
	CHECK_EQ("twice", tbuf(XEN_SYSCTL_TBUFOP_set_size, 2), -XEN_EBUSY);
	CHECK_EQ("of another size", tbuf(XEN_SYSCTL_TBUFOP_set_size, 3), -XEN_EINVAL);
	CHECK_EQ("trace buffers", tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	CHECK("there they are", ctl.u.tbuf_op.buffer_mfn && ctl.u.tbuf_op.size >= 4096);
	CHECK_EQ("the mask", ctl.u.tbuf_op.evt_mask, 0x0002f000);
	CHECK_EQ("tracing", tbuf(XEN_SYSCTL_TBUFOP_enable, 0), 0);
	CHECK_EQ("again", tbuf(XEN_SYSCTL_TBUFOP_enable, 0), 0);
	ctl.u.tbuf_op = (struct xen_sysctl_tbuf_op){.cmd = XEN_SYSCTL_TBUFOP_set_cpu_mask, .cpu_mask = {.nr_bits = 8}};
	set_xen_guest_handle(ctl.u.tbuf_op.cpu_mask.bitmap, (void *)BAD);
	CHECK_EQ("CPU mask, bad pointer", sysctl(XEN_SYSCTL_tbuf_op), -XEN_EFAULT);
	CHECK_EQ("no tracing", tbuf(XEN_SYSCTL_TBUFOP_disable, 0), 0);
	CHECK_EQ("again", tbuf(XEN_SYSCTL_TBUFOP_disable, 0), 0);
}

static void consoles(void)
{
	ctl.u.readconsole = (struct xen_sysctl_readconsole){.count = 256};
	set_xen_guest_handle(ctl.u.readconsole.buffer, (char *)buffer);
	CHECK_EQ("readconsole", sysctl(XEN_SYSCTL_readconsole), 0);
	CHECK("gives text", ctl.u.readconsole.count > 0 && ctl.u.readconsole.count <= 256);
	ctl.u.debug_keys.nr_keys = 0;
	set_xen_guest_handle(ctl.u.debug_keys.keys, (char *)buffer);
	CHECK_EQ("no debug keys", sysctl(XEN_SYSCTL_debug_keys), 0);
}

static void platform(void)
{
	static struct xen_platform_op po;

	po.interface_version = XENPF_INTERFACE_VERSION;
	po.cmd = XENPF_get_cpuinfo;
	po.u.pcpu_info.xen_cpuid = 0;
	CHECK_EQ("get_cpuinfo", HC(__HYPERVISOR_platform_op, &po), 0);
	CHECK("CPU 0 is online", po.u.pcpu_info.flags & XEN_PCPU_FLAGS_ONLINE);
	po.u.pcpu_info.xen_cpuid = 4000;
	CHECK_EQ("get_cpuinfo of none", HC(__HYPERVISOR_platform_op, &po), 0);
	CHECK("is invalid", po.u.pcpu_info.flags & XEN_PCPU_FLAGS_INVALID);
	po.cmd = XENPF_settime64;
	po.u.settime64 = (struct xenpf_settime64){.secs = 1700000000, .system_time = event_now()};
	CHECK_EQ("settime64", HC(__HYPERVISOR_platform_op, &po), 0);
	CHECK("the wall clock follows", event_shared->wc_sec > 1700000000 - 1000 && event_shared->wc_sec <= 1700000000);
	po.u.settime64.mbz = 1;
	CHECK_EQ("settime64 must have its zero", HC(__HYPERVISOR_platform_op, &po), -XEN_EINVAL);
	po.cmd = XENPF_firmware_info;
	po.u.firmware_info.type = 4;
	po.u.firmware_info.index = 1;
	CHECK_EQ("firmware_info without EFI", HC(__HYPERVISOR_platform_op, &po), -XEN_ENOSYS);
	po.cmd = 64;
	CHECK_EQ("get_dom0_console is newer", HC(__HYPERVISOR_platform_op, &po), -XEN_ENOSYS);
	po.interface_version++;
	CHECK_EQ("another version of platform_op", HC(__HYPERVISOR_platform_op, &po), -XEN_EACCES);
	CHECK_EQ("platform_op, bad pointer", HC(__HYPERVISOR_platform_op, BAD), -XEN_EFAULT);
}

static void creation(void)
{
	struct xen_domctl_createdomain good = {
		.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
		.max_vcpus = 1,
		.max_evtchn_port = 1023,
		.max_grant_frames = -1,
		.max_maptrack_frames = -1,
		.grant_opts = XEN_DOMCTL_GRANT_version(1),
		.arch.emulation_flags = XEN_X86_EMU_LAPIC,
	};
	domid_t was = peer_domid;

	peer_domid = 0;
	op.u.createdomain = good;
	op.u.createdomain.flags |= 1U << 30;
	CHECK_EQ("unknown flag", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EINVAL);
	op.u.createdomain = good;
	op.u.createdomain.max_vcpus = 0;
	CHECK_EQ("no vCPU", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EINVAL);
	op.u.createdomain.max_vcpus = 100000;
	CHECK_EQ("too many vCPUs", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EINVAL);
	op.u.createdomain = good;
	op.u.createdomain.grant_opts = 0x10;
	CHECK_EQ("unknown grant option", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EINVAL);
	op.u.createdomain = good;
	op.u.createdomain.arch.emulation_flags = 0x80000000;
	CHECK_EQ("unknown emulation", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EINVAL);
	op.u.createdomain = good;
	op.u.createdomain.cpupool_id = 99;
	CHECK("no such pool", peer_domctl(XEN_DOMCTL_createdomain, &op) < 0);
	op.u.createdomain = good;
	peer_domid = was;
	CHECK_EQ("a taken number", peer_domctl(XEN_DOMCTL_createdomain, &op), -XEN_EEXIST);
	peer_domid = was;
}

static void information(void)
{
	struct xen_domctl_getdomaininfo *d = &op.u.getdomaininfo;
	domid_t was = peer_domid;

	CHECK_EQ("getdomaininfo", peer_domctl(XEN_DOMCTL_getdomaininfo, &op), 0);
	CHECK_EQ("names it", op.domain, peer_domid);
	CHECK_EQ("its pages", d->tot_pages, PEER_PAGES);
	CHECK_EQ("its limit", d->max_pages, 256);
	CHECK("paused, hardware container, nested paging",
	      (d->flags & XEN_DOMINF_paused) && (d->flags & XEN_DOMINF_hvm_guest) && (d->flags & XEN_DOMINF_hap) &&
		      !(d->flags & XEN_DOMINF_dying));
	CHECK_EQ("its highest vCPU", d->max_vcpu_id, 0);
	peer_domid = 1234;
	CHECK_EQ("getdomaininfo of nobody", peer_domctl(XEN_DOMCTL_getdomaininfo, &op), -XEN_ESRCH);
	peer_domid = was;
	ctl.u.getdomaininfolist = (struct xen_sysctl_getdomaininfolist){.max_domains = 16};
	set_xen_guest_handle(ctl.u.getdomaininfolist.buffer, (void *)buffer);
	CHECK_EQ("getdomaininfolist", sysctl(XEN_SYSCTL_getdomaininfolist), 0);
	CHECK_EQ("two domains", ctl.u.getdomaininfolist.num_domains, 2);
	d = (struct xen_domctl_getdomaininfo *)buffer;
	CHECK("dom0 and the peer", d[0].domain == 0 && d[1].domain == was);
	CHECK("dom0 runs", d[0].nr_online_vcpus >= 1 && d[0].cpu_time > 0);
	ctl.u.getdomaininfolist.first_domain = 1;
	ctl.u.getdomaininfolist.max_domains = 1;
	CHECK_EQ("the list from 1", sysctl(XEN_SYSCTL_getdomaininfolist), 0);
	CHECK("is the peer", ctl.u.getdomaininfolist.num_domains == 1 && d[0].domain == was);
	op.u.vcpuaffinity.vcpu = 0;
	CHECK_EQ("vCPU info", (op.u.getvcpuinfo.vcpu = 0, peer_domctl(XEN_DOMCTL_getvcpuinfo, &op)), 0);
	CHECK_EQ("it is offline", op.u.getvcpuinfo.online, 0);
	op.u.getvcpuinfo.vcpu = 7;
	CHECK_EQ("of no vCPU", peer_domctl(XEN_DOMCTL_getvcpuinfo, &op), -XEN_EINVAL);
}

static void settings(void)
{
	static xen_pfn_t gfns[4] = {0, 1, 5000, 31};

	op.u.max_vcpus.max = 1;
	CHECK_EQ("max_vcpus", peer_domctl(XEN_DOMCTL_max_vcpus, &op), 0);
	op.u.max_vcpus.max = 2;
	CHECK_EQ("more than it was created with", peer_domctl(XEN_DOMCTL_max_vcpus, &op), -XEN_EINVAL);
	information();
	op.u.vcpuaffinity = (struct xen_domctl_vcpuaffinity){.flags = XEN_VCPUAFFINITY_HARD};
	memset(buffer, 0xff, 8);
	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, buffer);
	op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
	CHECK_EQ("setvcpuaffinity", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), 0);
	CHECK_EQ("getvcpuaffinity", peer_domctl(XEN_DOMCTL_getvcpuaffinity, &op), 0);
	CHECK("has CPU 0", buffer[0] & 1);
	memset(buffer, 0, 8);
	CHECK_EQ("affinity to none", peer_domctl(XEN_DOMCTL_setvcpuaffinity, &op), -XEN_EINVAL);
	op.u.scheduler_op = (struct xen_domctl_scheduler_op){
		.sched_id = XEN_SCHEDULER_CREDIT2,
		.cmd = XEN_DOMCTL_SCHEDOP_getinfo,
	};
	CHECK_EQ("weight", peer_domctl(XEN_DOMCTL_scheduler_op, &op), 0);
	CHECK_EQ("the default weight", op.u.scheduler_op.u.credit2.weight, 256);
	op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
	op.u.scheduler_op.u.credit2.weight = 512;
	op.u.scheduler_op.u.credit2.cap = 0;
	CHECK_EQ("set the weight", peer_domctl(XEN_DOMCTL_scheduler_op, &op), 0);
	op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
	peer_domctl(XEN_DOMCTL_scheduler_op, &op);
	CHECK_EQ("it stays", op.u.scheduler_op.u.credit2.weight, 512);
	op.u.scheduler_op.sched_id = 99;
	CHECK_EQ("another scheduler's", peer_domctl(XEN_DOMCTL_scheduler_op, &op), -XEN_EINVAL);
	CHECK_EQ("gettscinfo", peer_domctl(XEN_DOMCTL_gettscinfo, &op), 0);
	CHECK("frequency", op.u.tsc_info.gtsc_khz > 1000);
	op.u.tsc_info = (struct xen_domctl_tsc_info){.tsc_mode = 0};
	CHECK_EQ("settscinfo", peer_domctl(XEN_DOMCTL_settscinfo, &op), 0);
	CHECK_EQ("get_paging_mempool_size", peer_domctl(XEN_DOMCTL_get_paging_mempool_size, &op), 0);
	CHECK_EQ("as it was set", op.u.paging_mempool.size, 2UL << 20);
	op.u.paging_mempool.size = (2UL << 20) + 1;
	CHECK_EQ("half a page of pool", peer_domctl(XEN_DOMCTL_set_paging_mempool_size, &op), -XEN_EINVAL);
	op.u.getpageframeinfo3.num = 4;
	set_xen_guest_handle(op.u.getpageframeinfo3.array, gfns);
	CHECK_EQ("getpageframeinfo3", peer_domctl(XEN_DOMCTL_getpageframeinfo3, &op), 0);
	CHECK("RAM", gfns[0] == 0 && gfns[1] == 0 && gfns[3] == 0);
	CHECK_EQ("nothing there", gfns[2], 0xf0000000);
	op.u.getpageframeinfo3.num = 4097;
	CHECK_EQ("too many frames", peer_domctl(XEN_DOMCTL_getpageframeinfo3, &op), -XEN_E2BIG);
	op.u.getpageframeinfo3.num = 4;
	set_xen_guest_handle(op.u.getpageframeinfo3.array, (xen_pfn_t *)BAD);
	CHECK_EQ("getpageframeinfo3, bad list", peer_domctl(XEN_DOMCTL_getpageframeinfo3, &op), -XEN_EFAULT);
}

/* Log-dirty, as migration uses it; dom0 dirties the peer's page by a grant copy. */
static void log_dirty(void)
{
	struct gnttab_copy c = {.len = 8, .flags = GNTCOPY_dest_gref};
	char *page = guest_pages(1);

	peer_grants[16] = (struct grant_entry_v1){GTF_permit_access, 0, 5};
	op.u.shadow_op = (struct xen_domctl_shadow_op){.op = XEN_DOMCTL_SHADOW_OP_OFF};
	CHECK_EQ("log-dirty off while off", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
	CHECK_EQ("enable log-dirty", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	CHECK_EQ("enable it twice", peer_domctl(XEN_DOMCTL_shadow_op, &op), -XEN_EINVAL);
	memset(buffer, 0xff, 64);
	op.u.shadow_op = (struct xen_domctl_shadow_op){.op = XEN_DOMCTL_SHADOW_OP_CLEAN, .pages = PEER_PAGES};
	set_xen_guest_handle(op.u.shadow_op.dirty_bitmap, buffer);
	CHECK_EQ("clean", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	print("dirty at first: %x of %lu\n", *(uint32_t *)buffer, op.u.shadow_op.pages);
	c.source.u.gmfn = (unsigned long)page / PAGE_SIZE;
	c.source.domid = DOMID_SELF;
	c.dest.u.ref = 16;
	c.dest.domid = peer_domid;
	CHECK_EQ("dirty a page", hc_grant(GNTTABOP_copy, &c, 1), 0);
	CHECK_EQ("it was copied", c.status, GNTST_okay);
	op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_PEEK;
	op.u.shadow_op.pages = PEER_PAGES;
	CHECK_EQ("peek", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	CHECK_EQ("one dirty page", *(uint32_t *)buffer, 1U << 5);
	op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
	op.u.shadow_op.pages = PEER_PAGES;
	CHECK_EQ("clean again", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	CHECK_EQ("still that one", *(uint32_t *)buffer, 1U << 5);
	CHECK_EQ("and counted", op.u.shadow_op.stats.dirty_count, 1);
	op.u.shadow_op.pages = PEER_PAGES;
	CHECK_EQ("clean once more", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	CHECK_EQ("none is left", *(uint32_t *)buffer, 0);
	op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
	CHECK_EQ("log-dirty off", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
	op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_CLEAN;
	CHECK_EITHER("clean while off", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0, -XEN_EINVAL);
}

static void contexts(void)
{
	op.u.hvmcontext_partial = (struct xen_domctl_hvmcontext_partial){
		.type = HVM_SAVE_CODE(MTRR),
		.bufsz = sizeof(buffer),
	};
	set_xen_guest_handle(op.u.hvmcontext_partial.buffer, buffer);
	CHECK_EQ("one record", peer_domctl(XEN_DOMCTL_gethvmcontext_partial, &op), 0);
	op.u.hvmcontext_partial.type = 99;
	op.u.hvmcontext_partial.bufsz = sizeof(buffer);
	CHECK("no such record", peer_domctl(XEN_DOMCTL_gethvmcontext_partial, &op) < 0);
	op.u.hvmcontext.size = 16;
	set_xen_guest_handle(op.u.hvmcontext.buffer, buffer);
	CHECK_EQ("context into too little room", peer_domctl(XEN_DOMCTL_gethvmcontext, &op), -XEN_ENOSPC);
	op.u.hvmcontext.size = 64;
	memset(buffer, 0, 64);
	CHECK("a context of zeros", peer_domctl(XEN_DOMCTL_sethvmcontext, &op) < 0);
	op.u.sendtrigger = (struct xen_domctl_sendtrigger){.trigger = 99};
	CHECK("no such trigger", peer_domctl(XEN_DOMCTL_sendtrigger, &op) < 0);
	CHECK_EQ("pause", peer_domctl(XEN_DOMCTL_pausedomain, &op), 0);
	CHECK_EQ("unpause", peer_domctl(XEN_DOMCTL_unpausedomain, &op), 0);
	CHECK_EQ("unknown domctl", peer_domctl(9999, &op), -XEN_ENOSYS);
	op.cmd = XEN_DOMCTL_getdomaininfo;
	op.interface_version = XEN_DOMCTL_INTERFACE_VERSION + 1;
	CHECK_EQ("another version of domctl", HC(__HYPERVISOR_domctl, &op), -XEN_EACCES);
	CHECK_EQ("domctl, bad pointer", HC(__HYPERVISOR_domctl, BAD), -XEN_EFAULT);
}

static void unprivileged(void)
{
	static struct xen_platform_op po = {.interface_version = XENPF_INTERFACE_VERSION, .cmd = XENPF_get_cpuinfo};

	CHECK_EQ("sysctl is refused", sysctl(XEN_SYSCTL_physinfo), -XEN_EPERM);
	peer_domid = 0;
	CHECK_EQ("domctl on dom0 is refused", peer_domctl(XEN_DOMCTL_pausedomain, &op), -XEN_EPERM);
	CHECK_EQ("platform_op is refused", HC(__HYPERVISOR_platform_op, &po), -XEN_EPERM);
}

void guest_main(void)
{
	event_init();
	if (!guest_dom0) {
		unprivileged();
		return;
	}
	machine();
	pools_and_policies();
	refused_sysctls();
	tracing();
	consoles();
	platform();
	if (!peer_create())
		return;
	creation();
	settings();
	log_dirty();
	contexts();
	CHECK_EQ("peer goes", peer_destroy(), 0);
}
