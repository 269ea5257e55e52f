"""Files and streams as bytes: found by their name or their first bytes, decompressed, and their text as UTF-8."""

from __future__ import annotations

import codecs
import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from genus.errors import DataError

__all__ = ["ARROW", "COMPRESSED", "DELIMITED", "PARQUET", "File", "as_utf8", "beginning", "files_below", "guess_encoding",
           "single_byte", "unreadable"]  # fmt: skip

PARQUET, ARROW = (".parquet", ".pq"), (".arrow", ".feather", ".ipc")
DELIMITED = (".csv", ".tsv", ".tab", ".data", ".dat")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}
HEAD = 1 << 20  # bytes that are looked at to find an encoding
# The first bytes of what may come without a name.
SIGNATURES = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\xff\xff\xff\xff": ".arrow",
    b"\x93NUMPY": ".npy",
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
    b"\xd0\xcf\x11\xe0": ".xls",
    b"RIFF": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"\x89PNG": ".png",
}
MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder and of those below it, sorted, but for hidden ones."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))


def unreadable(what: str, error: BaseException) -> DataError:
    """Return the error of bytes that a library could not read, to be raised from its own."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return DataError(f"Cannot read {what}: {reason}. Check that the file is whole and of this type.")


@dataclass(frozen=True)
class File:
    """Holds a file, or bytes that came without one.

    Args:
        name: for messages.
        path: of the file; None for bytes.
        held: bytes without a file, or what a .zip holds.
        suffix: of the name, in lower case and without that of a compression: the type of the file.
        compression: of the file at the path, as Arrow names it; "" for none.
    """

    name: str
    path: Path | None
    held: bytes | None
    suffix: str
    compression: str = ""

    @classmethod
    def at(cls, path: Path) -> File:
        """Return the file at a path, decompressed where its name says so.

        Raises:
            DataError: the file is empty, or a .zip holds several files or none.
        """
        suffix = path.suffix.lower()
        if path.stat().st_size == 0:
            raise DataError(f"The file {path} is empty; expected rows of data.")
        if suffix not in COMPRESSED:
            return cls(str(path), path, None, suffix)
        inner = path.with_suffix("").suffix.lower()
        if suffix == ".zip":
            return cls(str(path), path, None, inner)._unzipped(path.read_bytes())
        return cls(str(path), path, None, inner, COMPRESSED[suffix])

    @classmethod
    def of(cls, content: bytes, name: str = "data") -> File:
        """Return bytes as a file, whose type their beginning says: delimited text unless it is another.

        Raises:
            DataError: there are no bytes, or they are a .zip of several files.
        """
        if not content.strip():
            raise DataError(f"The input {name} is empty; expected rows of data.")
        suffix = next((known for mark, known in SIGNATURES.items() if content.startswith(mark)), "")
        if suffix == ".zip":
            members = _archive(content, name).namelist()
            if any(member.startswith("xl/") for member in members):
                return cls(name, None, content, ".xlsx")
            if members and all(member.endswith(".npy") for member in members):
                return cls(name, None, content, ".npz")
            return cls(name, None, content, "")._unzipped(content)
        if suffix in COMPRESSED:
            with pa.input_stream(pa.py_buffer(content), compression=COMPRESSED[suffix]) as stream:
                return cls.of(stream.read(), name)
        if not suffix:
            first = content[:HEAD].lstrip(codecs.BOM_UTF8).lstrip()[:1]
            suffix = ".json" if first in (b"{", b"[") else ".csv"
        return cls(name, None, content, suffix)

    def _unzipped(self, content: bytes) -> File:
        """Return the one file that a .zip holds."""
        archive = _archive(content, self.name)
        members = [m for m in archive.namelist() if not m.endswith("/") and not PurePath(m).name.startswith((".", "_"))]
        members = [m for m in members if not m.startswith("__MACOSX/")]
        if len(members) != 1:
            shown = ", ".join(members[:4]) + (", ..." if len(members) > 4 else "")
            raise DataError(
                f"The archive {self.name} holds {len(members)} files ({shown or 'none'}); unpack it and pass the one you mean."
            )
        inner = PurePath(members[0])
        try:
            held = archive.read(members[0])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            # Damaged, or behind a password.
            raise DataError(f"Cannot read {members[0]} in {self.name}: {error}. Unpack it first.") from error
        if not held:
            raise DataError(f"The file {members[0]} in {self.name} is empty; expected rows of data.")
        return replace(self, held=held, suffix=inner.suffix.lower() or self.suffix)

    @cached_property
    def content(self) -> bytes | None:
        """Return the bytes that are not those of the file itself: without a file, or decompressed; None for others."""
        if not self.compression:
            return self.held
        try:
            with pa.input_stream(str(self.path), compression=self.compression) as stream:
                return stream.read()
        except (OSError, EOFError, pa.ArrowException) as error:
            raise unreadable(self.name, error) from error

    def buffer(self) -> pa.Buffer:
        """Return the bytes of the file, memory-mapped where they are not compressed."""
        if self.content is not None:
            return pa.py_buffer(self.content)
        with pa.memory_map(str(self.path)) as file:
            return file.read_buffer()

    def source(self) -> Any:
        """Return what libraries take that read files: the path, or a file object."""
        return io.BytesIO(self.content) if self.content is not None else str(self.path)


def _archive(content: bytes, name: str) -> zipfile.ZipFile:
    """Return the archive that bytes are; raise DataError where they are none, or one of a later form of .zip."""
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise DataError(f"Cannot read {name} as .zip: {error}. Check that the file is whole.") from error


def beginning(buffer: pa.Buffer) -> bytes:
    """Return the first million bytes."""
    return bytes(buffer.slice(0, min(HEAD, len(buffer))))


def guess_encoding(buffer: pa.Buffer) -> str:
    """Return the encoding of text by its mark or its beginning: UTF-8, UTF-16 and 32, else Windows-1252 or Latin-1.

    >>> guess_encoding(pa.py_buffer("München".encode("latin-1"))), guess_encoding(pa.py_buffer("a,b".encode("utf-16-le")))
    ('cp1252', 'utf-16-le')
    """
    head = beginning(buffer)
    if found := next((name for mark, name in MARKS if head.startswith(mark)), None):
        return found
    even, odd = head[0:2000:2].count(0), head[1:2000:2].count(0)
    if odd > 0.4 * len(head[1:2000:2]) > 0 or even > 0.4 * len(head[0:2000:2]):
        return "utf-16-le" if odd > even else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(head, final=len(buffer) <= HEAD)
    except UnicodeDecodeError:
        return single_byte(head)
    return "utf-8"


def single_byte(head: bytes) -> str:
    """Return Windows-1252, of which Latin-1 is a part, unless bytes have no letter there."""
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def as_utf8(buffer: pa.Buffer, encoding: str, name: str) -> pa.Buffer:
    """Return text in UTF-8, without a mark at its beginning.

    Raises:
        DataError: there is no such encoding, or the bytes are not text in it.
    """
    if encoding == guess_encoding(buffer) == "utf-8":
        return buffer
    if encoding == "utf-8-sig":
        return buffer.slice(len(codecs.BOM_UTF8)) if bytes(buffer.slice(0, 3)) == codecs.BOM_UTF8 else buffer
    try:
        text = bytes(buffer).decode(encoding)
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r}; expected one such as utf-8, latin-1 or utf-16.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file {name} is not text in {encoding} ({error.reason} at byte {error.start}); name its encoding in encoding=."
        ) from error
    return pa.py_buffer(text.removeprefix("\ufeff").encode())
