"""Draw parts of images and sequences anew, given the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, read_rows
from genus.cli.options import TableOutput
from genus.cli.pictures import check_pictures, write_images
from genus.cli.sequences import check_out, write_sequences

if TYPE_CHECKING:
    from torch import Tensor

    from genus.ladder import GenerativeModel
    from genus.space import Space

__all__ = ["fill_region", "region_of"]

ACROSS = 16  # images in a line of a grid, at most


def fill_region(
    model: GenerativeModel,
    data: str,
    given: dict[str, Any],
    region: str | None,
    words: Sequence[str] | None,
    n: int | None,
    seed: int | None,
    out: Path | None,
    output: TableOutput,
) -> None:
    """Draw a region of images or sequences given the rest, and write them; without a region, what is NaN in arrays.

    Args:
        model: of images or sequences, with a density.
        data: as the command line names it.
        given: the arguments of `genus.read`.
        region: as of `region_of`; None: what is NaN.
        words: of --context.
        n: how many of the data; None: all.
        seed: repeats the draw.
        out: where they are written.
        output: how.
    """
    from genus.ladder import ApproximateDensity
    from genus.questions import infill

    if not isinstance(model, ApproximateDensity):
        raise UsageError(f"{model.name} has no density, so it cannot draw a part given the rest; take a family that has one")
    codec, space = codec_of(model), model.space
    if not space.sequence:
        check_pictures(out, output.as_json)
    mask = None if region is None else region_of(space, region)
    rows = read_rows(model, data, given, words)
    x, c = rows.x[:n], None if rows.c is None else rows.c[:n]
    if space.sequence:
        check_out(codec, out, output.as_json, len(x))
    if space.sequence:
        if mask is None:
            raise UsageError("say which steps are to be drawn: --region START:STOP")
        steps = mask.view(-1, space.period)[:, 0].nonzero()[:, 0]
        filled, worth = infill(model, x, int(steps[0]), int(steps[-1]) + 1, c, seed)
        write_sequences(codec, list(filled), out, output)
        if worth < math.inf:
            output.note(f"drawn given what stands behind too, by weighted draws worth {worth:.0f} candidates or more")
        return
    missing = None if mask is None else mask.expand(x.shape)
    filled = model.impute(x, c, missing, seed)
    if out is not None:
        write_images(codec, filled, out, {}, min(len(x), ACROSS))
    if out is not None:
        count = int(missing.sum()) if missing is not None else int(x.isnan().sum())
        output.note(f"{count:,} values of {len(x):,} images were drawn; they are in {out}.")


def region_of(space: Space, text: str) -> Tensor:
    """Return which elements of x a region holds, bool (*shape): "14:28,0:28" are rows and columns of images, "10:20" steps.

    Raises:
        UsageError: it is no region, or nothing lies in it.
    """
    import torch

    parts = [re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part) for part in text.split(",")]
    most = 1 if space.sequence else 2
    slices = [slice(*(int(end) if end else None for end in part.groups())) for part in parts if part]
    mask = torch.zeros(space.shape, dtype=torch.bool)
    steps = mask.view(-1, space.period) if space.sequence else mask
    if len(slices) == len(parts) <= most:
        if space.sequence:
            steps[slices[0]] = True
        else:
            steps[(..., *slices, *[slice(None)] * (2 - len(slices)))] = True  # type: ignore[index]
    if not mask.any():
        expected = "START:STOP of steps" if space.sequence else "TOP:BOTTOM,LEFT:RIGHT of pixels"
        raise UsageError(f"--region {text!r} holds nothing; expected {expected}, within {' by '.join(map(str, space.shape))}")
    return mask
