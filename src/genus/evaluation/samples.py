"""Judge samples of any generator by the report that `compare` makes of families."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from genus.codec import Codec
from genus.codec.arrow import is_text
from genus.codec.notes import Note
from genus.data import Dataset, read
from genus.data.arguments import Options
from genus.data.sources import Source, open_source
from genus.errors import DataError, GenusError
from genus.evaluation.assembly import assemble, cores_here, reference_scores
from genus.evaluation.extractor import make_extractor
from genus.evaluation.figures import percent
from genus.evaluation.findings import Finding
from genus.evaluation.given import Given, read_given
from genus.evaluation.metrics import LEAST
from genus.evaluation.neighbours import repeated
from genus.evaluation.protocol import Protocol, joint_space, pictured, with_context
from genus.evaluation.report import Report
from genus.evaluation.results import GIVEN, Row
from genus.evaluation.running import line_printer
from genus.evaluation.scoring import examine_samples

__all__ = ["evaluate", "given_row", "read_samples"]

OPENING = ("missing", "tokens", "documents", "length", "rate", "encoding", "sequence", "header", "kinds")
KINDS = ("accused", "flaw", "repair")
LEAKED = 0.01  # of the held-out rows, from which on those that stand in training are left out
ENOUGH = 2000  # samples from which on the order of several generators is hardly chance


def evaluate(
    real: Any,
    held_out: Any,
    samples: Mapping[str, Any],
    *,
    progress: bool | Callable[[str], None] = False,
    **reading: Any,
) -> Report:
    """Evaluate samples of any generators against real rows, by the report that `compare` makes of families.

    Samples are read leniently: columns in any order, numbers rounded to those that a column has and moved inside its ends,
    levels found whatever their case and blanks. Every repair is counted and stands in the report, as do faults of the samples.
    Beside the samples stand other real rows, independent columns (the baseline) and a copy of the training rows.

    Args:
        real: the rows that the generators were fitted to: a Dataset, or anything that `genus.read` takes.
        held_out: real rows that no generator has seen: half of them is what samples are compared with, half is the row of
            real data. At least 20.
        samples: name -> samples: paths, frames, arrays. Some 2,000 samples or more give a stable order.
        progress: True prints a line for each set of samples; a function is called with that line.
        reading: other arguments of `genus.read` for the real rows, such as target=, context=, kinds=. Relations between columns
            are not looked for unless relations=True, since other generators do not keep them.

    Returns:
        A `Report`, whose rows are the samples: print it, `write` it to a folder.

    Raises:
        GenusError: no samples are given.
        DataError: rows cannot be read, or are too few.

    >>> from genus.data import read
    >>> train, held_out = read("iris").split(test=0.5)
    >>> report = evaluate(train, held_out, {"copy": train.frame()})
    >>> [row.family for row in report.rows]
    ['copy']
    """
    begin = time.time()
    if not samples:
        raise GenusError("No samples are given; name some, as in samples={'tabsyn': 'tabsyn.csv'}.")
    say = line_printer(progress)
    train, held = _real_rows(real, held_out, reading)
    least = 2 * (1 if train.space.sequence else LEAST)
    for noun, part in (("training", train), ("held-out", held)):
        if len(part) < least:
            raise DataError(f"There are {len(part)} {noun} rows; to judge samples takes {least} or more.")
    train = train.charted_on(train)
    held, notes = _without_leaks(train, held.with_space(train.space), least)
    if not held.consecutive:  # since a file may be in an order, and half of it unlike the other half
        held = held.rows(torch.randperm(len(held), generator=torch.Generator().manual_seed(0)))
    held_rows, half = with_context(held), len(held) // 2
    extractor = make_extractor(train)
    protocol = Protocol(train, held, held_rows[:half], 0.0, {}, torch.get_num_threads(), extractor=extractor)
    given = read_samples(samples, train)
    rows = []
    for one in given:
        rows.append(given_row(protocol, one))
        say(f"{one.name}: {len(one.x):,} rows")
    return assemble(
        protocol,
        rows,
        reference_scores(protocol, held_rows[half:]),
        replace(train, x=torch.cat([train.x, held.x]), notes=(*notes, *train.notes)),
        begin,
        baseline_family="",
        sample_count=max((len(one.x) for one in given), default=0),
        cores=cores_here(),
    )


def _without_leaks(train: Dataset, held: Dataset, least: int) -> tuple[Dataset, list[Note]]:
    """Return the held-out rows without those that stand in training, where these are more than chance has it, and a note."""
    if train.space.sequence:
        return held, []
    equal, usual = repeated(joint_space(train), with_context(train), with_context(held))
    share = float(equal.mean())
    error = math.sqrt((usual * (1 - usual) + 1 / len(held)) / len(held))
    if share - usual < LEAKED or share - usual < 4 * error:
        return held, []
    said = f"{percent(share, 1)} of the held-out rows stand among the training rows too, where chance has {percent(usual, 1)}"
    if len(held) - equal.sum() < least:
        return held, [Note(f"{said}: they are no test of anything", about="")]
    return held.rows(torch.from_numpy(~equal)), [Note(f"{said}; these {int(equal.sum()):,} rows were left out")]


def read_samples(samples: Mapping[str, Any] | None, real: Dataset, taken: Sequence[str] = ()) -> list[Given]:
    """Return samples of others in the space of the real rows.

    Raises:
        DataError: some cannot be read, are too few, or have the name of a family that takes part.
    """
    given = []
    for name, source in (samples or {}).items():
        if name in taken:
            raise DataError(f"The samples {name!r} have the name of a family in the comparison; give them another.")
        one = read_given(name, source, real)
        least = 1 if real.space.sequence else LEAST
        if len(one.x) < least:
            raise DataError(f"The samples {name!r} have {len(one.x)} rows that can be judged; expected {least} or more.")
        given.append(one)
    return given


def given_row(protocol: Protocol, given: Given) -> Row:
    """Return the row of samples of others: the metrics of a family without density, and what is wrong with them."""
    few = min(len(protocol.compared), ENOUGH)
    findings = list(given.findings)
    if len(given.x) < few:
        sentence = f"these are {len(given.x):,} rows, and with fewer than {few:,} they look more like real rows than they are"
        findings.append(Finding("repair", "few", sentence, {"rows": len(given.x)}))
    joint = with_context(replace(protocol.train, x=given.x, c=given.c))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics, errors, faults, telling = examine_samples(protocol, joint, given.c)
    return Row(
        given.name,
        "samples from elsewhere",
        GIVEN,
        metrics=metrics,
        metrics_error=errors,
        samples=given.x[: pictured(protocol.train.space)].clone(),
        telling=telling,
        findings=sorted([*findings, *faults], key=lambda finding: KINDS.index(finding.kind)),
    )


# -- real rows ------------------------------------------------------------------------------------------------------------


def _real_rows(real: Any, held_out: Any, reading: Mapping[str, Any]) -> tuple[Dataset, Dataset]:
    """Return training and held-out rows in one space, which both were measured for, as `compare` has it."""
    if not isinstance(real, Dataset):
        opening = {name: reading[name] for name in OPENING if reading.get(name) is not None}
        options = Options(**opening | {"missing": tuple(opening.get("missing", ()))})
        first, second = (open_source(source, options) for source in (real, held_out))
        if first.sequences is None and second.sequences is None and not options.sequence:
            kept = {name: value for name, value in reading.items() if name not in ("header", "encoding")}
            with warnings.catch_warnings():  # its notes are in the report
                warnings.simplefilter("ignore")
                whole = read(_joined(first, second), **({"relations": False, "target": first.target} | kept))
            rows = len(first.images) if first.images is not None else first.columns.num_rows
            whole = replace(whole, name=first.name, notes=(*first.notes, *whole.notes))
            return whole.rows(slice(0, rows)), whole.rows(slice(rows, len(whole)))
        real = read(real, **reading)
    if not isinstance(held_out, Dataset):
        held_out = read(held_out, space=(real.codec or Codec(real.space), real.context_codec))
    if held_out.space != real.space or held_out.context != real.context:
        raise DataError("Training and held-out rows are of different spaces; read both together, or pass both as paths.")
    return real, held_out


def _joined(first: Source, second: Source) -> Any:
    """Return the rows of two sources, one after the other, as `genus.read` takes them."""
    if (first.images is None) != (second.images is None):
        raise DataError("Of training and held-out rows one are images and the other are not.")
    lacking = [name for name in first.columns.column_names if name not in second.columns.column_names]
    if lacking:
        raise DataError(f"The held-out rows lack the column {lacking[0]!r} of the training rows.")
    pair = [first.columns, second.columns.select(first.columns.column_names)]
    try:
        table = pa.concat_tables(pair, promote_options="permissive")
    except pa.ArrowException:
        table = pa.concat_tables([_as_text(one, pair) for one in pair], promote_options="permissive")
    if first.images is None or second.images is None:
        return table
    if first.images.shape[1:] != second.images.shape[1:]:
        raise DataError(f"Training images have the shape {first.images.shape[1:]}, held-out ones {second.images.shape[1:]}.")
    images = np.concatenate([first.images, second.images])
    labels = {name: table.column(name).to_numpy() for name in table.column_names}
    return {"images": images} | labels if labels else images


def _as_text(table: pa.Table, pair: Sequence[pa.Table]) -> pa.Table:
    """Return a table whose columns are text where the two tables do not agree on their types."""
    for i, name in enumerate(table.column_names):
        types = {one.column(name).type for one in pair}
        if any(map(is_text, types)) and len(types) > 1:
            table = table.set_column(i, name, table.column(name).cast(pa.large_string()))
    return table
