"""Sampling a second of sound, 16,000 samples of 8-bit mu-law: through the dilation queues, and as if there were none.

    python benchmarks/wavenet.py [--train SECONDS]

Without queues every sample costs a pass over all that the net sees, 1,024 samples. This is timed over some passes and scaled
up, since the whole second would take minutes; with queues the whole second is drawn. Each way has one thread or all of them,
whichever suits it. A second table shows how the time grows with the number of layers. Ends with an error where the two ways do
not give the same distribution, or the ratio is below 50.

With --train, instead, what is learned of plucked strings in so many seconds, beside a Markov chain: nats a sample of clips held
out. It ends with an error where the chain is better.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from records import Record
from timing import best

import genus
from genus.ladder import map_batches
from genus.random import isolated

RECORD = Record(__doc__)

SECOND, PASSES, SHORT = 16_000, 40, 4_000
SOUND = genus.Space(genus.Lattice(0, 255), shape=(SECOND,), sequence=True)


def wavenet(layers: int, stacks: int = 1) -> genus.WaveNet:
    """Of the default width, away from its first weights, which know nothing."""
    with isolated(0):
        model = genus.WaveNet(SOUND, layers=layers, stacks=stacks).eval()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model


def cached(model: genus.WaveNet, length: int) -> float:
    """Seconds."""
    begin = time.perf_counter()
    model.sample(1, seed=0, length=length)
    return time.perf_counter() - begin


@torch.no_grad()
def naive(model: genus.WaveNet, x: torch.Tensor) -> float:
    """Seconds of a pass that draws one sample more after x (1, T), the median of some."""
    field, times = sum(model.net.stack.dilations) + 1, []
    for _ in range(PASSES):
        begin = time.perf_counter()
        h = model.net.parallel(model.tokens(x[:, -field:]), None)
        value = model.outputs.at(0, h[:, -1]).sample()
        x = torch.cat([x, value], dim=1)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@torch.no_grad()
def check(model: genus.WaveNet) -> None:
    """The same distribution after 1,500 samples, by queues and by one pass over what the net sees."""
    x = model.sample(1, seed=0, length=1_500)
    steps = model._steps(1, None, None)
    distribution = next(steps)
    for i in range(x.shape[1]):
        distribution = steps.send(x[:, i : i + 1])
    h = model.net.parallel(model.tokens(x[:, -sum(model.net.stack.dilations) - 1 :]), None)
    away = (model.outputs.at(0, h[:, -1]).log_cells - distribution.log_cells).abs().max().item()
    if away > 1e-9:
        sys.exit(f"the two ways differ by {away:.1e} nats")
    print(f"both ways give the same distribution, at most {away:.0e} nats apart in double precision")


def train(seconds: float) -> None:
    data = genus.read("strings")
    known, held = data.split(test=0.2, seed=0)
    samples, found = held.x.numel(), {}
    print(f"{len(known)} clips of {data.space.dim:,} samples to learn from, {len(held)} held out, {data.space.kinds[0]!r}")
    for name, hyper in (("markov", {"order": 3}), ("wavenet", genus.WaveNet.default_hyperparameters(data.space, len(known)))):
        with isolated(0):
            model = genus.build(name, data.space, **hyper)
        history = genus.fit(model, known, max_seconds=seconds, seed=0)
        with torch.no_grad():
            found[name] = -map_batches(model.log_prob, held.x.float()).double().sum().item() / samples
        print(f"  {name:8} {hyper}: {found[name]:.3f} nats a sample, {history.steps} steps, {history.seconds:.0f} s")
    if found["wavenet"] > found["markov"]:
        sys.exit("the Markov chain is better")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=float, metavar="SECONDS", help="compare what is learned with a Markov chain instead")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if arguments.train:
        train(arguments.train)
        return
    check(wavenet(10).double())
    model = wavenet(10)
    cached(model, 500)
    heard = model.sample(1, seed=1, length=1_200)
    seconds = best(lambda: cached(model, SECOND))
    without = best(lambda: naive(model, heard)) * SECOND
    print(f"10 dilations, width {model.net.width}, {model.parameter_count:,} parameters, {SECOND:,} samples, batch 1")
    print(f"  with queues      {seconds:8.2f} s  {1e6 * seconds / SECOND:8.0f} us a sample")
    print(f"  without, scaled  {without:8.2f} s  {1e6 * without / SECOND:8.0f} us a sample, median of {PASSES} passes")
    print(f"  ratio            {without / seconds:8.1f}")
    RECORD.row(what="one second of 10 layers", with_queues_s=seconds, by_whole_passes_s=without, ratio=without / seconds)
    print(f"layers and time, {SHORT:,} samples")
    for layers, stacks in ((5, 1), (10, 1), (10, 2)):
        deeper = wavenet(layers, stacks)
        taken = best(lambda: min(cached(deeper, SHORT) for _ in range(2)))  # noqa: B023
        print(f"  {layers * stacks:2} layers  {taken:6.2f} s  {1e6 * taken / SHORT:6.0f} us a sample")
        RECORD.row(what=f"{layers * stacks} layers", µs_a_sample=1e6 * taken / SHORT)
    RECORD.keep()
    if without < 50 * seconds:
        sys.exit("sampling through queues is less than 50 times as fast")


if __name__ == "__main__":
    main()
