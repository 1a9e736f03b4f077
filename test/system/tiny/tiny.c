/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest guest that xl can start: a 32-bit PVH kernel of a few KB that talks on its PV console.
 *
 * Owns: its whole domain. Locks: none, interrupts stay off but for the instant of a halt. Other vCPUs than the first
 * run only while it does laps, and what they share is handed on with an event, from one to the next.
 * It prints "tiny: up", then obeys each character typed on its console: p powers off, r reboots, c crashes,
 * f faults (triple fault), j jumps to where there is no memory, n counts and goes on, m prepares memory for a core dump, w starts its other vCPUs, wakes
 * one after the other many times and lets them go down; anything else is named. A word on
 * the command line does the same right after the start: poweroff, reboot, crash, fault, or spin (never waits again).
 * Invariant: paging is off, so a pointer is a guest physical address.
 */
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/hvm_vcpu.h>
#include <xen/hvm/params.h>
#include <xen/io/console.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/arch-x86/hvm/start_info.h>

#define PAGE __attribute__((aligned(4096)))

/* PVH's entry note (public header elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY is 18), flat segments, a stack. */
__asm__(".pushsection .note.Xen, \"a\", @note\n"
	".long 4, 4, 18\n.asciz \"Xen\"\n.long entry\n"
	".popsection\n"
	".globl entry\nentry:\n"
	"	cld\n"
	"	movl $stack + 8192, %esp\n"
	"	pushl %ebx\n"
	"	call tiny_main\n"
	"1:	hlt\n	jmp 1b\n");

uint8_t stack[8192] PAGE;
static uint8_t hypercall_page[4096] PAGE;
static struct shared_info shared PAGE;
static char pattern[4096] PAGE;
static uint8_t grants[64][4096] PAGE;
static uint8_t other_stacks[8][4096] PAGE;
static evtchn_port_t turn[8];
static unsigned int cpus;
static int last_lap;
static struct xencons_interface *ring;
static evtchn_port_t port;

static void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

static long hypercall3(unsigned int nr, unsigned long a, unsigned long b, const volatile void *c)
{
	long ret;

	__asm__ volatile("call *%[gate]"
			 : "=a"(ret), "+b"(a), "+c"(b), "+d"(c)
			 : [gate] "r"(hypercall_page + nr * 32)
			 : "memory");
	return ret;
}

static long hypercall(unsigned int nr, unsigned long a, const volatile void *b)
{
	return hypercall3(nr, a, (unsigned long)b, NULL);
}

static uint64_t param(uint32_t index)
{
	struct xen_hvm_param p = {.domid = DOMID_SELF, .index = index};

	hypercall(__HYPERVISOR_hvm_op, HVMOP_get_param, &p);
	return p.value;
}

static void send_to(evtchn_port_t to)
{
	struct evtchn_send send = {.port = to};

	hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send);
}

static void notify(void)
{
	send_to(port);
}

/* Waits for an event; returns whether there was one. */
static int wait_for(evtchn_port_t *on)
{
	struct sched_poll poll = {.nr_ports = 1};
	unsigned long bit = 1UL << *on % 32;

	set_xen_guest_handle(poll.ports, on);
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, &poll);
	return (__atomic_fetch_and(&shared.evtchn_pending[*on / 32], ~bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

/* Waits until the other side of the console did something. */
static void wait(void)
{
	wait_for(&port);
}

static void put(char c)
{
	while (ring->out_prod - __atomic_load_n(&ring->out_cons, __ATOMIC_ACQUIRE) >= sizeof(ring->out))
		wait();
	ring->out[MASK_XENCONS_IDX(ring->out_prod, ring->out)] = c;
	__atomic_store_n(&ring->out_prod, ring->out_prod + 1, __ATOMIC_RELEASE);
}

static void say(const char *text)
{
	while (*text != '\0')
		put(*text++);
	put('\r');
	put('\n');
	notify();
}

static char get(void)
{
	char c;

	while (__atomic_load_n(&ring->in_prod, __ATOMIC_ACQUIRE) == ring->in_cons)
		wait();
	c = ring->in[MASK_XENCONS_IDX(ring->in_cons, ring->in)];
	__atomic_store_n(&ring->in_cons, ring->in_cons + 1, __ATOMIC_RELEASE);
	notify();
	return c;
}

static void shutdown(unsigned int reason)
{
	struct sched_shutdown arg = {.reason = reason};

	hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &arg);
}

static void triple_fault(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* xen/arch-x86/cpuid.h, leaf 3: whether RDTSC exits, and the kHz it is said to count. */
static void tell_tsc(void)
{
	uint32_t r[4];

	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(0x40000003), "c"(0));
	say(r[0] & 1 ? "tiny: tsc emulated" : "tiny: tsc native");
}

/* Puts a page of the hypervisor into the place of one of the guest's own. */
static long map_in(unsigned int space, unsigned long index, const volatile void *at)
{
	struct xen_add_to_physmap map = {
		.domid = DOMID_SELF, .space = space, .idx = index, .gpfn = (unsigned long)at >> 12};

	return hypercall(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map);
}

/*
 * Writes a pattern and says where. libxc's core dump tries every frame below 0xf0000, some minutes' work in an
 * emulator, unless it meets as many as the guest owns before: the grant table's frames, which do not count, make up
 * for those it owns above and in the VGA hole.
 */
static void prepare_dump(void)
{
	static const char text[] = "tiny: pattern\n";
	static char where[] = "tiny: pattern at frame ????";
	unsigned long frame = (unsigned long)pattern >> 12;

	for (unsigned int i = 0; i < sizeof(pattern); i++)
		pattern[i] = text[i % (sizeof(text) - 1)];
	for (unsigned int i = 0; i < 4; i++)
		where[23 + i] = "0123456789abcdef"[frame >> (12 - 4 * i) & 15];
	for (unsigned int i = 0; i < sizeof(grants) / sizeof(grants[0]); i++) {
		if (map_in(XENMAPSPACE_grant_table, i, grants[i]) != 0) {
			say("tiny: no such grant frame");
			return;
		}
	}
	say(where);
}

/* What a vCPU but the first does: hands the turn on; after the last lap it goes down, and is back here when it is up. */
static __attribute__((noreturn)) void other_main(unsigned int me)
{
	int last;

	for (;;) {
		while (!wait_for(&turn[me]))
			;
		last = last_lap;
		send_to(turn[(me + 1) % cpus]);
		if (last)
			hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_down, me, NULL);
	}
}

/* Flat segments as the first vCPU has them; the number is other_main()'s argument, above no return address. */
static void initialise(unsigned int cpu)
{
	static struct vcpu_hvm_context context;
	struct vcpu_hvm_x86_32 *r = &context.cpu_regs.x86_32;
	uint32_t *sp = (uint32_t *)other_stacks[cpu + 1] - 4;

	sp[1] = cpu;
	context.mode = VCPU_HVM_MODE_32B;
	r->eip = (uint32_t)other_main;
	r->esp = (uint32_t)sp;
	r->eflags = 2;
	r->cr0 = 1;
	r->cs_limit = r->ds_limit = r->ss_limit = r->es_limit = 0xffffffff;
	r->tr_limit = 0x67;
	r->cs_ar = 0xc9b;
	r->ds_ar = r->ss_ar = r->es_ar = 0xc93;
	r->tr_ar = 0x8b;
	if (hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_initialise, cpu, &context) != 0)
		say("tiny: no such vCPU");
}

/* Starts the other vCPUs, goes round all of them, stops them. A lost event or wake-up, and this never ends. */
static void do_laps(void)
{
	if (cpus == 0) {
		while (cpus < 7 && hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_is_up, cpus, NULL) >= 0) {
			struct evtchn_bind_ipi bind = {.vcpu = cpus};

			hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &bind);
			turn[cpus] = bind.port;
			if (cpus != 0)
				initialise(cpus);
			cpus++;
		}
	}
	for (unsigned int cpu = 1; cpu < cpus; cpu++)
		hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_up, cpu, NULL);
	for (unsigned int lap = 0; lap < 256; lap++) {
		last_lap = lap == 255;
		send_to(turn[1 % cpus]);
		while (!wait_for(&turn[0]))
			;
	}
	for (unsigned int cpu = 1; cpu < cpus; cpu++)
		while (hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_is_up, cpu, NULL) != 0)
			hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, NULL);
	say("tiny: laps");
}

static void obey(char c)
{
	static char got[] = "tiny: got ?";
	static char count[] = "tiny: count 0";

	switch (c) {
	case 'p':
		say("tiny: power off");
		shutdown(SHUTDOWN_poweroff);
		break;
	case 'r':
		say("tiny: reboot");
		shutdown(SHUTDOWN_reboot);
		break;
	case 'c':
		say("tiny: crash");
		shutdown(SHUTDOWN_crash);
		break;
	case 'f':
		say("tiny: fault");
		triple_fault();
		break;
	case 'j':
		say("tiny: jump");
		__asm__ volatile("jmp *%0" : : "r"(0xa0000000));
		break;
	case 'n':
		count[12] = count[12] == '9' ? '0' : count[12] + 1;
		say(count);
		break;
	case 't':
		tell_tsc();
		break;
	case 'm':
		prepare_dump();
		break;
	case 'w':
		do_laps();
		break;
	case '\r':
	case '\n':
		break;
	default:
		got[10] = c;
		say(got);
	}
}

/* Does the command line begin with this word? */
static int told(const char *line, const char *word)
{
	while (*word != '\0')
		if (*line++ != *word++)
			return 0;
	return 1;
}

void tiny_main(const struct hvm_start_info *info)
{
	const char *line = (const char *)(uintptr_t)info->cmdline_paddr;
	uint32_t r[4];

	cpuid(0x40000002, r);
	__asm__ volatile("wrmsr" : : "c"(r[1]), "a"(hypercall_page), "d"(0) : "memory");
	map_in(XENMAPSPACE_shared_info, 0, &shared);
	ring = (void *)(unsigned long)(param(HVM_PARAM_CONSOLE_PFN) << 12);
	port = param(HVM_PARAM_CONSOLE_EVTCHN);
	say("tiny: up");
	if (line != NULL) {
		if (told(line, "poweroff"))
			obey('p');
		if (told(line, "reboot"))
			obey('r');
		if (told(line, "crash"))
			obey('c');
		if (told(line, "fault"))
			obey('f');
		if (told(line, "spin"))
			for (;;)
				__asm__ volatile("pause");
	}
	for (;;)
		obey(get());
}
