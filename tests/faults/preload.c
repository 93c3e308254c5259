/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Preloaded into kstep: makes the disk full at the n-th use of it below some folders, in whichever
 * process, and moves the clock of the day. The plan is a file, shared by all processes:
 * see faults.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, ONCE, FULL, TORN, SHORT };

struct plan {
	uint64_t uses;		/* of the disk, so far */
	uint64_t at;		/* the use at which the fault is due, from 1 */
	uint64_t how;
	uint64_t clock_reads;	/* so far */
	uint64_t clock_at;	/* the reading from which the clock is another, from 1; 0: never */
	int64_t clock_moved;	/* by so many seconds */
	char folders[2][PATH_MAX];
};

static struct plan *plan;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Take up the plan: when it is loaded, or later in a process that was forked. */
__attribute__((constructor)) void kstep_faults(void)
{
	const char *file = getenv("KSTEP_FAULTS");
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (plan == MAP_FAILED)
		plan = NULL;
	close(fd);
}

static int below(const char *path)
{
	for (int i = 0; i < 2; i++) {
		size_t length = strlen(plan->folders[i]);

		if (length && !strncmp(path, plan->folders[i], length))
			return 1;
	}
	return 0;
}

/* What happens to this use of a file; NOTHING if it is not in the folders. */
static int use_path(const char *path)
{
	if (!plan || !path || !below(path))
		return NOTHING;
	uint64_t use = __atomic_add_fetch(&plan->uses, 1, __ATOMIC_SEQ_CST);

	if (use == plan->at)
		return plan->how;
	if (use > plan->at && plan->at && (plan->how == FULL || plan->how == TORN))
		return FULL;
	return NOTHING;
}

static int use(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t length;

	if (!plan)
		return NOTHING;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return NOTHING;
	path[length] = 0;
	return use_path(path);
}

static int full(int how)
{
	if (how != ONCE && how != FULL)
		return 0;
	errno = ENOSPC;
	return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
	int how = use(fd);

	if (full(how))
		return -1;
	if ((how == TORN || how == SHORT) && size > 1)
		size /= 2;
	return REAL(write)(fd, data, size);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
	int how = use(out);

	if (full(how))
		return -1;
	if ((how == TORN || how == SHORT) && count > 1)
		count = 2;
	return REAL(sendfile64)(out, in, offset, count);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	return sendfile64(out, in, (off64_t *)offset, count);
}

int mkdir(const char *path, mode_t mode)
{
	return full(use_path(path)) ? -1 : REAL(mkdir)(path, mode);
}

int fsync(int fd)
{
	return full(use(fd)) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
	return full(use(fd)) ? -1 : REAL(fdatasync)(fd);
}

static int open_it(const char *path, int flags, mode_t mode)
{
	if (flags & O_CREAT && access(path, F_OK) && full(use_path(path)))
		return -1;
	return (int)REAL(openat)(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	__builtin_va_list more;

	__builtin_va_start(more, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? __builtin_va_arg(more, mode_t) : 0;
	__builtin_va_end(more);
	return open_it(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	__builtin_va_list more;

	__builtin_va_start(more, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? __builtin_va_arg(more, mode_t) : 0;
	__builtin_va_end(more);
	return open_it(path, flags | O_LARGEFILE, mode);
}

static long moved(void)
{
	if (!plan || !plan->clock_at)
		return 0;
	uint64_t reading = __atomic_add_fetch(&plan->clock_reads, 1, __ATOMIC_SEQ_CST);

	return reading >= plan->clock_at ? plan->clock_moved : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = REAL(clock_gettime)(clock, now);

	if (!status && clock == CLOCK_REALTIME)
		now->tv_sec += moved();
	return status;
}

time_t time(time_t *now)
{
	struct timespec it;

	clock_gettime(CLOCK_REALTIME, &it);
	if (now)
		*now = it.tv_sec;
	return it.tv_sec;
}
