"""Show objects in a notebook, and words of the data in a terminal."""

from __future__ import annotations

import html
import io
import re
from typing import Any

__all__ = ["figure", "preformatted", "printable"]

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
