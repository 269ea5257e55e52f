"""Sources of data: files by suffix, folders, arrays, frames, and the data sets of scikit-learn, Python and genus.

Each reader returns a `Source`: columns in Arrow, or an array of images or sequences with columns beside it. A new type of file
takes a function and a line in `READERS`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from genus.codec.arrow import type_name
from genus.codec.decimals import measure_decimals
from genus.codec.forms import Form
from genus.codec.frames import check_unicode, to_arrow
from genus.codec.notes import Note
from genus.data import audio, images, numbers, text
from genus.data.arguments import Options
from genus.data.collections import Labelled, gathered
from genus.data.delimited import read_csv
from genus.data.files import ARROW, COMPRESSED, DELIMITED, PARQUET, File, as_utf8, files_below, unreadable
from genus.data.globs import ending, files_of_pattern, with_same_columns
from genus.data.parts import joined
from genus.data.sequences import Sequences
from genus.data.series import Series, is_series, of_arrays
from genus.data.surroundings import looks_like_table
from genus.data.tables import read_arrow, read_dataset, read_excel, read_json, read_parquet
from genus.errors import DataError

__all__ = ["EMBEDDED", "READERS", "Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """Holds data before their kinds are measured.

    Args:
        name: for reports.
        columns: a table; beside images or sequences, a row for each of them, such as its label.
        form: the form in which samples of the table are returned.
        images: (N, H, W), (N, H, W, C) or (N, C, H, W), where the data are images.
        sequences: text, sound, or numbers in their order, where the data are sequences.
        series: sequences of several values a step.
        target: the column that is usually predicted.
        notes: sentences on how the data were read.
        uses: the arguments of `read` that have a meaning for these data, beside the arguments for sequences.
        from_text: the table was text, so that columns need not come back in the types that text was read as.
    """

    name: str
    columns: pa.Table
    form: Form
    images: np.ndarray | None = None
    sequences: Sequences | None = None
    series: Series | None = None
    target: str | None = None
    notes: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    from_text: bool = False


def open_source(source: Any, options: Options = Options()) -> Source:  # noqa: B008 - it is immutable
    """Return data as columns, images or sequences.

    Args:
        source: of any type that `genus.read` takes.
        options: the arguments of `read`.

    Raises:
        DataError: the source does not exist, or cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return _open_path(source, options)
    if hasattr(source, "read") and not hasattr(source, "columns"):
        return _open_stream(source, options)
    source = gathered(source, bool(options.sequence))
    if isinstance(source, Labelled):
        return _labelled(source, options)
    if options.sequence and is_series(source, options.space):
        return Source("series", pa.table({}), Form("numpy", ()), series=of_arrays(source), uses=frozenset({"sequence"}))
    if options.sequence and isinstance(source, list | tuple):
        return _of_sequences("data", numbers.read_list(source, options))
    if options.sequence and isinstance(source, np.ndarray | Tensor):
        return _of_sequences("data", numbers.read_array(source, options))
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    if isinstance(array, np.ndarray) and array.ndim > 2:
        container = "torch" if isinstance(source, Tensor) else "images"
        return Source("images", pa.table({}), Form(container, (str(array.dtype),)), array, notes=images.series_notes(array))
    if isinstance(source, Mapping) and any(getattr(v, "ndim", 1) > 1 for v in source.values()):
        return _named_arrays(source, "arrays")
    table, form = to_arrow(source)
    return Source("data", table, form, notes=numbers.id_notes(array) if isinstance(array, np.ndarray) else ())


def _labelled(source: Labelled, options: Options) -> Source:
    """Return (X, y) as X with a column beside it."""
    found, y = open_source(source.x, options), source.y
    label = to_arrow({source.name: y if isinstance(y, np.ndarray | Tensor | list) else np.asarray(y)})[0]
    if found.images is not None or found.sequences is not None or found.series is not None:
        return replace(found, columns=label)
    if source.name in found.columns.column_names:
        raise DataError(f"X has a column {source.name!r}, which is the name of y too; rename one of them.")
    table = found.columns.append_column(source.name, label.column(0))
    form = Form("pyarrow", tuple(type_name(column.type) for column in table.columns))
    return replace(found, columns=table, form=form)


LONGEST = 4096  # characters of a path


def _open_path(source: str | os.PathLike[str], options: Options) -> Source:
    name, path = os.fspath(source), Path(source).expanduser()
    if isinstance(name, str) and (len(name) > LONGEST or "\n" in name or "\0" in name):
        raise DataError(
            f"{name[:40]!r}... is no path but a text; write it to a .txt file, or give a list of texts with sequence=True."
        )
    if path.is_dir():
        return _or_unreadable(lambda: _folder(path, options), f"the folder {name}")
    if (found := files_of_pattern(path)) is not None:
        return _or_unreadable(lambda: _matched(*found, options), f"the files {name}")
    if not path.exists():
        if name in EMBEDDED:
            return EMBEDDED[name](options)
        raise DataError(f"There is no file, folder or embedded set {name!r}; {_suggestions(name, path)}")
    return _open_file(_or_unreadable(lambda: File.at(path), name), options, _stem(path))


def _open_file(file: File, options: Options, name: str) -> Source:
    if file.suffix == ".genus":
        raise DataError(f"{file.name} is a model, and no data; genus describe {file.name} says what it models.")
    if file.suffix not in READERS:
        raise DataError(
            f"Cannot read {file.name}: files ending in {file.suffix or 'nothing'} are unknown; expected one of"
            f" {', '.join(READERS)}, perhaps compressed ({', '.join(COMPRESSED)})."
        )
    return _or_unreadable(lambda: replace(READERS[file.suffix](file, options), name=name), f"{file.name} as {file.suffix}")


def _or_unreadable(read: Callable[[], Any], what: str) -> Any:
    """Return what is read; raise DataError where that fails, whatever a library raises on bytes that are damaged or lie."""
    try:
        return read()
    except DataError:
        raise
    except Exception as error:
        raise unreadable(what, error) from error


def _stem(path: Path) -> str:
    """Return the name of a file without its endings."""
    stem = path.name.removesuffix(path.suffix) if path.suffix.lower() in COMPRESSED else path.name
    return stem.removesuffix(Path(stem).suffix) or stem


def _open_stream(stream: Any, options: Options) -> Source:
    """Return what an open file holds; its first bytes say of which type it is."""
    content = stream.getvalue() if hasattr(stream, "getvalue") else stream.read()
    content = content.encode() if isinstance(content, str) else bytes(content)
    name = getattr(stream, "name", None)
    name = _stem(Path(name)) if isinstance(name, str) else "data"
    if options.documents or options.tokens is not None or (options.form is not None and options.form.container == "text"):
        given = as_utf8(pa.py_buffer(content), options.encoding or "utf-8", name)
        return _of_sequences(name, text.read_texts([text.Text(name, bytes(given).decode("utf-8"))], options))
    return _open_file(_or_unreadable(lambda: File.of(content, name), name), options, name)


def _suggestions(text: str, path: Path) -> str:
    here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, here, 2, 0.7) + difflib.get_close_matches(text.lower(), EMBEDDED, 2, 0.7)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"the embedded sets are {', '.join(EMBEDDED)}."


# -- files ----------------------------------------------------------------------------------------------------------------


def _of_table(table: pa.Table) -> Source:
    plain, form = to_arrow(table)
    return Source("data", plain, form)


def _csv(file: File, options: Options) -> Source:
    table, notes, trailing = read_csv(file, options)
    found = _of_table(table)
    form = replace(found.form, decimals=measure_decimals(table, trailing))
    return replace(found, form=form, notes=notes, uses=frozenset({"header", "encoding"}), from_text=True)


def _json(file: File, options: Options) -> Source:
    table, notes = read_json(file, options)
    return replace(_of_table(table), notes=notes, uses=frozenset({"encoding"}), from_text=True)


def _excel(file: File, options: Options) -> Source:
    table, notes = read_excel(file, options)
    return replace(_of_table(table), notes=notes, uses=frozenset({"header"}), from_text=True)


def _npy(file: File, options: Options) -> Source:
    if options.sequence and file.path is not None and file.content is None:  # memory-mapped
        return _of_sequences(file.path.name, numbers.read_npy(file.path, options))
    return open_source(np.load(file.source(), allow_pickle=False), options)


def _npz(file: File, options: Options) -> Source:
    with np.load(file.source(), allow_pickle=False) as arrays:
        named = {name: arrays[name] for name in arrays.files}
    if odd := [name for name, values in named.items() if not isinstance(values, np.ndarray)]:
        raise DataError(f"Cannot read {file.name} as .npz: {odd[0]!r} in it is no array. Check that the file is whole.")
    for name, values in named.items():
        check_unicode(name, values)
    return _named_arrays({name: _with_missing(values) for name, values in named.items()}, Path(file.name).name)


def _with_missing(values: np.ndarray) -> np.ndarray:
    """Return an array of text with None for "", as in CSV; other arrays as they are."""
    empty = values == "" if values.dtype.kind == "U" else None
    return values if empty is None or not empty.any() else np.where(empty, None, values)  # type: ignore[call-overload]


def _named_arrays(arrays: Mapping[str, Any], where: str) -> Source:
    """Return an array of data, (N, ...), with arrays of one value a row as columns; of splits, the training rows."""
    arrays = {str(n): v.detach().cpu().numpy() if isinstance(v, Tensor) else np.asarray(v) for n, v in arrays.items()}
    notes: tuple[str, ...] = ()
    train = {name: v for name, v in arrays.items() if "train" in name.lower()}
    if train and len(train) < len(arrays):
        notes = (f"arrays {', '.join(n for n in arrays if n not in train)}: only the training split is read",)
        arrays = {name.lower().replace("train", "").strip("_.- ") or "x": v for name, v in train.items()}
    wide = {name: v for name, v in arrays.items() if v.ndim > 1}
    flat = {name: v for name, v in arrays.items() if v.ndim == 1}
    if not wide and flat:
        table, form = to_arrow(flat)
        return Source("data", table, form, notes=notes)
    if len(wide) != 1:
        raise DataError(
            f"{where} holds {len(wide)} arrays of two or more dimensions ({', '.join(wide) or 'none'}); expected one of data,"
            " (N, ...), and perhaps some of one value a row. Pass the one you mean as an array."
        )
    main = next(iter(wide.values()))
    lengths = {name: len(v) for name, v in flat.items() if len(v) != len(main)}
    if lengths:
        raise DataError(f"{where}: the data have {len(main)} rows but {lengths}; every array needs one value for each row.")
    base = open_source(main)
    extra, _ = to_arrow({("label" if name in ("y", "labels", "target") else name): v for name, v in flat.items()})
    if base.images is not None:
        return replace(base, columns=extra, notes=notes)
    table = base.columns
    for name in extra.column_names:
        table = table.append_column(name, extra.column(name))
    form = Form("pyarrow", tuple(type_name(c.type) for c in table.columns)) if flat else base.form
    return Source("data", table, form, notes=notes)


# -- sequences, and folders -----------------------------------------------------------------------------------------------


def _label_column(labels: Sequence[str] | None) -> pa.Table:
    return pa.table({} if labels is None else {"label": pa.array(labels)})


def _of_sequences(name: str, sequences: Sequences, labels: Sequence[str] | None = None) -> Source:
    return Source(name, _label_column(labels), sequences.form, sequences=sequences, notes=sequences.notes)


def _text(file: File, options: Options) -> Source:
    of_text = {"documents", "tokens", "length", "sequence"} & {*options.used_arguments()}
    if options.form.container != "text" if options.form is not None else not of_text and looks_like_table(file.buffer()):
        found = _csv(file, options)
        said = Note("the file looks like a table and is read as one", "{} reads its lines as text", {"documents": "lines"})
        return replace(found, notes=(said, *found.notes))
    path = _path_of(file)
    return _of_sequences(path.name, text.read_texts([text.Text(path.name, path)], options))


def _audio(file: File, options: Options) -> Source:
    path = _path_of(file)
    return _of_sequences(path.name, audio.read_recordings([path], options))


def _path_of(file: File) -> Path:
    if file.path is None or file.held is not None:
        raise DataError(f"Cannot read {file.name}: texts and recordings are read from a file that is not packed; unpack it.")
    return file.path


def _folder(folder: Path, options: Options) -> Source:
    """Return the images, texts, recordings or one table of a folder and those below it, whichever are the most files."""
    return _of_files(folder, files_below(folder), options)


def _matched(folder: Path, files: list[Path], options: Options) -> Source:
    """Return the files of a pattern as those of a folder, and tables of other types as one table with the same columns."""
    if not {ending(path) for path in files} <= TABLES:
        return _of_files(folder, files, options)
    found = [(path, READERS[ending(path)](File.at(path), options)) for path in files]
    table = joined([*with_same_columns((str(path), part.columns) for path, part in found)])
    form = replace(found[0][1].form, dtypes=tuple(map(type_name, table.schema.types)), decimals=measure_decimals(table))
    notes = tuple(dict.fromkeys(note for _, part in found for note in part.notes))
    return replace(found[0][1], name=folder.resolve().name, columns=table, form=form, notes=notes)


def _of_files(folder: Path, files: list[Path], options: Options) -> Source:
    """Return the images, texts, recordings or one table of some files below a folder, whichever are the most."""
    known = (images.SUFFIXES, text.SUFFIXES, audio.SUFFIXES, PARQUET, ARROW)
    groups = ((suffixes, [p for p in files if p.suffix.lower() in suffixes]) for suffixes in known)
    suffixes, paths = max(groups, key=lambda group: len(group[1]))
    if not paths:
        expected = ", ".join(itertools.chain(*known))
        tables = [path.relative_to(folder).as_posix() for path in files if path.suffix.lower() in READERS]
        way = f" pass one of its files, {tables[0]} say, or" if tables else ""
        raise DataError(
            f"The folder {folder} holds no images, texts, recordings or Parquet files;{way} expected files ending in"
            f" {expected}."
        )
    if suffixes in (PARQUET, ARROW):
        return replace(_of_table(read_dataset(folder, paths)), name=folder.resolve().name)
    name, parents = folder.resolve().name, [path.relative_to(folder).parent.as_posix() for path in paths]
    labels = parents if len(set(parents)) > 1 or parents[0] != "." else None
    if suffixes is text.SUFFIXES:
        texts = [text.Text(str(path.relative_to(folder)), path) for path in paths]
        return _of_sequences(name, text.read_texts(texts, options), labels)
    if suffixes is audio.SUFFIXES:
        return _of_sequences(name, audio.read_recordings(paths, options), labels)
    pixels, notes = images.read_files(paths)
    return Source(name, _label_column(labels), Form("images", (str(pixels.dtype),)), pixels, notes=notes)


READERS: dict[str, Callable[[File, Options], Source]] = {
    **dict.fromkeys(DELIMITED, _csv),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _json),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), _excel),
    **dict.fromkeys(PARQUET, lambda file, options: _of_table(read_parquet(file))),
    **dict.fromkeys(ARROW, lambda file, options: _of_table(read_arrow(file))),
    ".npz": _npz,
    ".npy": _npy,
    **dict.fromkeys(text.SUFFIXES, _text),
    **dict.fromkeys(audio.SUFFIXES, _audio),
}
TABLES = {suffix for suffix, reader in READERS.items() if reader in (_csv, _json, _excel)}

# -- sets that need no file -----------------------------------------------------------------------------------------------


def _digits(options: Options) -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    columns = pa.table({"label": pa.array(bunch.target)})
    return Source("digits", columns, Form("images", ("uint8",)), bunch.images.astype(np.uint8))


def _embedded(name: str, target: str) -> Callable[[Options], Source]:
    def load(options: Options) -> Source:
        import sklearn.datasets

        bunch = getattr(sklearn.datasets, f"load_{name.replace('-', '_')}")()
        columns = {str(n): bunch.data[:, i] for i, n in enumerate(bunch.feature_names)}
        names = getattr(bunch, "target_names", None)
        columns[target] = bunch.target if names is None else np.asarray(names)[bunch.target].astype(str)
        table = pa.table({n: np.ascontiguousarray(v) for n, v in columns.items()})
        return replace(_of_table(table), name=name, target=target)

    return load


def _topics(options: Options) -> Source:
    """Return the help texts of Python as one long text."""
    from pydoc_data.topics import topics

    texts = [text.Text(name, topics[name]) for name in sorted(topics)]
    source = _of_sequences("topics", text.read_texts(texts, options))
    return replace(source, notes=(*source.notes, f"the help texts of Python {platform.python_version()}"))


def _strings(options: Options) -> Source:
    """Return synthesised plucks of a string, with their notes as labels."""
    waves, notes = audio.plucked_strings()
    rate = options.rate or 8000
    sound = (audio.resample(wave, 8000, rate) for wave in waves)
    return _of_sequences("strings", audio.sequences_of(sound, rate, options), notes)


EMBEDDED: dict[str, Callable[[Options], Source]] = {
    "digits": _digits,
    "wine": _embedded("wine", "cultivar"),
    "breast-cancer": _embedded("breast-cancer", "diagnosis"),
    "iris": _embedded("iris", "species"),
    "diabetes": _embedded("diabetes", "progression"),
    "topics": _topics,
    "strings": _strings,
}
