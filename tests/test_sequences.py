"""Reading text, sound and sequences of numbers: layouts, round trips, memory, and bad input as one clear sentence."""

from __future__ import annotations

import gzip
import json
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
import torch
from command import run

import genus
from genus import Category, DataError, Dataset, Lattice, Real, Space, read
from genus.codec import Codec
from genus.codec.sound import from_wave, to_wave
from genus.data import sequences, text
from genus.data.audio import plucked_strings, write_wav
from genus.training.rows import prepare

VERSE = "The owl,\nfor all his feathers, was a-cold;\n\nthe hare limp'd trembling through the frozen grass.\n" * 4
NAMES = ["anna", "bob", "otto", "eve", "hannah", "ada", "lil", "pip", "mim", "nan", "Zoë"]
RNG = np.random.default_rng(0)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def stored(codec: Codec) -> Codec:
    """Return the codec as a model's file keeps it."""
    space, form = json.loads(json.dumps([codec.space.to_json(), codec.to_json()], allow_nan=False))
    return Codec.from_json(Space.from_json(space), form)


def recording(folder: Path, name: str, seconds: float = 0.1, rate: int = 8000, channels: int = 1, **how: Any) -> Path:
    t = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * t)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, **how)
    return path


# -- text: what is a sequence ---------------------------------------------------------------------------------------------


def test_one_long_text_is_blocks_of_one_tensor(tmp_path: Path) -> None:
    data = read(file(tmp_path, "verse.txt", VERSE), length=10)
    assert data.consecutive
    assert data.space.sequence
    assert not data.space.ends
    assert data.space.kinds[0] == Category(tuple(sorted(set(VERSE))))
    assert data.x.dtype == torch.uint8
    assert data.x.is_contiguous()
    assert data.x.shape == (len(VERSE) // 10, 10)
    assert "".join(data.frame()) == VERSE[: len(VERSE) // 10 * 10]
    assert f"last {len(VERSE) % 10} characters" in data.notes[0]
    train, test = data.split(0.9, 0.1)
    assert torch.equal(torch.cat([train.x, test.x]), data.x[: len(train) + len(test)])
    assert read(tmp_path / "verse.txt").space.shape == (len(VERSE) // 10,)


def test_a_list_is_one_document_a_line(tmp_path: Path) -> None:
    data = read(file(tmp_path, "names.txt", "\n".join(NAMES) + "\n"))
    assert not data.consecutive
    assert data.space.ends
    assert data.space.kinds[0].states == len(set("".join(NAMES))) + 1
    assert data.space.shape == (7,)
    assert data.frame() == NAMES
    assert bool((data.x[:, -1] == data.space.kinds[0].states - 1).all()), "every document ends"
    assert read(file(tmp_path, "crlf.txt", "\r\n".join(NAMES)), tokens="bytes").frame() == NAMES
    one = read(tmp_path / "names.txt", documents="one", length=1)
    assert one.consecutive
    assert "".join(one.frame()) == "\n".join(NAMES) + "\n"


@pytest.mark.parametrize("content", ["\n".join(NAMES[:9]), "\n".join([*NAMES, "", *NAMES]), "\n".join([*NAMES, "x" * 201])])
def test_few_empty_or_long_lines_are_one_text(tmp_path: Path, content: str) -> None:
    assert read(file(tmp_path, "a.txt", content)).consecutive
    assert read(tmp_path / "a.txt", documents="lines").frame() == [line for line in content.split("\n") if line]


def test_length_bounds_documents(tmp_path: Path) -> None:
    path = file(tmp_path, "names.txt", "\n".join(NAMES))
    with pytest.warns(UserWarning, match="1 of 11 sequences are longer than 4 characters"):
        data = read(path, length=5)
    assert data.frame() == [name for name in NAMES if len(name) <= 4]
    assert data.space.shape == (5,)
    with pytest.raises(DataError, match=r"longer than length=2.*the shortest has 3 characters, the longest 6"):
        read(path, length=2)


def test_folders_of_text(tmp_path: Path) -> None:
    for i, name in enumerate(NAMES):
        file(tmp_path, f"{'ab'[i % 2]}/{i:02}.txt", f"{name}\n")
    data = read(tmp_path, context="label")
    assert data.context is not None
    assert data.c is not None
    assert sorted(data.frame()) == sorted(f"{name}\n" for name in NAMES)
    assert data.context.kinds[0] == Category(("a", "b"))
    assert data.frame()[0] == "anna\n"
    assert data.context_codec.decode(data.c).column(0).to_pylist() == ["a"] * 6 + ["b"] * 5
    assert len(read(tmp_path, documents="lines", tokens="bytes")) == len(NAMES)

    file(tmp_path, "a/long.txt", VERSE * 20)  # too long to be filled up to
    joined = read(tmp_path, length=1)
    assert joined.consecutive
    assert "12 texts are read as one, with the symbol U+0003" in joined.notes[0]
    whole = "".join(joined.frame())
    assert whole.startswith("anna\n\x03otto\n\x03hannah")
    assert whole.count("\x03") == 11
    with pytest.warns(UserWarning, match=r"fill no window of 20 \(11 of 12 sequences are shorter\)"):
        cut = read(tmp_path, context="label", length=20)
    assert not cut.consecutive
    assert cut.c is not None
    assert cut.x.shape == (len(VERSE * 20) // 20, 20)
    assert set(cut.c.flatten().tolist()) == {0.0}


# -- text: its symbols ----------------------------------------------------------------------------------------------------


def tokenizer_file(folder: Path) -> Path:
    made = text.train_tokens([VERSE], 270)
    return file(folder, "tokenizer.json", made.name)


@pytest.mark.parametrize("tokens", ["characters", "bytes", 270, "file"])
@pytest.mark.parametrize("documents", ["one", "lines"])
def test_text_round_trip(tmp_path: Path, tokens: Any, documents: str) -> None:
    content = VERSE + "schön, 日本 🦉\n" * 3
    path = file(tmp_path, "verse.md", content)
    tokens = tokenizer_file(tmp_path) if tokens == "file" else tokens
    data = read(path, tokens=tokens, documents=documents, length=1 if documents == "one" else None)
    back = data.frame()
    if documents == "lines":
        assert back == [line for line in content.split("\n") if line]
    elif tokens in ("characters",):
        assert "".join(back) == content
    # What a model's file keeps is enough to read and to write.
    codec = stored(data.codec)
    assert codec == data.codec
    pieces = ["the owl", "all his feathers"] if documents == "lines" else ["the owl", "the owl"]
    x = codec.encode(pieces)
    assert x.dtype == torch.float32
    assert codec.decode(x) == pieces
    assert torch.equal(codec.encode_prefix("the owl"), x[0][: len(codec.encode_prefix("the owl"))])
    assert codec.encode_prefix("").shape == (0,)
    assert torch.equal(read(path, space=codec, length=data.x.shape[1] if documents == "one" else None).x, data.x)


def test_a_trained_vocabulary_is_whole_and_shortens(tmp_path: Path) -> None:
    path = file(tmp_path, "verse.txt", VERSE)
    data = read(path, tokens=270, documents="one", length=7)
    assert data.space.kinds[0].states == 270
    assert data.x.dtype == torch.int16
    assert len(data.x) * 7 < 0.9 * len(VERSE)
    # One text is one stream of tokens, however many bytes are read at a time.
    whole = torch.cat([*data.x]).numpy()
    assert VERSE.startswith(text.coding(data.codec.form.coding, data.space.kinds[0].levels).decode(whole))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["t.txt.gz", "t.txt"])
def test_pieces_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Compressed, with a byte order mark, ends of line of two bytes, and characters cut in two by the size of a piece."""
    content = b"\xef\xbb\xbf" + VERSE.replace("owl", "öwl🦉").replace("\n", "\r\n").encode()
    path = file(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    for size in (1, 3, 5, 2**20):
        monkeypatch.setattr(text, "PIECE", size)
        assert "".join(read(path, length=1).frame()) == VERSE.replace("owl", "öwl🦉")
    assert read(path, tokens="bytes", length=1).x.flatten().numpy().tobytes() == content


def test_prompts_of_a_stream_have_one_length(tmp_path: Path) -> None:
    codec = read(file(tmp_path, "verse.txt", VERSE)).codec
    assert codec.decode(codec.encode("owl")) == ["owl"]
    with pytest.raises(DataError, match="lengths from 2 to 3 and this space has no end symbol"):
        codec.encode(["owl", "ow"])
    with pytest.raises(DataError, match="nothing to encode"):
        codec.encode([])
    with pytest.raises(DataError, match="encoded from strings; got int"):
        codec.encode([1, 2])
    with pytest.raises(DataError, match="must be a string; got list"):
        codec.encode_prefix([1.0])
    with pytest.raises(DataError, match="Only sequences have a beginning"):
        Codec(Space([Real()])).encode_prefix([1.0])


def test_unseen_symbols_are_named_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE", 4)
    stream = read(file(tmp_path, "verse.txt", VERSE)).codec
    words = read(["owl", "hare"], sequence=True).codec
    with pytest.raises(DataError, match=r"'é' \(U\+00E9\) at place 3 of the prefix is not among the 2\d characters"):
        stream.encode_prefix("owé")
    with pytest.raises(DataError, match=r"'z' \(U\+007A\) at place 1 of text 1 .*2 such in all: 'qz'"):
        words.encode(["owl", "zq"])
    with pytest.raises(DataError, match=r"'Q' .* at line 2, place 5 of new.txt"):
        read(file(tmp_path, "new.txt", "The owl,\nfor Q\n"), space=stream)
    with pytest.raises(DataError, match=r"'z' .* at place 2 of line 3 of names.txt"):
        read(file(tmp_path, "names.txt", "owl\n\nhzre\n"), space=words)


def test_a_known_space_decides_what_a_text_is(tmp_path: Path) -> None:
    stream = read(file(tmp_path, "verse.txt", VERSE), length=20).codec
    words = read(NAMES, sequence=True).codec
    short = read(file(tmp_path, "short.txt", "The owl,\nwas"), space=stream)
    assert short.x.shape == (1, 12)
    assert short.consecutive
    assert read(file(tmp_path, "one.txt", "anna\n"), space=words).frame() == ["anna"]
    assert read(["bob", "ada"], space=words).frame() == ["bob", "ada"]
    with pytest.raises(DataError, match="no end symbol, so it is for one long text"):
        read(tmp_path / "short.txt", space=stream, documents="lines")
    with pytest.raises(DataError, match="for documents; documents='one' does not fit"):
        read(tmp_path / "one.txt", space=words, documents="one")
    with pytest.raises(DataError, match="text and the space is not one of text"):
        read(tmp_path / "one.txt", space=Space([Real()]))


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (b"", {}, "is empty"),
        (b" \n\n\n", {}, "The text t.txt is empty; expected at least one line"),
        (b"\n", {"tokens": "bytes"}, "The text t.txt is empty"),
        (b"\x1f\x8b broken", {"name": "t.txt.gz"}, "Cannot read .*t.txt.gz"),
        (b"x", {"documents": "one"}, "One of the characters is not enough"),
        (b"one line", {"documents": "lines"}, "The data have 1 sequence; at least 2"),
        (b"good\nbad \xff\n", {}, r"not UTF-8 text \(invalid start byte at byte 9, line 2\).*tokens='bytes'"),
        (b"cut off \xc3", {}, r"not UTF-8 text \(unexpected end of data at byte 8, line 1\)"),
        (b"text", {"tokens": "words"}, "tokens='words' is not understood; expected 'characters', 'bytes', the file"),
        (b"text", {"tokens": 100}, "A vocabulary of 100 tokens is too small"),
        (b"text", {"documents": "pages"}, "documents='pages' is not understood"),
        (b"text", {"length": 0}, "1 or more; got 0"),
        (b"text", {"length": 5}, "length=5 is longer than the whole sequence of 4 characters"),
        (b"text", {"rate": 8000}, "rate= has no meaning for t, which is sequences of characters"),
        (b"text", {"target": "x"}, "no column 'x' to predict"),
        (b"text", {"context": "label"}, "no column 'label', named in context="),
        (b"text", {"kinds": {"values": "real"}}, "no column 'values', named in kinds="),
    ],
)
def test_bad_text(tmp_path: Path, content: bytes, how: dict[str, Any], message: str) -> None:
    how = dict(how)
    path = file(tmp_path, how.pop("name", "t.txt"), content)
    with pytest.raises(DataError, match=message):
        read(path, **how)


def test_bytes_need_not_be_text(tmp_path: Path) -> None:
    path = file(tmp_path, "t.txt", b"good\nbad \xff\n")
    data = read(path, tokens="bytes", length=2)
    assert data.space.kinds[0] == Category(tuple(range(256)))
    assert data.x.flatten().tolist() == list(b"good\nbad \xff\n")[:10]
    ended = read(path, tokens="bytes", documents="lines")
    assert ended.x[1].tolist() == [*b"bad \xff", 256]
    assert ended.frame() == ["good", "bad �"]


def test_tokens_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "verse.txt", VERSE)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"package tokenizers, which is not installed; pip install 'genus\[text\]'"):
        read(path, tokens=300)


def test_a_tokenizer_that_loses_something_says_so(tmp_path: Path) -> None:
    made = json.loads(text.train_tokens([VERSE.lower()], 270).name)
    made["normalizer"] = {"type": "Lowercase"}
    path = file(tmp_path, "t.json", json.dumps(made))
    with pytest.warns(UserWarning, match="does not give text back as it was"):
        data = read(file(tmp_path, "verse.txt", VERSE), tokens=path)
    assert data.frame()[0].startswith("the owl")


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer of the tokenizers package"):
        read(file(tmp_path, "verse.txt", VERSE), tokens=str(file(tmp_path, "t.json", "{}")))


# -- memory ---------------------------------------------------------------------------------------------------------------


def base(x: torch.Tensor) -> np.ndarray:
    """The array whose memory a tensor uses."""
    array: Any = x.numpy()
    while getattr(array, "base", None) is not None and not isinstance(array, np.memmap):
        array = array.base
    return array


def mapped(path: Path | None = None) -> bool:
    """Whether this process maps the file."""
    return str(path) in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_large_bytes_and_arrays_are_mapped(tmp_path: Path) -> None:
    path = file(tmp_path, "verse.txt", VERSE)
    data = read(path, tokens="bytes", length=16)
    assert mapped(path)
    data.x[0, 0] = 0  # a copy of the page: the file stays as it is
    assert path.read_bytes().startswith(b"The")
    for dtype in (np.uint8, np.int16, np.uint16, np.int32):
        array = tmp_path / f"{np.dtype(dtype).name}.npy"
        np.save(array, RNG.integers(0, 200, 1000).astype(dtype))
        kept = read(array, sequence=True)
        assert mapped(array), dtype
        assert kept.consecutive
        assert kept.x.flatten().tolist() == np.load(array).tolist()
        assert (kept.frame() == np.load(array).reshape(10, 100)).all()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_much_text_goes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, "verse.txt", VERSE)
    plain = read(path, length=4)
    monkeypatch.setattr(text, "PIECE", 50)
    monkeypatch.setattr(sequences, "LARGE", 120)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large = read(path, length=4)
    assert f"{tmp_path}/" in Path("/proc/self/maps").read_text()
    assert torch.equal(large.x, plain.x)
    assert large.x.dtype == torch.uint8
    assert not [p for p in tmp_path.iterdir() if p != path], "a file is left"


# -- numbers --------------------------------------------------------------------------------------------------------------

SERIES = RNG.integers(0, 5, 60)


def test_arrays_are_sequences() -> None:
    rows = read(SERIES.reshape(6, 10), sequence=True)
    assert rows.space == Space(Category((0, 1, 2, 3, 4)), shape=(10,), sequence=True)
    assert not rows.consecutive
    assert (rows.frame() == SERIES.reshape(6, 10)).all()
    assert rows.frame().dtype == SERIES.dtype
    one = read(SERIES, sequence=True, length=7)
    assert one.consecutive
    assert one.x.flatten().tolist() == SERIES[:56].tolist()
    tensor = read(torch.from_numpy(SERIES).reshape(6, 10), sequence=True)
    assert isinstance(tensor.frame(), torch.Tensor)
    assert torch.equal(tensor.frame(), torch.from_numpy(SERIES).reshape(6, 10))


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.arange(60) % 4 > 1, Category((False, True))),
        (SERIES.astype(np.int8), Category((0, 1, 2, 3, 4))),
        (SERIES - 2, Lattice(-2, 2)),
        (SERIES * 100, Lattice(0, 400, 100)),
        (SERIES / 10, Lattice(0, 0.4, 0.1)),
        (RNG.normal(size=60), Real()),
        (np.array(list("abbac" * 12)), Category(("a", "b", "c"))),
    ],
)
def test_kinds_of_elements(array: np.ndarray, kind: Any) -> None:
    data = read(array, sequence=True, length=6)
    found = data.space.kinds[0]
    assert type(found) is type(kind)
    assert isinstance(kind, Real) or (kind.magnitude, repr(kind)[:11]) == (found.magnitude, repr(found)[:11])
    np.testing.assert_array_equal(data.frame().reshape(-1), array if array.dtype.kind != "f" else data.frame().reshape(-1))
    if array.dtype.kind == "f":
        np.testing.assert_allclose(data.frame().reshape(-1), array, rtol=1e-6)
    again = stored(data.codec).encode(array.reshape(10, 6))
    torch.testing.assert_close(again, data.x.to(again.dtype))
    data.space.check(data.x)


def test_wishes_for_elements() -> None:
    ids = RNG.integers(0, 3000, 60)
    data = read(ids, sequence=True, kinds={"values": "category"})
    assert data.space.kinds[0].states == ids.max() + 1
    assert read(ids, sequence=True).space.kinds[0].states < 60
    assert isinstance(read(SERIES, sequence=True, kinds={"values": "lattice"}).space.kinds[0], Lattice)
    assert read(SERIES, sequence=True, kinds={"values": Lattice(0, 9)}).space.kinds[0] == Lattice(0, 9)


def test_a_column_is_a_sequence(tmp_path: Path) -> None:
    rows = [f"{i},{'sun' if s else 'fog'},{s}\n" for i, s in enumerate(SERIES)]
    path = file(tmp_path, "w.csv", "day,sky,rain\n" + "".join(rows))
    sky = read(path, sequence="sky")
    assert sky.consecutive
    assert sky.space.kinds[0] == Category(("fog", "sun"))
    assert sky.frame().reshape(-1).tolist() == ["sun" if s else "fog" for s in SERIES]
    assert read(path, sequence="rain", length=6).frame().reshape(-1).tolist() == SERIES.tolist()
    again = read(path, space=sky.codec, sequence="sky")
    assert torch.equal(again.x, sky.x)
    with pytest.raises(DataError, match="no column 'snow', named in sequence=; the columns are day, sky, rain"):
        read(path, sequence="snow")
    with pytest.raises(DataError, match="has no context for each of its rows"):
        read(path, sequence="rain", context="sky")
    with pytest.raises(DataError, match="'sky' cannot be both the context and the sequence"):
        read(path, sequence="sky", context="sky")
    with pytest.raises(DataError, match="column 'sky' holds no numbers"):
        read(path, sequence=True)


@pytest.mark.parametrize("lengths", [(3, 1, 4), (2, 2, 2)])
@pytest.mark.parametrize("values", ["symbols", "integers", "reals"])
def test_lists_are_sequences_with_an_end(tmp_path: Path, lengths: tuple[int, ...], values: str) -> None:
    draw: dict[str, Callable[[int], Any]] = {
        "symbols": lambda n: RNG.integers(0, 4, n),
        "integers": lambda n: RNG.integers(-9, 9, n),
        "reals": RNG.normal,
    }
    lists = [draw[values](n) if values != "reals" else RNG.normal(size=n) for n in lengths]
    table = pa.table({"series": [one.tolist() for one in lists], "group": ["a", "b", "a"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    for data in (read(lists, sequence=True), read(tmp_path / "t.parquet", sequence="series", context="group")):
        assert data.space.ends == (len(set(lengths)) > 1)
        assert data.x.shape == (3, max(lengths) + data.space.ends)
        for one, back in zip(lists, data.frame(), strict=True):
            np.testing.assert_allclose(one, back, rtol=1e-6)
        stored(data.codec).space.check(data.x)
        again = data.codec.encode(lists)
        torch.testing.assert_close(again, data.x.to(again.dtype), equal_nan=True)
        torch.testing.assert_close(data.codec.encode_prefix(lists[0]), again[0][: lengths[0]])
    assert data.c is not None
    assert data.c.flatten().tolist() == [0, 1, 0]


def test_texts_in_a_column_are_documents() -> None:
    reviews = [f"review number {i}" for i in range(60)]
    data = read({"review": reviews, "stars": [1, 5, 3] * 20}, sequence="review", context="stars")
    assert data.frame() == reviews
    assert data.c is not None
    again = read({"review": reviews[:1], "stars": [5]}, space=(data.codec, data.context_codec), sequence="review")
    assert again.frame() == reviews[:1]
    assert again.c is not None
    assert again.c.tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("source", "how", "message"),
    [
        (np.array([], dtype=int), {}, "empty"),
        (np.zeros((3, 0)), {}, "is empty"),
        (np.zeros((2, 2, 2, 2)), {}, r"arrays \(T,\) or \(N, T\)"),
        (np.array([1.0, np.nan, 2.0]), {}, "NaN, first at place 1"),
        (np.array([[1, 2], [3, 4]]), {"length": 3}, "have 2 values each; leave length=3 out"),
        ([[], []], {}, "empty"),
        ([[1, 2], [[3]]], {}, "Sequence 1 has shape"),
        ({"a": pa.array([1.0, None, 2.0]).to_numpy(zero_copy_only=False)}, {"sequence": "a"}, "'a' has no value in row 1"),
        ([1, [2, 3]], {}, "mixes sequences and single values"),
        ({"a": [[1, None], [2]]}, {"sequence": "a"}, "hold missing values or several types"),
        ("digits", {}, "are images and not sequences"),
        ([1, 2, 3], {"tokens": "bytes"}, "tokens= has no meaning for data, which is sequences of values"),
        ({"a": [1, 2]}, {"sequence": None, "length": 3}, "length= has no meaning for data, which is a table"),
    ],
)
def test_bad_sequences(source: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(source, **{"sequence": True} | how)


def test_rows_of_a_table_are_sequences_beside_their_condition() -> None:
    table = {"a": [1, 2, 3], "b": [0, 1, 0], "kind": ["u", "v", "u"]}
    data = read(table, sequence=True, context="kind")
    assert data.x.tolist() == [[1, 0], [2, 1], [3, 0]]
    assert data.c is not None
    assert data.c.flatten().tolist() == [0, 1, 0]
    assert torch.equal(read(table, space=(data.codec, data.context_codec)).x, data.x)


def test_many_symbols_are_kept_as_they_are(tmp_path: Path) -> None:
    ids = RNG.integers(0, 40_000, 2000).astype(np.uint16)
    data = read(ids, sequence=True, kinds={"values": "category"})
    assert data.x.dtype == torch.int32
    assert data.x.flatten().tolist() == ids.tolist()


def test_values_that_a_known_space_lacks() -> None:
    space = read(SERIES, sequence=True).codec
    with pytest.raises(DataError, match="lengths from 1 to 2; the space has no end"):
        read([[1, 2], [3]], space=space)
    with pytest.raises(DataError, match=r"holds 7 at place 1, which is none of the 5 symbols"):
        read(np.array([1, 7]), space=space)
    with pytest.raises(DataError, match="not there in training"):
        space.encode(np.array([[1, 7]]))
    with pytest.raises(DataError, match="sequences of numbers and the space is"):
        read(np.array([1, 7]), sequence=True, space=Space([Real()]))


def test_small_integers_split_like_floats() -> None:
    space = Space(Lattice(0, 255), shape=(3,), sequence=True)
    x = torch.tensor([[0, 128, 255]])
    for dtype in (torch.uint8, torch.int16, torch.int64):
        for found, expected in zip(space.split(x.to(dtype)), space.split(x.float()), strict=True):
            assert torch.equal(found, expected)


# -- sound ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "cells"), [("mu-law", 256), ("linear-8", 256), ("linear", 65536), ("linear-12", 4096)])
def test_encodings_are_inverse_on_every_cell(encoding: str, cells: int) -> None:
    every = np.arange(cells) - (0 if encoding == "mu-law" else cells // 2)
    wave = to_wave(every, encoding)
    assert (np.diff(wave) > 0).all()
    assert np.abs(wave).max() <= 1
    np.testing.assert_array_equal(from_wave(wave, encoding), every)


def test_mu_law_is_finer_where_it_is_quiet() -> None:
    wave = np.linspace(-1, 1, 10_001)
    error = np.abs(to_wave(from_wave(wave, "mu-law"), "mu-law") - wave)
    assert error.max() < 0.022
    assert error[np.abs(wave) < 0.01].max() < 4e-4
    assert np.abs(to_wave(from_wave(wave, "linear-8"), "linear-8") - wave)[np.abs(wave) < 0.01].max() > 3e-3


@pytest.mark.parametrize("encoding", ["mu-law", "linear", "linear-8", "linear-24", "real"])
@pytest.mark.parametrize("documents", ["auto", "files", "one"])
def test_sound_round_trip(tmp_path: Path, encoding: str, documents: str) -> None:
    for i in range(3):
        recording(tmp_path, f"{'ab'[i % 2]}/{i}.wav", 0.1 + 0.02 * (i if documents == "files" else 0))
    data = read(tmp_path, encoding=encoding, documents=documents, context="label" if documents != "one" else None)
    assert data.consecutive == (documents == "one")
    assert data.space.ends == (documents == "files")
    assert isinstance(data.space.kinds[0], Real if encoding == "real" else Lattice)
    assert data.codec.form is not None
    assert (data.codec.form.rate, data.codec.form.coding) == (8000, encoding)
    if documents != "one":
        assert data.c is not None
        assert data.c.flatten().tolist() == [0, 0, 1]
    original = soundfile.read(tmp_path / "a" / "0.wav")[0]
    back = np.asarray(data.frame()[0] if documents != "one" else data.frame().reshape(-1)[: len(original)])
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, original[: len(back)], atol={"mu-law": 0.012, "linear-8": 0.005}.get(encoding, 5e-5))
    codec = stored(data.codec)
    assert codec == data.codec
    data.space.check(data.x if data.x.is_floating_point() else data.x.to(data.space.dtype))
    waves = data.frame()
    again = codec.encode(waves)
    torch.testing.assert_close(again, data.x.to(again.dtype), equal_nan=True)
    assert torch.equal(codec.encode_prefix(waves[0][:5]), again[0, :5])
    if encoding != "real":
        assert torch.equal(read(tmp_path, space=codec, documents=documents).x.nan_to_num(-1.0), data.x.nan_to_num(-1.0))


def test_one_recording_is_a_stream_and_clips_are_windows(tmp_path: Path) -> None:
    for i, seconds in enumerate((0.1, 0.25, 0.01)):
        recording(tmp_path, f"clips/{i}.wav", seconds)
    one = read(tmp_path / "clips" / "1.wav", length=500)
    assert one.consecutive
    assert one.x.shape == (4, 500)
    assert one.x.dtype == torch.uint8
    with pytest.warns(UserWarning, match=r"480 of 2,880 samples fill no window of 600 \(1 of 3 sequences are shorter\)"):
        data = read(tmp_path / "clips", length=600)
    assert data.x.shape == (4, 600)
    whole = from_wave(soundfile.read(tmp_path / "clips" / "1.wav")[0], "mu-law")
    assert data.x[1:].flatten().tolist() == whole[:1800].tolist()
    with pytest.raises(DataError, match="No sequence has 5,000 samples, the longest has 2,000"):
        read(tmp_path / "clips", length=5000)


def test_resampling_keeps_the_pitch(tmp_path: Path) -> None:
    recording(tmp_path, "a.wav", 0.5, rate=8000)
    recording(tmp_path, "b.flac", 0.5, rate=22050)
    with pytest.raises(DataError, match=r"b.flac has 22,050 samples a second and a.wav has 8,000; give rate=8000"):
        read(tmp_path)
    data = read(tmp_path, rate=8000, encoding="linear")
    assert data.x.shape == (2, 4000)
    assert np.abs(data.frame()[0] - data.frame()[1])[200:-200].max() < 2e-3
    with pytest.raises(DataError, match=r"b.flac has 22,050 samples a second and the space has 8,000; give rate=8000"):
        read(tmp_path / "b.flac", space=data.codec)
    assert read(tmp_path / "b.flac", space=data.codec, rate=8000).x.shape == (1, 4000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_every_depth_is_read(tmp_path: Path, subtype: str) -> None:
    path = recording(tmp_path, "a.wav", subtype=subtype)
    data = read(path, encoding="linear", length=80)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)
    np.testing.assert_allclose(data.frame().reshape(-1), expected, atol=0.008 if subtype == "PCM_U8" else 5e-5)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-300])
    return path


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (lambda f: recording(f, "two.wav", channels=2), {}, r"two.wav has 2 channels; expected one.*mean"),
        (lambda f: cut(recording(f, "cut.wav")), {}, r"cut.wav is cut off: it has 1,344 of 1,644 bytes"),
        (lambda f: cut(recording(f, "cut.flac")), {}, "cut.flac is no recording that can be read"),
        (lambda f: cut(recording(f, "cut.ogg")), {}, "cut.ogg is cut off: its last page is missing"),
        (lambda f: file(f, "no.wav", "not a recording"), {}, "no.wav is no recording that can be read"),
        (lambda f: file(f, "no.ogg", "not a recording"), {}, "no.ogg is no recording that can be read"),
        (lambda f: file(f, "head.wav", b"RIFF\x00\x00\x00\x00WAVE"), {}, "head.wav is no recording"),
        (lambda f: file(f, "none.wav", b""), {}, "is empty"),
        (lambda f: file(f, "folder/none.wav", b"").parent, {}, "none.wav is empty"),
        (lambda f: recording(f, "silent.wav", 0.0), {}, "silent.wav holds no samples"),
        (lambda f: recording(f, "a.wav"), {"encoding": "mp3"}, "no encoding 'mp3'; expected 'mu-law'"),
        (lambda f: recording(f, "a.wav"), {"encoding": "linear-99"}, "no encoding 'linear-99'"),
        (lambda f: recording(f, "a.wav"), {"documents": "lines"}, "documents='lines' is not for sound"),
        (lambda f: recording(f, "a.wav"), {"documents": "files"}, "The data have 1 sequence"),
        (lambda f: recording(f, "a.wav"), {"rate": 0}, "from 1 to 1,000,000; got 0"),
        (lambda f: recording(f, "a.wav"), {"tokens": "bytes"}, "tokens= has no meaning for a, which is sequences of samples"),
        (lambda f: recording(f, "a.wav"), {"space": Space([Real()])}, "sound and the space is not one of sound"),
    ],
)
def test_bad_sound(tmp_path: Path, make: Callable[[Path], Path], how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(make(tmp_path), **how)


def test_whole_ogg_is_read(tmp_path: Path) -> None:
    assert read(recording(tmp_path, "a.ogg", 0.5), length=80).x.shape == (50, 80)


def test_a_length_that_the_header_does_not_know_is_no_error(tmp_path: Path) -> None:
    path = recording(tmp_path, "pipe.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(bytes(content))
    assert len(read(path, length=80)) == 10


def test_bad_waveforms(tmp_path: Path) -> None:
    space = read(recording(tmp_path, "a.wav")).codec
    with pytest.raises(DataError, match="NaN or infinite"):
        space.encode(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match=r"one axis, \(T,\); got shape \(1, 2\)"):
        space.encode(np.zeros((1, 1, 2)))
    pcm = np.array([[0, 16384, -32768]], dtype=np.int16)
    assert torch.equal(space.encode(pcm), space.encode(pcm / 2**15))


def test_write_wav(tmp_path: Path) -> None:
    wave = np.sin(np.arange(100)) * 2
    write_wav(tmp_path / "a.wav", wave, 16000)
    with (tmp_path / "b.part").open("wb") as out:
        write_wav(out, wave, 16000)
    found, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 16000
    np.testing.assert_allclose(found, wave.clip(-1, 1), atol=5e-5)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.part").read_bytes()


# -- sets of our own, real data, and models -------------------------------------------------------------------------------


def test_topics() -> None:
    data = read("topics")
    assert data.consecutive
    assert data.space.shape == (256,)
    assert data.x.numel() > 300_000
    assert any("help texts of Python" in note for note in data.notes)
    assert "The assert statement" in read("topics", documents="files").frame()[0].replace('"assert"', "assert")


def test_strings_sound_their_notes() -> None:
    data = read("strings", context="label")
    assert data.x.shape == (200, 4000)
    assert data.context is not None
    assert data.context.kinds[0].states == 10
    waves, notes = plucked_strings(20)
    for wave, note in zip(waves, notes, strict=True):
        octave = int(note[1]) - 4
        semitone = {"C": -9, "D": -7, "E": -5, "G": -2, "A": 0}[note[0]]
        pitch = 440 * 2 ** (octave + semitone / 12)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(wave, 8192)) ** 2)
        low, high = int(8000 / pitch / 1.3), int(8000 / pitch * 1.3)
        period = low + int(correlation[low : high + 1].argmax())
        assert abs(period - 8000 / pitch) <= 1, note
    assert torch.equal(read("strings").x, data.x)


def test_real_text(shared: Path) -> None:
    names = read(shared / "text" / "names.txt")
    assert names.space.shape == (16,)
    assert names.space.kinds[0].states == 27
    assert names.frame()[:2] == ["emma", "olivia"]
    start = time.perf_counter()
    data = read(shared / "text" / "tinyshakespeare.txt")
    assert time.perf_counter() - start < 0.5
    assert data.space.kinds[0].states == 65
    assert data.x.shape == (1_115_394 // 256, 256)


def test_real_sound(shared: Path) -> None:
    with pytest.warns(UserWarning, match="fill no window"):
        data = read(shared / "audio" / "spoken-digits", length=2000)
    assert data.codec.form is not None
    assert data.codec.form.rate == 8000
    assert data.x.shape[1] == 2000


@pytest.mark.parametrize("source", ["stream", "lines", "sound", "labelled"])
def test_models_learn_and_keep_what_was_read(tmp_path: Path, source: str) -> None:
    data: Dataset = {
        "stream": lambda: read(file(tmp_path, "verse.txt", VERSE), length=8),
        "lines": lambda: read(file(tmp_path, "names.txt", "\n".join(NAMES)), tokens=260),
        "sound": lambda: read(recording(tmp_path, "a.wav"), length=8),
        "labelled": lambda: read({"a": [[1, 2], [0], [2]] * 5, "b": list("uvw") * 5}, sequence="a", context="b"),
    }[source]()
    model = genus.RNN(data.space, data.context, width=8, layers=1)
    genus.fit(model, data, max_steps=3, progress=False)
    genus.save(model, tmp_path / "m.genus")
    loaded: Any = genus.load(tmp_path / "m.genus")
    c = None if data.c is None else data.c[:2]
    x = loaded.sample(2, c, seed=0)
    assert len(loaded.codec.decode(x)) == 2
    assert torch.equal(loaded.log_prob(data.x[:4], data.c[:4] if data.c is not None else None), model.log_prob(data.x[:4], data.c[:4] if data.c is not None else None))  # fmt: skip # noqa: E501
    start = {"stream": "The owl", "lines": "an", "sound": np.zeros(3), "labelled": [1]}[source]
    prefix = loaded.codec.encode_prefix(start)
    assert torch.equal(loaded.sample(2, c, seed=0, prefix=prefix)[0, : len(prefix)], prefix)


def test_command_line(tmp_path: Path) -> None:
    verse = file(tmp_path, "verse.txt", VERSE)
    out = tmp_path / "m.genus"
    fit = ["fit", verse, "--family", "rnn", "--set", "width=8", "--steps", 2, "--out", out, "--quiet"]
    assert run(*fit, "--tokens", 270, "--documents", "lines").code == 0
    assert genus.load(out).space.kinds[0].states == 271
    found = run("score", out, file(tmp_path, "new.txt", "The owl\nwas cold\n"), "--json")
    assert json.loads(found.out)["rows"] == 2
    assert run(*fit, "--length", 16).code == 0
    assert genus.load(out).space.shape == (16,)
    run(*fit, "--rate", 8000).refused(1, "rate= has no meaning", "rate is --rate")
    table = file(tmp_path, "t.csv", "a,b\n" + "".join(f"{i % 3},{i % 2}\n" for i in range(40)))
    fit[1] = table
    assert run(*fit, "--sequence", "a").code == 0
    assert genus.load(out).space.kinds[0] == Category((0, 1, 2))
    assert run("score", out, table, "--sequence", "a", "--json").code == 0
    assert run(*fit, "--sequence", "rows").code == 0
    assert genus.load(out).space.shape == (2,)
    fit[1] = recording(tmp_path, "a.wav")
    assert run(*fit, "--encoding", "linear-8", "--rate", 4000, "--length", 20).code == 0
    space = genus.load(out).codec
    assert (space.form.rate, space.form.coding) == (4000, "linear-8")  # type: ignore[union-attr]


def test_windows_of_one_recording_stay_together() -> None:
    groups = torch.arange(10).repeat_interleave(torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]))
    x = torch.arange(55.0)[:, None]
    data = genus.Dataset(x, None, genus.Space([genus.Real()]), groups=groups)
    first, second = data.split(test=0.3, seed=1)
    assert len(first) + len(second) == 55
    assert not set(first.groups.tolist()) & set(second.groups.tolist())
    assert 8 <= len(second) <= 25
    train, held = prepare(genus.NaiveBayes(data.space), data, 0.2, seed=0)
    group = dict(zip(x[:, 0].tolist(), groups.tolist(), strict=True))
    assert not {group[v] for v in train.x[:, 0].tolist()} & {group[v] for v in held.x[:, 0].tolist()}
    with pytest.raises(genus.DataError, match="1 group"):
        data.rows(groups == 3).split(test=0.5)


def test_the_beginning_of_one_long_sequence_is_held_out() -> None:
    """What follows the end, which is what will be asked for, is most like the end."""
    from genus.training.rows import prepare

    space = genus.Space(genus.Category(tuple("abcdefghij")), shape=(1,), sequence=True)
    data = genus.Dataset(torch.arange(10.0)[:, None], None, space, consecutive=True)
    train, held = prepare(genus.MarkovChain(space, order=1), data, 0.2, 0)
    assert held is not None
    assert (held.x.flatten().tolist(), train.x.flatten().tolist()) == ([0.0, 1.0], [float(i) for i in range(2, 10)])
    assert train.consecutive
