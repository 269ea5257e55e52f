"""Text, encoded as the symbols of an alphabet (characters, bytes, or the tokens of a tokenizer) and decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from genus.errors import DataError
from genus.kinds import Level

__all__ = ["Bytes", "Characters", "Coding", "Tokens", "coding", "smallest_type", "train_tokens"]

Where = Callable[[int, int], str]  # (text, place), both from 0 -> that place in words, for a message


class Coding(ABC):
    """Encodes text as indices of symbols, and decodes them.

    Attributes:
        name: the text by which a `Form` keeps the coding.
        levels: the symbols.
    """

    name: str
    levels: tuple[Level, ...]

    @abstractmethod
    def encode(self, texts: Sequence[Any], where: Where) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the symbols of texts, (M,), each text after another, and the symbols of each, (N,).

        Args:
            texts: N strings, or bytes.
            where: says in words where a place is, for messages.

        Raises:
            DataError: a text has a symbol that the alphabet lacks.
        """

    @abstractmethod
    def decode(self, index: np.ndarray) -> str:
        """Return the text of these indices of symbols, (M,)."""


def smallest_type(states: int) -> type[np.generic]:
    """Return the smallest integer type of both NumPy and PyTorch that indexes so many states."""
    return np.uint8 if states <= 2**8 else np.int16 if states <= 2**15 else np.int32


class Characters(Coding):
    """Encodes every character as a symbol.

    Args:
        levels: the characters.
        beyond: characters that are none of these are infinite, among indices in float32, where they are otherwise refused.

    >>> letters = Characters("abc")
    >>> letters.encode(["cab", "b"], lambda text, place: f"place {place}")
    (array([2, 0, 1, 1], dtype=uint8), array([3, 1]))
    """

    name = "characters"

    def __init__(self, levels: Iterable[str], beyond: bool = False) -> None:
        self.levels: tuple[str, ...] = tuple(levels)
        self.beyond = beyond
        points = np.array([ord(level) for level in self.levels], dtype=np.int64)
        self.points = points.astype(np.uint32)
        # The end is one state more than there are characters.
        self.table = np.full(points.max(initial=0) + 2, -1, dtype=np.int32)
        self.table[points] = np.arange(len(points))

    def encode(self, texts: Sequence[Any], where: Where) -> tuple[np.ndarray, np.ndarray]:
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        index = self.table[np.minimum(points, len(self.table) - 1)]
        if self.beyond:
            return np.where(index < 0, np.float32(np.inf), index.astype(np.float32)), lengths
        if len(index) and index.min() < 0:
            self._refuse(points, index < 0, lengths, where)
        return index.astype(smallest_type(len(self.levels) + 1)), lengths

    def _refuse(self, points: np.ndarray, unseen: np.ndarray, lengths: np.ndarray, where: Where) -> None:
        at = int(unseen.argmax())
        text = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
        others = Counter(map(chr, points[unseen].tolist()))
        more = f", {int(unseen.sum()):,} such in all: {''.join(sorted(others))[:40]!r}" if unseen.sum() > 1 else ""
        raise DataError(
            f"{_shown(int(points[at]))} at {where(text, at - int(lengths[:text].sum()))} is not among the {len(self.levels)}"
            f" characters of the model{more}; replace it, or train on text that has it or with tokens='bytes', which has"
            " every text."
        )

    def decode(self, index: np.ndarray) -> str:
        if len(index) and index.max() >= len(self.points):
            raise DataError(f"Symbol {index.max()} is none of the codec's {len(self.points)} characters; the file is damaged.")
        return self.points[index].tobytes().decode("utf-32-le", "surrogatepass")


def _shown(point: int) -> str:
    return f"The character {chr(point)!r} (U+{point:04X})"


class Bytes(Coding):
    """Encodes every byte of the UTF-8 text as a symbol, which every text has. Bytes that are not UTF-8 decode to U+FFFD."""

    name = "bytes"
    levels: tuple[int, ...] = tuple(range(256))

    def encode(self, texts: Sequence[Any], where: Where) -> tuple[np.ndarray, np.ndarray]:
        parts = [t if isinstance(t, bytes) else t.encode("utf-8", "surrogatepass") for t in texts]
        return np.frombuffer(bytearray().join(parts), dtype=np.uint8), np.array([len(part) for part in parts], dtype=np.int64)

    def decode(self, index: np.ndarray) -> str:
        return index.astype(np.uint8).tobytes().decode("utf-8", "replace")


class Tokens(Coding):
    """Encodes text as tokens by a tokenizer of the `tokenizers` package.

    Args:
        json: the tokenizer as JSON, which model files keep.

    Raises:
        DataError: the package is not installed, or the JSON is none of its tokenizers.
    """

    def __init__(self, json: str) -> None:
        tokenizers = _need_tokenizers()
        self.name = json
        try:
            self.tokenizer = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # the package raises nothing more particular
            raise DataError(f"This is no tokenizer of the tokenizers package ({error}); save it with its save().") from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        count = max(self.tokenizer.get_vocab().values(), default=-1) + 1
        self.levels = tuple(self.tokenizer.id_to_token(i) or f"<unused {i}>" for i in range(count))

    def encode(self, texts: Sequence[Any], where: Where) -> tuple[np.ndarray, np.ndarray]:
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        dtype = smallest_type(len(self.levels) + 1)
        parts = [np.array(encoding.ids, dtype=dtype) for encoding in encoded]
        for i, (part, text) in enumerate(zip(parts, texts, strict=True)):
            if text and not len(part):
                raise DataError(
                    f"The tokenizer has no token for {text[:20]!r}, {where(i, 0)}; use a tokenizer that has every text."
                )
        return np.concatenate([np.array([], dtype), *parts]), np.array([len(part) for part in parts], dtype=np.int64)

    def decode(self, index: np.ndarray) -> str:
        return self.tokenizer.decode(index.tolist(), skip_special_tokens=False)


def _need_tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(
            "Tokens need the package tokenizers, which is not installed; pip install 'genus[text]', or use"
            " tokens='characters' or 'bytes'."
        ) from error
    return tokenizers


def train_tokens(texts: Iterable[str], size: int) -> Tokens:
    """Return a byte-pair encoding trained on texts, over bytes: it has every text (Sennrich et al. 2016, arXiv:1508.07909).

    Args:
        texts: the training texts.
        size: the number of tokens.

    Raises:
        DataError: a size below 257, or the package tokenizers is not installed.
    """
    if size < 257:
        raise DataError(f"A vocabulary of {size} tokens is too small; the 256 bytes and at least one pair of them are needed.")
    tokenizers = _need_tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return Tokens(tokenizer.to_str())


@lru_cache(maxsize=8)
def coding(name: str, levels: tuple[Level, ...]) -> Coding:
    """Return the coding that a `Form` keeps by name.

    Args:
        name: the form's `coding`.
        levels: of the space; None among them is the end.
    """
    if name == Bytes.name:
        return Bytes()
    return Characters(str(level) for level in levels if level is not None) if name == Characters.name else Tokens(name)
