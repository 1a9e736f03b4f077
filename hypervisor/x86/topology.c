/*
 * Where CPUs and memory are: sockets and cores as APIC IDs hold them, NUMA nodes as the firmware's SRAT and SLIT say.
 * Source: ACPI 6.4, 5.2.16 (SRAT), 5.2.17 (SLIT); SDM vol. 3, 9.9 and APM vol. 3, E.4 (fields of an APIC ID).
 * Written at start-up by the boot CPU before anybody asks, then read-only. No locks.
 *
 * Invariants: the ranges of nodes are sorted, do not overlap and cover [0, ~0); nodes are numbered without gaps. Tables
 * that contradict themselves or pass our limits count as absent as a whole: one node.
 */
#include "lib/lib.h"
#include "port/cpu.h"
#include "x86/cpu.h"

#define SRAT_ENTRIES 48
#define SRAT_LAPIC   0
#define SRAT_MEMORY  1
#define SRAT_X2APIC  2
#define SRAT_ENABLED 1u
#define SLIT_COUNT   36
#define SLIT_MATRIX  44
#define DISTANCE_FAR 20u /* what ACPI takes for another node when nothing is said */

struct range {
	uint64_t start, end; /* frame numbers */
	unsigned node;
};

static struct topology {
	unsigned nr_nodes, nr_ranges, nr_cpus;
	uint32_t proximity[PORT_MAX_NODES]; /* the firmware's name of a node */
	struct range range[PORT_MAX_NODE_RANGES];
	struct {
		uint32_t apicid;
		unsigned node;
	} cpu[NR_CPUS];
	uint8_t distance[PORT_MAX_NODES][PORT_MAX_NODES];
} topology;

static unsigned core_shift, socket_shift; /* where the core's and the socket's field of an APIC ID begin */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* --- nodes --- */

static void one_node(void)
{
	struct topology *t = &topology;

	memset(t, 0, sizeof(*t));
	t->nr_nodes = t->nr_ranges = 1;
	t->range[0].end = ~0ull;
	t->distance[0][0] = PORT_NODE_LOCAL;
}

/* The node of a proximity domain, which gets the next number when it is new. False: too many. */
static bool node_of(uint32_t proximity, unsigned *node)
{
	struct topology *t = &topology;

	for (*node = 0; *node < t->nr_nodes; ++*node)
		if (t->proximity[*node] == proximity)
			return true;
	if (t->nr_nodes == PORT_MAX_NODES)
		return false;
	t->proximity[t->nr_nodes++] = proximity;
	return true;
}

static bool add_cpu(uint32_t apicid, uint32_t proximity)
{
	struct topology *t = &topology;
	unsigned node;

	if (!node_of(proximity, &node))
		return false;
	for (unsigned i = 0; i < t->nr_cpus; i++)
		if (t->cpu[i].apicid == apicid)
			return t->cpu[i].node == node;
	if (t->nr_cpus < NR_CPUS) { /* others are not used */
		t->cpu[t->nr_cpus].apicid = apicid;
		t->cpu[t->nr_cpus++].node = node;
	}
	return true;
}

/* Sorted in by its start. False: too many, senseless, or it overlaps another. */
static bool add_memory(uint64_t base, uint64_t length, uint32_t proximity)
{
	struct topology *t = &topology;
	struct range r = { .start = base >> PAGE_SHIFT, .end = (base + length) >> PAGE_SHIFT };
	unsigned i = t->nr_ranges;

	if (base + length < base)
		return false;
	if (r.start == r.end)
		return true;
	if (t->nr_ranges == PORT_MAX_NODE_RANGES || !node_of(proximity, &r.node))
		return false;
	while (i && t->range[i - 1].start > r.start)
		i--;
	if ((i && t->range[i - 1].end > r.start) || (i < t->nr_ranges && t->range[i].start < r.end))
		return false;
	memmove(&t->range[i + 1], &t->range[i], (t->nr_ranges - i) * sizeof(r));
	t->range[i] = r;
	t->nr_ranges++;
	return true;
}

/* CPUs first, then memory, so that nodes with CPUs come first. What is off is not looked at. */
static bool srat_entry(const uint8_t *e, bool old, bool memory)
{
	uint32_t high = old ? 0 : 0xffffffff;

	if (memory && e[0] == SRAT_MEMORY && e[1] >= 40 && (get32(e + 28) & SRAT_ENABLED))
		return add_memory(get64(e + 8), get64(e + 16), get32(e + 2) & (high | 0xff));
	if (!memory && e[0] == SRAT_LAPIC && e[1] >= 16 && (get32(e + 4) & SRAT_ENABLED))
		return add_cpu(e[3], e[2] | (get32(e + 8) & high & ~0xffu));
	if (!memory && e[0] == SRAT_X2APIC && e[1] >= 24 && (get32(e + 12) & SRAT_ENABLED))
		return add_cpu(get32(e + 8), get32(e + 4));
	return true;
}

static bool read_srat(const uint8_t *srat, uint32_t len)
{
	bool old = srat[8] < 2; /* revision 1: proximity domains of 8 bits */

	for (unsigned pass = 0; pass < 2; pass++) {
		uint32_t at = SRAT_ENTRIES;

		while (at < len) {
			if (len - at < 2 || srat[at + 1] < 2 || srat[at + 1] > len - at ||
			    !srat_entry(srat + at, old, pass == 1))
				return false;
			at += srat[at + 1];
		}
	}
	return topology.nr_ranges != 0;
}

/* Holes go to the range below; neighbours of one node become one range. */
static void fill_ranges(void)
{
	struct topology *t = &topology;
	unsigned n = 0;

	for (unsigned i = 1; i < t->nr_ranges; i++)
		if (t->range[i].node != t->range[n].node)
			t->range[++n] = t->range[i];
	t->nr_ranges = n + 1;
	t->range[0].start = 0;
	for (unsigned i = 0; i < n; i++)
		t->range[i].end = t->range[i + 1].start;
	t->range[n].end = ~0ull;
}

/* The matrix is indexed by proximity domain. */
static bool slit_sound(const uint8_t *slit, uint32_t len)
{
	uint64_t n = len >= SLIT_MATRIX ? get64(slit + SLIT_COUNT) : 0;

	if (!n || n > 4096 || n * n > len - SLIT_MATRIX)
		return false;
	for (unsigned i = 0; i < topology.nr_nodes; i++)
		if (topology.proximity[i] >= n)
			return false;
	for (uint64_t i = 0; i < n * n; i++) {
		uint8_t d = slit[SLIT_MATRIX + i];

		if (i / n == i % n ? d != PORT_NODE_LOCAL : d <= PORT_NODE_LOCAL)
			return false;
	}
	return true;
}

static void read_slit(const uint8_t *slit, uint32_t len)
{
	struct topology *t = &topology;
	bool sound = slit && slit_sound(slit, len);
	uint64_t n = sound ? get64(slit + SLIT_COUNT) : 0;

	if (slit && !sound)
		x86_log("ACPI: the SLIT is damaged and ignored");
	for (unsigned i = 0; i < t->nr_nodes; i++)
		for (unsigned k = 0; k < t->nr_nodes; k++)
			t->distance[i][k] = sound    ? slit[SLIT_MATRIX + t->proximity[i] * n + t->proximity[k]]
					    : i == k ? PORT_NODE_LOCAL
						     : DISTANCE_FAR;
}

void topology_nodes(const uint8_t *srat, uint32_t srat_len, const uint8_t *slit, uint32_t slit_len)
{
	struct topology *t = &topology;

	memset(t, 0, sizeof(*t));
	if (!srat || srat_len < SRAT_ENTRIES || !read_srat(srat, srat_len)) {
		if (srat)
			x86_log("ACPI: the SRAT is damaged and ignored: one NUMA node");
		one_node();
		return;
	}
	fill_ranges();
	read_slit(slit, slit_len);
	for (unsigned i = 0; t->nr_nodes > 1 && i < t->nr_ranges; i++)
		x86_log("node %u: memory from %lx", t->range[i].node, t->range[i].start << PAGE_SHIFT);
}

unsigned port_node_count(void)
{
	return topology.nr_nodes;
}

unsigned port_node_ranges(void)
{
	return topology.nr_ranges;
}

unsigned port_node_range(unsigned i, uint64_t *start, uint64_t *end)
{
	*start = topology.range[i].start;
	*end = topology.range[i].end;
	return topology.range[i].node;
}

uint8_t port_node_distance(unsigned from, unsigned to)
{
	return topology.distance[from][to];
}

unsigned port_cpu_node(unsigned cpu)
{
	uint32_t apicid = port_cpu_apicid(cpu);

	for (unsigned i = 0; i < topology.nr_cpus; i++)
		if (topology.cpu[i].apicid == apicid)
			return topology.cpu[i].node;
	return 0;
}

/* --- sockets and cores --- */

/* Bits that number n things. */
static unsigned bits_for(uint32_t n)
{
	unsigned bits = 0;

	while (bits < 31 && BIT(bits) < n)
		bits++;
	return bits;
}

/* Leaf 0xb: each level says how far to shift for the ID of the next. */
static bool shifts_from_leaf_b(void)
{
	uint32_t r[4];

	port_cpuid(0, 0, r);
	if (r[0] < 0xb)
		return false;
	port_cpuid(0xb, 0, r);
	if (!(r[1] & 0xffff))
		return false;
	core_shift = r[0] & 31;
	port_cpuid(0xb, 1, r);
	socket_shift = r[1] & 0xffff ? r[0] & 31 : core_shift;
	return true;
}

void topology_cpus(void)
{
	uint32_t r[4], ext[4], logical, threads = 1, cores = 1;

	core_shift = socket_shift = 0;
	if (shifts_from_leaf_b())
		return;
	port_cpuid(1, 0, r);
	logical = r[3] & BIT(28) ? r[1] >> 16 & 0xff : 1;
	port_cpuid(0x80000000, 0, ext);
	if (ext[0] >= 0x80000008)
		port_cpuid(0x80000008, 0, ext);
	else
		ext[2] = 0;
	if (ext[2] & 0xffff) { /* AMD: all threads of a package are counted here */
		socket_shift = ext[2] >> 12 & 15 ? ext[2] >> 12 & 15 : bits_for((ext[2] & 0xff) + 1);
		port_cpuid(0x80000001, 0, r);
		if (r[2] & BIT(22)) { /* topology extensions */
			port_cpuid(0x8000001e, 0, r);
			threads = (r[1] >> 8 & 0xff) + 1;
		}
		core_shift = MIN(bits_for(threads), socket_shift);
		return;
	}
	port_cpuid(0, 0, r);
	if (r[0] >= 4) {
		port_cpuid(4, 0, r);
		cores = (r[0] & 31) ? (r[0] >> 26) + 1 : 1;
	}
	threads = logical > cores ? logical / cores : 1;
	core_shift = bits_for(threads);
	socket_shift = core_shift + bits_for(cores);
}

uint32_t port_cpu_socket(unsigned cpu)
{
	return port_cpu_apicid(cpu) >> socket_shift;
}

uint32_t port_cpu_core(unsigned cpu)
{
	return (port_cpu_apicid(cpu) & (uint32_t)(BIT(socket_shift) - 1)) >> core_shift;
}

/* As the boot CPU's socket and core are populated. */
unsigned port_threads_per_core(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < port_cpu_count(); i++)
		n += port_cpu_apicid(i) >> core_shift == port_cpu_apicid(0) >> core_shift;
	return n;
}

unsigned port_cores_per_socket(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < port_cpu_count(); i++)
		n += port_cpu_socket(i) == port_cpu_socket(0);
	return MAX(n / port_threads_per_core(), 1u);
}
