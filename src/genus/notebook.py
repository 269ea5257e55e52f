"""How objects show themselves in a notebook."""

from __future__ import annotations

import html
import io
from typing import Any

__all__ = ["figure", "preformatted"]


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
