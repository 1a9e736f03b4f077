/*
 * core/domain.c: see domain.h. Owns the domain list and every domain's life.
 * Locks: domain_list_lock (the list), domain.lock (flags of one domain). Invariant: a listed domain has refs > 0, or
 * is being made or on its way out of the list, and not found.
 */
#include "core/domain.h"

#include "core/cpupool.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/numa.h"
#include "core/policy.h"
#include "core/time.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define BUCKETS		256u
#define TIMERS_PER_VCPU 7u /* singleshot, periodic, poll, local APIC, and room for the domain's 8254 and watchdogs */
#define DEFAULT_PORTS	1023u

spinlock_t domain_list_lock = SPINLOCK_INIT(LOCK_DOMAIN_LIST);
bool domain_no_reboot;

static struct domain *table[BUCKETS] GUARDED_BY(domain_list_lock);
static struct domain *dead GUARDED_BY(domain_list_lock); /* without references, waiting for domain_reap() */
static bool dead_waiting;

void domain_init(void)
{
	memset(table, 0, sizeof(table));
}

static struct domain *find(domid_t id) REQUIRES(domain_list_lock)
{
	struct domain *d = table[id % BUCKETS];

	while (d && d->id != id)
		d = d->next;
	return d;
}

struct domain *domain_find(domid_t id)
{
	struct domain *d;

	spin_lock(&domain_list_lock);
	d = find(id);
	spin_unlock(&domain_list_lock);
	return d;
}

void domain_hold(struct domain *d)
{
	__atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
}

/* A domain whose last reference is gone is found until domain_put() has the list's lock. */
static bool hold_living(struct domain *d) REQUIRES(domain_list_lock)
{
	uint32_t refs = __atomic_load_n(&d->refs, __ATOMIC_RELAXED);

	while (refs)
		if (__atomic_compare_exchange_n(&d->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

struct domain *domain_get(domid_t id)
{
	struct domain *d;

	spin_lock(&domain_list_lock);
	d = find(id);
	if (d && !hold_living(d))
		d = NULL;
	spin_unlock(&domain_list_lock);
	return d;
}

struct domain *domain_get_for(struct domain *caller, domid_t id)
{
	if (id == DOMID_SELF || id == caller->id) {
		domain_hold(caller);
		return caller;
	}
	return domain_get(id);
}

struct domain *domain_next(domid_t from)
{
	struct domain *best;

	spin_lock(&domain_list_lock);
	do {
		best = NULL;
		for (unsigned i = 0; i < BUCKETS; i++)
			for (struct domain *d = table[i]; d; d = d->next)
				if (d->id >= from && (!best || d->id < best->id) &&
				    __atomic_load_n(&d->refs, __ATOMIC_RELAXED))
					best = d;
	} while (best && !hold_living(best));
	spin_unlock(&domain_list_lock);
	return best;
}

/* Lists d under its id, or the next free one when it has none yet. */
static int enlist(struct domain *d)
{
	static domid_t last_id;
	int rc = 0;

	spin_lock(&domain_list_lock);
	if (d->id == DOMID_INVALID) {
		domid_t id = last_id;

		do {
			id = (domid_t)(id + 1u >= DOMID_FIRST_RESERVED ? 1 : id + 1u);
		} while (find(id) && id != last_id);
		if (find(id))
			rc = -ENOMEM;
		else
			d->id = last_id = id;
	} else if (find(d->id)) {
		rc = -EEXIST;
	}
	if (!rc) {
		d->next = table[d->id % BUCKETS];
		table[d->id % BUCKETS] = d;
	}
	spin_unlock(&domain_list_lock);
	return rc;
}

static void delist(struct domain *d) REQUIRES(domain_list_lock)
{
	struct domain **at = &table[d->id % BUCKETS];

	while (*at && *at != d)
		at = &(*at)->next;
	if (*at)
		*at = d->next;
	/* The next domain of this number is not the one its device model was given rights over. */
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct domain *o = table[i]; o; o = o->next)
			if (o->dm_target == d->id)
				o->dm_target = DOMID_INVALID;
}

static void release_info(struct vcpu *v)
{
	if (v->info_vmap) {
		port_vunmap(v->info_vmap);
		frame_put(v->info_mfn);
		v->info_vmap = NULL;
		v->info = v->spare_info;
	}
}

/* None of v's timers, nor its domain's watchdogs with vCPU 0, is set or firing afterwards. */
static void kill_timers(struct vcpu *v)
{
	for (unsigned i = 0; !v->id && i < ARRAY_SIZE(v->domain->watchdog); i++)
		timer_kill(&v->domain->watchdog[i]);
	timer_kill(&v->singleshot);
	timer_kill(&v->periodic);
	timer_kill(&v->poll);
}

static void vcpu_destroy(struct vcpu *v)
{
	kill_timers(v);
	sched_vcpu_destroy(v);
	guest_vcpu_destroy(v);
	release_info(v);
	heap_free(v->spare_info, sizeof(*v->spare_info));
	timer_unreserve(TIMERS_PER_VCPU);
	v->domain->vcpu[v->id] = NULL;
	heap_free(v, sizeof(*v));
}

/* Everything d still has; nobody refers to it any more. */
static void destroy(struct domain *d)
{
	struct vcpu *v;

	timer_kill(&d->sched.refill); /* it looks at the vCPUs */
	for_each_vcpu (d, v)
		vcpu_destroy(v);
	sched_domain_destroy(d);
	evtchn_domain_destroy(d);
	grant_domain_destroy(d);
	if (d->hvm)
		guest_domain_destroy(d);
	if (d->p2m.table_frames)
		p2m_destroy(d);
	if (d->shared_info && frame_unshare(d, d->shared_info) == 0)
		heap_free_pages(d->shared_info, 0);
	numa_set_vnuma(d, NULL);
	heap_free(d->e820, d->e820_nr * sizeof(*d->e820));
	heap_free(d->vcpu, d->max_vcpus * sizeof(struct vcpu *));
	heap_free(d, sizeof(*d));
}

/* It has no reference: nobody finds it any more. */
static void bury(struct domain *d)
{
	spin_lock(&domain_list_lock);
	delist(d);
	d->next = dead;
	dead = d;
	spin_unlock(&domain_list_lock);
	__atomic_store_n(&dead_waiting, true, __ATOMIC_RELEASE);
}

void domain_put(struct domain *d)
{
	if (!__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		bury(d);
}

static struct domain *next_dead(void)
{
	struct domain *d;

	spin_lock(&domain_list_lock);
	d = dead;
	if (d)
		dead = d->next;
	else
		__atomic_store_n(&dead_waiting, false, __ATOMIC_RELAXED);
	spin_unlock(&domain_list_lock);
	return d;
}

void domain_reap(void)
{
	struct domain *d;

	if (likely(!__atomic_load_n(&dead_waiting, __ATOMIC_ACQUIRE)))
		return;
	while ((d = next_dead()) != NULL)
		destroy(d);
}

static void configure(struct domain *d, const struct domain_config *c)
{
	spin_lock_init(&d->lock, LOCK_DOMAIN);
	d->id = c->id;
	d->refs = 0; /* until it is whole: listed, to have its number, but not found */
	d->rights = c->rights;
	memcpy(d->uuid, c->uuid, sizeof(d->uuid));
	d->options = c->options;
	d->emulation = c->emulation;
	d->direct_mapped = c->direct_mapped;
	d->shutdown_code = DOMAIN_NOT_SHUT;
	d->created_paused = true;
	d->pause_count = 1;
	d->max_vcpus = c->max_vcpus;
	d->max_frames = c->rights & RIGHT_HARDWARE ? ~0ull : 0;
	d->sched_weight = SCHED_WEIGHT_DEFAULT;
	d->dm_target = DOMID_INVALID;
	d->tsc_khz = (uint32_t)port_tsc_khz();
	d->shared_info_gfn = ~0ull;
}

int domain_create(const struct domain_config *c, struct domain **out)
{
	uint32_t ports = c->max_evtchn_port ? c->max_evtchn_port : DEFAULT_PORTS;
	struct domain *d;
	int rc;

	if (!c->max_vcpus || c->max_vcpus > DOMAIN_MAX_VCPUS)
		return -EINVAL;
	d = heap_new(struct domain);
	if (!d)
		return -ENOMEM;
	configure(d, c);
	d->vcpu = heap_alloc(d->max_vcpus * sizeof(struct vcpu *));
	d->shared_info = heap_alloc_pages(0);
	rc = d->vcpu && d->shared_info ? enlist(d) : -ENOMEM;
	if (rc) {
		heap_free(d->vcpu, d->max_vcpus * sizeof(struct vcpu *));
		if (d->shared_info)
			heap_free_pages(d->shared_info, 0);
		heap_free(d, sizeof(*d));
		return rc;
	}
	frame_share(d, d->shared_info);
	rc = sched_domain_init(d, c->pool);
	if (!rc)
		rc = p2m_init(d, guest_uses_ept() ? P2M_FORMAT_EPT : P2M_FORMAT_NPT);
	d->p2m.dirty_flags = guest_dirty_flags();
	if (!rc)
		rc = evtchn_domain_init(d, ports);
	if (!rc)
		rc = grant_domain_init(d, c->max_grant_frames, c->max_maptrack_frames, c->grant_opts);
	if (!rc)
		rc = guest_domain_init(d);
	if (rc) {
		d->is_dying = true;
		bury(d);
		return rc;
	}
	__atomic_store_n(&d->refs, 1, __ATOMIC_RELEASE);
	time_update_wallclock(d); /* after it can be found: who sets the clock meanwhile updates it too */
	*out = d;
	return 0;
}

struct vcpu *domain_vcpu(struct domain *d, uint32_t id)
{
	return id < d->max_vcpus ? d->vcpu[id] : NULL;
}

int domain_vcpu_create(struct domain *d, uint32_t id)
{
	struct vcpu *v;
	int rc = -ENOMEM;

	if (id >= d->max_vcpus || d->vcpu[id])
		return -EINVAL;
	if (!timer_reserve(TIMERS_PER_VCPU))
		return -ENOMEM;
	v = heap_new(struct vcpu);
	if (v) {
		v->domain = d;
		v->id = id;
		v->spare_info = heap_new(struct vcpu_info);
	}
	if (!v || !v->spare_info)
		goto fail;
	v->info = id < XEN_LEGACY_MAX_VCPUS ? &d->shared_info->vcpu_info[id] : v->spare_info;
	timer_init(&v->singleshot, TIMER_SINGLESHOT, v);
	timer_init(&v->periodic, TIMER_PERIODIC, v);
	timer_init(&v->poll, TIMER_POLL, v);
	rc = sched_vcpu_init(v);
	if (rc)
		goto fail;
	rc = guest_vcpu_init(v);
	if (rc) {
		sched_vcpu_destroy(v);
		goto fail;
	}
	d->vcpu[id] = v;
	if (!id)
		for (unsigned i = 0; i < ARRAY_SIZE(d->watchdog); i++)
			timer_init(&d->watchdog[i], TIMER_WATCHDOG, v);
	return 0;
fail:
	if (v)
		heap_free(v->spare_info, sizeof(*v->spare_info));
	heap_free(v, sizeof(*v));
	timer_unreserve(TIMERS_PER_VCPU);
	return rc;
}

void domain_latch_layout(struct domain *d, bool is_32bit)
{
	if (d->compat_shinfo == is_32bit)
		return;
	d->compat_shinfo = is_32bit;
	time_update_wallclock(d);
}

int domain_register_vcpu_info(struct vcpu *v, gfn_t g, uint32_t offset)
{
	struct domain *d = v->domain;
	struct vcpu_info *to;
	mfn_t m;
	void *page;
	bool first;
	int rc;

	if (v->info_vmap || offset % 8)
		return -EINVAL;
	if (offset > PAGE_SIZE - sizeof(*to))
		return -ENXIO;
	rc = p2m_get_frame(d, g, true, &m);
	if (rc)
		return rc;
	page = port_vmap(m);
	if (!page) {
		frame_put(m);
		return -ENOMEM;
	}
	spin_lock(&d->lock);
	first = !v->info_vmap && !d->is_dying; /* else release_info() may have been here */
	if (first) {
		to = (struct vcpu_info *)((char *)page + offset);
		*to = *v->info;
		v->info_vmap = page;
		v->info_mfn = m;
		v->info = to;
	}
	spin_unlock(&d->lock);
	if (!first) {
		port_vunmap(page);
		frame_put(m);
		return -EINVAL;
	}
	evtchn_vcpu_moved_info(v);
	return 0;
}

static void machine_ends(struct domain *d, uint8_t code)
{
	if (code == SHUTDOWN_poweroff) {
		log_info("hardware domain d%u powered off: the machine halts", d->id);
		port_halt();
	}
	if (code != SHUTDOWN_reboot)
		log_err("hardware domain d%u %s (shutdown code %u)", d->id,
			code == SHUTDOWN_crash	    ? "crashed"
			: code == SHUTDOWN_watchdog ? "missed its watchdog"
						    : "ended",
			code);
	if (domain_no_reboot && code != SHUTDOWN_reboot) {
		log_err("'noreboot' was given on the command line: the machine halts");
		port_halt();
	}
	log_info("the machine reboots");
	port_reboot();
}

void domain_shutdown(struct domain *d, uint8_t code)
{
	bool first;

	if (d->rights & RIGHT_HARDWARE)
		machine_ends(d, code);
	spin_lock(&d->lock);
	first = !d->is_shut_down;
	if (first) {
		d->is_shut_down = true;
		if (d->shutdown_code == DOMAIN_NOT_SHUT) /* else SCHEDOP_shutdown_code said it */
			d->shutdown_code = code;
	}
	spin_unlock(&d->lock);
	if (!first)
		return;
	sched_domain_pause_nosync(d);
	evtchn_global_virq(VIRQ_DOM_EXC);
}

void domain_resume(struct domain *d)
{
	bool was;

	spin_lock(&d->lock);
	was = d->is_shut_down;
	d->is_shut_down = false;
	d->shutdown_code = DOMAIN_NOT_SHUT;
	spin_unlock(&d->lock);
	if (was)
		sched_domain_unpause(d);
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
	char why[160];
	struct vcpu *v = sched_current();
	va_list ap;

	if (d->is_shut_down && d->shutdown_code == SHUTDOWN_crash)
		return;
	va_start(ap, fmt);
	lib_vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (v && v->domain == d) {
		log_err("domain %u (vcpu %u) crashed: %s", d->id, v->id, why);
		guest_dump(v);
	} else {
		log_err("domain %u crashed: %s", d->id, why);
	}
	domain_shutdown(d, SHUTDOWN_crash);
}

enum kill_step { KILL_EVENTS, KILL_GRANTS, KILL_AREAS, KILL_MEMORY, KILL_DONE };

static int kill_some(struct domain *d)
{
	struct vcpu *v;
	int rc;

	switch ((enum kill_step)d->kill_step) {
	case KILL_EVENTS:
		guest_release_irqs(d);
		rc = evtchn_relinquish(d);
		if (rc)
			return rc;
		break;
	case KILL_GRANTS:
		rc = grant_relinquish(d);
		if (rc)
			return rc;
		break;
	case KILL_AREAS:
		for_each_vcpu (d, v) {
			kill_timers(v);
			release_info(v);
			v->runstate_area.gva = 0;
			v->time_area.gva = 0;
		}
		frame_claim(d, 0);
		break;
	case KILL_MEMORY:
		rc = p2m_relinquish(d);
		if (rc)
			return rc;
		break;
	case KILL_DONE:
		return 0;
	}
	d->kill_step++;
	return -ERESTART;
}

int domain_kill(struct domain *d)
{
	const struct vcpu *v = sched_current();
	bool first;
	int rc;

	if (v && v->domain == d)
		return -EINVAL;
	spin_lock(&d->lock);
	first = !d->is_dying;
	__atomic_store_n(&d->is_dying, true, __ATOMIC_RELAXED); /* looked at without the lock, too */
	spin_unlock(&d->lock);
	if (first) {
		sched_domain_pause(d);
		cpupool_move_domain(d, 0); /* its pool may end before the last of its frames is given back */
	} else if (d->kill_step == KILL_DONE) {
		return 0;
	}
	do {
		rc = kill_some(d);
	} while (rc == -ERESTART && d->kill_step == KILL_AREAS); /* the one short step */
	if (d->kill_step != KILL_DONE)
		return rc;
	evtchn_global_virq(VIRQ_DOM_EXC);
	domain_put(d);
	return 0;
}

void domain_dump(void)
{
	struct domain *d;

	for (domid_t id = 0; (d = domain_next(id)) != NULL; id++) {
		struct vcpu *v;

		id = d->id;
		log_info("d%u: %lu frames of at most %ld, %lu page-table pages, %u pages of ports and grants, "
			 "%u ports, %u grants used, %u mapped, refs %u%s%s",
			 d->id, d->frames, (long)d->max_frames, d->p2m.table_frames, evtchn_pages(d) + grant_pages(d),
			 evtchn_active(d), grant_active_count(d), grant_maptrack_count(d), d->refs,
			 d->is_dying ? ", dying" : "", d->is_shut_down ? ", shut down" : "");
		for_each_vcpu (d, v)
			log_info("  v%u: %s%s, CPU %u, rip %lx", v->id, v->sched.up ? "up" : "down",
				 v->sched.blocked ? " blocked" : "", v->sched.cpu, v->regs.rip);
		domain_put(d);
	}
}
