"""Images, sounds and texts are judged as such: features and n-grams order what trees cannot, and cheats are named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import genus
from genus import Category, Lattice, Space
from genus.codec import Codec
from genus.codec.forms import Form
from genus.data import Dataset
from genus.evaluation.extractor import Extractor, make_extractor
from genus.evaluation.feature_metrics import frechet, kernel_distance, score_features
from genus.evaluation.labels import share_told
from genus.evaluation.metrics import independent_columns
from genus.evaluation.ngrams import score_symbols
from genus.evaluation.perceived import ordering_metric, shuffled
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.sequence_faults import find_sequence_faults

SQUARE = Space(Lattice(0, 15), shape=(12, 12))
LABELS = Space([Category((0, 1, 2))], names=["shape"])


def images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Lines across, lines down and boxes, anywhere, with some noise; the label of each."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (n,), generator=g)
    x = 2 * torch.rand(n, 12, 12, generator=g)
    for i, (row, column) in enumerate(torch.randint(1, 8, (n, 2), generator=g).tolist()):
        if label[i] == 0:
            x[i, row, 1:11] = 13
        elif label[i] == 1:
            x[i, 1:11, column] = 13
        else:
            x[i, row : row + 4, column : column + 4] = 13
    return (x + torch.rand(x.shape, generator=g)).round().clamp(0, 15), label[:, None].float()


def pictures(labelled: bool) -> tuple[Extractor, Tensor, Tensor, Tensor]:
    x, c = images(500, 0)
    data = Dataset(x, c, SQUARE, LABELS, name="shapes") if labelled else Dataset(x, None, SQUARE, name="shapes")
    made = make_extractor(data)
    assert made is not None
    real, _ = images(200, 1)
    other, label = images(200, 2)
    return made, real, other, label


@pytest.fixture(scope="module", params=[True, False], ids=["labels", "alone"])
def extracted(request: pytest.FixtureRequest) -> tuple[Extractor, Tensor, Tensor, Tensor]:
    return pictures(request.param)


# -- images ---------------------------------------------------------------------------------------------------------------


def test_features_order_images(extracted: tuple[Extractor, Tensor, Tensor, Tensor]) -> None:
    extractor, real, other, label = extracted
    worse = {
        "real": other,
        "noise": (other + 3 * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))).round().clamp(0, 15),
        "independent": independent_columns(real, 200),
        "one": other[:1].expand(other.shape),
    }
    scores, errors = {}, {}
    for name, x in worse.items():
        scores[name], errors[name] = score_features(extractor, real, x)
    first = scores["real"]
    assert abs(first["kernel_distance"]) < 4 * errors["real"]["kernel_distance"]
    for name in ("independent", "one"):
        for key in ("kernel_distance", "frechet"):
            assert scores[name][key] - first[key] > 4 * math.hypot(errors[name][key], errors["real"][key]), (name, key)
    assert scores["noise"]["frechet"] > first["frechet"]
    assert first["feature_precision"] > 0.9 < first["feature_recall"]
    assert scores["one"]["feature_recall"] < 0.2
    if extractor.label is not None:
        assert "tell shape" in extractor.words
        seen = extractor.probabilities(other)
        assert seen is not None
        assert share_told(seen.argmax(1), label[:, 0].numpy())[0] > 0.9
        assert first["inception"] > 2.5
        assert scores["one"]["inception"] == pytest.approx(1, abs=1e-6)
    else:
        assert extractor.probabilities(other) is None
        assert "inception" not in first


def test_what_is_learned_repeats_itself() -> None:
    x, c = images(100, 0)
    first, second = (make_extractor(Dataset(x, c, SQUARE, LABELS, name="shapes")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first.features(x), second.features(x))


def test_the_distances_are_those_of_their_formulas() -> None:
    """Against a matrix root of scipy, and a double sum."""
    from scipy.linalg import sqrtm

    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 4, generator=g).double(), 0.5 + 2 * torch.randn(60, 4, generator=g).double()
    a, b = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    expected = float(((x.mean(0) - y.mean(0)) ** 2).sum()) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(expected)
    k = [[((u @ v) / 4 + 1) ** 3 for v in (*x, *y)] for u in (*x, *y)]
    m = np.array(k, dtype=float)
    off = 1 - np.eye(60)
    value = ((m[:60, :60] * off).sum() + (m[60:, 60:] * off).sum() - 2 * (m[:60, 60:] * off).sum()) / (60 * 59)
    assert kernel_distance(x, y)[0] == pytest.approx(value)


def test_the_error_of_the_kernel_distance_holds() -> None:
    found = []
    for seed in range(100):
        x, y = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(seed))
        value, error = kernel_distance(x, y)
        found.append(abs(value) < 2 * error)
    assert np.mean(found) > 0.9


def test_trees_give_way_where_they_order_nothing() -> None:
    saturated = [{"c2st": 0.99, "kernel_distance": 1.0}, {"c2st": 0.985, "kernel_distance": 0.2}]
    assert ordering_metric(saturated) == "kernel_distance"
    assert ordering_metric([*saturated, {"c2st": 0.8, "kernel_distance": 0.1}]) == "c2st"
    assert ordering_metric([{"c2st": 1.0}]) == "c2st"
    assert ordering_metric([{"ngram_auc": 0.7}, {}]) == "ngram_auc"
    assert ordering_metric([]) == "c2st"


def test_a_comparison_of_images_has_features_and_their_references(tmp_path: object) -> None:
    x, c = images(300, 0)
    data = Dataset(x, c, SQUARE, LABELS, name="shapes")
    report = genus.compare(data, ["naive-bayes"], budget=2, seeds=1, jobs=1, progress=False, stack=False)
    row = report.rows[1]
    for key in ("kernel_distance", "frechet", "feature_precision", "feature_recall", "label_match", "inception"):
        assert key in report.metrics
        assert key in row.metrics
        assert row.metrics_error[key] > 0
        assert key in report.references["real against real"]
        assert key in report.references["independent columns"]
        assert key not in report.references["copy of the training set"]
    assert report.references["real against real"]["label_match"] > 0.8
    assert "network that learned from 240 training images to tell shape" in report.features
    page = report.write(tmp_path).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert "Samples by their features" in page
    assert report.features in page
    again = Report.from_json(report.to_json())
    assert again.features == report.features
    assert again.samples_metric == report.samples_metric


def test_the_page_says_what_images_are_ranked_by(tmp_path: object) -> None:
    rows = [Row(name, label="none", metrics={"c2st": 1.0, "kernel_distance": k}) for name, k in (("far", 2.0), ("near", 0.1))]
    metrics = dict.fromkeys(("c2st", "kernel_distance"), genus.evaluation.METRICS["c2st"])
    references = {"real against real": {"c2st": 0.5, "kernel_distance": 0.01}}
    report = Report("images", SQUARE, rows, metrics=metrics, references=references, samples_metric="kernel_distance")
    assert [place.row.family for place in report.ranking()] == ["near", "far"]
    assert "kernel distance of features 0.10, where 0 is the same; real against real 0.01" in report.verdict
    page = report.write(tmp_path).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert "Ranked by how far the features of their samples lie from those of real rows" in page


# -- sounds ---------------------------------------------------------------------------------------------------------------


def test_sounds_are_told_by_their_spectrum_and_labels() -> None:
    space = Space(Lattice(0, 255, atoms=(math.nan,)), shape=(1500,), sequence=True)
    codec = Codec(space, Form("audio", ("uint8",), coding="mu-law", rate=8000))

    def tones(n: int, seed: int, pitches: tuple[int, ...] = (400, 900, 2000)) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        label = rng.integers(len(pitches), size=n)
        times = [np.arange(rng.integers(800, 1400)) / 8000 for _ in label]
        waves = [np.sin(2 * np.pi * pitches[i] * rng.uniform(0.95, 1.05) * t) for i, t in zip(label, times, strict=True)]
        return codec.encode(waves), torch.from_numpy(label)[:, None].float()

    x, c = tones(120, 0)
    extractor = make_extractor(Dataset(x, c, space, LABELS, name="tones", codec=codec))
    assert extractor is not None
    real, (other, label), (high, _) = tones(60, 1)[0], tones(60, 2), tones(60, 3, (3000, 3300, 3700))
    good, errors = score_features(extractor, real, other)
    bad, _ = score_features(extractor, real, high)
    noise, _ = score_features(extractor, real, shuffled(Dataset(x, c, space, LABELS, name="tones", codec=codec), 60, 1500))
    seen = extractor.probabilities(other)
    assert seen is not None
    assert share_told(seen.argmax(1), label[:, 0].numpy())[0] > 0.9
    assert good["inception"] > 2.5
    for wrong in (bad, noise):
        assert wrong["frechet"] > good["frechet"] + 4 * errors["frechet"]
        assert wrong["kernel_distance"] > good["kernel_distance"] + 4 * errors["kernel_distance"]


# -- texts ----------------------------------------------------------------------------------------------------------------

WORD = Space(Category((*"abcdefgh", None)), shape=(24,), sequence=True)


def words(n: int, seed: int, sharp: float = 0.7) -> Tensor:
    """Letters that mostly follow the alphabet, 8 to 24 of them."""
    rng = np.random.default_rng(seed)
    x = np.full((n, 24), 8.0)
    for row, length in zip(x, rng.integers(8, 24, n), strict=True):
        steps = np.where(rng.random(length) < sharp, 1, rng.integers(0, 8, length))
        row[:length] = np.cumsum(steps) % 8
    return torch.from_numpy(x).float()


def test_n_grams_order_texts() -> None:
    train, real, other = words(300, 0), words(300, 1), words(300, 2)
    mixed = shuffled(Dataset(train, None, WORD, name="words"), 300, 24)
    assert float((mixed != 8).float().mean()) == pytest.approx(float((train != 8).float().mean()))
    assert torch.equal((mixed == 8).cumsum(1) > 0, mixed == 8), "an end has nothing behind it"
    looped = torch.where(other == 8, other, other[:, :4].repeat(1, 6))
    scores = {name: score_symbols(WORD, real, x) for name, x in {"real": other, "mixed": mixed, "loop": looped}.items()}
    assert abs(scores["real"][0]["ngram_auc"] - 0.5) < 4 * scores["real"][1]["ngram_auc"]
    assert scores["mixed"][0]["ngram_auc"] > 0.85 < scores["loop"][0]["ngram_auc"]
    assert scores["loop"][0]["repetition"] > 2 * scores["real"][0]["repetition"]
    assert scores["real"][0]["length"] == pytest.approx(15.5, abs=1.5)


def test_lengths_alone_are_told() -> None:
    real, other = words(300, 1), words(300, 2)
    other[:, 12:] = 8  # no long word
    assert score_symbols(WORD, real, other)[0]["ngram_auc"] > 0.7


def kinds_of(samples: Tensor) -> set[tuple[str, str]]:
    found = find_sequence_faults(WORD, samples, words(600, 0), words(200, 1))
    return {(one.kind, one.test) for one in found}


def part(share: float, x: Tensor) -> Tensor:
    n = int(share * 200)
    return torch.cat([x[:n], words(200, 5)[n:]])


def without_a_letter() -> Tensor:
    x = words(200, 5)
    return torch.where(x == 3, torch.tensor(4.0), x)


CHEATS = {
    "training rows": (words(600, 0)[:200], {("accused", "copies")}),
    "a tenth training rows": (part(0.1, words(600, 0)), {("accused", "copies")}),
    "held-out rows": (words(200, 1), {("accused", "leaked")}),
    "a tenth held-out rows": (part(0.1, words(200, 1)), {("accused", "leaked")}),
    "a letter dropped": (without_a_letter(), {("flaw", "symbols")}),
    "loops": (words(200, 5, sharp=1.0), {("flaw", "repetition")}),
    "cut short": (torch.cat([words(200, 5)[:, :8], torch.full((200, 16), 8.0)], dim=1), {("flaw", "length")}),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_in_texts_is_named(cheat: str) -> None:
    samples, expected = CHEATS[cheat]
    assert expected <= kinds_of(samples)


def test_honest_texts_have_no_findings() -> None:
    for seed in range(10, 20):
        assert kinds_of(words(200, seed)) == set()


def test_copied_passages_of_one_long_text_are_named() -> None:
    space = Space(Category(tuple("abcdefgh")), shape=(200,), sequence=True)
    x = torch.randint(8, (100, 200), generator=torch.Generator().manual_seed(0)).float()
    train, held = x[:70], x[70:85]
    assert find_sequence_faults(space, x[85:], train, held, consecutive=True) == []
    passages = train.reshape(-1)[37 : 37 + 15 * 200].reshape(15, 200)  # which begin where no row does
    (finding,) = find_sequence_faults(space, passages, train, held, consecutive=True)
    assert (finding.kind, finding.test) == ("accused", "copies")
    assert "50-symbol pieces of the samples are also in the training text" in finding.sentence


def test_sequences_with_labels_are_compared() -> None:
    x = words(400, 0)
    label = (x != 8).sum(1, keepdim=True).gt(15).float()
    data = Dataset(x, label, WORD, Space([Category((0, 1))], names=["long"]), name="words")
    report = genus.compare(data, ["rnn"], budget=0.5, seeds=1, jobs=1, progress=False, hyper={"rnn": {"width": 8, "layers": 1}})
    row = next(row for row in report.rows if row.family == "rnn")
    assert row.status == "ok", row.reason
    assert {"ngram_auc", "attack_likelihood", "new"} <= set(row.metrics)
