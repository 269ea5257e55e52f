"""Calibrate the winner's predictions of the target on validation rows, and test them on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from genus.errors import DataError
from genus.evaluation.protocol import Protocol, validation_rows
from genus.ladder import GenerativeModel
from genus.questions.prediction import predicted_rows
from genus.questions.trust import Trust, keep_calibration, rows_to_predict, trust_in
from genus.training.rows import affordable_rows

__all__ = ["calibrate_winner"]

PROBE = 100  # rows whose predictions are timed


def calibrate_winner(
    model: GenerativeModel, members: Sequence[GenerativeModel], protocol: Protocol, seed: int, seconds: float = math.inf
) -> Trust | None:
    """Keep with a model the calibration of the target, and return what it does to held-out rows.

    Args:
        model: the winner.
        members: of which it is made, or itself.
        protocol: of the comparison; the validation rows calibrate, the held-out rows tell.
        seed: of the training.
        seconds: that it may take, by fewer rows, but 100 of each at least.

    Returns:
        None where there is no target, no density, or no row that trained none of the members; then nothing is kept.
    """
    target, held = protocol.train.target, validation_rows(protocol, members[0], seed)
    if target is None or held is None or target not in (model.space.names or ()):
        return None
    if any(one.held_out is None for one in members):  # what counts, counts all rows
        return None
    test, most = protocol.test, max(len(held), len(protocol.test))
    try:
        if seconds < math.inf:
            column = model.space.index(target)
            x, c = rows_to_predict(model, column, held.x, held.c)

            def predict(few: int) -> None:
                predicted_rows(model, x[:few], None if c is None else c[:few], column)

            most = max(PROBE, affordable_rows(predict, min(PROBE, len(x)), seconds / 2))
        held = held[: min(most, len(held))]
        keep_calibration(model, held.x, held.c, target)
    except DataError:  # too few rows to say anything
        return None
    return trust_in(model, test.x[:most], None if test.c is None else test.c[:most], target)
