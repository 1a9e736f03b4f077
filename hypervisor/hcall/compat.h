/*
 * hcall/compat.h: the layouts of 32-bit callers (COMPAT_<struct>_SIZE, COMPAT_<struct>_<field>: bytes), generated at
 * build time, with the proof that the interfaces treated alike for both kinds of caller are alike.
 */
#ifndef HCALL_COMPAT_H
#define HCALL_COMPAT_H

#include "hcall/compat_layout.h" /* generated: hcall/compat.mk */
#include "lib/xen.h"

#define COMPAT_SAME_SIZE(type) _Static_assert(COMPAT_##type##_SIZE == sizeof(struct type), #type " has one layout")
#define COMPAT_SAME_OFF(type, field)                                                                                   \
	_Static_assert(COMPAT_##type##_##field == offsetof(struct type, field), #type "." #field " has one place")

#endif
