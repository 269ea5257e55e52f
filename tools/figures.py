"""Draw the figures of the pages of questions and tasks: each page's own examples are run, and what they found is drawn.

    python tools/figures.py [impute where predict score rebalance images text]

writes docs/figures/NAME.png, which the pages show and git keeps.
"""

from __future__ import annotations

import argparse
import doctest
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import genus

DOCS = Path(__file__).resolve().parents[1] / "docs"
INK, WARM, GREY = "#24507a", "#c8553d", "0.72"
plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})


def main() -> None:
    """Draw the figures that the command line names, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(FIGURES))
    for name in parser.parse_args().names:
        figure = FIGURES[name](found(DOCS / f"{name}.md"))
        figure.savefig(DOCS / "figures" / f"{name}.png", dpi=110, bbox_inches="tight")
        plt.close(figure)
        print(DOCS / "figures" / f"{name}.png")


def found(page: Path) -> SimpleNamespace:
    """Return what the examples of a page named, once all have run."""
    names: dict[str, object] = {}
    test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), names, page.name, str(page), 0)
    if doctest.DocTestRunner().run(test, clear_globs=False).failed:
        raise SystemExit(f"An example of {page} fails.")
    return SimpleNamespace(**test.globs)


def impute(page: SimpleNamespace) -> plt.Figure:
    """Show the truth of blanked cells beside their intervals."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    low, high, truth = ([column[i] for i in page.holes] for column in (page.low, page.high, page.whole["alcohol"]))
    ends = (np.array([value.as_py() for value in end]) for end in (low, high))
    _intervals(axis, *ends, np.array(truth), INK, "90 % of 20 draws")
    axis.set(ylabel="alcohol, %", xlabel="wines whose alcohol was blanked, by its truth")
    axis.legend(loc="upper left")
    return figure


def where(page: SimpleNamespace) -> plt.Figure:
    """Show all rows, those that fulfil the conditions, and draws."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharex=True, sharey=True)
    rows, drawn = (page.data.decode(x).to_pydict() for x in (page.data.x, page.strong))
    fits = [level != "class_1" and v >= 13 for level, v in zip(rows["cultivar"], rows["alcohol"])]
    x, y = np.array(rows["alcohol"]), np.array(rows["color_intensity"])
    axes[0].scatter(x, y, s=8, color=GREY, label="all wines")
    axes[0].scatter(x[fits], y[fits], s=8, color=INK, label="of two cultivars, 13 % or more")
    axes[1].scatter(x, y, s=8, color=GREY)
    axes[1].scatter(drawn["alcohol"], drawn["color_intensity"], s=8, color=WARM, label="200 draws where that holds")
    for axis in axes:
        axis.set(xlabel="alcohol, %")
        axis.legend(loc="upper left", fontsize=7)
    axes[0].set(ylabel="colour intensity", ylim=(0, 17))
    return figure


def predict(page: SimpleNamespace) -> plt.Figure:
    """Show held-out values beside plain and calibrated intervals."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    truth = np.array(page.new["alcohol"].to_pylist())
    _intervals(axis, page.sure.low, page.sure.high, truth, GREY, "80 %, calibrated by held-out rows")
    _intervals(axis, page.plain.low, page.plain.high, truth, INK, "80 %, plain")
    axis.set(ylabel="alcohol, %", xlabel="wines that the model did not see, by their alcohol")
    handles, labels = axis.get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    axis.legend(unique.values(), unique.keys(), loc="upper left", fontsize=7)
    return figure


def _intervals(axis: plt.Axes, low: np.ndarray, high: np.ndarray, truth: np.ndarray, colour: str, label: str) -> None:
    order = np.argsort(truth)
    axis.vlines(np.arange(len(order)), low[order], high[order], color=colour, linewidth=3 if colour == INK else 6, label=label)
    axis.scatter(np.arange(len(order)), truth[order], s=12, color=WARM, zorder=3, label="truth")


def score(page: SimpleNamespace) -> plt.Figure:
    """Show how surprising each column of a row is, before and after one was changed."""
    usual = genus.explain(page.model, page.wine)
    figure, axis = plt.subplots(figsize=(6, 3))
    places = np.arange(len(usual.columns))
    axis.barh(places + 0.2, usual.surprise[0], 0.38, color=GREY, label="as it is")
    axis.barh(places - 0.2, page.odd.surprise[0], 0.38, color=WARM, label="with a colour intensity of 12.0")
    axis.set(yticks=places, yticklabels=usual.columns, xlabel="surprise given the other columns, nats")
    axis.invert_yaxis()
    axis.legend(loc="lower right")
    return figure


def rebalance(page: SimpleNamespace) -> plt.Figure:
    """Show a row, the nearest rows of another level, and the rows between."""
    figure, axis = plt.subplots(figsize=(6, 2.8))
    names = ("petal length (cm)", "petal width (cm)")
    rows = page.data.frame().to_pydict()
    for level, colour in (("setosa", "#9db8d2"), ("versicolor", GREY), ("virginica", "#e3b1a7")):
        held = [i for i, one in enumerate(rows["species"]) if one == level]
        axis.scatter(*([rows[name][i] for i in held] for name in names), s=10, color=colour, label=level)
    between = page.way.table.to_pydict()
    axis.plot(*(between[name] for name in names), marker="o", markersize=4, linewidth=1, color=INK, label="rows between")
    near = page.near.table.to_pydict()
    axis.scatter(*(near[name] for name in names), s=50, marker="*", color=WARM, zorder=3, label="nearest likely virginicas")
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.legend(loc="upper left", fontsize=7)
    return figure


def images(page: SimpleNamespace) -> plt.Figure:
    """Show a real picture of each label above draws."""
    labels = page.train.c[:, 0]
    real = torch.stack([page.train.x[(labels == k).nonzero()[0, 0]] for k in range(10)])
    figure, axes = plt.subplots(4, 10, figsize=(6, 2.6))
    for row, pictures in zip(axes, [real, *page.drawn]):
        for axis, picture in zip(row, pictures):
            axis.imshow(picture, cmap="gray_r", vmin=0, vmax=16)
            axis.axis("off")
    return figure


def text(page: SimpleNamespace) -> plt.Figure:
    """Show nats a character by the order of the chain."""
    figure, axis = plt.subplots(figsize=(5, 2.4))
    orders = list(page.nats)
    for k, (label, colour) in enumerate((("frozen", INK), ("online", WARM))):
        axis.plot(orders, [page.nats[order][k] for order in orders], marker="o", markersize=4, color=colour, label=label)
    axis.set(xlabel="characters that the chain looks back on", ylabel="nats a character", ylim=(0.9, None))
    axis.legend()
    return figure


FIGURES: dict[str, Callable[[SimpleNamespace], plt.Figure]] = {
    one.__name__: one for one in (impute, where, predict, score, rebalance, images, text)
}

if __name__ == "__main__":
    main()
