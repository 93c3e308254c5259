# SPDX-License-Identifier: GPL-2.0-only
"""Checks of kdb's commands for the system and for kdb itself, and of its `grep`.

They compare with the guest's /proc and dmesg, and with kdb's output as this code filters it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.session.checks import checks, must, must_be

if TYPE_CHECKING:
    from kstep.session.target import Target

# Commands of kernel/debug/kdb/ that need no more options than base.config sets.
COMMANDS = """
md mdr mdp mds mm go rd rm ef bt btp bta btc btt env set help ? cpu kgdb ps pid reboot lsmod
sr dmesg defcmd kill summary per_cpu grephelp bp bl bc be bd ss
"""
MACROS = ("dumpcommon", "dumpall", "dumpcpu")  # kernel/debug/kdb/kdb_cmds
HEADER = 2  # lines


def help_names_all(target: Target) -> None:
    """`help` names every command and macro, once."""
    with target.in_kdb() as kdb:
        text = kdb.command("help")
        must_be(kdb.command("?"), text, "? compared with help")
    rows = [line for line in text.splitlines()[HEADER:] if not line.startswith(" ")]
    names = [row.split()[0] for row in rows]
    missing = {*COMMANDS.split(), *MACROS} - set(names)
    must(not missing, f"help does not name {', '.join(sorted(missing))}")
    must_be(len(set(names)), len(names), "the names in help")


def grep(target: Target) -> None:
    """A command piped into `grep` shows the lines that match, and no others.

    `help` prints two lines at once for per_cpu, but vkdb_printf() filters one at a time, so in
    every kernel so far the last line stays in its buffer and is lost.
    """
    with target.in_kdb() as kdb:
        for command, lost in (("help", 1), ("env", 0), ("ps A", 0), ("md linux_banner 20", 0)):
            lines = kdb.command(command).splitlines()
            lines = lines[: len(lines) - lost]
            for typed, pattern in (
                ("Display", "Display"),
                ("^md", "^md"),
                ("4$", "4$"),
                ('"e a"', "e a"),
                ("0", "0"),
                ("no-such-thing", "no-such-thing"),
            ):
                found = kdb.command(f"{command} | grep {typed}").splitlines()
                wanted = [line for line in lines if re.search(pattern, line)]
                must_be(found, wanted, f"{command} | grep {typed}")
        for wrong in ("help | head", "help | grep ", 'help | grep "x'):
            must("invalid" in kdb.command(wrong), f"kdb accepts {wrong}")


def env_and_set(target: Target) -> None:
    """`set` sets and changes variables, `env` shows them, and kdb uses its own, as MDCOUNT."""
    with target.in_kdb() as kdb:
        before = kdb.command("env").splitlines()
        lines = len(kdb.command("md linux_banner").splitlines())
        must("MDCOUNT=8" in before and lines == 8, f"md shows {lines} lines with MDCOUNT=8")
        kdb.command("set MDCOUNT=3")
        must_be(len(kdb.command("md linux_banner").splitlines()), 3, "lines of md with MDCOUNT=3")
        kdb.command("set KSTEP = 0x10")
        wanted = [line.replace("MDCOUNT=8", "MDCOUNT=3") for line in before]
        now = [line for line in kdb.command("env").splitlines() if not line.startswith("KSTEP")]
        must_be(now, [line for line in wanted if not line.startswith("KSTEP")], "env")
        must("KSTEP=0x10" in kdb.command("env"), "env does not show KSTEP")
        must("BYTESPERWORD" not in kdb.command("md1c1 linux_banner"), "md1c1")
        must(kdb.refusal("set ONE") != "", "set accepts a variable without a value")
        kdb.command("set MDCOUNT=8")


def dmesg(target: Target) -> None:
    """`dmesg` shows the kernel's log: all of it, the last lines, the first, or some earlier."""
    log = target.run("dmesg -r").heard.splitlines()
    log = [line for line in log if line.startswith("<")]
    with target.in_kdb() as kdb:
        whole = kdb.command("dmesg").splitlines()
        must_be(whole[: len(log)], log, "dmesg")
        must("sysrq: DEBUG" in whole[-1], f"the log ends in {whole[-1]!r}")
        must_be(kdb.command("dmesg 5").splitlines(), whole[-5:], "dmesg 5")
        must_be(kdb.command("dmesg 5 3").splitlines(), whole[-8:-3], "dmesg 5 3")
        must_be(kdb.command("dmesg -5").splitlines(), whole[:5], "dmesg -5")


def summary(target: Target) -> None:
    """`summary` shows the same as the guest's /proc."""
    with target.in_kdb() as kdb:
        text = kdb.command("summary")
        must_be(kdb.command("summ").splitlines()[:6], text.splitlines()[:6], "summ")
    fields = dict(re.findall(r"^(\w+) +(.*)$", text, re.MULTILINE))
    names = ("ostype", "osrelease", "version", "hostname", "domainname")
    told = target.run(" ".join(["cd /proc/sys/kernel; cat", *names, "; cd /"])).text.splitlines()
    shown = ("sysname", "release", "version", "nodename", "domainname")
    must_be([fields[name] for name in shown], told, "the kernel's identity")
    must_be(fields["machine"], target.run("uname -m").text.strip(), "the machine")
    total = target.run("grep MemTotal: /proc/meminfo").text.split()[1]
    must_be(re.findall(r"MemTotal: +(\d+) kB", text), [total], "the memory, in kB")
    hours, minutes = map(int, fields["uptime"].split(":"))
    seconds = float(target.run("cat /proc/uptime").text.split()[0])
    must(0 <= seconds // 60 - (60 * hours + minutes) <= 1, f"uptime {fields['uptime']}")


def lsmod(target: Target) -> None:
    """`lsmod` prints a heading and the modules of /proc/modules, none in this guest."""
    modules = [line.split()[0] for line in target.run("cat /proc/modules").text.splitlines()]
    with target.in_kdb() as kdb:
        heading, *rows = kdb.command("lsmod").splitlines()
    must(heading.startswith("Module "), f"lsmod begins with {heading!r}")
    must_be(sorted(row.split()[0] for row in rows), sorted(modules), "lsmod")


def sr(target: Target) -> None:
    """`sr KEY` acts as the SysRq key: `h` prints help, a digit sets the console's log level."""
    level = target.run("cat /proc/sys/kernel/printk").text.split()[0]
    with target.in_kdb() as kdb:
        text = kdb.command("sr h")
        must("HELP" in text and "show-registers(p)" in text, f"sr h prints {text!r}")
        kdb.command("sr 5")
    must_be(target.run("cat /proc/sys/kernel/printk").text.split()[0], "5", "the log level")
    with target.in_kdb() as kdb:
        kdb.command(f"sr {level}")
    must_be(target.run("cat /proc/sys/kernel/printk").text.split()[0], level, "the log level")


def defcmd(target: Target) -> None:
    """`defcmd` shows the macros, and defines none while kdb runs; a macro runs its commands."""
    with target.in_kdb() as kdb:
        text = kdb.command("defcmd")
        found = re.findall(r"^defcmd (\w+) .*?\n(.*?)^endefcmd$", text, re.MULTILINE | re.DOTALL)
        macros = {name: [line.strip() for line in body.splitlines()] for name, body in found}
        must_be(tuple(macros), MACROS, "the macros")
        must(kdb.refusal('defcmd one "" ""') != "", "defcmd defines a macro while kdb runs")
        said = kdb.command("dumpcpu")
        ran = re.findall(r"^\[dumpc\w+\]kdb> +(.*)$", said, re.MULTILINE)
        common = macros["dumpcommon"]
        must_be(ran, [*macros["dumpcpu"][:2], *common, *macros["dumpcpu"][2:]], "what dumpcpu ran")
        for word in ("sysname ", "Currently on cpu 0", "Task Addr", "Call trace:", "cpu status"):
            must(word in said, f"dumpcpu does not show {word!r}")
        kdb.command("set LINES 24")
        kdb.command("set BTAPROMPT 1")


CHECKS = checks(help_names_all, grep, env_and_set, dmesg, summary, lsmod, sr, defcmd)
