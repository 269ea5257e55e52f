"""What `fit` costs over a hand-written torch loop that takes the same steps: the same net, batches, fused Adam, clipping.

    python benchmarks/loop.py

Both run in this process, in turns; printed are medians in microseconds a step, and their ratio. The net is tiny, so that the
loop's own work shows.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from records import Record
from torch import Tensor, nn

import genus
from genus.ladder import TractableDensity

RECORD = Record(__doc__)

ROWS, STEPS, REPETITIONS = 8192, 1500, 9


class Tiny(TractableDensity):
    """x1 given x0 is normal around a tiny MLP: one forward and one backward pass a step."""

    def __init__(self) -> None:
        super().__init__(genus.Space([genus.Real(), genus.Real()]))
        self.net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        first = torch.randn(n, 1)
        return torch.cat([first, self.net(first) + torch.randn(n, 1)], 1)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return -0.5 * ((x[:, 1:] - self.net(x[:, :1])) ** 2).sum(1)


def by_hand(model: Tiny, x: Tensor, batch: int, clip: float | None, decay: bool) -> None:
    """What one writes without a library."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
    losses = []
    for step in range(STEPS):
        at = step % (len(x) // batch)
        if at == 0:
            epoch = step // (len(x) // batch)
            seed = int(np.random.SeedSequence((0, epoch + 1)).generate_state(1)[0])
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        rows = x[order[at * batch : (at + 1) * batch]]
        optimizer.zero_grad()
        loss = -model._log_prob(rows, None).mean()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        if decay:
            optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimizer.step()
        losses.append(loss.item())


def by_fit(model: Tiny, x: Tensor, batch: int, clip: float | None, decay: bool) -> None:
    schedule = "cosine" if decay else "constant"
    genus.fit(
        model,
        x,
        max_steps=STEPS,
        batch_size=batch,
        max_grad_norm=clip,
        lr_schedule=schedule,
        validation=None,
        device="cpu",
        progress=False,
    )


def seconds(train: Callable[..., None], start: dict[str, Tensor], *arguments: object) -> tuple[float, dict[str, Tensor]]:
    model = Tiny()
    model.load_state_dict(start)
    begin = time.perf_counter()
    train(model, *arguments)
    return time.perf_counter() - begin, model.state_dict()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(ROWS, 2)
    start = Tiny().state_dict()
    print(f"{'batch':>6} {'settings':<24} {'by hand':>9} {'fit':>9} {'ratio':>6}")
    for batch in (64, 512):
        for name, clip, decay in (("clip, cosine (default)", 5.0, True), ("bare", None, False)):
            times: dict[str, list[float]] = {"hand": [], "fit": []}
            for _ in range(REPETITIONS):
                hand, one = seconds(by_hand, start, x, batch, clip, decay)
                fit, two = seconds(by_fit, start, x, batch, clip, decay)
                times["hand"].append(hand)
                times["fit"].append(fit)
                if any(not torch.equal(one[key], two[key]) for key in one):
                    raise SystemExit("The two loops did not take the same steps; the ratio would mean nothing.")
            hand, fit = (1e6 * statistics.median(times[key]) / STEPS for key in ("hand", "fit"))
            ratio = statistics.median(f / h for f, h in zip(times["fit"], times["hand"], strict=True))
            print(f"{batch:>6} {name:<24} {hand:>7.0f}µs {fit:>7.0f}µs {ratio:>6.2f}")
            RECORD.row(batch=batch, settings=name, by_hand_µs=hand, fit_µs=fit, ratio=ratio)
    RECORD.keep()


if __name__ == "__main__":
    main()
