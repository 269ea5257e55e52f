"""The chain rule's own laws: every family that multiplies conditionals, on every space that it accepts."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import CONTEXTS, SMALL, SPACES, draw, law, make

import genus
from genus import Category, GenusError, Real, Space
from genus.laws.core import every_datum
from genus.laws.models import frequencies_are_probabilities, require_frequencies
from genus.laws.sequences import (
    conditionals_add_up,
    conditionals_see_the_past_alone,
    net_is_causal,
    steps_are_the_parallel_pass,
)
from genus.models.autoregressive import Autoregressive
from genus.models.chain_rule import ChainRule
from genus.nets.causal import CausalNet
from genus.nets.heads import Head, SamplingOptions

WORDS, WINDOWS = SPACES["words"], SPACES["windows"]
FAMILIES = [name for name in SMALL if issubclass(genus.family(name), ChainRule)]
SEQUENCES = [name for name in FAMILIES if genus.family(name).info.sequences]
ROWS = [name for name in FAMILIES if genus.family(name).accepts(SPACES["categories"])]


def condition(context: Space | None, n: int) -> torch.Tensor | None:
    return None if context is None else draw(context, n, seed=7)


def positions(model: ChainRule, x: torch.Tensor) -> torch.Tensor:
    """x (B, *shape) -> (B, P), in the order of positions."""
    return x if model.order is None else x.flatten(1)[:, list(model.order)]


@law(ChainRule)
def test_conditionals_add_up_see_the_past_alone_and_steps_are_the_parallel_pass(
    family: str, space: Space, context: Space | None
) -> None:
    model, x, c = make(family, space, context), draw(space, 9), condition(context, 9)
    assert conditionals_add_up(model, x, c)
    assert conditionals_see_the_past_alone(model, x, c)
    assert steps_are_the_parallel_pass(model, x, c)


@law(Autoregressive)
def test_rows_that_begin_alike_share_the_pass_over_their_beginning(
    family: str, space: Space, context: Space | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = torch.tensor([0, 0, 1, 0, 2, 1])
    x, c = draw(space, 6)[which], condition(context, 6)
    model, c = make(family, space, context), None if c is None else c[which]
    values, passed = positions(model, x), []
    if not (known := values.shape[1] // 2):
        return
    prefill = model.net.prefill
    monkeypatch.setattr(model.net, "prefill", lambda tokens, c: (passed.append(len(tokens)), prefill(tokens, c))[1])
    with torch.no_grad():
        whole, after = positions(model, model.log_conditionals(x, c).reshape(x.shape)), model._after_end(x)
        steps = model._steps(6, c, values[:, :known])
        distribution = next(steps)
        for i in range(known, values.shape[1]):
            found = distribution.log_prob(values[:, i : i + 1])[:, 0]
            assert torch.allclose(found if after is None else found.masked_fill(after[:, i], 0.0), whole[:, i], atol=1e-4)
            if i + 1 < values.shape[1]:
                distribution = steps.send(values[:, i : i + 1])
    assert passed[0] <= 3  # rows that differ in what comes later may begin alike


@pytest.mark.parametrize("family", [name for name in SEQUENCES if issubclass(genus.family(name), Autoregressive)])
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=list(CONTEXTS))
def test_every_output_sees_all_earlier_tokens_and_no_later_one(family: str, context: Space | None) -> None:
    model = make(family, WINDOWS, context)
    assert isinstance(model, Autoregressive)
    assert isinstance(model.net, CausalNet)
    seen = net_is_causal(model.net, 4, model._context_features(condition(context, 6)))
    assert torch.equal(seen, torch.ones(4, 4).tril(-1).bool()), "an output does not see every token before it"


@pytest.mark.parametrize("family", SEQUENCES)
@pytest.mark.parametrize("space", [WORDS, WINDOWS], ids=["words", "windows"])
def test_sequences_that_go_on_from_a_prefix_follow_the_conditional(family: str, space: Space) -> None:
    assert frequencies_are_probabilities(make(family, space), draw(space, 1), None, prefix=torch.tensor([1.0]))


@pytest.mark.parametrize("family", ROWS)
def test_completed_rows_follow_the_conditional(family: str) -> None:
    space = SPACES["categories"]
    model = make(family, space)
    first = torch.tensor([float(space.kinds[model.order[0]].states > 1)])  # type: ignore[attr-defined]
    assert frequencies_are_probabilities(model, draw(space, 1), None, prefix=first)


@pytest.mark.parametrize("family", [f for f in ROWS if "order" in genus.registry.hyper_parameters(genus.family(f))])
@pytest.mark.parametrize("space", ["mixed", "reals", "image"])
def test_any_order_of_the_columns(family: str, space: str) -> None:
    order = torch.randperm(SPACES[space].dim, generator=torch.Generator().manual_seed(3)).tolist()
    with torch.random.fork_rng():
        model = genus.build(family, SPACES[space], **SMALL[family] | {"order": order}).double().eval()
    x = draw(SPACES[space], 40)
    assert conditionals_see_the_past_alone(model, x, None)
    known = positions(model, x)[:, :2].to(SPACES[space].dtype)
    completed = model.sample(40, seed=0, prefix=known)
    assert torch.equal(positions(model, completed)[:, :2].nan_to_num(-1), known.nan_to_num(-1))


# -- the sampler ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", SEQUENCES)
def test_prompts_of_different_lengths_in_one_batch(family: str) -> None:
    model = make(family, WINDOWS)
    prompts = [torch.tensor(t) for t in ([], [1.0], [2.0, 0.0, 1.0], [0.0, 0.0])]
    x = model.sample(seed=0, prefix=prompts, length=7)
    assert x.shape == (4, 7)
    for row, prompt in zip(x, prompts, strict=True):
        assert torch.equal(row[: len(prompt)], prompt)
    # What follows a prompt does not depend on whom it shares the batch with: greedy choices are the same alone.
    greedy = model.sample(prefix=prompts, length=7, temperature=0)
    for row, prompt in zip(greedy, prompts, strict=True):
        assert torch.equal(model.sample(prefix=[prompt], length=7, temperature=0)[0], row)


@pytest.mark.parametrize("family", SEQUENCES)
def test_temperature_and_truncation(family: str) -> None:
    model = make(family, WINDOWS)
    points = every_datum(WINDOWS, 1)
    p = model.log_prob(points).exp().detach()
    half = model.sample(20_000, seed=0, length=1, temperature=0.5)
    require_frequencies(half, points, p.square() / p.square().sum(), family)
    two = p.where(p > p.min(), 0)
    require_frequencies(model.sample(20_000, seed=0, length=1, top_k=2), points, two / two.sum(), family)
    enough = float(p.max()) + 1e-3  # the likeliest alone does not reach it, so that the second comes in
    require_frequencies(model.sample(20_000, seed=0, length=1, top_p=enough), points, two / two.sum(), family)
    greedy = model.sample(5, seed=0, temperature=0)
    assert torch.equal(greedy, model.sample(5, seed=1, top_k=1))
    assert float(greedy[0, 0]) == int(p.argmax())


def test_equal_probabilities_are_cut_to_k() -> None:
    kept = SamplingOptions(top_k=2).cells(torch.zeros(3, 5))
    assert (kept > -math.inf).sum(-1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("family", SEQUENCES)
def test_a_stop_symbol_ends_what_is_drawn_and_nothing_of_the_prompt(family: str) -> None:
    model = make(family, WINDOWS)
    x = model.sample(200, seed=0, prefix=torch.tensor([1.0, 0.0]), length=9, stop=1.0)
    assert bool((x[:, :2] == torch.tensor([1.0, 0.0])).all())
    stopped = (x[:, 2:] == 1).cumsum(1) > 0
    assert bool(stopped.any())
    assert bool((x[:, 2:][stopped] == 1).all())
    shorter = [torch.tensor([0.0]), torch.tensor([0.0, 1.0, 2.0, 0.0])]
    ragged = model.sample(seed=0, prefix=shorter, length=9, stop=1.0)
    assert torch.equal(ragged[1, :4], shorter[1]), "the longer prompt goes on where the shorter one has ended"


@pytest.mark.parametrize("family", SEQUENCES)
def test_streaming_hands_out_what_is_returned(family: str) -> None:
    model, seen = make(family, WORDS), []
    x = model.sample(1, seed=4, length=12, prefix=torch.tensor([0.0, 1.0]), callback=lambda value: seen.append(value))
    streamed = torch.cat(seen, dim=1)
    assert torch.equal(streamed, x[:, : streamed.shape[1]])
    assert bool((x[:, streamed.shape[1] :] == 2).all()), "what is not streamed lies after the end"


@pytest.mark.parametrize("family", SEQUENCES)
def test_sequences_longer_than_the_space_keep_a_density(family: str) -> None:
    model = make(family, WINDOWS)
    x = model.sample(3, seed=0, length=50)
    value = model.log_conditionals(x)
    assert value.shape == (3, 50)
    assert bool(value.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"temperature": math.nan}, "temperature must be 0"),
        ({"top_k": 0}, "top_k is how many"),
        ({"top_p": 0.0}, "top_p is a probability"),
        ({"top_p": 1.5}, "top_p is a probability"),
        ({"length": 0}, "length of 1 or more"),
        ({"n": -1}, "Cannot sample -1"),
        ({"prefix": torch.tensor([7.0])}, "outside"),
        ({"prefix": torch.tensor([2.0, 0.0])}, "goes on after its end"),
        ({"prefix": torch.zeros(5), "length": 4}, "more than the 4"),
        ({"prefix": [torch.zeros(1), torch.zeros(2)], "n": 3}, "2 prefixes for 3"),
        ({"prefix": torch.zeros(2, 2, 2)}, "expected the values of the first positions"),
        ({"stop": 9.0}, "stop"),
    ],
)
def test_requests_that_make_no_sense(arguments: dict, message: str) -> None:
    model = make("rnn", WORDS)
    with pytest.raises(GenusError, match=message):
        model.sample(**arguments)


def test_numbers_have_no_top_k_and_rows_no_length() -> None:
    model = make("rnn", SPACES["reals"])
    with pytest.raises(GenusError, match="draws numbers"):
        model.sample(2, top_k=3)
    with pytest.raises(GenusError, match="Only sequences have a length"):
        model.sample(2, length=3)
    with pytest.raises(genus.DataError, match="each of the 3 coordinates once"):
        genus.RNN(SPACES["reals"], order=[0, 0, 2])
    with pytest.raises(genus.DataError, match="these are sequences"):
        genus.NaiveBayes(WORDS)


def test_sequences_that_are_none() -> None:
    model = make("rnn", WORDS)
    for x, message in [
        (torch.zeros(2, 0), "T at least 1"),
        (torch.zeros(2), "shape"),
        (torch.tensor([[0.0, 2.0, 1.0]]), "goes on after its end in row 0"),
        (torch.tensor([[0.0, 5.0]]), "holds 5"),
    ]:
        with pytest.raises(genus.DataError, match=message):
            model.log_prob(x)
    with pytest.raises(genus.DataError, match="needs 1 or 3 kinds"):  # whole steps of two values
        Space([Real(), Real()], shape=(3,), sequence=True)


# -- memories and heads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mean"])
def test_every_cell(cell: str) -> None:
    with torch.random.fork_rng():
        model = genus.RNN(WINDOWS, CONTEXTS["mixed"], cell=cell, width=8).double().eval()
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
    x, c = draw(WINDOWS, 9), condition(CONTEXTS["mixed"], 9)
    conditionals, steps = model.log_conditionals(x, c), model._steps(9, c, None)
    distribution = next(steps)
    for i in range(4):
        assert torch.allclose(distribution.log_prob(x[:, i : i + 1])[:, 0], conditionals[:, i], atol=1e-9)
        if i < 3:
            distribution = steps.send(x[:, i : i + 1])
    some = torch.tensor([0, 0, 1])  # two beginnings in three rows
    steps = model._steps(3, None if c is None else c[some], x[some, :2])
    assert torch.allclose(next(steps).log_prob(x[some, 2:3])[:, 0], conditionals[some, 2], atol=1e-9)
    last = steps.send(x[some, 2:3]).log_prob(x[some, 3:4])[:, 0]
    assert torch.allclose(last, conditionals[some, 3], atol=1e-9)


def test_the_running_mean_forgets_the_order_and_nothing_else() -> None:
    """z = (1/N) sum of the embedded past: what was before may change places."""
    with torch.random.fork_rng():
        model = genus.RNN(WINDOWS, cell="mean", width=8)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    a, b, c = (model.log_conditionals(torch.tensor([t]))[0, 3] for t in ([0.0, 1, 2, 1], [2.0, 0, 1, 1], [2.0, 2, 1, 1]))
    assert torch.allclose(a, b, atol=1e-6)
    assert not torch.allclose(a, c, atol=1e-4)


def test_an_unknown_cell() -> None:
    with pytest.raises(GenusError, match="There is no cell 'lsmt'; there are rnn, gru, lstm and mean"):
        genus.RNN(WORDS, cell="lsmt")


def test_warped_mixtures_narrow_towards_their_mode() -> None:
    head = Head(Space([Real()]), components=2)
    params = torch.tensor([[2.0, 0.0, -3.0, 3.0, 1.0, 1.0]]).expand(2000, -1)
    with genus.ladder.isolated(0):
        plain, cold, coldest = (head(params).sample(SamplingOptions(t))[:, 0] for t in (1.0, 0.3, 0.0))
    assert float(plain.std()) > float(cold.std()) > float(coldest.std())
    assert bool((coldest == -3).all())


def test_the_end_is_learned_and_counts_once() -> None:
    """Words of one letter: after training the mass is on them, and ends after the end cost nothing."""
    x = torch.tensor([[0.0, 2, 2, 2], [1.0, 2, 2, 2]]).repeat(50, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = genus.RNN(Space(Category(("a", "b", None)), shape=(4,), sequence=True), width=16)
    genus.fit(model, x, max_steps=150, seed=0, learning_rate=0.03, progress=False, validation=None)
    value = model.log_prob(x[:2]).detach()
    assert value.tolist() == pytest.approx([-math.log(2)] * 2, abs=0.05)
    assert model.log_conditionals(x[:1])[0, 2:].tolist() == [0, 0]
