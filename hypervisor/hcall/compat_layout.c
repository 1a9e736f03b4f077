/*
 * hcall/compat_layout.c: not part of the hypervisor. Compiled with -m32 -ffreestanding -S; each line of its assembly that
 * starts with #@ becomes a #define (hcall/compat.mk): the size and offsets of the ABI's structures as 32-bit callers have
 * them. Source: the public headers, nothing retyped.
 */
#include "lib/xen.h"

#define EMIT(name, value) __asm__ volatile("\n#@ COMPAT_" #name " %c0" ::"i"(value))
#define SIZE(type)	  EMIT(type##_SIZE, sizeof(struct type))
#define OFF(type, field)  EMIT(type##_##field, offsetof(struct type, field))

void layout_common(void);
void layout_common(void)
{
	SIZE(multicall_entry);
	OFF(multicall_entry, op);
	OFF(multicall_entry, result);
	OFF(multicall_entry, args);

	SIZE(vcpu_runstate_info);
	OFF(vcpu_runstate_info, state);
	OFF(vcpu_runstate_info, state_entry_time);
	OFF(vcpu_runstate_info, time);
	SIZE(vcpu_register_runstate_memory_area);
	SIZE(vcpu_register_time_memory_area);
	SIZE(vcpu_register_vcpu_info);
	OFF(vcpu_register_vcpu_info, mfn);
	OFF(vcpu_register_vcpu_info, offset);
	SIZE(vcpu_set_singleshot_timer);
	OFF(vcpu_set_singleshot_timer, timeout_abs_ns);
	OFF(vcpu_set_singleshot_timer, flags);
	SIZE(vcpu_set_periodic_timer);

	SIZE(sched_poll);
	OFF(sched_poll, ports);
	OFF(sched_poll, nr_ports);
	OFF(sched_poll, timeout);
	SIZE(sched_remote_shutdown);
	SIZE(sched_watchdog);

	SIZE(vcpu_info);
	SIZE(shared_info);
	OFF(shared_info, evtchn_pending);
	OFF(shared_info, evtchn_mask);
	OFF(shared_info, wc_version);
	OFF(shared_info, wc_sec);
	OFF(shared_info, arch);
	SIZE(vcpu_guest_context);
	SIZE(xen_hvm_param);
	SIZE(evtchn_expand_array);
	OFF(evtchn_expand_array, array_gfn);
	SIZE(evtchn_init_control);
}

void layout_memory(void);
void layout_memory(void)
{
	EMIT(xen_pfn_SIZE, sizeof(xen_pfn_t));
	EMIT(xen_ulong_SIZE, sizeof(xen_ulong_t));
	SIZE(xen_memory_reservation);
	OFF(xen_memory_reservation, extent_start);
	OFF(xen_memory_reservation, nr_extents);
	OFF(xen_memory_reservation, extent_order);
	OFF(xen_memory_reservation, mem_flags);
	OFF(xen_memory_reservation, domid);
	SIZE(xen_memory_exchange);
	SIZE(xen_add_to_physmap);
	OFF(xen_add_to_physmap, domid);
	OFF(xen_add_to_physmap, size);
	OFF(xen_add_to_physmap, space);
	OFF(xen_add_to_physmap, idx);
	OFF(xen_add_to_physmap, gpfn);
	SIZE(xen_add_to_physmap_batch);
	OFF(xen_add_to_physmap_batch, domid);
	OFF(xen_add_to_physmap_batch, space);
	OFF(xen_add_to_physmap_batch, size);
	OFF(xen_add_to_physmap_batch, u);
	OFF(xen_add_to_physmap_batch, idxs);
	OFF(xen_add_to_physmap_batch, gpfns);
	OFF(xen_add_to_physmap_batch, errs);
	SIZE(xen_remove_from_physmap);
	OFF(xen_remove_from_physmap, domid);
	OFF(xen_remove_from_physmap, gpfn);
	SIZE(xen_memory_map);
	OFF(xen_memory_map, nr_entries);
	OFF(xen_memory_map, buffer);
	SIZE(xen_foreign_memory_map);
	OFF(xen_foreign_memory_map, domid);
	OFF(xen_foreign_memory_map, map);
	SIZE(xen_pod_target);
	OFF(xen_pod_target, target_pages);
	OFF(xen_pod_target, tot_pages);
	OFF(xen_pod_target, domid);
	SIZE(xen_mem_acquire_resource);
	OFF(xen_mem_acquire_resource, domid);
	OFF(xen_mem_acquire_resource, type);
	OFF(xen_mem_acquire_resource, id);
	OFF(xen_mem_acquire_resource, nr_frames);
	OFF(xen_mem_acquire_resource, frame);
	OFF(xen_mem_acquire_resource, frame_list);
}

void layout_grant(void);
void layout_grant(void)
{
	SIZE(gnttab_map_grant_ref);
	SIZE(gnttab_unmap_grant_ref);
	SIZE(gnttab_copy);
	OFF(gnttab_copy, source);
	OFF(gnttab_copy, dest);
	OFF(gnttab_copy, len);
	OFF(gnttab_copy, flags);
	OFF(gnttab_copy, status);
	EMIT(gnttab_copy_ptr_SIZE, sizeof(((struct gnttab_copy *)0)->source));
	EMIT(gnttab_copy_ptr_domid, offsetof(struct gnttab_copy, source.domid));
	EMIT(gnttab_copy_ptr_offset, offsetof(struct gnttab_copy, source.offset));
	SIZE(gnttab_setup_table);
	OFF(gnttab_setup_table, dom);
	OFF(gnttab_setup_table, nr_frames);
	OFF(gnttab_setup_table, status);
	OFF(gnttab_setup_table, frame_list);
	SIZE(gnttab_get_status_frames);
	OFF(gnttab_get_status_frames, nr_frames);
	OFF(gnttab_get_status_frames, dom);
	OFF(gnttab_get_status_frames, status);
	OFF(gnttab_get_status_frames, frame_list);
	SIZE(gnttab_query_size);
	SIZE(gnttab_unmap_and_replace);
}

/* Interfaces said to look alike in both modes; hcall/compat.h checks it. */
void layout_same(void);
void layout_same(void)
{
	SIZE(xen_domctl);
	OFF(xen_domctl, u);
	SIZE(xen_domctl_createdomain);
	SIZE(xen_domctl_getdomaininfo);
	SIZE(xen_domctl_vcpuaffinity);
	SIZE(xen_domctl_shadow_op);
	SIZE(xen_domctl_hvmcontext);
	SIZE(xen_domctl_hvmcontext_partial);
	SIZE(xen_domctl_cpu_policy);
	SIZE(xen_domctl_scheduler_op);
	SIZE(xen_sysctl);
	OFF(xen_sysctl, u);
	SIZE(xen_sysctl_readconsole);
	SIZE(xen_sysctl_physinfo);
	SIZE(xen_sysctl_getdomaininfolist);
	SIZE(xen_sysctl_cputopoinfo);
	SIZE(xen_sysctl_numainfo);
	SIZE(xen_sysctl_cpupool_op);
	SIZE(xen_sysctl_cpu_policy);
	SIZE(xen_sysctl_cpu_featureset);
	SIZE(xen_platform_op);
	OFF(xen_platform_op, u);
	SIZE(xenpf_settime64);
	SIZE(xenpf_pcpuinfo);
	SIZE(xenpf_pcpu_version);
	SIZE(physdev_pci_device_add);
	SIZE(physdev_pci_mmcfg_reserved);
	SIZE(xen_hvm_get_mem_type);
	SIZE(xen_hvm_evtchn_upcall_vector);
	SIZE(xen_hvm_pagetable_dying);
}
