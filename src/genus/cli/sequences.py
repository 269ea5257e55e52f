"""Sequences at the command line: text as it is drawn, text and sound as files, numbers as arrays."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.atomic import atomic_write
from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, context_codec_of, level_text
from genus.cli.outputs import check_suffix, print_json, put, write_table
from genus.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from genus.cli.options import TableOutput
    from genus.codec import Codec
    from genus.ladder import GenerativeModel

__all__ = [
    "TextStream",
    "check_out",
    "cut_at_stop",
    "encode_prompt",
    "kind_of",
    "next_command",
    "stop_symbol",
    "write_sequences",
]

FILES = {
    "text": (".txt", ".json", ".npz"),
    "sound": (".wav", ".npz"),
    "numbers": (".json", ".npz", ".npy"),
    "table": (".csv", ".tsv", ".parquet", ".json"),
}
ESCAPES = {"\\n": "\n", "\\t": "\t"}


def kind_of(codec: Codec) -> str:
    """Return what the sequences of a space are: "text", "sound" or "numbers"; a "table" of series, a row for each step."""
    if codec.space.channels and codec.names:
        return "table"
    return "text" if codec.is_text else "sound" if codec.is_sound else "numbers"


def next_command(model: GenerativeModel, path: Path, args: Sequence[str] = ()) -> str:
    """Return the command that samples a model which has just been written.

    Args:
        model: the model.
        path: its file.
        args: the words of the command that made it; files that it imported are imported again.
    """
    imported = [word for at, word in enumerate(args) if word == "--import" or args[at - 1 : at] == ["--import"]]
    space, out = model.space, []
    if space.sequence:
        out = ["--out", "samples"] if kind_of(codec_of(model)) == "sound" else _prompt(model)
    elif not space.is_table:
        out = ["--out", "samples.png"]
    return shlex.join(["genus", *imported, "sample", str(path), "-n", "10", *_usual_context(model), *out])


def _usual_context(model: GenerativeModel) -> list[str]:
    """Return a --context that the model takes: the most frequent of its training rows; of an image's one label, each."""
    from genus.codec.tabular import as_table
    from genus.space import Category

    codec = context_codec_of(model)
    if codec is None:
        return []
    names, kinds, contexts = codec.space.names or (), codec.space.kinds, model.contexts
    if len(names) == 1 and not model.space.is_table and not model.space.sequence and isinstance(kinds[0], Category):
        return ["--context", f"{names[0]}=each"]
    if contexts is None or contexts.rows.ndim != 2:
        return ["--context", "COLUMN=VALUE"]
    row = contexts.rows[int(contexts.counts.argmax())].to(codec.space.dtype)
    values = as_table(codec, row[None]).to_pylist()[0]
    return [word for name in names for word in ("--context", f"{name}={level_text(values[name])}")]


def _prompt(model: GenerativeModel) -> list[str]:
    """Return a --prefix for a text, of symbols that the model has; nothing where none is known, and for other sequences."""
    from genus.models.chain_rule import ChainRule

    codec = codec_of(model)
    if kind_of(codec) != "text" or not isinstance(model, ChainRule):
        return []
    for text in ("The ", "the ", "A", "a"):
        try:
            codec.encode_prefix(text)
        except DataError:
            continue
        return ["--prefix", text]
    return []


def check_out(codec: Codec, out: Path | None, as_json: bool, count: int) -> None:
    """Raise where sequences of this kind and number cannot be written to `out`."""
    kind = kind_of(codec)
    if kind == "sound" and out is None:
        raise UsageError("this model draws sound, which cannot be printed; add --out with a .wav, an .npz or a folder")
    if out is None:
        return
    if out.suffix or kind in ("numbers", "table"):
        check_suffix(out, FILES[kind], kind)
    if out.suffix.lower() == ".wav" and count != 1:
        raise UsageError(
            f"a .wav holds one sound, and these are {count}; leave -n out, or name a folder, such as --out sounds/"
        )


def encode_prompt(codec: Codec, text: str) -> Tensor:
    """Return a prompt as its symbols (m,)."""
    if kind_of(codec) != "text":
        raise UsageError(
            f"this model draws {kind_of(codec)}, and a --prefix is text; leave it out, or use model.sample in Python"
        )
    return codec.encode_prefix(text)


def stop_symbol(codec: Codec, text: str) -> float:
    """Return the symbol that ends a text."""
    if kind_of(codec) != "text":
        raise UsageError(f"this model draws {kind_of(codec)}, and --stop is a symbol of text; leave it out")
    try:
        symbols = codec.encode_prefix(ESCAPES.get(text, text))
    except DataError as error:
        raise DataError(str(error).replace("the prefix", "--stop")) from error
    if len(symbols) != 1:
        raise UsageError(f"--stop takes one symbol, and {text!r} is {len(symbols)} of this model's")
    return float(symbols[0])


def cut_at_stop(x: Tensor, begins: list[int], stop: float | None) -> list[Tensor]:
    """Return each of the sequences x (n, T) up to the first stop symbol behind its prompt."""
    rows = []
    for row, begin in zip(x, begins, strict=True):
        hits = (row[begin:] == stop).nonzero() if stop is not None else row[:0]
        rows.append(row[: begin + int(hits[0])] if len(hits) else row)
    return rows


# -- out ------------------------------------------------------------------------------------------------------------------


class TextStream:
    """Print a text while it is drawn, every character once all its bytes or tokens are there.

    Args:
        space: the space of the text.
        begin: the length of the prompt, in which a stop symbol stops nothing.
        stop: the symbol that ends the text; None where none does.
    """

    def __init__(self, codec: Codec, begin: int, stop: float | None) -> None:
        self.codec, self.begin, self.stop = codec, begin, stop
        self.values: list[Tensor] = []  # symbols of the last text that was printed, then symbols not yet printed
        self.printed, self.count, self.last = 0, 0, ""

    def __call__(self, value: Tensor) -> None:
        """Take the next symbol, value (1, 1), and print what has become readable."""
        self.count += 1
        if self.stop is not None and self.count > self.begin and bool(value == self.stop):
            return
        self.values.append(value)
        self._type(whole=False)

    def close(self) -> None:
        """Print the rest, and end the line."""
        self._type(whole=True)
        if self.last != "\n":
            print(flush=True)

    def _type(self, whole: bool) -> None:
        # How a token reads may depend on the one before it, so what is new is what it adds to that.
        before, now = self._text(self.values[: self.printed]), self._text(self.values)
        if len(now) <= len(before) or (now.endswith("\ufffd") and not whole):
            return
        put(now[len(before) :])
        sys.stdout.flush()
        self.last = now[-1]
        self.values, self.printed = self.values[self.printed :], len(self.values) - self.printed

    def _text(self, values: list[Tensor]) -> str:
        import torch

        return self.codec.decode(torch.cat(values, dim=1))[0] if values else ""


def write_sequences(codec: Codec, rows: list[Tensor], out: Path | None, output: TableOutput | None = None) -> None:
    """Write sequences (T,), each of its own length, to stdout, to one file, or to a folder of numbered files."""
    kind = kind_of(codec)
    if kind == "table":
        import torch

        from genus.codec.frames import to_arrow

        write_table(to_arrow(codec.decode(torch.stack(rows)))[0], out, output)
        return
    found: list[Any] = [codec.decode(row[None])[0] if len(row) else "" if kind == "text" else [] for row in rows]
    if out is None and output is not None and output.as_json:
        print_json([_json_value(one) for one in found])
    elif out is None:
        put(_joined([one if kind == "text" else " ".join(map(str, _json_value(one))) for one in found]))
    elif out.suffix:
        _write(codec, found, out)
    else:
        for i, one in enumerate(found, 1):
            _write(codec, [one], out / f"{i:0{len(str(len(found)))}}{FILES[kind][0]}")


def _json_value(one: Any) -> Any:
    """Return a text as it is, numbers as a list."""
    return one if isinstance(one, str) else one.tolist() if hasattr(one, "tolist") else list(one)


def _joined(texts: list[str]) -> str:
    """Join texts, a line for each; texts of several lines get a heading each."""
    if len(texts) > 1 and any("\n" in text for text in texts):
        return "\n".join(f"==> {i} <==\n{text.removesuffix(chr(10))}\n" for i, text in enumerate(texts, 1))
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _write(codec: Codec, found: list[Any], path: Path) -> None:
    import numpy as np

    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        if suffix == ".txt":
            temporary.write_text(_joined(found), encoding="utf-8", newline="")
        elif suffix == ".json":
            temporary.write_text(json.dumps([_json_value(one) for one in found], ensure_ascii=False) + "\n", encoding="utf-8")
        elif suffix == ".wav":
            from genus.evaluation.excerpts import wav

            temporary.write_bytes(wav(np.asarray(found[0], dtype=np.float32), codec.form.rate))  # type: ignore[union-attr]
        elif kind_of(codec) == "text":
            with open(temporary, "wb") as file:
                np.savez_compressed(file, text=np.array(found, dtype=str))
        else:
            width = max(map(len, found), default=0)
            array = np.stack([_padded(one, width) for one in found])
            with open(temporary, "wb") as file:
                if suffix == ".npy":
                    np.save(file, array)
                else:
                    np.savez_compressed(file, x=array)


def _padded(one: Any, width: int) -> Any:
    """Return a sequence as an array of a width, filled up with NaN."""
    import numpy as np

    array = np.asarray(one)
    if len(array) == width:
        return array
    return np.concatenate([array.astype(np.float64), np.full(width - len(array), np.nan)])
