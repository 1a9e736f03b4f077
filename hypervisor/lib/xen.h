/*
 * The Xen ABI as this hypervisor sees it: Debian's public headers, nothing retyped.
 * Error numbers come out as plain EPERM, EINVAL... (functions return them negated).
 */
#ifndef LIB_XEN_H
#define LIB_XEN_H

#include "lib/types.h"

#define __XEN_TOOLS__ 1

#ifndef EPERM
#define XEN_ERRNO(name, value) name = (value),
#define __XEN__		       /* the numbers that never reach a guest too: ERESTART */
enum xen_errno {
#include <xen/errno.h>
};
#undef __XEN__
#endif

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/hvm/e820.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/hvm_vcpu.h>
#include <xen/hvm/params.h>
#include <xen/hvm/save.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/arch-x86/hvm/start_info.h>

/* One entry of a memory map as firmware and XENMEM_memory_map give it (ACPI 15, INT 15h E820h); no public header has it. */
struct e820entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* E820_* */
} __attribute__((packed));

#define E820_RAM      1
#define E820_RESERVED 2
#define E820_ACPI     3
#define E820_NVS      4
#define E820_UNUSABLE 5

#endif
