"""Text, in files and folders, read as one long sequence of symbols or as documents that end."""

from __future__ import annotations

import codecs
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genus.codec.forms import Form
from genus.codec.text import Bytes, Characters, Coding, Tokens, coding, train_tokens
from genus.data.arguments import Options
from genus.data.sequences import Sequences, collected
from genus.errors import DataError
from genus.kinds import Category

__all__ = ["SUFFIXES", "Text", "read_documents", "read_texts"]

SUFFIXES = (".txt", ".text", ".md")
SEPARATOR = "\x03"  # end of text: stands between files that are read as one
PIECE = 2**22  # bytes read at a time
HEAD = 2**20  # so many characters decide whether a file has a document on every line
PROBE = 10_000  # so many characters decide whether a tokenizer keeps text as it is
LINE = 200  # the most characters of a line that is a document
LINES = 10  # the fewest lines of a file of documents
LONGEST = 4096  # the most symbols of files that are documents
WASTE = 8  # filling documents up may take so many times as many numbers as they have symbols


@dataclass(frozen=True)
class Text:
    """Holds a text: a string, or a file that may be compressed.

    Args:
        name: for messages.
        source: the string, or the path of the file.
    """

    name: str
    source: Path | str

    def open(self) -> Any:
        """Return the bytes as an open file."""
        if isinstance(self.source, str):
            return io.BytesIO(self.source.encode("utf-8", "surrogatepass"))
        return pa.input_stream(str(self.source), compression="detect")

    @property
    def blank(self) -> bool:
        """Return whether the text is nothing but spaces and line ends."""
        with self.open() as file:
            return not any(block.strip() for block in iter(lambda: file.read(PIECE), b""))

    def pieces(self) -> Iterator[str]:
        """Yield the characters, a few million at a time; every end of a line is \\n, as when Python reads text.

        Raises:
            DataError: bytes that are not UTF-8.
        """
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        lines = io.IncrementalNewlineDecoder(None, translate=True)
        read = line = 0
        with self.open() as file:
            while True:
                block = file.read(PIECE)
                read += len(block)
                try:
                    text = decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    at = read - (len(error.object) - error.start)
                    line += error.object[: error.start].count(b"\n")
                    raise DataError(
                        f"{self.name} is not UTF-8 text ({error.reason} at byte {at:,}, line {line + 1:,}); save it as UTF-8,"
                        " or read its bytes with tokens='bytes'."
                    ) from error
                line += text.count("\n")
                if text := lines.decode(text, final=not block):
                    yield text
                if not block:
                    return

    def read(self) -> str:
        """Return all characters."""
        return "".join(self.pieces())

    def bytes(self) -> np.ndarray:
        """Return the bytes as uint8 (M,), memory-mapped where the text is a file that is not compressed."""
        if isinstance(self.source, Path) and self.source.suffix.lower() in SUFFIXES and self.source.stat().st_size:
            return np.memmap(self.source, dtype=np.uint8, mode="c")  # what is written to a page stays in memory
        with self.open() as file:
            return np.frombuffer(bytearray(file.read()), dtype=np.uint8)


def read_texts(texts: Sequence[Text], options: Options) -> Sequences:
    """Return texts as sequences of symbols.

    Args:
        texts: in order.
        options: the arguments of `read`.

    Raises:
        DataError: empty texts, bytes that are not UTF-8, symbols that the space lacks, or arguments without a meaning.
    """
    check(options)
    if all(text.blank for text in texts):
        subject = f"The text {texts[0].name} is" if len(texts) == 1 else f"All {len(texts)} texts, {texts[0].name} say, are"
        raise DataError(f"{subject} empty; expected at least one line with something in it.")
    layout = _layout(texts, options)
    if layout == "lines":
        return _lines(texts, options)
    if layout == "files":
        return read_documents([_content(text, options) for text in texts], [text.name for text in texts], options)
    return _stream(texts, options)


def read_documents(documents: Sequence[Any], names: Sequence[str], options: Options) -> Sequences:
    """Return strings, or bytes, as sequences of symbols, each a document with an end.

    Args:
        documents: the strings.
        names: of the documents, for messages.
        options: the arguments of `read`.
    """
    check(options)
    symbols = _symbols(options, lambda: iter(documents))
    values, lengths = symbols.encode(documents, lambda i, place: f"place {place + 1:,} of {names[i]}")
    return _sequences(symbols, values, lengths, "documents")


def _sequences(symbols: Coding, values: np.ndarray, lengths: np.ndarray, layout: str, notes: Sequence[str] = ()) -> Sequences:
    unit = "tokens" if isinstance(symbols, Tokens) else symbols.name
    form = Form("text", ("str",), coding=symbols.name)
    uses = frozenset({"tokens", "documents", "length", "sequence"})
    return Sequences(values, lengths, Category(symbols.levels), form, layout, unit, uses=uses, notes=tuple(notes))


# -- which parts are sequences --------------------------------------------------------------------------------------------


def check(options: Options) -> None:
    """Raise DataError where an argument does not fit text, or the space."""
    if options.documents not in (None, "auto", "one", "lines", "files"):
        raise DataError(f"documents={options.documents!r} is not understood; expected 'auto', 'one', 'lines' or 'files'.")
    tokens, space = options.tokens, options.space
    if isinstance(tokens, str) and tokens not in ("characters", "bytes") and not Path(tokens).is_file():
        raise DataError(
            f"tokens={tokens!r} is not understood; expected 'characters', 'bytes', the file of a tokenizer in JSON, or how many"
            " tokens a byte-pair encoding should have."
        )
    if space is not None and not (space.sequence and options.codec is not None and options.codec.is_text):
        raise DataError(f"These data are text and the space is not one of text: {space!r}; read them without space=.")
    if space is not None and options.documents in ("one", "lines", "files") and space.ends != (options.documents != "one"):
        has = "an end symbol, so it is for documents" if space.ends else "no end symbol, so it is for one long text"
        raise DataError(f"The space has {has}; documents={options.documents!r} does not fit, leave it out.")


def _layout(texts: Sequence[Text], options: Options) -> str:
    """Return "one" for one long text, or "lines" or "files" where these are documents."""
    if options.documents not in (None, "auto"):
        return str(options.documents)
    if options.space is not None:
        return "one" if not options.space.ends else "files" if len(texts) > 1 else "lines"
    if len(texts) == 1:
        return "lines" if _is_list(texts[0]) else "one"
    sizes = [text.bytes().size for text in texts]  # the characters are hardly fewer
    even = max(sizes) <= LONGEST and max(sizes) * len(sizes) <= WASTE * sum(sizes)
    return "files" if even else "one"


def _is_list(text: Text) -> bool:
    """Return whether every line looks like a document: short, and not empty."""
    with text.open() as file:
        head = file.read(HEAD)
    lines = head.decode("utf-8", "replace").split("\n")
    if len(lines) > 1 and (not lines[-1] or len(head) == HEAD):
        lines.pop()  # what follows the last \n: nothing, or the beginning of a line
    return len(lines) >= LINES and all(line.strip() and len(line) <= LINE for line in lines)


def _lines(texts: Sequence[Text], options: Options) -> Sequences:
    """Return every line that is not empty as a document."""
    lines: list[Any] = []
    places = []
    for text in texts:
        content = _content(text, options)
        for i, line in enumerate(content.split(b"\n" if isinstance(content, bytes) else "\n")):
            if line.strip():
                lines.append(line.removesuffix(b"\r") if isinstance(line, bytes) else line)
                places.append(f"line {i + 1:,} of {text.name}")
    return read_documents(lines, places, options)


def _content(text: Text, options: Options) -> Any:
    """Return a text as bytes where these are its symbols, else as a string."""
    return text.bytes().tobytes() if _as_bytes(options) else text.read()


def _as_bytes(options: Options) -> bool:
    """Return whether the symbols are bytes."""
    return Bytes.name == (options.tokens if options.space is None else _coding_name(options))


def _stream(texts: Sequence[Text], options: Options) -> Sequences:
    """Return all texts as one long sequence; each by itself where the data have a context."""
    apart = options.conditioned
    joined = len(texts) > 1 and not apart
    if len(texts) == 1 and _as_bytes(options):
        values = texts[0].bytes()
        return _sequences(Bytes(), values, np.array([len(values)]), "windows" if apart else "stream")

    def all_pieces() -> Iterator[str]:
        for text in texts:
            yield from text.pieces()
        if joined:
            yield SEPARATOR

    symbols = _symbols(options, all_pieces)
    lengths = np.zeros(len(texts), dtype=np.int64)

    def parts() -> Iterator[np.ndarray]:
        for i, text in enumerate(texts):
            for part in _encoded(text, symbols):
                lengths[i] += len(part)
                yield part
            if joined and i + 1 < len(texts):
                yield symbols.encode([SEPARATOR], lambda _, __: f"the end of {text.name}")[0]  # noqa: B023

    values = collected(parts(), symbols.encode([""], _nowhere)[0].dtype)
    if apart:
        return _sequences(symbols, values, lengths, "windows")
    notes = [f"{len(texts):,} texts are read as one, with the symbol U+0003 between them"] if joined else []
    return _sequences(symbols, values, np.array([len(values)]), "stream", notes)


def _encoded(text: Text, symbols: Coding) -> Iterator[np.ndarray]:
    """Yield the symbols of a text, piece by piece."""
    if isinstance(symbols, Bytes):
        yield text.bytes()
        return
    line, column = 1, 0  # where the piece begins
    for piece in text.pieces():

        def where(_: int, place: int) -> str:
            before = piece[:place]  # noqa: B023
            breaks = before.count("\n")
            at = place - before.rfind("\n") - 1 if breaks else column + place  # noqa: B023
            return f"line {line + breaks:,}, place {at + 1:,} of {text.name}"  # noqa: B023

        yield symbols.encode([piece], where)[0]
        breaks = piece.count("\n")
        column = len(piece) - piece.rfind("\n") - 1 if breaks else column + len(piece)
        line += breaks


def _nowhere(text: int, place: int) -> str:
    return "nowhere"


# -- symbols --------------------------------------------------------------------------------------------------------------


def _coding_name(options: Options) -> str | None:
    """Return the name of the form's coding; None where the data are to be measured."""
    return options.form.coding if options.form is not None else None


def _symbols(options: Options, pieces: Any) -> Coding:
    """Return the coding of the space, or of `options.tokens`; an alphabet is the characters that occur, sorted."""
    if options.space is not None:
        known = coding(_coding_name(options) or "", options.space.kinds[0].levels)  # type: ignore[attr-defined]
        return Characters(known.levels, beyond=True) if options.beyond and isinstance(known, Characters) else known
    tokens = options.tokens
    if tokens == "bytes":
        return Bytes()
    if isinstance(tokens, int):
        return train_tokens(pieces(), tokens)
    if tokens in (None, "characters"):
        alphabet: set[str] = set()
        for piece in pieces():
            alphabet.update(piece)
        return Characters(sorted(alphabet))
    try:
        symbols = Tokens(Path(os.fspath(tokens)).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read the tokenizer {tokens}: {error.strerror}; check the path.") from error
    sample = next(iter(pieces()))[:PROBE]
    if symbols.decode(symbols.encode([sample], _nowhere)[0]) != sample:
        warnings.warn(f"The tokenizer {tokens} does not give text back as it was; what it drops is lost.", stacklevel=2)
    return symbols
