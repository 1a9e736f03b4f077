/*
 * hcall/physmap.c: the memory ops that change single entries of a domain's guest-physical map (xen/memory.h): add to it,
 * remove from it, map another domain's frames and resources.
 */
#ifndef HCALL_PHYSMAP_H
#define HCALL_PHYSMAP_H

#include "hcall/compat.h"
#include "hcall/table.h"
#include "lib/lib.h"

/* start: extents that an earlier part of a restarted call did. Return as XENMEM_* of the same name; -ERESTART. */
long physmap_add(struct hcall *h, gva_t arg, uint64_t start);
long physmap_add_batch(struct hcall *h, gva_t arg, uint64_t start);
long physmap_remove(struct hcall *h, gva_t arg);
long physmap_acquire_resource(struct hcall *h, gva_t arg, uint64_t start);

/* Structures of 32-bit callers, copied as bytes and read field by field (hcall/compat.h). */
static inline uint32_t memory_field32(const uint8_t *raw, size_t at)
{
	uint32_t x;

	memcpy(&x, raw + at, sizeof(x));
	return x;
}

static inline uint16_t memory_field16(const uint8_t *raw, size_t at)
{
	uint16_t x;

	memcpy(&x, raw + at, sizeof(x));
	return x;
}

#define MEMORY_HANDLE(type, raw, at) ((type *)(uintptr_t)memory_field32(raw, at))

/* Element i of the caller's array of frame numbers or unsigned longs. 0, -EFAULT. */
int memory_element(struct hcall *h, gva_t array, uint64_t i, uint64_t *out);

/*
 * Progress of a restarted memory_op lives in the command: extents done << MEMOP_EXTENT_SHIFT. Returns true (and stores it) when
 * the call should stop here.
 */
#define MEMOP_EXTENT_SHIFT 6
bool memory_stop(struct hcall *h, uint64_t done);
/* The domain an op names, with a reference, if the caller may change its memory. 0, -ESRCH, -EPERM. */
int memory_target(struct hcall *h, domid_t id, struct domain **out);

#endif
