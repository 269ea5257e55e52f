"""What goes wrong, told by the history: players that break out, samples that fall together or away, codes that say nothing."""

from __future__ import annotations

from statistics import median
from typing import Any

__all__ = ["alarms"]

EXPLODED = 100.0  # times the median gradient before
PLACES = 0.5  # of the widest spread so far, under which samples have fallen together
FEW = 0.2  # a spread that is too small at the end, whatever it was
LONG = 10  # evaluations after which a game should have found the data
BEFORE = 4  # evaluations that must have been, for there to be a usual value
FAR = 3.0  # times the least distance, and beyond the first one
AWAY = 2  # evaluations one after another


def alarms(rows: list[dict[str, Any]], ended: bool = False) -> dict[str, str]:
    """A sentence for each kind of trouble that the rows of a history show at their end: "collapse", "divergence", "nothing
    learned".

    >>> spreads = [0.1, 0.5, 0.9, 0.9, 0.8, 0.3]
    >>> rows = [{"step": i, "criterion": 1.0, "watched": {"spread": s}} for i, s in enumerate(spreads)]
    >>> list(alarms(rows)), list(alarms(rows[:5]))
    (['collapse'], [])
    """
    found = {}
    if sentence := _collapse(rows, ended) or (_idle(rows) if ended else None):
        found["collapse"] = sentence
    if sentence := _explosion(rows) or _departure(rows):
        found["divergence"] = sentence
    if ended and (sentence := _in_vain(rows)):
        found["nothing learned"] = sentence
    return found


def _collapse(rows: list[dict[str, Any]], ended: bool) -> str | None:
    seen = [row["watched"]["spread"] for row in rows if "spread" in row.get("watched", {})]
    if len(seen) <= BEFORE:
        return None
    last, most = seen[-1], max(seen)
    fell = last < PLACES * most and most > FEW
    if not fell and not (ended and last < FEW and len(seen) > LONG):
        return None
    before = f", after {most:.0%} earlier" if fell else ""
    return (
        f"The generator has collapsed by step {rows[-1]['step']}: its samples are spread over {last:.0%} of the room that the"
        f" data take{before}. The weights kept are those of the best criterion; try another game, more penalty, or a smaller"
        " learning_rate."
    )


def _idle(rows: list[dict[str, Any]]) -> str | None:
    if rows[-1].get("watched", {}).get("active units", 1) > 0:
        return None
    return (
        "No number of the code says anything of a datum: the posterior has collapsed, and the decoder works alone. Try"
        " free_bits, warm_up, a smaller beta or learning_rate, or fewer layers of the decoder."
    )


def _in_vain(rows: list[dict[str, Any]]) -> str | None:
    values = [row["criterion"] for row in rows if row["criterion"] is not None]
    if len(values) <= LONG or rows[0]["step"] or min(values[1:]) < values[0]:  # a game may begin with a swing outwards
        return None
    return (
        "No evaluation was better than that of the weights that training began with, which are kept. Train longer, or try a"
        " smaller learning_rate, other hyper-parameters, or another game."
    )


def _explosion(rows: list[dict[str, Any]]) -> str | None:
    for name in (name for name in rows[-1].get("watched", {}) if name.startswith("gradient of ")):
        before = [row["watched"][name] for row in rows[:-1] if row.get("watched", {}).get(name) is not None]
        last = rows[-1]["watched"][name]
        if last is not None and len(before) >= BEFORE and last > EXPLODED * median(before) > 0:
            return (
                f"The {name} has exploded by step {rows[-1]['step']}: its norm is {last:.3g}, and was {median(before):.3g}"
                " before. The weights kept are those of the best criterion; lower learning_rate or max_grad_norm, or more"
                " penalty."
            )
    return None


def _departure(rows: list[dict[str, Any]]) -> str | None:
    if len(rows) <= BEFORE or "watched" not in rows[-1]:
        return None
    values = [row["criterion"] for row in rows if row["criterion"] is not None]
    if len(values) <= BEFORE or min(values[-AWAY:]) <= max(values[0], FAR * min(values)):
        return None
    if FAR * min(values) > values[0] and len(values) <= LONG:  # many a game begins with a swing outwards
        return None
    return (
        f"Training has diverged by step {rows[-1]['step']}: samples are further from the data than those of the untrained model"
        f" ({values[-1]:.3g}, at first {values[0]:.3g}). The weights kept are those of the best criterion; try a smaller"
        " learning_rate."
    )
