"""Densities that are known: the chain rule, its memories, and flows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from genus.distillation import distill
from genus.evaluation.svg import INK, colour
from genus.models import GPT, IAF, MADE, MAF, NSF, RNN, MarkovChain, NaiveBayes
from genus.nets.recurrent import RecurrentMemory
from genus.space import Category, Real, Space
from genus.tour.pages import Number, Picture, page, picture
from genus.training import fit
from genus.transforms import MaskedAutoregressive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

CHAPTER = "Tractable densities"


Module = TypeVar("Module", bound=nn.Module)


def randomise(module: Module, size: float, seed: int) -> Module:
    """Give a module random weights, large enough for every coordinate to depend visibly on all before it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module


@page(
    CHAPTER,
    "Naive Bayes",
    "p(x, y) = p(y) ∏<sub>i</sub> p(x<sub>i</sub> | y), &nbsp; p(y | x) = p(x, y) / Σ<sub>y′</sub> p(x, y′)",
)
def naive_bayes(seed: int) -> Iterator[Number | Picture]:
    """Given the class, columns are taken to be independent, so learning is counting. Bayes’ rule turns the model of the
    data round into a classifier. Here the data truly are so, and the posterior of every one of the 8 possible rows is
    known."""
    prior, given = torch.tensor([0.7, 0.3]), torch.tensor([[0.9, 0.2, 0.6], [0.3, 0.7, 0.1]])
    y = torch.multinomial(prior, 40_000, replacement=True)
    x = torch.bernoulli(given[y])
    model = NaiveBayes(Space([Category((0, 1))] * 3), Space([Category(("a", "b"))]))
    model.observe(x, y[:, None].float())
    model.conclude()
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    joint = prior * torch.where(rows[:, None] == 1, given, 1 - given).prod(2)
    true = joint[:, 1] / joint.sum(1)
    found = model.class_log_probs(rows)[:, 1].exp()
    by_hand = torch.stack([model.log_prob(rows, torch.full((1, 1), float(c))) for c in (0, 1)], 1).exp()
    by_hand = by_hand * torch.bincount(y) / len(y)

    def draw(axes: Axes) -> None:
        at = torch.arange(8)
        axes.bar(at, true, 0.7, color=INK, alpha=0.2, linewidth=0, label="true")
        axes.plot(at, found, "o", color=colour(0), markersize=5, label="counted")
        axes.set_xticks(at, ["".join(str(int(v)) for v in row) for row in rows.tolist()])
        axes.set(ylabel="p(y = b | x)", ylim=(0, 1))
        axes.legend()

    yield picture("The class given each row", draw)
    yield Number("largest error of p(y | x) over the 8 rows", (found - true).abs().max().item(), 0.0, 0.03)
    off = (by_hand[:, 1] / by_hand.sum(1) - found).abs().max().item()
    yield Number("difference to Bayes’ rule by hand", off, 0.0, 1e-6)
    mass = sum(model.log_prob(rows, torch.full((1, 1), float(c))).exp().sum().item() for c in (0, 1)) / 2
    yield Number("total mass of p(x | y)", mass, 1.0, 1e-6)


@page(
    CHAPTER,
    "The chain rule",
    "p(x) = p(x<sub>1</sub>) p(x<sub>2</sub> | x<sub>1</sub>) … p(x<sub>n</sub> | x<sub>1</sub> … x<sub>n−1</sub>)",
)
def chain_rule(seed: int) -> Iterator[Number | Picture]:
    """Any distribution is a product of conditionals, one symbol at a time. If every conditional sums to 1, so does the
    product over all that can happen, whatever the network and its weights. Here a transformer with random weights, over
    all 81 words of four letters."""
    space = Space([Category(("a", "b", "c"))] * 4)
    model = randomise(GPT(space, width=16, layers=1, heads=2), 0.5, seed)
    words = torch.cartesian_prod(*[torch.arange(3.0)] * 4)
    with torch.no_grad():
        log_prob, each = model.log_prob(words), model.log_conditionals(words)

    def draw(axes: Axes) -> None:
        axes.bar(range(len(words)), log_prob.exp().sort(descending=True).values, 1.0, color=colour(0), linewidth=0)
        axes.set(xlabel="the 81 words, likeliest first", ylabel="p(x)")

    yield picture("Mass of every word", draw)
    yield Number("mass of all words", log_prob.exp().sum().item(), 1.0, 1e-5)
    yield Number("log p(x) less the sum of its conditionals", (log_prob - each.sum(1)).abs().max().item(), 0.0, 1e-5)
    first = torch.stack([each[words[:, 0] == v][0, 0] for v in range(3)]).exp().sum().item()
    yield Number("mass of the first letter", first, 1.0, 1e-6)


@page(
    CHAPTER, "A Markov chain", "p(x) = p(x<sub>1</sub>) p(x<sub>2</sub> | x<sub>1</sub>) … p(x<sub>n</sub> | x<sub>n−1</sub>)"
)
def markov_chain(seed: int) -> Iterator[Number | Picture]:
    """Forget everything but the last symbol, and the conditionals can be counted. From 400 sequences of a known chain its
    table of transitions is found again."""
    true = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.3, 0.6], [0.5, 0.25, 0.25]])
    x = torch.zeros(400, 100, dtype=torch.long)
    for t in range(1, 100):
        x[:, t] = torch.multinomial(true[x[:, t - 1]], 1)[:, 0]
    model = MarkovChain(Space(Category(("a", "b", "c")), shape=(100,), sequence=True), order=1)
    model.observe(x.float())
    model.conclude()
    pairs = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    found = model.log_conditionals(pairs)[:, 1].exp().view(3, 3).to(true)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.5)
        for i in range(3):
            axes.plot(true[i], found[i], "osD"[i], color=colour(i), label=f"after {'abc'[i]}")
        axes.set(xlabel="true", ylabel="counted")
        axes.legend()

    yield picture("The nine transitions", draw)
    yield Number("largest error of a transition", (found - true).abs().max().item(), 0.0, 0.02)
    yield Number("mass of what may follow, each symbol’s", found.sum(1).mean().item(), 1.0, 1e-6)
    a, b = (torch.tensor([[float(v) for v in row]]) for row in ([0, 1, 2], [2, 1, 2]))
    off = (model.log_conditionals(a)[0, 2] - model.log_conditionals(b)[0, 2]).abs().item()
    yield Number("change of p(x₃ | x₂, x₁) when x₁ changes", off, 0.0, 1e-9)


@page(
    CHAPTER,
    "A bag as memory",
    "z̄ = <sup>1</sup>∕<sub>N</sub> Σ<sub>i</sub> x<sub>i</sub>, &nbsp; p(x<sub>t</sub> | z̄<sub>t−1</sub>)",
)
def bag_of_the_past(seed: int) -> Iterator[Number | Picture]:
    """The simplest memory of a long past is the mean of what was seen. It keeps what there was and forgets in which
    order."""
    space = Space(Category(("a", "b", "c")), shape=(4,), sequence=True)
    model = randomise(RNN(space, cell="mean", width=8), 0.7, seed)
    with torch.no_grad():
        a, b, c = (
            model.log_conditionals(torch.tensor([t]))[0, 3].item() for t in ([0.0, 1, 2, 1], [2.0, 0, 1, 1], [2.0, 2, 1, 1])
        )
    yield Number("change of log p(b | a b c) when the past is c a b", abs(a - b), 0.0, 1e-5)
    yield Number("change of log p(b | a b c) when the past is c c b", abs(a - c), 1e-3, 0.0, "≥")
    values = torch.randn(50)
    mean = torch.tensor(0.0)
    for n, value in enumerate(values, 1):
        mean = mean + (value - mean) / n
    yield Number("running mean less the mean of all", (mean - values.mean()).abs().item(), 0.0, 1e-6)


@page(
    CHAPTER,
    "A recurrent network",
    "p(x<sub>t</sub> | x<sub>1</sub> … x<sub>t−1</sub>) = p(x<sub>t</sub> | x<sub>t−1</sub>, h<sub>t−1</sub>)",
    "h<sub>t−1</sub> = f(x<sub>t−1</sub>, h<sub>t−2</sub>)",
)
def recurrence(seed: int) -> Iterator[Number | Picture]:
    """A network folds the past into one vector h, a step at a time. Training shows it the whole sequence in one call,
    sampling one step at a time; both must be the same function, or what is sampled is not what was trained."""
    tokens = torch.randn(5, 12, 16, dtype=torch.float64)
    for cell in ("rnn", "gru", "lstm"):
        net = randomise(RecurrentMemory(16, 1, cell, 0.0, 0).double(), 0.3, seed)
        with torch.no_grad():
            together = net(tokens)
            h, state = net.start(5, None)
            steps = [h]
            for t in range(11):
                h, state = net.step(state, t, tokens[:, t])
                steps.append(h)
        off = (together - torch.stack(steps, 1)).abs().max().item()
        yield Number(f"{cell}: one pass less step by step", off, 0.0, 1e-9)


@page(CHAPTER, "Causal masking", "∂ log p(x<sub>i</sub> | x<sub>&lt;i</sub>) / ∂x<sub>j</sub> = 0 &nbsp; for j &gt; i")
def causal_masking(seed: int) -> Iterator[Number | Picture]:
    """One pass gives every conditional at once, if masks keep each from what comes after it. A leak of a single weight
    would let the model see what it should predict; gradients show that there is none, and that nothing of the past is
    hidden."""
    dim = 8
    model = randomise(MADE(Space([Real()] * dim), hidden=(32, 32)), 0.5, seed)
    x = torch.randn(16, dim, requires_grad=True)
    each = model.log_conditionals(x)
    slopes = torch.stack([torch.autograd.grad(each[:, i].sum(), x, retain_graph=True)[0].abs().mean(0) for i in range(dim)])

    def draw(axes: Axes) -> None:
        axes.imshow((slopes + 1e-6).log10().clamp(min=-4), cmap="Blues", alpha=0.9, aspect="equal")
        axes.plot([-0.5, dim - 0.5], [-0.5, dim - 0.5], color=INK, linewidth=0.8)
        axes.set(xlabel="coordinate j", ylabel="conditional i")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(dim), labels=[str(i + 1) for i in range(dim)])

    yield picture("What each conditional depends on", draw, 330, 290)
    yield Number("largest slope above the diagonal: a leak", slopes.triu(1).max().item(), 0.0, 0.0)
    seen = int((slopes.tril(-1) > 0).sum())
    yield Number("entries below the diagonal that matter", seen, dim * (dim - 1) // 2, 0)


@page(
    CHAPTER,
    "A normalising flow",
    "log p(x) = log p<sub>0</sub>(f(x)) + log |det ∂f/∂x|, &nbsp; f = f<sub>n</sub> ∘ … ∘ f<sub>1</sub>",
)
def flow(seed: int) -> Iterator[Number | Picture]:
    """Invertible maps bend a normal distribution into that of the data, and their log-determinants keep account of how
    much they stretch. So the density is exact, and its integral is 1 however the maps are bent."""
    angle = math.pi * torch.rand(3000)
    upper = torch.arange(3000) % 2 == 0
    x = torch.stack([torch.where(upper, angle.cos(), 1 - angle.cos()), torch.where(upper, angle.sin(), 0.4 - angle.sin())], 1)
    x = (x + 0.08 * torch.randn(3000, 2) - torch.tensor([0.5, 0.2])) * 1.5
    model = NSF(Space([Real(), Real()]), transforms=2, hidden=(48, 48))
    fit(model, x, max_steps=350, learning_rate=5e-3, validation=None, batch_size=256, seed=seed, progress=False)
    side, n = 4.0, 200
    axis = torch.linspace(-side, side, n)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = model.log_prob(grid).exp().view(n, n)
    point = x[:1].double()
    exact = model.double()
    jacobian = torch.autograd.functional.jacobian(lambda one: exact.transform(one)[0][0], point)[:, 0]
    log_det = exact.transform(point)[1].item()
    back = exact.transform.inverse(exact.transform(x[:200].double())[0])[0]

    def draw(axes: Axes) -> None:
        axes.imshow(density.T.sqrt(), extent=(-side, side, -side, side), origin="lower", cmap="Blues", alpha=0.9)
        axes.plot(*x[:150].T, ".", color=colour(1), markersize=2.5)
        axes.set(xlim=(-2.8, 2.8), ylim=(-2.2, 2.2))

    yield picture("The density and some of the data", draw, 330, 270)
    yield Number("integral of the density over the plane", density.sum().item() * (axis[1] - axis[0]).item() ** 2, 1.0, 0.01)
    yield Number("log-determinant less that by autograd", log_det - torch.linalg.slogdet(jacobian)[1].item(), 0.0, 1e-6)
    yield Number("largest error of the inverse", (back - x[:200].double()).abs().max().item(), 0.0, 1e-6)


@page(
    CHAPTER,
    "Autoregressive and inverse autoregressive flows",
    "z<sub>i</sub> = (x<sub>i</sub> − μ(x<sub>&lt;i</sub>)) / σ(x<sub>&lt;i</sub>): density in one pass, sampling in D steps",
    "x<sub>i</sub> = μ(z<sub>&lt;i</sub>) + σ(z<sub>&lt;i</sub>) z<sub>i</sub>: sampling in one pass, density in D steps",
)
def one_pass_or_many(seed: int) -> Iterator[Number | Picture]:
    """The same masked network, read in either direction. To go against the direction each coordinate needs those before
    it: calls of the network make one more coordinate right each, so D of them are needed, and no fewer. (The library
    computes every hidden unit once as it goes, so the D steps cost little more than one pass.)"""
    dim = 6
    masked = randomise(MaskedAutoregressive(dim, (32,)).double(), 0.4, seed)
    x = torch.randn(64, dim, dtype=torch.float64)
    off: list[Tensor] = []
    with torch.no_grad():
        z = masked(x)[0]
        now = torch.zeros_like(x)
        for _ in range(dim):
            now = masked.map.inverse(z, masked.net(now).unflatten(1, (-1, masked.map.size)))[0]
            off.append((now - x).abs().max(0).values)
        stepwise = (masked.inverse(z)[0] - x).abs().max().item()
    errors = torch.stack(off)
    needed = [int((errors[:, i] > 1e-9).sum()) + 1 for i in range(dim)]

    def draw(axes: Axes) -> None:
        for i in range(dim):
            axes.semilogy(
                range(1, dim + 1), errors[:, i].clamp(min=1e-17), "o-", markersize=3, color=colour(i), label=f"x{i + 1}"
            )
        axes.set(xlabel="calls of the network", ylabel="error", ylim=(1e-18, 1e6))
        axes.legend(ncols=2, loc="upper right")

    yield picture("Undoing one pass", draw)
    for i in (0, 1, dim - 1):
        yield Number(f"calls until coordinate {i + 1} is right", needed[i], i + 1, 0)
    yield Number("error of the library’s inverse", stepwise, 0.0, 1e-9)


@page(CHAPTER, "Teacher and student", "KL(student ‖ teacher) = E<sub>x∼student</sub> [log q(x) − log p(x)] → min")
def teacher_and_student(seed: int) -> Iterator[Number | Picture]:
    """A teacher that knows densities in one pass and samples slowly shows a student that samples in one pass what it
    knows. The student draws, and both say how likely they think the draw: no data are needed, and the teacher does not
    change."""
    space = Space([Real()] * 3)
    teacher = MAF(space, transforms=2, hidden=(16,))
    randomise(teacher, 0.3, 1)
    before = [parameter.clone() for parameter in teacher.parameters()]
    student = IAF(space, transforms=3, hidden=(32, 32))
    at_first = distill(student, teacher, max_steps=1, learning_rate=1e-6, seed=seed, progress=False).kl
    found = distill(student, teacher, max_steps=500, learning_rate=5e-3, seed=seed, progress=False)
    yield Number("KL(student ‖ teacher) before, nats", at_first.value, 0.1, 0.0, "≥")
    yield Number("KL(student ‖ teacher) after, nats", found.kl.value, 0.0, 0.05)
    back = found.teacher_to_student
    yield Number("KL(teacher ‖ student) after, nats", back.value if back is not None else math.nan, 0.0, 0.05)
    moved = max((a - b).abs().max().item() for a, b in zip(before, teacher.parameters(), strict=True))
    yield Number("change of the teacher’s weights", moved, 0.0, 0.0)
