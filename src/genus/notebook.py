"""Show objects in a notebook, and words of the data in a terminal."""

from __future__ import annotations

import html
import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

__all__ = ["MANY", "Previewed", "figure", "few_lines", "preformatted", "printable"]

ROWS = 5  # of a table that are shown
ACROSS = 8  # columns
MANY = 50  # lines of columns, of which more are cut to
FEW = 20

# Controls other than tab and the end of a line, and marks that turn the direction of what follows.
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


def preformatted(text: str) -> str:
    """Return text as HTML that keeps its lines and columns.

    >>> preformatted("a < b")
    '<pre style="line-height: 1.3">a &lt; b</pre>'
    """
    return f'<pre style="line-height: 1.3">{html.escape(text, quote=False)}</pre>'


def figure(drawn: Any) -> str:
    """Return a matplotlib Figure as SVG."""
    file = io.StringIO()
    drawn.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]


def printable(text: str) -> str:
    r"""Return text with its control characters written out as JSON has them, so that no word of the data moves a cursor.

    Tabs and ends of lines stay. JSON stays JSON, of the same values.

    >>> print(printable("red \x1b[31m, and\nplain"))
    red \u001b[31m, and
    plain
    """
    return CONTROLS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def few_lines(lines: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Return the lines of columns; of many the first, and one that counts the others by their kinds.

    >>> few_lines([f"x{i}" for i in range(1000)], ["lattice"] * 990 + ["category"] * 10)[19:]
    ['x19', '... and 980 more columns: 970 lattice, 10 category']
    """
    if len(lines) <= MANY:
        return list(lines)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in Counter(kinds[FEW:]).most_common())
    return [*lines[:FEW], f"... and {len(lines) - FEW:,} more columns: {counts}"]


class Previewed(ABC):
    """Prints a result as a sentence on what it is and the first rows of its table; a dataclass below it has repr=False."""

    @abstractmethod
    def _preview(self) -> tuple[str, Any]:
        """Return the sentence, and the rows as an Arrow table."""

    def __repr__(self) -> str:
        title, table = self._preview()
        shown = table.slice(0, ROWS).select(table.column_names[:ACROSS]).to_pydict()
        columns = [[name, *map(_cell, values)] for name, values in shown.items()]
        widths = [max(map(len, column)) for column in columns]
        lines = ["  ".join(map(str.rjust, row, widths)) for row in zip(*columns, strict=True)]
        more = [f"{table.num_rows - ROWS:,} more rows"] if table.num_rows > ROWS else []
        more += [f"{table.num_columns - ACROSS:,} more columns"] if table.num_columns > ACROSS else []
        return "\n".join([title, *lines, *([f"... {' and '.join(more)}"] if more else [])])

    def _repr_html_(self) -> str:
        return preformatted(repr(self))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)[:40]
