/*
 * Start-up as one list, and who gets which memory at boot. Runs once, on the boot CPU, without locks.
 *
 * Invariant: every byte of RAM is either in `taken` (image, tables, modules, page 0, the start page of other CPUs) or was
 * given to frame_add_free() once. Modules' frames are given by boot_release_modules(), when dom0 has been built. Where its
 * kernel is to lie is taken, too, until dom0 takes its RAM, or the first allocations would leave holes there.
 */
#include "boot/boot.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/sched.h"
#include "core/time.h"
#include "core/timer.h"
#include "core/trace.h"
#include "hcall/version.h"
#include "hvm/run.h"
#include "lib/lib.h"
#include "port/boot.h"
#include "port/machine.h"

#define MIN_RAM	   (64ull << 20)
#define MAX_TAKEN  (BOOT_MAX_MODULES + 17)
#define LOW_END	   0xa0000ull
#define BELOW_4G   BIT(32)
#define TYPE_RAM   1
#define ENOUGH_RAM (192ull << 20) /* so much, and the room for dom0's kernel can be kept */

struct taken {
	uint64_t start, end;
	bool hyp; /* the hypervisor's for good */
};

static struct taken taken[MAX_TAKEN];
static unsigned nr_taken;
static bool modules_released;
static struct taken *kernel_room; /* NULL: it was not kept, or is released */

_Noreturn void boot_main(uint32_t magic, const void *info);

/* The machine or what it was given cannot be used, as the line before says: not our mistake, so no trace. */
static _Noreturn void stop(void)
{
	log_err("the machine has stopped");
	port_halt();
}

static void take_range(uint64_t start, uint64_t end, bool hyp)
{
	if (nr_taken == MAX_TAKEN)
		panic("too many memory ranges in use at start-up");
	taken[nr_taken++] = (struct taken){ start & PAGE_MASK, ALIGN_UP(end, PAGE_SIZE), hyp };
}

/* The highest size bytes of RAM below limit that nobody has taken, at a multiple of align; 0: none. */
static uint64_t find_ram(uint64_t size, uint64_t align, uint64_t limit)
{
	for (unsigned i = boot_info.nr_ram; i--;) {
		uint64_t end = MIN(boot_info.ram[i].end, limit), start;
		bool again = boot_info.ram[i].type == TYPE_RAM;

		while (again) {
			again = false;
			start = ALIGN_DOWN(end - size, align);
			if (end < size || start < boot_info.ram[i].start)
				break;
			for (unsigned k = 0; k < nr_taken; k++) {
				if (start < taken[k].end && start + size > taken[k].start) {
					end = taken[k].start;
					again = true;
				}
			}
			if (!again)
				return start;
		}
	}
	return 0;
}

static uint64_t take_ram(uint64_t size, uint64_t limit, const char *what)
{
	uint64_t start = find_ram(size, PAGE_SIZE, limit);

	if (!start && limit == BELOW_4G)
		start = find_ram(size, PAGE_SIZE, ~0ull);
	if (!start) {
		log_err("too little memory: no %lu KiB for %s; give the machine more", size >> 10, what);
		stop();
	}
	take_range(start, start + size, true);
	return start;
}

static uint64_t ram_total(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < boot_info.nr_ram; i++)
		if (boot_info.ram[i].type == TYPE_RAM)
			sum += boot_info.ram[i].end - boot_info.ram[i].start;
	return sum;
}

static void show_map(void)
{
	static const char *const names[] = { "?", "RAM", "reserved", "ACPI", "ACPI NVS", "unusable" };

	for (unsigned i = 0; i < boot_info.nr_ram; i++)
		log_info("  %012lx - %012lx %s", boot_info.ram[i].start, boot_info.ram[i].end,
			 names[MIN(boot_info.ram[i].type, 5u)]);
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		log_info("  module %u: %lx, %lu KiB: %s", i, boot_info.module[i].start, boot_info.module[i].size >> 10,
			 boot_info.module[i].args);
}

static void set_up_console(void)
{
	const struct boot_options *o = &boot_options;

	console_set_levels(MAX(o->loglvl, (int)LOG_ERR), o->guest_loglvl); /* why it cannot start is always said */
	if (!strcmp(o->console, "none"))
		port_boot_serial(0, 0);
	else if (o->com1_port != 0x3f8 || o->com1_baud != 115200)
		port_boot_serial(o->com1_port, o->com1_baud);
}

static void check_start(void)
{
	if (!boot_info.nr_modules)
		log_err("no modules: the boot loader must give dom0's kernel as the first and its initrd as the second "
			"(GRUB: multiboot2 gossamer.elf, module2 vmlinuz, module2 initrd; QEMU: -initrd "
			"vmlinuz,initrd)");
	else if (ram_total() < MIN_RAM)
		log_err("too little memory: %lu MiB, at least %llu MiB are needed; give the machine more",
			ram_total() >> 20, MIN_RAM >> 20);
	else
		return;
	stop();
}

/* The image, the modules and page 0 are where they are. */
static void take_given(void)
{
	paddr_t start, end;

	port_boot_image(&start, &end);
	take_range(0, PAGE_SIZE, false);
	take_range(start, end, true);
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		take_range(boot_info.module[i].start, boot_info.module[i].start + boot_info.module[i].size, false);
}

/* RAM that has no place in the frame table is left alone. */
static void drop_far_ram(void)
{
	uint64_t limit = FRAME_LIMIT_MAX << PAGE_SHIFT, before = ram_total();

	for (unsigned i = 0; i < boot_info.nr_ram; i++) {
		if (boot_info.ram[i].type != TYPE_RAM)
			continue;
		boot_info.ram[i].start = MIN(boot_info.ram[i].start, limit);
		boot_info.ram[i].end = MIN(boot_info.ram[i].end, limit);
	}
	if (ram_total() < before)
		log_warn("%lu MiB of RAM above 2 TiB are not used", (before - ram_total()) >> 20);
}

static void set_up_paging(void)
{
	paddr_t start[BOOT_MAX_RAM], end[BOOT_MAX_RAM];
	size_t frames;
	unsigned n = 0;

	for (unsigned i = 0; i < boot_info.nr_ram; i++) {
		if (boot_info.ram[i].type == TYPE_RAM) {
			start[n] = boot_info.ram[i].start;
			end[n++] = boot_info.ram[i].end;
		}
	}
	frames = port_boot_table_frames(start, end, n);
	port_boot_paging(take_ram(frames * PAGE_SIZE, BELOW_4G - 1, "page tables"), frames);
}

static void add_cpu_frames(void)
{
	size_t frames = port_boot_cpu_frames();

	port_boot_add_frames(take_ram(frames * PAGE_SIZE, BELOW_4G, "CPUs"), frames);
}

/* Gives [start, end) without what is taken to the allocator. Returns nothing left behind: whole frames only. */
static void free_range(uint64_t start, uint64_t end)
{
	while (start < end) {
		uint64_t stop = end, next = end;

		for (unsigned k = 0; k < nr_taken; k++) {
			if (taken[k].end <= start || taken[k].start >= stop)
				continue;
			stop = MAX(taken[k].start, start);
			next = taken[k].end;
		}
		if (stop > start)
			frame_add_free(start >> PAGE_SHIFT, stop >> PAGE_SHIFT);
		start = next;
	}
}

static void free_ram(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < boot_info.nr_ram; i++)
		if (boot_info.ram[i].type == TYPE_RAM)
			free_range(MAX(ALIGN_UP(boot_info.ram[i].start, PAGE_SIZE), start),
				   MIN(boot_info.ram[i].end & PAGE_MASK, end));
}

/* 2 MiB pieces where they fit; they hold nothing but the table. */
static void map_table(uint64_t start, uint64_t end)
{
	while (start < end) {
		unsigned order = !(start & (BIT(21) - 1)) && end - start >= BIT(21) ? ORDER_2M : ORDER_4K;

		if (!port_direct_map(MFN(start >> PAGE_SHIFT), order))
			panic("no page-table frame left for the frame table");
		start += PAGE_SIZE << order;
	}
}

static void set_up_frames(void)
{
	uint64_t limit = 0, bytes, table;
	void *map;

	for (unsigned i = 0; i < boot_info.nr_ram; i++)
		if (boot_info.ram[i].type == TYPE_RAM)
			limit = boot_info.ram[i].end >> PAGE_SHIFT;
	bytes = ALIGN_UP(FRAME_TABLE_BYTES(limit), PAGE_SIZE);
	table = take_ram(bytes, BELOW_4G, "the frame table");
	map_table(table, table + bytes);
	map = port_direct(MFN(table >> PAGE_SHIFT));
	memset(map, 0, bytes);
	frame_init(map, limit);
	for (unsigned k = 0; k < nr_taken; k++)
		if (taken[k].hyp)
			frame_mark_hyp(taken[k].start >> PAGE_SHIFT, taken[k].end >> PAGE_SHIFT);
	if (ram_total() >= ENOUGH_RAM) {
		take_range(BOOT_KERNEL_START, BOOT_KERNEL_END, false);
		kernel_room = &taken[nr_taken - 1];
	}
	free_ram(0, ~0ull);
}

void boot_release_kernel_room(void)
{
	if (!kernel_room)
		return;
	kernel_room->end = kernel_room->start;
	kernel_room = NULL;
	free_ram(BOOT_KERNEL_START, BOOT_KERNEL_END);
}

void boot_release_modules(void)
{
	if (modules_released)
		return;
	modules_released = true;
	for (unsigned i = 0; i < boot_info.nr_modules; i++) {
		uint64_t start = boot_info.module[i].start & PAGE_MASK;
		uint64_t end = ALIGN_UP(boot_info.module[i].start + boot_info.module[i].size, PAGE_SIZE);

		for (unsigned k = 0; k < nr_taken; k++) {
			if (taken[k].hyp || taken[k].start != start || taken[k].end != end)
				continue;
			taken[k].end = taken[k].start; /* a page that two modules share goes with the second */
			free_range(start, end);
			break;
		}
	}
}

static void set_up_cpus(paddr_t trampoline)
{
	port_boot_cpus(trampoline, NR_CPUS);
	for (unsigned i = 0; i < port_cpu_count(); i++)
		timer_cpu_init(i);
	log_info("%u CPU%s online", port_cpu_count(), port_cpu_count() == 1 ? "" : "s");
}

/* When dom0 is built: what is neither its nor free. */
static void show_memory(void)
{
	uint64_t all = ram_total() >> 10, dom0 = domain_find(0)->frames * 4, free = frame_free_count() * 4;

	log_info("memory: %lu MiB: dom0 %lu KiB, free %lu KiB, the hypervisor's %lu KiB", all >> 10, dom0, free,
		 all - dom0 - free);
}

_Noreturn void boot_main(uint32_t magic, const void *info)
{
	paddr_t trampoline;

	port_boot_early();
	log_info("Gossamer: a thin hypervisor with the Xen 4.17 interface");
	multiboot_parse(magic, info);
	cmdline_parse(boot_info.cmdline);
	version_set_cmdline(boot_info.cmdline);
	set_up_console();
	log_info("started by %s, options: %s", boot_info.loader, boot_info.cmdline);
	show_map();
	drop_far_ram();
	check_start();

	take_given();
	trampoline = take_ram(PAGE_SIZE, LOW_END, "the start of other CPUs");
	set_up_paging();
	port_boot_acpi(boot_info.rsdp);
	add_cpu_frames();
	set_up_frames();
	heap_init();

	port_boot_devices();
	if (boot_options.tsc_unstable)
		port_boot_distrust_tsc();
	set_up_cpus(trampoline);
	if (run_init(boot_options.virt_off, boot_options.spec_ctrl))
		stop();
	domain_init();
	domain_no_reboot = boot_options.noreboot;
	sched_init(boot_options.sched);
	time_init();
	trace_init();

	if (dom0_build())
		stop();
	boot_release_modules();
	show_memory();
	console_set_levels(boot_options.loglvl, boot_options.guest_loglvl);
	port_boot_release(); /* not before: they take frames, and dom0 is to have those of its addresses */
	run_loop();
}
