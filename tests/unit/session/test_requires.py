# SPDX-License-Identifier: GPL-2.0-only
"""What our sessions use of a machine is what they say that they need.

Their scripts are read, not run, with the verbs that they are written in and the judges
behind those: whoever is called by a name is looked into, down to the machine. A method is
known by its name alone, so more may be found than is done, and never less.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.machine.capability import Capability
from kstep.session import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kstep.session.session import Session

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "tests/sessions"
SESSIONS = session.load(SCRIPTS)
OURS = [*SCRIPTS.glob("*.py"), *(ROOT / "tests/session_parts").glob("*.py")]
SCRIPT_MODULES = {path.stem for path in OURS}
ENGINE = [*(ROOT / "kstep/session").glob("*.py"), *(ROOT / "kstep/judge").glob("*.py")]

# What of a machine is used by these names, wherever they are written.
USES = {
    "send_break": Capability.BREAK,
    "resets": Capability.VISIBLE_RESET,
    "read_physical": Capability.PHYSICAL_MEMORY,
    "open_gdbstub": Capability.GDBSTUB,
    "executed": Capability.EXECUTION_LOG,
}
FOR_GDB = ("Relay", "open_gdbstub")  # with these gdb has the kernel, for the block of who uses them
NOT_THE_MACHINE = ("gdb", "kdb")  # who reads memory in another way
NO_WAY_BACK = "crash"
OPTIONAL = ("_require_reached",)  # it asks first whether the machine can do that


@dataclass(frozen=True)
class Code:
    """A function, and the module that it is in."""

    module: str
    node: ast.FunctionDef
    is_method: bool


class Sources:
    """Functions by name, of the scripts and of what they call."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Code]] = defaultdict(list)
        self._made: dict[tuple[str, str], Code] = {}
        self._imports: dict[str, dict[str, str]] = defaultdict(dict)
        for path in paths:
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    origin = node.module.rpartition(".")[2]
                    self._imports[path.stem] |= {name.name: origin for name in node.names}
            for top in tree.body:
                self._add(path.stem, top)

    def _add(self, module: str, top: ast.stmt) -> None:
        if isinstance(top, ast.FunctionDef):
            self._by_name[top.name].append(Code(module, top, is_method=False))
        elif isinstance(top, ast.ClassDef):
            for inner in top.body:
                if isinstance(inner, ast.FunctionDef):
                    self._by_name[inner.name].append(Code(module, inner, is_method=True))
                    if inner.name == "__init__":
                        self._made[module, top.name] = Code(module, inner, is_method=True)

    def named(self, name: str) -> list[Code]:
        """Every function of a name."""
        return self._by_name[name]

    def _method(self, name: str, module: str) -> list[Code]:
        near = {module, *self._imports[module].values()}
        return [
            code
            for code in self._by_name[name]
            if code.is_method and (code.module not in SCRIPT_MODULES or code.module in near)
        ]

    def meant(self, node: ast.AST, module: str) -> list[Code]:
        """The functions that a name in a module, or behind a dot, may stand for."""
        match node:
            case ast.Attribute(attr=name) if name in OPTIONAL:
                return []
            case ast.Attribute():
                return self._method(node.attr, module)
            case ast.Subscript():
                return self._method("__getitem__", module)
            case ast.Name():
                where = self._imports[module].get(node.id, module)
                return [
                    code
                    for code in self._by_name[node.id]
                    if not code.is_method and code.module == where
                ]
            case ast.Call(func=ast.Name(id=name)):
                where = self._imports[module].get(name, module)
                made = self._made.get((where, name))
                return [] if made is None else [made]
        return []

    def reached(self, nodes: Iterable[ast.AST], module: str) -> Iterator[tuple[str, ast.AST]]:
        """Everything that is written in some nodes and in what they call, with its module."""
        todo = [(module, node) for node in nodes]
        seen: set[int] = set()
        while todo:
            where, root = todo.pop()
            for node in ast.walk(root):
                yield where, node
                for code in self.meant(node, where):
                    if id(code.node) not in seen:
                        seen.add(id(code.node))
                        todo += [(code.module, each) for each in code.node.body]


SOURCES = Sources([*ENGINE, *OURS])


def reads(node: ast.AST) -> bool:
    """Whether this is the reading of memory by the machine."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "read"
        and not (isinstance(node.value, ast.Name) and node.value.id in NOT_THE_MACHINE)
    )


def is_for_gdb(item: ast.AST, module: str) -> bool:
    """Whether gdb has the kernel in the block of this."""
    return any(
        (isinstance(node, ast.Name) and node.id in FOR_GDB)
        or (isinstance(node, ast.Attribute) and node.attr in FOR_GDB)
        for _, node in SOURCES.reached([item], module)
    )


def roots(script: Session, case: str | None) -> list[Code]:
    """Return the functions that a case is: the session's, and those that the case holds."""
    names = [script.script.__name__]
    for each in script.cases:
        if each.name == case:
            held = vars(each).values()
            names += [one.__name__ for one in held if inspect.isfunction(one)]
    found = [code for name in names for code in SOURCES.named(name)]
    assert len(found) >= len(names)
    return found


@cache
def used(name: str, case: str | None) -> frozenset[Capability]:
    """What of a machine is used by a cell: by its functions, and by what they call."""
    found: set[Capability] = set()
    for root in roots(SESSIONS[name], case):
        for module, node in SOURCES.reached(root.node.body, root.module):
            if isinstance(node, ast.Attribute) and node.attr in USES:
                found.add(USES[node.attr])
            if isinstance(node, ast.Attribute) and node.attr == NO_WAY_BACK:
                found.add(Capability.FRESH_BOOT)
            if module in SCRIPT_MODULES and reads(node):
                found.add(Capability.MEMORY_PAST_KERNEL)
            if isinstance(node, ast.With) and module in SCRIPT_MODULES:
                for number, item in enumerate(node.items):
                    within = [*node.items[number + 1 :], *node.body]
                    if is_for_gdb(item.context_expr, module) and any(
                        reads(each) for _, each in SOURCES.reached(within, module)
                    ):
                        found.add(Capability.MEMORY_WITHOUT_KDB)
    if Capability.MEMORY_WITHOUT_KDB in found:  # whoever can do that needs no kernel for it
        found.discard(Capability.MEMORY_PAST_KERNEL)
    return frozenset(found)


CELLS = [(name, case) for name, each in SESSIONS.items() for case in each.case_names]


@pytest.mark.parametrize(("name", "case"), CELLS)
def test_a_session_declares_what_it_uses(name: str, case: str | None) -> None:
    declared = set(SESSIONS[name].requires_for(case))
    undeclared = used(name, case) - declared
    assert not undeclared, f"{name}[{case}] uses, and does not require: {undeclared}"


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_uses_what_it_declares(name: str) -> None:
    """What is derived from its hardware is not declared, and what is lasting cannot be seen."""
    script = SESSIONS[name]
    told: set[Capability] = {
        Capability.FRESH_BOOT,
        Capability.GDBSTUB_MASKS,
        Capability.GDBSTUB_BY_KVM,
    }
    uses: set[Capability] = set()
    declared: set[Capability] = set()
    for case in script.case_names:
        uses |= used(name, case)
        declared |= script.requires_for(case).keys() - script.hardware_for(case).requires.keys()
    assert declared <= uses | told


def test_what_is_looked_for_is_found() -> None:
    """Else a verb that is renamed would make the look go blind."""
    found = {(name, capability) for name, case in CELLS for capability in used(name, case)}
    assert {
        ("step-from-entry", Capability.BREAK),
        ("kdb-panic", Capability.VISIBLE_RESET),
        ("kdb-panic", Capability.FRESH_BOOT),
        ("kdb-commands", Capability.PHYSICAL_MEMORY),
        ("kdb-restricted", Capability.MEMORY_PAST_KERNEL),
        ("gdbstub-step", Capability.GDBSTUB),
        ("gdbstub-step", Capability.MEMORY_WITHOUT_KDB),
        ("gdb-smoke", Capability.MEMORY_WITHOUT_KDB),
        ("gdb-step-in-order", Capability.MEMORY_WITHOUT_KDB),
    } <= found
    assert ("kdb-lockdown", Capability.MEMORY_WITHOUT_KDB) not in found
