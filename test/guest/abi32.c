// SPDX-License-Identifier: Apache-2.0
/*
 * A 32-bit kernel: protected mode first without paging, then with it; the hypercall page by the MSR of CPUID leaf
 * 0x40000002; the 32-bit layouts of the ABI's structures.
 *
 * Sources: public headers arch-x86/cpuid.h, arch-x86/xen-x86_32.h; register use EBX, ECX, EDX, ESI, EDI.
 */
#include "lib/guest.h"

const char guest_name[] = "abi32";

#define BAD 0xe0000000UL /* no memory, no device */

static PAGE char page[PAGE_SIZE];
static PAGE uint32_t directory[1024];
static char *area;

static long page_call(unsigned long op, unsigned long a1, unsigned long a2, unsigned long a3)
{
	long ret;

	__asm__ volatile("call *%[at]"
			 : "=a"(ret), "+b"(a1), "+c"(a2), "+d"(a3)
			 : [at] "S"(page + 32 * op), "0"(op)
			 : "memory");
	return ret;
}

static void hypercall_page(void)
{
	uint32_t r[4];

	cpu_cpuid(0x40000002, 0, r);
	CHECK_EQ("one page", r[0], 1);
	cpu_wrmsr(r[1], (unsigned long)page);
	CHECK_EQ("the MSR takes it", trap_seen.vector, TRAP_NONE);
	CHECK_EQ("a call through the page", page_call(__HYPERVISOR_xen_version, XENVER_version, 0, 0), 4 << 16 | 17);
	CHECK_EQ("another", page_call(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0), 0);
	CHECK_EQ("iret is an invalid opcode there", *(uint16_t *)(page + 32 * __HYPERVISOR_iret), 0x0b0f);
	cpu_wrmsr(r[1], 0xfffff000000UL);
	CHECK_EQ("a page that is not there", trap_seen.vector, TRAP_GP);
	cpu_wrmsr(r[1], (unsigned long)page | 1);
	CHECK_EQ("page index 1", trap_seen.vector, TRAP_GP);
}

static void calls(const char *mode)
{
	xen_extraversion_t extra;
	struct xen_feature_info f = {.submap_idx = 0};
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
	xen_pfn_t gfn = (unsigned long)area / PAGE_SIZE;
	struct vcpu_runstate_info state;
	struct multicall_entry m[3] = {
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_version}},
		{.op = 55},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
	};
	evtchn_port_t port;
	unsigned int was;

	print("32 bits, %s\n", mode);
	CHECK_EQ("extraversion", hc_version(XENVER_extraversion, extra), 0);
	CHECK_EQ("features", hc_version(XENVER_get_features, &f), 0);
	CHECK("features are there", f.submap >> XENFEAT_auto_translated_physmap & 1);
	CHECK_EQ("unknown hypercall", HC(63, 0), -XEN_ENOSYS);
	set_xen_guest_handle(r.extent_start, &gfn);
	CHECK_EQ("decrease", hc_memory(XENMEM_decrease_reservation, &r), 1);
	CHECK_EQ("a hole", *(volatile uint32_t *)area, 0xffffffff);
	CHECK_EQ("populate", hc_memory(XENMEM_populate_physmap, &r), 1);
	*(volatile uint32_t *)area = 77;
	CHECK_EQ("memory", *(volatile uint32_t *)area, 77);
	CHECK_EQ("runstate", hc_vcpu(VCPUOP_get_runstate_info, 0, &state), 0);
	CHECK_EQ("running", state.state, RUNSTATE_running);
	CHECK_EQ("multicall", HC(__HYPERVISOR_multicall, m, 3), 0);
	CHECK("its results",
	      m[0].result == (4 << 16 | 17) && m[1].result == (unsigned long)-XEN_ENOSYS && m[2].result == 4096);
	CHECK_EQ("bind_ipi", event_bind_ipi(0, &port), 0);
	event_set_mask(port, false);
	was = event_seen[port];
	CHECK_EQ("send", event_send(port), 0);
	cpu_irq_window();
	CHECK_EQ("arrived", event_seen[port], was + 1);
	CHECK_EQ("close", event_close(port), 0);
	CHECK("clock", event_now() > 0);
}

static void shared_layout(void)
{
	struct vcpu_time_info *t = &event_vcpu()->time;

	CHECK_EQ("shared_info has the 32-bit layout", sizeof(event_shared->evtchn_pending), 128);
	CHECK("time record is where 32-bit kernels look", t->tsc_to_system_mul != 0 && t->system_time != 0);
	CHECK("wall clock too", event_shared->wc_sec > 1577836800U);
}

/* 4 MiB pages, one to one; what lies at BAD is left out. */
static void paging_on(void)
{
	unsigned long v;

	for (unsigned int i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0x83;
	directory[BAD >> 22] = 0;
	__asm__ volatile("mov %%cr4, %0; orl $0x10, %0; mov %0, %%cr4" : "=r"(v));
	__asm__ volatile("mov %0, %%cr3" : : "r"(directory) : "memory");
	__asm__ volatile("mov %%cr0, %0; orl $0x80010000, %0; mov %0, %%cr0" : "=r"(v) : : "memory");
}

void guest_main(void)
{
	area = guest_pages(1);
	/* Writing the MSR also tells the hypervisor that shared_info is to have the 32-bit layout. */
	hypercall_page();
	event_init();
	shared_layout();
	calls("no paging");
	paging_on();
	calls("paging");
	CHECK_EQ("a pointer to nothing", hc_version(XENVER_extraversion, BAD), -XEN_EFAULT);
	CHECK_EQ("the hypercall page again", page_call(__HYPERVISOR_xen_version, XENVER_version, 0, 0), 4 << 16 | 17);
}
