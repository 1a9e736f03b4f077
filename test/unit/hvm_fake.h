/*
 * What the tests of hvm/ put in place of the vendor backend, scheduler and timers: one domain with up to
 * four vCPUs whose registers are plain variables. Weak, so that a test may link the real thing.
 */
#ifndef UNIT_HVM_FAKE_H
#define UNIT_HVM_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/guestmem.h"
#include "core/policy.h"
#include "host/host.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/vendor.h"
#include "lib/lib.h"

#define WEAK	    __attribute__((weak))
#define FAKE_VCPUS  4

static struct domain fake_domain;
static struct hvm_domain fake_hvm;
static struct vcpu fake_vcpu[FAKE_VCPUS];
static struct vcpu_info fake_info[FAKE_VCPUS];
static struct hvm_vcpu fake_hvcpu[FAKE_VCPUS];
static uint32_t fake_apic[FAKE_VCPUS][PAGE_SIZE / 4] __attribute__((aligned(64)));
static struct vcpu *fake_list[FAKE_VCPUS];
static struct vmcb fake_vmcb[FAKE_VCPUS];
static enum cpu_mode fake_mode;
static unsigned fake_cpl, fake_woken, fake_faults, fake_fault_vector;
static gva_t fake_fault_addr;
static uint8_t fake_ram[0x10000]; /* linear = physical addresses 0..0xffff; beyond: not RAM */

static inline void fake_machine(unsigned vcpus)
{
	host_machine(512);
	memset(&fake_domain, 0, sizeof(fake_domain));
	memset(&fake_hvm, 0, sizeof(fake_hvm));
	memset(fake_vcpu, 0, sizeof(fake_vcpu));
	memset(fake_info, 0, sizeof(fake_info));
	memset(fake_hvcpu, 0, sizeof(fake_hvcpu));
	memset(fake_vmcb, 0, sizeof(fake_vmcb));
	memset(fake_ram, 0, sizeof(fake_ram));
	memset(fake_apic, 0, sizeof(fake_apic));
	spin_lock_init(&fake_domain.lock, LOCK_DOMAIN);
	fake_domain.hvm = &fake_hvm;
	fake_domain.max_vcpus = vcpus;
	fake_domain.vcpu = fake_list;
	fake_mode = MODE_64;
	fake_cpl = fake_woken = fake_faults = fake_fault_vector = 0;
	for (unsigned i = 0; i < FAKE_VCPUS; i++) {
		fake_vcpu[i].id = i;
		fake_vcpu[i].domain = &fake_domain;
		fake_vcpu[i].hvm = &fake_hvcpu[i];
		fake_vcpu[i].info = &fake_info[i];
		fake_hvcpu[i].vmcb = &fake_vmcb[i];
		fake_hvcpu[i].inject.vector = EVENT_NONE;
		fake_vcpu[i].sched.up = true;
		fake_list[i] = i < vcpus ? &fake_vcpu[i] : NULL;
		fake_hvcpu[i].lapic.page = fake_apic[i];
		vlapic_init(&fake_vcpu[i]);
	}
}

/* The guest takes a pending vector. */
static inline void fake_taken(struct vcpu *v, uint8_t vector)
{
	vlapic_offer(v, vector);
	vlapic_ack(v, vector);
}

/* --- vendor --- */

WEAK void hvm_get_segment(struct vcpu *v, enum seg s, struct segment *out)
{
	*out = fake_vmcb[v->id].seg[s];
}

WEAK void hvm_set_segment(struct vcpu *v, enum seg s, const struct segment *in)
{
	fake_vmcb[v->id].seg[s] = *in;
}

WEAK enum cpu_mode hvm_mode(struct vcpu *v)
{
	return fake_mode;
}

WEAK unsigned hvm_cpl(struct vcpu *v)
{
	return fake_cpl;
}

WEAK void hvm_advance(struct vcpu *v, unsigned length)
{
	v->regs.rip += length;
}

WEAK void hvm_inject_gp(struct vcpu *v)
{
	fake_faults++;
	fake_fault_vector = 13;
}

WEAK void hvm_inject_ud(struct vcpu *v)
{
	fake_faults++;
	fake_fault_vector = 6;
}

WEAK void hvm_inject_pf(struct vcpu *v, gva_t addr, uint32_t code)
{
	fake_faults++;
	fake_fault_vector = 14;
	fake_fault_addr = addr;
}

WEAK void hvm_reset(struct vcpu *v)
{
	memset(&v->regs, 0, sizeof(v->regs));
}

static unsigned fake_sipis;
static uint8_t fake_sipi_vector;

WEAK void hvm_sipi(struct vcpu *v, uint8_t vector)
{
	fake_sipis++;
	fake_sipi_vector = vector;
	v->hvm->init_pending = false;
	v->initialised = true;
}

WEAK void domain_hold(struct domain *d)
{
	d->refs++;
}

WEAK void domain_put(struct domain *d)
{
	d->refs--;
}

static bool fake_x2apic_offered = true;

WEAK bool cpuid_has_at(const struct domain *d, uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit)
{
	return true;
}

WEAK bool cpuid_has(const struct domain *d, uint32_t leaf, unsigned reg, unsigned bit)
{
	return fake_x2apic_offered;
}

/* --- scheduler and timers --- */

WEAK void sched_wake(struct vcpu *v)
{
	fake_woken |= 1u << v->id;
}

static unsigned fake_notified; /* how often a CPU would have been told */

WEAK void sched_notify(struct vcpu *v, bool tell)
{
	fake_notified += tell;
}

WEAK void sched_up(struct vcpu *v)
{
	v->sched.up = true;
}

WEAK void sched_down(struct vcpu *v)
{
	v->sched.up = false;
}

WEAK void timer_init(struct timer *t, enum timer_kind kind, struct vcpu *v)
{
	t->kind = (uint16_t)kind;
	t->vcpu = v;
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

/* --- guest memory: linear = physical, flat --- */

static int fake_access(gva_t va, size_t len, struct guestmem_fault *f)
{
	if (va + len <= sizeof(fake_ram))
		return 0;
	f->addr = va < sizeof(fake_ram) ? sizeof(fake_ram) : va;
	f->code = 0;
	f->not_ram = va >= 0xfe000000ull && va < 0xff000000ull;
	f->gpa = va;
	return -EFAULT;
}

WEAK int guestmem_translate(struct vcpu *v, gva_t va, unsigned access, gpa_t *gpa, struct guestmem_fault *f)
{
	*gpa = va;
	return fake_access(va, 1, f);
}

WEAK int guestmem_access_read(struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access,
			      struct guestmem_fault *f)
{
	int rc = fake_access(src, len, f);

	if (!rc)
		memcpy(dst, fake_ram + src, len);
	return rc;
}

WEAK int guestmem_access_write(struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access,
			       struct guestmem_fault *f)
{
	int rc = fake_access(dst, len, f);

	if (!rc)
		memcpy(fake_ram + dst, src, len);
	return rc;
}

#endif
