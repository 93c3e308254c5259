# SPDX-License-Identifier: GPL-2.0-only
"""Kernel functions of different kinds, each with a command that reaches it exactly once.

Nothing else in the guest reaches them: neither the shell nor a timer. Their paths are long,
because stepping continues in the callers until the return to user space.
"""

from __future__ import annotations

from kstep.session.session import Stepped

# fs/char_dev.c: through the driver's file operations
CALLS_THROUGH_POINTER = Stepped("chrdev_open", ": < /dev/zero", "one that calls through a pointer")

# fs/fs_struct.c: fs->lock and a sequence count, interrupts on
TAKES_SPINLOCK = Stepped(
    "set_fs_pwd", "cd /tmp", "one that takes a spinlock without disabling interrupts"
)

FUNCTIONS = (
    # kernel/sched/loadavg.c; then seq_printf, down to the copy to user space
    Stepped("get_avenrun", "cat /proc/loadavg", "a leaf"),
    # fs/proc/meminfo.c: over LRU lists and memory zones
    Stepped("meminfo_proc_show", "cat /proc/meminfo", "one with loops"),
    CALLS_THROUGH_POINTER,
    TAKES_SPINLOCK,
    # fs/namei.c
    Stepped("vfs_mkdir", "mkdir /tmp/new && rmdir /tmp/new", "one in the VFS"),
    # kernel/printk/printk.c; then vprintk_emit, which the first report of the fault
    # stepped, and which the kernel's own messages reach too
    Stepped("devkmsg_write", "echo kstep > /dev/kmsg", "printk's path"),
)
