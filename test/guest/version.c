// SPDX-License-Identifier: Apache-2.0
/*
 * What the hypervisor says about itself: xen_version, features, CPUID leaves at 0x40000000, start record, memory map.
 *
 * Sources: public headers version.h, features.h, arch-x86/cpuid.h, arch-x86/hvm/start_info.h.
 */
#include "lib/guest.h"

#include <xen/arch-x86/cpuid.h>

const char guest_name[] = "version";

#define FAR_POINTER ((void *)0x7f0000000000UL)

static bool printable(const char *s, size_t size)
{
	size_t n = 0;

	while (n < size && s[n] >= ' ')
		n++;
	return n < size && s[n] == '\0' && n > 0;
}

static void strings(void)
{
	static xen_extraversion_t extra;
	static xen_compile_info_t compile;
	static xen_capabilities_info_t caps;
	static xen_changeset_info_t change;
	static char command[1024];

	CHECK_EQ("version", hc_version(XENVER_version, 0), 4 << 16 | 17);
	CHECK_EQ("extraversion", hc_version(XENVER_extraversion, extra), 0);
	CHECK("extraversion is text", printable(extra, sizeof(extra)));
	CHECK_EQ("compile_info", hc_version(XENVER_compile_info, &compile), 0);
	CHECK("compiler is text", printable(compile.compiler, sizeof(compile.compiler)));
	/* Gossamer's build is repeatable, so it has no date unless one is given. */
	CHECK("compile date is text or empty",
	      !compile.compile_date[0] || printable(compile.compile_date, sizeof(compile.compile_date)));
	CHECK_EQ("capabilities", hc_version(XENVER_capabilities, caps), 0);
	CHECK("capabilities name hvm-3.0-x86_64", printable(caps, sizeof(caps)));
	CHECK_EQ("changeset", hc_version(XENVER_changeset, change), 0);
	CHECK_EQ("commandline", hc_version(XENVER_commandline, command), 0);
	print("extraversion \"%s\" capabilities \"%s\"\n", extra, caps);
}

static void numbers(void)
{
	struct xen_platform_parameters pp = {0};
	struct xen_feature_info f = {.submap_idx = 0};
	xen_domain_handle_t handle;
	long n;

	CHECK_EQ("platform_parameters", hc_version(XENVER_platform_parameters, &pp), 0);
	CHECK_EQ("pagesize", hc_version(XENVER_pagesize, 0), 4096);
	CHECK_EQ("guest_handle", hc_version(XENVER_guest_handle, handle), 0);
	CHECK_EQ("get_features 0", hc_version(XENVER_get_features, &f), 0);
	print("features %#x\n", f.submap);
	CHECK_EQ("XENFEAT_dom0 follows the rights", f.submap >> XENFEAT_dom0 & 1, guest_dom0);
	CHECK("XENFEAT_auto_translated_physmap", f.submap >> XENFEAT_auto_translated_physmap & 1);
	CHECK("XENFEAT_hvm_callback_vector", f.submap >> XENFEAT_hvm_callback_vector & 1);
	CHECK("XENFEAT_memory_op_vnode_supported", f.submap >> XENFEAT_memory_op_vnode_supported & 1);
	CHECK("XENFEAT_vcpu_time_phys_area is newer than 4.17", !(f.submap >> 18 & 1));
	f.submap_idx = 1;
	CHECK_EQ("get_features 1", hc_version(XENVER_get_features, &f), -XEN_EINVAL);
	n = hc_version(XENVER_build_id, 0);
	print("build_id: %ld\n", n);
	CHECK("build_id size or none", n == -XEN_ENODATA || (n > 0 && n <= 64) || (!guest_dom0 && n == -XEN_EPERM));
	CHECK_EQ("unknown sub-op", hc_version(99, 0), -XEN_ENOSYS);
	CHECK_EQ("bad pointer", hc_version(XENVER_extraversion, FAR_POINTER), -XEN_EFAULT);
	CHECK_EQ("bad pointer in", hc_version(XENVER_get_features, FAR_POINTER), -XEN_EFAULT);
}

static void leaves(void)
{
	uint32_t r[4], base = 0x40000000;

	cpu_cpuid(1, 0, r);
	CHECK("CPUID says hypervisor", r[2] >> 31);
	cpu_cpuid(base, 0, r);
	CHECK_EQ("signature 1", r[1], XEN_CPUID_SIGNATURE_EBX);
	CHECK_EQ("signature 2", r[2], XEN_CPUID_SIGNATURE_ECX);
	CHECK_EQ("signature 3", r[3], XEN_CPUID_SIGNATURE_EDX);
	CHECK("highest leaf", r[0] >= base + 4 && r[0] <= base + 6);
	cpu_cpuid(base + 1, 0, r);
	CHECK_EQ("leaf 1 is the version", r[0], 4 << 16 | 17);
	cpu_cpuid(base + 2, 0, r);
	CHECK_EQ("leaf 2: one hypercall page", r[0], 1);
	CHECK_EQ("leaf 2: its MSR", r[1], 0x40000000);
	cpu_cpuid(base + 3, 0, r);
	print("leaf 3: %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	cpu_cpuid(base + 3, 2, r);
	CHECK("leaf 3.2: host TSC kHz", r[0] > 1000);
	cpu_cpuid(base + 4, 0, r);
	print("leaf 4: %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	CHECK("leaf 4: vcpu id present", r[0] & XEN_HVM_CPUID_VCPU_ID_PRESENT);
	CHECK("leaf 4: domid present", r[0] & XEN_HVM_CPUID_DOMID_PRESENT);
	CHECK_EQ("leaf 4: vcpu id", r[1], 0);
	if (guest_dom0)
		CHECK_EQ("leaf 4: domid", r[2], 0);
}

struct e820 {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static void start_record(void)
{
	const struct hvm_memmap_table_entry *m = (void *)(unsigned long)guest_info->memmap_paddr;
	static struct e820 map[128];
	struct xen_memory_map mm = {.nr_entries = 0};
	uint64_t ram = 0;

	CHECK_EQ("start magic", guest_info->magic, XEN_HVM_START_MAGIC_VALUE);
	/* Xen's own PVH dom0 builder gives no map in the record; a kernel then asks XENMEM_memory_map. */
	CHECK("start record of version 1 has a map",
	      guest_info->version == 0 || (m && guest_info->memmap_entries <= ARRAY_SIZE(map)));
	CHECK("RSDP given", guest_info->rsdp_paddr && guest_prefix((const char *)guest_info->rsdp_paddr, "RSD PTR "));
	CHECK_EQ("memory_map without a buffer", hc_memory(XENMEM_memory_map, &mm), 0);
	mm.nr_entries = ARRAY_SIZE(map);
	set_xen_guest_handle(mm.buffer, map);
	CHECK_EQ("memory_map", hc_memory(XENMEM_memory_map, &mm), 0);
	for (uint32_t i = 0; i < mm.nr_entries; i++) {
		struct e820 e = map[i];

		CHECK("map is ordered", i == 0 || map[i - 1].addr + map[i - 1].size <= e.addr);
		if (e.type == XEN_HVM_MEMMAP_TYPE_RAM)
			ram += e.size;
		if (guest_info->version > 0 && i < guest_info->memmap_entries)
			CHECK("memory_map equals the start record's",
			      e.addr == m[i].addr && e.size == m[i].size && e.type == m[i].type);
	}
	CHECK("map has RAM", ram >= 16UL << 20);
	print("%u entries, %lu KiB of RAM\n", mm.nr_entries, ram / 1024);
	mm.nr_entries = 1;
	set_xen_guest_handle(mm.buffer, map);
	CHECK_EQ("memory_map into too few", hc_memory(XENMEM_memory_map, &mm), 0);
	CHECK_EQ("memory_map of too few says", mm.nr_entries, 1);
}

void guest_main(void)
{
	strings();
	numbers();
	leaves();
	start_record();
}
