# SPDX-License-Identifier: GPL-2.0-only
"""The command line: Invoke, with kstep's exit status for an invalid command line.

A separate module, because worker processes import it again, and Invoke's own runs at import.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from invoke.completion.complete import print_completion_script
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.program import Program

from kstep import __version__
from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from invoke.parser.parser import Parser

NAMES = ("inv", "./inv")  # the commands that a shell completes
ASKS = re.compile(rf"\b{NAMES[0]}(?= (\${{=collection_arg}} )?--complete )")  # zsh's has both
# Bash's script gives every word, and loses an empty last one, which says that a new one begins.
BASH_WORDS, BASH_TYPED = "${COMP_WORDS[*]}", '"${COMP_WORDS[@]:0:COMP_CWORD+1}"'
INV = Path(__file__).parents[1] / "inv"
UNREAD = 141  # what a shell reports for a program that SIGPIPE ended
KINDS = {int: "a whole number", float: "a number"}


class _Option(Argument):
    """An option of a command; an error about its value names it."""

    def set_value(self, value: object, cast: bool = True) -> None:  # noqa: FBT001, FBT002 -- Invoke's
        """Set the value; raises ParseError if it is not of the option's type."""
        try:
            super().set_value(value, cast)
        except ValueError as error:
            raise ParseError(f"--{self.name} {value}: must be {KINDS[self.kind]}") from error


class Commands(Program):
    """The tasks of tasks.py; an invalid command line ends with status 2, not 1."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Read Invoke's own options."""
        try:
            super().parse_core(argv)
        except (ParseError, ValueError) as error:
            _refuse(error)

    def parse_core_args(self) -> None:
        """Read Invoke's own options; print the shell's completion script if requested.

        Invoke's own script would run the ``inv`` on PATH, which may be another one.
        """
        super().parse_core_args()
        if shell := self.args["print-completion-script"].value:
            with contextlib.redirect_stdout(io.StringIO()) as script:
                print_completion_script(shell, list(NAMES))
            own = ASKS.sub(lambda _: shlex.quote(str(INV)), script.getvalue())
            sys.stdout.write(own.replace(BASH_WORDS, BASH_TYPED))
            raise Exit

    def parse_tasks(self) -> None:
        """Read the command and its options."""
        try:
            super().parse_tasks()
        except (ParseError, ValueError) as error:
            _refuse(error)

    def parse_cleanup(self) -> None:
        """Print the list or the help that is asked for; complete values, which Invoke does not."""
        if self.args.complete.value:
            from kstep import completion  # noqa: PLC0415 -- other commands do without

            typed = re.sub(rf"^({'|'.join(map(re.escape, NAMES))}) ", "", self.core.remainder)
            if (found := completion.values(typed, INV.parent)) is not None:
                print("\n".join(found))  # noqa: T201 -- for the shell
                raise Exit
        try:
            super().parse_cleanup()
        except ValueError as error:
            if self.args.complete.value:  # a quote that is still open
                raise Exit from error
            raise

    def _make_parser(self) -> Parser:
        parser = super()._make_parser()
        for context in parser.contexts.values():
            for option in context.args.values():
                option.__class__ = _Option
            # Invoke runs out of letters, and makes the dash of a long name a short one.
            with contextlib.suppress(KeyError):
                context.flags.unalias("--")
        return parser


def _refuse(error: Exception) -> NoReturn:
    fix = "./inv --list names the commands, ./inv --help COMMAND their options"
    raise Exit(f"kstep: {error} ({fix})", RequestError.status) from None


def main() -> None:
    """Run the command line; end quietly if nobody reads the output."""
    try:
        try:
            Commands(
                name="kstep", binary="inv", binary_names=list(NAMES), version=__version__
            ).run()
        finally:
            _flush()
    except BrokenPipeError:
        _drop(sys.stdout)
        sys.exit(UNREAD)


def _flush() -> None:
    """Write what is left, here and not at exit; raises BrokenPipeError if nobody reads it.

    That a terminal is closed (EIO) is no fault, and Python would end with status 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and isinstance(error, BrokenPipeError):
                raise
            _drop(stream)


def _drop(stream: TextIO) -> None:
    """Have what is written to a stream go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
