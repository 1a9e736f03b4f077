/* hvm/task.c: task switches that the CPU leaves to the hypervisor (EXIT_TASK). */
#ifndef HVM_TASK_H
#define HVM_TASK_H

struct vcpu;
struct exit;

/* All of it, or an exception in the old or the new task as the SDM has it. */
void task_switch(struct vcpu *v, const struct exit *e);

#endif
