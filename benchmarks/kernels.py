"""Every kernel of `genus/nets/kernels/` beside its reference, both in this process, in turns; medians in milliseconds.

    OMP_NUM_THREADS=1 python benchmarks/kernels.py

The two of a line are first shown to compute the same. A kernel is kept where it is at least 1.2 times as fast: the benchmark
ends with an error where one of them is slower than that on every line it has.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import torch
from records import Record
from timing import medians
from torch import Tensor

from genus.nets.attention import Transformer
from genus.nets.masked import MaskedMLP
from genus.random import isolated

RECORD = Record(__doc__)

LEAST, REPETITIONS = 1.2, 7
Pair = tuple[str, str, Callable[[], Tensor], Callable[[], Tensor]]  # kernel, sizes, by the kernel, by the reference


def masked(columns: int, numbers: int, hidden: tuple[int, ...]) -> MaskedMLP:
    """Return a masked net of columns of one number in and several out, away from its first weights, which give 0."""
    with isolated(0):
        net = MaskedMLP([1] * columns, hidden, [numbers] * columns).eval()
        for parameter in net.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return net


def by_whole_passes(net: Callable[[Tensor], Tensor], rows: int, columns: int) -> Tensor:
    """Return x (rows, columns), each column the tanh of its own output, by a whole pass for every column."""
    x = torch.zeros(rows, columns)
    for i in range(columns):
        x[:, i] = net(x)[:, i].tanh()
    return x


def incremental(columns: int, rows: int) -> Pair:
    """Draw columns one after another: every hidden unit computed once, against a whole pass for every column."""
    net = masked(columns, 1, (256, 256))

    def kernel() -> Tensor:
        (out, state), values = net.start(rows), []
        for i in range(columns):
            values.append(out.tanh())
            if i < columns - 1:
                out, state = net.step(state, i, values[-1])
        return torch.cat(values, dim=1)

    return "incremental", f"{columns} columns, {rows} rows", kernel, lambda: by_whole_passes(net, rows, columns)


def blocks(columns: int, rows: int, hidden: tuple[int, ...]) -> Pair:
    """Compute all outputs without gradients: by blocks of the weights, against products with all that is masked."""
    net, x = masked(columns, 2, hidden), torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))

    def reference() -> Tensor:
        with mock.patch.object(net, "_can_use_blocks", return_value=False):
            return net(x)

    return "blocks", f"{columns} inputs, {rows} rows, hidden {hidden}", lambda: net(x), reference


def decoding(width: int, layers: int, batch: int, length: int) -> Pair:
    """Decode positions one after another: from cached keys and values, against a whole pass for every position."""
    with isolated(0):
        net = Transformer(width, layers, width // 32, window=length).eval()
        for parameter in net.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)

    tokens = torch.randn(batch, length, width, generator=torch.Generator().manual_seed(0))

    def kernel() -> Tensor:
        (out, state), outputs = net.start(batch), []
        for i in range(length):
            outputs.append(out)
            if i < length - 1:
                out, state = net.step(state, i, tokens[:, i])
        return torch.stack(outputs, dim=1)

    def reference() -> Tensor:
        return torch.stack([net(tokens[:, : i + 1])[:, -1] for i in range(length)], dim=1)

    return "decoding", f"{layers} layers {width} wide, {batch} x {length} positions", kernel, reference


@torch.no_grad()
def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {REPETITIONS}")
    print(f"{'kernel':<12} {'sizes':<45} {'kernel':>10} {'reference':>10} {'ratio':>6}")
    ratios: dict[str, list[float]] = {}
    for name, sizes, kernel, reference in (
        incremental(6, 4096),
        incremental(43, 4096),
        incremental(784, 16),
        blocks(6, 4096, (256, 256)),
        blocks(43, 4096, (256, 256)),
        blocks(63, 4096, (256, 256)),
        blocks(784, 1024, (1024, 1024)),
        decoding(128, 4, 1, 128),
        decoding(128, 4, 16, 128),
    ):
        torch.testing.assert_close(kernel(), reference(), rtol=1e-3, atol=1e-4)
        taken = medians({"kernel": kernel, "reference": reference}, REPETITIONS)
        ratios.setdefault(name, []).append(taken["reference"] / taken["kernel"])
        print(f"{name:<12} {sizes:<45} {taken['kernel']:>7.1f} ms {taken['reference']:>7.1f} ms {ratios[name][-1]:>6.2f}")
        times = {"kernel_ms": taken["kernel"], "reference_ms": taken["reference"]}
        RECORD.row(kernel=name, sizes=sizes, **times, ratio=ratios[name][-1])
    RECORD.keep()
    if slow := [name for name, found in ratios.items() if max(found) < LEAST]:
        raise SystemExit(f"less than {LEAST} times as fast as its reference: {', '.join(slow)}; delete it")


if __name__ == "__main__":
    main()
