/*
 * The kernel as an ELF file (System V ABI, ELF-32/64), and its Xen notes (xen/elfnote.h).
 */
#ifndef LOADER_IMAGE_H
#define LOADER_IMAGE_H

#include <stdint.h>

/*
 * Checks the ELF file at data (size bytes), copies its PT_LOAD segments to their p_paddr, clears their bss and
 * returns the guest-physical entry point of the note XEN_ELFNOTE_PHYS32_ENTRY. Nothing is written before everything
 * was checked. Ends the domain on an error.
 */
uint32_t image_load(const uint8_t *data, uint64_t size);

#endif
