/*
 * lib/tree.c: an ordered tree of nodes that the caller embeds: a treap, so every operation takes about log2 of the number
 * of nodes. Equal keys keep the order in which they came. No recursion, no allocation. Locks: the caller's.
 */
#ifndef LIB_TREE_H
#define LIB_TREE_H

#include "lib/types.h"

struct tree_node {
	struct tree_node *up, *left, *right;
	uint64_t key;	   /* not changed while it is in a tree */
	uint32_t priority; /* random: a parent's is never below its children's */
};

struct tree {
	struct tree_node *root, *first; /* first: the least, or NULL */
	uint32_t count;
	uint32_t random;
};

void tree_insert(struct tree *t, struct tree_node *n, uint64_t key); /* behind its equals */
void tree_remove(struct tree *t, struct tree_node *n);
struct tree_node *tree_next(const struct tree_node *n); /* in order; NULL at the end */

#endif
