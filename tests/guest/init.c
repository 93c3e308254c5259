// SPDX-License-Identifier: GPL-2.0-only
// PID 1 of the guest: mounts what triggers need, starts a shell on the serial console,
// prints when the first command can be typed, and reaps processes. It changes no
// kernel setting.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const struct {
	const char *type, *where;
	int optional;
} mounts[] = {
	{ "proc", "/proc", 0 },
	{ "sysfs", "/sys", 0 },
	{ "devtmpfs", "/dev", 0 },
	{ "tmpfs", "/tmp", 0 },
	{ "debugfs", "/sys/kernel/debug", 1 },
};

// No prompt and no line editing: a query of the cursor position would appear in what
// the driver reads. The trap keeps the shell when ^C stops a command, so that the rest
// of the line (a marker, say) still runs; a subshell has no trap, so put a loop that
// ^C should stop in parentheses.
static const char plain[] = "trap : INT; echo \"$1\"; . /proc/self/fd/0";
static const char interactive[] = "echo \"$1\"; PS1='guest# ' exec sh -i";

// Ends PID 1 on purpose: the kernel panics, which the driver sees at once; a loop here
// would cost a whole timeout.
static void die(const char *what)
{
	fprintf(stderr, "KSTEP-INIT %s: %s\n", what, strerror(errno));
	exit(1);
}

// The first line of a file, without its end; empty if there is none.
static void first_line(const char *path, char *text, int size)
{
	FILE *file = fopen(path, "re");

	if (!file || !fgets(text, size, file))
		*text = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (file)
		fclose(file);
}

// The tty behind /dev/console, for stdin, stdout and stderr and as controlling
// terminal, which ^C needs. It belongs to init's own session: if the shell were the
// session's leader, its end would hang up the serial port.
static void open_console(void)
{
	char active[128], path[160], *name;

	first_line("/sys/class/tty/console/active", active, sizeof(active));
	name = strrchr(active, ' ');    // the last of several is /dev/console
	name = name ? name + 1 : active;
	snprintf(path, sizeof(path), "/dev/%s", *name ? name : "console");
	setsid();
	close(0);
	if (open(path, O_RDWR) < 0 || ioctl(0, TIOCSCTTY, 0) < 0)
		die(path);
	dup2(0, 1);
	dup2(0, 2);
}

// Restores the terminal: an interactive shell that was killed leaves it raw and in its
// own process group, so SIGTTOU would stop init here.
static void sane_console(void)
{
	struct termios t;

	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(0, getpgrp());
	if (tcgetattr(0, &t) < 0)
		die("tcgetattr");
	t.c_iflag = ICRNL | IGNBRK;     // no IXON: no byte must stop the console
	t.c_oflag = OPOST | ONLCR;
	t.c_cflag |= CREAD | CLOCAL;
	t.c_lflag = ICANON | ISIG | ECHO | ECHOE | ECHOK | ECHOCTL
		| NOFLSH;               // ^C must not discard output: it is evidence
	tcsetattr(0, TCSANOW, &t);
	signal(SIGTTOU, SIG_DFL);
}

static pid_t shell(const char *script, const char *greeting)
{
	char *argv[] = { "sh", "-c", (char *)script, "sh", (char *)greeting, NULL };
	char *envp[] = { "PATH=/bin:/sbin", "HOME=/", "TERM=dumb", NULL };
	pid_t pid;

	sane_console();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		execve("/bin/busybox", argv, envp);
		die("/bin/busybox");
	}
	return pid;
}

int main(void)
{
	char cmdline[2048], greeting[160];
	const char *script;
	struct utsname uts;
	pid_t running;
	int status;

	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) < 0
		    && !mounts[i].optional)
			die(mounts[i].where);
	}
	open_console();
	if (access("/bin/busybox", X_OK) < 0)
		die("/bin/busybox");
	first_line("/proc/cmdline", cmdline, sizeof(cmdline));
	script = strstr(cmdline, "kstep.shell=interactive") ? interactive : plain;
	uname(&uts);
	snprintf(greeting, sizeof(greeting), "KSTEP-READY %s cpus=%d", uts.release, get_nprocs());
	running = shell(script, greeting);
	for (;;) {
		if (wait(&status) != running)
			continue;       // an orphan
		snprintf(greeting, sizeof(greeting), "KSTEP-SHELL again: the last ended with %s %d",
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		running = shell(script, greeting);
	}
}
