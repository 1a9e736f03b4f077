/*
 * lib/tree.c: see tree.h. Invariants: in-order the keys never fall; a parent's priority is never below its children's;
 * first is the leftmost node; count is the number of nodes.
 */
#include "lib/tree.h"

/* xorshift: the same numbers in each run, which is all that balance needs. */
static uint32_t next_random(struct tree *t)
{
	uint32_t x = t->random ? t->random : 0x9e3779b9u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	t->random = x;
	return x;
}

/* Where the pointer to n is. */
static struct tree_node **place_of(struct tree *t, const struct tree_node *n)
{
	if (!n->up)
		return &t->root;
	return n->up->left == n ? &n->up->left : &n->up->right;
}

/* n, a child, goes above its parent. */
static void rotate_up(struct tree *t, struct tree_node *n)
{
	struct tree_node *p = n->up, **place = place_of(t, p), *moved;

	if (p->left == n) {
		moved = n->right;
		p->left = moved;
		n->right = p;
	} else {
		moved = n->left;
		p->right = moved;
		n->left = p;
	}
	if (moved)
		moved->up = p;
	n->up = p->up;
	p->up = n;
	*place = n;
}

void tree_insert(struct tree *t, struct tree_node *n, uint64_t key)
{
	struct tree_node **at = &t->root, *up = NULL;
	bool least = true;

	while (*at) {
		up = *at;
		if (key < up->key) {
			at = &up->left;
		} else {
			at = &up->right;
			least = false;
		}
	}
	n->up = up;
	n->left = n->right = NULL;
	n->key = key;
	n->priority = next_random(t);
	*at = n;
	if (least)
		t->first = n;
	t->count++;
	while (n->up && n->up->priority < n->priority)
		rotate_up(t, n);
}

void tree_remove(struct tree *t, struct tree_node *n)
{
	struct tree_node *child;

	if (t->first == n)
		t->first = tree_next(n);
	while (n->left && n->right)
		rotate_up(t, n->left->priority > n->right->priority ? n->left : n->right);
	child = n->left ? n->left : n->right;
	*place_of(t, n) = child;
	if (child)
		child->up = n->up;
	t->count--;
}

struct tree_node *tree_next(const struct tree_node *n)
{
	const struct tree_node *up;

	if (n->right) {
		n = n->right;
		while (n->left)
			n = n->left;
		return (struct tree_node *)n;
	}
	for (up = n->up; up && up->right == n; up = up->up)
		n = up;
	return (struct tree_node *)up;
}
