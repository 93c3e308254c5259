/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a task runs. It exits with an error message if that fails. */

#ifndef CPU_H
#define CPU_H

#include "event.h"

#include <sched.h>

static void on_cpu(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

#endif
