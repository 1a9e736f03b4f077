/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime of the guest test kernels: one header for all of it.
 *
 * Owns: nothing; the parts are entry.S (start, exception stubs), main.c (start-up, checks, verdict), console.c
 * (output), trap.c (IDT, recovery from expected exceptions), apic.c (local APIC), event.c (shared_info, event channels,
 * time). Locks: none; a test kernel runs on one vCPU, and those that start a second one say how they share. Invariants:
 * all memory below 4 GiB is mapped one to one, so a pointer is a guest physical address.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/features.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/arch-x86/hvm/start_info.h>

#include "hypercall.h"

/* Error numbers under their Xen names, XEN_EPERM and so on. */
enum guest_errno {
#define XEN_ERRNO(name, value) XEN_##name = value,
#include <xen/errno.h>
};

#define PAGE_SIZE     4096UL
#define PAGE	      __attribute__((aligned(4096)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- main.c ---- */

extern const char guest_name[]; /* given by each kernel */
void guest_main(void);		/* given by each kernel; returning means "all checks made" */

extern const struct hvm_start_info *guest_info;
extern bool guest_dom0; /* started with SIF_INITDOMAIN */
extern bool guest_amd;	/* VMMCALL rather than VMCALL */

/* One check: counts, prints a line when it fails. */
#define CHECK(name, cond) check_true(name, cond, __LINE__)
/* The same, showing both values. */
#define CHECK_EQ(name, got, want) check_eq(name, (long)(got), (long)(want), __LINE__)
/* Either answer is right: for a difference that the charter intends. */
#define CHECK_EITHER(name, got, a, b) check_either(name, (long)(got), (long)(a), (long)(b), __LINE__)
bool check_true(const char *name, bool ok, int line);
bool check_eq(const char *name, long got, long want, int line);
bool check_either(const char *name, long got, long a, long b, int line);
/* Is this word on the kernel's command line? */
bool guest_option(const char *word);
/* The decimal number in word=N there. */
unsigned long guest_number(const char *word, unsigned long otherwise);
/* Prints the verdict and powers the domain off. */
_Noreturn void guest_end(void);
void *memset(void *dst, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
bool guest_prefix(const char *s, const char *prefix);

/* ---- console.c ---- */

/* Conversions: d u x s c p, with l, width, 0. Goes to console_io, or port 0xe9 when that is refused. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- trap.c ---- */

struct trap_regs {
#ifdef __x86_64__
	unsigned long r15, r14, r13, r12, r11, r10, r9, r8;
#endif
	unsigned long di, si, bp, bx, dx, cx, ax;
	unsigned long vector, error, ip, cs, flags;
#ifdef __x86_64__
	unsigned long sp, ss;
#endif
};

/* What the last recovered exception was; vector is TRAP_NONE when there was none. */
struct trap_seen {
	unsigned long vector, error, ip;
};
#define TRAP_NONE 0x100UL
#define TRAP_UD	  6
#define TRAP_GP	  13
#define TRAP_PF	  14
extern struct trap_seen trap_seen;
extern volatile unsigned int trap_count[256]; /* interrupts taken, by vector */

#ifdef __x86_64__
#define TRAP_PTR ".quad "
#else
#define TRAP_PTR ".long "
#endif
/* An instruction that may fault: execution goes on behind it, and trap_seen tells. Call trap_arm() before. */
#define TRAP_TRY(insn) "1: " insn "\n2:\n.pushsection .extable,\"a\"\n" TRAP_PTR "1b, 2b\n.popsection\n"

void trap_init(void);
void trap_task(unsigned int vector, uint16_t selector); /* a task gate; 32-bit kernels */
void trap_load(void); /* the IDT on a further vCPU */
static inline void trap_arm(void)
{
	trap_seen.vector = TRAP_NONE;
}
typedef void trap_handler(struct trap_regs *regs);
/* Calls fn on this vector from now on; interrupts also count in trap_count. */
void trap_set(unsigned int vector, trap_handler *fn);
/* Points the gate straight at an assembly routine. */
void trap_gate(unsigned int vector, void *entry);
void trap_gate_default(unsigned int vector); /* back to what it is at first */
/* Lets privilege 3 use this vector by INT. */
void trap_user(unsigned int vector);
extern const char trap_stubs[]; /* entry.S: 256 stubs of 16 bytes */

/* ---- instructions ---- */

static inline void cpu_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
static inline uint64_t cpu_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}
/* May fault: trap_seen tells, and the value is then what was loaded before, all ones. */
static inline uint64_t cpu_rdmsr(uint32_t msr)
{
	uint32_t lo = ~0U, hi = ~0U;

	trap_arm();
	__asm__ volatile(TRAP_TRY("rdmsr") : "+a"(lo), "+d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}
static inline void cpu_wrmsr(uint32_t msr, uint64_t v)
{
	trap_arm();
	__asm__ volatile(TRAP_TRY("wrmsr") : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline void cpu_outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline uint8_t cpu_inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline void cpu_irq_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}
static inline void cpu_irq_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}
/* Sleeps until an interrupt: enables interrupts for exactly that time. */
static inline void cpu_halt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}
/* Takes what is pending, and goes on. No PAUSE here: QEMU lets the STI shadow last over it. */
static inline void cpu_irq_window(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}
#define cpu_barrier() __asm__ volatile("" : : : "memory")

/* ---- apic.c ---- */

#define APIC_BASE_MSR	0x1b
#define APIC_ID		0x20
#define APIC_VERSION	0x30
#define APIC_TPR	0x80
#define APIC_PPR	0xa0
#define APIC_EOI	0xb0
#define APIC_LDR	0xd0
#define APIC_DFR	0xe0
#define APIC_SVR	0xf0
#define APIC_ISR	0x100
#define APIC_IRR	0x200
#define APIC_ESR	0x280
#define APIC_ICR	0x300
#define APIC_ICR_HI	0x310
#define APIC_LVT_TIMER	0x320
#define APIC_TIMER_INIT 0x380
#define APIC_TIMER_NOW	0x390
#define APIC_TIMER_DIV	0x3e0
#define APIC_SELF_IPI	0x3f0

extern bool apic_x2; /* registers are reached through MSRs */
uint32_t apic_read(unsigned int reg);
void apic_write(unsigned int reg, uint32_t v);
void apic_enable(void);	  /* software enable, TPR 0 */
bool apic_x2_enter(void); /* false: the CPU has no x2APIC */
void apic_x2_leave(void); /* through "disabled", as the manuals ask */
bool apic_has_x2(void);
void apic_eoi(void);
void apic_ipi_self(unsigned int vector);
void apic_send(uint32_t dest, uint32_t low); /* the interrupt command register, in either mode */
void apic_ipi(unsigned int vcpu, unsigned int vector);
#define APIC_ID_OF(vcpu) (2 * (vcpu))
void apic_handler(struct trap_regs *regs); /* counts and EOIs */

/* ---- event.c ---- */

extern struct shared_info *event_shared;
extern volatile unsigned int event_upcalls; /* upcalls taken */
extern volatile unsigned int event_seen[];  /* 2-level events taken, by port */
#define EVENT_PORTS  64
#define EVENT_VECTOR 0xf3

void event_map_shared(void);	    /* XENMEM_add_to_physmap, space shared_info */
struct vcpu_info *event_vcpu(void); /* of vCPU 0, in shared_info */
void event_init(void);		    /* shared_info, upcall vector, 2-level upcall handler */
long event_alloc(domid_t dom, domid_t remote, evtchn_port_t *port);
long event_bind_virq(uint32_t virq, uint32_t vcpu, evtchn_port_t *port);
long event_bind_ipi(uint32_t vcpu, evtchn_port_t *port);
long event_bind(domid_t remote, evtchn_port_t rport, evtchn_port_t *port);
long event_close(evtchn_port_t port);
long event_send(evtchn_port_t port);
long event_unmask(evtchn_port_t port);
void event_set_mask(evtchn_port_t port, bool masked);
bool event_pending(evtchn_port_t port);
void event_clear(evtchn_port_t port);
bool event_take(evtchn_port_t port);					 /* clears it; was it pending? */
uint64_t event_time_by(volatile struct vcpu_time_info *t, uint64_t tsc); /* a TSC value as system time in ns */
uint64_t event_now_by(volatile struct vcpu_time_info *t);
uint64_t event_time_of(uint64_t tsc); /* by vCPU 0's record */
uint64_t event_now(void);	      /* system time in ns by vcpu_info's time record */
/* Halts until the counter moves from `was`, or ns have gone by (a timer must be set by the caller). */
bool event_wait(volatile unsigned int *counter, unsigned int was, uint64_t ns);

/* ---- smp.c ---- */

#define SMP_MAX	      128
#define SMP_STACK     8192UL
#define SMP_VECTOR    0xf4    /* wakes a worker */
#define SMP_SIPI_PAGE 0x08    /* where a start-up IPI has it begin: smp_prepare_sipi() puts the code there */
bool smp_on_second(void);     /* is this code running on vCPU 1? */
unsigned int smp_id(void);    /* the vCPU this code runs on */
unsigned int smp_count(void); /* vCPUs that this domain may have up */
/* Starts a vCPU in fn on its own stack, with our GDT, IDT and page tables, by VCPUOP_initialise and _up. */
long smp_start(unsigned int vcpu, void (*fn)(void));
/* The same for the next INIT and SIPI to SMP_SIPI_PAGE. */
void smp_prepare_sipi(unsigned int vcpu, void (*fn)(void));

/* Each vCPU's events: 2-level ports that are its own, cleared and told to fn on that vCPU. */
#define SMP_PORTS 512
typedef void smp_event(unsigned int vcpu, evtchn_port_t port);
extern volatile unsigned int smp_upcalls[SMP_MAX];
void smp_on_event(smp_event *fn);
void smp_own(unsigned int vcpu, evtchn_port_t port); /* the port is bound to it */
long smp_events(unsigned int vcpu); /* before it starts: its upcall vector, and its vcpu_info from vCPU 32 on */
struct vcpu_info *smp_info(unsigned int vcpu);

/* A vCPU that sleeps until it gets a job, runs it, and sleeps again. Woken by a fixed IPI. */
typedef void smp_job(unsigned int vcpu);
extern volatile unsigned int smp_started[SMP_MAX]; /* how often smp_worker() began */
void smp_jobs_init(bool x2);			   /* x2: workers go to x2APIC mode */
void smp_worker(void);				   /* to start a vCPU in */
void smp_give(unsigned int vcpu, smp_job *job);
bool smp_busy(unsigned int vcpu);
bool smp_wait(unsigned int vcpu); /* until its job is done; false: it took too long */
bool smp_run(unsigned int vcpu, smp_job *job);
void smp_to_x2(unsigned int vcpu); /* job: to x2APIC mode; vCPU 0 goes last, by apic_x2_enter() */

/*
 * Sleeps for a moment. Not a yield: physical CPUs that take turns in one QEMU thread go on to the next one only when one
 * halts, executes PAUSE, or a tenth of a second is over.
 */
void smp_relax(void);
uint64_t smp_now(void);		     /* system time in ns, by the record of the vCPU that asks */
uint64_t smp_ran(unsigned int vcpu); /* its time in RUNSTATE_running so far, ns */
void smp_spin_until(uint64_t ns);    /* computes */
void smp_sleep_until(uint64_t ns);   /* is blocked */
/* Lets the others run until cond holds; the answer is cond, false after ten seconds of system time. */
#define SMP_UNTIL(cond)                                                                                                \
	({                                                                                                             \
		uint64_t until_ = event_now() + 10000000000UL;                                                         \
                                                                                                                       \
		while (!(cond) && event_now() < until_)                                                                \
			smp_relax();                                                                                   \
		(cond);                                                                                                \
	})

/* ---- peer.c: a domain that never runs (dom0 only) ---- */

#define PEER_PAGES 32U /* populated from gfn 0 */
extern domid_t peer_domid;
extern struct grant_entry_v1 *peer_grants; /* its first grant frame */
struct xen_domctl;
long peer_domctl(uint32_t cmd, struct xen_domctl *op); /* of peer_domid */
bool peer_create(void);
long peer_destroy(void);
long peer_populate(xen_pfn_t gfn, unsigned int pages);
/* Guest-physical space with nothing behind it, for foreign and grant mappings. */
void *peer_hole(unsigned int pages);

/* ---- main.c ---- */

/* Free guest memory at `pages` pages of whole 4 KiB, taken from RAM behind the image; never given back. */
void *guest_pages(unsigned int pages);

#endif
