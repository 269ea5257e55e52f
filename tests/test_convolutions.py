"""WaveNet and PixelCNN: what a position sees and what it does not, and the memories of their samplers."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw, make

import genus
from genus import Category, GenusError, Lattice, PixelCNN, Real, Space, WaveNet
from genus.laws.sequences import net_is_causal
from genus.nets.dilated import DilatedMemory
from genus.nets.pixels import PixelStacks


def random(net: torch.nn.Module) -> torch.nn.Module:
    """Weights that are the same every time, in double precision."""
    generator = torch.Generator().manual_seed(1)
    for parameter in net.double().eval().parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return net


# -- what is seen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "stacks"), [(1, 1), (3, 1), (2, 2), (3, 2)])
def test_a_wavenet_sees_all_of_its_field_and_nothing_else(layers: int, stacks: int) -> None:
    field = stacks * (2**layers - 1) + 1
    seen = net_is_causal(random(DilatedMemory(6, layers, stacks)), 20)
    i, j = torch.arange(20)[:, None], torch.arange(20)
    assert torch.equal(seen, (j < i) & (j >= i - field))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("layers", "reach"), [(1, 1), (2, 1), (1, 3), (1, 2)])
def test_a_pixel_sees_all_that_is_near_above_and_left_of_it_and_nothing_else(channels: int, layers: int, reach: int) -> None:
    """Without a blind spot: a whole rectangle above, and the row to the left; of its own pixel the channels before."""
    height, columns = 4, 6
    seen = net_is_causal(random(PixelStacks((channels, height, columns), 8, layers, reach)), channels * height * columns)
    place = torch.arange(channels * height * columns)
    row, column, channel = place // channels // columns, place // channels % columns, place % channels
    down, right = row[:, None] - row, column[:, None] - column
    above = (down >= 1) & (down <= layers + reach) & (right.abs() <= layers + reach)
    left = (down == 0) & (right >= 1) & (right <= layers + reach)
    inside = (down == 0) & (right == 0) & (channel[:, None] > channel)
    assert torch.equal(seen, above | left | inside)


@pytest.mark.parametrize("net", [DilatedMemory(6, 2, context_dim=3), PixelStacks((2, 2, 3), 6, 2, context_dim=3)])
def test_the_context_is_seen_from_the_first_position_on(net: torch.nn.Module) -> None:
    c = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    out = random(net)(torch.randn(6, 12, 6, dtype=torch.float64), c)
    for i in range(12):
        assert bool((torch.autograd.grad(out[:, i].square().sum(), c, retain_graph=True)[0] != 0).any(0).all()), i


@pytest.mark.parametrize("kind", [Lattice(0, 3), Lattice(0, 500), Real(), Category(("black", "white"))])
def test_the_edge_of_an_image_is_no_grey_level(kind: genus.Lattice | genus.Real | genus.Category) -> None:
    """It is zeros; no token is, nor the difference of an image and the same with a frame of its lowest level."""
    model = make("pixelcnn", Space(kind, shape=(2, 3)))
    assert bool((model.tokens(torch.zeros(1, 6, dtype=torch.float64)) != 0).all())


def test_colour_is_exact() -> None:
    """Two pixels of three channels of two levels: all 64 images have mass 1, and every channel hangs on those before it."""
    space = Space(Lattice(0, 1), shape=(3, 1, 2))
    model = make("pixelcnn", space)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).reshape(-1, 3, 1, 2)
    p = model.log_prob(images).exp().detach()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    assert list(model.order) == [0, 2, 4, 1, 3, 5]
    n = 2_000
    sample = model.sample(n, seed=0)
    found = (sample.flatten(1)[:, None] == images.flatten(1)).all(2).double().mean(0)
    assert bool(((found - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 2 / n).all())
    # A prefix is the top of the image, pixel by pixel: here the first pixel and the red of the second.
    given = (images.flatten(1)[:, [0, 2, 4, 1]] == torch.tensor([1.0, 0.0, 1.0, 1.0])).all(1)
    drawn = model.sample(n, seed=1, prefix=torch.tensor([1.0, 0.0, 1.0, 1.0])).flatten(1)
    found = (drawn[:, None] == images.flatten(1)[given]).all(2).double().mean(0)
    assert torch.allclose(found, p[given] / p[given].sum(), atol=5 * math.sqrt(0.25 / n))


# -- what is remembered ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize(
    "net",
    [
        lambda context_dim: DilatedMemory(5, 3, 2, context_dim=context_dim),
        lambda context_dim: DilatedMemory(5, 3, context_dim=context_dim, frame=3, length=16),
        lambda context_dim: PixelStacks((1, 6, 4), 5, 2, 1, context_dim=context_dim),
        lambda context_dim: PixelStacks((3, 2, 4), 5, 3, 2, context_dim=context_dim),
    ],
)
@torch.no_grad()
def test_steps_are_the_parallel_pass_after_any_prefix_and_in_turns(net, context_dim: int) -> None:
    """Two samplings at once, of other batches: neither knows of the other."""
    net = random(net(context_dim))
    first, second = torch.randn(3, 24, 5).double(), torch.randn(2, 24, 5).double()
    c, d = (torch.randn(n, context_dim).double() if context_dim else None for n in (3, 2))
    there, other = net(first, c), net(second, d)
    for known in (0, 1, 4, 7, 15, 23):
        h, state = net.prefill(first[:, :known], c) if known else net.start(3, c)
        g, beside = net.start(2, d)
        for i in range(known, 24):
            assert torch.allclose(h, there[:, i], atol=1e-9), (known, i)
            assert torch.allclose(g, other[:, i - known], atol=1e-9), (known, i)
            if i < 23:
                h, state = net.step(state, i, first[:, i])
                g, beside = net.step(beside, i - known, second[:, i - known])


def test_frames_tell_a_net_of_one_position_what_comes_when() -> None:
    """Noise that is loud in the first half after "a" and in the second after "b": nothing but the position says when."""
    space, words = Space(Real(), shape=(32,), sequence=True), Space(Category(("a", "b")))
    c = torch.arange(400) % 2
    x = torch.randn(400, 32, generator=torch.Generator().manual_seed(0)) * 0.1
    x[c == 0, :16] *= 10
    x[c == 1, 16:] *= 10
    losses = {}
    for frame in (0, 4):
        model = WaveNet(space, words, width=8, layers=1, components=1, frame=frame)
        genus.fit(model, (x, c[:, None].float()), max_steps=300, seed=0, progress=False)
        losses[frame] = -model.log_prob(x, c[:, None].float()).mean().item() / 32
    assert losses[4] < 0.4 < 0.5 < losses[0]  # the entropy of the two normals is 0.268 nats an element
    with pytest.raises(GenusError, match="frame must be a number of positions"):
        WaveNet(space, frame=-1)


SOUND, WORDS = Space(Real(0.1, 2.0), shape=(30,), sequence=True), Space(Category(("a", "b")))


@torch.no_grad()
def test_steps_with_linear_prediction_are_the_parallel_pass_after_any_prefix() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = random(WaveNet(SOUND, WORDS, width=6, layers=3, components=2, frame=4, taps=5))
        model.initialise(0.1 + 2 * torch.randn(50, 30).cumsum(1), (torch.arange(50.0) % 2)[:, None])
    c = torch.tensor([[0.0], [1.0], [0.0]])
    x = draw(Space(Real(0.1, 2.0), shape=(30,)), 3).double()
    there = model.log_conditionals(x, c)
    assert torch.allclose(model._distributions(x, c).log_prob(x.reshape(-1, 1)).view(3, 30), there)
    for known in (0, 1, 4, 7, 29):
        steps = model._steps(3, c, x[:, :known] if known else None)
        found = next(steps)
        for i in range(known, 30):
            assert torch.allclose(found.log_prob(x[:, i : i + 1])[:, 0], there[:, i], atol=1e-9), (known, i)
            found = steps.send(x[:, i : i + 1])


def test_linear_prediction_finds_the_filter_of_every_frame_and_context() -> None:
    """Two resonators, which "a" has in one order and "b" in the other: at 0.7 and at -0.7 of the last element."""
    generator, c = torch.Generator().manual_seed(0), torch.arange(400) % 2
    x = torch.randn(400, 32, generator=generator)
    for i in range(1, 32):
        x[:, i] += torch.where((c == 0) == (i < 16), 0.7, -0.7) * x[:, i - 1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveNet(Space(Real(), shape=(32,), sequence=True), WORDS, width=4, layers=2, components=1, frame=16, taps=2)
    given = c[:, None].float()
    model.initialise(x, given)
    coefficients = model.prediction.numbers(model._context_features(torch.tensor([[0.0], [1.0]])))[..., 1]
    assert torch.allclose(coefficients, torch.tensor([[0.7, -0.7], [-0.7, 0.7]]), atol=0.15)
    # At first the net adds nothing, and the density is that of normals of deviation 1, 1.419 nats an element.
    assert -float(model.log_prob(x, given).mean().detach()) / 32 == pytest.approx(1.419, abs=0.03)


def test_linear_prediction_is_refused_where_it_cannot_be() -> None:
    for space, frame, taps in ((SOUND, 0, 2), (SOUND, 4, -1), (Space(Lattice(0, 9), shape=(30,), sequence=True), 4, 2)):
        with pytest.raises(GenusError, match="taps are for sequences of real numbers with frames"):
            WaveNet(space, frame=frame, taps=taps)


def test_sound_is_sampled_with_gradients_step_by_step() -> None:
    """What a student learns from: derivatives of the density in x, and of the steps in the tokens."""
    space = Space(Real(1.0, 2.0), shape=(12,), sequence=True)
    model = make("wavenet", space)
    x = draw(Space(Real(1.0, 2.0), shape=(12,)), 3).double().requires_grad_()
    gradient = torch.autograd.grad(model.log_prob(x).sum(), x)[0]
    assert bool((gradient != 0).all())
    h, state = model.net.start(3)
    for i in range(4):
        h, state = model.net.step(state, i, model.tokens.at(i, x[:, i : i + 1]))
    gradient = torch.autograd.grad(h.square().sum(), x)[0]
    assert bool((gradient[:, :4] != 0).all())


# -- families -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["softmax", "mixture"])
def test_both_outputs_of_whole_numbers_have_mass_one(output: str) -> None:
    space = Space(Lattice(0, 255), shape=(3,), sequence=True)
    with torch.random.fork_rng():  # the weights' first values are drawn, and replaced
        model = random(WaveNet(space, width=6, layers=2, components=2, output=output))
    x = torch.tensor([[3.0, 250.0, 0.0]]).repeat(256, 1)
    x[:, 2] = torch.arange(256.0)
    assert float(model.log_conditionals(x.double())[:, 2].exp().sum().detach()) == pytest.approx(1, abs=1e-9)
    assert model.outputs.linear.out_features == (256 if output == "softmax" else 6)


def test_near_levels_start_alike() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        table = WaveNet(Space(Lattice(0, 255), shape=(9,), sequence=True), width=64).tokens.table.weight.detach()
    assert float((table[:-1] - table[1:]).norm(dim=1).max()) < 0.2 * float((table[0] - table[128:]).norm(dim=1).min())
    assert float(table.std()) == pytest.approx(1, abs=0.05)


def test_a_picture_of_stripes_is_learned() -> None:
    """Every row is the first: eight coins decide, whatever the number of pixels."""
    x = (torch.rand(400, 1, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float().expand(-1, 6, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PixelCNN(Space(Lattice(0, 1), shape=(6, 8)), width=8, layers=1, reach=1)
    genus.fit(model, x, max_steps=120, batch_size=32, learning_rate=0.02, validation=None, progress=False)
    assert float(model.log_prob(x).mean().detach()) == pytest.approx(-8 * math.log(2), abs=0.4)


def test_spaces_that_are_refused() -> None:
    assert "images, of shape" in PixelCNN.limits(SPACES["categories"])
    assert "all of one kind" in PixelCNN.limits(Space([Lattice(0, 1), Real()], shape=(1, 2)))
    assert "sequences" in PixelCNN.refusal(SPACES["words"])
    assert "sequences in time" in WaveNet.refusal(SPACES["image"])
    with pytest.raises(GenusError, match="width, layers and stacks must be 1 or more; got 8, 0 and 1"):
        WaveNet(SPACES["windows"], width=8, layers=0)
    with pytest.raises(GenusError, match="width, layers and reach must be 1 or more"):
        PixelCNN(SPACES["image"], reach=0)
    with pytest.raises(GenusError, match="There is no output 'gaussian'; there are softmax and mixture"):
        WaveNet(SPACES["windows"], output="gaussian")


def test_suggestions_follow_the_data() -> None:
    assert WaveNet.default_hyperparameters(SPACES["words"], 100)["layers"] == 3
    long = Space(Lattice(0, 255), shape=(8_000,), sequence=True)
    assert WaveNet.default_hyperparameters(long, 100) == {"layers": 10, "width": 64}
    assert WaveNet(long, **WaveNet.default_hyperparameters(long, 100)).fit_defaults["batch_size"] == 2
    context = CONTEXTS["category"]
    assert (
        genus.build("pixelcnn", SPACES["image"], context, **PixelCNN.default_hyperparameters(SPACES["image"], 100)).context
        == context
    )
