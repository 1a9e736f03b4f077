/*
 * core/trace.c: see trace.h. Owns the rings, the struct t_info that tells where they are, and the domain that stands
 * for DOMID_XEN as their owner. Source: xen/trace.h.
 *
 * Locks: control_lock for what the sysctl changes. A ring is written by its CPU only and read by the tool. The tool's
 * position is looked at once for each record and ours is kept here: what the tool writes into a ring can stop the
 * tracing, nothing else. Rings are made once and never freed.
 *
 * Invariants: positions run from 0 to twice the data's size. A record does not wrap: what is left before the end is
 * filled by a TRC_TRACE_WRAP_BUFFER record. Records that found no room are counted, and the next one that does comes
 * after a TRC_LOST_RECORDS record that says how many.
 */
#include "core/trace.h"

#include "core/domain.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "lib/lib.h"
#include "port/machine.h"

#define MAX_WORDS  7u
#define LOST_WORDS 4u
#define BOGUS	   UINT32_MAX

struct ring {
	struct t_buf *buf; /* pages that the tool maps; NULL: this CPU has none */
	uint32_t prod;	   /* buf->prod is its copy for the reader */
	uint32_t session;  /* that lost belongs to */
	uint32_t lost;
	uint64_t lost_since; /* TSC */
	bool over_half;	     /* so it was at the last record */
	bool tell;	     /* the tool is to hear of it */
} __attribute__((aligned(64)));

static spinlock_t control_lock = SPINLOCK_INIT(LOCK_TRACE);
static struct ring rings[NR_CPUS];
static uint32_t ring_pages; /* of one ring; 0 = there are none */
static uint32_t data_size;  /* bytes of records in one ring */
static struct t_info *info; /* pages that the tool maps read-only */
static uint32_t info_bytes;
static struct domain owner;

uint32_t trace_events;
static uint32_t event_mask;
static uint64_t cpu_mask[NR_CPUS / 64];
static bool enabled;
static uint32_t session; /* counts the times that tracing was turned on */

void trace_init(void)
{
	memset(rings, 0, sizeof(rings));
	ring_pages = data_size = info_bytes = 0;
	info = NULL;
	memset(&owner, 0, sizeof(owner));
	owner.id = DOMID_XEN;
	owner.refs = 1;
	trace_events = 0;
	enabled = false;
	event_mask = TRC_ALL;
	memset(cpu_mask, 0xff, sizeof(cpu_mask));
}

/* --- one ring --- */

static uint32_t to_wrap(const struct ring *r)
{
	return r->prod < data_size ? data_size - r->prod : 2 * data_size - r->prod;
}

/* Bytes that the tool has not consumed, BOGUS when its position cannot be. */
static uint32_t unread(const struct ring *r)
{
	uint32_t cons = __atomic_load_n(&r->buf->cons, __ATOMIC_ACQUIRE), n;

	if (cons >= 2 * data_size || cons % sizeof(uint32_t))
		return BOGUS;
	n = r->prod >= cons ? r->prod - cons : r->prod + 2 * data_size - cons;
	return n <= data_size ? n : BOGUS;
}

static uint32_t bytes_of(unsigned words, bool cycles)
{
	return (uint32_t)(sizeof(uint32_t) * (1 + words + (cycles ? 2 : 0)));
}

/* Writes one record where there is room and no wrap before its end; words NULL: zeroes. */
static void put(struct ring *r, uint32_t event, bool cycles, const uint32_t *words, unsigned n)
{
	uint32_t *to = (uint32_t *)(r->buf + 1) + (r->prod % data_size) / sizeof(uint32_t);
	uint32_t next = r->prod + bytes_of(n, cycles);

	*to++ = event | n << TRACE_EXTRA_SHIFT | (cycles ? (uint32_t)TRC_HD_CYCLE_FLAG : 0);
	if (cycles) {
		uint64_t tsc = port_tsc();

		*to++ = (uint32_t)tsc;
		*to++ = (uint32_t)(tsc >> 32);
	}
	for (unsigned i = 0; i < n; i++)
		*to++ = words ? words[i] : 0;
	r->prod = next == 2 * data_size ? 0 : next;
	__atomic_store_n(&r->buf->prod, r->prod, __ATOMIC_RELEASE);
}

/* A record with its time, after filling up the end of the ring when it does not fit there. */
static void put_whole(struct ring *r, uint32_t event, const uint32_t *words, unsigned n)
{
	uint32_t left = to_wrap(r), fill = left / sizeof(uint32_t) - 1;

	if (left < bytes_of(n, true))
		put(r, TRC_TRACE_WRAP_BUFFER, fill > MAX_WORDS, NULL, fill > MAX_WORDS ? fill - 2 : fill);
	put(r, event, true, words, n);
}

/* struct { u32 records; u16 domid, vcpu; u64 first_tsc } */
static void put_lost(struct ring *r)
{
	const struct vcpu *v = sched_current();
	uint32_t who = v ? TRACE_VCPU(v) : DOMID_IDLE << 16 | port_cpu();
	uint32_t words[LOST_WORDS] = { r->lost, who >> 16 | who << 16, (uint32_t)r->lost_since,
				       (uint32_t)(r->lost_since >> 32) };

	put_whole(r, TRC_LOST_RECORDS, words, LOST_WORDS);
	r->lost = 0;
}

static bool wanted(uint32_t event, unsigned cpu)
{
	uint32_t both = trace_events & event;

	return both & TRACE_CLASSES && both & 0xfu << TRC_SUBCLS_SHIFT && cpu_mask[cpu / 64] & BIT(cpu % 64);
}

void trace_words(uint32_t event, const uint32_t *words, unsigned n)
{
	unsigned cpu = port_cpu();
	struct ring *r = &rings[cpu];
	uint32_t used, need = bytes_of(n, true), end;

	if (!r->buf || !wanted(event, cpu))
		return;
	if (r->session != session) {
		r->session = session;
		r->lost = 0;
	}
	used = unread(r);
	if (used == BOGUS) {
		trace_events = 0;
		log_warn("trace ring of CPU %u: position %u cannot be; tracing stops", cpu, r->buf->cons);
		return;
	}
	if (r->lost)
		need += bytes_of(LOST_WORDS, true);
	end = to_wrap(r);
	if (used + need + (end < need ? end : 0) > data_size) {
		if (!r->lost++)
			r->lost_since = port_tsc();
		return;
	}
	if (r->lost)
		put_lost(r);
	put_whole(r, event, words, n);
	if (used < data_size / 2) {
		r->over_half = false;
	} else if (!r->over_half) {
		r->over_half = true;
		r->tell = true;
	}
}

void trace_record(uint32_t event, unsigned n, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	const uint32_t words[] = { a, b, c, d };

	trace_words(event, words, n);
}

void trace_notify(void)
{
	struct ring *r = &rings[port_cpu()];

	if (likely(!r->tell))
		return;
	r->tell = false;
	evtchn_global_virq(VIRQ_TBUF);
}

/* --- the scheduler's records --- */

static uint32_t short_ns(uint64_t ns)
{
	return (uint32_t)MIN(ns, (uint64_t)UINT32_MAX);
}

void trace_vcpu(uint32_t event, const struct vcpu *v)
{
	TRACE(event, v->domain->id, v->id);
}

void trace_runstate(const struct vcpu *v, unsigned to)
{
	if (v->sched.state != to)
		TRACE(TRACE_RUNSTATE(v->sched.state, to), TRACE_VCPU(v));
}

/* The idle vCPU of this CPU has no object: it is runnable while another one runs. */
static void idle_runstate(unsigned from, unsigned to)
{
	TRACE(TRACE_RUNSTATE(from, to), (uint32_t)DOMID_IDLE << 16 | port_cpu());
}

void trace_switch(const struct vcpu *prev, const struct vcpu *next, uint64_t ran, uint64_t waited)
{
	uint32_t from[2] = { DOMID_IDLE, port_cpu() }, to[2] = { DOMID_IDLE, port_cpu() };

	if (prev) {
		from[0] = prev->domain->id;
		from[1] = prev->id;
	}
	if (next) {
		to[0] = next->domain->id;
		to[1] = next->id;
	}
	TRACE(TRC_SCHED_SWITCH_INFPREV, from[0], from[1], short_ns(ran));
	TRACE(TRC_SCHED_SWITCH_INFNEXT, to[0], to[1], short_ns(waited), (uint32_t)SCHED_SLICE_NS);
	if (!prev)
		idle_runstate(RUNSTATE_running, RUNSTATE_runnable);
	TRACE(TRC_SCHED_SWITCH, from[0], from[1], to[0], to[1]);
	if (!next)
		idle_runstate(RUNSTATE_runnable, RUNSTATE_running);
}

/* --- control --- */

static unsigned order_of(uint32_t pages)
{
	return pages > 1 ? lib_fls64(pages - 1) + 1 : 0;
}

static void free_pages(void *block, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++)
		heap_free_pages((char *)block + i * PAGE_SIZE, 0);
}

/* That many in a row, zeroed; NULL. */
static void *alloc_pages(uint32_t pages)
{
	unsigned order = order_of(pages);
	void *block = heap_alloc_pages(order);

	if (block)
		free_pages(block, pages, 1u << order);
	return block;
}

static void drop_rings(unsigned cpus, uint32_t pages)
{
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		free_pages(rings[cpu].buf, 0, pages);
		rings[cpu].buf = NULL;
	}
}

/* The tool may map them. */
static void share(void *block, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		frame_share(&owner, (char *)block + i * PAGE_SIZE);
}

/* struct t_info: the size, then for each CPU where its list of frames starts (in words of 32 bits), then the lists. */
static void fill_info(uint32_t pages, uint32_t first_word)
{
	uint32_t *words = (uint32_t *)info;

	info->tbuf_size = (uint16_t)pages;
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++) {
		uint32_t at = first_word + cpu * pages;

		info->mfn_offset[cpu] = (uint16_t)at;
		for (uint32_t i = 0; i < pages; i++)
			words[at + i] = (uint32_t)(port_direct_mfn(rings[cpu].buf).n + i);
	}
}

static int make_rings(uint32_t pages) REQUIRES(control_lock)
{
	unsigned cpus = port_cpu_count();
	uint32_t header = (uint32_t)(sizeof(struct t_info) + cpus * sizeof(info->mfn_offset[0]));
	uint32_t first_word = DIV_UP(header, (uint32_t)sizeof(uint32_t));
	uint32_t info_pages = (uint32_t)DIV_UP((first_word + cpus * pages) * sizeof(uint32_t), PAGE_SIZE);

	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		rings[cpu].buf = alloc_pages(pages);
		if (!rings[cpu].buf) {
			drop_rings(cpu, pages);
			return -ENOMEM;
		}
	}
	info = alloc_pages(info_pages);
	if (!info) {
		drop_rings(cpus, pages);
		return -ENOMEM;
	}
	for (unsigned cpu = 0; cpu < cpus; cpu++)
		share(rings[cpu].buf, pages);
	share(info, info_pages);
	fill_info(pages, first_word);
	info_bytes = info_pages * (uint32_t)PAGE_SIZE;
	data_size = pages * (uint32_t)PAGE_SIZE - (uint32_t)sizeof(struct t_buf);
	ring_pages = pages;
	return 0;
}

int trace_make_rings(uint32_t pages)
{
	int ret;

	spin_lock(&control_lock);
	if (!pages || (ring_pages && pages != ring_pages))
		ret = -EINVAL;
	else if (ring_pages)
		ret = -EBUSY;
	else
		ret = make_rings(MIN(pages, TRACE_MAX_PAGES));
	spin_unlock(&control_lock);
	return ret;
}

/* All that trace points look at; the rings are there before. */
static void update(void) REQUIRES(control_lock)
{
	__atomic_store_n(&trace_events, enabled ? event_mask & TRC_ALL : 0, __ATOMIC_RELEASE);
}

/* Before tracing begins: what an earlier reader left behind must not stop it again. */
static void start_session(void) REQUIRES(control_lock)
{
	session++;
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		if (unread(&rings[cpu]) == BOGUS)
			__atomic_store_n(&rings[cpu].buf->cons, rings[cpu].prod, __ATOMIC_RELAXED);
}

int trace_enable(void)
{
	int ret = -EINVAL;

	spin_lock(&control_lock);
	if (ring_pages) {
		if (!trace_events)
			start_session();
		enabled = true;
		update();
		ret = 0;
	}
	spin_unlock(&control_lock);
	return ret;
}

void trace_disable(void)
{
	spin_lock(&control_lock);
	enabled = false;
	update();
	spin_unlock(&control_lock);
}

void trace_set_events(uint32_t mask)
{
	spin_lock(&control_lock);
	event_mask = mask;
	update();
	spin_unlock(&control_lock);
}

uint32_t trace_get_events(void)
{
	return __atomic_load_n(&event_mask, __ATOMIC_RELAXED);
}

void trace_set_cpus(const uint64_t *mask)
{
	spin_lock(&control_lock);
	for (unsigned i = 0; i < ARRAY_SIZE(cpu_mask); i++)
		__atomic_store_n(&cpu_mask[i], mask[i], __ATOMIC_RELAXED);
	spin_unlock(&control_lock);
}

uint64_t trace_info(uint32_t *bytes)
{
	uint64_t first;

	spin_lock(&control_lock);
	*bytes = info_bytes;
	first = info ? port_direct_mfn(info).n : 0;
	spin_unlock(&control_lock);
	return first;
}

struct domain *trace_owner(void)
{
	return &owner;
}

int trace_get_frame(mfn_t m, bool *writable)
{
	uint64_t first;
	uint32_t bytes;

	first = trace_info(&bytes);
	if (!first || !frame_get(&owner, m))
		return -EINVAL;
	*writable = m.n < first || m.n >= first + bytes / PAGE_SIZE;
	return 0;
}
