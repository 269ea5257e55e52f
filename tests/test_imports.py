"""Imports run downward only, `import genus` stays light, and every public name is there."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import of_each

import genus

SOURCE = Path(genus.__file__).parent

# Room -> the rooms below it, which its modules may import, at the top of the file or within a function. docs/architecture.md
# draws it. There are two branches that do not know of one another: reading data, and models, which see tensors only.
VALUES = {"errors", "kinds", "notebook"}
TENSORS = VALUES | {"space", "atomic", "compiled", "configurable", "random", "threads"}
FORMS = VALUES | {"codec", "space"}
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "notebook": set(),
    "atomic": {"errors"},
    "configurable": {"errors"},
    "compiled": {"errors", "random"},
    "random": {"errors"},
    "threads": set(),
    "kinds": {"errors"},
    "codec": VALUES | {"space"},
    "space": VALUES | {"compiled"},
    "data": FORMS | {"threads"},
    "nets": TENSORS,
    "transforms": TENSORS | {"nets"},
    "ladder": TENSORS | {"nets"},
    "divergences": TENSORS | {"nets", "transforms", "ladder"},
    "models": TENSORS | {"codec", "nets", "transforms", "ladder", "divergences"},
    "registry": TENSORS | {"nets", "ladder", "models"},
    "files": TENSORS | {"codec", "nets", "ladder", "registry"},
    "training": TENSORS | {"codec", "nets", "ladder", "registry", "files"},
    "distillation": TENSORS | {"nets", "ladder", "divergences", "models", "registry", "files", "training"},
    "laws": TENSORS | {"transforms", "ladder", "divergences", "models", "registry", "files", "training"},
    "testing": TENSORS | {"transforms", "ladder", "divergences", "models", "training", "laws"},
    "evaluation": FORMS
    | TENSORS
    | {"data", "nets", "ladder", "divergences", "models", "registry", "files", "training", "laws", "questions"},
}
BELOW["questions"] = FORMS | {"data", "ladder", "random"}
BELOW["export"] = VALUES | {"atomic", "ladder"}
BELOW["hub"] = VALUES | {"ladder", "files", "evaluation"}
BELOW["tour"] = set(BELOW)
BELOW["sklearn"] = BELOW["cli"] = set(BELOW)
BELOW["__main__"] = {"cli"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the real tree by its name below genus, __init__ left out of package names."""
    out = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def imports(tree: ast.AST) -> Iterator[str]:
    """The module of every import, wherever it stands; those for type checkers only do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports(ast.Module([other], []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: a relative import; write genus. in full")
            base = node.module or ""
            names = [alias.name for alias in node.names if (base, alias.name) != ("genus", "__version__")]
            yield from (f"genus.{name}" if base == "genus" else base for name in names)
        yield from imports(node)


def room_of(module: str) -> str:
    return module.split(".")[0]


def rooms_imported(text: str) -> Iterator[str]:
    """The room of every import from genus in a module's text; empty for genus itself."""
    for module in imports(ast.parse(text)):
        if module == "genus" or module.startswith("genus."):
            yield room_of(module.removeprefix("genus").removeprefix("."))


def violations(module: str, text: str) -> list[str]:
    room = room_of(module)
    return [
        f"{module} imports {other or 'genus'}" for other in rooms_imported(text) if other != room and other not in BELOW[room]
    ]


def test_every_room_is_listed() -> None:
    assert {room_of(name) for name in modules()} - {""} == set(BELOW), "a new room needs its line here and in the architecture"


def test_the_list_has_a_direction() -> None:
    assert next(TopologicalSorter(BELOW).static_order()) == "errors"  # a cycle raises


def test_the_architecture_draws_the_same_direction() -> None:
    text = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = text.split("```")[1]
    drawn: set[str] = set()
    for line in drawing.strip().splitlines():
        steps = [[room.strip() for room in step.split(",")] for step in line.split("→")]
        drawn.update(room for step in steps for room in step)
        for lower, upper in pairwise(steps):
            assert all(a in BELOW[b] for a in lower for b in upper), f"{', '.join(lower)} → {', '.join(upper)}"
    assert drawn == set(BELOW) - {"__main__"}


@of_each([name for name in modules() if name])
def test_imports_run_downward(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("models.maf", "from genus.training import fit"),
        ("models.maf", "def f():\n    import genus.training.loop"),
        ("models.maf", "class A:\n    def f(self):\n        from genus import data"),
        ("data.sources", "from genus.nets.cells import Cells"),
        ("space", "try:\n    from genus.data import read\nexcept ImportError:\n    pass"),
        ("training.loop", "from genus import fit"),  # by way of the public names, which are above everything
        ("evaluation.metrics", "import genus"),
        ("sklearn", "from genus import nonsense"),
    ],
)
def test_an_import_upward_is_found(module: str, text: str) -> None:
    assert len(violations(module, text)) == 1


def test_what_is_for_type_checkers_only_does_not_count() -> None:
    assert violations("codec", "if TYPE_CHECKING:\n    from genus.space import Space") == []


def test_import_genus_is_light() -> None:
    heavy = ["torch", "numpy", "sklearn", "matplotlib", "pandas", "polars", "pyarrow", "lightning_fabric", "rich", "typer"]
    code = f"import sys, genus; dir(genus); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("set_before", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_somebody_chose(set_before: str | None, found: str) -> None:
    given = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    given |= {"OMP_WAIT_POLICY": set_before} if set_before else {}
    code = "import genus, os; print(os.environ['OMP_WAIT_POLICY'])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given).stdout
    assert said.strip() == found


def test_import_genus_takes_a_tenth_of_a_second_at_most() -> None:
    used = []
    for _ in range(8):  # processor time, and the least: this machine may be busy with something else
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "import genus"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if used[-1] < 0.1:
            return
    pytest.fail(f"import genus took {min(used):.2f} s of the processor; at most 0.1 s are promised")


def test_only_the_adapter_needs_scikit_learn_at_import() -> None:
    names = sorted(set(genus.__all__) - {"compare", "Report"})
    code = f"import sys, genus; [getattr(genus, n) for n in {names}]; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@of_each(genus.__all__)
def test_public_names_resolve(name: str) -> None:
    value = getattr(genus, name)
    assert value.__name__ == name
    assert value.__module__.startswith("genus."), "a public name that is not ours"


@pytest.mark.parametrize("module", [m for m in dir(genus) if m not in genus.__all__ and not m.startswith("_")])
def test_public_modules_resolve(module: str) -> None:
    assert getattr(genus, module).__name__ == f"genus.{module}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = genus.nonsense
