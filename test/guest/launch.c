// SPDX-License-Identifier: Apache-2.0
/*
 * A tool stack in one file: builds a PVH domain from the first module (another test kernel), lets it run to its end and
 * destroys it. Run by the rig as `NAME@domU`; the domain prints through port 0xe9. vcpus=N on the command line: that many.
 * copy=N: keeps a copy of the N pages from COPY_PAGE on as migration does, by what log-dirty says, while the domain runs.
 *
 * Owns: the domain it builds. Sources: public headers domctl.h, memory.h, hvm/save.h, arch-x86/hvm/start_info.h.
 */
#include "lib/guest.h"

#include <elf.h>
#include <xen/domctl.h>
#include <xen/hvm/save.h>

const char guest_name[] = "launch";

#define RAM_PAGES  12288U  /* 48 MiB: the kernels take memory from 24 MiB on */
#define COPY_PAGE  0x2800UL /* known to dirty.c */
#define START_PAGE 0x100UL /* start record, command line, map and a root pointer for ACPI in one page */
#define WINDOW	   16U
#define CHUNK	   512U
#define CONTEXT_MAX (1U << 20) /* 128 vCPUs have less than half of that */

static char *window;

static bool create(void)
{
	static struct xen_domctl op = {
		.u.createdomain =
			{
				.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
				.max_evtchn_port = 1023,
				.max_grant_frames = 64,
				.max_maptrack_frames = 64,
				.grant_opts = XEN_DOMCTL_GRANT_version(2),
				.arch.emulation_flags = XEN_X86_EMU_LAPIC,
			},
	};
	static xen_pfn_t list[CHUNK];
	struct xen_memory_reservation r = {.nr_extents = CHUNK};
	unsigned int vcpus = (unsigned int)guest_number("vcpus", 1);
	uint32_t tsc_khz = (uint32_t)guest_number("tsc-khz", 0);
	bool ok;

	op.u.createdomain.max_vcpus = vcpus;
	ok = CHECK_EQ("createdomain", peer_domctl(XEN_DOMCTL_createdomain, &op), 0);

	peer_domid = op.domain;
	op.u.max_vcpus.max = vcpus;
	ok = ok && CHECK_EQ("max_vcpus", peer_domctl(XEN_DOMCTL_max_vcpus, &op), 0);
	op.u.max_mem.max_memkb = (RAM_PAGES + 256) * 4;
	ok = ok && CHECK_EQ("max_mem", peer_domctl(XEN_DOMCTL_max_mem, &op), 0);
	op.u.paging_mempool.size = 4UL << 20;
	ok = ok && CHECK_EQ("paging pool", peer_domctl(XEN_DOMCTL_set_paging_mempool_size, &op), 0);
	if (tsc_khz) {
		op.u.tsc_info = (struct xen_domctl_tsc_info){.gtsc_khz = tsc_khz};
		ok = ok && CHECK_EQ("settscinfo", peer_domctl(XEN_DOMCTL_settscinfo, &op), 0);
	}
	r.domid = peer_domid;
	for (xen_pfn_t gfn = 0; ok && gfn < RAM_PAGES; gfn += CHUNK) {
		for (unsigned int i = 0; i < CHUNK; i++)
			list[i] = gfn + i;
		set_xen_guest_handle(r.extent_start, list);
		ok = CHECK_EQ("populate", hc_memory(XENMEM_populate_physmap, &r), CHUNK);
	}
	return ok;
}

/* Has the domain's pages from gfn on in the window. */
static bool window_open(unsigned long gfn, unsigned int pages)
{
	xen_ulong_t idx[WINDOW];
	xen_pfn_t here[WINDOW];
	int errs[WINDOW] = {0};
	struct xen_add_to_physmap_batch b = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_gmfn_foreign,
		.u.foreign_domid = peer_domid,
	};
	bool ok = true;

	b.size = (uint16_t)pages;
	for (unsigned int i = 0; i < b.size; i++) {
		idx[i] = gfn + i;
		here[i] = (unsigned long)window / PAGE_SIZE + i;
	}
	set_xen_guest_handle(b.idxs, idx);
	set_xen_guest_handle(b.gpfns, here);
	set_xen_guest_handle(b.errs, errs);
	if (!CHECK_EQ("map foreign pages", hc_memory(XENMEM_add_to_physmap_batch, &b), 0))
		return false;
	for (unsigned int i = 0; i < b.size; i++)
		ok &= CHECK_EQ("each of them", errs[i], 0);
	return ok;
}

static bool window_close(unsigned int pages)
{
	bool ok = true;

	for (unsigned int i = 0; i < pages; i++) {
		struct xen_remove_from_physmap x = {
			.domid = DOMID_SELF,
			.gpfn = (unsigned long)window / PAGE_SIZE + i,
		};

		ok &= CHECK_EQ("unmap it", hc_memory(XENMEM_remove_from_physmap, &x), 0);
	}
	return ok;
}

/* Writes into the domain's memory. */
static bool put(unsigned long at, const void *data, size_t n)
{
	size_t off = at % PAGE_SIZE, part = n < (WINDOW - 1) * PAGE_SIZE ? n : (WINDOW - 1) * PAGE_SIZE;
	unsigned int pages = (unsigned int)((off + part + PAGE_SIZE - 1) / PAGE_SIZE);
	bool ok = window_open(at / PAGE_SIZE, pages);

	if (ok)
		memcpy(window + off, data, part);
	return window_close(pages) && ok && (part == n || put(at + part, (const char *)data + part, n - part));
}

/* Loads the segments of a 32- or 64-bit ELF at their physical addresses; 0, or the entry address. */
static unsigned long load(const char *image)
{
	const Elf64_Ehdr *e64 = (const void *)image;
	const Elf32_Ehdr *e32 = (const void *)image;
	bool wide = image[EI_CLASS] == ELFCLASS64;
	unsigned int n = wide ? e64->e_phnum : e32->e_phnum;

	if (!CHECK("the module is an ELF", !memcmp(image, ELFMAG, SELFMAG)))
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		const Elf64_Phdr *p64 = (const void *)(image + e64->e_phoff + i * sizeof(*p64));
		const Elf32_Phdr *p32 = (const void *)(image + e32->e_phoff + i * sizeof(*p32));

		if ((wide ? p64->p_type : p32->p_type) != PT_LOAD)
			continue;
		if (!put(wide ? p64->p_paddr : p32->p_paddr, image + (wide ? p64->p_offset : p32->p_offset),
			 wide ? p64->p_filesz : p32->p_filesz))
			return 0;
	}
	return wide ? e64->e_entry : e32->e_entry;
}

struct start_page {
	struct hvm_start_info info;
	struct hvm_memmap_table_entry map[1];
	char rsdp[40];
	char command[128];
};

static bool start_record(const char *command)
{
	static struct start_page s = {.rsdp = "RSD PTR "};
	static struct {
		uint64_t addr, size;
		uint32_t type;
	} __attribute__((packed)) e820 = {0, RAM_PAGES * PAGE_SIZE, XEN_HVM_MEMMAP_TYPE_RAM};
	struct xen_foreign_memory_map fm = {.domid = peer_domid, .map.nr_entries = 1};
	unsigned long at = START_PAGE * PAGE_SIZE;

	s.info = (struct hvm_start_info){
		.magic = XEN_HVM_START_MAGIC_VALUE,
		.version = 1,
		.cmdline_paddr = at + offsetof(struct start_page, command),
		.rsdp_paddr = at + offsetof(struct start_page, rsdp),
		.memmap_paddr = at + offsetof(struct start_page, map),
		.memmap_entries = 1,
	};
	s.map[0] = (struct hvm_memmap_table_entry){0, RAM_PAGES * PAGE_SIZE, XEN_HVM_MEMMAP_TYPE_RAM, 0};
	for (size_t i = 0; command && command[i] && i < sizeof(s.command) - 1; i++)
		s.command[i] = command[i];
	set_xen_guest_handle(fm.map.buffer, (void *)&e820);
	return CHECK_EQ("set_memory_map", hc_memory(XENMEM_set_memory_map, &fm), 0) && put(at, &s, sizeof(s));
}

/* The PVH start state: 32-bit protected mode, flat segments, paging off, EBX at the start record. */
static bool registers(unsigned long entry)
{
	static struct {
		struct hvm_save_descriptor header_d;
		HVM_SAVE_TYPE(HEADER) header;
		struct hvm_save_descriptor cpu_d;
		HVM_SAVE_TYPE(CPU) cpu;
		struct hvm_save_descriptor end_d;
	} __attribute__((packed)) c;
	uint8_t *now;
	struct xen_domctl op = {.u.hvmcontext.size = 0};

	set_xen_guest_handle(op.u.hvmcontext.buffer, (uint8_t *)NULL);
	if (!CHECK_EQ("size of the context", peer_domctl(XEN_DOMCTL_gethvmcontext, &op), 0))
		return false;
	if (!CHECK("a size", op.u.hvmcontext.size > sizeof(c.header) && op.u.hvmcontext.size <= CONTEXT_MAX))
		return false;
	now = guest_pages((op.u.hvmcontext.size + PAGE_SIZE - 1) / PAGE_SIZE);
	set_xen_guest_handle(op.u.hvmcontext.buffer, now);
	if (!CHECK_EQ("gethvmcontext", peer_domctl(XEN_DOMCTL_gethvmcontext, &op), 0))
		return false;
	memcpy(&c.header_d, now, sizeof(c.header_d) + sizeof(c.header));
	CHECK_EQ("starts with the header", c.header_d.typecode, HVM_SAVE_CODE(HEADER));
	c.cpu_d = (struct hvm_save_descriptor){HVM_SAVE_CODE(CPU), 0, HVM_SAVE_LENGTH(CPU)};
	c.cpu.cr0 = 0x11;
	c.cpu.rip = entry;
	c.cpu.rbx = START_PAGE * PAGE_SIZE;
	c.cpu.rflags = 2;
	c.cpu.dr6 = 0xffff0ff0;
	c.cpu.dr7 = 0x400;
	c.cpu.cs_limit = c.cpu.ds_limit = c.cpu.es_limit = c.cpu.ss_limit = ~0U;
	c.cpu.cs_arbytes = 0xc9b;
	c.cpu.ds_arbytes = c.cpu.es_arbytes = c.cpu.ss_arbytes = 0xc93;
	c.cpu.tr_limit = 0x67;
	c.cpu.tr_arbytes = 0x8b;
	c.end_d = (struct hvm_save_descriptor){HVM_SAVE_CODE(END), 0, 0};
	op.u.hvmcontext.size = sizeof(c);
	set_xen_guest_handle(op.u.hvmcontext.buffer, (uint8_t *)&c);
	return CHECK_EQ("sethvmcontext", peer_domctl(XEN_DOMCTL_sethvmcontext, &op), 0);
}

static char *copy;
static unsigned int copy_pages, copied;
static uint8_t dirty[RAM_PAGES / 8];

static bool log_dirty(uint32_t what)
{
	struct xen_domctl op = {.u.shadow_op = {.op = what, .pages = RAM_PAGES}};

	set_xen_guest_handle(op.u.shadow_op.dirty_bitmap, dirty);
	return CHECK_EQ("log-dirty", peer_domctl(XEN_DOMCTL_shadow_op, &op), 0);
}

/* Each page is compared with (all), or put into, the copy. */
static bool copy_page(unsigned int i, bool all)
{
	bool ok = window_open(COPY_PAGE + i, 1);

	if (ok && all)
		ok = CHECK("the copy is the same", !memcmp(copy + i * PAGE_SIZE, window, PAGE_SIZE));
	else if (ok)
		memcpy(copy + i * PAGE_SIZE, window, PAGE_SIZE);
	copied++;
	return window_close(1) && ok;
}

static bool copy_round(void)
{
	bool ok = log_dirty(XEN_DOMCTL_SHADOW_OP_CLEAN);

	for (unsigned int i = 0; ok && i < copy_pages; i++)
		if (dirty[(COPY_PAGE + i) / 8] >> (COPY_PAGE + i) % 8 & 1)
			ok = copy_page(i, false);
	return ok;
}

/* The domain has ended: once more what was written since, then all of it must be there. */
static void copy_check(void)
{
	bool ok = copy_round();

	print("copied %u pages of %u\n", copied, copy_pages);
	CHECK("it wrote", copied > copy_pages);
	copied = 0;
	CHECK("the next round finds nothing to copy", copy_round() && copied == 0);
	for (unsigned int i = 0; ok && i < copy_pages; i++)
		ok = copy_page(i, true);
}

static void nap(void)
{
	struct sched_poll p = {.timeout = event_now() + 1000000};

	hc_sched(SCHEDOP_poll, &p);
}

static void run(void)
{
	struct xen_domctl op = {.cmd = 0};
	uint64_t end = event_now() + 60000000000UL;
	uint32_t flags = 0;

	copy_pages = (unsigned int)guest_number("copy", 0);
	copy = guest_pages(copy_pages);
	if (copy_pages && !log_dirty(XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY))
		return;
	for (unsigned int i = 0; i < copy_pages; i++)
		copy_page(i, false);
	copied = 0;
	CHECK_EQ("unpause", peer_domctl(XEN_DOMCTL_unpausedomain, &op), 0);
	while (!(flags & XEN_DOMINF_shutdown) && event_now() < end) {
		nap();
		if (copy_pages && !copy_round())
			return;
		if (!CHECK_EQ("getdomaininfo", peer_domctl(XEN_DOMCTL_getdomaininfo, &op), 0))
			return;
		flags = op.u.getdomaininfo.flags;
	}
	CHECK("the domain came to its end", flags & XEN_DOMINF_shutdown);
	if (copy_pages)
		copy_check();
	CHECK_EQ("by powering off", flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask, SHUTDOWN_poweroff);
}

static void destroy(void)
{
	struct xen_domctl op = {.cmd = 0};
	long rc = 0;

	CHECK_EQ("destroy", peer_domctl(XEN_DOMCTL_destroydomain, &op), 0);
	for (unsigned int i = 0; i < 1000 && rc == 0; i++) {
		nap();
		rc = peer_domctl(XEN_DOMCTL_getdomaininfo, &op);
		if (rc == 0 && op.domain != peer_domid)
			break;
	}
	CHECK("the domain is gone", rc == -XEN_ESRCH || op.domain != peer_domid);
}

void guest_main(void)
{
	const struct hvm_modlist_entry *m = (const void *)guest_info->modlist_paddr;
	unsigned long entry;

	event_init();
	if (guest_info->nr_modules == 0) {
		print("no module: nothing to launch\n");
		return;
	}
	window = peer_hole(WINDOW);
	if (!create())
		return;
	entry = load((const char *)m->paddr);
	if (entry && start_record((const char *)m->cmdline_paddr) && registers(entry))
		run();
	destroy();
}
