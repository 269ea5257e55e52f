"""Sequences in a comparison and its report: the floor, bits a symbol, samples found again, text and sound on the page."""

from __future__ import annotations

import base64
import io
import math
import re
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_reports import XSS, names, tones

import genus
from genus import Category, Lattice, Real, Space
from genus.codec import Codec
from genus.codec.forms import Form
from genus.codec.units import Unit, element, spans
from genus.data import Dataset
from genus.evaluation.excerpts import excerpts, sounds, texts
from genus.evaluation.report import Report
from genus.evaluation.sequences import PIECE, draws, evaluate_sequences

TINY = {"rnn": {"width": 8, "layers": 1}}


def text_space(levels: tuple[object, ...], length: int, coding: str = "characters") -> Codec:
    space = Space(Category(levels), shape=(length,), sequence=True)  # type: ignore[arg-type]
    return Codec(space, Form("text", ("str",), coding=coding))


def words(rows: int = 300) -> Dataset:
    """Syllables: a consonant, then a vowel."""
    generator = torch.Generator().manual_seed(0)
    syllables = [f"{c}{v}" for c in "bdk" for v in "ao"]
    pick = torch.randint(len(syllables), (rows, 3), generator=generator).tolist()
    length = torch.randint(1, 4, (rows,), generator=generator).tolist()
    codec = text_space((*"abdko", None), 7)
    x = codec.encode(["".join(syllables[i] for i in row[:n]) for row, n in zip(pick, length, strict=True)])
    return Dataset(x, None, codec.space, name="words", codec=codec)


def stream(rows: int = 40, length: int = 50) -> Dataset:
    """One long text whose letters mostly follow the alphabet, as small integers."""
    generator = np.random.default_rng(0)
    steps = 1 + (generator.random(rows * length) < 0.2) * generator.integers(0, 5, rows * length)
    x = torch.from_numpy((np.cumsum(steps) % 6).astype(np.uint8)).reshape(rows, length)
    codec = text_space(tuple("abcd\n<"), length)
    return Dataset(x, None, codec.space, name="stream", consecutive=True, codec=codec)


@pytest.fixture(scope="module", params=[words, stream], ids=["words", "stream"])
def report(request: pytest.FixtureRequest) -> Report:
    names = ["rnn", "naive-bayes"]
    return genus.compare(request.param(), names, budget=0.5, seeds=2, hyper=TINY, jobs=1, progress=False)


# -- the comparison -------------------------------------------------------------------------------------------------------


def test_the_markov_chain_is_the_floor_and_families_of_rows_are_refused(report: Report) -> None:
    rows = {row.family: row for row in report.rows}
    assert list(rows) == ["markov", "rnn", "naive-bayes"]
    assert report.baseline_family == "markov"
    assert (rows["markov"].status, rows["rnn"].status, rows["naive-bayes"].status) == ("ok", "ok", "refused")
    assert rows["markov"].baseline_difference == 0
    assert rows["rnn"].baseline_difference == pytest.approx(rows["rnn"].log_density - rows["markov"].log_density)
    assert "these are sequences" in rows["naive-bayes"].reason


def test_what_learns_while_it_scores_stands_apart(report: Report) -> None:
    markov, rnn = report.rows[:2]
    assert rnn.online is None
    assert markov.label == "exact"
    assert markov.online_bits_per_dim == pytest.approx(markov.bits_per_dim * markov.online / markov.log_density)
    assert markov.baseline_difference == 0, "frozen numbers alone are compared"
    assert f"{markov.online_bits_per_dim:.3f}" in str(report)
    again = {row.family: row for row in Report.from_json(report.to_json()).rows}
    assert again["markov"].online == markov.online


def test_bits_a_character_are_all_bits_over_all_characters(report: Report) -> None:
    data = words() if report.name == "words" else stream()
    held = data.split(test=0.2, seed=0)[1]
    symbols = held.x.numel() if report.name == "stream" else int((held.x != 5).sum()) + len(held)
    for row in report.rows[:2]:
        assert row.bits_per_dim == pytest.approx(-row.log_density * len(held) / symbols / math.log(2))
        assert 0 < row.bits_per_dim < 3.1
    markov = report.rows[0]
    assert f" needs {report.best.bits_per_dim:.3f} bits a character." in report.verdict
    assert f"{markov.bits_per_dim:.3f}" in str(report)


def test_samples_are_counted_and_held_out_rows_are_the_reference(report: Report) -> None:
    assert list(report.references) == ["real against real", "symbols shuffled", "copy of the training set"]
    for scores in (report.references["real against real"], report.rows[0].metrics, report.rows[1].metrics):
        assert set(scores) <= set(report.metrics)
        assert {"in_training", "in_held_out", "new", "distinct", "ngram_auc", "repetition"} <= set(scores)
        assert scores["in_training"] + scores["in_held_out"] + scores["new"] == pytest.approx(1)
    if report.name == "words":
        assert report.references["real against real"]["in_training"] > 0.5
        assert report.rows[0].metrics["in_training"] > 0.3
        assert report.sample_count == 1000


def test_the_end_of_a_stream_is_held_out() -> None:
    data = stream()
    rows = genus.compare(data, ["markov"], budget=1.0, seeds=1, jobs=1, progress=False).rows
    train, held = data.rows(slice(0, 32)), data.rows(slice(32, 40))
    model = genus.build("markov", data.space, **genus.family("markov").default_hyperparameters(data.space, len(train)))
    genus.fit(model, train, progress=False)
    assert rows[0].log_density == pytest.approx(model.log_prob(held.x).mean().item())


def test_a_line_of_progress_needs_no_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    genus.compare(stream(), ["markov"], budget=1.0, seeds=1, jobs=1, progress=lines.append)
    assert re.fullmatch(r"\[1/1\] markov, seed 0: [\d.]+ bits a character, -[\d.]+ nats a row, \d+% new, [\d.]+ s", lines[-1])


# -- what samples are -----------------------------------------------------------------------------------------------------


def test_pieces_of_a_stream_are_found_wherever_they_stand() -> None:
    generator = torch.Generator().manual_seed(0)
    space = text_space(tuple("abcd"), 40).space
    text = torch.randint(4, (30 * 40,), generator=generator)
    train, held = text[:800].reshape(20, 40), text[800:].reshape(10, 40)
    for at, kind in (
        (0, "in_training"),
        (333, "in_training"),
        (800 - PIECE, "in_training"),
        (901, "in_held_out"),
        (792, "new"),
    ):
        piece = text[at : at + PIECE][None].float()
        found = evaluate_sequences(space, piece, train=train, held=held, consecutive=True)
        assert found[kind] == 1, at
    two = torch.cat([text[5 : 5 + PIECE], text[500 : 500 + PIECE] ^ 1])[None].float()
    found = evaluate_sequences(space, two, train=train, held=held, consecutive=True)
    assert (found["in_training"], found["new"], found["distinct"]) == (0.5, 0.5, 1.0)


def test_a_long_text_is_searched_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.evaluation.sequences.CHUNK", 100)
    data = stream()
    every = data.x.reshape(-1).unfold(0, PIECE, 7).float()
    whole = {"train": data.x, "held": data.x[:1], "consecutive": True}
    assert evaluate_sequences(data.space, every, **whole)["in_training"] == 1
    rows = evaluate_sequences(data.space, data.x.float(), train=data.x, held=data.x[:1])
    assert rows["in_training"] == 1


@pytest.mark.parametrize("kind", [Lattice(0.0, 2.0, step=0.1), Real()], ids=repr)
def test_numbers_are_equal_up_to_rounding_on_a_lattice(kind: Lattice | Real) -> None:
    space = Space(kind, shape=(3,), sequence=True)
    x = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.1, 0.3]])
    found = evaluate_sequences(space, x + 1e-7, train=x[:1], held=x[1:])
    lattice = isinstance(kind, Lattice)
    assert (found["in_training"], found["in_held_out"], found["new"]) == ((0.5, 0.5, 0.0) if lattice else (0.0, 0.0, 1.0))
    assert evaluate_sequences(space, x, train=x[:1], held=x[1:])["in_training"] == 0.5


def test_symbols_are_counted_with_their_end() -> None:
    data = words()
    ends = (data.x == 5).int().argmax(1)
    assert torch.equal(spans(data.space, data.x), ends + 1)
    assert Unit.of(data.codec, data.x).elements == pytest.approx((ends + 1).double().mean().item())
    assert spans(stream().space, stream().x).unique().tolist() == [50]


@pytest.mark.parametrize("family", ["gpt", "markov"])
def test_losses_and_held_out_rows_are_in_one_unit_for_people(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = words()
    hyper = {"width": 8, "layers": 1, "heads": 2} if family == "gpt" else {}
    model = genus.build(family, data.space, seed=0, **hyper)
    history = genus.fit(model, data, validation=data, max_steps=60, batch_size=300)
    unit = Unit.of(data.codec, data.x)
    last = history.rows[-1]
    if family == "gpt":  # the loss of the last steps is that of the rows that the criterion has
        assert last["nll"] == pytest.approx(last["criterion"], rel=0.03)
    bits = -float(model.log_prob(data.x).mean()) / (float(spans(data.space, data.x).double().mean()) * math.log(2))
    assert history.best * history.scale == pytest.approx(bits, rel=1e-4)
    assert f"criterion {bits:.3f}" in capsys.readouterr().err
    assert history.unit == unit.name == "bits a character"
    assert unit.bits(-(history.best or 0.0)) == pytest.approx(bits, rel=1e-4)
    assert genus.training.History.from_json(history.to_json()).unit == history.unit


def test_words_for_symbols_and_how_many_samples_are_drawn() -> None:
    assert element(words().codec) == "character"
    assert element(text_space(tuple(range(256)), 8, "bytes")) == "byte"
    assert element(text_space(("a", "bc"), 8, "{}")) == "token"
    assert element(Codec(Space(Real(), shape=(8,), sequence=True))) == "step"
    assert element(Codec(Space(Lattice(0, 255), shape=(4, 4)))) == "pixel"
    assert element(Codec(Space(Lattice(0, 255), shape=(3, 4, 4)))) == "dimension"
    for length in (1, 16, 255, 256, 4000, 10**6):
        n, drawn = draws(Space(Real(), shape=(length,), sequence=True), consecutive=False)
        assert n * drawn <= 2**18
        assert n >= (200 if length < 256 else 32)


# -- the page -------------------------------------------------------------------------------------------------------------


def test_text_stands_on_the_page_as_it_is_and_escaped(report: Report, tmp_path: Path) -> None:
    page = report.write(tmp_path).read_text(encoding="utf-8")
    shown = re.findall(r'<pre dir="auto">\n(.*?)<span class="end">(.)</span></pre>', page, flags=re.S)
    drawn = [place.row.samples for place in report.ranking() if place.row.status == "ok"]
    expected = [one for x in (report.real, *drawn) for one in excerpts(report.codec, x)]
    assert len(expected) == len(shown) == (72 if report.name == "words" else 4 + 8 + 8)  # four rows are half of those held out
    if report.name == "words":
        assert [text for text, _ in shown[:24]] == [one.text for one in expected[:24]]
        assert {mark for _, mark in shown[:24]} == {"■"}
        assert "text: sequences of up to 7 characters of an alphabet of 5" in page
    else:
        assert [text for text, _ in shown] == [one.text.replace("<", "&lt;") for one in expected]
        assert "\n" in shown[0][0]
        assert "text: sequences of 50 characters of an alphabet of 6" in page
    assert "Bits a character" in page
    assert "the Markov chain" in page
    assert "held-out rows" in page


def test_markup_in_a_text_is_text(tmp_path: Path) -> None:
    page = names().write(tmp_path).read_text(encoding="utf-8")
    assert XSS not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2  # real, and a family that copies
    assert '<pre dir="auto">\n\tzoë\n<span class="end">■</span>' in page


def test_what_cannot_be_seen_is_shown() -> None:
    space = text_space(("\x00", "\x1b", "\t", "\u202e", "a"), 5)
    (one,) = excerpts(space, torch.tensor([[0.0, 1, 2, 3, 4]]))
    assert one == ("␀␛\t\u202ea", "cut")


def test_symbols_without_a_form_are_text_too() -> None:
    pair = Space(Category(("up", "down", None)), shape=(4,), sequence=True)
    assert texts(Codec(pair), torch.tensor([[0.0, 1, 2, 2]])) == ["up down"]
    number = Space(Lattice(0, 9, atoms=(math.nan,)), shape=(3,), sequence=True)
    assert texts(Codec(number), torch.tensor([[1.0, 7.0, math.nan]])) == ["1 7"]


def test_sound_can_be_heard_and_seen(tmp_path: Path) -> None:
    page = tones().write(tmp_path).read_text(encoding="utf-8")
    assert "media-src data:" in page
    assert "sound: sequences of up to 900 samples (0.11 s at 8 kHz), values 0 to 255" in page
    players = re.findall(r'<audio controls preload="metadata" src="data:audio/wav;base64,([^"]*)" aria-label="([^"]*)">', page)
    assert [label for _, label in players] == [
        f"{name}, number {i}" for name in ("real", "rnn", "markov", "gpt") for i in (1, 2, 3)
    ]
    with wave.open(io.BytesIO(base64.b64decode(players[0][0]))) as file:
        heard = np.frombuffer(file.readframes(10**6), "<i2") / (2**15 - 1)
        assert (file.getframerate(), len(heard)) == (8000, 700)
    assert np.abs(heard - np.sin(2 * np.pi * 500 * np.arange(700) / 8000)).max() < 0.03
    assert page.count("Spectrogram of rnn, number") == 3


def test_a_spectrogram_has_the_tone_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr("genus.evaluation.excerpts._spectrogram", lambda picture, *_: str(seen.append(picture)))
    report = tones()
    sounds(report.codec, {"real": report.real})
    for picture, pitch in zip(seen, (500, 1000, 2000), strict=False):
        assert picture.mean(1).argmax() * 4000 / (len(picture) - 1) == pytest.approx(pitch, abs=32)
    assert max(picture.max() for picture in seen) == 1
