"""Fence the doctests of docstrings, as an extension of Griffe, and keep their formulas: nothing in them is read as HTML."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

# An example, from a prompt to the next blank line; code within a line; what would begin a tag, as in x_<i.
PART = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*|`[^`\n]+`|<(?=[A-Za-z/!?])", re.MULTILINE)


class Doctests(Extension):
    """Put the doctests of every docstring between fences before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fence the doctests of an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    r"""Return text with a fence around each block of lines that begins with a prompt, and with no tags of HTML outside of code.

    >>> fenced("p(x_i given x_<i), `a<b`")
    'p(x_i given x_&lt;i), `a<b`'
    >>> fenced(">>> type(1)\n<class 'int'>\n\nmore")
    "```pycon\n>>> type(1)\n<class 'int'>\n```\n\nmore"
    """

    def instead(found: re.Match[str]) -> str:
        if found[1] is not None:
            return f"{found[1]}```pycon\n{found[0]}\n{found[1]}```"
        return "&lt;" if found[0] == "<" else found[0]

    return PART.sub(instead, text)
