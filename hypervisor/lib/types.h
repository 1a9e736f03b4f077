/* Basic types of the whole hypervisor. Owns nothing, locks nothing. */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define ORDER_4K 0
#define ORDER_2M 9
#define ORDER_1G 18

/* Frame numbers are structs so that the compiler keeps the address spaces apart. */
typedef struct {
	uint64_t n; /* machine frame number */
} mfn_t;

typedef struct {
	uint64_t n; /* guest frame number of one domain */
} gfn_t;

#define MFN(x)	    ((mfn_t){ (x) })
#define GFN(x)	    ((gfn_t){ (x) })
#define MFN_INVALID MFN(~0ull)
#define GFN_INVALID GFN(~0ull)

static inline bool mfn_valid(mfn_t m)
{
	return m.n != ~0ull;
}

typedef uint64_t paddr_t; /* machine physical address */
typedef uint64_t gpa_t;	  /* guest physical address */
typedef uint64_t gva_t;	  /* guest virtual (linear) address */

#define ARRAY_SIZE(a)		      (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)		      ((a) < (b) ? (a) : (b))
#define MAX(a, b)		      ((a) > (b) ? (a) : (b))
#define DIV_UP(n, d)		      (((n) + (d)-1) / (d))
#define ALIGN_UP(x, a)		      (((x) + (a)-1) & ~((typeof(x))(a)-1))
#define ALIGN_DOWN(x, a)	      ((x) & ~((typeof(x))(a)-1))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define likely(x)		      __builtin_expect(!!(x), 1)
#define unlikely(x)		      __builtin_expect(!!(x), 0)
#define BIT(n)			      (1ull << (n))

#endif
