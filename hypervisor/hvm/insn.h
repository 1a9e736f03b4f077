/*
 * hvm/insn.c: the bytes of the instruction at a vCPU's RIP, for exits where the CPU does not give its length.
 * insn_length() is declared in hvm/hvm.h.
 */
#ifndef HVM_INSN_H
#define HVM_INSN_H

#include "hvm/decode.h"

struct vcpu;

/*
 * Reads up to INSN_MAX bytes from CS:RIP of the current vCPU, want of them surely. Returns how many (>=
 * want, or all there are when the next page cannot be fetched); 0: not even the first, and the page fault
 * is injected.
 */
unsigned insn_fetch(struct vcpu *v, uint8_t buf[INSN_MAX]);
unsigned insn_bits(struct vcpu *v); /* 16, 32 or 64: default size of the code that runs */
/* Fetches and decodes. False with *injected set: a fault was injected; else the bytes are no instruction we know. */
bool insn_get(struct vcpu *v, struct insn *out, bool *injected);
/* A general register by its number in instructions (0 rax .. 15 r15). */
uint64_t *insn_gpr(struct vcpu *v, unsigned reg);

#endif
