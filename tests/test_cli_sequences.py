"""The `genus` command and sequences: prompts, streaming, files of text and sound, the first columns of a table."""

from __future__ import annotations

import io
import json
import os
import wave
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run

import genus
from genus import Category, Lattice, Real, Space
from genus.cli.sequences import TextStream
from genus.codec import Codec
from genus.codec.forms import Form


def text_space(levels: tuple[object, ...], length: int, coding: str = "characters") -> Codec:
    space = Space(Category(levels), shape=(length,), sequence=True)  # type: ignore[arg-type]
    return Codec(space, Form("text", ("str",), coding=coding))


CODECS = {
    "words": text_space((*"abcé", None), 8),
    "play": text_space((*"RO:\nab ",), 12),
    "bytes": text_space(tuple(range(256)), 12, "bytes"),
    "sound": Codec(Space(Lattice(0, 255), shape=(200,), sequence=True), Form("audio", ("uint8",), coding="mu-law", rate=8000)),
    "numbers": Codec(Space(Lattice(0, 9, atoms=(float("nan"),)), shape=(5,), sequence=True), Form("numpy", ("float64",))),
    "table": Codec(Space([Category(("a", "b")), Lattice(0, 9), Real(2.0, 3.0)], names=["kind", "count", "size"])),
}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a small model of every kind of sequence, and of a table in an order of its own."""
    here, before = tmp_path_factory.mktemp("sequences"), Path.cwd()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, codec in CODECS.items():
            order = {"order": [1, 0, 2]} if name == "table" else {}
            model = genus.RNN(codec.space, width=8, components=2, **order)  # type: ignore[arg-type]
            for parameter in model.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
            model.codec = codec
            genus.save(model, here / f"{name}.genus")
    genus.save(genus.build("wgan-gp", CODECS["table"].space, hidden=[4], latent=2), here / "gan.genus")
    os.chdir(here)
    yield here
    os.chdir(before)


# -- text -----------------------------------------------------------------------------------------------------------------


def test_texts_come_one_a_line_as_the_model_draws_them() -> None:
    done = run("sample", "words.genus", "-n", 5, "--seed", 1)
    model = genus.load("words.genus")
    assert done.out.splitlines() == model.codec.decode(model.sample(5, seed=1))
    assert json.loads(run("sample", "words.genus", "-n", 5, "--seed", 1, "--json").out) == done.out.splitlines()


def test_texts_of_several_lines_have_headings() -> None:
    done = run("sample", "play.genus", "-n", 3, "--seed", 1, "--prefix", "RO\n")
    texts = json.loads(run("sample", "play.genus", "-n", 3, "--seed", 1, "--prefix", "RO\n", "--json").out)
    assert all(text.startswith("RO\n") for text in texts)
    assert done.out == "\n".join(f"==> {i} <==\n{text.removesuffix(chr(10))}\n" for i, text in enumerate(texts, 1))


@pytest.mark.parametrize("name", ["words", "play", "bytes"])
def test_a_stream_is_what_would_be_printed_at_once(name: str) -> None:
    words = ("sample", f"{name}.genus", "--prefix", "ba" if name != "play" else "RO:", "--seed", 3, "--length", 8)
    at_once = run(*words)
    assert at_once.code == 0, at_once.err
    assert run(*words, "--stream").out == at_once.out
    assert at_once.out.startswith("ba" if name != "play" else "RO:")


def test_a_stream_prints_whole_characters_as_soon_as_they_are_there() -> None:
    space = CODECS["bytes"]
    out, seen = io.StringIO(), []
    with redirect_stdout(out):
        printer = TextStream(space, 0, None)
        for byte in "né€\U0001f600".encode() + b"\xff!\xc3":
            printer(torch.tensor([[float(byte)]]))
            seen.append(out.getvalue())
        printer.close()
    assert seen[:10] == ["n", "n", "né", "né", "né", "né€", "né€", "né€", "né€", "né€\U0001f600"]
    assert out.getvalue() == "né€\U0001f600\ufffd!\ufffd\n"  # bytes that are no text are shown as such, in the end


def test_several_prompts_of_different_lengths_one_of_them_empty() -> None:
    done = run("sample", "words.genus", "--prefix", "abc", "--prefix", "", "--prefix", "é", "-n", 2, "--seed", 1)
    lines = done.out.splitlines()
    assert len(lines) == 6
    assert lines[0][:3] == lines[1][:3] == "abc"
    assert lines[4][:1] == lines[5][:1] == "é"
    empty = run("sample", "words.genus", "--prefix", "", "--seed", 1)
    assert (empty.code, empty.out) == (0, run("sample", "words.genus", "--seed", 1).out)


def test_temperature_top_k_top_p_and_length_reach_the_model() -> None:
    model = genus.load("play.genus")
    words = ("sample", "play.genus", "--seed", 1, "--length", 30, "--json")
    for option, choice in {"--temperature": {"temperature": 0.0}, "--top-k": {"top_k": 2}, "--top-p": {"top_p": 0.3}}.items():
        (value,) = choice.values()
        expected = model.codec.decode(model.sample(1, seed=1, length=30, **choice))
        assert json.loads(run(*words, option, value).out) == expected
    assert len(json.loads(run(*words).out)[0]) == 30


def test_a_text_ends_before_its_stop_symbol() -> None:
    model = genus.load("play.genus")
    for seed in range(6):
        words = ("sample", "play.genus", "--seed", seed, "--length", 60, "--prefix", "R\nO", "--stop", "\\n")
        whole = model.codec.decode(model.sample(1, seed=seed, length=60, prefix=model.codec.encode_prefix("R\nO")))[0]
        assert "\n" in whole[3:]
        text = whole[: whole.index("\n", 3)]
        assert run(*words).out == f"{text}\n"
        assert run(*words, "--stream").out == f"{text}\n"


def test_texts_go_to_files() -> None:
    texts = run("sample", "words.genus", "-n", 12, "--seed", 1).out.splitlines()
    assert run("sample", "words.genus", "-n", 12, "--seed", 1, "--out", "new.txt").out == ""
    assert Path("new.txt").read_text().splitlines() == texts
    run("sample", "words.genus", "-n", 12, "--seed", 1, "--out", "new.json")
    assert json.loads(Path("new.json").read_text()) == texts
    run("sample", "words.genus", "-n", 12, "--seed", 1, "--out", "new.npz")
    assert np.load("new.npz")["text"].tolist() == texts
    done = run("sample", "words.genus", "-n", 12, "--seed", 1, "--out", "new/")
    assert done.err == "12 texts of rnn are in new.\n"
    assert [path.read_text() for path in sorted(Path("new").iterdir())] == [f"{text}\n" for text in texts]
    run("sample", "words.genus", "--out", "new.csv").refused(2, ".txt, .json, .npz")


# -- sound and numbers ----------------------------------------------------------------------------------------------------


def test_sounds_go_to_wav_files() -> None:
    model = genus.load("sound.genus")
    assert run("sample", "sound.genus", "--seed", 1, "--out", "a.wav").err == "1 sound of rnn is in a.wav.\n"
    with wave.open("a.wav") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        found = np.frombuffer(file.readframes(10**6), "<i2") / (2**15 - 1)
    assert np.abs(found - model.codec.decode(model.sample(1, seed=1))[0]).max() < 1e-4
    run("sample", "sound.genus", "-n", 11, "--length", 50, "--out", "sounds/")
    assert sorted(os.listdir("sounds"))[:3] == ["01.wav", "02.wav", "03.wav"]
    run("sample", "sound.genus", "-n", 3, "--length", 50, "--out", "b.npz")
    assert np.load("b.npz")["x"].shape == (3, 50)
    run("sample", "sound.genus").refused(2, "--out", ".wav")
    run("sample", "sound.genus", "-n", 2, "--out", "b.wav").refused(2, "folder")
    run("sample", "sound.genus", "--prefix", "a", "--out", "b.wav").refused(2, "sound", "--prefix")
    run("sample", "sound.genus", "--stream").refused(2, "--stream")


def test_sequences_of_numbers_are_lines_of_numbers_or_an_array() -> None:
    lines = run("sample", "numbers.genus", "-n", 6, "--seed", 1).out.splitlines()
    rows = json.loads(run("sample", "numbers.genus", "-n", 6, "--seed", 1, "--json").out)
    assert [[float(word) for word in line.split()] for line in lines] == rows
    run("sample", "numbers.genus", "-n", 6, "--seed", 1, "--out", "numbers.npy")
    assert [[v for v in row if v == v] for row in np.load("numbers.npy").tolist()] == rows


# -- tables ---------------------------------------------------------------------------------------------------------------


def test_rows_are_completed_from_their_first_columns_in_the_models_order() -> None:
    done = run("sample", "table.genus", "-n", 20, "--prefix", "count=4", "--prefix", "kind=b", "--json", "--seed", 1)
    rows = json.loads(done.out)
    assert {(row["count"], row["kind"]) for row in rows} == {(4, "b")}
    assert len({row["size"] for row in rows}) > 10
    run("sample", "table.genus", "--prefix", "kind=b").refused(2, "kind", "count, kind, size")
    run("sample", "table.genus", "--prefix", "colour=b").refused(2, "colour=b", "count, kind, size")
    run("sample", "table.genus", "--prefix", "count=many").refused(2, "'many'", "count")
    run("sample", "table.genus", "--prefix", "count=4", "--prefix", "kind=c").refused(2, "'c'", "one of a, b")


# -- mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["words", "--prefix", "abz"], 1, ["'z'", "place 3"]),
        (["words", "--prefix", "abcabcabc"], 1, ["9 values", "8", "--length"]),
        (["words", "--stop", "z"], 1, ["'z'", "--stop"]),
        (["words", "--stop", "ab"], 2, ["one symbol", "'ab'"]),
        (["words", "--temperature", "-1"], 2, ["--temperature"]),
        (["words", "--temperature", "nan"], 2, ["--temperature"]),
        (["words", "--top-k", "0"], 2, ["--top-k"]),
        (["words", "--top-p", "0"], 1, ["top_p"]),
        (["words", "--top-p", "1.5"], 2, ["--top-p"]),
        (["words", "--length", "0"], 2, ["--length"]),
        (["words", "--stream", "-n", "2"], 2, ["one text"]),
        (["words", "--stream", "--out", "x.txt"], 2, ["one text"]),
        (["table", "--stream"], 2, ["--stream prints text"]),
        (["table", "--length", "3"], 1, ["length"]),
        (["gan", "--prefix", "count=3", "--top-k", "2"], 2, ["wgan-gp", "--prefix, --top-k", "chain rule"]),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], code: int, expected: list[str]) -> None:
    run("sample", f"{words[0]}.genus", *words[1:]).refused(code, *expected)


# -- scores ---------------------------------------------------------------------------------------------------------------


def test_online_scores_stand_in_a_column_of_their_own(folder: Path) -> None:
    chain = genus.MarkovChain(CODECS["words"].space, order=2)
    genus.fit(chain, CODECS["words"].encode(["abba", "abc", "cab"]), progress=False)
    chain.codec = CODECS["words"]
    genus.save(chain, folder / "chain.genus")
    (folder / "new.txt").write_text("baab\nbaab\nbaab\n")
    frozen, online = (run("score", "chain.genus", "new.txt", *more) for more in ([], ["--online"]))
    head, *rows = online.out.splitlines()
    assert head == "row,log_density_online"
    values = [float(row.split(",")[1]) for row in rows]
    assert values[0] < values[1] < values[2], "what was read once is likelier"
    assert "online: each symbol was learned from after it was scored" in online.err
    assert frozen.out.splitlines()[0] == "row,log_density_exact"
    told = json.loads(run("score", "chain.genus", "new.txt", "--online", "--json").out)
    assert (told["label"], told["log_density"]) == ("online", pytest.approx(values))
    for arguments, why in (
        (["words.genus"], "families that can: markov"),
        (["chain.genus", "--samples", "2"], "exclude each other"),
    ):
        refused = run("score", arguments[0], "new.txt", "--online", *arguments[1:])
        assert refused.code
        assert why in " ".join(refused.err.split())


def test_a_text_with_a_character_that_training_had_not_is_one_rows_impossibility(folder: Path) -> None:
    chain = genus.MarkovChain(CODECS["words"].space, order=2)
    genus.fit(chain, CODECS["words"].encode(["abba", "abc", "cab"]), progress=False)
    chain.codec = CODECS["words"]
    genus.save(chain, folder / "chain.genus")
    (folder / "odd.txt").write_text("baab\nbzéb\ncab\n")
    (folder / "fine.txt").write_text("baab\ncab\n")
    done, fine = run("score", "chain.genus", "odd.txt"), run("score", "chain.genus", "fine.txt")
    assert done.code == 0, done.err
    head, first, odd, last = done.out.splitlines()
    assert (head, odd) == ("row,log_density_exact,reason", "1,-inf,no place for one of its symbols")
    assert [line.split(",")[1] for line in (first, last)] == [line.split(",")[1] for line in fine.out.splitlines()[1:]]
    assert "'z' (U+007A) at place 2 of line 2 of odd.txt" in " ".join(done.err.split())
