/* boot/place.c: see place.h. Owns nothing but what the caller passes; no locks. */
#include "boot/place.h"

#include "core/log.h"

void place_add_ram(struct place *p, uint64_t start, uint64_t end, uint64_t *left)
{
	start = ALIGN_UP(start, PAGE_SIZE);
	end = ALIGN_DOWN(end, PAGE_SIZE);
	if (start >= end || !*left)
		return;
	end = MIN(end, start + *left);
	*left -= end - start;
	if (p->nr_ram && p->ram[p->nr_ram - 1].end == start) {
		p->ram[p->nr_ram - 1].end = end;
		return;
	}
	if (p->nr_ram < PLACE_MAX)
		p->ram[p->nr_ram++] = (struct place_range){ start, end };
}

void place_take(struct place *p, uint64_t start, uint64_t end)
{
	if (p->nr_taken == PLACE_MAX)
		panic("the boot loader's modules and firmware ranges are more than %u", PLACE_MAX);
	p->taken[p->nr_taken++] = (struct place_range){ ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE) };
}

/* The highest end <= limit such that [end - size, end) meets nothing taken within [floor, limit). 0: none. */
static uint64_t fit_below(const struct place *p, uint64_t floor, uint64_t limit, uint64_t size)
{
	uint64_t end = limit;

	for (unsigned i = 0; i < p->nr_taken;) {
		const struct place_range *t = &p->taken[i];

		if (end < floor + size)
			return 0;
		if (t->start < end && t->end > end - size) {
			end = t->start;
			i = 0;
		} else {
			i++;
		}
	}
	return end >= floor + size ? end : 0;
}

uint64_t place_top(struct place *p, uint64_t size, uint64_t limit)
{
	size = ALIGN_UP(size, PAGE_SIZE);
	for (unsigned i = p->nr_ram; i-- > 0;) {
		uint64_t end = fit_below(p, p->ram[i].start, MIN(p->ram[i].end, limit), size);

		if (p->ram[i].start < limit && end) {
			place_take(p, end - size, end);
			return end - size;
		}
	}
	return 0;
}

struct place_range place_largest(struct place *p, uint64_t limit)
{
	struct place_range best = { 0, 0 };

	for (unsigned i = 0; i < p->nr_ram; i++) {
		uint64_t at = p->ram[i].start, stop = MIN(p->ram[i].end, limit);

		while (at < stop) {
			uint64_t end = stop, next = stop;

			/* The nearest taken range at or above at bounds this gap. */
			for (unsigned k = 0; k < p->nr_taken; k++) {
				const struct place_range *t = &p->taken[k];

				if (t->end <= at || t->start >= end)
					continue;
				end = MAX(t->start, at);
				next = t->end;
			}
			if (end - at > best.end - best.start)
				best = (struct place_range){ at, end };
			at = end == stop ? stop : next;
		}
	}
	if (best.end > best.start)
		place_take(p, best.start, best.end);
	return best;
}
