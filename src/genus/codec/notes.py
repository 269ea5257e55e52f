"""Sentences on data that a person should read, in the words of Python and of the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from genus.errors import DataError

__all__ = ["Note"]

ABOUT = ("", "left out", "key", "personal")


class Note(str):
    """Hold a sentence on how data were read, with what a person can do about it.

    It is text in the words of Python, so that it can be printed and searched as it is; `shell` has the words of the command
    line. Both are made from a reason, a remedy with {} in the place of an option, and that option.

    Args:
        reason: what happened, a sentence without a capital or a full stop.
        remedy: what to do where that is not wanted, with {} where the option stands; "" where there is nothing to do.
        option: the argument of `genus.read` and its value: {"kinds": {"zip": "category"}}, say.
        column: the column that the note is on; "" for none.
        about: "left out" of a column that no sample has; "key" of one whose values are invented; "personal" of one whose
            values samples repeat although they may be those of persons; else "".

    >>> note = Note("column 'zip' looks like free text", "keep it with {}", {"kinds": {"zip": "category"}}, "zip", "left out")
    >>> print(note)
    column 'zip' looks like free text; keep it with kinds={'zip': 'category'}
    >>> print(note.shell)
    column 'zip' looks like free text; keep it with --kind zip=category
    """

    __slots__ = ("about", "column", "option", "reason", "remedy")
    reason: str
    remedy: str
    option: Mapping[str, Any]
    column: str
    about: str

    def __new__(
        cls, reason: str, remedy: str = "", option: Mapping[str, Any] | None = None, column: str = "", about: str = ""
    ) -> Note:
        if about not in ABOUT:
            raise ValueError(f"a note is about one of {ABOUT}; got {about!r}")
        option = dict(option or {})
        note = super().__new__(cls, _sentence(reason, remedy, _arguments(option)))
        note.reason, note.remedy, note.option, note.column, note.about = reason, remedy, option, column, about
        return note

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.reason, self.remedy, self.option, self.column, self.about

    @classmethod
    def of(cls, text: str) -> Note:
        """Return text as a note; a note as it is."""
        return text if isinstance(text, Note) else cls(text)

    @property
    def label(self) -> str:
        """Return the word that stands before the sentence where notes are listed."""
        return self.about if self.about in ("left out", "key") else "warning" if self.about else "note"

    @property
    def shell(self) -> str:
        """Return the sentence in the words of the command line."""
        return _sentence(self.reason, self.remedy, _options(self.option))

    @property
    def options(self) -> tuple[str, str]:
        """Return the option alone, in the words of the command line and of Python; "" where there is none."""
        return _options(self.option), _arguments(self.option)

    def in_sentence(self, sentence: str) -> Note:
        """Return the note with its reason in the place of {} in a sentence, and a full stop at the end: for errors.

        >>> note = Note("column 'id' is a key", "undo it with {}", {"kinds": {"id": "category"}})
        >>> note.in_sentence("No column is left: {}").shell
        "No column is left: column 'id' is a key; undo it with --kind id=category."
        """
        reason, remedy = sentence.replace("{}", self.reason), f"{self.remedy}." if self.remedy else ""
        return Note(reason if remedy else f"{reason}.", remedy, self.option, self.column, self.about)

    def to_json(self) -> dict[str, Any]:
        """Return the note as JSON values; `from_json` is the inverse."""
        return {name: getattr(self, name) for name in ("about", "column", "reason", "remedy", "option")}

    @classmethod
    def from_json(cls, data: Any) -> Note:
        """Return the note that `to_json` described.

        Raises:
            DataError: the values are none of a note.
        """
        try:
            texts = {name: data.get(name, "") for name in ("reason", "remedy", "column", "about")}
            if not all(isinstance(text, str) for text in texts.values()):
                raise ValueError("its fields are no texts")
            return cls(option=data.get("option"), **texts)
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"A note cannot be made of {str(data)[:80]}: {error}.") from error


def _sentence(reason: str, remedy: str, option: str) -> str:
    return f"{reason}; {remedy.replace('{}', option)}" if remedy else reason


def _arguments(option: Mapping[str, Any]) -> str:
    """Return options as arguments of `genus.read`."""
    return " ".join(f"{name}={value!r}" for name, value in option.items())


def _options(option: Mapping[str, Any]) -> str:
    """Return options as the command line has them."""
    words = []
    for name, value in option.items():
        flag = {"kinds": "kind"}.get(name, name.replace("_", "-"))
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, Mapping):
            words += [f"--{flag} {shlex.quote(f'{column}={kind}')}" for column, kind in value.items()]
        else:
            several = value if isinstance(value, list | tuple) else [value]
            words += [f"--{flag} {shlex.quote(str(one))}" for one in several]
    return " ".join(words)
