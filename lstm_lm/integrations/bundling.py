"""One file with everything that a module needs of this package, for machines that do not have it.

The definitions of a module are followed through its imports: each function, class or constant of
`lstm_lm` that is used is copied, after those that it uses itself. What comes from other packages is
imported. So the copy has the same code as the package, and only what is needed of it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "lstm_lm"


@dataclass(frozen=True)
class Source:
    """The text of a module, taken apart.

    Attributes:
        docstring: the module's.
        definitions: name -> source text of the statement that defines it, comments above included.
        imported: name -> the module and the name there; None in place of that name if it is the
            module itself.
    """

    docstring: str
    definitions: dict[str, str]
    imported: dict[str, tuple[str, str | None]]


def bundle(module: str, replaced: Mapping[str, str] | None = None) -> str:
    """Returns one file that does what a module does, without `lstm_lm`.

    Args:
        module: its dotted name. All its definitions are copied.
        replaced: name of a definition in `lstm_lm` -> the source text of a module that is used in
            place of the one that has it.

    Raises:
        ValueError: two things that are needed have the same name.
    """
    in_place = {name: take_apart(text) for name, text in (replaced or {}).items()}
    source, copied = read(module), _Copied(in_place)
    for name in source.definitions:
        copied.add(source, module, name)
    docstring = f'"""{source.docstring}"""'
    future = "from __future__ import annotations"
    imports = "\n".join(sorted(set(copied.imports.values()), key=_import_order))
    return "\n\n".join([docstring, future, imports, *copied.texts]) + "\n"


@dataclass
class _Copied:
    """What was copied so far.

    Attributes:
        replaced: see `bundle`.
        imports: name -> the line that imports it.
        texts: the definitions, each after those that it uses.
        origins: name -> the module that it is from.
    """

    replaced: Mapping[str, Source]
    imports: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, source: Source, module: str, name: str) -> None:
        """Copies what ``name`` means in a module, if it is not copied yet and not built in."""
        if name in source.definitions:
            if self._is_new(name, module):
                text = source.definitions[name]
                for used in names_in(text):
                    if used != name:
                        self.add(source, module, used)
                self.texts.append(text)
        elif name in source.imported:
            target, original = source.imported[name]
            if original is None or not _is_ours(target):
                line = _import_line(target, original, name)
                if self._is_new(name, line):
                    self.imports[name] = line
            elif original in self.replaced:
                self.add(self.replaced[original], f"in place of {original}", original)
            else:
                if name != original:
                    raise ValueError(f"{module}: import {original} under its own name")
                self.add(read(target), target, original)

    def _is_new(self, name: str, origin: str) -> bool:
        is_new = name not in self.origins
        if self.origins.setdefault(name, origin) != origin:
            raise ValueError(f"{name} is in {self.origins[name]} and in {origin}; rename one")
        return is_new


@cache
def read(module: str) -> Source:
    """Takes the source file of an installed module apart.

    Raises:
        ValueError: there is no such file.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ValueError(f"{module}: has no source file")
    return take_apart(Path(spec.origin).read_text(encoding="utf-8"))


def take_apart(text: str) -> Source:
    """Finds the definitions and imports of a module by its source text."""
    tree = ast.parse(text)
    lines = text.splitlines()
    source = Source((ast.get_docstring(tree, clean=False) or ""), {}, {})
    end = 0  # lines of the statements so far
    for node in tree.body:
        begin = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        first = begin
        while first > end and lines[first - 1].startswith("#"):
            first -= 1
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                source.imported[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                source.imported[alias.asname or alias.name] = (alias.name, None)
        else:
            kept = [
                line
                for number, line in enumerate(lines[first:end], first + 1)
                if number not in _lines_of_fast_passes(node)
            ]
            is_block = isinstance(node, (ast.FunctionDef, ast.ClassDef))
            for name in _defined_by(node):
                source.definitions[name] = ("\n" if is_block else "") + "\n".join(kept)
    return source


def _defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [
        part.id
        for target in targets
        if target is not None
        for part in ast.walk(target)
        if isinstance(part, ast.Name)
    ]


def _lines_of_fast_passes(node: ast.stmt) -> set[int]:
    """The lines in which a cell names its fast pass; a copy runs word by word."""
    return {
        number
        for part in (node.body if isinstance(node, ast.ClassDef) else [])
        if "fused_pass" in _defined_by(part) and isinstance(part, (ast.Assign, ast.AnnAssign))
        for number in range(part.lineno, (part.end_lineno or part.lineno) + 1)
    }


def names_in(text: str) -> list[str]:
    """Returns the names that a definition uses, in their order, each once."""
    nodes = ast.walk(ast.parse(text))
    return list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _import_line(module: str, original: str | None, name: str) -> str:
    if original is None:
        return f"import {module}" + ("" if name == module else f" as {name}")
    return f"from {module} import {original}" + ("" if name == original else f" as {name}")


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line
