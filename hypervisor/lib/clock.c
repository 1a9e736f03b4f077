/* Clock arithmetic: see lib.h. */
#include "lib/lib.h"

void lib_clock_scale(uint64_t khz, uint32_t *mul, int8_t *shift)
{
	uint64_t scaled = khz;
	int s = 0;

	/* mul = 10^6 * 2^32 / (khz << s), normalised to 2^31 <= mul < 2^32 */
	while (scaled > 2000000) {
		scaled >>= 1;
		s--;
	}
	while (scaled <= 1000000) {
		scaled <<= 1;
		s++;
	}
	*shift = (int8_t)s;
	*mul = (uint32_t)((1000000ull << (32 - s)) / khz);
}
