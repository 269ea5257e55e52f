"""Draw what each family makes of a small set: real data beside draws, with the log-density of held-out rows.

    python tools/gallery.py --out build/gallery --seconds 10 maf vae

Tables are two half moons, pictures the digits of scikit-learn, text is the built-in set "topics", sound plucked strings. Every
family has its default hyper-parameters and the same seconds, on one thread where OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import make_moons

import genus
from genus.ladder import GenerativeModel, TractableDensity
from genus.training import choose_size

PICTURES = ("pixelcnn", "glow", "autoencoder", "vae", "iwae", "vq-vae", "gan", "wgan", "wgan-gp")
TEXTS = ("markov", "rnn", "blend")
SERIES = ("wavenet",)
ROWS, SIDE = 4000, 160  # rows of the moons; points of a heat map's side
INK = "#24507a"


def main() -> None:
    """Draw the figures that the command line names, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=list(genus.families()))
    parser.add_argument("--out", type=Path, default=Path("build/gallery"))
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    for name in options.families:
        print(draw(name, options.out, options.seconds))


def draw(name: str, folder: Path, seconds: float) -> Path:
    """Fit one family for so many seconds, write its figure into the folder, and return the path; a figure there is kept."""
    path = folder / f"{name}.png"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    figure_of: Callable[[str, float], plt.Figure] = _moons
    for names, function in ((PICTURES, _digits), (TEXTS, _text), (SERIES, _waves)):
        figure_of = function if name in names else figure_of
    figure = figure_of(name, seconds)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def _fitted(name: str, data: genus.Dataset, seconds: float) -> tuple[GenerativeModel, str]:
    """Return a model trained on nine tenths of the rows, and the log-density of the others in words."""
    train, held_out = data.split(test=0.1, seed=0)
    chosen = choose_size(genus.family(name), train, seconds, {})
    model = genus.build(name, data.space, data.context, **chosen.hyper)
    genus.fit(model, train, seed=0, progress=False, max_seconds=seconds, **chosen.options)
    with torch.no_grad():
        if isinstance(model, TractableDensity):
            value, label = model.log_prob(held_out.x, held_out.c).mean(), "exact"
        elif isinstance(model, genus.ApproximateDensity):
            value, label = model.elbo(held_out.x, held_out.c).mean(), "a bound"
        else:
            return model, "no density"
    if data.space.sequence:
        return model, f"{value / data.space.dim:.3f} nats a symbol on held-out rows, {label}"
    return model, f"{value:.2f} nats on held-out rows, {label}"


def _moons(name: str, seconds: float) -> plt.Figure:
    points, _ = make_moons(ROWS, noise=0.07, random_state=0)
    data = genus.read(points)
    model, said = _fitted(name, data, seconds)
    drawn = model.sample(1000, seed=0).numpy()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 2.9), sharex=True, sharey=True)
    edges = [(points[:, i].min() - 0.4, points[:, i].max() + 0.4) for i in (0, 1)]
    left.scatter(*points[:1000].T, s=2, color="0.35")
    right.scatter(*drawn[:, :2].T, s=2, color=INK)
    across, up = (np.linspace(*edge, SIDE) for edge in edges)
    grid = torch.tensor(np.stack(np.meshgrid(across, up), -1).reshape(-1, 2), dtype=torch.float32)
    with torch.no_grad():
        density = model.log_prob(grid).exp().reshape(SIDE, SIDE).numpy()
    middle.imshow(density, extent=(*edges[0], *edges[1]), origin="lower", aspect="auto", cmap="Blues")
    for axis, title in ((left, "rows"), (middle, f"density: {said}"), (right, "draws")):
        axis.set(title=title, xlim=edges[0], ylim=edges[1])
        axis.title.set_size(8)
        axis.tick_params(labelsize=7)
    return figure


def _digits(name: str, seconds: float) -> plt.Figure:
    data = genus.read("digits", context="label")
    model, said = _fitted(name, data, seconds)
    labels = torch.arange(10)[:, None].to(data.c.dtype) if data.c is not None else None
    drawn = [model.sample(10, labels, seed=seed) for seed in range(3)]
    real = torch.stack([data.x[(data.c[:, 0] == k).nonzero()[0, 0]] for k in range(10)]) if data.c is not None else data.x[:10]
    figure, axes = plt.subplots(4, 10, figsize=(7, 3.1))
    for row, pictures in zip(axes, [real, *drawn]):
        for axis, picture in zip(row, pictures):
            axis.imshow(picture.squeeze(), cmap="gray_r", vmin=0, vmax=16)
            axis.axis("off")
    figure.suptitle(f"real digits, then draws by label ({said})", fontsize=8)
    return figure


def _text(name: str, seconds: float) -> plt.Figure:
    data = genus.read("topics")
    model, said = _fitted(name, data, seconds)
    drawn = model.decode(model.sample(2, seed=0))
    figure = plt.figure(figsize=(8, 2.6))
    lines = [line for part in drawn for line in textwrap.wrap(str(part), 100) or [""]]
    figure.text(0.01, 0.95, "\n".join(lines[:14]).replace("$", r"\$"), family="monospace", fontsize=7, va="top")
    figure.suptitle(f"characters drawn, after the built-in set of texts ({said})", fontsize=8, y=1.03)
    return figure


def _waves(name: str, seconds: float) -> plt.Figure:
    data = genus.read("strings")
    model, said = _fitted(name, data, seconds)
    drawn = model.sample(3, length=400, seed=0).numpy().reshape(3, -1)
    figure, axes = plt.subplots(2, 1, figsize=(8, 2.8), sharex=True, sharey=True)
    for axis, series, title in ((axes[0], data.x[:3, :400].numpy(), "recordings"), (axes[1], drawn, f"draws ({said})")):
        axis.plot(series.T, linewidth=0.8)
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


if __name__ == "__main__":
    main()
