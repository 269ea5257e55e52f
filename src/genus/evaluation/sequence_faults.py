"""Find what is wrong with sampled sequences: pieces learned by heart, symbols never drawn, wrong lengths, loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genus.evaluation.copying import COPIED, DOUBT, find_copies, holm
from genus.evaluation.figures import percent
from genus.evaluation.findings import Finding
from genus.evaluation.ngrams import cut_alike, repetition, symbols
from genus.evaluation.sequences import stands_in
from genus.space import Category, Space

__all__ = ["find_sequence_faults"]

HEART = 50  # symbols of a piece of one long sequence that nobody writes twice by chance
FEWEST = 10  # samples, below which nothing is said
CHANCE = 0.02  # of held-out rows that stand in training, above which rows are so short that honest draws do too
MANY, MOSTLY = 0.1, 0.5  # of the samples beyond that share, for a flaw and for an accusation
APART = 0.75  # the probability that a sample exceeds a real row, or falls short of it, from which on it is a flaw
RARE = 0.1  # of what is expected, below which a symbol is hardly ever drawn
STEPS = 256  # of sounds, in which near copies are sought


def find_sequence_faults(
    space: Space, samples: Tensor, train: Tensor, unseen: Tensor, consecutive: bool = False
) -> list[Finding]:
    """Return accusations and flaws of sampled sequences.

    - copies: samples that stand in the training set more often than held-out rows do, by Fisher's exact test: whole rows, or
      pieces of 50 symbols of one long sequence, which no honest model repeats. An accusation from 2 % on. Where rows are so
      short that held-out ones stand in training too, honest draws do, and sharp ones more often: an accusation where half of
      the samples do beyond that share, a flaw from a tenth on. In sequences of numbers, such as sound, near copies are looked
      for where no others were found.
    - leaked: samples that equal held-out rows, if they are more than half as many as those that equal training rows, and at
      least 2 % and twice what training copies lead one to expect of so many rows.
    - symbols that are hardly ever drawn; lengths and repetitions that three of four times exceed those of real rows, or fall
      short of them, by the test of Mann and Whitney.

    Args:
        space: of the sequences.
        samples: (M, T).
        train: (N, L), the training rows.
        unseen: (K, L), held-out rows.
        consecutive: rows are pieces of one long sequence.

    >>> word = Space(Category(tuple("abcdefgh")), shape=(12,), sequence=True)
    >>> x = torch.randint(8, (300, 12), generator=torch.Generator().manual_seed(0)).float()
    >>> find_sequence_faults(word, x[:100], x[100:200], x[200:])
    []
    >>> print(find_sequence_faults(word, x[100:200], x[100:200], x[200:])[0])
    accused: 100 % of the samples are training rows drawn again
    """
    if len(samples) < FEWEST or not len(train) or not len(unseen):
        return []
    found = _found_again(space, samples, train, unseen, consecutive)
    if not isinstance(space.kinds[0], Category):
        return found or _near_copies(space, samples, train, unseen)
    length = samples.shape[1]
    real = cut_alike(space, torch.cat([train, unseen]), length, consecutive)
    return found + _symbols_lacking(space, samples, real) + _statistics(space, samples, real)


def _found_again(space: Space, samples: Tensor, train: Tensor, unseen: Tensor, consecutive: bool) -> list[Finding]:
    length = min(samples.shape[1], train.shape[1], HEART if consecutive else train.shape[1])
    wanted, held = (_pieces(x, length, consecutive) for x in (samples, unseen))
    in_train, usual = (stands_in(space, x, train, length, consecutive) for x in (wanted, held))
    in_held = stands_in(space, wanted, unseen, length, consecutive) & ~in_train
    share, chance = float(in_train.mean()), float(usual.mean())
    whole = f"the {length}-symbol pieces of the samples" if consecutive else "the samples"
    noun = "also in the training text" if consecutive else "training rows drawn again"
    figures = {"share": share, "held_out_share": chance}
    found = []
    if _fisher_p_value(int(in_train.sum()), len(wanted), int(usual.sum()), len(held)) < DOUBT:
        over, short = share - chance, chance > CHANCE
        beside = f", where {percent(chance)} of held-out rows are" if short else ""
        said = f"{percent(share)} of {whole} are {noun}{beside}"
        kind = "accused" if over >= (MOSTLY if short else COPIED) else "flaw" if over >= MANY else ""
        if kind:
            found.append(Finding(kind, "copies", said, figures))  # type: ignore[arg-type]
    records = train.numel() / max(unseen.numel(), 1)  # training rows for each held-out one
    leaked, expected = float(in_held.mean()), share / records
    if leaked >= COPIED + 2 * expected and leaked > share / 2:
        beside = f"where {percent(share)} stand among training rows"
        said = f"{percent(leaked)} of {whole} stand among the held-out rows, {beside}"
        found.append(Finding("accused", "leaked", said, {"share": leaked, "training_share": share}))
    return found


def _pieces(x: Tensor, length: int, consecutive: bool) -> Tensor:
    whole = x.shape[1] // length * length if consecutive else length
    return x[:, :whole].reshape(-1, length)


def _fisher_p_value(a: int, n: int, b: int, m: int) -> float:
    """Return the p-value of Fisher's exact test, one-sided, that a of n is a greater share than b of m."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(a - 1, n + m, a + b, n))


def _near_copies(space: Space, samples: Tensor, train: Tensor, unseen: Tensor) -> list[Finding]:
    """Return `find_copies` of the beginnings of sounds, and of other numbers in a row."""
    length = min(STEPS, samples.shape[1], train.shape[1])
    short = Space(space.kinds[0], shape=(length,))
    drawn, seen, new = (x[:, :length].to(short.dtype) for x in (samples, train, unseen))
    return find_copies(short, drawn, seen, new)


def _symbols_lacking(space: Space, samples: Tensor, real: Tensor) -> list[Finding]:
    """Return a flaw that names symbols that are hardly ever drawn, by how many rows have them."""
    kind = space.kinds[0]
    assert isinstance(kind, Category)
    there, drawn = (_rows_with(symbols(space, x), kind.states) for x in (real[:5000], samples))
    n, m = min(len(real), 5000), len(samples)
    p = [_fisher_p_value(int(a), n, int(b), m) if b * n <= RARE * a * m else 1.0 for a, b in zip(there, drawn, strict=True)]
    lacking = [str(kind.levels[i]) for i, doubt in enumerate(holm(p)) if doubt < DOUBT]
    if not lacking:
        return []
    shown = ", ".join(map(repr, lacking[:5])) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
    return [Finding("flaw", "symbols", f"symbols that are hardly ever drawn: {shown}", {"symbols": float(len(lacking))})]


def _rows_with(rows: list[np.ndarray], states: int) -> np.ndarray:
    """Return (states,), the number of rows that hold each symbol."""
    counts = np.zeros(states, dtype=np.int64)
    for row in rows:
        counts[np.unique(row).astype(np.int64)] += 1
    return counts


def _statistics(space: Space, samples: Tensor, real: Tensor) -> list[Finding]:
    """Return flaws of samples whose lengths or repetitions are mostly others than those of real rows."""
    from scipy.stats import mannwhitneyu

    generator = torch.Generator().manual_seed(0)
    some = real[torch.randperm(len(real), generator=generator)[:2000]]
    rows, drawn = symbols(space, some), symbols(space, samples)
    cases = [("repetition", repetition, "more of a sample is repeated", "less of a sample is repeated")]
    cases += [("length", len, "samples are longer", "samples are shorter")] if space.ends else []  # type: ignore[list-item]
    found = []
    for test, statistic, more, less in cases:
        a, b = (np.array([statistic(row) for row in some], dtype=float) for some in (rows, drawn))
        if np.ptp(a) == np.ptp(b) == 0 and a[0] == b[0]:
            continue
        result = mannwhitneyu(b, a)
        above = float(result.statistic) / (len(a) * len(b))
        if result.pvalue < DOUBT and max(above, 1 - above) >= APART:
            words = more if above > 0.5 else less
            shares = f"{percent(b.mean(), 1)} and {percent(a.mean(), 1)}"
            means = shares if test == "repetition" else f"{b.mean():.0f} and {a.mean():.0f} symbols"
            figures = {"samples": float(b.mean()), "real": float(a.mean())}
            found.append(Finding("flaw", test, f"{words} than of real rows (on average {means})", figures))
    return found
