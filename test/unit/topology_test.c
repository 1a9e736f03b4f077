/* sources: x86/topology.c x86/tsc.c */
/* x86/topology.c: SRAT and SLIT byte for byte, sound ones and others; sockets and cores out of APIC IDs. x86/tsc.c: the turns of two CPUs. */
#include "host/host.h"

#include "port/boot.h"
#include "x86/cpu.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <pthread.h>
#include <cmocka.h>

static char logged[512];

void x86_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(logged, sizeof(logged), fmt, ap);
	va_end(ap);
}

/* CPUID as a test sets it. */
static struct {
	uint32_t leaf, subleaf, out[4];
} cpuid[8];
static unsigned nr_cpuid;

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 16);
	for (unsigned i = 0; i < nr_cpuid; i++)
		if (cpuid[i].leaf == leaf && cpuid[i].subleaf == subleaf)
			memcpy(out, cpuid[i].out, 16);
}

static void leaf(uint32_t leaf, uint32_t subleaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	cpuid[nr_cpuid].leaf = leaf;
	cpuid[nr_cpuid].subleaf = subleaf;
	memcpy(cpuid[nr_cpuid++].out, (uint32_t[4]){a, b, c, d}, 16);
}

/* A table under construction. */
static uint8_t srat[4096], slit[4096];
static uint32_t srat_len, slit_len;

static void put(uint8_t *at, uint64_t v, unsigned bytes)
{
	while (bytes--) {
		*at++ = (uint8_t)v;
		v >>= 8;
	}
}

static void begin(uint8_t revision)
{
	memset(srat, 0, sizeof(srat));
	memset(slit, 0, sizeof(slit));
	srat[8] = revision;
	srat_len = 48;
	slit_len = 0;
	logged[0] = 0;
}

static void cpu(uint8_t apicid, uint32_t node, bool on)
{
	uint8_t *e = srat + srat_len;

	e[0] = 0;
	e[1] = 16;
	e[2] = (uint8_t)node;
	e[3] = apicid;
	put(e + 4, on, 4);
	put(e + 9, node >> 8, 3);
	srat_len += 16;
}

static void cpu_x2(uint32_t apicid, uint32_t node)
{
	uint8_t *e = srat + srat_len;

	e[0] = 2;
	e[1] = 24;
	put(e + 4, node, 4);
	put(e + 8, apicid, 4);
	put(e + 12, 1, 4);
	srat_len += 24;
}

static void memory(uint64_t base, uint64_t length, uint32_t node, bool on)
{
	uint8_t *e = srat + srat_len;

	e[0] = 1;
	e[1] = 40;
	put(e + 2, node, 4);
	put(e + 8, base, 8);
	put(e + 16, length, 8);
	put(e + 28, on, 4);
	srat_len += 40;
}

static void distances(unsigned n, const uint8_t *d)
{
	put(slit + 36, n, 8);
	memcpy(slit + 44, d, n * n);
	slit_len = 44 + n * n;
}

static void read_tables(void)
{
	topology_nodes(srat, srat_len, slit_len ? slit : NULL, slit_len);
}

#define MIB(n) ((uint64_t)(n) << 20)

static void assert_range(unsigned i, uint64_t start_mib, uint64_t end_mib, unsigned node)
{
	uint64_t start, end;

	assert_int_equal(port_node_range(i, &start, &end), node);
	assert_int_equal(start, start_mib << 8);
	assert_int_equal(end, end_mib == ~0ull ? ~0ull : end_mib << 8);
}

static void assert_one_node(void)
{
	assert_int_equal(port_node_count(), 1);
	assert_int_equal(port_node_ranges(), 1);
	assert_range(0, 0, ~0ull, 0);
	assert_int_equal(port_node_distance(0, 0), 10);
	assert_int_equal(port_cpu_node(3), 0);
}

/* As QEMU makes them for -numa with two nodes of 1 GiB and memory above 4 GiB. */
static void two_nodes(void **state)
{
	static const uint8_t d[] = {10, 21, 22, 10};

	begin(3);
	memory(0, 0xa0000, 0, true);
	memory(MIB(1), MIB(1023), 0, true);
	memory(MIB(1024), MIB(1024), 1, true);
	memory(MIB(4096), MIB(512), 1, true);
	memory(0, 0, 0, false);
	for (unsigned i = 0; i < 4; i++)
		cpu((uint8_t)i, i / 2, true);
	cpu_x2(300, 1);
	distances(2, d);
	read_tables();
	assert_int_equal(port_node_count(), 2);
	assert_int_equal(port_node_ranges(), 2);
	assert_range(0, 0, 1024, 0);
	assert_range(1, 1024, ~0ull, 1);
	assert_int_equal(port_node_distance(0, 1), 21);
	assert_int_equal(port_node_distance(1, 0), 22);
	assert_int_equal(port_node_distance(1, 1), 10);
	assert_int_equal(port_cpu_node(1), 0);
	assert_int_equal(port_cpu_node(2), 1);
	assert_int_equal(port_cpu_node(9), 0); /* not in the table */
}

/* Unsorted memory, nodes that take turns, proximity domains of 32 bits, no SLIT. */
static void interleaved(void **state)
{
	begin(2);
	cpu(0, 0x01000007, true);
	cpu_x2(1, 0x500);
	memory(MIB(3072), MIB(1024), 0x500, true);
	memory(MIB(1024), MIB(1024), 0x500, true);
	memory(0, MIB(1024), 0x01000007, true);
	memory(MIB(2048), MIB(1024), 0x01000007, true);
	read_tables();
	assert_int_equal(port_node_count(), 2);
	assert_int_equal(port_node_ranges(), 4);
	for (unsigned i = 0; i < 3; i++)
		assert_range(i, i * 1024, i * 1024 + 1024, i % 2);
	assert_range(3, 3072, ~0ull, 1);
	assert_int_equal(port_cpu_node(0), 0);
	assert_int_equal(port_cpu_node(1), 1);
	assert_int_equal(port_node_distance(0, 1), 20);
	assert_int_equal(port_node_distance(1, 1), 10);
}

/* Revision 1 has 8 bits of proximity domain, whatever the others hold; a node may have no memory. */
static void old_revision(void **state)
{
	begin(1);
	cpu(0, 0xabcd01, true);
	cpu(1, 0x123402, true);
	cpu(2, 0x3, false);
	memory(0, MIB(64), 0xffff01, true);
	read_tables();
	assert_int_equal(port_node_count(), 2);
	assert_int_equal(port_node_ranges(), 1);
	assert_range(0, 0, ~0ull, 0);
	assert_int_equal(port_cpu_node(1), 1);
	assert_int_equal(port_cpu_node(2), 0);
}

static void absent(void **state)
{
	begin(3);
	topology_nodes(NULL, 0, NULL, 0);
	assert_one_node();
	assert_string_equal(logged, "");
}

static void good(void)
{
	begin(3);
	cpu(0, 0, true);
	cpu(3, 1, true);
	memory(0, MIB(512), 0, true);
	memory(MIB(512), MIB(512), 1, true);
}

static void assert_refused(void)
{
	logged[0] = 0;
	read_tables();
	assert_one_node();
	assert_non_null(strstr(logged, "SRAT is damaged"));
}

static void bad_srat(void **state)
{
	good();
	srat_len = 40; /* not even its own head */
	assert_refused();
	good();
	srat_len--; /* the last entry is cut off */
	assert_refused();
	good();
	srat[49] = 0; /* an entry without length */
	assert_refused();
	good();
	srat[49] = 1;
	assert_refused();
	good();
	memory(MIB(100), MIB(1), 1, true); /* inside another */
	assert_refused();
	good();
	memory(MIB(1023), MIB(2), 1, true); /* overlaps the end of one */
	assert_refused();
	good();
	memory(~0xfffull, 0x2000, 1, true); /* wraps around */
	assert_refused();
	good();
	cpu(3, 0, true); /* on two nodes */
	assert_refused();
	begin(3);
	cpu(0, 0, true);
	cpu(1, 1, true); /* no memory at all */
	assert_refused();
	begin(3);
	for (unsigned i = 0; i <= PORT_MAX_NODES; i++)
		cpu((uint8_t)i, i, true);
	memory(0, MIB(1), 0, true);
	assert_refused();
	begin(3);
	for (unsigned i = 0; i <= PORT_MAX_NODE_RANGES; i++)
		memory(MIB(i), MIB(1), i % 2, true);
	assert_refused();
}

/* An entry of an unknown kind is passed over; random damage never makes anything but a whole set of ranges. */
static void survives_damage(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;

	good();
	srat[srat_len] = 77;
	srat[srat_len + 1] = 12;
	srat_len += 12;
	read_tables();
	assert_int_equal(port_node_count(), 2);
	for (unsigned round = 0; round < 20000; round++) {
		static const uint8_t d[] = {10, 20, 20, 10};
		uint64_t at = 0, end = 0;

		good();
		distances(2, d);
		for (unsigned n = 0; n < 3; n++)
			srat[host_random(&seed) % srat_len] = (uint8_t)host_random(&seed);
		slit[36 + host_random(&seed) % 12] = (uint8_t)host_random(&seed);
		srat_len -= host_random(&seed) % 4 == 0 ? host_random(&seed) % srat_len : 0;
		read_tables();
		assert_in_range(port_node_count(), 1, PORT_MAX_NODES);
		for (unsigned i = 0; i < port_node_ranges(); i++) {
			uint64_t start;

			assert_true(port_node_range(i, &start, &end) < port_node_count());
			assert_int_equal(start, at);
			assert_true(end > start);
			at = end;
		}
		assert_true(end == ~0ull);
		for (unsigned i = 0; i < port_node_count(); i++)
			assert_int_equal(port_node_distance(i, i), 10);
	}
}

static void assert_slit_ignored(void)
{
	logged[0] = 0;
	topology_nodes(srat, srat_len, slit, slit_len);
	assert_int_equal(port_node_count(), 2);
	assert_int_equal(port_node_distance(0, 1), 20);
}

static void bad_slit(void **state)
{
	static const uint8_t diagonal[] = {10, 30, 30, 11}, near[] = {10, 30, 9, 10}, sound[] = {10, 30, 30, 10};
	static const uint8_t alone[] = {10};

	good();
	distances(2, diagonal);
	assert_slit_ignored();
	good();
	distances(2, near);
	assert_slit_ignored();
	good();
	distances(1, alone); /* too small for the domains there are */
	assert_slit_ignored();
	good();
	distances(2, sound);
	slit_len--;
	assert_slit_ignored();
	good();
	distances(2, sound);
	put(slit + 36, 1ull << 63, 8);
	assert_slit_ignored();
	good();
	distances(2, sound);
	put(slit + 36, 0, 8);
	assert_slit_ignored();
	good();
	distances(2, sound);
	read_tables();
	assert_int_equal(port_node_distance(0, 1), 30);
}

/* --- sockets and cores; CPU n has APIC ID n on the fake machine --- */

static void leaf_b(void **state)
{
	host_machine(512);
	nr_cpuid = 0;
	leaf(0, 0, 0xd, 0, 0, 0);
	leaf(0xb, 0, 1, 2, 0x100, 0);
	leaf(0xb, 1, 3, 8, 0x201, 0);
	topology_cpus();
	host_cpus = 16;
	assert_int_equal(port_cpu_socket(7), 0);
	assert_int_equal(port_cpu_socket(8), 1);
	assert_int_equal(port_cpu_core(7), 3);
	assert_int_equal(port_cpu_core(10), 1);
	assert_int_equal(port_threads_per_core(), 2);
	assert_int_equal(port_cores_per_socket(), 4);
}

static void amd_without_leaf_b(void **state)
{
	host_machine(512);
	nr_cpuid = 0;
	leaf(0, 0, 0xd, 0, 0, 0);
	leaf(1, 0, 0, 8 << 16, 0, BIT(28));
	leaf(0x80000000, 0, 0x8000001e, 0, 0, 0);
	leaf(0x80000008, 0, 0, 0, 3 << 12 | 7, 0);
	topology_cpus();
	host_cpus = 12;
	assert_int_equal(port_cpu_socket(11), 1);
	assert_int_equal(port_cpu_core(11), 3);
	assert_int_equal(port_cores_per_socket(), 8);
	leaf(0x80000001, 0, 0, 0, BIT(22), 0); /* two threads a core */
	leaf(0x8000001e, 0, 0, 1 << 8, 0, 0);
	topology_cpus();
	assert_int_equal(port_threads_per_core(), 2);
	assert_int_equal(port_cores_per_socket(), 4);
	assert_int_equal(port_cpu_core(11), 1);
}

static void intel_without_leaf_b(void **state)
{
	host_machine(512);
	nr_cpuid = 0;
	leaf(0, 0, 4, 0, 0, 0);
	leaf(1, 0, 0, 6 << 16, 0, BIT(28));
	leaf(4, 0, 2u << 26 | 1, 0, 0, 0);
	topology_cpus();
	host_cpus = 8;
	assert_int_equal(port_threads_per_core(), 2);
	assert_int_equal(port_cpu_socket(7), 0); /* three cores need two bits */
	assert_int_equal(port_cpu_core(7), 3);
	nr_cpuid = 0; /* knows nothing: every CPU is a socket */
	topology_cpus();
	assert_int_equal(port_cpu_socket(7), 7);
	assert_int_equal(port_cores_per_socket(), 1);
	assert_int_equal(port_threads_per_core(), 1);
}

/* --- TSC --- */

static void turns_compared(void **state)
{
	struct tsc_check c = {0};
	static const uint64_t in_order[] = {5, 5, 6, 100, 1ull << 63}, warped[] = {1000, 900, 1001, 950, 951};

	for (unsigned i = 0; i < ARRAY_SIZE(in_order); i++)
		tsc_check_turn(&c, in_order[i]);
	assert_int_equal(c.behind, 0);
	c = (struct tsc_check){0};
	for (unsigned i = 0; i < ARRAY_SIZE(warped); i++)
		tsc_check_turn(&c, warped[i]);
	assert_int_equal(c.behind, 100);
}

static void *other_cpu(void *given_up)
{
	tsc_check_join(3, given_up);
	return NULL;
}

/* The two meet whoever comes first, and one that was given up does not wait for ever. */
static void turns_taken(void **state)
{
	bool given_up = false;
	pthread_t t;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&t, NULL, other_cpu, &given_up), 0);
		tsc_check_with(3);
		assert_int_equal(pthread_join(t, NULL), 0);
	}
	assert_int_equal(pthread_create(&t, NULL, other_cpu, &given_up), 0);
	__atomic_store_n(&given_up, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(t, NULL), 0);
	port_boot_distrust_tsc();
	assert_false(port_tsc_reliable());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nodes),	   cmocka_unit_test(interleaved),	 cmocka_unit_test(old_revision),
		cmocka_unit_test(absent),	   cmocka_unit_test(bad_srat),		 cmocka_unit_test(survives_damage),
		cmocka_unit_test(bad_slit),	   cmocka_unit_test(leaf_b),		 cmocka_unit_test(amd_without_leaf_b),
		cmocka_unit_test(intel_without_leaf_b), cmocka_unit_test(turns_compared), cmocka_unit_test(turns_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
