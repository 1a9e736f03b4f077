/*
 * The heap behind the libraries' malloc. Hosted tests use their own malloc and make these do nothing.
 */
#ifndef LOADER_LIBC_H
#define LOADER_LIBC_H

#include <stdint.h>

/* Blocks are handed out downwards from top (an address, exclusive), until libc_heap_bottom() moves its lower end. */
void libc_heap_start(uintptr_t top, uintptr_t bottom);

/* The lower end of the heap; malloc fails (returns NULL) rather than go below. */
void libc_heap_bottom(uintptr_t bottom);

#endif
