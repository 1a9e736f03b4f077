// SPDX-License-Identifier: Apache-2.0
/*
 * Further vCPUs for guest test kernels (64-bit ones): how they start, where their events come in, and work for them.
 *
 * Owns: the stacks of vCPUs 1 and up, their vcpu_info pages, their jobs. Locks: none; vCPU 0 gives the jobs, one at a time
 * to each. Invariants: a vCPU is known by the stack it runs on; a job's word is cleared by its worker after the last thing
 * the job did.
 */
#include "guest.h"

#include <xen/hvm/hvm_vcpu.h>

char smp_stacks[SMP_MAX - 1][SMP_STACK] __attribute__((aligned(16)));

bool smp_on_second(void)
{
	return (unsigned long)__builtin_frame_address(0) - (unsigned long)smp_stacks < SMP_STACK;
}

unsigned int smp_id(void)
{
	unsigned long off = (unsigned long)__builtin_frame_address(0) - (unsigned long)smp_stacks;

	return off < sizeof(smp_stacks) ? (unsigned int)(off / SMP_STACK) + 1 : 0;
}

unsigned int smp_count(void)
{
	unsigned int n = 0;

	while (n < SMP_MAX && hc_vcpu(VCPUOP_is_up, n, 0) >= 0)
		n++;
	return n;
}

void smp_relax(void)
{
	struct sched_poll p = { .timeout = event_now() + 20000 };

	hc_sched(SCHEDOP_poll, &p);
}

uint64_t smp_now(void)
{
	return event_now_by(&smp_info(smp_id())->time);
}

uint64_t smp_ran(unsigned int vcpu)
{
	struct vcpu_runstate_info r;

	return hc_vcpu(VCPUOP_get_runstate_info, vcpu, &r) ? 0 : r.time[RUNSTATE_running];
}

void smp_spin_until(uint64_t ns)
{
	while (smp_now() < ns) {
		for (volatile unsigned int i = 0; i < 100; i++)
			;
		__asm__ volatile("pause");
	}
}

void smp_sleep_until(uint64_t ns)
{
	struct sched_poll p = { .timeout = ns };

	while (smp_now() < ns)
		hc_sched(SCHEDOP_poll, &p);
}

/* ---- events ---- */

volatile unsigned int smp_upcalls[SMP_MAX];
static smp_event *on_event;
static struct vcpu_info *infos[SMP_MAX];
static unsigned long owned[SMP_MAX][SMP_PORTS / 64]; /* the pending words hold everybody's ports: which are whose */

void smp_own(unsigned int vcpu, evtchn_port_t port)
{
	for (unsigned int v = 0; v < SMP_MAX; v++)
		owned[v][port / 64] &= ~(1UL << port % 64);
	owned[vcpu][port / 64] |= 1UL << port % 64;
}

struct vcpu_info *smp_info(unsigned int vcpu)
{
	return infos[vcpu] ? infos[vcpu] : &event_shared->vcpu_info[vcpu];
}

/* Public header xen.h, struct vcpu_info: upcall_pending goes first, then the selector, then the ports. */
static void upcall(struct trap_regs *regs)
{
	unsigned int me = smp_id();
	struct vcpu_info *v = smp_info(me);
	unsigned long sel, ports;

	(void)regs;
	__atomic_store_n(&v->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	smp_upcalls[me]++;
	for (sel = __atomic_exchange_n(&v->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST); sel; sel &= sel - 1) {
		unsigned int w = (unsigned int)__builtin_ctzl(sel);

		if (w >= SMP_PORTS / 64)
			break;
		ports = __atomic_load_n(&event_shared->evtchn_pending[w], __ATOMIC_SEQ_CST) & owned[me][w] &
			~__atomic_load_n(&event_shared->evtchn_mask[w], __ATOMIC_SEQ_CST);
		for (; ports; ports &= ports - 1) {
			evtchn_port_t port = w * 64 + (unsigned int)__builtin_ctzl(ports);

			if (event_take(port) && on_event)
				on_event(me, port);
		}
	}
	apic_eoi();
}

void smp_on_event(smp_event *fn)
{
	on_event = fn;
	trap_set(EVENT_VECTOR, upcall);
}

/* Public headers vcpu.h VCPUOP_register_vcpu_info (the first 32 have theirs in shared_info), hvm_op.h. */
long smp_events(unsigned int vcpu)
{
	xen_hvm_evtchn_upcall_vector_t v = { .vcpu = vcpu, .vector = EVENT_VECTOR };
	struct vcpu_register_vcpu_info r = { .offset = 0 };
	long rc = 0;

	if (vcpu >= XEN_LEGACY_MAX_VCPUS && !infos[vcpu]) {
		struct vcpu_info *page = guest_pages(1);

		memset(page, 0, PAGE_SIZE);
		r.mfn = (unsigned long)page / PAGE_SIZE;
		rc = hc_vcpu(VCPUOP_register_vcpu_info, vcpu, &r);
		if (rc == 0)
			infos[vcpu] = page;
	}
	return rc ? rc : hc_hvm(HVMOP_set_evtchn_upcall_vector, &v);
}

#ifdef __x86_64__
extern char smp_entry[], pml4_table[], smp_trampoline[], smp_trampoline_end[];
static void (*mains[SMP_MAX])(void);

/* Both ways lead here, on the vCPU's own stack. */
void smp_begin(void)
{
	trap_load();
	mains[smp_id()]();
}

/* Public headers vcpu.h VCPUOP_initialise and hvm/hvm_vcpu.h. */
long smp_start(unsigned int vcpu, void (*fn)(void))
{
	static struct vcpu_hvm_context c;
	long rc;

	mains[vcpu] = fn;
	c.mode = VCPU_HVM_MODE_64B;
	c.cpu_regs.x86_64 = (struct vcpu_hvm_x86_64){
		.rip = (unsigned long)smp_entry,
		.rsp = (unsigned long)smp_stacks[vcpu],
		.rdi = (unsigned long)smp_begin,
		.rflags = 2,
		.cr0 = 0x80010033,
		.cr3 = (unsigned long)pml4_table,
		.cr4 = 0x220,
		.efer = 0x500,
	};
	rc = hc_vcpu(VCPUOP_initialise, vcpu, &c);
	if (rc == 0)
		rc = hc_vcpu(VCPUOP_up, vcpu, 0);
	return rc;
}

void smp_prepare_sipi(unsigned int vcpu, void (*fn)(void))
{
	mains[vcpu] = fn;
	memcpy((void *)(SMP_SIPI_PAGE * PAGE_SIZE), smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
}

/* ---- jobs ---- */

static smp_job *volatile jobs[SMP_MAX];
volatile unsigned int smp_started[SMP_MAX];
static volatile bool want_x2;

static void nothing(struct trap_regs *regs)
{
	(void)regs;
	apic_eoi();
}

void smp_jobs_init(bool x2)
{
	want_x2 = x2;
	trap_set(SMP_VECTOR, nothing);
}

void smp_worker(void)
{
	unsigned int me = smp_id();

	if (want_x2)
		apic_x2_enter();
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1ff);
	jobs[me] = NULL; /* one that INIT cut off is not begun again */
	smp_started[me]++;
	for (;;) {
		smp_job *job = jobs[me];

		if (job) {
			job(me);
			jobs[me] = NULL;
		} else {
			cpu_halt();
		}
	}
}

void smp_give(unsigned int vcpu, smp_job *job)
{
	__atomic_store_n(&jobs[vcpu], job, __ATOMIC_SEQ_CST);
	apic_ipi(vcpu, SMP_VECTOR);
}

bool smp_busy(unsigned int vcpu)
{
	return jobs[vcpu] != NULL;
}

bool smp_wait(unsigned int vcpu)
{
	return SMP_UNTIL(!jobs[vcpu]);
}

/* Not apic_x2_enter(): vCPU 0 still reaches its registers the old way. */
void smp_to_x2(unsigned int me)
{
	if (me)
		cpu_wrmsr(APIC_BASE_MSR, cpu_rdmsr(APIC_BASE_MSR) | 1UL << 10);
}

bool smp_run(unsigned int vcpu, smp_job *job)
{
	smp_give(vcpu, job);
	return smp_wait(vcpu);
}
#endif
