/*
 * boot/: the composition root. What the boot loader told us (boot/multiboot.c), options (boot/cmdline.c), the hardware
 * domain (boot/dom0.c, boot/acpi0.c), and start-up as one list (boot/main.c).
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "core/sched.h"
#include "lib/types.h"

#define BOOT_MAX_MODULES 8
#define BOOT_MAX_RAM	 64

/* Where an unpacked Linux kernel lies. */
#define BOOT_KERNEL_START 0x1000000ull
#define BOOT_KERNEL_END	  0x7000000ull

struct boot_module {
	uint64_t start, size; /* machine addresses */
	char args[1024];      /* its command line, without its own name for dom0's kernel when the loader added one */
};

struct boot_info {
	char loader[64];
	char cmdline[1024];
	struct boot_module module[BOOT_MAX_MODULES];
	unsigned nr_modules;
	struct {
		uint64_t start, end;
		uint32_t type; /* E820_* numbers: 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 unusable */
	} ram[BOOT_MAX_RAM];   /* sorted, not overlapping */
	unsigned nr_ram;
	uint64_t rsdp; /* machine address of the ACPI RSDP, 0 = search the BIOS area */
	bool efi;
};

extern struct boot_info boot_info;

struct boot_options {
	char console[32];
	uint32_t com1_baud;
	uint16_t com1_port;
	int loglvl, guest_loglvl;	 /* enum log_level shown */
	uint64_t dom0_mem, dom0_mem_max; /* bytes, 0 = default */
	uint32_t dom0_max_vcpus;	 /* 0: as many as there are CPUs */
	bool noreboot;
	bool iommu;
	bool tsc_unstable;
	char spec_ctrl[64];	 /* defences against speculation (hvm/spec.h) */
	char virt_off[128];	 /* optional features of SVM or VMX that are not to be used */
	enum sched_policy sched; /* of Pool-0 */
	char raw[1024];		 /* as given, for XENVER_commandline */
};
extern struct boot_options boot_options;

/* magic and pointer as the loader left them; the data is reachable (identity mapped). Panics with a message. */
void multiboot_parse(uint32_t magic, const void *info);
void cmdline_parse(const char *s); /* unknown option: a warning; bad value: a message that names it */
/* dom0 takes its RAM next: the frames kept for its kernel become free. */
void boot_release_kernel_room(void);
/* The modules were copied: their frames become free. */
void boot_release_modules(void);
int dom0_build(void); /* 0 or -errno after one clear message */
/*
 * Writes dom0's tables (RSDP, XSDT, rewritten MADT; others passed by address) into buf, whose guest-physical address is gpa.
 * Returns the size used, or -errno. rsdp_gpa is set. PM1a control port and MCFG are returned for trapping.
 */
struct acpi0 {
	uint64_t rsdp_gpa;
	uint16_t pm1a_cnt;
	uint8_t pm1_s5; /* sleep type of S5 + 1, 0: unknown */
	uint64_t mcfg_base;
	uint8_t mcfg_bus_start, mcfg_bus_end;
	uint16_t hidden_bdf[4];
	unsigned nr_hidden;
};
int acpi0_build(void *buf, size_t size, uint64_t gpa, unsigned vcpus, struct acpi0 *out);

#endif
