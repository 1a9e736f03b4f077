/*
 * From the kernel file to the ELF file in it.
 */
#ifndef LOADER_UNPACK_H
#define LOADER_UNPACK_H

#include <stdint.h>

struct unpack_result {
	const uint8_t *data;
	uint64_t size; /* bytes */
};

/*
 * Finds the kernel in the file at data: a Linux bzImage (x86 boot protocol 2.08 or newer), the same or an ELF file
 * compressed with gzip, xz, lzma, zstd or legacy lz4, or an ELF file. Unpacks to the low end of scratch; the high end
 * is the decoders' heap. A file that is not compressed is returned where it is. What is returned starts with the ELF
 * magic. Ends the domain on an error.
 */
struct unpack_result unpack_kernel(const uint8_t *data, uint64_t size, uint8_t *scratch, uint64_t scratch_size);

#endif
