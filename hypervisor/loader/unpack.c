/*
 * Unpacks the kernel file with the distribution's libraries, decoders only. Stateless; everything that is read from
 * the file is checked against its size, everything that is written stays inside scratch.
 *
 * Sources: Linux Documentation/arch/x86/boot.rst (setup header, <asm/bootparam.h>), RFC 1952 (gzip), RFC 8878 (zstd),
 * the .xz and .lzma file format descriptions, the LZ4 frame description ("legacy frame").
 */
#include "loader/unpack.h"
#include "loader/libc.h"
#include "loader/report.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define MIB	      (1ull << 20)
#define HEAP_SMALL    MIB	 /* more than zlib's, zstd's and liblzma's state without the dictionary */
#define SETUP_OFFSET  0x1f1	 /* of struct setup_header in a bzImage */
#define SETUP_MAGIC   0x53726448 /* "HdrS" */
#define SETUP_VERSION 0x208	 /* the first with payload_offset */
#define SETUP_SECTOR  512
#define LZ4_MAGIC     0x184c2102
#define LZ4_BLOCK     (8 * MIB)

struct job {
	const char *format;
	const uint8_t *in;
	uint64_t in_size;
	uint8_t *out;
	uint64_t out_room; /* scratch for both, until less_heap() */
};

enum format { FORMAT_UNKNOWN, FORMAT_ELF, FORMAT_GZIP, FORMAT_XZ, FORMAT_LZMA, FORMAT_ZSTD, FORMAT_LZ4 };

_Noreturn static void damaged(const struct job *job, const char *how)
{
	report_fail("the %s data of the kernel %s: the file is truncated or damaged, replace it", job->format, how);
}

_Noreturn static void too_small(const struct job *job, uint64_t more)
{
	report_fail(
		"0x%lx bytes of scratch do not hold the kernel unpacked from %s (0x%lx more needed): give the domain "
		"more memory or use an uncompressed kernel",
		job->out_room, job->format, more);
}

/* Takes the decoder's heap off the upper end of the scratch area. */
static void take_heap(struct job *job, uint64_t bytes)
{
	uintptr_t top = (uintptr_t)job->out + job->out_room;

	if (bytes > job->out_room)
		too_small(job, bytes - job->out_room);
	job->out_room -= bytes;
	libc_heap_start(top, top - bytes);
}

static uint64_t unpack_gzip(struct job *job)
{
	z_stream z = { 0 };
	int rc;

	take_heap(job, HEAP_SMALL);
	z.next_in = (uint8_t *)job->in;
	z.avail_in = (uInt)job->in_size;
	z.next_out = job->out;
	z.avail_out = (uInt)job->out_room;
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		too_small(job, HEAP_SMALL);
	rc = inflate(&z, Z_FINISH);
	if (rc == Z_MEM_ERROR)
		too_small(job, HEAP_SMALL);
	if (rc != Z_STREAM_END && !z.avail_out)
		too_small(job, MIB);
	if (rc != Z_STREAM_END)
		damaged(job, z.avail_in ? "does not decode" : "ends early");
	inflateEnd(&z);
	return job->out_room - z.avail_out;
}

/*
 * How much memory the dictionary needs stands in the data. liblzma tells when it hits its limit, so the first call gets
 * the lowest limit there is, and the second one that scratch can afford.
 */
static void take_lzma_heap(struct job *job, lzma_stream *z)
{
	uint64_t need;
	lzma_ret rc;

	z->next_out = job->out;
	z->avail_out = job->out_room; /* the .lzma decoder reads nothing without room; neither writes yet */
	rc = lzma_code(z, LZMA_RUN);
	if (rc != LZMA_MEMLIMIT_ERROR)
		damaged(job, z->avail_in ? "has a bad header" : "ends early");
	need = lzma_memusage(z);
	if (need > job->out_room)
		too_small(job, need - job->out_room);
	job->out_room -= need;
	libc_heap_bottom((uintptr_t)job->out + job->out_room);
	if (lzma_memlimit_set(z, need) != LZMA_OK)
		damaged(job, "has a bad header");
	z->avail_out = job->out_room;
}

static uint64_t unpack_lzma(struct job *job, enum format format)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret rc;

	take_heap(job, HEAP_SMALL);
	rc = format == FORMAT_XZ ? lzma_stream_decoder(&z, 1, 0) : lzma_alone_decoder(&z, 1);
	if (rc != LZMA_OK)
		too_small(job, HEAP_SMALL);
	z.next_in = job->in;
	z.avail_in = job->in_size;
	take_lzma_heap(job, &z);
	do {
		rc = lzma_code(&z, LZMA_FINISH);
	} while (rc == LZMA_OK);
	if (rc == LZMA_MEM_ERROR || rc == LZMA_MEMLIMIT_ERROR || (rc == LZMA_BUF_ERROR && !z.avail_out))
		too_small(job, MIB);
	if (rc == LZMA_OPTIONS_ERROR || rc == LZMA_UNSUPPORTED_CHECK)
		report_fail(
			"the %s data of the kernel uses an option that liblzma lacks: use the options of Linux' build",
			job->format);
	if (rc != LZMA_STREAM_END)
		damaged(job, rc == LZMA_BUF_ERROR ? "ends early" : "does not decode");
	lzma_end(&z);
	return job->out_room - z.avail_out;
}

static uint64_t unpack_zstd(struct job *job)
{
	ZSTD_DCtx *context;
	size_t n;

	take_heap(job, HEAP_SMALL);
	context = ZSTD_createDCtx();
	if (!context)
		too_small(job, HEAP_SMALL);
	n = ZSTD_decompressDCtx(context, job->out, job->out_room, job->in, job->in_size);
	ZSTD_freeDCtx(context);
	if (ZSTD_isError(n) && ZSTD_getFrameContentSize(job->in, job->in_size) < ZSTD_CONTENTSIZE_ERROR - 1 &&
	    ZSTD_getFrameContentSize(job->in, job->in_size) > job->out_room)
		too_small(job, ZSTD_getFrameContentSize(job->in, job->in_size) - job->out_room);
	if (ZSTD_isError(n))
		damaged(job, "does not decode");
	return n;
}

/* A legacy frame: the magic number, then blocks of up to 8 MiB, each after its compressed size, to the end of the file.
 */
static uint64_t unpack_lz4(struct job *job)
{
	uint64_t at = 0, got = 0, room;
	uint32_t size;
	int n;

	while (at < job->in_size) {
		if (job->in_size - at < sizeof(size))
			damaged(job, "ends early");
		memcpy(&size, job->in + at, sizeof(size));
		at += sizeof(size);
		if (size == LZ4_MAGIC)
			continue;
		if (size > LZ4_COMPRESSBOUND(LZ4_BLOCK))
			damaged(job, "does not decode");
		if (size > job->in_size - at)
			damaged(job, "ends early");
		room = job->out_room - got < LZ4_BLOCK ? job->out_room - got : LZ4_BLOCK;
		n = LZ4_decompress_safe((const char *)job->in + at, (char *)job->out + got, (int)size, (int)room);
		if (n < 0 && room < LZ4_BLOCK)
			too_small(job, LZ4_BLOCK - room);
		if (n < 0)
			damaged(job, "does not decode");
		got += (uint32_t)n;
		at += size;
	}
	return got;
}

static enum format find_format(const struct job *job)
{
	static const struct {
		enum format format;
		uint8_t length;
		char magic[8];
	} known[] = {
		{ FORMAT_ELF, SELFMAG, ELFMAG },	{ FORMAT_GZIP, 2, "\x1f\x8b" },
		{ FORMAT_XZ, 6, "\3757zXZ" },		{ FORMAT_LZMA, 3, "\x5d\0\0" },
		{ FORMAT_ZSTD, 4, "\x28\xb5\x2f\xfd" }, { FORMAT_LZ4, 4, "\x02\x21\x4c\x18" },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (job->in_size >= known[i].length && !memcmp(job->in, known[i].magic, known[i].length))
			return known[i].format;
	}
	return FORMAT_UNKNOWN;
}

static const char *format_name(enum format format)
{
	switch (format) {
	case FORMAT_GZIP:
		return "gzip";
	case FORMAT_XZ:
		return "xz";
	case FORMAT_LZMA:
		return "lzma";
	case FORMAT_ZSTD:
		return "zstd";
	case FORMAT_LZ4:
		return "lz4";
	default:
		return "plain";
	}
}

static uint64_t unpack_format(struct job *job, enum format format)
{
	switch (format) {
	case FORMAT_GZIP:
		return unpack_gzip(job);
	case FORMAT_XZ:
	case FORMAT_LZMA:
		return unpack_lzma(job, format);
	case FORMAT_ZSTD:
		return unpack_zstd(job);
	case FORMAT_LZ4:
		return unpack_lz4(job);
	default:
		report_fail(
			"the kernel is neither a bzImage nor an ELF file, and not packed with gzip, xz, lzma, zstd or "
			"lz4: pass such a kernel");
	}
}

/*
 * When the file is a bzImage, narrows the job to its payload and returns the unpacked size that the kernel's build left
 * in the payload's last four bytes (they are gzip's own trailer, and follow the data of the other formats); else 0.
 */
static uint64_t open_bzimage(struct job *job)
{
	struct setup_header setup;
	uint64_t start, length;
	uint32_t unpacked;

	if (job->in_size < SETUP_OFFSET + sizeof(setup))
		return 0;
	memcpy(&setup, job->in + SETUP_OFFSET, sizeof(setup));
	if (setup.boot_flag != 0xaa55 || setup.header != SETUP_MAGIC)
		return 0;
	if (setup.version < SETUP_VERSION)
		report_fail("the bzImage has boot protocol 0x%lx: the loader needs 0x208 or newer, use a newer kernel",
			    (uint64_t)setup.version);
	start = ((setup.setup_sects ? setup.setup_sects : 4) + 1) * SETUP_SECTOR + (uint64_t)setup.payload_offset;
	length = setup.payload_length;
	if (length < sizeof(unpacked) || start + length > job->in_size)
		report_fail("the bzImage has 0x%lx bytes, but its payload is 0x%lx bytes at 0x%lx: the file is "
			    "truncated or "
			    "damaged, replace it",
			    job->in_size, length, start);
	job->in += start;
	job->in_size = length;
	memcpy(&unpacked, job->in + length - sizeof(unpacked), sizeof(unpacked));
	return unpacked;
}

struct unpack_result unpack_kernel(const uint8_t *data, uint64_t size, uint8_t *scratch, uint64_t scratch_size)
{
	struct job job = { .in = data, .in_size = size, .out = scratch, .out_room = scratch_size };
	uint64_t stated, got;
	enum format format;

	stated = open_bzimage(&job);
	format = find_format(&job);
	job.format = format_name(format);
	if (format == FORMAT_ELF)
		return (struct unpack_result){ job.in, job.in_size };
	if (stated && format != FORMAT_GZIP)
		job.in_size -= sizeof(uint32_t);
	if (stated > scratch_size)
		too_small(&job, stated - scratch_size);
	got = unpack_format(&job, format);
	if (stated && got != stated)
		report_fail(
			"the kernel unpacked from %s has 0x%lx bytes instead of 0x%lx: the file is damaged, replace it",
			job.format, got, stated);
	if (got < SELFMAG || memcmp(scratch, ELFMAG, SELFMAG))
		report_fail("what was packed with %s is not an ELF file: pass a kernel with a PVH entry", job.format);
	return (struct unpack_result){ scratch, got };
}
