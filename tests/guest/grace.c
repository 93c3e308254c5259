// SPDX-License-Identifier: GPL-2.0-only
// grace: waits for one RCU grace period after another, so that one is always in progress, until it
// is killed or its parent is gone. On one CPU the kernel waits for none (MEMBARRIER_CMD_GLOBAL in
// kernel/sched/membarrier.c).

#include <linux/membarrier.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		;
	perror("membarrier");
	return 2;
}
