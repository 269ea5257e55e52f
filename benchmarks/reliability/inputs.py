"""Inputs of every form that genus reads, whole ones, and damaged ones made of them."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import soundfile
from PIL import Image

from genus.cli import main

from .mutations import damaged, damaged_json, damaged_png, damaged_text, damaged_zip
from .worker import commands

__all__ = ["FORMATS", "Inputs", "table", "workbook"]

ROWS = 60
SUFFIXES = {
    "csv": (".csv", ".tsv", ".data", ".csv.gz", ".csv.bz2", ".csv.zst", ".csv.zip"),
    "arrow": (".parquet", ".arrow"),
    "npz": (".npz", ".npy"),
    "images": (".png", ".jpg", ".gif", ".bmp", ".webp", ".tif", ".pgm"),
    "audio": (".wav", ".flac", ".ogg"),
    "text": (".txt", ".md"),
    "json": (".json", ".jsonl"),
    "excel": (".xlsx",),
}
FORMATS = tuple(SUFFIXES)


def table(rng: random.Random, rows: int = ROWS) -> pa.Table:
    """Return a small table with columns of every kind."""
    start = datetime.date(2020, 1, 31)
    return pa.table(
        {
            "age": [rng.randrange(18, 90) for _ in range(rows)],
            "height": [round(rng.gauss(170, 9), 1) for _ in range(rows)],
            "income": [None if rng.random() < 0.2 else round(rng.lognormvariate(9, 1), 2) for _ in range(rows)],
            "city": [rng.choice(("Rome", "Oslo", "São Paulo", "Köln")) for _ in range(rows)],
            "smokes": [rng.random() < 0.3 for _ in range(rows)],
            "day": [start + datetime.timedelta(rng.randrange(700)) for _ in range(rows)],
            "note": [rng.choice((None, "x, y", 'say "so"')) for _ in range(rows)],
        }
    )


def workbook(cells: list[list[Any]]) -> bytes:
    """Return the least that is a workbook, with one sheet of numbers, texts, booleans and dates."""
    main_ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'

    def cell(value: Any) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, bool):
            return f'<c t="b"><v>{value:d}</v></c>'
        if isinstance(value, datetime.date):
            since = value - (datetime.datetime if isinstance(value, datetime.datetime) else datetime.date)(1899, 12, 30)
            return f'<c s="1"><v>{since / datetime.timedelta(1)!r}</v></c>'
        text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace("\r", "&#13;")
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        space = ' xml:space="preserve"' if text != text.strip() else ""
        return f'<c t="inlineStr"><is><t{space}>{text}</t></is></c>'

    rows = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in cells)
    parts = {
        "_rels/.rels": f'<Relationships {package}><Relationship Id="r" Type="{office}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main_ns} xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships {package}><Relationship Id="r1" Type="{office}/worksheet"'
        ' Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {main_ns}><sheetData>{rows}</sheetData></worksheet>",
    }
    if any(isinstance(value, datetime.date) for row in cells for value in row):
        parts["xl/_rels/workbook.xml.rels"] = parts["xl/_rels/workbook.xml.rels"].replace(
            "</Relationships>", f'<Relationship Id="r2" Type="{office}/styles" Target="styles.xml"/></Relationships>'
        )
        parts["xl/styles.xml"] = f'<styleSheet {main_ns}><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


def _csv(whole: pa.Table, delimiter: str = ",") -> bytes:
    out = io.BytesIO()
    pa.csv.write_csv(whole, out, pa.csv.WriteOptions(delimiter=delimiter))
    return out.getvalue()


def _written(write: Callable[[Any], Any]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def _pillow(suffix: str, mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 12) if mode in ("L", "I;16") else (9, 12, len(mode)))
    image = Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.uint8))
    kind = {".jpg": "JPEG", ".tif": "TIFF", ".pgm": "PPM"}.get(suffix, suffix[1:].upper())
    return _written(lambda out: image.save(out, format=kind))


def _stream(whole: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, whole.schema) as writer:
        writer.write_table(whole)
    return out.getvalue()


def _wholes() -> dict[str, list[bytes]]:
    """Return whole files by suffix, several of some."""
    rng, np_rng = random.Random(0), np.random.default_rng(0)
    whole = table(rng)
    plain, records = _csv(whole), json.loads(json.dumps(whole.to_pylist(), default=str))
    numbers = np.stack([whole.column("age").to_numpy(), whole.column("height").to_numpy()], axis=1)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.csv", plain)
    zipped = archive.getvalue()
    categories = whole.set_column(3, "city", whole.column("city").dictionary_encode())
    wave = 0.3 * np.sin(np.arange(2000) / 7) + 0.01 * np_rng.normal(size=2000)
    words = "".join(rng.choice(("anna\n", "otto\n", "hannah\n", "éva\n", "bob\n")) for _ in range(200))
    prose = " ".join(rng.choice(("the", "cat", "sat", "on", "a", "größe")) for _ in range(900))
    named = {name: whole.column(name).to_numpy(zero_copy_only=False) for name in ("age", "height", "city", "smokes")}
    texts = {name: values.astype(str) if values.dtype == object else values for name, values in named.items()}
    sheet = [whole.column_names, *([str(v) if isinstance(v, datetime.date | bool) else v for v in r.values()] for r in records)]
    pictures = np_rng.integers(0, 255, (ROWS, 6, 6)).astype(np.uint8)
    by_column = {name: whole.column(name).to_pylist() for name in ("age", "city")}

    def sound(kind: str, subtype: str | None = None) -> bytes:
        return _written(lambda out: soundfile.write(out, wave, 8000, subtype, format=kind))

    return {
        ".csv": [plain, "\n".join(f"{i % 7};{i / 7:.3f};x{i % 3}" for i in range(ROWS)).replace(".", ",").encode()],
        ".tsv": [_csv(whole, "\t")],
        ".data": ["\n".join(f"{i % 5}   {i * 0.3:.2f}   {i % 2}" for i in range(ROWS)).encode()],
        ".csv.gz": [gzip.compress(plain)],
        ".csv.bz2": [bz2.compress(plain)],
        ".csv.zst": [pa.compress(plain, "zstd", asbytes=True)],
        ".csv.zip": [zipped],
        ".parquet": [
            _written(lambda out: pa.parquet.write_table(whole, out)),
            _written(lambda out: pa.parquet.write_table(categories, out, compression="none", use_dictionary=False)),
            _written(lambda out: pa.parquet.write_table(categories, out, compression="gzip", version="1.0")),
        ],
        ".arrow": [
            _written(lambda out: pa.feather.write_feather(categories, out)),
            _written(lambda out: pa.feather.write_feather(whole, out, compression="uncompressed")),
            _stream(categories),
        ],
        ".npz": [
            _written(lambda out: np.savez(out, **texts)),
            _written(lambda out: np.savez_compressed(out, images=pictures, label=np.arange(ROWS) % 3)),
        ],
        ".npy": [
            _written(lambda out: np.save(out, numbers)),
            _written(lambda out: np.save(out, pictures)),
            _written(lambda out: np.save(out, np.asfortranarray(numbers.astype(">f4")))),
        ],
        ".png": [_pillow(".png", mode) for mode in ("L", "RGB", "RGBA", "I;16")],
        ".jpg": [_pillow(".jpg", mode) for mode in ("L", "RGB")],
        ".gif": [_pillow(".gif", "L")],
        ".bmp": [_pillow(".bmp", mode) for mode in ("L", "RGB")],
        ".webp": [_pillow(".webp", mode) for mode in ("RGB", "RGBA")],
        ".tif": [_pillow(".tif", mode) for mode in ("L", "RGB", "I;16")],
        ".pgm": [_pillow(".pgm", "L")],
        ".wav": [sound("WAV", kind) for kind in ("PCM_16", "FLOAT", "PCM_U8")],
        ".flac": [sound("FLAC")],
        ".ogg": [sound("OGG")],
        ".txt": [words.encode(), prose.encode()],
        ".md": [prose.encode()],
        ".json": [json.dumps(value).encode() for value in (records, by_column)],
        ".jsonl": ["\n".join(map(json.dumps, records)).encode()],
        ".xlsx": [workbook(sheet)],
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Hold a damaged file and what is done with it.

    Args:
        suffix: of its name.
        content: its bytes.
        words: the command, in which FILE stands for its name, MODEL for a model of the whole table.
    """

    suffix: str
    content: bytes
    words: tuple[str, ...]


class Inputs:
    """Make damaged inputs of one form by number, and run genus on them.

    Args:
        seed: of all cases.
        form: one of `FORMATS`.
        home: a folder in which models of whole inputs are kept.
    """

    together = 100

    def __init__(self, seed: int, form: str, home: Path) -> None:
        self.seed, self.form, self.home = seed, form, home
        self.wholes = _wholes()
        self.everything = [content for several in self.wholes.values() for content in several]
        home.mkdir(parents=True, exist_ok=True)
        self.model = home / "table.genus"
        (home / "whole.csv").write_bytes(self.wholes[".csv"][0])
        if not self.model.exists():
            main(["fit", str(home / "whole.csv"), "--family", "naive-bayes", "--out", str(self.model), "--quiet", "--json"])

    def case(self, number: int) -> Case:
        """Return the case of a number: the same for the same seed."""
        rng = random.Random(f"{self.seed}/{self.form}/{number}")
        suffix = rng.choice(SUFFIXES[self.form])
        content, other = rng.choice(self.wholes[suffix]), rng.choice(self.everything)
        return Case(suffix, self._damage(suffix, content, other, rng), self._words(rng))

    def _damage(self, suffix: str, content: bytes, other: bytes, rng: random.Random) -> bytes:
        inner, packed = suffix.startswith(".csv.") and rng.random() < 0.3, rng.random() < 0.7
        if suffix in (".csv", ".tsv", ".data", ".txt", ".md", ".jsonl"):
            return damaged_text(content, rng, other)
        if inner and suffix == ".csv.gz":
            return gzip.compress(damaged_text(gzip.decompress(content), rng))
        if suffix in (".npz", ".xlsx", ".csv.zip") and packed:
            return damaged_zip(content, rng, other)
        if suffix == ".png" and packed:
            return damaged_png(content, rng, other)
        if suffix == ".json" and packed:
            try:
                return json.dumps(damaged_json(json.loads(content), rng)).encode()
            except ValueError:  # a number of more digits than Python writes
                return b"[" * 100_000
        return damaged(content, rng, other)

    def _words(self, rng: random.Random) -> tuple[str, ...]:
        options: list[str] = []
        if self.form == "text":
            options = rng.choice(
                ([], ["--tokens", "bytes"], ["--documents", "lines"], ["--documents", "one", "--length", "16"])
            )
        elif self.form == "audio":
            options = rng.choice(([], ["--encoding", "real"], ["--encoding", "linear"], ["--rate", "4000"]))
        elif self.form != "images" and rng.random() < 0.1:
            options = ["--sequence", rng.choice(("age", "rows", "x0"))]
        elif self.form in ("csv", "excel") and rng.random() < 0.2:
            options = rng.choice((["--no-header"], ["--kind", "age=real"], ["--kind", "city=key"], ["--missing", "1"]))
        if self.form in ("csv", "arrow", "json", "excel") and rng.random() < 0.25:
            return (rng.choice(("score", "impute")), "MODEL", "FILE", "--quiet")
        if rng.random() < 0.3:
            family = "markov" if self.form in ("text", "audio") else "naive-bayes"
            return ("fit", "FILE", "--family", family, "--out", "m.genus", "--quiet", *options)
        return ("describe", "FILE", *options)

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Write the case's file into a folder, and return the work."""
        case = self.case(number)
        name = f"in{case.suffix}"
        if self.form in ("images", "audio"):
            pair = folder / "in"
            pair.mkdir(exist_ok=True)
            (pair / f"a{case.suffix}").write_bytes(case.content)
            (pair / f"b{case.suffix}").write_bytes(self.wholes[case.suffix][0])
            name = "in"
        else:
            (folder / name).write_bytes(case.content)
        words = [{"FILE": name, "MODEL": str(self.model)}.get(word, word) for word in case.words]
        return commands(words)
