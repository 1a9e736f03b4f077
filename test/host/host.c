/*
 * test/host/host.c: port/machine.h and port/cpu.h as a Linux program. Owns the arena that stands for RAM and how often
 * each of its frames is mapped. Misuse of the interface (mapping twice, unmapping what is not mapped) aborts, as it
 * stops the real machine.
 */
#include "host/host.h"

#include "port/cpu.h"
#include "port/machine.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK 512u

struct host_frame {
	uint8_t direct, large; /* mapped alone, as part of a 2 MiB mapping */
	uint16_t others;       /* windows and second mappings */
};

extern const char __executable_start[], end[]; /* the linker's */

/* What is mapped where, for tests whose CPUs are threads. */
static pthread_mutex_t maps = PTHREAD_MUTEX_INITIALIZER;

static uint8_t *arena;
static uint64_t arena_frames;
static struct host_frame *frame;
static uint64_t window[NR_CPUS][PORT_WINDOWS]; /* mfn + 1 */
static uint64_t vmapped[256];		       /* mfn + 1 */

uint64_t host_ns, host_timer_deadline = ~0ull;
_Thread_local unsigned host_cpu;
unsigned host_cpus = 1, host_kicks[NR_CPUS];
uint32_t host_socket[NR_CPUS];
unsigned host_nodes = 1, host_cpu_node[NR_CPUS];
uint64_t host_node_end[PORT_MAX_NODES], host_split;
bool host_tsc_unreliable;
char host_console[65536];
size_t host_console_len;

static void misuse(const char *what, uint64_t n)
{
	fprintf(stderr, "fake machine: %s (frame %#llx)\n", what, (unsigned long long)n);
	abort();
}

void host_machine(uint64_t frames)
{
	size_t size = frames * PAGE_SIZE, slack = CHUNK * PAGE_SIZE;

	if (arena && frames == arena_frames) {
		madvise(arena, size, MADV_DONTNEED); /* the same addresses, zeroed */
		free(frame);
	} else {
		if (arena) {
			ASAN_UNPOISON_MEMORY_REGION(arena, arena_frames * PAGE_SIZE);
			munmap(arena, arena_frames * PAGE_SIZE);
			free(frame);
		}
		arena = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (arena == MAP_FAILED)
			abort();
		arena = (uint8_t *)ALIGN_UP((uintptr_t)arena, slack);
	}
	arena_frames = frames;
	frame = calloc(frames, sizeof(*frame));
	ASAN_POISON_MEMORY_REGION(arena, size);
	memset(window, 0, sizeof(window));
	memset(vmapped, 0, sizeof(vmapped));
	memset(host_kicks, 0, NR_CPUS * sizeof(unsigned));
	host_ns = 0;
	host_timer_deadline = ~0ull;
	host_cpu = 0;
#ifdef LOCK_CHECK
	lockcheck_forget();
#endif
	host_cpus = 1;
	memset(host_socket, 0, sizeof(host_socket));
	memset(host_cpu_node, 0, sizeof(host_cpu_node));
	host_nodes = 1;
	host_tsc_unreliable = false;
	host_console_len = 0;
	host_domain_reset();
}

static struct host_frame *at(mfn_t m)
{
	if (m.n >= arena_frames)
		misuse("no such frame", m.n);
	return &frame[m.n];
}

static uint8_t *bytes(mfn_t m)
{
	return arena + m.n * PAGE_SIZE;
}

static void update(mfn_t m)
{
	struct host_frame *f = at(m);

	if (f->direct || f->large || f->others)
		ASAN_UNPOISON_MEMORY_REGION(bytes(m), PAGE_SIZE);
	else
		ASAN_POISON_MEMORY_REGION(bytes(m), PAGE_SIZE);
}

__attribute__((no_sanitize_address)) static void raw_copy(volatile uint8_t *dst, const volatile uint8_t *src, size_t n)
{
	while (n--)
		*dst++ = *src++;
}

void host_poke(mfn_t m, size_t offset, const void *src, size_t n)
{
	at(m);
	raw_copy(bytes(m) + offset, src, n);
}

void host_peek(mfn_t m, size_t offset, void *dst, size_t n)
{
	at(m);
	raw_copy(dst, bytes(m) + offset, n);
}

unsigned host_mappings(mfn_t m)
{
	return at(m)->direct + at(m)->large + at(m)->others;
}

unsigned host_windows(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PORT_WINDOWS; i++)
		n += window[host_cpu][i] != 0;
	return n;
}

/* --- port/machine.h: CPUs and time --- */

unsigned port_cpu(void)
{
	return host_cpu;
}

unsigned port_cpu_count(void)
{
	return host_cpus;
}

uint32_t port_cpu_apicid(unsigned cpu)
{
	return cpu;
}

__attribute__((weak)) uint32_t port_cpu_socket(unsigned cpu)
{
	return host_socket[cpu];
}

__attribute__((weak)) uint32_t port_cpu_core(unsigned cpu)
{
	uint32_t core = 0;

	for (unsigned i = 0; i < cpu; i++)
		core += host_socket[i] == host_socket[cpu];
	return core;
}

__attribute__((weak)) unsigned port_threads_per_core(void)
{
	return 1;
}

__attribute__((weak)) unsigned port_cores_per_socket(void)
{
	unsigned cores = 0;

	for (unsigned i = 0; i < host_cpus; i++)
		cores += host_socket[i] == host_socket[0];
	return cores;
}

__attribute__((weak)) unsigned port_node_count(void)
{
	return host_nodes;
}

__attribute__((weak)) unsigned port_cpu_node(unsigned cpu)
{
	return host_cpu_node[cpu];
}

__attribute__((weak)) uint8_t port_node_distance(unsigned from, unsigned to)
{
	return from == to ? PORT_NODE_LOCAL : (uint8_t)(PORT_NODE_LOCAL + 10 * (from > to ? from - to : to - from));
}

__attribute__((weak)) unsigned port_node_ranges(void)
{
	return host_nodes;
}

__attribute__((weak)) unsigned port_node_range(unsigned i, uint64_t *start, uint64_t *end)
{
	*start = i ? host_node_end[i - 1] : 0;
	*end = i + 1 < host_nodes ? host_node_end[i] : ~0ull;
	return i;
}

__attribute__((weak)) void port_notify(unsigned cpu)
{
}

__attribute__((weak)) void port_kick(unsigned cpu)
{
	__atomic_fetch_add(&host_kicks[cpu], 1, __ATOMIC_RELAXED);
}

/* One thread is all CPUs, unless a test brings its own: the others that were asked to decide do so now. */
extern struct vcpu *sched_pick(void) __attribute__((weak));

__attribute__((weak)) void port_relax(void)
{
	unsigned self = host_cpu;

	for (host_cpu = 0; sched_pick && host_cpu < host_cpus; host_cpu++)
		if (host_cpu != self && sched_needed())
			sched_pick();
	host_cpu = self;
}

__attribute__((weak)) void port_poll(void)
{
}

__attribute__((weak)) void port_idle(void)
{
}

/* 1 GHz: TSC and ns are the same. */
uint64_t port_tsc(void)
{
	return __atomic_load_n(&host_ns, __ATOMIC_RELAXED);
}

__attribute__((weak)) bool port_tsc_reliable(void)
{
	return !host_tsc_unreliable;
}

uint64_t port_tsc_khz(void)
{
	return 1000000;
}

uint64_t port_now(void)
{
	return __atomic_load_n(&host_ns, __ATOMIC_RELAXED);
}

void port_tsc_scale(uint32_t *mul, int8_t *shift)
{
	*mul = 0x80000000;
	*shift = 1;
}

uint64_t port_tsc_to_ns(uint64_t tsc)
{
	return tsc;
}

uint64_t port_ns_to_tsc(uint64_t ns)
{
	return ns;
}

__attribute__((weak)) void port_timer_arm(uint64_t deadline)
{
	host_timer_deadline = deadline;
}

bool host_timer_deferred;

void port_timer_defer(void)
{
	host_timer_deferred = true;
}

uint64_t port_timer_left(void)
{
	uint64_t now = port_tsc();

	if (host_timer_deadline == ~0ull)
		return ~0ull;
	return host_timer_deadline > now ? host_timer_deadline - now : 0;
}

uint64_t port_rtc_seconds(void)
{
	return 1700000000;
}

/* --- memory --- */

void *port_direct(mfn_t m)
{
	at(m);
	return bytes(m);
}

mfn_t port_direct_mfn(const void *p)
{
	uint64_t offset = (uint64_t)((const uint8_t *)p - arena);

	/* The program's own data stands for the image, at frame numbers that no machine here has. */
	if ((const char *)p >= __executable_start && (const char *)p < end)
		return MFN((uintptr_t)p >> PAGE_SHIFT);
	if (offset >= arena_frames * PAGE_SIZE)
		misuse("not a direct address", offset >> PAGE_SHIFT);
	return MFN(offset >> PAGE_SHIFT);
}

bool port_direct_map(mfn_t m, unsigned order)
{
	if ((order && order != ORDER_2M) || (m.n & ((1u << order) - 1)))
		misuse("bad order or alignment", m.n);
	pthread_mutex_lock(&maps);
	for (uint64_t i = 0; i < 1u << order; i++) {
		struct host_frame *f = at(MFN(m.n + i));

		if (f->direct || f->large)
			misuse("mapped already", m.n + i);
		*(order ? &f->large : &f->direct) = 1;
		update(MFN(m.n + i));
	}
	pthread_mutex_unlock(&maps);
	return true;
}

void port_direct_unmap(mfn_t m, unsigned order)
{
	pthread_mutex_lock(&maps);
	for (uint64_t i = 0; i < 1u << order; i++) {
		struct host_frame *f = at(MFN(m.n + i));
		uint8_t *map = order ? &f->large : &f->direct;

		if (!*map)
			misuse("unmapped though not mapped", m.n + i);
		*map = 0;
		update(MFN(m.n + i));
	}
	pthread_mutex_unlock(&maps);
}

void *port_vmap(mfn_t m)
{
	void *p = NULL;

	pthread_mutex_lock(&maps);
	for (unsigned i = 0; !p && i < ARRAY_SIZE(vmapped); i++) {
		if (vmapped[i])
			continue;
		vmapped[i] = m.n + 1;
		at(m)->others++;
		update(m);
		p = bytes(m);
	}
	pthread_mutex_unlock(&maps);
	return p;
}

void port_vunmap(void *p)
{
	mfn_t m = port_direct_mfn(p);

	pthread_mutex_lock(&maps);
	for (unsigned i = 0; i < ARRAY_SIZE(vmapped); i++) {
		if (vmapped[i] != m.n + 1)
			continue;
		vmapped[i] = 0;
		at(m)->others--;
		update(m);
		pthread_mutex_unlock(&maps);
		return;
	}
	misuse("vunmap of what is not mapped", m.n);
}

static void window_clear(unsigned slot)
{
	uint64_t n = window[host_cpu][slot];

	if (!n)
		return;
	window[host_cpu][slot] = 0;
	at(MFN(n - 1))->others--;
	update(MFN(n - 1));
}

void *port_window_map(unsigned slot, mfn_t m)
{
	if (slot >= PORT_WINDOWS)
		misuse("no such window", slot);
	pthread_mutex_lock(&maps);
	window_clear(slot);
	at(m)->others++;
	window[host_cpu][slot] = m.n + 1;
	update(m);
	pthread_mutex_unlock(&maps);
	return bytes(m);
}

void port_window_unmap(unsigned slot)
{
	if (slot >= PORT_WINDOWS)
		misuse("no such window", slot);
	pthread_mutex_lock(&maps);
	window_clear(slot);
	pthread_mutex_unlock(&maps);
}

__attribute__((weak)) void *port_mmio_map(paddr_t pa, size_t size)
{
	return NULL;
}

/* --- the platform --- */

void port_console_write(const char *s, size_t n)
{
	for (; n--; s++)
		if (host_console_len < sizeof(host_console) - 1)
			host_console[host_console_len++] = *s;
	host_console[host_console_len] = 0;
}

bool port_console_ports(uint16_t *first, uint16_t *last)
{
	return false;
}

__attribute__((weak)) uint32_t port_io_read(uint16_t port, unsigned size)
{
	return (uint32_t)((1ull << (8 * size)) - 1);
}

__attribute__((weak)) void port_io_write(uint16_t port, unsigned size, uint32_t value)
{
}

_Noreturn void port_halt(void)
{
	if (host_panic_jump)
		longjmp(*host_panic_jump, 1);
	fprintf(stderr, "fake machine: halted\n%s\n", host_console);
	abort();
}

_Noreturn void port_reboot(void)
{
	port_halt();
}

void port_backtrace(void)
{
}

/* --- device interrupts and PCI: none, unless a test brings its own --- */

__attribute__((weak)) unsigned port_gsi_count(void)
{
	return 24;
}

__attribute__((weak)) int port_gsi_bind(unsigned gsi, bool level, bool active_low, unsigned cpu)
{
	return (int)(0x40 + gsi);
}

__attribute__((weak)) void port_gsi_mask(unsigned gsi)
{
}

__attribute__((weak)) void port_gsi_unmask(unsigned gsi)
{
}

__attribute__((weak)) void port_gsi_unbind(unsigned gsi)
{
}

__attribute__((weak)) int port_vector_alloc(void)
{
	static int next;

	return 0x80 + next++ % 64;
}

__attribute__((weak)) void port_vector_free(unsigned vector)
{
}

__attribute__((weak)) void port_msi_message(unsigned vector, unsigned cpu, uint64_t *address, uint32_t *data)
{
	*address = 0xfee00000ull | cpu << 12;
	*data = vector;
}

__attribute__((weak)) uint32_t port_pci_read(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size)
{
	return (uint32_t)((1ull << (8 * size)) - 1);
}

__attribute__((weak)) void port_pci_write(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size, uint32_t value)
{
}

/* --- port/cpu.h --- */

__attribute__((weak)) void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
}

__attribute__((weak)) bool port_rdmsr(uint32_t msr, uint64_t *value)
{
	*value = 0;
	return false;
}

__attribute__((weak)) bool port_wrmsr(uint32_t msr, uint64_t value)
{
	return false;
}

__attribute__((weak)) void port_fpu_save(void *area)
{
}

__attribute__((weak)) void port_fpu_restore(const void *area)
{
}

__attribute__((weak)) void port_fpu_init(void *area)
{
	memset(area, 0, PAGE_SIZE);
}

__attribute__((weak)) void port_set_xcr0(uint64_t xcr0)
{
}

__attribute__((weak)) uint64_t port_host_xcr0(void)
{
	return 0;
}

__attribute__((weak)) void port_dr_save(uint64_t dr[4])
{
	memset(dr, 0, 32);
}

__attribute__((weak)) void port_dr_restore(const uint64_t dr[4])
{
}

__attribute__((weak)) bool port_svm_on(uint64_t hsave_pa)
{
	return true;
}

__attribute__((weak)) void port_guard_entries(unsigned guard)
{
}

__attribute__((weak)) bool port_cpu_emulated(void)
{
	return false;
}

__attribute__((weak)) void port_svm_enter(uint64_t vmcb_pa, uint64_t *regs)
{
}

/* --- Intel VMX: this machine has none; a test that plays its CPU brings its own --- */

__attribute__((weak)) bool port_vmx_on(uint64_t region_pa)
{
	return false;
}

__attribute__((weak)) void port_vmclear(uint64_t vmcs_pa)
{
	abort();
}

__attribute__((weak)) void port_vmptrld(uint64_t vmcs_pa)
{
	abort();
}

__attribute__((weak)) uint64_t port_vmread(uint32_t field)
{
	abort();
}

__attribute__((weak)) void port_vmwrite(uint32_t field, uint64_t value)
{
	abort();
}

__attribute__((weak)) void port_vmx_host_state(void)
{
	abort();
}

__attribute__((weak)) void port_invept(uint64_t type, uint64_t eptp)
{
	abort();
}

__attribute__((weak)) void port_invvpid(uint64_t type, uint16_t vpid)
{
	abort();
}

__attribute__((weak)) bool port_vmx_enter(uint64_t *regs, bool launched)
{
	abort();
}

__attribute__((weak)) void port_nmi(void)
{
}

__attribute__((weak)) unsigned port_vmx_notify_vector(void)
{
	return 0xf2;
}

__attribute__((weak)) void port_vmx_interrupt(unsigned vector)
{
}

__attribute__((weak)) uint64_t port_cr2_get(void)
{
	return 0;
}

__attribute__((weak)) void port_cr2_set(uint64_t value)
{
}

__attribute__((weak)) uint64_t port_dr6_get(void)
{
	return 0;
}

__attribute__((weak)) void port_dr6_set(uint64_t value)
{
}
