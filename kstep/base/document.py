# SPDX-License-Identifier: GPL-2.0-only
"""A YAML document, checked against a schema; each error names its line."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


@dataclass(frozen=True)
class Document:
    """The content of a file, with line numbers.

    ``lines`` has the line, from 1, of every key and list item by its keys from the top, such as
    ``("patches", 0, "file")``.
    """

    path: Path
    value: dict[str, Any]
    lines: Mapping[tuple[str | int, ...], int]

    def line_of(self, *keys: str | int) -> int:
        """Return the line of the value at ``keys``, or of the nearest value around it."""
        while keys not in self.lines:
            keys = keys[:-1]
        return self.lines[keys]

    def fault(self, message: str, *keys: str | int) -> RequestError:
        """Return an error for a fault that the schema cannot detect; the caller raises it."""
        return RequestError(message, self.path, self.line_of(*keys))


def nearest(word: str, words: Iterable[str]) -> str:
    """Suggest the most similar of ``words``, or list them all."""
    known = sorted(words)
    if close := difflib.get_close_matches(word, known, n=1):
        return f'did you mean "{close[0]}"?'
    return f"there are: {', '.join(known) or 'none'}"


def load(path: Path, schema: Mapping[str, Any]) -> Document:
    """Read the one document in ``path``.

    Dates stay strings; aliases are refused. Raises RequestError at the first fault.
    """
    lines: dict[tuple[str | int, ...], int] = {(): 1}
    try:
        loader = _Loader(path.read_bytes())
        node = loader.get_single_node()
        value = None if node is None else _build(loader, node, (), lines)
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise RequestError(f"{error.problem}; fix the YAML", path, line) from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"not UTF-8 text: {reason}", path) from error
    except RecursionError as error:
        raise RequestError("nested too deeply; flatten it", path) from error

    faults = [best_match([error]) for error in Draft202012Validator(schema).iter_errors(value)]
    described = [_describe(error) for error in faults if error is not None]
    document = Document(path, value if isinstance(value, dict) else {}, lines)
    if described:
        keys, message = min(described, key=lambda fault: document.line_of(*fault[0]))
        raise document.fault(message, *keys)
    return document


class _Loader(yaml.SafeLoader):
    """Reads dates as strings, as JSON does, and refuses aliases, which may loop for ever."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- pyyaml's own interface
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.current_event.start_mark
            raise yaml.MarkedYAMLError(
                problem="write the value out, not an alias", problem_mark=mark
            )
        return super().compose_node(parent, index)


def _build(
    loader: _Loader,
    node: yaml.Node,
    keys: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
) -> Any:  # noqa: ANN401 -- any value that YAML can hold
    """Build the value of ``node`` and record its lines; an error raises a yaml error."""
    lines.setdefault(keys, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*keys, n), lines) for n, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except ValueError as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
    mapping: dict[str, Any] = {}
    for key, item in node.value:
        problem = None
        if not key.tag.endswith(":str"):
            problem = "a key must be a string; put it in quotes"
        elif key.value in mapping:
            problem = f'key "{key.value}" appears twice; keep one'
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        lines[*keys, key.value] = key.start_mark.line + 1
        mapping[key.value] = _build(loader, item, (*keys, key.value), lines)
    return mapping


def _describe(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Return the keys of a fault, and a message with its fix."""
    keys: tuple[str | int, ...] = tuple(error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    rules: Any = error.schema
    if "propertyNames" in error.absolute_schema_path:  # the value is the key itself
        keys = (*keys, value)
    here = next((f'"{name}"' for name in reversed(keys) if isinstance(name, str)), "the document")
    message = f"{here}: {error.message.splitlines()[0][:120]}"
    match error.validator:
        case "additionalProperties":
            known = rules.get("properties", {})
            patterns = rules.get("patternProperties", {})
            extra = next(
                key
                for key in value
                if key not in known and not any(re.search(pattern, key) for pattern in patterns)
            )
            keys = (*keys, extra)
            message = f'unknown key "{extra}"; {nearest(extra, known)}'
        case "required":
            missing = next(key for key in wanted if key not in value)
            message = f'key "{missing}" is missing; add it'
        case "type":
            names = [TYPES[name] for name in ([wanted] if isinstance(wanted, str) else wanted)]
            message = f"{here} must be {' or '.join(names)}"
        case "enum":
            message = f'{here} cannot be "{value}"; {nearest(str(value), map(str, wanted))}'
        case "pattern":
            message = f'{here} cannot be "{value}"; it must match {wanted}'
        case "minItems" | "minProperties":
            message = f"{here} is empty; fill it"
    return keys, " ".join(message.split())
