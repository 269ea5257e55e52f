"""Patterns of files, such as folder/*.csv, and what those of a table have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from genus.data.files import COMPRESSED
from genus.errors import DataError

__all__ = ["ending", "files_of_pattern", "with_same_columns"]


def files_of_pattern(pattern: str | os.PathLike[str]) -> tuple[Path, list[Path]] | None:
    """Return the folder of a pattern and the files that it stands for, sorted; None where a path is no pattern, or is there.

    `*` stands for any part of a name, `**` for folders of any depth.

    Raises:
        DataError: the pattern cannot be understood, or no file matches.
    """
    path = Path(pattern).expanduser()
    if "*" not in str(path) or path.exists():
        return None
    folder = next(parent for parent in path.parents if "*" not in str(parent))
    try:
        found = sorted(p for p in folder.glob(str(path.relative_to(folder))) if p.is_file() and not p.name.startswith("."))
    except ValueError as error:
        raise DataError(f"Cannot understand the pattern {str(pattern)!r}: {error}.") from error
    if not found:
        raise DataError(f"No file matches {str(pattern)!r}; expected a pattern such as folder/*.csv.")
    return folder, found


def ending(path: Path) -> str:
    """Return how the name of a file ends, in lower case, before the ending of a compression.

    >>> ending(Path("a.CSV.gz"))
    '.csv'
    """
    return Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSED else path.suffix.lower()


def with_same_columns(tables: Iterable[tuple[str, pa.Table]]) -> Iterator[pa.Table]:
    """Yield tables, each with the name of its file, with their columns in the order of the first.

    Raises:
        DataError: one has other columns than the first.
    """
    first, names = "", list[str]()
    for file, table in tables:
        first, names = first or file, names or table.column_names
        if sorted(table.column_names) != sorted(names):
            odd = sorted({*table.column_names} ^ {*names}) or names
            raise DataError(f"Files of one table have the same columns, and {file} and {first} differ in {', '.join(odd[:5])}.")
        yield table.select(names)
