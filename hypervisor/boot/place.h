/*
 * boot/place.c: which machine frames become the RAM of a 1:1 domain, and where in it the builder puts things. Boot CPU, start-up
 * only: no locks, no allocation.
 */
#ifndef BOOT_PLACE_H
#define BOOT_PLACE_H

#include "lib/types.h"

#define PLACE_MAX 64

struct place_range {
	uint64_t start, end; /* bytes, page aligned */
};

struct place {
	struct place_range ram[PLACE_MAX]; /* the domain's RAM, ascending */
	unsigned nr_ram;
	struct place_range taken[PLACE_MAX]; /* what nothing may be put into */
	unsigned nr_taken;
};

/* Chooses up to bytes of RAM, lowest first, out of usable ranges that the caller adds in ascending order. */
void place_add_ram(struct place *p, uint64_t start, uint64_t end, uint64_t *left);
void place_take(struct place *p, uint64_t start, uint64_t end);
/* The highest place for size bytes (page aligned) below limit, all RAM of the domain, nothing taken there; 0: none. */
uint64_t place_top(struct place *p, uint64_t size, uint64_t limit);
/* The largest free range below limit; size 0: none. It is taken. */
struct place_range place_largest(struct place *p, uint64_t limit);

#endif
