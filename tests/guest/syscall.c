// SPDX-License-Identifier: GPL-2.0-only
// syscall NAME [COUNT] [ARG...]: one system call, COUNT times (1), so that a
// command takes one path through the kernel exactly that often. An ARG is an
// integer (0x and 0 as in C), `@` for a zeroed buffer of 64 KiB, else a string.
// `syscall list` names them all. Exit status 0 if the last call succeeded.

#include <asm/unistd.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	long number;
} calls[] = {
#include "syscalls.h"   // made by the Makefile from the toolchain's <asm/unistd.h>
};

static char buffer[65536];

static long argument(char *text)
{
	char *end;
	long value;

	if (strcmp(text, "@") == 0)
		return (long)buffer;
	value = strtol(text, &end, 0);
	return *text && !*end ? value : (long)text;
}

int main(int argc, char **argv)
{
	const size_t known = sizeof(calls) / sizeof(*calls);
	long a[6] = { 0 }, count = 1, result = 0;
	size_t i;
	char *end = "";

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		for (i = 0; i < known; i++)
			printf("%s %ld\n", calls[i].name, calls[i].number);
		return 0;
	}
	if (argc > 2)
		count = strtol(argv[2], &end, 10);
	if (argc < 2 || argc > 9 || *end || count < 1) {
		fprintf(stderr, "usage: syscall list | NAME [COUNT] [up to 6 ARGs]\n");
		return 2;
	}
	for (i = 0; i < known && strcmp(calls[i].name, argv[1]) != 0; i++)
		;
	if (i == known) {
		fprintf(stderr, "syscall: no system call is named %s: see syscall list\n", argv[1]);
		return 2;
	}
	for (int n = 3; n < argc; n++)
		a[n - 3] = argument(argv[n]);
	while (count--)
		result = syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
	printf("%s: %ld %s\n", argv[1], result, result < 0 ? strerrorname_np(errno) : "ok");
	return result < 0;
}
