/*
 * test/unit/hcall.h: for the tests of hcall/: a caller whose memory is one flat array (guest address = CALLER_BASE +
 * index), with real rights, and plain stand-ins for what a test does not link. Included once by each test program.
 */
#ifndef TEST_UNIT_HCALL_H
#define TEST_UNIT_HCALL_H

#include "host/host.h"

#include "core/console.h"
#include "core/grant.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "core/time.h"
#include "hcall/table.h"
#include "hvm/hvm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CALLER_BASE 0x10000ull
#define CALLER_SIZE 65536u
#define WEAK	    __attribute__((weak))

static uint8_t memory[CALLER_SIZE];
static gva_t read_only_from = CALLER_BASE + CALLER_SIZE; /* addresses from here on cannot be written */

static inline bool in_memory(gva_t a, size_t len, gva_t end)
{
	return a >= CALLER_BASE && len <= CALLER_SIZE && a + len <= end;
}

int guestmem_read(struct vcpu *v, void *dst, gva_t src, size_t len)
{
	if (!in_memory(src, len, CALLER_BASE + CALLER_SIZE))
		return -EFAULT;
	memcpy(dst, memory + (src - CALLER_BASE), len);
	return 0;
}

int guestmem_check_write(struct vcpu *v, gva_t dst, size_t len)
{
	return in_memory(dst, len, read_only_from) ? 0 : -EFAULT;
}

int guestmem_write(struct vcpu *v, gva_t dst, const void *src, size_t len)
{
	if (guestmem_check_write(v, dst, len))
		return -EFAULT;
	memcpy(memory + (dst - CALLER_BASE), src, len);
	return 0;
}

int guestmem_write_gpa(struct domain *d, gpa_t dst, const void *src, size_t len)
{
	return -EFAULT;
}

void guestmem_end(void)
{
}

void guestmem_leave(void)
{
}

void guestmem_forget(mfn_t m)
{
}

/* --- stand-ins, replaced by what a test links --- */

WEAK int p2m_get_frame(struct domain *d, gfn_t g, bool want_write, mfn_t *out)
{
	return -EINVAL;
}

WEAK void frame_put(mfn_t m)
{
}

WEAK void timer_init(struct timer *t, enum timer_kind kind, struct vcpu *v)
{
	t->slot = -1;
}

WEAK void timer_set(struct timer *t, uint64_t deadline)
{
	t->deadline = deadline;
	t->slot = 0;
}

WEAK void timer_stop(struct timer *t)
{
	t->slot = -1;
}

WEAK bool timer_active(const struct timer *t)
{
	return t->slot >= 0;
}

/* An object of the caller's, and its address as the caller gives it. */
#define CALLER(type, index) ((type *)(memory + (index)))
#define ADDRESS(index)	    (CALLER_BASE + (index))

static inline void caller_reset(void)
{
	memset(memory, 0, sizeof(memory));
	read_only_from = CALLER_BASE + CALLER_SIZE;
	host_preempt_wanted = false;
}

#endif
