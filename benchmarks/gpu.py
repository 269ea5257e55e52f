"""Does a GPU do what the processor does, and what does it gain?

    python benchmarks/gpu.py [--device cuda] [--rows 8192]

Four models of usual size, the same weights on both: `made` on a table, `gpt` on text, `nsf` on numbers, `vae` on pictures. It
prints of each

- the greatest difference of log-densities, or of bounds with the same noise, from those of the processor, relative to these;
- whether a seed draws the same rows twice, and whether a model that was saved on one is loaded on the other;
- how often a step of training waits for the device, by the operations and, on a GPU, by its own synchronisations;
- milliseconds of a step in single precision, in bfloat16 beside it, and on the processor; peak memory; rows drawn a second;
- of `gpt`, tokens a second through its cache, and as if it had none.

Where there is no GPU, all of this runs on the processor, which shows that the benchmark runs, and what could not be checked is
said at the end.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from records import Record
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space
from genus.ladder import TractableDensity
from genus.laws.core import Waits
from genus.random import isolated

RECORD = Record(__doc__)
SPACES = {
    "made": Space([*[Real()] * 8, *[Lattice(0, 99)] * 4, *[Category(tuple("abcdefgh"))] * 3]),
    "gpt": Space(Category(tuple(map(str, range(64)))), shape=(256,), sequence=True),
    "nsf": Space([Real()] * 32),
    "vae": Space(Lattice(0, 255), shape=(28, 28)),
}
SIZES: dict[str, dict[str, Any]] = {
    "made": {"hidden": [512, 512, 512], "residual": True},
    "gpt": {"width": 256, "layers": 6, "heads": 4},
    "nsf": {"hidden": [256, 256]},
    "vae": {},
}
BATCH = {"made": 512, "gpt": 32, "nsf": 512, "vae": 128}
CLOSE = 1e-3
UNCHECKED = (
    "log-densities and draws of a GPU against the processor's",
    "bfloat16 and half precision on tensor cores, and the attention kernels that PyTorch chooses there",
    "that copies to the GPU overlap with its work, and that no step waits for it",
    "several GPUs: DDP over NCCL, and FSDP, which genus has not",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--families", default=",".join(SPACES))
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU: the processor stands in for it"
    print(f"genus {genus.__version__}, torch {torch.__version__}; {name}")
    missed = [line for family in options.families.split(",") for line in check(family, options.rows, device)]
    if device.type != "cuda":
        print("Not checked, for want of a GPU:", *UNCHECKED, sep="\n  - ")
    elif torch.cuda.device_count() < 2:
        print(f"Not checked, for want of a second GPU: {UNCHECKED[-1]}.")
    RECORD.keep()
    if missed:
        sys.exit("Missed: " + "; ".join(missed) + ".")


def check(family: str, rows: int, device: torch.device) -> list[str]:
    """Print and record what one family does on both; return what was missed."""
    x = data(SPACES[family], rows)
    here = genus.build(family, SPACES[family], seed=0, **SIZES[family])
    genus.fit(here, x[:2000], max_steps=3, device="cpu", progress=False, seed=0)
    there = copy.deepcopy(here).to(device)
    apart = difference(here, there, x[: BATCH[family]], device)
    alike = torch.equal(there.sample(8, seed=3), there.sample(8, seed=3))
    kept = survives(there, x[:8])
    wait = waits(there, x[: BATCH[family]].to(device))
    step = {what: milliseconds(here, x, family, *how) for what, how in plans(device).items()}
    drawn = rate(lambda n: there.sample(n, seed=1), 2000 if family != "gpt" else 256 if device.type == "cuda" else 8, device)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    figures = ", ".join(f"{what} {value:.1f} ms" for what, value in step.items())
    print(f"{family}: differs by {apart:.1e}; a step: {figures}; waits {wait}; {drawn:,.0f} rows a second", flush=True)
    RECORD.row(
        family=family, differs=apart, waits_a_step=wait, rows_a_second=drawn, peak_GB=peak,
        **{f"{what}_ms": value for what, value in step.items()},
    )  # fmt: skip
    if family == "gpt":
        cached, naive = tokens(there, device)
        print(f"  {cached:,.0f} tokens a second through the cache, {naive:,.0f} as if there were none", flush=True)
        RECORD.row(family="gpt, one text", rows_a_second=cached, without_cache=naive)
    faults = {"log-densities differ": apart > CLOSE, "a seed draws others": not alike, "a file changes it": not kept}
    return [f"{family}: {what}" for what, wrong in (faults | {"steps wait": wait > 0}).items() if wrong]


def data(space: Space, rows: int) -> Tensor:
    """Rows that are easy to make, in data units."""
    generator = torch.Generator().manual_seed(0)
    kinds = space.kinds[:1] if len(set(space.kinds)) == 1 else space.kinds
    columns = []
    for kind in kinds:
        size = (rows, *space.shape) if len(kinds) == 1 else (rows,)
        number = torch.randn(size, generator=generator)
        columns.append(number if isinstance(kind, Real) else (number.sigmoid() * top(kind)).round())
    return columns[0] if len(kinds) == 1 else torch.stack(columns, 1)


def top(kind: Any) -> int:
    """The greatest value of a category or a lattice from 0."""
    return len(kind.levels) - 1 if isinstance(kind, Category) else kind.size - 1


@torch.no_grad()
def difference(here: Any, there: Any, x: Tensor, device: torch.device) -> float:
    """The greatest relative difference of log-densities, or of a row's bound as far as noise is the processor's on both."""
    if isinstance(here, TractableDensity):
        one, other = here.log_prob(x), there.log_prob(x.to(device)).cpu()
    else:  # bounds have noise of their own on a GPU, so means of many are compared, by their error
        one, other = (torch.stack([m.elbo(x.to(m.device), seed=s).cpu() for s in range(32)]) for m in (here, there))
        error = (one.std(0) / 32**0.5).mean() / one.mean().abs()
        return max(0.0, float((one.mean() - other.mean()).abs() / one.mean().abs() - 4 * error / len(x) ** 0.5))
    return float(((one - other).abs() / one.abs().clamp(min=1)).max())


def survives(model: Any, x: Tensor) -> bool:
    """Whether a model that is saved on a device is the same when it is loaded, which is on the processor."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        genus.save(model, Path(folder) / "model.genus")
        loaded = genus.load(Path(folder) / "model.genus")
        pairs = zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
        return all(torch.equal(a.cpu(), b.cpu()) for a, b in pairs)


def waits(model: Any, x: Tensor) -> float:
    """How often a step waits for the device: by the operations, and on a GPU by its synchronisations, the greater number."""
    model.train()
    found = 0.0
    for loss in model.losses():
        parameters = [p for p in loss.parameters if p.requires_grad]

        def step(loss: Any = loss, parameters: list[Any] = parameters) -> None:
            with isolated(0):
                torch.autograd.grad(loss.value(x, None), parameters, allow_unused=True)

        step()
        with Waits() as seen:
            step()
        found += max(seen.count, synchronisations(step) if x.is_cuda else 0)
    model.eval()
    return found


def synchronisations(step: Callable[[], None]) -> float:
    """How often the processor waits for a GPU in one call of a function, the wait at the end of the profile left out."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
    return sum(event.count for event in found.key_averages() if event.key == "cudaStreamSynchronize")


def plans(device: torch.device) -> dict[str, tuple[str, str]]:
    """What is timed: name -> device and precision."""
    return {"single": (str(device), "32-true"), "bfloat16": (str(device), "bf16-mixed"), "processor": ("cpu", "32-true")}


def milliseconds(model: Any, x: Tensor, family: str, device: str, precision: str) -> float:
    """A step of `fit`: the difference of two trainings, of which one is longer by so many steps."""

    def train(steps: int) -> float:
        begin = time.perf_counter()
        genus.fit(
            copy.deepcopy(model), x, max_steps=steps, batch_size=BATCH[family], device=device, precision=precision,
            validation=None, progress=False, seed=0,
        )  # fmt: skip
        return time.perf_counter() - begin

    steps = 50 if device.startswith("cuda") else 4
    train(2)
    return 1e3 * (train(steps + 2) - train(2)) / steps


def rate(draw: Callable[[int], Tensor], count: int, device: torch.device) -> float:
    """Rows drawn a second."""
    draw(min(count, 16))
    begin = time.perf_counter()
    draw(count)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return count / (time.perf_counter() - begin)


@torch.no_grad()
def tokens(model: Any, device: torch.device) -> tuple[float, float]:
    """Tokens of one text a second: through the cache, and with a pass over all that stands before each."""
    length = model.space.dim
    cached = rate(lambda n: model.sample(n, seed=1), 1, device) * length
    prefix = torch.zeros(1, length // 2, device=device)
    begin = time.perf_counter()
    for _ in range(5):
        model.next_symbol_probabilities(prefix)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return cached, 5 / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
