"""Fence the doctests of docstrings, as an extension of Griffe: pages show them as code and never read them as Markdown."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)  # from a prompt to the next blank line


class Doctests(Extension):
    """Put the doctests of every docstring between fences before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fence the doctests of an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Return text with a fence around each block of lines that begins with a prompt and ends before a blank line."""
    return EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
