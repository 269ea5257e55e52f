"""`genus sample`: new data from a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.conditions import parse_conditions
from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, context_codec_of, context_values, prefix_values
from genus.cli.jobs import in_order, seeded_blocks
from genus.cli.options import DrawSeed, Jobs, Model, Output, shared_options
from genus.cli.outputs import IMAGES, check_suffix, sample_notes, table_writer, with_notes, write_images
from genus.cli.sequences import TextStream, check_out, cut_at_stop, encode_prompt, kind_of, stop_symbol, write_sequences

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from genus.ladder import GenerativeModel

__all__ = ["sample"]


@shared_options
def sample(
    model: Model,
    *,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", "--number", metavar="N", min=0, help="Draw N of them; by default 1000 rows, 64 images, or 1 text or sound."
        ),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            metavar="COLUMN=VALUE",
            help="Condition on this value; contexts that are not given are drawn as often as training rows had them.",
        ),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Begin a text with this, repeated for several texts; begin rows with COLUMN=VALUE of their first columns.",
        ),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print one text while it is drawn.")] = False,
    length: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Draw a text or sound of N symbols, its prefix included.")
    ] = None,
    stop: Annotated[str | None, typer.Option(metavar="TEXT", help="End a text at this symbol, such as '\\n'.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="T", min=0, help="Prefer likely symbols where T is below 1; 0 always takes the likeliest."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(metavar="K", min=1, help="Draw from the K likeliest symbols only.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Draw only from the likeliest symbols that together have probability P."),
    ] = None,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Draw a transformer's values in compiled steps; takes seconds, pays for long draws."),
    ] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Draw rows of which this holds: COLUMN=VALUE, COLUMN=LOW..HIGH or 'COLUMN in (A, B)'; may be repeated.",
        ),
    ] = None,
    rebalance: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Draw equally many rows of every level of this column, or --share of each."),
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL=SHARE", help="Give a level of --rebalance this share, 0 to 1; may be repeated."),
    ] = None,
    blanks: Annotated[
        bool,
        typer.Option("--blanks", help="Draw blanks that stand for unknown values as training saw them, and leave them blank."),
    ] = False,
    seed: DrawSeed = None,
    jobs: Jobs = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write to this file. A table: .csv .tsv .parquet .npz .npy .json; images: .png .npz .npy; text: .txt .json"
            " .npz; sound: .wav .npz;"
            " a folder: one file for each text or sound. By default tables and text go to stdout.",
        ),
    ] = None,
    output: Output,
) -> None:
    """Draw new data from a model.

    Tables have the columns that they were read with, the context last; images come as one grid or as an array; texts
    one a line, texts of several lines under a heading each. Families of the chain rule continue a --prefix. Many rows are
    drawn and written in blocks of 50,000, each with a seed of its own that follows from --seed.

    \b
    Examples:
      genus sample adult.genus -n 5
      genus sample adult.genus -n 1000 --seed 1 --out new.csv
      genus sample adult.genus -n 1000 --where income='>50K' --where age=30..40
      genus sample income.genus -n 100 --context income='>50K' --out rich.parquet
      genus sample adult.genus -n 100000 --seed 1 --out many.parquet
      genus sample adult.genus -n 1000 --rebalance income --share '>50K=0.4'
      genus sample digits.genus -n 64 --out digits.png
      genus sample adult.genus -n 2 --json
      genus sample book.genus --prefix "ROMEO:" --stream --length 500 --temperature 0.8
    """
    output.check_one_place(out)
    if stream and (output.as_json or out is not None or (n or 1) != 1 or len(prefix or ()) > 1):
        raise UsageError("--stream prints one text on stdout; leave out --json, --out, -n and a second --prefix")

    import torch

    from genus.files import load

    loaded = load(model)
    space = loaded.space
    choices: dict[str, Any] = {"length": length, "stop": stop, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    choices = {name: value for name, value in choices.items() if value is not None} | ({"compile": True} if compile else {})
    if where and (prefix or choices):
        raise UsageError("--where conditions the model's own distribution; leave --prefix and the options of its steps out")
    if jobs is not None and not space.is_table:
        raise UsageError("--jobs draws blocks of rows, and this model draws no table; leave it out")
    _check_chain(loaded, [*(["prefix"] if prefix else []), *(["stream"] if stream else []), *choices])
    kept = loaded.contexts is not None
    choices |= {"c": context_values(context_codec_of(loaded), words or (), kept), "seed": seed}
    choices |= {"where": parse_conditions(loaded, where)} if where else {}
    choices |= {"blanks": True} if blanks else {}
    shares = _shares(loaded, rebalance, share or [], bool(prefix or where or words or blanks or choices.keys() - {"c", "seed"}))
    with torch.inference_mode():
        if space.sequence:
            count = _draw_sequences(loaded, n, prefix or [""], stream, choices, out, output.as_json)
            what = {"text": "texts", "sound": "sounds"}.get(kind_of(codec_of(loaded)), "sequences")
        else:
            if prefix:
                choices["prefix"] = _encode_prefix(loaded, prefix)
            count = _draw_rows(loaded, n, choices, out, output.as_json, jobs, shares)
            what = "rows" if space.is_table else "images"
    for note in sample_notes(codec_of(loaded)):
        output.note(note)
    if out is not None:
        output.note(
            f"{count:,} {what if count != 1 else what[:-1]} of {loaded.family_name} {'are' if count != 1 else 'is'} in {out}."
        )


def _check_chain(model: GenerativeModel, wanted: list[str]) -> None:
    from genus.models.chain_rule import ChainRule

    if not wanted:
        return
    shown = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
    if not isinstance(model, ChainRule):
        raise UsageError(
            f"{model.name} does not draw one value after another, so there is no {shown}; families of the chain rule do"
        )
    if "stream" in wanted and not (model.space.sequence and kind_of(codec_of(model)) == "text"):
        raise UsageError("--stream prints text, and this model draws something else; leave it out")


def _draw_sequences(
    model: Any, n: int | None, prefixes: list[str], stream: bool, choices: dict[str, Any], out: Path | None, as_json: bool
) -> int:
    """Draw and write n texts from every prefix, or n sounds, and return their number."""
    import torch

    codec = codec_of(model)
    each = 1 if n is None else n
    count = each * len(prefixes)
    choices["c"] = context_of(model, choices["c"], count, choices["seed"])
    check_out(codec, out, as_json, count)
    begins = [encode_prompt(codec, text) if text else torch.empty(0) for text in prefixes for _ in range(each)]
    lengths = [len(begin) for begin in begins]
    if "stop" in choices:
        choices["stop"] = stop_symbol(codec, choices["stop"])
    if any(lengths):
        choices["prefix"] = begins
    stop = choices.get("stop")
    if stream:
        printer = TextStream(codec, lengths[0], stop)
        model.sample(1, callback=printer, **choices)
        printer.close()
    else:
        x = model.sample(count, **choices)
        write_sequences(codec, cut_at_stop(x, lengths, stop), out, as_json)
    return count


def _encode_prefix(model: Any, words: list[str]) -> Tensor:
    if not model.space.is_table:
        raise UsageError("this model draws images, and a --prefix is of a text or a table; use model.sample in Python")
    if model.order is None:
        raise UsageError(f"this {model.name} draws its columns in several orders, so it has no first ones for --prefix")
    return prefix_values(codec_of(model), model.order, words)


def _draw_rows(
    model: GenerativeModel,
    n: int | None,
    choices: dict[str, Any],
    out: Path | None,
    as_json: bool,
    jobs: int | None,
    shares: tuple[str, dict[Any, float]] | None,
) -> int:
    """Draw and write rows of a table, block by block, or images, and return their number."""
    space, codec = model.space, codec_of(model)
    if not space.is_table:
        return _draw_images(model, n, choices, out, as_json)
    import torch

    check_suffix(out)
    count = 1000 if n is None else n
    codec.check_room(count)
    seed = int(torch.randint(2**62, ())) if choices["seed"] is None else choices["seed"]
    with table_writer(out, as_json) as write:
        task = (model, choices | {"seed": seed}) if shares is None else (model, *shares)
        for table in in_order(drawn if shares is None else balanced, task, seeded_blocks(count, seed), jobs):
            write(with_notes(table, sample_notes(codec)))
    return count


def balanced(shared: tuple[GenerativeModel, str, dict[Any, float]], block: tuple[int, int, int]) -> pa.Table:
    """Return a block of rows in which every level of a column has its share; `block` as of `drawn`."""
    import torch

    from genus.questions import balanced_rows

    (model, column, shares), (start, count, seed) = shared, block
    with torch.inference_mode():
        return balanced_rows(model, count, column, shares, seed, start)


def _shares(model: GenerativeModel, column: str | None, words: list[str], others: bool) -> tuple[str, dict[Any, float]] | None:
    """Return the column of --rebalance and the share of each of its levels; None where it is not asked for."""
    from genus.questions import shares_of

    if column is None:
        if words:
            raise UsageError("--share is of the levels of a column; name it with --rebalance")
        return None
    if others:
        raise UsageError(
            "--rebalance draws whole rows; leave --where, --context, --prefix, --blanks and the options of steps out"
        )
    shares = {}
    for word in words:
        level, equals, text = word.rpartition("=")
        try:
            shares[level] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"--share {word!r} is not understood; expected LEVEL=SHARE, such as 'yes=0.4'")
    return column, shares_of(model, column, shares)


def context_of(model: GenerativeModel, c: Tensor | dict[str, float] | None, n: int, seed: int | None) -> Tensor | None:
    """Return the contexts of n draws: what was asked for, and as often as in training what was not."""
    return model.sample_context(n, c, None if seed is None else seed + 1) if isinstance(c, dict) else c


def drawn(shared: tuple[GenerativeModel, dict[str, Any]], block: tuple[int, int, int | None]) -> pa.Table:
    """Return a block of rows as they were read, the context last.

    Args:
        shared: the model, and the arguments of its `sample`.
        block: how many rows stand before the block, its number of rows, and its seed.
    """
    import torch

    from genus.codec.tabular import as_table

    (model, choices), (start, count, seed) = shared, block
    context = context_codec_of(model)
    with torch.inference_mode():
        c = context_of(model, choices["c"], count, seed)
        x = model.sample(count, **choices | {"seed": seed, "c": c})
        table = as_table(codec_of(model), x, choices["seed"], start=start)
        if c is not None and context is not None:
            labels = as_table(context, c.expand(count, -1))
            for name in labels.column_names:
                table = table.append_column(name, labels.column(name))
    return table


def _draw_images(model: GenerativeModel, n: int | None, choices: dict[str, Any], out: Path | None, as_json: bool) -> int:
    import pyarrow as pa

    from genus.codec.tabular import as_table

    context = context_codec_of(model)
    check_suffix(out, IMAGES, "images")
    if out is None or as_json:
        raise UsageError("this model draws images, which cannot be printed; add --out samples.png, .npz or .npy")
    count = 64 if n is None else n
    c = choices["c"] = context_of(model, choices["c"], count, choices["seed"])
    x = model.sample(count, **choices)
    labels = pa.table({}) if c is None or context is None else as_table(context, c.expand(count, -1))
    if count == 0:
        raise UsageError("no images make no picture; ask for one or more with -n")
    write_images(codec_of(model), x, out, {name: labels.column(name).to_numpy() for name in labels.column_names})
    return count
