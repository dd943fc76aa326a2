/*
 * io_priority.c - the I/O thread goes first. It needs a core for some microseconds, many times a second, just when
 * compute threads hold all of them; while it waits, the drive stands still. Measured (two cores, two compute threads)
 * from a layer's begin to its first read, all under SCHED_FIFO: 4.5 ms without these means, 0.04 with them. A waiting
 * thread beside two that compute, SCHED_OTHER, on a busy machine, three quarters of the times: within 1 ms and 0.02.
 *
 * Every means is optional, and none needs to be undone: a short slice (Linux 6.12; anybody may ask for one), with which
 * a thread that wakes goes before those that have longer ones; a better nice value, where allowed; under a real-time
 * policy one priority more than the others, where allowed.
 */
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store/io_int.h"

#define SLICE_NS 100000u /* the shortest that the kernel gives */
#define NICER    10
#define DEADLINE 6u /* SCHED_DEADLINE, which <sched.h> may not name: somebody has thought of it */

/* The kernel's struct sched_attr, as far as all versions have it; glibc of 2022 has none, and <linux/sched/types.h> of
 * some versions does not go with <sched.h>. */
typedef struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;

void hs__io_thread_goes_first(void)
{
    attributes a = {0};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0)
        return;
    a.size = sizeof a;
    if (a.policy == SCHED_FIFO || a.policy == SCHED_RR) {
        a.priority++;
        (void)!syscall(SYS_sched_setattr, 0, &a, 0);
        return;
    }
    if (a.policy == DEADLINE)
        return;
    a.runtime = SLICE_NS;
    (void)!syscall(SYS_sched_setattr, 0, &a, 0);
    (void)!setpriority(PRIO_PROCESS, 0, a.nice - NICER); /* of this thread alone, on Linux */
}
