/*
 * The contract between the dom0 builder and the domain loader.
 *
 * The loader is a flat binary (build/loader/loader.bin) that the builder copies into the domain; it runs there as the
 * domain's first code, unpacks the kernel and enters it. Nothing here is shared with a running hypervisor.
 *
 * The builder:
 *  1. checks magic and version of the header at offset 0 of the binary;
 *  2. copies file_size bytes to a 4 KiB aligned guest-physical address below 4 GiB; the mem_size bytes from there
 *     on are the loader's (it clears what lies behind file_size itself);
 *  3. copies the kernel file, as it is, to payload_paddr (any alignment), builds struct hvm_start_info version 1 with a
 *     memory map, and the modules (the kernel is not one of them);
 *  4. writes struct loader_params at offset params of the copy;
 *  5. starts the vCPU in the PVH entry state (docs/misc/pvh of Xen: flat 32-bit protected mode, paging and interrupts
 *     off, EBX = guest-physical address of struct hvm_start_info) with EIP = copy + entry. No other register matters.
 *
 * Loader, payload, scratch, start info and everything that it points to lie in RAM below 4 GiB, do not overlap each
 * other, and must keep clear of where the kernel's segments go; the builder cannot know these of a compressed kernel,
 * so it should use the top of the low RAM (Linux takes 16 MiB upwards). Once the kernel runs, loader, payload and
 * scratch are ordinary free RAM. The kernel is entered in the same PVH state, with the same EBX.
 *
 * Errors end the domain with SHUTDOWN_crash after one line "loader: ..." on the console (CONSOLEIO_write) and port
 * 0xe9.
 */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#define LOADER_MAGIC   0x646c7347 /* "Gsld" */
#define LOADER_VERSION 1

/*
 * Scratch size: what the kernel is when unpacked plus LOADER_SCRATCH_EXTRA bytes (the dictionary of `lzma -9` is 64
 * MiB, of Linux' xz 32 or, since 6.9, 128 MiB; gzip, zstd and lz4 need 1 MiB). The last four bytes of a bzImage's
 * payload are the unpacked size. A builder that does not want to look gives the largest free range: too little is found
 * by the loader and said clearly. A plain ELF needs none (0, 0).
 */
#define LOADER_SCRATCH_EXTRA (72u << 20)

#ifndef __ASSEMBLER__
#include <stdint.h>

struct loader_params {
	uint64_t payload_paddr; /* the kernel file; guest-physical bytes */
	uint64_t payload_size;	/* its size in bytes, not 0 */
	uint64_t scratch_paddr; /* RAM the loader may overwrite, 4 KiB aligned */
	uint64_t scratch_size;	/* its size in bytes */
};

struct loader_header {
	uint32_t magic;	    /* LOADER_MAGIC */
	uint32_t version;   /* LOADER_VERSION */
	uint32_t entry;	    /* offset of the 32-bit entry point */
	uint32_t file_size; /* bytes of the binary */
	uint32_t mem_size;  /* bytes it occupies when running (with bss, page tables and stack) */
	uint32_t params;    /* offset of struct loader_params */
};
#endif

#endif
