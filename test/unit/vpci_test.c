/* sources: hvm/vpci.c hvm/vmsix.c hvm/irq.c hvm/vlapic.c hvm/vlapic_timer.c */
/*
 * Trapped configuration space, MSI and MSI-X, on a fake bus: function 00:03.0 has MSI at 0x50 and MSI-X at
 * 0x60 (4 entries at offset 0x800 of BAR 1), 00:04.0 nothing special, 00:05.0 is hidden.
 */
#include "unit/hvm_fake.h"

#include "core/p2m.h"
#include "hvm/vpci.h"
#include "port/upcall.h"

#define ECAM 0xb0000000ull
#define DEV  (3u << 3)

static struct vcpu *const v = &fake_vcpu[0];
static uint8_t config[3][4096];
static uint8_t table_page[2][4096];
static paddr_t mapped_at;
static unsigned maps, unmapped, next_vector, freed;
static gfn_t last_unmapped;
static uint16_t io_port;

static uint8_t *function(uint16_t bdf)
{
	return bdf >= DEV && bdf <= 5 << 3 && !(bdf & 7) ? config[(bdf >> 3) - 3] : NULL;
}

uint32_t port_pci_read(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size)
{
	uint32_t x = ~0u;

	if (function(bdf))
		memcpy(&x, function(bdf) + reg, size);
	return size == 4 ? x : x & ((1u << size * 8) - 1);
}

void port_pci_write(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size, uint32_t value)
{
	if (function(bdf))
		memcpy(function(bdf) + reg, &value, size);
}

uint32_t port_io_read(uint16_t port, unsigned size)
{
	return 0xee;
}

void port_io_write(uint16_t port, unsigned size, uint32_t value)
{
	io_port = port;
}

void *port_mmio_map(paddr_t pa, size_t size)
{
	assert_int_equal(pa & 0xfff, 0);
	assert_int_equal(size, 4096);
	mapped_at = pa;
	return table_page[maps++ & 1];
}

int port_vector_alloc(void)
{
	return next_vector < 0xf0 ? (int)next_vector++ : -ENOSPC;
}

void port_vector_free(unsigned vector)
{
	freed++;
}

void port_msi_message(unsigned vector, unsigned cpu, uint64_t *address, uint32_t *data)
{
	*address = 0xfee00000;
	*data = vector;
}

struct p2m_entry p2m_lookup(struct domain *d, gfn_t g)
{
	return (struct p2m_entry){ .type = P2M_MMIO };
}

int p2m_unmap(struct domain *d, gfn_t g, unsigned order)
{
	unmapped++;
	last_unmapped = g;
	return 0;
}

void vioapic_eoi(struct domain *d, uint8_t vector)
{
}

void vioapic_pulse(struct domain *d, uint32_t pin)
{
}

static void put(unsigned f, unsigned reg, unsigned size, uint32_t value)
{
	memcpy(config[f] + reg, &value, size);
}

static int setup(void **state)
{
	fake_machine(1);
	fake_domain.rights = RIGHT_ALL;
	vlapic_mmio_write(v, 0xf0, 0x1ff);
	memset(config, 0, sizeof(config));
	memset(table_page, 0, sizeof(table_page));
	for (unsigned f = 0; f < 3; f++)
		put(f, 0, 4, 0x12348086 + (f << 16));
	put(0, 4, 2, 2);
	put(0, 6, 2, 0x10);
	put(0, 0x14, 4, 0xf0000000);
	put(0, 0x34, 1, 0x50);
	put(0, 0x50, 4, 0x008a6005); /* MSI, 64-bit, 32 messages */
	put(0, 0x60, 4, 0x00030011); /* MSI-X, 4 entries, the last */
	put(0, 0x64, 4, 0x801);
	maps = unmapped = freed = 0;
	next_vector = 0x80;
	assert_int_equal(vpci_init(&fake_domain, ECAM, 0, 255), 0);
	vpci_hide(&fake_domain, 5 << 3);
	return 0;
}

static int teardown(void **state)
{
	irq_domain_release(&fake_domain);
	vpci_destroy(&fake_domain);
	return 0;
}

static uint32_t rd(uint16_t bdf, unsigned reg, unsigned size)
{
	vpci_port_write(v, 0xcf8, 4, 0x80000000u | (uint32_t)bdf << 8 | (reg & 0xfc));
	return vpci_port_read(v, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void wr(uint16_t bdf, unsigned reg, unsigned size, uint32_t value)
{
	vpci_port_write(v, 0xcf8, 4, 0x80000000u | (uint32_t)bdf << 8 | (reg & 0xfc));
	vpci_port_write(v, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

static void access(void **state)
{
	assert_int_equal(rd(DEV, 0, 4), 0x12348086);
	assert_int_equal(rd(DEV, 2, 2), 0x1234);
	assert_int_equal(rd(DEV, 1, 1), 0x80);
	assert_int_equal(rd(7 << 3, 0, 4), 0xffffffff); /* nobody there */
	assert_int_equal(rd(5 << 3, 0, 4), 0xffffffff); /* hidden */
	assert_int_equal(rd(5 << 3, 2, 2), 0xffff);
	wr(5 << 3, 0x3c, 1, 9);
	assert_int_equal(config[2][0x3c], 0);
	wr(4 << 3, 0x3c, 1, 9);
	assert_int_equal(config[1][0x3c], 9);
	assert_int_equal(vpci_port_read(v, 0xcf8, 4), 0x80000000u | 4 << 11 | 0x3c);
	vpci_port_write(v, 0xcf8, 4, 0);
	assert_int_equal(vpci_port_read(v, 0xcfc, 4), 0xffffffff);
	assert_int_equal(vpci_port_read(v, 0xcf9, 1), 0xee); /* not ours */
	vpci_port_write(v, 0xcfb, 1, 1);
	assert_int_equal(io_port, 0xcfb);
	assert_int_equal(vpci_port_read(v, 0xcff, 4), 0xffffffff);
}

static void mmconfig(void **state)
{
	assert_true(vpci_mmio_owns(&fake_domain, ECAM + (DEV << 12)));
	assert_false(vpci_mmio_owns(&fake_domain, ECAM + (256ull << 20)));
	assert_int_equal(vpci_mmio_read(v, ECAM + (DEV << 12), 4), 0x12348086);
	put(0, 0x104, 4, 0x11223344);
	put(0, 0x100, 4, 0x55667788);
	assert_int_equal(vpci_mmio_read(v, ECAM + (DEV << 12) + 0x100, 8), 0x1122334455667788);
	vpci_mmio_write(v, ECAM + (DEV << 12) + 0x105, 1, 0xaa);
	assert_int_equal(config[0][0x105], 0xaa);
	assert_int_equal(vpci_mmio_read(v, ECAM + (5 << 15), 4), 0xffffffff);
	assert_int_equal(vpci_mmio_read(v, ECAM + (DEV << 12) + 2, 4), 0xffffffff); /* not aligned */
}

static void msi(void **state)
{
	assert_int_equal(rd(DEV, 0x52, 2), 0x80); /* one message only */
	wr(DEV, 0x54, 4, 0xfee00000);
	wr(DEV, 0x58, 4, 0);
	wr(DEV, 0x5c, 2, 0x4041);
	assert_int_equal(config[0][0x5c], 0);
	wr(DEV, 0x52, 2, 0x00f1);
	assert_int_equal(config[0][0x52] | config[0][0x53] << 8, 0x81);
	assert_int_equal(config[0][0x5c], 0x80); /* the host's vector */
	assert_int_equal(rd(DEV, 0x5c, 2), 0x4041);
	assert_int_equal(rd(DEV, 0x54, 4), 0xfee00000);
	assert_int_equal(rd(DEV, 0x50, 4), 0x00816005);
	upcall_irq(0x80);
	assert_int_equal(vlapic_pending(v), 0x41);
	wr(DEV, 0x5c, 2, 0x42); /* moved while on */
	upcall_irq(0x80);
	assert_int_equal(vlapic_pending(v), 0x42);
	wr(DEV, 0x53, 1, 0);
	wr(DEV, 0x52, 1, 0x80);
	assert_int_equal(freed, 1);
	assert_int_equal(config[0][0x52] & 1, 0);
	next_vector = 0x1000; /* none left: stays off */
	wr(DEV, 0x52, 2, 1);
	assert_int_equal(config[0][0x52] & 1, 0);
}

#define TABLE 0xf0000800ull

static void msix(void **state)
{
	uint32_t *dev = (uint32_t *)(table_page[0] + 0x800);

	assert_false(vpci_mmio_owns(&fake_domain, TABLE)); /* the function was not seen yet */
	rd(DEV, 0, 4);
	assert_int_equal(unmapped, 1);
	assert_int_equal(last_unmapped.n, 0xf0000);
	assert_true(vpci_mmio_owns(&fake_domain, TABLE));
	assert_true(vpci_mmio_owns(&fake_domain, TABLE - 0x800));
	assert_false(vpci_mmio_owns(&fake_domain, TABLE + 0x800));
	vpci_mmio_write(v, TABLE + 12, 4, 1);
	assert_int_equal(dev[3], 1);
	vpci_mmio_write(v, TABLE, 4, 0xfee00000);
	vpci_mmio_write(v, TABLE + 4, 4, 0);
	vpci_mmio_write(v, TABLE + 8, 4, 0x55);
	assert_int_equal(dev[2], 0);
	vpci_mmio_write(v, TABLE + 12, 4, 0);
	assert_int_equal(dev[0], 0xfee00000);
	assert_int_equal(dev[2], 0x80);
	assert_int_equal(dev[3], 0);
	assert_int_equal(vpci_mmio_read(v, TABLE + 8, 4), 0x55);
	assert_int_equal(vpci_mmio_read(v, TABLE + 8, 8), 0x55);
	upcall_irq(0x80);
	assert_int_equal(vlapic_pending(v), 0x55);
	vpci_mmio_write(v, TABLE + 16, 8, 0xfee00000);
	vpci_mmio_write(v, TABLE + 24, 8, 0x66); /* data, and control 0 */
	assert_int_equal(dev[6], 0x81);
	dev[2] = 0; /* the device was reset; the guest restores the entry */
	vpci_mmio_write(v, TABLE + 8, 4, 0x57);
	assert_int_equal(dev[2], 0x80);
	/* what is not the table passes through */
	vpci_mmio_write(v, TABLE + 0x40, 4, 0x12345678);
	assert_int_equal(dev[16], 0x12345678);
	assert_int_equal(vpci_mmio_read(v, TABLE + 0x41, 1), 0x56);
	vpci_mmio_write(v, TABLE + 1, 2, 7); /* ignored in the table */
	assert_int_equal(vpci_mmio_read(v, TABLE, 4), 0xfee00000);
	assert_int_equal(maps, 1);
	wr(DEV, 0x62, 2, 0x8003);
	assert_int_equal(freed, 0);
	wr(DEV, 0x62, 2, 0x0003); /* off: vectors go */
	assert_int_equal(freed, 2);
}

static void msix_moves(void **state)
{
	rd(DEV, 0, 4);
	wr(DEV, 4, 2, 0); /* not decoded */
	assert_false(vpci_mmio_owns(&fake_domain, TABLE));
	wr(DEV, 0x14, 4, 0xf1000000);
	assert_false(vpci_mmio_owns(&fake_domain, TABLE));
	wr(DEV, 4, 2, 2);
	assert_false(vpci_mmio_owns(&fake_domain, TABLE));
	assert_true(vpci_mmio_owns(&fake_domain, 0xf1000800));
	assert_int_equal(last_unmapped.n, 0xf1000);
	vpci_mmio_write(v, 0xf1000800, 4, 1);
	assert_int_equal(mapped_at, 0xf1000000);
	wr(DEV, 0x14, 4, 0xf2000004); /* 64-bit, over 4 GiB */
	wr(DEV, 0x18, 4, 1);
	assert_true(vpci_mmio_owns(&fake_domain, 0x1f2000800));
}

/* A capability list that loops ends. */
static void loop(void **state)
{
	put(0, 0x61, 1, 0x50);
	assert_int_equal(rd(DEV, 0, 4), 0x12348086);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(access, setup, teardown),
		cmocka_unit_test_setup_teardown(mmconfig, setup, teardown),
		cmocka_unit_test_setup_teardown(msi, setup, teardown),
		cmocka_unit_test_setup_teardown(msix, setup, teardown),
		cmocka_unit_test_setup_teardown(msix_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(loop, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
