# SPDX-License-Identifier: GPL-2.0-only
"""Sessions: scripts that test one claim each, found in a folder, or in a file of the user's."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import KernelFault
from kstep.machine.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec

    from kstep.machine.capability import Capability
    from kstep.session.target import Target
    from kstep.source.version import Span


class Case(Protocol):
    """One case of a session; ``name`` is part of the cell's name."""

    @property
    def name(self) -> str:
        """The name of the case, a C identifier."""


@runtime_checkable
class EquippedCase(Case, Protocol):
    """A case that needs another machine than its session."""

    @property
    def hardware(self) -> Hardware:
        """The machine that it runs on."""


@runtime_checkable
class DemandingCase(Case, Protocol):
    """A case that needs more capabilities than its session."""

    @property
    def requires(self) -> Mapping[Capability, str]:
        """What the machine must be able to do, and why the case needs it."""


@dataclass(frozen=True)
class Stepped:
    """A kernel function to step, and the guest's command that reaches it exactly once."""

    name: str
    trigger: str
    kind: str


@dataclass(frozen=True)
class Unless:
    """Kernels on which a claim has no sense, and why, as a clause.

    ``where`` is an option that they have, or the versions that they are. ``cases`` are those that
    it is about; empty: the session.
    """

    where: str | Span
    why: str
    cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """A script and what it needs. ``cases`` is empty if there are none.

    ``needs`` are kernel options, as CONFIG_X, without which it is skipped, ``unless`` the kernels
    on which it is. ``requires`` is what its machine must be able to do, and why, as a clause
    that follows the session's name;
    ``hardware`` adds its own. ``text`` is the docstring of its file. ``unsettled`` says why a
    session runs only if it is named: it is one of those that run ``BY_NIGHT``, or its result
    cannot be predicted yet. ``own`` is whether it is the user's, from a file outside kstep's
    folder. ``area`` is the subject of the claim, a heading over its results in a report, such
    as ``steps``; empty if no other session shares it.
    """

    name: str
    claim: str
    script: Callable[..., None]
    cases: Sequence[Case]
    hardware: Hardware
    file: Path
    line: int
    text: str = ""
    unsettled: str = ""
    needs: tuple[str, ...] = ()
    unless: tuple[Unless, ...] = ()
    requires: Mapping[Capability, str] = field(default_factory=dict)
    own: bool = False
    area: str = ""

    @property
    def case_names(self) -> tuple[str | None, ...]:
        """The names of the cases; one None if there are none."""
        return tuple(case.name for case in self.cases) or (None,)

    @property
    def own_file(self) -> Path | None:
        """Its file, if it is the user's."""
        return self.file if self.own else None

    def hardware_for(self, case: str | None) -> Hardware:
        """Return the machine that a case needs, or the session's if it needs no other."""
        found = self._case(case)
        return found.hardware if isinstance(found, EquippedCase) else self.hardware

    def requires_for(self, case: str | None) -> Mapping[Capability, str]:
        """Return all that a case needs of a machine, and why."""
        found = self._case(case)
        own = found.requires if isinstance(found, DemandingCase) else {}
        return {**self.hardware_for(case).requires, **self.requires, **own}

    def unless_for(self, case: str | None) -> list[Unless]:
        """Return the kernels on which a case has no sense."""
        return [each for each in self.unless if not each.cases or case in each.cases]

    def run(self, target: Target, case: str | None) -> None:
        """Run the script, with one case if it has cases.

        A fault that the serial line may have caused is no verdict: Dialogue.require_certain().
        """
        found = self._case(case)
        try:
            if found is None:
                self.script(target)
            else:
                self.script(target, found)
        except KernelFault as fault:
            target.require_certain(fault)
            raise

    def _case(self, name: str | None) -> Case | None:
        return None if name is None else next(c for c in self.cases if c.name == name)


CASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # part of a path, and of name[case]

# Why a session runs only if it is named. Every one of these is named in ci/matrix.yaml.
BY_NIGHT = "it takes long, or rarely sees what others do not; it runs by night"

_found: dict[str, Session] = {}


def session(
    *,
    claim: str,
    cases: Sequence[Case] = (),
    hardware: Hardware | None = None,
    unsettled: str = "",
    needs: Sequence[str] = (),
    unless: Sequence[Unless] = (),
    requires: Mapping[Capability, str] | None = None,
    area: str = "",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a function as a session, named like the function, with dashes."""

    def mark(script: Callable[..., None]) -> Callable[..., None]:
        name = script.__name__.replace("_", "-")
        code = inspect.unwrap(script).__code__
        here = f'{code.co_filename}:{code.co_firstlineno}: session "{name}"'
        if name in _found:
            raise MachineryError(
                f"{here} is in {_found[name].file} too; give the function another name"
            )
        if len({case.name for case in cases}) < len(cases):
            raise MachineryError(f"{here} has two cases with the same name")
        for case in cases:
            if not CASE_NAME.fullmatch(case.name):
                raise MachineryError(
                    f'{here}: case "{case.name}" must be named like a C identifier'
                )
        names = {case.name for case in cases}
        if unknown := [name for each in unless for name in each.cases if name not in names]:
            raise MachineryError(f'{here}: unless names "{unknown[0]}", which is not a case of it')
        takes = "a target and a case" if cases else "a target"
        if len(inspect.signature(script).parameters) != 1 + bool(cases):
            raise MachineryError(f"{here} must take {takes}")
        _found[name] = Session(
            name=name,
            claim=claim,
            script=script,
            cases=tuple(cases),
            hardware=hardware or Hardware(),
            file=Path(code.co_filename),
            line=code.co_firstlineno,
            text=inspect.cleandoc(script.__globals__.get("__doc__") or ""),
            unsettled=unsettled,
            needs=tuple(needs),
            unless=tuple(unless),
            requires=dict(requires or {}),
            area=area,
        )
        return script

    return mark


def load(folder: Path, own: Sequence[Path] = ()) -> dict[str, Session]:
    """Import every script of a folder; return the sessions by name, in file order.

    ``own`` are the user's files, from any folder; their sessions come last. The folder's
    parent's parent must be on the import path: scripts share their cases by import, and one may
    run another's script. Raises MachineryError for a script of the folder that defines no
    session; RequestError, with the line, for a user's file that cannot be loaded, defines no
    session or uses a name that is taken.
    """
    _found.clear()
    paths = {f"tests.sessions.{path.stem}": path for path in sorted(folder.glob("[!_]*.py"))}
    for name in paths:
        sys.modules.pop(name, None)
    for name, path in paths.items():
        if name not in sys.modules:  # another script may have imported it
            _execute(_spec(name, path))
    defining = {each.script.__module__ for each in _found.values()}
    for name, path in paths.items():
        if name not in defining:
            raise MachineryError(f"{path}: {NO_SESSION}")
    found = dict(sorted(_found.items(), key=lambda item: item[1].file.name))
    for number, path in enumerate(own):
        found |= _load_own(f"kstep_own_session_{number}", path)
    return found


NO_SESSION = "defines no session; mark a function with @session, or move it elsewhere"


def _spec(name: str, path: Path) -> ModuleSpec:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise MachineryError(f"{path}: cannot be imported; a script's name must end in .py")
    return spec


def _execute(spec: ModuleSpec) -> None:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    assert spec.loader is not None  # noqa: S101 -- spec_from_file_location() gives it one
    spec.loader.exec_module(module)


def _load_own(name: str, path: Path) -> dict[str, Session]:
    """Import one of the user's files; it can import files beside it."""
    known = set(_found)
    # Last, so that nothing there replaces a module of Python or kstep.
    sys.path.append(str(path.parent.absolute()))
    try:
        _execute(_spec(name, path.absolute()))
    except MachineryError as error:
        raise RequestError(str(error)) from error
    except SyntaxError as error:
        raise RequestError(f"{error.msg}; fix the script", error.filename, error.lineno) from error
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path.absolute())
        ]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise RequestError(f"{said}; fix the script", path, lines[-1] if lines else None) from error
    finally:
        sys.path.pop()
    found = {
        session_name: replace(each, own=True)
        for session_name, each in _found.items()
        if session_name not in known
    }
    if not found:
        raise RequestError(NO_SESSION, path)
    return found
