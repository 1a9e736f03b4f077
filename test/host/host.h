/*
 * test/host: the machine and the surroundings of core/ as a Linux program. host.c implements port/machine.h and port/cpu.h
 * on an arena that stands for RAM: a frame may be touched only while it is mapped (direct, window or second mapping);
 * anything else is an AddressSanitizer error. fakes.c holds weak stand-ins for what a test does not link.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "core/domain.h"
#include "core/frame.h"
#include "core/heap.h"
#include "port/guest.h"
#include "port/machine.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define HOST_FRAMES_DEFAULT 16384u /* 64 MiB */

/* A fresh machine: all mappings gone, the clock at 0, CPU 0 of one. frames: multiple of 512. */
void host_machine(uint64_t frames);

/*
 * The same, and core/frame.c and core/heap.c started on it; frames [0, 512) are left out (FRAME_NONE). With host_split, two
 * NUMA nodes: frames below it and CPU 0 are on node 0, the rest on node 1.
 */
extern unsigned host_nodes, host_cpu_node[];
extern uint64_t host_node_end[];      /* node n's frames end here, node n + 1's begin; the last node's go on */
extern uint64_t host_split;
static inline void host_boot(uint64_t frames)
{
	static uint64_t *table;

	host_machine(frames);
	if (host_split) {
		host_nodes = 2;
		host_node_end[0] = host_split;
		for (unsigned i = 1; i < NR_CPUS; i++)
			host_cpu_node[i] = 1;
	}
	free(table);
	table = calloc(frames, 8);
	frame_init(table, frames);
	frame_add_free(512, frames);
	heap_init();
}

/* Frame contents, whatever is mapped. */
void host_poke(mfn_t m, size_t offset, const void *src, size_t n);
void host_peek(mfn_t m, size_t offset, void *dst, size_t n);
unsigned host_mappings(mfn_t m);      /* how often m is mapped now */
unsigned host_windows(void);	      /* window slots in use on this CPU */

/* Time and CPUs. */
extern uint64_t host_ns;
extern uint64_t host_timer_deadline;
extern bool host_timer_deferred, host_logs_writes;
extern _Thread_local unsigned host_cpu; /* a test with threads has one CPU in each */
extern unsigned host_cpus;
extern unsigned host_kicks[];	      /* port_kick() calls per CPU */
extern uint32_t host_socket[];	      /* socket of each CPU; one thread a core */
extern bool host_tsc_unreliable;
extern char host_console[];	      /* last bytes written */
extern size_t host_console_len;
extern bool host_quiet;		      /* no log lines on stderr (default) */

/* A minimal domain for tests without core/domain.c: listed, alive, with a p2m when core/p2m.c is linked. */
void host_domain_add(struct domain *d, domid_t id);
void host_domain_reset(void);

/* What fakes.c lets a test set and see. */
extern struct guest_paging host_paging;	/* answer of guest_paging_state() */
extern struct vcpu *host_current;	/* answer of sched_current() */
extern unsigned host_tlb_flushes, host_events_pending;
extern bool host_preempt_wanted;	/* answer of sched_needed() */

/* HOST_PANICS(x): runs x, true if it ended in panic(). */
extern jmp_buf *host_panic_jump;
#define HOST_PANICS(x)                                   \
	({                                               \
		jmp_buf jump_;                           \
		bool panicked_ = true;                   \
		host_panic_jump = &jump_;                \
		if (!setjmp(jump_)) {                    \
			x;                               \
			panicked_ = false;               \
		}                                        \
		host_panic_jump = NULL;                  \
		panicked_;                               \
	})

/* A small generator of the same numbers everywhere. */
static inline uint64_t host_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
