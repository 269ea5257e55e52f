"""Results of the commands: tables, grids of images, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.atomic import atomic_write
from genus.cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor

    from genus.codec import Codec
    from genus.space import Space

__all__ = [
    "IMAGES",
    "TABLES",
    "check_suffix",
    "file_size",
    "image_grid",
    "print_json",
    "sample_notes",
    "with_notes",
    "write_images",
    "write_table",
]

TABLES = (".csv", ".tsv", ".parquet", ".npz", ".npy", ".json")
IMAGES = (".png", ".npz", ".npy")
TILE, GAP, WIDEST = 56, 2, 4096  # pixels: of an image in a grid at least, between images, of a whole grid at most


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))


def file_size(path: Path) -> str:
    """Return the size of a file in words."""
    count = path.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def check_suffix(path: Path | None, known: Sequence[str] = TABLES, what: str = "a table") -> None:
    """Raise where the name of --out has no ending that says in which form to write."""
    if path is not None and path.suffix.lower() not in known:
        raise UsageError(f"cannot write {what} to {str(path)!r}; expected a name ending in {', '.join(known)}")


# -- tables ---------------------------------------------------------------------------------------------------------------


def sample_notes(codec: Codec) -> list[str]:
    """Return what a person should know of samples: columns that they lack, invent or repeat, in the command line's words."""
    keys = [f"column {rewrite.describe()}" for rewrite in codec.rewrites if rewrite.invents]
    return [*(f"key  {key}" for key in keys), *(f"{note.label}  {note.shell}" for note in codec.notes)]


def with_notes(table: pa.Table, notes: Sequence[str]) -> pa.Table:
    """Return a table whose schema carries notes, which Parquet keeps under the name genus.notes, as a list in JSON."""
    if not notes:
        return table
    return table.replace_schema_metadata({"genus.notes": json.dumps(list(notes), ensure_ascii=False)})


def write_table(table: pa.Table, path: Path | None, as_json: bool = False) -> None:
    """Write a table to a file in the form that its name says; without a file to stdout, as CSV or as a JSON list of rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    suffix = path.suffix.lower() if path is not None else ".json" if as_json else ".csv"
    if path is None:
        sys.stdout.write(_text(table, suffix))
        return
    if suffix == ".npy" and not all(str(t) in ("double", "float", "bool") or "int" in str(t) for t in table.schema.types):
        raise UsageError("a .npy file holds numbers alone, and there are columns of text; choose .csv or .parquet")
    with atomic_write(path) as temporary:
        if suffix == ".parquet":
            pq.write_table(table, temporary)
        elif suffix in (".npz", ".npy"):
            table = pa.table({name: _filled(table.column(name)) for name in table.column_names})
            columns = {column: table.column(column).to_numpy(zero_copy_only=False) for column in table.column_names}
            with open(temporary, "wb") as file:
                if suffix == ".npy":
                    numbers = [v.astype(np.float64) if v.dtype == object else v for v in columns.values()]
                    np.save(file, np.stack(numbers, axis=1), allow_pickle=False)
                else:
                    texts = {c: v.astype(str) if v.dtype == object else v for c, v in columns.items()}
                    np.savez_compressed(file, **texts)
        else:
            temporary.write_text(_text(table, suffix), encoding="utf-8")


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text with "" for missing values, as CSV has it; another column as it is."""
    import pyarrow as pa

    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column.fill_null("") if text else column


def _text(table: pa.Table, suffix: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pcsv

    from genus.codec.decimals import with_trailing_zeros
    from genus.codec.tabular import DECIMALS

    if suffix == ".json":
        return json.dumps(table.to_pylist(), ensure_ascii=False, allow_nan=False, default=str) + "\n"
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table.columns]
    specs = [(field.metadata or {}).get(DECIMALS, b"").decode() for field in table.schema]
    plain = [with_trailing_zeros(column, spec) for column, spec in zip(plain, specs, strict=True)]
    if len(plain) == 1 and plain[0].null_count:  # an empty line would be no row to whoever reads it
        plain = [plain[0].cast(pa.string()).fill_null("NA")]
    table, delimiter = pa.table(plain, names=table.column_names), "\t" if suffix == ".tsv" else ","
    header = io.StringIO()
    csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
    buffer = pa.BufferOutputStream()
    try:
        pcsv.write_csv(table, buffer, pcsv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none"))
    except pa.ArrowInvalid:  # a text holds a comma, say; Arrow would quote every text for it
        quoted = pa.table([_quoted(column, delimiter) for column in table.columns], names=table.column_names)
        lines = [
            pc.binary_join_element_wise(*batch.columns, delimiter, null_handling="replace") for batch in quoted.to_batches()
        ]
        return header.getvalue() + "".join(f"{line}\n" for part in lines for line in part.to_pylist())
    return header.getvalue() + buffer.getvalue().to_pybytes().decode()


def _quoted(column: pa.ChunkedArray, delimiter: str) -> pa.ChunkedArray:
    """Return a column as text, quoted where a field of delimited text needs it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.cast(pa.string())
    text = column.cast(pa.string())
    needs = pc.match_substring_regex(text, f'[{delimiter}"\r\n]')
    inside = pc.replace_substring(text, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise('"', inside, '"', ""), text)


# -- images ---------------------------------------------------------------------------------------------------------------


def write_images(codec: Codec, x: Tensor, path: Path, labels: dict[str, Any]) -> None:
    """Write images x (N, *shape) as one PNG grid, or as arrays that `genus.read` takes; an npz holds the labels too."""
    import numpy as np
    from PIL import Image

    from genus.codec import Codec

    form = codec.form if codec.form is None or codec.form.container != "torch" else replace(codec.form, container="numpy")
    array = np.asarray(Codec(codec.space, form).decode(x))
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        if suffix == ".png":
            Image.fromarray(image_grid(codec.space, x)).save(file, format="PNG")
        elif suffix == ".npy":
            np.save(file, array)
        else:
            np.savez_compressed(file, images=array, **labels)


def image_grid(space: Space, x: Tensor) -> np.ndarray:
    """Arrange images (N, H, W) or (N, C, H, W) in one picture (h, w) or (h, w, C) of bytes.

    The picture is about as wide as it is high, and every pixel is enlarged by a whole factor.
    """
    import numpy as np

    from genus.space import Lattice

    kind = space.kinds[0]
    values = x.double().cpu().numpy()
    low, high = (kind.low, kind.high) if isinstance(kind, Lattice) else (np.nanmin(values), np.nanmax(values))
    grey = (255 * (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-300)).clip(0, 255).round().astype(np.uint8)
    tiles = grey[:, None] if grey.ndim == 3 else grey
    count, channels, height, width = tiles.shape
    columns = max(1, min(count, round(math.sqrt(count * height / width))))
    rows = math.ceil(count / columns)
    factor = max(1, min(-(-TILE // max(height, width)), WIDEST // (max(columns, rows) * (max(height, width) + GAP))))
    tiles = tiles.repeat(factor, axis=2).repeat(factor, axis=3)
    h, w = height * factor + GAP, width * factor + GAP
    # Where nothing is, white; the alpha of such places is full too.
    sheet = np.full((channels, rows * h + GAP, columns * w + GAP), 255, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = GAP + i // columns * h, GAP + i % columns * w
        sheet[:, top : top + h - GAP, left : left + w - GAP] = tile
    return sheet[0] if channels == 1 else np.ascontiguousarray(np.moveaxis(sheet, 0, -1))
