/*
 * Where things lie in the domain's memory, from the builder's struct hvm_start_info and struct loader_params, and
 * whether the kernel may be put somewhere. All addresses are guest-physical, identity mapped, below 4 GiB; sizes in
 * bytes.
 */
#ifndef LOADER_PLACE_H
#define LOADER_PLACE_H

#include <stdint.h>
#include <xen/arch-x86/hvm/start_info.h>

struct loader_header;
struct loader_params;

/* Checks the start info (arch-x86/hvm/start_info.h) and the parameters; to be called first. Ends the domain on an
 * error. */
void place_init(const struct hvm_start_info *info, const struct loader_header *head);

/* The parameters that place_init() found good. */
const struct loader_params *place_params(void);

/*
 * Ends the domain unless all of [start, start + size) is RAM by the memory map and free of the loader, its payload and
 * scratch, the start info and what it points to. name is what is to be put there, for the message. size 0 is fine
 * anywhere.
 */
void place_check(const char *name, uint64_t start, uint64_t size);

#endif
