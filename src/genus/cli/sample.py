"""`genus sample`: new data from a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.conditions import Asked, each_level, parse_conditions
from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, context_codec_of, context_values, prefix_values
from genus.cli.jobs import in_order, seed_of, seeded_blocks
from genus.cli.options import DrawSeed, Jobs, Model, TableOutput, shared_options
from genus.cli.outputs import check_suffix, sample_notes, table_writer, with_notes
from genus.cli.pictures import check_pictures, write_images
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
            help="Condition on this value, or on every level in turn by COLUMN=each; contexts that are not given are drawn as"
            " often as training rows had them.",
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
            help="Draw rows of which this holds: COLUMN=VALUE, COLUMN=LOW..HIGH, 'COLUMN in (A, B)', or COLUMN=each for N of"
            " every level; a column of the context too; may be repeated.",
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
            " a folder: one file for each image, text or sound. By default tables and text go to stdout.",
        ),
    ] = None,
    output: TableOutput,
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
      genus sample digits.genus -n 8 --where label=each --out digits.png
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
    asked, levels = each_level(loaded, words or (), where or ())
    where = list(asked[0].where)
    if where and (prefix or choices):
        raise UsageError("--where conditions the model's own distribution; leave --prefix and the options of its steps out")
    if jobs is not None and not space.is_table:
        raise UsageError("--jobs draws blocks of rows, and this model draws no table; leave it out")
    _check_chain(loaded, [*(["prefix"] if prefix else []), *(["stream"] if stream else []), *choices])
    choices |= {"seed": seed} | ({"blanks": True} if blanks else {})
    shares = _shares(loaded, rebalance, share or [], bool(prefix or where or words or choices.keys() - {"seed"}))
    every = _given(loaded, asked, stream)
    with torch.inference_mode():
        if space.sequence:
            count = _draw_sequences(loaded, n, prefix or [""], stream, choices, every, out, output)
            what = {"text": "texts", "sound": "sounds"}.get(kind_of(codec_of(loaded)), "sequences")
        else:
            if prefix:
                choices["prefix"] = _encode_prefix(loaded, prefix)
            if space.is_table:
                count = _draw_rows(loaded, n, [choices | given for given in every], out, output, jobs, shares)
            else:
                count = _draw_images(loaded, n, choices, every, levels, check_pictures(out, output.as_json))
            what = "rows" if space.is_table else "images"
    for note in sample_notes(codec_of(loaded)):
        output.note(note)
    if out is not None:
        output.note(
            f"{count:,} {what if count != 1 else what[:-1]} of {loaded.family_name} {'are' if count != 1 else 'is'} in {out}."
        )


def _given(model: GenerativeModel, asked: Sequence[Asked], stream: bool) -> list[dict[str, Any]]:
    """Return the arguments c and where of `sample` for each of what is asked for."""
    if stream and len(asked) > 1:
        raise UsageError("--stream prints one text; name one level instead of each")
    every: list[dict[str, Any]] = []
    for one in asked:
        every.append({"c": context_values(context_codec_of(model), one.context, model.contexts is not None)})
        if one.where:
            every[-1]["where"] = parse_conditions(model, one.where)
    return every


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
    model: Any,
    n: int | None,
    prefixes: list[str],
    stream: bool,
    choices: dict[str, Any],
    every: list[dict[str, Any]],
    out: Path | None,
    output: TableOutput,
) -> int:
    """Draw and write n texts from every prefix, or n sounds, of every context, and return their number."""
    import torch

    codec = codec_of(model)
    each = 1 if n is None else n
    choices["c"] = _contexts(model, every, each * len(prefixes), choices["seed"])
    prefixes = prefixes * len(every)
    count = each * len(prefixes)
    check_out(codec, out, output.as_json, count)
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
        write_sequences(codec, cut_at_stop(x, lengths, stop), out, output)
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
    every: list[dict[str, Any]],
    out: Path | None,
    output: TableOutput,
    jobs: int | None,
    shares: tuple[str, dict[Any, float]] | None,
) -> int:
    """Draw and write n rows of a table for each of some choices, block by block, and return their number."""
    import torch

    codec = codec_of(model)
    check_suffix(out)
    count = 1000 if n is None else n
    codec.check_room(count * len(every))
    with table_writer(out, output) as write:
        seed = int(torch.randint(2**62, ())) if every[0]["seed"] is None else every[0]["seed"]
        for k, choices in enumerate(every):
            task = (model, choices | {"seed": seed}) if shares is None else (model, *shares)
            blocks = ((k * count + start, size, own) for start, size, own in seeded_blocks(count, seed_of(k, seed)))
            for table in in_order(drawn if shares is None else balanced, task, blocks, jobs):
                write(with_notes(table, sample_notes(codec)))
    return count * len(every)


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


def _contexts(model: GenerativeModel, every: list[dict[str, Any]], n: int, seed: int | None) -> Tensor | None:
    """Return n contexts for each of what was asked for, (len(every) n, *context.shape); None for a model without context."""
    import torch

    found = [context_of(model, given["c"], n, None if seed is None else seed + k) for k, given in enumerate(every)]
    whole = [c if len(c) == n else c.expand(n, -1) for c in found if c is not None]
    return torch.cat(whole) if whole else None


def _draw_images(
    model: GenerativeModel,
    n: int | None,
    choices: dict[str, Any],
    every: list[dict[str, Any]],
    levels: list[str],
    out: Path,
) -> int:
    """Draw and write images, n of each level where levels are asked for one by one, and return their number."""
    import pyarrow as pa

    from genus.codec.tabular import as_table

    each = n if n is not None else 8 if levels else 64
    if each == 0:
        raise UsageError("no images make no picture; ask for one or more with -n")
    context, c = context_codec_of(model), _contexts(model, every, each, choices["seed"])
    count = each * len(every)
    x = model.sample(count, **choices | {"c": c})
    labels = pa.table({}) if c is None or context is None else as_table(context, c)
    arrays = {name: labels.column(name).to_numpy() for name in labels.column_names}
    write_images(codec_of(model), x, out, arrays, each if levels else None, levels)
    return count
