/*
 * core/time.c: see time.h. Owns the wall clock base and the pvclock factors.
 * Locks: wallclock_lock. Invariant: a pvclock record's version is odd while it is written, and it never needs rewriting
 * for as long as the TSC is stable: system time is a linear function of the TSC, the same on all CPUs. Where it is not so,
 * the record says so by leaving out the stable bit.
 */
#include "core/time.h"

#include "core/domain.h"
#include "core/guestmem.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define NS_PER_S 1000000000ull

static spinlock_t wallclock_lock = SPINLOCK_INIT(LOCK_WALLCLOCK);
static uint64_t boot_wall_ns GUARDED_BY(wallclock_lock); /* ns since 1970 at system time 0 */

void time_init(void)
{
	spin_lock(&wallclock_lock);
	boot_wall_ns = port_rtc_seconds() * NS_PER_S - port_now();
	spin_unlock(&wallclock_lock);
}

/* Writers of a versioned record: odd version first, then the data, then even (xen/xen.h, vcpu_time_info). */
static void begin(volatile uint32_t *version)
{
	*version = (*version + 1) | 1;
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void end(volatile uint32_t *version)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	*version = *version + 1;
}

static int write_area(struct vcpu *v, const struct guest_area *area, uint32_t offset, const void *data, uint32_t len)
{
	const char *from = data;
	uint32_t first = (uint32_t)(PAGE_SIZE - (area->gva & ~PAGE_MASK)); /* bytes in the first page */

	while (len) {
		uint32_t room = offset < first ? first - offset : len;
		uint32_t n = MIN(len, room);
		gpa_t at = offset < first ? area->gpa[0] + offset : area->gpa[1] + (offset - first);

		if (guestmem_write_gpa(v->domain, at, from, n))
			return -EFAULT;
		offset += n;
		from += n;
		len -= n;
	}
	return 0;
}

/* The version is odd while the rest changes. */
static void write_time_area(struct vcpu *v, const struct vcpu_time_info *t)
{
	const uint32_t body = offsetof(struct vcpu_time_info, pad0);
	uint32_t version = t->version - 1;

	if (write_area(v, &v->time_area, 0, &version, sizeof(version)))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (write_area(v, &v->time_area, body, (const char *)t + body, sizeof(*t) - body))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	version++;
	write_area(v, &v->time_area, 0, &version, sizeof(version));
}

void time_update_vcpu(struct vcpu *v)
{
	struct vcpu_time_info t = { 0 }, *to = &v->info->time;
	uint64_t tsc = port_tsc();

	t.tsc_timestamp = guest_tsc(v, tsc);
	t.system_time = port_tsc_to_ns(tsc);
	t.flags = guest_tsc_scale(v, &t.tsc_to_system_mul, &t.tsc_shift) ? XEN_PVCLOCK_TSC_STABLE_BIT : 0;

	begin(&to->version);
	to->tsc_timestamp = t.tsc_timestamp;
	to->system_time = t.system_time;
	to->tsc_to_system_mul = t.tsc_to_system_mul;
	to->tsc_shift = t.tsc_shift;
	to->flags = t.flags;
	end(&to->version);

	if (v->time_area.gva) {
		t.version = to->version;
		write_time_area(v, &t);
	}
}

/* wc_version, wc_sec and wc_nsec stand together behind the event words, whose number depends on the guest's width. */
struct wallclock {
	uint32_t version, sec, nsec;
};
_Static_assert(offsetof(struct shared_info, wc_nsec) - offsetof(struct shared_info, wc_version) ==
		       offsetof(struct wallclock, nsec),
	       "xen/xen.h, shared_info");

static struct wallclock *wallclock_of(const struct domain *d)
{
	const size_t words_32bit = 2 * 32 * sizeof(uint32_t);
	size_t at = d->compat_shinfo ? offsetof(struct shared_info, evtchn_pending) + words_32bit
				     : offsetof(struct shared_info, wc_version);

	return (struct wallclock *)((char *)d->shared_info + at);
}

void time_update_wallclock(struct domain *d)
{
	struct wallclock *w = wallclock_of(d);
	uint64_t ns;

	spin_lock(&wallclock_lock);
	ns = boot_wall_ns + (uint64_t)d->time_offset_seconds * NS_PER_S;
	begin(&w->version);
	w->sec = (uint32_t)(ns / NS_PER_S);
	w->nsec = (uint32_t)(ns % NS_PER_S);
	if (!d->compat_shinfo)
		d->shared_info->wc_sec_hi = (uint32_t)(ns / NS_PER_S >> 32);
	end(&w->version);
	spin_unlock(&wallclock_lock); /* two writers would leave the version odd */
}

void time_set_wallclock(uint64_t secs, uint32_t nsecs, uint64_t system_time)
{
	struct domain *d;

	spin_lock(&wallclock_lock);
	boot_wall_ns = secs * NS_PER_S + nsecs - system_time;
	spin_unlock(&wallclock_lock);
	for (domid_t id = 0; (d = domain_next(id)) != NULL; id++) {
		id = d->id;
		time_update_wallclock(d);
		domain_put(d);
	}
}

void time_update_runstate(struct vcpu *v)
{
	/* A 32-bit caller's record has no padding after the state word. */
	const uint32_t missing = v->runstate_compat ? 4 : 0;
	const uint32_t at_entry = offsetof(struct vcpu_runstate_info, state_entry_time) - missing;
	bool flag = v->domain->vm_assist & BIT(VMASST_TYPE_runstate_update_flag);
	uint64_t record[6]; /* the state, state_entry_time and the four sums */
	int now;

	if (!v->runstate_area.gva)
		return;
	sched_runstate_sums(v, &record[2], &record[1], &now);
	record[0] = (uint64_t)now << missing * 8;
	if (flag) {
		record[1] |= XEN_RUNSTATE_UPDATE;
		if (write_area(v, &v->runstate_area, at_entry, &record[1], sizeof(record[1])))
			return;
	}
	write_area(v, &v->runstate_area, 0, (char *)record + missing, sizeof(record) - missing);
	if (flag) {
		record[1] &= ~XEN_RUNSTATE_UPDATE;
		write_area(v, &v->runstate_area, at_entry, &record[1], sizeof(record[1]));
	}
}
