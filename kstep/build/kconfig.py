# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configurations: fragments, or a whole .config, and whether Kconfig set every option.

A line of a fragment may say in its comment which versions have the option: ``from 5.18:``,
``up to 6.19:``, ``from 5.18 up to 6.19:``, bounds included. Other versions omit the option.
``purpose:`` says that the configuration exists for that option: a version without it is refused.
In base, ``free:`` says that a whole configuration may have another value, and ``whole:`` that
the line applies only to a whole configuration that has the option.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError, RequestError
from kstep.source.version import EVERY, Span
from kstep.toolchain.compiler import COMPILERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.toolchain import Compiler

OPTION = re.compile(r'^(?P<name>CONFIG_\w+)=(?P<value>"[^"]*"|[^\s"]+)\s*(?:#\s*(?P<why>.*))?$')
UNSET = re.compile(r"^# (?P<name>CONFIG_\w+) is not set\s*(?:#\s*(?P<why>.*))?$")
# A comment that was meant to be UNSET; Kconfig would ignore it silently.
MISSPELT = re.compile(r"^#\s*CONFIG_\w+\s+is\s+not\s+set\b")
WHOLE = re.compile(r"^# Linux/(?P<arch>\w+) \S+ Kernel Configuration$", re.MULTILINE)
DECLARED = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)
FREE = "free:"
WHOLLY = "whole:"
PURPOSE = "purpose:"
# Options that Kconfig sets for the compiler, and for itself.
DETECTED = re.compile(
    r"^CONFIG_(CC_|GCC_|CLANG_|AS_|LD_|LLD_|RUSTC_|PAHOLE_|BINDGEN_|TOOLS_|ARCH_|HAVE_|HAS_)"
)
# Options that make a kernel another one to step in, by what they are: a whole configuration that
# has one on must get it. Without a driver it is still the kernel that was asked for.
IDENTITY = {
    "compiler": re.compile(r"CONFIG_CC_IS_\w+"),
    "LTO": re.compile(r"CONFIG_LTO_CLANG\w*"),
    "CFI": re.compile(r"CONFIG_CFI(_CLANG)?"),
    "shadow call stack": re.compile(r"CONFIG_SHADOW_CALL_STACK"),
    "pointer authentication or branch targets": re.compile(r"CONFIG_ARM64_(PTR_AUTH|BTI)_KERNEL"),
    "sanitizer": re.compile(r"CONFIG_(KASAN(_GENERIC|_(SW|HW)_TAGS)?|KCSAN|KMSAN)"),
    "preemption": re.compile(r"CONFIG_PREEMPT(_NONE|_VOLUNTARY|_LAZY|_RT|_DYNAMIC)?"),
    "page size": re.compile(r"CONFIG_ARM64_\d+K_PAGES"),
    "address bits": re.compile(r"CONFIG_ARM64_VA_BITS_\d+"),
}
FOLDER = "kconfigs"  # of kstep's fragments
BASE = "base"
SHOWN = 5  # options that a sentence names


@dataclass(frozen=True)
class OptionLine:
    """An option that a line sets; ``value`` "n" means not set.

    ``versions`` are the versions that have it.
    """

    name: str
    value: str
    path: Path
    number: int
    why: str = ""
    versions: Span = EVERY

    def begins(self, word: str) -> bool:
        """Whether the reason begins with ``word``, after the versions if there are any."""
        return self._after_versions.startswith(word)

    @property
    def _after_versions(self) -> str:
        reason = self.why if self.versions == EVERY else self.why.partition(":")[2]
        return reason.lstrip()

    @property
    def reason(self) -> str:
        """The comment, without the versions and the words that kstep reads."""
        reason = self._after_versions
        for word in (FREE, WHOLLY, PURPOSE):
            reason = reason.removeprefix(word).lstrip()
        return reason


@dataclass(frozen=True)
class Kconfig:
    """The configuration of one version's kernel: ``options``, and ``others`` for the rest.

    ``options`` maps CONFIG_X to its value as .config spells it; "n" means not set.
    ``others`` is allnoconfig or alldefconfig. The options in ``wishes`` come from a whole
    configuration: if this kernel cannot have one, that is not an error. ``lines`` are the lines
    that asked for the others. ``whole`` are the lines of the whole configuration, and ``own`` the
    options of the user's fragments on top of it.
    """

    name: str
    options: Mapping[str, str]
    others: str = "allnoconfig"
    wishes: frozenset[str] = frozenset()
    lines: Mapping[str, OptionLine] = field(default_factory=dict, compare=False)
    whole: tuple[OptionLine, ...] = field(default=(), compare=False)
    own: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def fragment(self) -> str:
        """The options in the form that Kconfig reads, as KCONFIG_ALLCONFIG."""
        return "".join(
            f"# {name} is not set\n" if value == "n" else f"{name}={value}\n"
            for name, value in self.options.items()
        )

    @property
    def digest(self) -> str:
        """A hash of what the configuration asks for."""
        others = "" if self.others == "allnoconfig" else f"{self.others}\n"
        return hashlib.sha256(f"{others}{self.fragment}".encode()).hexdigest()

    def check(self, config: Path) -> None:
        """Raise MachineryError if Kconfig changed an option that is not a wish."""
        wrong = self._wrong(config)
        if asked := [said for name, said in wrong.items() if name not in self.wishes]:
            raise MachineryError(
                f"kconfig {self.name}: Kconfig changed {len(asked)} requested option(s), because of"
                f" an unmet dependency: {'; '.join(asked)}"
            )

    def losses(self, config: Path) -> tuple[str, ...]:
        """Say what the whole configuration asks for and a .config does not have, by name."""
        wrong = [name for name in self._wrong(config) if not DETECTED.match(name)]
        modules = [name for name, value in parse(config).items() if value == "m"]
        lost = {
            "not as in the .config (needed by kstep, unknown to this version)": wrong,
            "modules, which kstep does not build": modules if self.whole else [],
        }
        return tuple(f"{what}: {first_few(names)}" for what, names in lost.items() if names)

    def require_same_kernel(self, config: Path) -> None:
        """Raise RequestError, with the line, if a .config is another kernel than the whole one.

        That is if an option of IDENTITY is lost, and no fragment says anything of that kind.
        """
        got = parse(config)
        lost = {
            line: kind
            for line in self.whole
            for kind, options in IDENTITY.items()
            if options.fullmatch(line.name)
            and line.value == "y"
            and got.get(line.name) != "y"
            and not any(map(options.fullmatch, self.own))
        }
        if not lost:
            return
        first = next(iter(lost))
        built = next((name for name, by in COMPILERS.items() if got.get(by.option) == "y"), "")
        named = ", ".join(f"{line.name} ({kind})" for line, kind in lost.items())
        said = "; ".join(f"# {line.name} is not set" for line in lost)
        raise RequestError(
            f"kstep{f' builds with {built} and' if built else ''} would make another kernel,"
            f" without {named}; to test that one, name a fragment after this file"
            f" (--kconfig {first.path}+FRAGMENT) with the lines: {said}",
            first.path,
            first.number,
        )

    def require_met(self, config: Path) -> None:
        """Raise RequestError, with the line, for the first option that Kconfig changed."""
        wrong = self._wrong(config)
        for name, line in self.lines.items():
            if name in wrong:
                reason = f" ({line.reason})" if line.reason else ""
                raise RequestError(
                    f"Kconfig set {wrong[name]}{reason}: an unmet dependency, or selected"
                    " elsewhere; set the dependency too, or remove the line",
                    line.path,
                    line.number,
                )

    def _wrong(self, config: Path) -> dict[str, str]:
        """Describe each option that differs in a .config, by name."""
        got = parse(config)
        return {
            name: f"{name}={got.get(name, 'n')}, not {value}"
            for name, value in self.options.items()
            if not _has(got, name, value)
        }


@dataclass(frozen=True)
class KconfigRequest:
    """A requested configuration, for any version: its lines; the last for an option counts.

    ``whole`` are the lines of a whole .config, which the others change; kstep needs those of
    ``base``. ``text`` requests the same from any folder.
    """

    name: str
    text: str
    lines: tuple[OptionLine, ...]
    base: Path
    whole: tuple[OptionLine, ...] = ()

    def on(self, version: str) -> Kconfig:
        """Return the configuration for a kernel of ``version``, such as "6.1.192"."""
        wished = {line.name: line.value for line in self.whole}
        lines = {line.name: line for line in self.lines if line.versions.holds(version)}
        asked = {name: line.value for name, line in lines.items()}
        lines = {name: line for name, line in lines.items() if not line.begins(WHOLLY)}
        return Kconfig(
            self.name,
            wished | asked,
            "alldefconfig" if self.whole else "allnoconfig",
            (frozenset(wished) | frozenset(asked)) - frozenset(lines),
            lines,
            self.whole,
            frozenset(line.name for line in self.lines if line.path != self.base),
        )

    def surely_lacks(self, option: str) -> bool:
        """Whether no kernel of this configuration has an option, whatever its version.

        An option that a whole .config does not name may be set by default.
        """
        asked = [line for line in (*self.whole, *self.lines) if line.name == option]
        if not asked:
            return not self.whole
        last = asked[-1]
        return last.value == "n" and last.versions == EVERY

    def remarks(self, version: str) -> list[str]:
        """List the differences from the lines.

        Options omitted for a version, options of base that a fragment changes, and options that
        kstep changes in a whole .config.
        """
        left = [
            f"without {line.name} ({line.why})"
            for line in self.lines
            if not line.versions.holds(version)
        ]
        wished = {line.name: line.value for line in self.whole}
        options = self.on(version).options
        left += [
            f"{line.name} {options[line.name]}, not {line.value} ({line.why})"
            for line in self.lines
            if line.versions.holds(version)
            and options[line.name] != line.value
            and line.why
            and not line.begins(FREE)
        ]
        added = [
            f"{line.name} {line.value}"
            for line in {
                line.name: line for line in self.lines if line.versions.holds(version)
            }.values()
            if self.whole and line.path == self.base and not _has(wished, line.name, line.value)
        ]
        return [
            *left,
            *([f"{first_few(added)} added or changed: needed by kstep"] if added else []),
        ]

    def require_compiler(self, compiler: Compiler) -> None:
        """Raise RequestError, with the line, if a line asks for another compiler."""
        asked = {line.name: line for line in (*self.whole, *self.lines)}
        for other in COMPILERS.values():
            line = asked.get(other.option)
            if other != compiler and line is not None and line.value == "y":
                mend = f"use --compiler {other.name}"
                if line in self.whole:
                    mend += (
                        f", or name a fragment after this file (--kconfig {line.path}+FRAGMENT)"
                        f" with the line: # {line.name} is not set"
                    )
                raise RequestError(
                    f"{line.name} (compiler): kconfig {self.name} is for {other.name}, and"
                    f" {compiler.name} is asked for; {mend}",
                    line.path,
                    line.number,
                )

    def require_known(self, version: str, declared: frozenset[str]) -> None:
        """Raise RequestError for an option that this version or this Kconfig does not have.

        That is an option that the configuration exists for and that is of other versions, or
        one that is set but not declared.
        """
        for line in self.lines:
            if line.begins(PURPOSE) and not line.versions.holds(version):
                raise RequestError(
                    f"kconfig {self.name} is for Linux {line.versions}, and this is"
                    f" {version.split(maxsplit=1)[0]} ({line.name}: {line.reason});"
                    " name another --tree, or leave this --kconfig out",
                    line.path,
                    line.number,
                )
        for line in self.lines:
            known = line.value == "n" or line.name in declared or line.begins(WHOLLY)
            if not known and line.versions.holds(version):
                raise RequestError(
                    f"Linux {version.split(maxsplit=1)[0]} has no option {line.name};"
                    " say after the option which versions have it ('# up to 6.19: reason'), or"
                    f" {_fix(line.name, declared)}",
                    line.path,
                    line.number,
                )


def _fix(name: str, declared: frozenset[str]) -> str:
    close = difflib.get_close_matches(name, declared, n=1)
    return f'did you mean "{close[0]}"?' if close else "remove it"


def declared(source: Path) -> frozenset[str]:
    """Return the options that the Kconfig files of a source declare, as CONFIG_X."""
    names: set[str] = set()
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name != ".git"]
        for file in files:
            if file.startswith("Kconfig"):
                text = (Path(folder) / file).read_text(errors="replace")
                names.update(f"CONFIG_{name}" for name in DECLARED.findall(text))
    return frozenset(names)


def parse(path: Path) -> dict[str, str]:
    """Read the options of a fragment or a .config."""
    return {line.name: line.value for line in read(path)}


def read(path: Path) -> tuple[OptionLine, ...]:
    """Read the lines of a fragment or a .config; a comment may follow an option."""
    lines = []
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    for number, line in enumerate(text.splitlines(), 1):
        match = OPTION.match(line) or UNSET.match(line)
        if match:
            lines.append(_line(match, path, number))
        elif line.strip() and (not line.startswith("#") or MISSPELT.match(line)):
            raise RequestError(
                f"{line.strip()[:60]!r} is not an option; write CONFIG_NAME=value"
                " or '# CONFIG_NAME is not set'",
                path,
                number,
            )
    return tuple(lines)


def _line(match: re.Match[str], path: Path, number: int) -> OptionLine:
    why = (match["why"] or "").strip()
    return OptionLine(
        name=match["name"],
        value=match.groupdict().get("value", "n"),
        path=path,
        number=number,
        why=why,
        versions=Span.parse(why.partition(":")[0]) or EVERY,
    )


def _has(options: Mapping[str, str], name: str, value: str) -> bool:
    """Whether an option has a value; a missing option counts as "n", and as an empty string."""
    return options.get(name, value if value == '""' else "n") == value


def first_few(names: Sequence[str]) -> str:
    """Join the first few names, and say how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def load(text: str, folder: Path) -> KconfigRequest:
    """Return ``base``, or fragments on top of it or of a whole .config, joined by "+".

    A fragment is one of ``folder``, or the path of a file. A whole .config comes first and
    replaces base: kstep adds what it needs.
    """
    names = [text] if Path(text).is_file() else text.split("+")
    if "" in names or len(set(names)) < len(names):
        raise RequestError(f"kconfig {text}: must be names joined by +, each name once")
    paths = [_find(name, folder) for name in names if name != BASE]
    base_path = folder / f"{BASE}.config"
    base = read(base_path)
    parts = {path: read(path) for path in paths}
    wholes = [path for path in paths if _is_whole(path)]
    if wholes and (paths[0] not in wholes or BASE in names or len(wholes) > 1):
        raise RequestError(
            f"kconfig {text}: {wholes[-1]} is a whole configuration; name it first, alone or"
            " with fragments after it, and not with base"
        )
    own = tuple(line for path in paths if path not in wholes for line in parts[path])
    other = FREE if wholes else WHOLLY
    base = tuple(line for line in base if not line.begins(other))
    return KconfigRequest(
        name="+".join(_stem(path) for path in paths) or BASE,
        text="+".join(str(path.absolute()) for path in paths) or BASE,
        lines=(*base, *own),
        base=base_path,
        whole=parts[wholes[0]] if wholes else (),
    )


def lacking(needed: Iterable[str], options: Mapping[str, str]) -> str | None:
    """Return the first needed option that is not built in; None if all are."""
    return next((name for name in needed if options.get(name) != "y"), None)


def require_some(
    needed: Mapping[str, Sequence[str]], configs: Sequence[KconfigRequest], folder: Path
) -> None:
    """Raise RequestError if every session lacks a needed option in every configuration.

    ``needed`` has the options by the session's name.
    """
    lacks = [
        (session, option, config)
        for session, options in needed.items()
        for config in configs
        for option in [name for name in options if config.surely_lacks(name)][:1]
    ]
    if len(lacks) == len(needed) * len(configs):
        session, option, config = lacks[0]
        raise RequestError(
            f"session {session}: needs {option}, which kconfig {config.name} does not have;"
            f" {offering(option, folder)}"
        )


def offering(option: str, folder: Path) -> str:
    """Say how a kernel gets an option: by the fragment of ``folder`` that has it, or by hand."""
    for path in sorted(folder.glob("*.config")):
        if parse(path).get(option) == "y":
            return f"--kconfig {path.stem} has it"
    return f"put {option}=y into your own fragment"


def _find(name: str, folder: Path) -> Path:
    for path in (folder / f"{name}.config", Path(name)):
        if path.is_file():
            return path
    names = ", ".join(sorted(p.stem for p in folder.glob("*.config")))
    raise RequestError(
        f"kconfig {name}: must be one of {names}, or the path of a fragment or a .config"
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".config") or "config"


def _is_whole(path: Path) -> bool:
    with path.open(errors="replace") as lines:
        head = lines.read(400)
    found = WHOLE.search(head)
    if found and found["arch"] != "arm64":
        raise RequestError(f"is a configuration for {found['arch']}; give one for arm64", path)
    return found is not None
