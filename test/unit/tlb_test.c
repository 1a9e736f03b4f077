/* sources: hvm/tlb.c */
/*
 * hvm/tlb.c against a model TLB that never forgets unless told. Domains change their nested tables, vCPUs their own; vCPUs move
 * between CPUs, identifiers run out, domains end and others get their root. No access may find what is not true any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "host/host.h"
#include "hvm/tlb.h"

#define CPUS	5u
#define DOMAINS 3u
#define VCPUS	4u
#define PAGES	4u
#define IDS	7u /* few, so that they run out all the time */

/* Versions stand for translations: an entry is stale when its versions are not the present ones. */
struct entry {
	bool valid;
	uint64_t linear, nested;
};

static struct {
	struct entry combined[IDS][DOMAINS][PAGES]; /* tagged with identifier and root */
	struct entry nested[DOMAINS][PAGES];	    /* Intel: tagged with the root alone */
	struct tlb_cpu ids;
} cpu[CPUS];

static struct {
	uint64_t version[PAGES];
	uint32_t gen; /* counts changes, as hvm_domain.tlb_gen */
	struct {
		struct tlb_vcpu tlb;
		uint64_t version[PAGES];
		uint32_t gen;
	} vcpu[VCPUS];
} domain[DOMAINS];

static bool intel, by_id, skip_nested, skip_all, skip_one;
static uint64_t seed, versions, hits, stale;

static unsigned pick(unsigned of)
{
	return (unsigned)(host_random(&seed) >> 20) % of;
}

static void flush(unsigned c, unsigned d, uint32_t id, struct tlb_flush f)
{
	if (f.all && !skip_all)
		memset(cpu[c].combined, 0, sizeof(cpu[c].combined));
	if (f.one && !skip_one)
		memset(cpu[c].combined[id], 0, sizeof(cpu[c].combined[id]));
	if (!intel || !f.nested || skip_nested)
		return;
	memset(cpu[c].nested[d], 0, sizeof(cpu[c].nested[d]));
	for (unsigned id = 0; id < IDS; id++)
		memset(cpu[c].combined[id][d], 0, sizeof(cpu[c].combined[id][d]));
}

static uint64_t nested_walk(unsigned c, unsigned d, unsigned page)
{
	struct entry *e = &cpu[c].nested[d][page];

	if (!intel)
		return domain[d].version[page];
	if (!e->valid)
		*e = (struct entry){ .valid = true, .nested = domain[d].version[page] };
	return e->nested;
}

static void access(unsigned c, unsigned d, unsigned v, unsigned page)
{
	struct entry *e = &cpu[c].combined[domain[d].vcpu[v].tlb.id][d][page];

	hits += e->valid;
	if (!e->valid)
		*e = (struct entry){ true, domain[d].vcpu[v].version[page], nested_walk(c, d, page) };
	stale += e->linear != domain[d].vcpu[v].version[page] || e->nested != domain[d].version[page];
}

/* As hvm/run.c and the vendor files do it. */
static void enter(unsigned c, unsigned d, unsigned v)
{
	struct tlb_vcpu *t = &domain[d].vcpu[v].tlb;
	struct tlb_flush f;

	if (domain[d].vcpu[v].gen != domain[d].gen) {
		domain[d].vcpu[v].gen = domain[d].gen;
		tlb_forget_nested(t);
	}
	f = tlb_enter(&cpu[c].ids, c, t);
	assert_true(by_id || !f.one);
	flush(c, d, t->id, f);
	assert_in_range(t->id, 1, IDS - 1);
	for (unsigned n = pick(6); n; n--)
		access(c, d, v, pick(PAGES));
}

static void new_domain(unsigned d)
{
	memset(&domain[d], 0, sizeof(domain[d]));
	for (unsigned i = 0; i < PAGES; i++)
		domain[d].version[i] = ++versions;
	for (unsigned v = 0; v < VCPUS; v++)
		for (unsigned i = 0; i < PAGES; i++)
			domain[d].vcpu[v].version[i] = ++versions;
}

static void play(unsigned steps)
{
	memset(cpu, 0, sizeof(cpu));
	for (unsigned c = 0; c < CPUS; c++)
		tlb_cpu_init(&cpu[c].ids, IDS, by_id);
	for (unsigned d = 0; d < DOMAINS; d++)
		new_domain(d);
	hits = stale = 0;
	while (steps--) {
		unsigned d = pick(DOMAINS), v = pick(VCPUS), page = pick(PAGES);

		switch (pick(12)) {
		case 0:
			domain[d].version[page] = ++versions;
			domain[d].gen++;
			break;
		case 1:
			domain[d].vcpu[v].version[page] = ++versions;
			tlb_forget_linear(&domain[d].vcpu[v].tlb);
			break;
		case 2:
			if (pick(50) == 0)
				new_domain(d); /* its root is where another domain's was */
			break;
		default:
			enter(pick(3) ? v : pick(CPUS), d, v);
		}
	}
}

static void test_amd(void **state)
{
	intel = skip_nested = skip_all = skip_one = false;
	for (seed = 1; seed < 400; seed += 7) {
		by_id = seed > 200;
		play(5000);
		assert_int_equal(stale, 0);
		assert_true(hits > 1000);
	}
}

static void test_intel(void **state)
{
	intel = true;
	by_id = skip_nested = skip_all = skip_one = false;
	for (seed = 1; seed < 200; seed += 7) {
		play(5000);
		assert_int_equal(stale, 0);
		assert_true(hits > 1000);
	}
}

/* The model finds each kind of flush that is left out. */
static void test_model_bites(void **state)
{
	seed = 1;
	intel = skip_nested = true;
	by_id = skip_all = skip_one = false;
	play(20000);
	assert_true(stale > 0);
	skip_nested = false;
	skip_all = true;
	play(20000);
	assert_true(stale > 0);
	intel = false;
	play(20000);
	assert_true(stale > 0);
	skip_all = false;
	by_id = skip_one = true;
	play(20000);
	assert_true(stale > 0);
}

/* A vCPU that stays where it is flushes nothing. */
static void test_no_needless_flush(void **state)
{
	struct tlb_cpu c;
	struct tlb_vcpu v = { 0 };
	struct tlb_flush f;

	tlb_cpu_init(&c, 16, false);
	f = tlb_enter(&c, 0, &v);
	assert_true(f.all && f.nested);
	f = tlb_enter(&c, 0, &v);
	assert_false(f.all || f.nested);
	tlb_forget_linear(&v);
	f = tlb_enter(&c, 0, &v);
	assert_false(f.all || f.nested);
	assert_int_equal(v.id, 2);
	tlb_forget_nested(&v);
	f = tlb_enter(&c, 0, &v);
	assert_true(!f.all && f.nested);
	/* Where one identifier can be flushed, it is kept. */
	c.by_id = true;
	tlb_forget_nested(&v);
	f = tlb_enter(&c, 0, &v);
	assert_true(!f.all && f.one && v.id == 3);
	f = tlb_enter(&c, 0, &v);
	assert_false(f.all || f.one || f.anew);
	f = tlb_enter(&c, 1, &v);
	assert_true(f.anew && !f.one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_amd),
		cmocka_unit_test(test_intel),
		cmocka_unit_test(test_model_bites),
		cmocka_unit_test(test_no_needless_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
