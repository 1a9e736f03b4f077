/*
 * test/fuzz/hcall_fuzz.c: hypercalls with hostile arguments. libFuzzer's bytes are read as a sequence of calls, each with
 * a caller, a buffer for its memory and arguments; they go through hcall_dispatch() with all of hcall/, hvm/ and core/
 * behind it, on the fake machine. Besides what the sanitizers see, a panic is a failure, and after every sequence all
 * domains are killed and every frame must be free again.
 */
#include "host/host.h"

#include "core/console.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "core/time.h"
#include "core/trace.h"
#include "hcall/table.h"
#include "hcall/version.h"
#include "hvm/hvm.h"
#include "hvm/run.h"
#include "hvm/vendor.h"
#include "lib/lib.h"

#include <stdio.h>

#define FRAMES	 4096u
#define RAM	 64u	   /* frames of each domain at gfn 0: small numbers are good addresses */
#define BUFFER	 0x8000ull /* where a call's buffer goes */
#define DOMAINS	 3u
#define RESTARTS 400u

static uint64_t free_at_start;
/* References during a call, so that a call that stops the machine (and never returns) can be undone. */
static struct {
	struct domain *d;
	uint32_t refs;
} before[8];

_Noreturn void __wrap_panic(const char *fmt, ...);
_Noreturn void __wrap_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* --- an SVM machine, as far as start-up looks --- */

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	static const uint32_t leaves[][5] = {
		{ 0, 0xd, 0x68747541, 0x444d4163, 0x69746e65 },
		{ 1, 0x00830f10, 0x00010800, 0x00f83203, 0x178bfbff },
		{ 7, 0, 0x00000100, 0, 0 },
		{ 0x80000000, 0x8000000a, 0x68747541, 0x444d4163, 0x69746e65 },
		{ 0x80000001, 0x00830f10, 0, 0x000003f7, 0x2fd3fbff },
		{ 0x80000008, 0x3030, 0, 0, 0 },
		{ 0x8000000a, 1, 16, 0, 1 },
	};

	memset(out, 0, 16);
	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
		if (leaves[i][0] == leaf && (!subleaf || leaf != 7))
			memcpy(out, &leaves[i][1], 16);
}

bool port_rdmsr(uint32_t msr, uint64_t *value)
{
	*value = 0;
	return true;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	return true;
}

void port_poll(void)
{
}

/* --- the world of one sequence --- */

static struct domain *make_domain(domid_t id)
{
	struct domain_config c = { .id = id, .max_vcpus = 2, .max_evtchn_port = ~0u, .max_grant_frames = 4,
				   .max_maptrack_frames = 2, .grant_opts = 2, .rights = id ? 0 : RIGHT_ALL,
				   .options = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, .emulation = XEN_X86_EMU_LAPIC };
	struct domain *d;

	if (domain_create(&c, &d))
		abort();
	d->max_frames = 4096;
	for (uint32_t i = 0; i < c.max_vcpus; i++)
		if (domain_vcpu_create(d, i))
			abort();
	for (uint64_t gfn = 0; gfn < RAM; gfn++) {
		mfn_t m = frame_alloc(d, 0, 0);

		if (!mfn_valid(m) || p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW))
			abort();
	}
	d->vcpu[0]->initialised = true;
	sched_up(d->vcpu[0]);
	d->created_paused = false;
	sched_domain_unpause(d);
	return d;
}

static uint64_t free_memory(void)
{
	return frame_free_count() + heap_free_frames();
}

static void begin(void)
{
	static bool once;

	host_boot(FRAMES);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		timer_cpu_init(cpu);
	if (!once)
		sched_init(SCHED_SHARE);
	once = true;
	if (run_init("", ""))
		abort();
	domain_init();
	trace_init();
	heap_free_pages(heap_alloc_pages(0), 0);
	free_at_start = free_memory();
	for (domid_t id = 0; id < DOMAINS; id++)
		make_domain(id);
}

static void finish(void)
{
	domid_t id = 0;
	struct domain *d;

	host_preempt_wanted = false;
	guestmem_leave();
	while ((d = domain_next(id))) {
		sched_domain_pause(d);
		id = (domid_t)(d->id + 1);
		domain_put(d);
	}
	while (sched_pick())
		;
	for (unsigned round = 0; round < 2; round++) /* one may hold another's frames */
		for (id = 0; (d = domain_next(id)); id = (domid_t)(d->id + 1), domain_put(d)) {
			while (domain_kill(d) == -ERESTART)
				;
		}
	domain_reap();
	d = domain_next(0);
	if (d) {
		fprintf(stderr, "domain %u is still there: %u references, %llu frames\n", d->id, d->refs - 1,
			(unsigned long long)d->frames);
		abort();
	}
	if (free_memory() + trace_owner()->shared_frames != free_at_start) { /* trace rings stay */
		fprintf(stderr, "%lld frames are lost\n", (long long)(free_at_start - free_memory()));
		abort();
	}
}

/* --- reading a sequence --- */

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, size_t n)
{
	uint64_t x = 0;

	if (n > in->left)
		n = in->left;
	memcpy(&x, in->at, n);
	in->at += n;
	in->left -= n;
	return x;
}

static uint64_t take_argument(struct input *in)
{
	static const uint64_t hostile[] = { 0, ~0ull, 1ull << 63, 0x8000000000000000ull - 8, 0x3fffc, 0x3ffff, 0x40000,
					    0xfee00000, 0xffffffff, 0xfffffff8, 1ull << 52, 0x7fffffff };
	uint64_t kind = take(in, 1);

	switch (kind & 3) {
	case 0:
		return kind >> 2;
	case 1:
		return BUFFER + (kind >> 2) * 8;
	case 2:
		return hostile[(kind >> 2) % ARRAY_SIZE(hostile)];
	default:
		return take(in, kind & 4 ? 8 : 2);
	}
}

static void fill_buffer(struct input *in, struct domain *d, uint32_t nr)
{
	uint32_t version = nr == __HYPERVISOR_platform_op ? XENPF_INTERFACE_VERSION : XEN_DOMCTL_INTERFACE_VERSION;
	size_t n = take(in, 1) * 2;

	n = MIN(n, in->left);
	guestmem_write_gpa(d, BUFFER, in->at, n);
	in->at += n;
	in->left -= n;
	if (nr == __HYPERVISOR_domctl || nr == __HYPERVISOR_sysctl || nr == __HYPERVISOR_platform_op)
		guestmem_write_gpa(d, BUFFER + 4, &version, sizeof(version));
	guestmem_end();
}

static struct vcpu *caller(unsigned id)
{
	struct domain *d = domain_find((domid_t)(id % DOMAINS));

	if (!d || d->is_dying || d->is_shut_down || !d->vcpu[0])
		return NULL;
	sched_wake(d->vcpu[0]);
	for (unsigned i = 0; i < 8; i++) {
		struct vcpu *v = sched_pick();

		if (!v || v == d->vcpu[0])
			return v;
		sched_yield_cpu(v);
	}
	return NULL;
}

static void remember_references(void)
{
	struct domain *d;
	unsigned n = 0;

	for (domid_t id = 0; (d = domain_next(id)); id = (domid_t)(d->id + 1)) {
		d->refs--; /* domain_next()'s */
		if (n < ARRAY_SIZE(before)) {
			before[n].d = d;
			before[n++].refs = d->refs;
		}
	}
	while (n < ARRAY_SIZE(before))
		before[n++].d = NULL;
}

static void one_call(struct input *in)
{
	static const uint8_t numbers[] = {
		__HYPERVISOR_memory_op,	   __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op,
		__HYPERVISOR_vcpu_op,	   __HYPERVISOR_sched_op,	  __HYPERVISOR_xen_version,
		__HYPERVISOR_console_io,   __HYPERVISOR_hvm_op,		  __HYPERVISOR_physdev_op,
		__HYPERVISOR_platform_op,  __HYPERVISOR_sysctl,		  __HYPERVISOR_domctl,
		__HYPERVISOR_multicall,	   __HYPERVISOR_vm_assist,	  __HYPERVISOR_set_timer_op,
		__HYPERVISOR_memory_op,	   __HYPERVISOR_domctl,		  __HYPERVISOR_grant_table_op,
		__HYPERVISOR_hypfs_op,	   __HYPERVISOR_dm_op,		  __HYPERVISOR_arch_1,
	};
	uint8_t who = (uint8_t)take(in, 1);
	uint8_t nr = numbers[take(in, 1) % ARRAY_SIZE(numbers)];
	struct vcpu *v = caller(who & 3);
	struct hcall h = { 0 };
	struct domain *d;
	domid_t id;

	if (!v)
		return;
	h.v = v;
	h.d = v->domain;
	h.compat = who & 4;
	h.nr = nr;
	fill_buffer(in, h.d, nr);
	for (unsigned i = 0; i < 5; i++) {
		h.arg[i] = take_argument(in);
		if (h.compat)
			h.arg[i] = (uint32_t)h.arg[i];
	}
	host_preempt_wanted = who & 8;
	remember_references();
	domain_hold(h.d);
	for (unsigned i = 0; i < RESTARTS && hcall_dispatch(&h) == -ERESTART; i++)
		guestmem_end();
	guestmem_end();
	domain_put(h.d);
	host_ns += 1000;
	if (who & 16)
		guestmem_leave();
	for (id = 0; (d = domain_next(id)); id = (domid_t)(d->id + 1), domain_put(d))
		p2m_flush(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input in; /* keeps its value over the jump */
	jmp_buf halted;

	if (size < 4 || size > 8192)
		return 0;
	in = (struct input){ data, size };
	begin();
	host_panic_jump = &halted;
	if (!setjmp(halted)) /* a domain with the right may stop the machine: the sequence ends */
		while (in.left)
			one_call(&in);
	else
		for (unsigned i = 0; i < ARRAY_SIZE(before) && before[i].d; i++)
			before[i].d->refs = before[i].refs;
	host_panic_jump = NULL;
	finish();
	return 0;
}
