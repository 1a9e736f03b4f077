/*
 * boot/dom0.c: builds the hardware domain: picks its RAM (1:1, since no IOMMU is driven), puts the loader, the kernel file
 * as it is, the initrd and the PVH start info (xen/arch-x86/hvm/start_info.h) into it, and lets its first vCPU start in
 * the loader. Nothing of the kernel is looked at here. Start-up only: no locks.
 *
 * What lies where: Linux takes 16 MiB upwards, so everything else goes to the top of the low RAM. The modules lie wherever
 * the boot loader left them; they are copied to their final place before their own frames join the domain.
 */
#include "boot/boot.h"
#include "boot/place.h"
#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "core/time.h"
#include "hvm/hvm.h"
#include "hvm/io.h"
#include "hvm/vpci.h"
#include "lib/lib.h"
#include "loader/loader.h"
#include "port/blob.h"
#include "port/machine.h"

#define MIB	    (1ull << 20)
#define LOW_LIMIT   (4096 * MIB)
#define EARLY_LIMIT (1024 * MIB) /* Linux reads its start info through page tables that reach no further */
#define MIN_DOM0    (128 * MIB)
#define ACPI_BYTES  (64u << 10)
#define MAX_MEMMAP  (2 * BOOT_MAX_RAM + PLACE_MAX)
#define SWIOTLB	    " swiotlb=force"

/* Start info, module list, memory map and command lines, as laid out in the domain. */
struct start_block {
	struct hvm_start_info info;
	struct hvm_modlist_entry module;
	struct hvm_memmap_table_entry memmap[MAX_MEMMAP];
	char cmdline[sizeof(boot_info.module[0].args) + sizeof(SWIOTLB)];
	char initrd_args[sizeof(boot_info.module[0].args)];
};

struct build {
	struct domain *d;
	struct place place;
	struct e820entry e820[MAX_MEMMAP];
	unsigned nr_e820;
	uint64_t loader, kernel, initrd, block, acpi;
	struct place_range scratch;
	struct acpi0 tables;
};

static struct build b;
static struct start_block block;

/* --- RAM --- */

/* The rest is for the domain's page tables, and for what its devices need. */
static uint64_t most_memory(uint64_t total)
{
	return total - MIN(total, MIN(total / 128, 64 * MIB) + 2 * MIB);
}

static uint64_t default_memory(uint64_t total)
{
	return total - MIN(total / 16, 128 * MIB) - MIN(total / 16, 64 * MIB);
}

static bool in_module(uint64_t pa)
{
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		if (pa >= ALIGN_DOWN(boot_info.module[i].start, PAGE_SIZE) &&
		    pa < boot_info.module[i].start + boot_info.module[i].size)
			return true;
	return false;
}

static bool available(uint64_t pa)
{
	return frame_type(MFN(pa >> PAGE_SHIFT)) == FRAME_FREE || in_module(pa);
}

/* Every usable frame from the bottom up until there is enough; runs of frames become ranges. */
static uint64_t choose_ram(uint64_t want)
{
	uint64_t left = want;

	for (unsigned i = 0; i < boot_info.nr_ram && left; i++) {
		uint64_t end = ALIGN_DOWN(boot_info.ram[i].end, PAGE_SIZE);
		uint64_t at = ALIGN_UP(boot_info.ram[i].start, PAGE_SIZE);

		if (boot_info.ram[i].type != E820_RAM)
			continue;
		while (at < end && left) {
			uint64_t stop = at;

			while (stop < end && available(stop) && stop - at < left)
				stop += PAGE_SIZE;
			place_add_ram(&b.place, at, stop, &left);
			for (at = stop; at < end && !available(at);)
				at += PAGE_SIZE;
		}
	}
	return want - left;
}

/*
 * Takes the frames [start, end) for the domain, but those of modules (or only those), or else maps what was taken, with
 * large pages where whole. Mapping allocates: it must not get a frame that is to be taken.
 */
static int populate(uint64_t start, uint64_t end, bool modules, bool map)
{
	while (start < end) {
		gfn_t g = GFN(start >> PAGE_SHIFT);
		unsigned order = ORDER_2M;
		int rc = 0;

		if (start % (PAGE_SIZE << ORDER_2M) || end - start < PAGE_SIZE << ORDER_2M)
			order = ORDER_4K;
		for (uint64_t pa = start; order && pa < start + (PAGE_SIZE << ORDER_2M); pa += PAGE_SIZE)
			if (in_module(pa))
				order = ORDER_4K;
		if (in_module(start) == modules) {
			if (map)
				rc = p2m_map(b.d, g, MFN(g.n), order, P2M_RAM_RW);
			else if (!frame_alloc_boot(b.d, MFN(g.n), order))
				rc = -ENOMEM;
			if (rc)
				return rc;
		}
		start += PAGE_SIZE << order;
	}
	return 0;
}

static int populate_all(bool modules)
{
	int rc = 0;

	for (unsigned i = 0; i < b.place.nr_ram && !rc; i++)
		rc = populate(b.place.ram[i].start, b.place.ram[i].end, modules, false);
	for (unsigned i = 0; i < b.place.nr_ram && !rc; i++)
		rc = populate(b.place.ram[i].start, b.place.ram[i].end, modules, true);
	return rc;
}

/* --- placing --- */

static int place_everything(void)
{
	const struct loader_header *l = (const void *)loader_blob;
	const struct boot_module *kernel = &boot_info.module[0];

	place_take(&b.place, 0, MIB);
	place_take(&b.place, BOOT_KERNEL_START, BOOT_KERNEL_END);
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		place_take(&b.place, boot_info.module[i].start, boot_info.module[i].start + boot_info.module[i].size);
	b.acpi = place_top(&b.place, ACPI_BYTES, LOW_LIMIT);
	b.block = place_top(&b.place, sizeof(block), EARLY_LIMIT);
	b.loader = place_top(&b.place, l->mem_size, LOW_LIMIT);
	b.kernel = place_top(&b.place, kernel->size, LOW_LIMIT);
	b.initrd = boot_info.nr_modules > 1 ? place_top(&b.place, boot_info.module[1].size, LOW_LIMIT) : ~0ull;
	b.scratch = place_largest(&b.place, LOW_LIMIT);
	if (!b.acpi || !b.block || !b.loader || !b.kernel || !b.initrd) {
		log_err("dom0: its low memory has no room for a kernel of %lu KiB and an initrd of %lu KiB; give it "
			"more (dom0_mem=)",
			kernel->size >> 10, boot_info.nr_modules > 1 ? boot_info.module[1].size >> 10 : 0);
		return -ENOMEM;
	}
	return 0;
}

/* Copies machine memory (a module) into the domain, page by page through two windows. */
static void copy_module(uint64_t to, const struct boot_module *m)
{
	uint64_t from = m->start, left = m->size;

	while (left) {
		uint64_t n = MIN(left, MIN(PAGE_SIZE - from % PAGE_SIZE, PAGE_SIZE - to % PAGE_SIZE));
		const char *src = guestmem_window(MFN(from >> PAGE_SHIFT));
		char *dst = guestmem_window(MFN(to >> PAGE_SHIFT));

		memcpy(dst + to % PAGE_SIZE, src + from % PAGE_SIZE, n);
		from += n;
		to += n;
		left -= n;
	}
	guestmem_end();
}

static void write_guest(uint64_t to, const void *from, size_t n)
{
	if (guestmem_write_gpa(b.d, to, from, n))
		panic("dom0's own memory at %lx cannot be written", to);
}

/* --- the memory map --- */

static void add_e820(uint64_t start, uint64_t end, uint32_t type)
{
	if (start >= end)
		return;
	if (b.nr_e820 == MAX_MEMMAP)
		panic("dom0's memory map has more than %u entries", MAX_MEMMAP);
	b.e820[b.nr_e820++] = (struct e820entry){ .addr = start, .size = end - start, .type = type };
}

/* A machine range of RAM: what the domain has of it is RAM, the rest RESERVED. Its ACPI tables lie in between. */
static void add_ram_range(uint64_t start, uint64_t end)
{
	uint64_t at = start;

	for (unsigned i = 0; i < b.place.nr_ram; i++) {
		uint64_t s = MAX(b.place.ram[i].start, start), e = MIN(b.place.ram[i].end, end);

		if (s >= e)
			continue;
		add_e820(at, s, E820_RESERVED);
		if (b.acpi >= s && b.acpi < e) {
			add_e820(s, b.acpi, E820_RAM);
			add_e820(b.acpi, b.acpi + ACPI_BYTES, E820_ACPI);
			s = b.acpi + ACPI_BYTES;
		}
		add_e820(s, e, E820_RAM);
		at = e;
	}
	add_e820(at, end, E820_RESERVED);
}

static int make_e820(void)
{
	for (unsigned i = 0; i < boot_info.nr_ram; i++) {
		if (boot_info.ram[i].type == E820_RAM)
			add_ram_range(boot_info.ram[i].start, boot_info.ram[i].end);
		else
			add_e820(boot_info.ram[i].start, boot_info.ram[i].end,
				 boot_info.ram[i].type == E820_UNUSABLE ? E820_RESERVED : boot_info.ram[i].type);
	}
	b.d->e820 = heap_alloc(b.nr_e820 * sizeof(b.e820[0]));
	if (!b.d->e820)
		return -ENOMEM;
	memcpy(b.d->e820, b.e820, b.nr_e820 * sizeof(b.e820[0]));
	b.d->e820_nr = b.nr_e820;
	return 0;
}

/* --- start info --- */

static uint64_t in_block(const void *p)
{
	return b.block + (uint64_t)((const char *)p - (const char *)&block);
}

static void make_start_info(void)
{
	const struct boot_module *kernel = &boot_info.module[0], *initrd = &boot_info.module[1];

	block.info = (struct hvm_start_info){
		.magic = XEN_HVM_START_MAGIC_VALUE,
		.version = 1,
		.flags = SIF_INITDOMAIN | SIF_PRIVILEGED,
		.cmdline_paddr = in_block(block.cmdline),
		.rsdp_paddr = b.tables.rsdp_gpa,
		.memmap_paddr = in_block(block.memmap),
		.memmap_entries = b.nr_e820,
	};
	if (boot_info.nr_modules > 1) {
		block.info.nr_modules = 1;
		block.info.modlist_paddr = in_block(&block.module);
		block.module.paddr = b.initrd;
		block.module.size = initrd->size;
		block.module.cmdline_paddr = in_block(block.initrd_args);
		lib_strlcpy(block.initrd_args, initrd->args, sizeof(block.initrd_args));
	}
	for (unsigned i = 0; i < b.nr_e820; i++)
		block.memmap[i] = (struct hvm_memmap_table_entry){ .addr = b.e820[i].addr,
								   .size = b.e820[i].size,
								   .type = b.e820[i].type };
	lib_snprintf(block.cmdline, sizeof(block.cmdline), "%s%s", kernel->args, SWIOTLB);
	write_guest(b.block, &block, sizeof(block));
}

static void put_loader(void)
{
	const struct loader_header *l = (const void *)loader_blob;
	struct loader_params p = {
		.payload_paddr = b.kernel,
		.payload_size = boot_info.module[0].size,
		.scratch_paddr = b.scratch.start,
		.scratch_size = b.scratch.end - b.scratch.start,
	};

	write_guest(b.loader, loader_blob, l->file_size);
	write_guest(b.loader + l->params, &p, sizeof(p));
}

static int put_tables(void)
{
	void *buf = heap_alloc_pages(4); /* ACPI_BYTES */
	int size;

	if (!buf)
		return -ENOMEM;
	size = acpi0_build(buf, ACPI_BYTES, b.acpi, b.d->max_vcpus, &b.tables);
	if (size > 0)
		write_guest(b.acpi, buf, (size_t)size);
	heap_free_pages(buf, 4);
	return size < 0 ? size : 0;
}

/* --- the domain --- */

static int create(void)
{
	uint32_t vcpus = MIN(port_cpu_count(), (unsigned)DOMAIN_MAX_VCPUS); /* one for each CPU */
	struct domain_config c = {
		.id = 0,
		.max_vcpus = boot_options.dom0_max_vcpus ? boot_options.dom0_max_vcpus : vcpus,
		.max_evtchn_port = ~0u,
		.max_grant_frames = -1,
		.max_maptrack_frames = -1,
		.grant_opts = 2,
		.options = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
		.emulation = XEN_X86_EMU_LAPIC | XEN_X86_EMU_IOAPIC | XEN_X86_EMU_VPCI,
		.rights = RIGHT_ALL,
		.direct_mapped = true,
	};
	int rc = domain_create(&c, &b.d);

	for (uint32_t i = 0; i < c.max_vcpus && !rc; i++)
		rc = domain_vcpu_create(b.d, i);
	if (rc)
		log_err("dom0: cannot be created (error %d)", rc);
	return rc;
}

static int choose_memory(void)
{
	uint64_t total, want = boot_options.dom0_mem, got;

	boot_release_kernel_room();
	total = frame_free_count() << PAGE_SHIFT;
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		total += boot_info.module[i].size;
	if (!want)
		want = default_memory(total);
	want = ALIGN_DOWN(want, PAGE_SIZE);
	if (want > most_memory(total)) {
		log_err("dom0: %lu MiB (dom0_mem=) are more than the %lu MiB that it can have of this machine; give it "
			"less",
			want >> 20, most_memory(total) >> 20);
		return -ENOMEM;
	}
	if (want < MIN_DOM0)
		log_warn("dom0: %lu MiB are little for a Linux kernel; give it at least %llu MiB (dom0_mem=)",
			 want >> 20, MIN_DOM0 >> 20);
	got = choose_ram(want);
	log_info("dom0: %lu MiB of RAM, %u vCPU%s, 1:1 (no IOMMU is driven: its devices are not confined)", got >> 20,
		 b.d->max_vcpus, b.d->max_vcpus == 1 ? "" : "s");
	return 0;
}

static int connect_hardware(void)
{
	b.d->hvm->pm1_port = b.tables.pm1a_cnt;
	b.d->hvm->pm1_s5 = b.tables.pm1_s5;
	if (b.tables.pm1a_cnt)
		io_trap_port_range(b.d, b.tables.pm1a_cnt, (uint16_t)(b.tables.pm1a_cnt + 1));
	if (vpci_init(b.d, b.tables.mcfg_base, b.tables.mcfg_bus_start, b.tables.mcfg_bus_end))
		return -ENOMEM;
	for (unsigned i = 0; i < b.tables.nr_hidden; i++)
		vpci_hide(b.d, b.tables.hidden_bdf[i]);
	return 0;
}

static int load_modules(void)
{
	int rc = populate_all(false);

	if (rc)
		return rc;
	copy_module(b.kernel, &boot_info.module[0]);
	if (boot_info.nr_modules > 1)
		copy_module(b.initrd, &boot_info.module[1]);
	boot_release_modules();
	return populate_all(true);
}

int dom0_build(void)
{
	const struct loader_header *l = (const void *)loader_blob;
	int rc;

	rc = create();
	if (!rc)
		rc = choose_memory();
	if (!rc)
		rc = place_everything();
	if (rc)
		return rc;
	rc = load_modules();
	if (!rc)
		rc = put_tables();
	if (!rc)
		rc = make_e820();
	if (!rc)
		rc = connect_hardware();
	if (rc) {
		log_err("dom0: too little memory is left for its page tables (error %d); give it less (dom0_mem=)",
			-rc);
		return rc;
	}
	make_start_info();
	put_loader();
	guestmem_end();
	hvm_start_pvh(b.d->vcpu[0], (uint32_t)(b.loader + l->entry), (uint32_t)b.block);
	time_update_vcpu(b.d->vcpu[0]);
	b.d->created_paused = false;
	sched_up(b.d->vcpu[0]);
	sched_domain_unpause(b.d);
	return 0;
}
