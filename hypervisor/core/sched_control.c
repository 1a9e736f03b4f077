/*
 * core/sched_control.c: what the tool stack changes: weights, caps, promises, affinity, which CPU is in which pool. Owns the
 * list of all vCPUs and which queues exist. Each request is checked whole before the first change.
 * Locks: sched_control, taken here; the queues' inside.
 */
#include "core/sched_private.h"

#include "core/log.h"
#include "lib/lib.h"
#include "port/guest.h"

spinlock_t sched_control = SPINLOCK_INIT(LOCK_SCHED_CONTROL);
struct vcpu *control_vcpus;

#define NS_PER_US 1000ull

/* --- queues --- */

static bool alone_in_socket(unsigned cpu)
{
	for (unsigned i = 0; i < port_cpu_count(); i++)
		if (i != cpu && port_cpu_socket(i) == port_cpu_socket(cpu))
			return false;
	return true;
}

/* Sockets of one CPU each, as machines of unknown topology and virtual ones have them, count as one. */
static bool share_a_queue(unsigned a, unsigned b)
{
	return port_cpu_socket(a) == port_cpu_socket(b) || (alone_in_socket(a) && alone_in_socket(b));
}

static struct runq *share_queue(const struct cpupool *p, unsigned cpu)
{
	for_each_cpu (i, &p->queues)
		if (p->policy == SCHED_SHARE && share_a_queue(cpumask_first(&runqs[i].cpus), cpu))
			return &runqs[i];
	return NULL;
}

/* There is one for each CPU. */
static struct runq *new_queue(struct cpupool *p, unsigned cpu) NO_LOCK_CHECK
{
	struct runq *q = &runqs[cpu];

	for (unsigned i = 0; q->used; i++)
		q = &runqs[i];
	spin_lock(&q->lock);
	ASSERT(!q->tree.first && !q->refills.first);
	q->used = true;
	q->policy = p->policy;
	q->cpus = CPUMASK_NONE;
	q->nr_cpus = q->members = 0;
	q->vtime = SCHED_VTIME_START;
	__atomic_store_n(&q->owner, NULL, __ATOMIC_RELAXED);
	for_each_cpu (i, &p->queues)
		q->vtime = MAX(q->vtime, __atomic_load_n(&runqs[i].vtime, __ATOMIC_RELAXED));
	q->pool = p;
	spin_unlock(&q->lock);
	cpumask_set_shared(&p->queues, (unsigned)(q - runqs));
	__atomic_fetch_add(&p->nr_queues, 1, __ATOMIC_RELAXED);
	return q;
}

static void free_queue(struct runq *q) NO_LOCK_CHECK
{
	ASSERT(!q->members);
	cpumask_clear_shared(&q->pool->queues, (unsigned)(q - runqs));
	__atomic_fetch_sub(&q->pool->nr_queues, 1, __ATOMIC_RELAXED);
	spin_lock(&q->lock);
	q->pool = NULL;
	q->used = false;
	spin_unlock(&q->lock);
}

void control_join(struct cpupool *p, unsigned cpu) NO_LOCK_CHECK
{
	struct sched_cpu *c = &sched_cpus[cpu];
	struct runq *q = share_queue(p, cpu);

	if (!q)
		q = new_queue(p, cpu);
	spin_lock(&q->lock);
	cpumask_set(&q->cpus, cpu);
	q->nr_cpus++;
	c->floor = 0;
	c->slice_end = NEVER;
	__atomic_store_n(&c->runq, (uint16_t)(q - runqs), __ATOMIC_RELEASE);
	cpumask_set_shared(&p->cpus, cpu);
	__atomic_fetch_add(&p->nr_cpus, 1, __ATOMIC_RELAXED);
	spin_unlock(&q->lock);
	sched_ask(cpu);
	if (p->policy == SCHED_NULL)
		null_offer(q);
}

static uint32_t members(const struct runq *q)
{
	return __atomic_load_n(&q->members, __ATOMIC_RELAXED);
}

/* The queue for a vCPU in a pool of shares or null; NULL: hard leaves none. Its own if possible, else one with few vCPUs. */
static struct runq *find_queue(struct runq *own, const struct cpupool *p, const struct cpumask *hard,
			       const struct cpumask *soft)
{
	struct cpumask good = cpumask_and(hard, soft);
	struct runq *best = NULL;
	bool best_soft = false;

	if (own && own->pool == p && cpumask_meet(&own->cpus, hard))
		return own;
	for_each_cpu (i, &p->queues) {
		struct runq *q = &runqs[i];
		bool is_soft = cpumask_meet(&q->cpus, &good);

		if (!cpumask_meet(&q->cpus, hard) || (best_soft && !is_soft))
			continue;
		if (!best || is_soft != best_soft || members(q) * best->nr_cpus < members(best) * q->nr_cpus) {
			best = q;
			best_soft = is_soft;
		}
	}
	return best;
}

/* --- CPUs leave pools --- */

static int check_left(const struct cpupool *p, const struct cpumask *cpus)
{
	for (const struct vcpu *v = control_vcpus; v; v = v->sched.next_all)
		if (v->domain->sched.pool == p && !cpumask_meet(&v->sched.hard, cpus))
			return -EADDRINUSE;
	return 0;
}

/* Those who belong to q, which serves fewer CPUs now (or none), go elsewhere. */
static void empty_queue(struct runq *q)
{
	for (struct vcpu *v = control_vcpus; v; v = v->sched.next_all) {
		if (runq_of(v) != q || (q->policy == SCHED_SHARE && cpumask_meet(&q->cpus, &v->sched.hard)))
			continue;
		sched_rehome(v, find_queue(q, q->pool, &v->sched.hard, &v->sched.soft), NULL, NULL, false);
		if (q->policy == SCHED_NULL && v->sched.up)
			null_assign(v);
	}
}

/* One that leaves may have been asked for the sake of a vCPU which another could run: all that idle look. */
static void ask_idle(struct cpupool *p)
{
	for_each_cpu (cpu, &p->cpus)
		if (cpumask_test_shared(&p->idle, cpu))
			sched_ask(cpu);
}

int control_leave(struct cpupool *p, unsigned cpu) NO_LOCK_CHECK
{
	struct sched_cpu *c = &sched_cpus[cpu];
	struct runq *q = &runqs[c->runq];
	struct cpumask cpus = p->cpus;
	struct admit_plan *plan = NULL;
	int rc;

	cpumask_clear(&cpus, cpu);
	rc = check_left(p, &cpus);
	if (!rc && p->policy == SCHED_EDF && p->domains)
		rc = admit_plan(&(struct admit_change){ .pool = p, .cpus = cpus, .load = ADMIT_SAME }, &plan);
	if (rc)
		return rc;
	spin_lock(&q->lock);
	cpumask_clear_shared(&p->cpus, cpu);
	__atomic_fetch_sub(&p->nr_cpus, 1, __ATOMIC_RELAXED);
	cpumask_clear(&q->cpus, cpu);
	q->nr_cpus--;
	__atomic_store_n(&q->owner, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&c->runq, (uint16_t)RUNQ_NONE, __ATOMIC_RELEASE);
	cpumask_clear_shared(&p->idle, cpu);
	spin_unlock(&q->lock);
	c->last_pool = p->id;
	if (plan)
		admit_commit(plan);
	else
		empty_queue(q);
	if (!q->nr_cpus)
		free_queue(q);
	sched_ask(cpu);
	ask_idle(p);
	return 0;
}

void control_wait_left(unsigned cpu)
{
	const struct sched_cpu *c = &sched_cpus[cpu];

	guest_waits(true);
	for (unsigned n = 1; cpu != port_cpu() && __atomic_load_n(&c->runq, __ATOMIC_RELAXED) == RUNQ_NONE &&
			     __atomic_load_n(&c->current, __ATOMIC_ACQUIRE);
	     n++) {
		if (n % PORT_KICK_AGAIN == 0)
			port_kick(cpu);
		port_relax();
	}
	guest_waits(false);
}

int sched_cpu_down(unsigned cpu)
{
	struct cpupool *p = cpupool_first();
	int rc = 0;

	spin_lock(&sched_control);
	if (cpu >= port_cpu_count())
		rc = -EINVAL;
	else if (!sched_cpus[cpu].online)
		rc = -EEXIST;
	while (!rc && p && !cpumask_test(&p->cpus, cpu))
		p = p->next;
	if (!rc && p && p->nr_cpus == 1 && (p->domains || !p->id))
		rc = -EBUSY;
	if (!rc && p)
		rc = control_leave(p, cpu);
	if (!rc)
		__atomic_store_n(&sched_cpus[cpu].online, false, __ATOMIC_RELAXED);
	spin_unlock(&sched_control);
	if (!rc)
		control_wait_left(cpu);
	return rc;
}

int sched_cpu_up(unsigned cpu)
{
	struct cpupool *p;
	int rc = 0;

	spin_lock(&sched_control);
	if (cpu >= port_cpu_count())
		rc = -EINVAL;
	else if (sched_cpus[cpu].online)
		rc = -EEXIST;
	else if (sched_cpus[cpu].failed)
		rc = -EIO;
	if (!rc) {
		p = cpupool_find(sched_cpus[cpu].last_pool);
		p = p ? p : cpupool_first();
		__atomic_store_n(&sched_cpus[cpu].online, true, __ATOMIC_RELAXED);
		control_join(p, cpu);
	}
	spin_unlock(&sched_control);
	return rc;
}

int sched_cpu_fail(unsigned cpu)
{
	int rc = sched_cpu_down(cpu);

	if (!rc) {
		spin_lock(&sched_control);
		sched_cpus[cpu].failed = true;
		spin_unlock(&sched_control);
	}
	return rc;
}

struct cpumask sched_online(void)
{
	struct cpumask m = CPUMASK_NONE;

	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		if (__atomic_load_n(&sched_cpus[cpu].online, __ATOMIC_RELAXED))
			cpumask_set(&m, cpu);
	return m;
}

/* --- domains and vCPUs --- */

int sched_domain_init(struct domain *d, uint32_t pool)
{
	struct cpupool *p;

	spin_lock_init(&d->sched.lock, LOCK_CAP);
	timer_init(&d->sched.refill, TIMER_CAP, NULL);
	if (!timer_reserve(1))
		return -ENOMEM;
	spin_lock(&sched_control);
	p = cpupool_find(pool);
	if (p && !p->nr_cpus)
		p = NULL;
	if (p) {
		p->domains++;
		d->sched.pool = p;
	}
	spin_unlock(&sched_control);
	if (p)
		return 0;
	timer_unreserve(1);
	return -ENOENT;
}

void sched_domain_destroy(struct domain *d)
{
	if (!d->sched.pool)
		return;
	timer_kill(&d->sched.refill);
	timer_unreserve(1);
	spin_lock(&sched_control);
	d->sched.pool->domains--;
	spin_unlock(&sched_control);
}

static void list_add(struct vcpu *v)
{
	v->sched.next_all = control_vcpus;
	v->sched.at_all = &control_vcpus;
	if (control_vcpus)
		control_vcpus->sched.at_all = &v->sched.next_all;
	control_vcpus = v;
}

static void list_remove(struct vcpu *v)
{
	*v->sched.at_all = v->sched.next_all;
	if (v->sched.next_all)
		v->sched.next_all->sched.at_all = v->sched.at_all;
	v->sched.at_all = NULL;
}

/* Where a vCPU goes that is not in p yet, but in the list of all. */
static int first_queue(struct vcpu *v, struct cpupool *p, struct runq **out)
{
	struct admit_change c = { .pool = p, .cpus = p->cpus, .v = v, .load = ADMIT_SAME, .anew = true };
	struct admit_plan *plan;
	unsigned cpu;
	int rc;

	if (p->policy != SCHED_EDF) {
		*out = find_queue(NULL, p, &v->sched.hard, &v->sched.soft);
		return *out ? 0 : -ENOSPC;
	}
	rc = admit_plan(&c, &plan);
	if (rc)
		return rc;
	cpu = admit_cpu(plan, v);
	admit_commit(plan);
	*out = &runqs[sched_cpus[cpu].runq];
	return 0;
}

int sched_vcpu_init(struct vcpu *v)
{
	struct sched_vcpu *s = &v->sched;
	struct runq *q = NULL;
	int rc;

	memset(s, 0, sizeof(*s));
	s->state = RUNSTATE_offline;
	s->state_entered = port_now();
	s->hard = s->soft = CPUMASK_ALL;
	s->period = SCHED_EDF_PERIOD_US * NS_PER_US;
	s->budget = SCHED_EDF_BUDGET_US * NS_PER_US;
	s->extra = true;
	spin_lock(&sched_control);
	list_add(v);
	rc = first_queue(v, v->domain->sched.pool, &q);
	if (rc) {
		list_remove(v);
	} else {
		s->runq = (uint16_t)(q - runqs);
		__atomic_fetch_add(&q->members, 1, __ATOMIC_RELAXED);
		s->cpu = (uint16_t)cpumask_first(&q->cpus);
		spin_lock(&q->lock);
		if (q->policy == SCHED_SHARE)
			share_enter(q, v);
		else if (q->policy == SCHED_EDF)
			edf_enter(q, v);
		spin_unlock(&q->lock);
	}
	spin_unlock(&sched_control);
	if (rc)
		log_warn("d%uv%u: pool %u cannot promise it %u us every %u us", v->domain->id, v->id,
			 v->domain->sched.pool->id, SCHED_EDF_BUDGET_US, SCHED_EDF_PERIOD_US);
	return rc;
}

void sched_vcpu_destroy(struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q;

	if (!v->sched.at_all)
		return;
	spin_lock(&sched_control);
	v->sched.up = false;
	if (runq_of(v)->policy == SCHED_NULL)
		null_release(v);
	q = sched_lock_vcpu(v);
	ASSERT(!v->sched.on_cpu);
	if (v->sched.queued)
		sched_dequeue(q, v);
	if (q->policy == SCHED_EDF)
		edf_leave(q, v);
	__atomic_fetch_sub(&q->members, 1, __ATOMIC_RELAXED);
	spin_unlock(&q->lock);
	list_remove(v);
	spin_unlock(&sched_control);
}

/* Checked: its vCPUs go to pool p, with any affinity. */
static void carry_over(struct domain *d, struct cpupool *p, const struct admit_plan *plan)
{
	const struct cpumask all = CPUMASK_ALL;
	struct vcpu *v;

	for_each_vcpu (d, v) {
		struct runq *q;

		if (runq_of(v)->policy == SCHED_NULL)
			null_release(v);
		q = plan ? &runqs[sched_cpus[admit_cpu(plan, v)].runq] : find_queue(NULL, p, &all, &all);
		sched_rehome(v, q, &all, &all, true);
	}
	d->sched.pool->domains--;
	d->sched.pool = p;
	p->domains++;
	for_each_vcpu (d, v)
		if (p->policy == SCHED_NULL && v->sched.up)
			null_assign(v);
}

int control_move_domain(struct domain *d, struct cpupool *p)
{
	const struct cpumask all = CPUMASK_ALL;
	struct admit_change c = { .pool = p, .cpus = p->cpus, .d = d, .hard = &all, .load = ADMIT_SAME, .anew = true };
	struct admit_plan *plan = NULL;
	int rc = 0;

	if (d->sched.pool == p)
		return 0;
	if (!p->nr_cpus)
		return -EBUSY;
	if (p->policy == SCHED_EDF)
		rc = admit_plan(&c, &plan);
	if (rc)
		return rc;
	carry_over(d, p, plan);
	if (plan)
		admit_commit(plan);
	return 0;
}

/* --- parameters --- */

static void apply_cap(struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);

	if (v->sched.on_cpu) {
		v->sched.quota = MIN(v->sched.quota, v->sched.taken); /* has it ask again, at once if it had no cap */
		sched_ask(v->sched.cpu);
	} else if (v->sched.parked && q->policy == SCHED_SHARE) {
		sched_unpark(q, v, port_now());
	}
	spin_unlock(&q->lock);
}

int sched_set_weight(struct domain *d, uint16_t weight, uint16_t cap)
{
	struct vcpu *v;

	if (!weight)
		return -EINVAL;
	spin_lock(&sched_control);
	spin_lock(&d->sched.lock);
	__atomic_store_n(&d->sched_weight, weight, __ATOMIC_RELAXED);
	__atomic_store_n(&d->sched_cap, cap, __ATOMIC_RELAXED);
	spin_unlock(&d->sched.lock);
	for_each_vcpu (d, v)
		apply_cap(v);
	spin_unlock(&sched_control);
	return 0;
}

static void set_promise(struct vcpu *v, struct runq *q, uint64_t period, uint64_t budget, bool extra) NO_LOCK_CHECK
{
	struct runq *from = sched_lock_vcpu(v);

	v->sched.period = period;
	v->sched.budget = budget;
	v->sched.extra = extra;
	spin_unlock(&from->lock);
	sched_rehome(v, q, NULL, NULL, true); /* a new period begins with what is promised now */
}

/* v: of that one; NULL: of all of d. */
static int change_promises(struct domain *d, struct vcpu *only, uint32_t period_us, uint32_t budget_us, bool extra)
{
	uint64_t period = period_us * NS_PER_US, budget = budget_us * NS_PER_US;
	struct admit_plan *plan = NULL;
	struct vcpu *v;
	int rc = -EINVAL;

	if (budget_us < SCHED_EDF_BUDGET_MIN_US || budget_us > period_us || period_us > SCHED_EDF_PERIOD_MAX_US)
		return -EINVAL;
	spin_lock(&sched_control);
	if (d->sched.pool->policy == SCHED_EDF) {
		struct admit_change c = { .pool = d->sched.pool,
					  .cpus = d->sched.pool->cpus,
					  .d = d,
					  .v = only,
					  .load = admit_load(period, budget) };

		rc = admit_plan(&c, &plan);
	}
	if (!rc) {
		for_each_vcpu (d, v)
			if (!only || v == only)
				set_promise(v, &runqs[sched_cpus[admit_cpu(plan, v)].runq], period, budget, extra);
		admit_commit(plan);
	}
	spin_unlock(&sched_control);
	return rc;
}

int sched_set_promise(struct vcpu *v, uint32_t period_us, uint32_t budget_us, bool extra)
{
	return change_promises(v->domain, v, period_us, budget_us, extra);
}

int sched_set_promise_all(struct domain *d, uint32_t period_us, uint32_t budget_us, bool extra)
{
	return change_promises(d, NULL, period_us, budget_us, extra);
}

void sched_get_promise(struct vcpu *v, uint32_t *period_us, uint32_t *budget_us, bool *extra)
{
	spin_lock(&sched_control);
	*period_us = (uint32_t)(v->sched.period / NS_PER_US);
	*budget_us = (uint32_t)(v->sched.budget / NS_PER_US);
	*extra = v->sched.extra;
	spin_unlock(&sched_control);
}

/* --- affinity --- */

static int plan_affinity(struct vcpu *v, const struct cpumask *hard, const struct cpumask *soft, struct runq **to,
			 struct admit_plan **plan)
{
	struct cpupool *p = v->domain->sched.pool;
	struct admit_change c = { .pool = p, .cpus = p->cpus, .v = v, .hard = hard, .load = ADMIT_SAME };
	int rc;

	if (!cpumask_meet(hard, &p->cpus))
		return -EINVAL;
	*plan = NULL;
	if (p->policy != SCHED_EDF) {
		*to = find_queue(runq_of(v), p, hard, soft);
		return 0;
	}
	rc = admit_plan(&c, plan);
	if (!rc)
		*to = &runqs[sched_cpus[admit_cpu(*plan, v)].runq];
	return rc;
}

int sched_set_affinity(struct vcpu *v, const struct cpumask *hard, const struct cpumask *soft)
{
	struct admit_plan *plan;
	struct runq *to;
	int rc;

	spin_lock(&sched_control);
	rc = plan_affinity(v, hard ? hard : &v->sched.hard, soft ? soft : &v->sched.soft, &to, &plan);
	if (!rc) {
		bool moves = hard && to->policy == SCHED_NULL && !cpumask_meet(hard, &runq_of(v)->cpus);

		if (moves)
			null_release(v);
		sched_rehome(v, to, hard, soft, hard && to->policy == SCHED_SHARE);
		if (to->policy == SCHED_NULL && v->sched.up)
			null_assign(v);
		if (plan)
			admit_commit(plan);
	}
	spin_unlock(&sched_control);
	return rc;
}
