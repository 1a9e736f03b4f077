/*
 * core/heap.c: the hypervisor's own memory. Grows and shrinks by 2 MiB chunks taken from core/frame.c and mapped with
 * one large page. Locks: one heap lock. Nothing here may be called on a hot path.
 */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include "lib/types.h"

void heap_init(void);
/* Zeroed; NULL when out of memory. Objects up to a page are aligned to their size rounded up to a power of two. */
void *heap_alloc(size_t size);
void heap_free(void *p, size_t size);	/* p may be NULL; size as allocated */
void *heap_alloc_pages(unsigned order); /* zeroed, contiguous, aligned to its size; order 0..6 */
void heap_free_pages(void *p, unsigned order);
uint64_t heap_free_frames(void);	     /* frames inside chunks that are unused (they count as free memory) */
uint64_t heap_free_frames_on(unsigned node); /* those of one NUMA node */
uint64_t heap_total_frames(void);	     /* frames in all chunks */
/* Of the frames in use: those that describe a chunk or are cut into small objects. They come and go with other allocations. */
uint64_t heap_overhead_frames(void);
uint64_t heap_small_objects(void); /* small objects in use */

#define heap_new(type) ((type *)heap_alloc(sizeof(type)))

#endif
