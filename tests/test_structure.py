"""The shape of the source: no import circles, no late imports, short files, and public names that say what they do."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conftest import of_each
from test_imports import BELOW, modules, room_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from count_code import code_lines

LONGEST, LONGEST_LADDER = 400, 300  # lines of a file, and of the ladder's main file
LADDER = "ladder.base"
LATE = ("", "registry", "cli")  # genus/__init__, the registry and the command line may import genus within functions


def words(text: str) -> set[str]:
    """Return the words of a text."""
    return set(text.split())


# A docstring opens with a verb. These words open a sentence that has none, or has it late.
OPENERS = words("""
    A All An And Any As At Beside Both By Each Either Every For From How If In Is It Its Like Many More Most No Not Of On One Or
    Other Same So Some Such That The Their Then There These This Those To What When Where Whether Which Who Whose Why With
    Without Yes
    """)

# -- imports --------------------------------------------------------------------------------------------------------------


def imports(text: str, files: Iterable[str], late_only: bool = False) -> set[str]:
    """Return the files of genus that a module imports, by name: wherever the import stands, for type checkers included.

    Args:
        text: the module.
        files: the names of all files below genus; "" is genus itself.
        late_only: return only what is imported within functions.
    """
    tree = ast.parse(text)
    nodes: Iterable[ast.AST] = ast.walk(tree)
    if late_only:
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))
        nodes = (node for function in functions for node in ast.walk(function))
    found = {name for node in nodes for name in _imported(node, set(files))}
    return {name.removeprefix("genus").removeprefix(".") for name in found}


def _imported(node: ast.AST, files: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "genus")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "genus":
        base = node.module or ""
        for alias in node.names:
            submodule = f"{base}.{alias.name}".removeprefix("genus.")
            if (base, alias.name) != ("genus", "__version__"):
                yield f"genus.{submodule}" if submodule in files else base


def graph() -> dict[str, set[str]]:
    """Return the files that every file of genus imports."""
    files = modules()
    return {name: imports(path.read_text(encoding="utf-8"), files) for name, path in files.items()}


def circle(name: str, edges: dict[str, set[str]]) -> list[str]:
    """Return the shortest way by imports from a file back to itself; empty where there is none."""
    ways = [[name]]
    seen: set[str] = set()
    for way in ways:
        for other in sorted(edges.get(way[-1], ())):
            if other == name:
                return [*way, name]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


FILES = modules()
NAMED = [name for name in FILES if name]
GRAPH = graph()


@of_each(NAMED)
def test_a_file_is_on_no_import_circle(name: str) -> None:
    assert " → ".join(circle(name, GRAPH)) == ""


def test_circles_are_found_within_functions_and_for_type_checkers() -> None:
    late = imports("def f():\n    from genus.b import thing", ["a", "b"])
    typed = imports("if TYPE_CHECKING:\n    from genus import a", ["a", "b"])
    assert circle("a", {"a": late, "b": typed}) == ["a", "b", "a"]
    assert circle("a", {"a": {"b"}, "b": {"c"}, "c": {"b"}}) == []  # on the way to a circle, not on one


@of_each([name for name in NAMED if room_of(name) not in LATE])
def test_genus_is_imported_at_the_top_of_a_file(name: str) -> None:
    assert imports(FILES[name].read_text(encoding="utf-8"), FILES, late_only=True) == set()


@of_each(NAMED)
def test_imports_for_type_checkers_run_downward_too(name: str) -> None:
    rooms = {room_of(other) for other in GRAPH[name]} - {room_of(name)}
    assert rooms - BELOW[room_of(name)] == set()


# -- files ----------------------------------------------------------------------------------------------------------------


@of_each(FILES)
def test_files_are_short(name: str) -> None:
    lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= (LONGEST_LADDER if name == LADDER else LONGEST)


def test_lines_of_code_are_counted_without_words() -> None:
    text = '"""Docstring\nof two lines."""\n\nimport os  # why\n# alone\n\n\ndef f():\n    "Doc."\n'
    text += '    x = """a\n\n    b"""\n    return x\n'
    assert code_lines(text) == 6  # import, def, three lines of a string, return


# -- docstrings -----------------------------------------------------------------------------------------------------------


def public(module: ModuleType) -> Iterator[tuple[str, Any, str]]:
    """Return the public classes, functions and methods that a module defines: name, object, own or inherited docstring."""
    for name in getattr(module, "__all__", ()):
        thing = inspect.unwrap(getattr(module, name)) if callable(getattr(module, name)) else getattr(module, name)
        if getattr(thing, "__module__", None) != module.__name__ or not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        yield name, thing, _docstring(thing)
        for key, member in vars(thing).items() if inspect.isclass(thing) else ():
            function = _function(member)
            if not key.startswith("_") and getattr(function, "__module__", None) == module.__name__:
                yield f"{name}.{key}", function, _docstring(function) or _inherited(thing, key)


def _function(member: Any) -> Any:
    """Return the function behind a method, a class method, a static method or a property; None of anything else."""
    function = getattr(member, "__func__", None) or getattr(member, "fget", None) or getattr(member, "func", member)
    return function if inspect.isfunction(function) else None


def _docstring(thing: Any) -> str:
    text = (
        inspect.cleandoc(vars(thing).get("__doc__") or "") if inspect.isclass(thing) else inspect.cleandoc(thing.__doc__ or "")
    )
    return "" if text.startswith(f"{thing.__name__}(") else text  # what a dataclass writes itself


def _inherited(cls: type, key: str) -> str:
    """Return the docstring of a method that a class of genus above has."""
    above = (base for base in cls.__mro__[1:] if base.__module__.startswith("genus") and key in vars(base))
    return next((text for base in above if (text := _docstring(_function(vars(base)[key]) or base))), "")


def complaints(module: ModuleType) -> list[str]:
    """Return a line for every public name without a docstring, or with one that does not open with a verb."""
    lines = []
    for name, _, text in public(module):
        first = re.match(r"[A-Z][a-z]+(?=[\s.,:;])|[A-Z](?=\s)", text)
        if not text:
            lines.append(f"{name} has no docstring")
        elif not first or first[0] in OPENERS:
            lines.append(f"{name} does not open with a verb: {text.splitlines()[0]}")
    return lines


@of_each(NAMED)
def test_public_names_say_what_they_do(name: str) -> None:
    assert complaints(importlib.import_module(f"genus.{name}")) == []


def test_a_docstring_without_a_verb_is_found() -> None:
    module = ModuleType("genus.example")
    exec(
        "__all__ = ['f', 'g', 'C']\n"
        "def f():\n    'What f is.'\n"
        "def g():\n    'Return g.'\n"
        "class C:\n    'Hold c.'\n    def method(self): ...\n"
        "    @property\n    def size(self):\n        'x (B,) -> its size.'\n",
        vars(module),
    )
    assert [line.split(" ")[0] for line in complaints(module)] == ["f", "C.method", "C.size"]
