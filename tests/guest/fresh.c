// SPDX-License-Identifier: GPL-2.0-only
// fresh: times() into a page that is mapped and was never touched, so that the kernel's own
// store faults, and the page must be found. Prints why the call failed, if it did.

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED) {
		perror("fresh: mmap");
		return 2;
	}
	if (syscall(SYS_times, page) == -1)
		printf("fresh: %s\n", errno == EFAULT ? "EFAULT" : strerror(errno));
	return 0;
}
