"""A model on disk: one safetensors file whose header holds the configuration as JSON. No code in it is ever run."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from genus import __version__
from genus.atomic import atomic_write
from genus.codec import Codec
from genus.configurable import unregistered_reason
from genus.errors import GenusError, ModelFileError
from genus.ladder import Contexts, GenerativeModel, HeldOut, build_family, calibrations_from_json
from genus.nets.state import NoMoreThan, check_numbers
from genus.random import isolated
from genus.registry import family
from genus.space import Space

__all__ = ["UNBELIEVABLE", "check_types", "is_model_file", "load", "read_tensors", "save", "sealed", "write_tensors"]

M = TypeVar("M", bound=GenerativeModel)
FORMAT = 5
DIGEST = re.compile(r', "digest": "([0-9a-f]{64})"(?=.\Z)', re.DOTALL)  # the last thing in a header
# What constructors and decoders raise on values that nobody checked; anything else is a fault of genus.
UNBELIEVABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one file, completely or not at all.

    Args:
        path: the file.
        tensors: by name.
        header: JSON values.

    Raises:
        ModelFileError: the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = sealed(json.dumps(header | {"format": FORMAT, "version": __version__}), tensors)
    with atomic_write(path, ModelFileError) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, say
            raise OSError(None, " ".join(str(error).split())) from error


def sealed(header: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata of a file: the header, whose last value is a digest of it and of all tensors, so that damage shows.

    There is one entry alone, since safetensors writes several in any order, and the same model would not be the same bytes.

    Args:
        header: JSON, an object.
        tensors: by name.
    """
    found = hashlib.sha256(header.encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode("utf-8", "surrogatepass"))
        if tensor.numel():
            found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return {"genus": f'{header[:-1]}, "digest": "{found.hexdigest()}"{header[-1:]}'}


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the JSON header of a file that `write_tensors` wrote.

    Raises:
        ModelFileError: the file is missing, truncated, damaged, not written by genus, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"There is no model file {path}; check the path.")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["genus"]) if metadata.get("genus") else None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise ModelFileError(f"{path} is not a complete genus file ({error}); save the model again with genus.save.") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ModelFileError(f"{path} is a safetensors file that genus did not write; expected a file of genus.save.")
    if header["format"] != FORMAT:
        raise ModelFileError(
            f"{path} has format {header['format']}, and this genus {__version__} reads {FORMAT}; {_reader(header)}."
        )
    if sealed(DIGEST.sub("", metadata["genus"]), tensors) != metadata:
        raise ModelFileError(f"{path} is damaged: its content is not what was written; copy it anew, or save the model again.")
    return tensors, header


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is called or begins as one of `save`: the length of a header and a brace, as safetensors has it."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".genus" or (head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size)


def _reader(header: dict[str, Any]) -> str:
    """Return which genus to install for a file of another format: the one that wrote it, where the file says it."""
    version = header.get("version")
    if isinstance(version, str) and re.fullmatch(r"\d+(\.\d+){1,3}\w{0,8}", version, re.ASCII) and version != __version__:
        return f"install genus {version}, which wrote it: pip install genus=={version}"
    return f"install {'a newer' if header['format'] > FORMAT else 'an older'} genus"


def save(model: GenerativeModel, path: str | os.PathLike[str]) -> None:
    """Write a model to one file: configuration as JSON, weights as safetensors.

    Raises:
        ModelFileError: the folder cannot be written, or the model could not be built again from the file.
    """
    if reason := unregistered_reason(type(model)):
        raise ModelFileError(f"This model cannot be saved: {reason}")
    try:
        check_numbers(model)
    except ValueError as error:
        raise ModelFileError(f"This model cannot be saved: {error}; train it again from its start.") from error
    write_tensors(path, model.state_dict(), describe(model))


def describe(model: GenerativeModel) -> dict[str, Any]:
    """Return the JSON values that rebuild a model without its weights: family, hyper-parameters, spaces and codecs."""
    return {
        "family": model.name,
        "config": model.config,
        "space": model.space.to_json(),
        "context": model.context.to_json() if model.context is not None else None,
        "acceptance": model.acceptance,
        "held_out": model.held_out.to_json() if model.held_out is not None else None,
        "calibrations": {name: one.to_json() for name, one in model.calibrations.items()},
        "contexts": model.contexts.to_json() if model.contexts is not None else None,
        "codec": model.codec.to_json() if model.codec is not None else None,
        "context_codec": model.context_codec.to_json() if model.context_codec is not None else None,
    }


@overload
def load(path: str | os.PathLike[str], into: M) -> M: ...
@overload
def load(path: str | os.PathLike[str], into: None = None) -> GenerativeModel: ...
def load(path: str | os.PathLike[str], into: GenerativeModel | None = None) -> GenerativeModel:
    """Read a model that `save` wrote, onto the CPU, in evaluation mode.

    Args:
        path: the file.
        into: a model with nets of its own (see `LatentVariable.replace`), which takes the weights; its family, spaces and
            hyper-parameters must be those of the file. By default the model is built from the file's header.

    Returns:
        The model.

    Raises:
        ModelFileError: the file is missing, truncated, foreign, tampered with, of another format, or of another model than
            `into`.
    """
    tensors, header = read_tensors(path)
    if into is not None:
        described = json.loads(json.dumps(describe(into)))
        if different := [name for name in ("family", "space", "context", "config") if header.get(name) != described[name]]:
            raise ModelFileError(f"{path} holds a model that differs in its {', '.join(different)}; give a model like it.")
    try:
        model = into if into is not None else _built(header, tensors)
        check_types(model, tensors)
        model.load_state_dict(tensors)
        check_numbers(model)
        model.acceptance = _share(header.get("acceptance", 1.0))
        model.held_out = HeldOut.from_json(header.get("held_out"))
        model.calibrations = calibrations_from_json(header.get("calibrations"), model.space)
        model.codec = _codec(model.space, header["codec"])
        if model.context is not None:
            model.context_codec = _codec(model.context, header["context_codec"])
            model.contexts = Contexts.from_json(header.get("contexts"), model.context)
    except UNBELIEVABLE as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        own = "" if into is not None else "; a model with nets of its own is loaded by load(path, into=model)"
        if (name := _unknown_family(header)) is not None:
            own, reason = "", f"there is no family {name!r} here; import the module that defines it first"
        raise ModelFileError(f"{path} does not describe a model that this genus can build: {reason}{own}") from error
    return model.eval()


def _codec(space: Space, data: Any) -> Codec | None:
    """Return the codec that a file describes, once it has taken a row there and back; None where there is none."""
    if not data:
        return None
    codec = Codec.from_json(space, data)
    codec.check()
    return codec


def check_types(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a tensor is not of the type of its place: PyTorch would convert it without a word."""
    for name, own in model.state_dict().items():
        dtype = tensors[name].dtype if name in tensors else own.dtype
        fine = (torch.float32, torch.float64) if own.dtype in (torch.float32, torch.float64) else (own.dtype,)
        if dtype not in fine:
            raise ValueError(f"{name} is of {dtype}, and expected of {own.dtype}")


def _share(value: Any) -> float:
    """Return the share of draws that obey the constraints."""
    if not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"acceptance is {value!r}, and not a share above 0")
    return float(value)


def _unknown_family(header: dict[str, Any]) -> str | None:
    """Return the name of a file's family where there is no such family here."""
    name = header.get("family")
    try:
        family(name)  # type: ignore[arg-type]
    except GenusError:
        return name if isinstance(name, str) else None
    return None


def _built(header: dict[str, Any], tensors: dict[str, Tensor]) -> GenerativeModel:
    """Return the model that a header describes, with initial weights."""
    count = sum(tensor.numel() for tensor in tensors.values())
    _check_sizes(header, count)
    with NoMoreThan(tensors.values()):
        space = Space.from_json(header["space"])
        context = Space.from_json(header["context"]) if header["context"] is not None else None
    described = {**header["config"], "class": family(header["family"]).name}
    kinds = [kind for one in (space, context) if one is not None for kind in one.kinds]
    parts = sum(1 + len(kind.atoms) for kind in kinds)
    with isolated(0), NoMoreThan(tensors.values(), parts):  # initial weights must not cost the caller random numbers
        model = build_family(described, space, context)
    floats = {t.dtype for n, t in tensors.items() if t.is_floating_point() and n in dict(model.named_parameters())}
    return model.to(next(iter(floats))) if len(floats) == 1 and floats != {model.dtype} else model


MANY = 2**16  # components, units or rows that a hyper-parameter may name, though the file holds no number for each
LARGE = 2**18  # coordinates of a row, an image of 512 x 512 pixels, for which nets need not hold a number each


# A header that was tampered with must not fill the memory, so the sizes of the model are held against those of the file.


def _check_sizes(header: dict[str, Any], count: int) -> None:
    """Raise ValueError where a header asks for a size far above the numbers that the file holds."""
    spaces = [header[name] for name in ("space", "context") if header[name] is not None]
    dims = [math.prod(space["shape"]) for space in spaces if not space.get("sequence")]
    dims += [math.prod(space["shape"]) // 16 for space in spaces if space.get("sequence")]  # of which few are seen at a time
    if any(dim > max(16 * count, LARGE) for dim in dims):
        raise ValueError(f"it asks for rows of {max(dims):,} numbers, and the file holds {count:,}")
    for size in (v for v in _leaves(header["config"]) if isinstance(v, int)):
        if abs(size) > max(count, MANY):
            raise ValueError(f"it asks for a size of {size:,}, and the file holds {count:,} numbers")


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the numbers and texts of nested JSON values."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value
