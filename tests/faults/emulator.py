# SPDX-License-Identifier: GPL-2.0-only
"""A program that kstep starts as QEMU: a guest's shell on the serial line, until a fault is due.

    emulator.py FOLDER [options of QEMU]

``FOLDER/plan.json`` lists what happens to the machines, in the order in which they are started:
``{"after": BYTES, "how": "kill" | "stop" | "exit"}`` or null. It needs nothing of kstep, because
it is started hundreds of times.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tty

READY = b"[    0.2] Run /init as init process\r\nKSTEP-READY 6.1.192 cpus=1\r\n"
TYPED = re.compile(rb'(?P<command>.*); echo KSTEP"-END" (?P<number>\d+) \$\?')
TAINT = b"read -r taint < /proc/sys/kernel/tainted; echo $taint"  # kstep.session.taint.COMMAND
SERIAL = re.compile(r"serial,id=line,path=(.*)")


class Emulator:
    """One machine; ``fault`` is what the plan has for it."""

    def __init__(self, line: int, fault: dict[str, object] | None) -> None:
        self._line = line
        self._fault = fault

    def _end(self) -> None:
        fault, self._fault = self._fault, None
        how = fault["how"] if fault else ""
        if how == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    def say(self, data: bytes) -> None:
        """Print, up to the byte before which the fault is due."""
        while self._fault and int(str(self._fault["after"])) <= len(data):
            due = int(str(self._fault["after"]))
            os.write(self._line, data[:due])
            data = data[due:]
            self._end()
        if self._fault:
            self._fault["after"] = int(str(self._fault["after"])) - len(data)
        os.write(self._line, data)

    def run(self) -> None:
        """Boot, and answer commands."""
        self.say(READY)
        typed = b""
        while piece := os.read(self._line, 4096):
            *lines, typed = (typed + piece).split(b"\n")
            for line in lines:
                found = TYPED.fullmatch(line)
                said = b"0\r\n" if found and found["command"] == TAINT else b""
                end = b"KSTEP-END %b 0\r\n" % found["number"] if found else b"sh: what?\r\n"
                self.say(line + b"\r\n" + said + end)


def main() -> None:
    """Be a machine."""
    folder = sys.argv[1]
    count = os.open(f"{folder}/started", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(count, b"%d\n" % os.getpid())
    number = os.lseek(count, 0, os.SEEK_CUR)
    os.close(count)
    with open(f"{folder}/started", "rb") as started:  # noqa: PTH123 -- pathlib is slow to load
        number = started.read(number).count(b"\n") - 1
    try:
        with open(f"{folder}/plan.json", encoding="ascii") as plan:  # noqa: PTH123
            faults = json.load(plan)
    except FileNotFoundError:
        faults = []
    (path,) = [found[1] for word in sys.argv if (found := SERIAL.fullmatch(word))]
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    Emulator(line, faults[number] if number < len(faults) else None).run()


if __name__ == "__main__":
    main()
