"""GPT: the window that slides, its memory, Muon, and half precision."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from conftest import draw

import genus
from genus import GPT, Category, GenusError, Space
from genus.compiled import Compiled
from genus.nets import attention
from genus.nets.attention import Transformer, attend
from genus.nets.dense import rms_norm
from genus.nets.kernels.decoding import decode_step
from genus.training import TrainingInterrupted

LETTERS = Space(Category(("a", "b", "c", "d")), shape=(6,), sequence=True)
CONTEXT = Space([Category(("u", "v"))])


def transformer(window: int, context_dim: int = 0, **hyper: float) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(12, 2, 3, window, context_dim=context_dim, **hyper)  # type: ignore[arg-type]
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return net.double().eval()


def tokens(length: int, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, length, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# -- the net --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 4, 30])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_steps_and_prefill_are_the_parallel_pass_within_the_window_and_beyond(window: int, context_dim: int) -> None:
    net, x = transformer(window, context_dim), tokens(15)
    c = torch.randn(3, context_dim, dtype=torch.float64) if context_dim else None
    with torch.no_grad():
        whole = net(x, c)
        for known in (0, 1, 3, 4, 5, 11):
            h, state = net.prefill(x[:, :known], c) if known else net.start(3, c)
            for i in range(known, 15):
                assert torch.allclose(h, whole[:, i], atol=1e-9), (known, i)
                h, state = net.step(state, i, x[:, i])


def test_an_output_depends_on_the_last_window_alone_in_one_layer_and_on_no_later_token() -> None:
    net, x = transformer(4), tokens(15).requires_grad_()
    net.blocks = net.blocks[:1]
    out = net(x)
    for i in range(15):
        gradient = torch.autograd.grad(out[:, i, 0].sum(), x, retain_graph=True)[0].abs().amax((0, 2))
        seen = [j for j in range(15) if float(gradient[j]) > 0]
        assert seen == list(range(max(0, i - 4 - 2), i))  # keys and values are mixed from their own position and two before


def test_the_context_is_seen_after_the_beginning_has_left_the_window() -> None:
    net, x = transformer(2, 2), tokens(15)
    c = torch.randn(3, 2, dtype=torch.float64).requires_grad_()
    assert bool(torch.autograd.grad(net(x, c)[:, -1, 0].sum(), c)[0].any())


@pytest.mark.parametrize("window", [3, 8, 100])
def test_attention_in_chunks_is_attention_at_once(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 2, 2, 20, 4, dtype=torch.float64)
    place = torch.arange(20)
    ago = place[:, None] - place
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=(ago >= 0) & (ago < window))
    for chunk in (1, 7, 20, 64):
        monkeypatch.setattr(attention, "CHUNK", chunk)
        assert torch.allclose(attend(q, k, v, window), expected, atol=1e-12), chunk


def test_the_norm_s_gradient() -> None:
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rms_norm, x)
    assert torch.allclose(rms_norm(x), torch.nn.functional.rms_norm(x, (5,), eps=0.0), atol=1e-12)


def test_second_derivatives_of_attention_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 4, 2, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradgradcheck(lambda *a: attention.attend(*a, 3), (q, k, v))


def test_positions_count_by_distance_alone_so_it_slides_for_ever() -> None:
    net, x = transformer(4), tokens(2000)
    x[:, 1000:] = x[:, :1000]
    with torch.no_grad():
        out = net(x)
    assert torch.allclose(out[:, 500], out[:, 1500], atol=1e-9)


def test_single_precision_steps_agree() -> None:
    net, x = transformer(6).float(), tokens(15).float()
    with torch.no_grad():
        h, state = net.start(3)
        for i in range(14):
            h, state = net.step(state, i, x[:, i])
        assert torch.allclose(h, net(x)[:, 14], atol=1e-4)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are traced whole, and run without a compiler of C++."""
    torch._dynamo.reset()
    step = Compiled(decode_step, "sampling", draws=False)
    monkeypatch.setattr(step, "faster", torch.compile(decode_step, backend="aot_eager", fullgraph=True))
    monkeypatch.setattr(attention, "compiled_decode_step", step)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("batch", "kind", "error"),
    [
        (3, torch.float64, 1e-9),
        pytest.param(1, torch.float64, 1e-9, marks=pytest.mark.nightly),
        pytest.param(1, torch.float32, 1e-4, marks=pytest.mark.nightly),
        pytest.param(3, torch.float32, 1e-4, marks=pytest.mark.nightly),
    ],
)
def test_compiled_steps_are_the_parallel_pass(batch: int, kind: torch.dtype, error: float) -> None:
    net, x = transformer(4).to(kind), tokens(15, batch).to(kind)
    net.compiled = True
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = net(x)
        for known in (0, 2, 9):
            h, state = net.prefill(x[:, :known]) if known else net.start(batch)
            for i in range(known, 15):
                assert torch.allclose(h, whole[:, i], atol=error), (known, i)
                h, state = net.step(state, i, x[:, i])


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings("error:torch.compile failed")
def test_compiled_steps_serve_every_length_with_one_graph() -> None:
    net, x = transformer(30).float(), tokens(15).float()
    net.compiled = True
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        _, state = net.start(3)
        for i in range(14):
            _, state = net.step(state, i, x[:, i])
        _, state = net.prefill(x[:, :5])
        net.step(state, 5, x[:, 5])


@pytest.mark.usefixtures("compiled")
def test_compiled_steps_in_half_precision_are_near() -> None:
    net, x = transformer(6).float(), tokens(15).float()
    net.compiled = True
    with torch.no_grad():
        whole = net(x)[:, 14]
        with torch.autocast("cpu", torch.bfloat16):
            h, state = net.start(3)
            for i in range(14):
                h, state = net.step(state, i, x[:, i])
    assert 1e-5 < (h - whole).abs().max() < 0.1


def test_dropout_drops_features_in_training_alone() -> None:
    net = transformer(6, dropout=0.5)
    x = torch.ones(2, 3, 12, dtype=torch.float64)
    assert torch.equal(net.drop(x), x)
    dropped = net.train().drop(x)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


# -- the family -----------------------------------------------------------------------------------------------------------


def model(window: int | None = None, context: Space | None = None) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(LETTERS, context, width=12, layers=2, heads=3, window=window)
    for parameter in gpt.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return gpt.double().eval()


@pytest.mark.usefixtures("compiled")
def test_compiled_draws_are_the_same() -> None:
    gpt = model(3)
    drawn = [gpt.sample(20, length=12, seed=1, compile=wish) for wish in (False, True)]
    assert torch.equal(*drawn)
    assert gpt.net.compiled is False


def test_without_a_compiler_it_goes_on_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda function: broken)
    monkeypatch.setattr(attention, "compiled_decode_step", Compiled(decode_step, "sampling", draws=False))
    gpt = model()
    with pytest.warns(UserWarning, match="no compiler here.*; sampling goes on without"):
        drawn = gpt.sample(3, seed=1, compile=True)
    assert torch.equal(drawn, gpt.sample(3, seed=1))


def test_families_without_compiled_steps_say_so() -> None:
    with pytest.raises(GenusError, match=r"rnn has no steps that can be compiled.*gpt"):
        genus.RNN(LETTERS, width=8).sample(2, compile=True)


@pytest.mark.parametrize("window", [3, None])
def test_prompts_of_different_lengths_are_continued_as_each_alone(window: int | None) -> None:
    gpt = model(window, CONTEXT)
    x, c = draw(LETTERS, 3, 1).double(), draw(CONTEXT, 3, 2)
    prompts = [x[0, :5], x[1, :0], x[2, :2]]
    together = gpt.sample(c=c, prefix=prompts, length=20, temperature=0)
    for i, prompt in enumerate(prompts):
        alone = gpt.sample(1, c[i : i + 1], prefix=prompt, length=20, temperature=0)
        assert torch.equal(together[i : i + 1], alone)


def test_more_rows_than_one_pass_takes_have_the_same_density(monkeypatch: pytest.MonkeyPatch) -> None:
    gpt, x = model(), draw(LETTERS, 20)
    expected = gpt.log_conditionals(x)
    monkeypatch.setattr("genus.models.gpt.TOKENS", 20)
    with torch.no_grad():
        assert torch.allclose(gpt.log_conditionals(x), expected.detach(), atol=1e-12)


def test_more_rows_than_there_is_memory_for_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.models.gpt.CACHE", 2 * 2 * 12 * 6 * 7)
    gpt = model()
    assert gpt.max_rows == 7
    seen = []
    monkeypatch.setattr(gpt.net, "empty", lambda batch, c: seen.append(batch) or Transformer.empty(gpt.net, batch, c))
    assert len(gpt.sample(20)) == 20
    assert seen == [7, 7, 6]


@pytest.mark.parametrize("hyper", [{"width": 10, "heads": 4}, {"layers": 0}, {"window": 0}])
def test_sizes_that_make_no_net_are_refused(hyper: dict[str, int]) -> None:
    with pytest.raises(GenusError, match=r"layers and heads must be 1 or more, and width|window is"):
        GPT(LETTERS, **hyper)  # type: ignore[arg-type]


# -- its training ---------------------------------------------------------------------------------------------------------

SETTINGS = {"max_steps": 12, "validation": None, "batch_size": 20, "seed": 0, "progress": False, "checkpoint_every": 1}


def fresh() -> GPT:
    torch.manual_seed(0)
    return GPT(LETTERS, width=8, layers=1, heads=2, dropout=0.2)


def test_muon_moves_the_matrices_and_adam_the_rest() -> None:
    gpt = fresh()
    (loss,) = gpt.losses()
    names = {id(p): name for name, p in gpt.named_parameters()}
    moved = sorted(names[id(p)] for p in loss.matrices)
    assert [re.sub(r"^net\.blocks\.\d+\.", "", name) for name in moved] == [
        "down.weight", "key.weight", "outward.weight", "query.weight", "up.weight", "value.weight",
    ]  # fmt: skip
    before = gpt.net.blocks[0].up.weight.detach().clone()  # type: ignore[union-attr]
    genus.fit(gpt, draw(LETTERS, 200), max_steps=6, learning_rate=0.1, validation=None, progress=False, lr_schedule="constant")
    step = gpt.net.blocks[0].up.weight.detach() - before  # type: ignore[union-attr]
    values = torch.linalg.svdvals(step)
    assert float(values[0] / values[-1]) < 4, (values, "a step of Muon turns all directions alike")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_resumes_bit_for_bit(tmp_path, precision: str) -> None:
    x = draw(LETTERS, 200)
    straight, stopped, resumed = fresh(), fresh(), fresh()
    genus.fit(straight, x, precision=precision, **SETTINGS)
    losses = stopped.losses()
    calls = []

    def interrupted(batch: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return losses[0].value(batch, c)

    stopped.losses = lambda: [genus.Loss("nll", losses[0].parameters, interrupted, matrices=losses[0].matrices)]  # type: ignore[method-assign]
    with pytest.raises(TrainingInterrupted):
        genus.fit(stopped, x, precision=precision, checkpoint=tmp_path / "c", **SETTINGS)
    history = genus.fit(resumed, x, precision=precision, checkpoint=tmp_path / "c", resume=True, **SETTINGS)
    assert history.steps == 12
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_half_precision_trains_as_well_and_log_probabilities_are_single() -> None:
    x = draw(LETTERS, 400)
    x[:, 1::2] = x[:, ::2]  # every second letter repeats the one before
    values = []
    for precision in ("32-true", "bf16-mixed"):
        gpt = fresh()
        genus.fit(gpt, x, max_steps=150, precision=precision, seed=0, progress=False, validation=None)
        values.append(float(gpt.log_prob(x).detach().mean()))
        assert next(gpt.parameters()).dtype == torch.float32
    assert values[0] == pytest.approx(values[1], abs=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert gpt.log_conditionals(x[:3]).dtype == torch.float32
