"""Speed of masked autoregressive flows: genus beside zuko and nflows.

    python benchmarks/flows.py [--dims 6,43,63] [--repetitions 9] [--peer FOLDER] [--compile]

5 affine transforms, masked nets of (256, 256), random weights; each library in a process of its own, in turns of 3, medians,
with the default threads. A training step has 512 rows: loss, gradients, Adam, which is fused for genus, as `genus.fit` has it,
and torch's default for the peers. Densities and samples are of 4,096 rows. Beside the times stand the numbers that a step keeps
for its gradients. Peers are looked for in FOLDER, made for instance by `pip install --target FOLDER --no-deps zuko nflows`, or
else in the environment; without them genus stands alone. It exits with an error where genus is slower than it should be: see
`EXPECTED`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import torch
from records import Record
from timing import Apart
from torch import Tensor, nn

import genus
from genus import IAF, MAF, Real, Space

RECORD = Record(__doc__)

FAMILIES = {"maf": MAF, "iaf": IAF}
HIDDEN, TRANSFORMS, BATCH, ROWS = (256, 256), 5, 512, 4096
CALLS = 3  # in a row, of one library, in its turn
EXPECTED = {"step": 1.5, "log_prob": 1.5}  # of the peer's time
SAMPLING = {6: 4.0, 63: 40.0}  # of zuko's, by dimension
OWN = 2.5  # times its density, at 63


class Side:
    """One library's flow, asked the same questions."""

    def __init__(self, name: str, dim: int, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self.batch, self.rows = torch.randn(BATCH, dim), torch.randn(ROWS, dim)
        self.module: nn.Module
        self.log_prob: Callable[[Tensor], Tensor]
        self.sample: Callable[[int], Tensor]
        if name == "zuko":
            import zuko

            flow = zuko.flows.MAF(dim, transforms=TRANSFORMS, hidden_features=HIDDEN)
            self.module, self.log_prob, self.sample = flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,))
        elif name == "nflows":
            from nflows.flows import MaskedAutoregressiveFlow

            maf = MaskedAutoregressiveFlow(dim, HIDDEN[0], TRANSFORMS, len(HIDDEN), use_residual_blocks=False)
            self.module, self.log_prob, self.sample = maf, maf.log_prob, maf.sample
        else:
            model = FAMILIES[name](Space(Real(), shape=(dim,)), transforms=TRANSFORMS, hidden=HIDDEN)
            with torch.no_grad():
                model._log_prob(torch.zeros(1, dim), None)  # masks and tables are made once, as before a training
            log_prob = torch.compile(model._log_prob) if compiled else model._log_prob  # without the checks that users get
            self.module, self.log_prob, self.sample = model, lambda x: log_prob(x, None), lambda n: model.sample(n, seed=0)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-4, fused=name in FAMILIES)

    def step(self) -> None:
        self.module.train()
        loss = -self.log_prob(self.batch).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def density(self) -> None:
        self.module.eval()
        with torch.no_grad():
            self.log_prob(self.rows)

    def draw(self) -> None:
        self.module.eval()
        with torch.no_grad():
            self.sample(ROWS)

    def kept(self) -> int:
        """Bytes that a training step keeps for its gradients, weights left out."""
        own = {p.untyped_storage().data_ptr() for p in self.module.parameters()}
        found: dict[int, int] = {}

        def note(t: Tensor) -> Tensor:
            found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        self.module.train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            loss = self.log_prob(self.batch).mean()
        del loss
        return sum(size for where, size in found.items() if where not in own)


def compare(dim: int, repetitions: int, compiled: bool, peers: list[str]) -> list[str]:
    sides = {name: Apart(Side, name, dim, compiled and name == "maf") for name in ["maf", *peers, "iaf"]}

    def times(method: str, names: list[str], turns: int) -> dict[str, float]:
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(turns):
            for name in names:
                taken[name] += sides[name].times(method, CALLS)
        return {name: statistics.median(each) for name, each in taken.items()}

    for method in ("step", "density"):
        times(method, list(sides), 1)  # everything is compiled, and memory is at hand
    step = times("step", ["maf", *peers], repetitions)
    density = times("density", list(sides), repetitions)
    draw = times("draw", list(sides), max(1, repetitions // 4))
    print(f"\nD = {dim}{'':<10}{'step (512)':>12}{'log_prob (4096)':>17}{'sample (4096)':>15}{'kept by a step':>16}")
    for name, side in sides.items():
        took = f"{step[name]:>9.1f} ms" if name in step else f"{'':>12}"
        kept = f"{side('kept') / 1e6:>13.1f} MB" if name in step else ""
        print(f"  {name:<14}{took:>12}{density[name]:>14.1f} ms{draw[name]:>12.1f} ms{kept}")
        steps = {"step_ms": step[name]} if name in step else {}
        RECORD.row(columns=dim, method=name, **steps, density_ms=density[name], samples_ms=draw[name])
        side.stop()
    failed = []
    for name in peers:
        ratios = {what: t[name] / t["maf"] for what, t in (("step", step), ("log_prob", density), ("sample", draw))}
        print(f"  {name} / genus: " + ", ".join(f"{what} {r:.2f}" for what, r in ratios.items()))
        if name == "zuko":
            failed += [
                f"D = {dim}: {what} is {ratios[what]:.2f} times as fast as zuko's, not {e}"
                for what, e in EXPECTED.items()
                if ratios[what] < e
            ]
            if dim in SAMPLING and ratios["sample"] < SAMPLING[dim]:
                failed.append(f"D = {dim}: sampling is {ratios['sample']:.1f} times as fast as zuko's, not {SAMPLING[dim]:g}")
    own, inverse = draw["maf"] / density["maf"], density["iaf"] / density["maf"]
    print(f"  sampling / density of maf {own:.2f}; density of iaf / density of maf {inverse:.2f}")
    if dim >= 43 and max(own, inverse) > OWN:
        failed.append(f"D = {dim}: the slow direction takes {max(own, inverse):.2f} times the fast one, more than {OWN}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="6,43,63")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--peer", help="a folder in which zuko and nflows are installed")
    parser.add_argument("--compile", action="store_true", help="genus's training step and density by torch.compile")
    arguments = parser.parse_args()
    if arguments.peer:
        sys.path.append(arguments.peer)
    peers = [name for name in ("zuko", "nflows") if find_spec(name)]
    versions = [f"{name} {version(name)}" for name in peers]
    peer = ", ".join(versions) or "no peer"
    print(f"genus {genus.__version__}, {peer}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    dims = map(int, arguments.dims.split(","))
    failed = [f for dim in dims for f in compare(dim, arguments.repetitions, arguments.compile, peers)]
    RECORD.keep()
    if failed:
        raise SystemExit("; ".join(failed) + ".")


if __name__ == "__main__":
    main()
