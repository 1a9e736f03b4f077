/*
 * hcall/version.c: XENVER_*. Source: xen/version.h, xen/features.h. Locks: none; the command line is written at boot
 * only.
 */
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/table.h"
#include "hcall/version.h"
#include "lib/lib.h"

#ifndef BUILD_CHANGESET
#define BUILD_CHANGESET "unknown"
#endif
#ifndef BUILD_DATE
#define BUILD_DATE "not recorded"
#endif

/*
 * The first word stands for PV guests, which there are none of; but xenctx reads every guest's registers in the 64-bit
 * layout only if it is there. xl asks for PV in SYSCTL_physinfo.
 */
#define CAPABILITIES "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 "

/* The linker's build-id note (ld --build-id=sha1); absent in hosted builds. */
extern const uint8_t __note_gnu_build_id_start[] __attribute__((weak));
extern const uint8_t __note_gnu_build_id_end[] __attribute__((weak));
#define NOTE_HEADER 16u /* ELF note: three words and the name "GNU\0" */

static xen_commandline_t cmdline;

void version_set_cmdline(const char *s)
{
	lib_strlcpy(cmdline, s, sizeof(cmdline));
}

static long get_compile_info(struct hcall *h, gva_t out)
{
	struct xen_compile_info info = { .compile_date = BUILD_DATE };

	lib_strlcpy(info.compiler, "gcc-compatible " __VERSION__, sizeof(info.compiler));
	lib_strlcpy(info.compile_by, "gossamer", sizeof(info.compile_by));
	return hcall_copy_out(h, out, &info);
}

/* A string in a field of fixed size, the rest zero, sent as a whole. size <= 1024. */
static long put_text(struct hcall *h, gva_t out, const char *s, size_t size)
{
	char buf[sizeof(xen_capabilities_info_t)] = { 0 };

	lib_strlcpy(buf, s, size);
	return guestmem_write(h->v, out, buf, size);
}

static long get_platform_parameters(struct hcall *h, gva_t out)
{
	/* Only PV guests share their address space with the hypervisor; 64-bit callers get what Xen tells them. */
	struct xen_platform_parameters p = { .virt_start = 0xffff800000000000ull };
	uint32_t none = 0;

	return h->compat ? hcall_copy_out(h, out, &none) : hcall_copy_out(h, out, &p);
}

static uint32_t features(const struct domain *d)
{
	uint32_t f = BIT(XENFEAT_memory_op_vnode_supported) | BIT(XENFEAT_writable_page_tables) |
		     BIT(XENFEAT_auto_translated_physmap) | BIT(XENFEAT_hvm_callback_vector) |
		     BIT(XENFEAT_hvm_safe_pvclock);

	if (policy_may(d, ACTION_HARDWARE, NULL) == 0)
		f |= BIT(XENFEAT_dom0);
	f |= d->direct_mapped ? BIT(XENFEAT_direct_mapped) : BIT(XENFEAT_not_direct_mapped);
	return f;
}

static long get_features(struct hcall *h, gva_t arg)
{
	struct xen_feature_info fi;

	if (hcall_copy_in(h, &fi, arg))
		return -EFAULT;
	if (fi.submap_idx != 0)
		return -EINVAL;
	fi.submap = features(h->d);
	return hcall_copy_out(h, arg, &fi);
}

static long get_build_id(struct hcall *h, gva_t arg)
{
	const uint8_t *id;
	uint32_t size, room;

	if (policy_may(h->d, ACTION_SYSCTL, NULL))
		return -EPERM;
	if (!__note_gnu_build_id_start || __note_gnu_build_id_end <= __note_gnu_build_id_start + NOTE_HEADER)
		return -ENODATA;
	id = __note_gnu_build_id_start + NOTE_HEADER;
	size = (uint32_t)(__note_gnu_build_id_end - id);
	if (!arg)
		return size;
	if (hcall_copy_in(h, &room, arg))
		return -EFAULT;
	if (room == 0)
		return -EINVAL;
	if (room < size)
		return -ENOBUFS;
	if (guestmem_write(h->v, arg + offsetof(struct xen_build_id, buf), id, size))
		return -EFAULT;
	return size;
}

static long get_commandline(struct hcall *h, gva_t out)
{
	static const char denied[] = "<denied>";

	if (policy_may(h->d, ACTION_SYSCTL, NULL))
		return hcall_copy_out(h, out, &denied);
	return hcall_copy_out(h, out, &cmdline);
}

long hcall_xen_version(struct hcall *h)
{
	gva_t arg = h->arg[1];

	switch ((uint32_t)h->arg[0]) {
	case XENVER_version:
		return VERSION_MAJOR << 16 | VERSION_MINOR;
	case XENVER_extraversion:
		return put_text(h, arg, VERSION_EXTRA, sizeof(xen_extraversion_t));
	case XENVER_compile_info:
		return get_compile_info(h, arg);
	case XENVER_capabilities:
		return put_text(h, arg, CAPABILITIES, sizeof(xen_capabilities_info_t));
	case XENVER_changeset:
		return put_text(h, arg, BUILD_CHANGESET, sizeof(xen_changeset_info_t));
	case XENVER_platform_parameters:
		return get_platform_parameters(h, arg);
	case XENVER_get_features:
		return get_features(h, arg);
	case XENVER_pagesize:
		return arg ? -EINVAL : (long)PAGE_SIZE;
	case XENVER_guest_handle:
		return hcall_copy_out(h, arg, &h->d->uuid);
	case XENVER_commandline:
		return get_commandline(h, arg);
	case XENVER_build_id:
		return get_build_id(h, arg);
	default:
		return -ENOSYS;
	}
}
