// SPDX-License-Identifier: GPL-2.0-only
// PID 1 of the guest: mounts what triggers need, gives the serial console to a
// shell that reads commands from it, says when the first can be typed, and
// reaps. It changes no kernel setting: the kernel under test stays as it booted.

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

// No prompt and no line editing: a terminal's cursor query would turn up in the
// middle of what the driver reads. The trap keeps the shell when ^C stops a
// command, so that what follows on the line (a marker, say) still runs; a
// subshell has no trap, so a loop that ^C should stop goes in parentheses.
static const char plain[] = "trap : INT; echo \"$1\"; . /proc/self/fd/0";
static const char interactive[] = "echo \"$1\"; PS1='guest# ' exec sh -i";

// PID 1 must not end: the kernel panics, which the driver sees at once, where a
// loop here would cost it a whole timeout.
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
// terminal, without which ^C reaches nobody. It belongs to init's own session:
// were the shell the session's leader, its end would hang up the serial port.
static void open_console(void)
{
	char active[128], path[160], *name;

	first_line("/sys/class/tty/console/active", active, sizeof(active));
	name = strrchr(active, ' ');    // of several, the last is what /dev/console stands for
	name = name ? name + 1 : active;
	snprintf(path, sizeof(path), "/dev/%s", *name ? name : "console");
	setsid();
	close(0);
	if (open(path, O_RDWR) < 0 || ioctl(0, TIOCSCTTY, 0) < 0)
		die(path);
	dup2(0, 1);
	dup2(0, 2);
}

// Whatever the last shell left: an interactive one that was killed leaves the
// terminal raw and to its own process group, and then SIGTTOU would stop us here.
//
// A serial line that changes bytes must not have a command half done: nothing but the end of a
// line hands it to a shell that edits none. ^R shows what of a line has arrived.
static void sane_console(int edits)
{
	struct termios t;

	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(0, getpgrp());
	if (tcgetattr(0, &t) < 0)
		die("tcgetattr");
	t.c_iflag = ICRNL | IGNBRK;     // no IXON: no byte may stop the console
	t.c_oflag = OPOST | ONLCR;
	t.c_cflag |= CREAD | CLOCAL;
	t.c_lflag = ICANON | ISIG | ECHO | ECHOE | ECHOK | ECHOCTL | IEXTEN
		| NOFLSH;               // ^C throws away no output: it is evidence
	if (!edits) {
		static const int keys[] = { VEOF, VEOL, VEOL2, VQUIT, VSUSP };

		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			t.c_cc[keys[i]] = _POSIX_VDISABLE;
	}
	tcsetattr(0, TCSANOW, &t);
	signal(SIGTTOU, SIG_DFL);
}

static pid_t shell(const char *script, const char *greeting)
{
	char *argv[] = { "sh", "-c", (char *)script, "sh", (char *)greeting, NULL };
	char *envp[] = { "PATH=/bin:/sbin", "HOME=/", "TERM=dumb", NULL };
	pid_t pid;

	sane_console(script == interactive);
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
