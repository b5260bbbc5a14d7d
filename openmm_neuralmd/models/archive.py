"""A model file's weights and metadata, read without running anything that is in it.

The file is a TorchScript archive: a zip of metadata, tensors, a pickle that says which tensor is which, and compiled
code. The code stays unread: a network is built anew from ``config`` and filled with the weights. Of the pickle's
language the few words that TorchScript writes are followed here, and they make numbers, texts, lists and views of
tensors; no Python object is unpickled and nothing is imported or called.
"""

import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.errors import InputError, ModelContractError

METADATA_FILE = "metadata.json"
LARGEST_FILE = 2**30  # bytes; a network of the most channels and layers has half of that
_LARGEST_METADATA = 2**26  # bytes; a thousand bytes for each complex of MISATO are a quarter of that
_LARGEST_PICKLE = 2**22  # bytes; one of the bundled models has 11 kB
_MOST_MEMBERS = 20_000  # files in the archive; the bundled models have some 200
_MOST_OBJECTS = 20_000  # modules and tensors
_DEEPEST = 20  # modules in modules
_DIRECTORY_ENTRY = b"PK\x01\x02"


def read_model_file(path: Path) -> bytes:
    """The content of a model file.

    Raises:
        InputError: If there is no such file, or it cannot be read.
        ModelContractError: If it is larger than any model.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ModelContractError(f"{path}: {size / 1e9:.1f} GB, more than any model of this package has")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


class Archive:
    """The members of a model file; what is read is neither compressed, encrypted nor named twice.

    Args:
        content: Of the file.

    Raises:
        ModelContractError: If it is no such archive; the message says why, not which file.
    """

    def __init__(self, content: bytes) -> None:
        if content.count(_DIRECTORY_ENTRY) > _MOST_MEMBERS:  # counted before zipfile makes an object of each
            raise _refuse(f"more than {_MOST_MEMBERS} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except Exception as error:  # a damaged directory leads zipfile to many kinds
            raise _refuse(f"no archive: {_shorten(error)}") from error
        self._members = {member.filename: member for member in members}
        if len(self._members) < len(members):
            raise _refuse("a member is there twice")
        for name, member in self._members.items():
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise _refuse(f"a member is named {name[:60]!r}")
            if member.flag_bits & 0x1:
                raise _refuse("it is encrypted")
        plain = sum(m.file_size for m in members if m.compress_type == zipfile.ZIP_STORED)
        if plain > len(content):
            raise _refuse("its members overlap")
        roots = {name.split("/")[0] for name in self._members}
        if len(roots) != 1:
            raise _refuse(f"{len(roots)} folders at its top, one was expected")
        self._root = roots.pop()

    def read(self, name: str, *, most: int = LARGEST_FILE) -> bytes:
        """The content of a member.

        Raises:
            ModelContractError: If it is absent, compressed, damaged, or longer than ``most`` bytes.
        """
        member = self._members.get(f"{self._root}/{name}")
        if member is None:
            raise _refuse(f"it holds no {name}")
        if member.compress_type != zipfile.ZIP_STORED:
            raise _refuse(f"{name} is compressed, to {member.file_size} bytes when unpacked; model files hold it plain")
        if member.file_size > most:
            raise _refuse(f"{name} has {member.file_size} bytes, {most} are the most")
        try:
            return self._zip.read(member)
        except Exception as error:
            raise _refuse(f"{name}: {_shorten(error)}") from error

    def read_metadata(self) -> bytes:
        """The metadata's text."""
        return self.read(f"extra/{METADATA_FILE}", most=_LARGEST_METADATA)

    def read_weights(self) -> dict[str, Tensor]:
        """Tensors float32 by name, as in a network's ``state_dict``; views, which may share memory.

        Raises:
            ModelContractError: If they cannot be read.
        """
        if self.read("byteorder") != b"little":
            raise _refuse("its weights are of a machine with another order of bytes")
        try:
            root = _Reader(self._read_storage).read(self.read("data.pkl", most=_LARGEST_PICKLE))
            return _name_tensors(root)
        except ModelContractError:
            raise
        except Exception as error:  # words in a wrong order lead to many kinds
            raise _refuse(f"data.pkl: {_shorten(error)}") from error

    def _read_storage(self, key: str) -> np.ndarray:
        return np.frombuffer(self.read(f"data/{key}"), dtype="<f4").copy()


class _Name(NamedTuple):
    """A class or function that the pickle names."""

    name: str


@dataclass(eq=False)
class _Object:
    """A module, or a named tuple of one."""

    attributes: dict[str, Any] = field(default_factory=dict)


_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"))
_FIRST_OF_ARGUMENTS = frozenset(
    f"torch.jit._pickle {name}"
    for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
)


class _Reader:
    """The words of a pickle that TorchScript writes; any other is refused.

    Args:
        read_storage: Numbers of a storage, float32, by its key.
    """

    def __init__(self, read_storage: Callable[[str], np.ndarray]) -> None:
        self._read_storage = read_storage
        self._storages: dict[str, Tensor] = {}
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        """What the pickle describes: objects of objects, tensors, numbers and texts."""
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return self._stack.pop()
            self._follow(opcode.name, argument)
        raise _refuse("data.pkl ends too early")

    def _follow(self, word: str, argument: Any) -> None:
        stack = self._stack
        if word in _LITERALS:
            stack.append(argument)
        elif word in _CONSTANTS:
            stack.append(_CONSTANTS[word])
        elif word == "PROTO":
            return
        elif word in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif word in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif word == "MARK":
            stack.append(_MARK)
        elif word == "GLOBAL":
            stack.append(_Name(argument))
        elif word == "EMPTY_DICT":
            stack.append({})
        elif word == "EMPTY_LIST":
            stack.append([])
        elif word == "TUPLE":
            stack.append(tuple(self._pop_marked()))
        elif word in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n_items = int(word[-1])
            stack[-n_items:] = [tuple(stack[-n_items:])]
        elif word == "APPENDS":
            items = self._pop_marked()
            _require(stack[-1], list).extend(items)
        elif word == "SETITEMS":
            items = self._pop_marked()
            names = [_require(key, str) for key in items[::2]]  # others may take for ever to hash
            _require(stack[-1], dict).update(zip(names, items[1::2], strict=True))
        elif word == "NEWOBJ":
            stack.pop()
            name = _require(stack.pop(), _Name).name
            if not name.startswith("__torch__."):
                raise _refuse(f"its weights belong to an object of {name[:60]}")
            stack.append(_Object())
        elif word == "BUILD":
            attributes = _require(stack.pop(), dict)
            _require(stack[-1], _Object).attributes = attributes
        elif word == "BINPERSID":
            stack.append(self._find_storage(*_require(stack.pop(), tuple)))
        elif word == "REDUCE":
            arguments = _require(stack.pop(), tuple)
            stack.append(self._reduce(_require(stack.pop(), _Name).name, arguments))
        else:
            raise _refuse(f"data.pkl says {word}, which no model file does")

    def _pop_marked(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _reduce(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "torch._utils _rebuild_tensor_v2":
            return _view(*arguments[:4])
        if name == "collections OrderedDict" and not arguments:
            return {}
        if name in _FIRST_OF_ARGUMENTS:
            return arguments[0]
        raise _refuse(f"data.pkl asks to call {name[:60]}")

    def _find_storage(self, word: str, kind: _Name, key: str, device: str, n_numbers: int) -> Tensor:  # noqa: ARG002
        name = _require(kind, _Name).name
        if _require(word, str) != "storage" or name != "torch FloatStorage":
            raise _refuse(f"its weights are of {name[:60]}, not of single precision")
        if _require(key, str) not in self._storages:
            self._storages[key] = torch.from_numpy(self._read_storage(key))
        if len(self._storages[key]) != _require(n_numbers, int):
            raise _refuse(f"data/{key[:20]} holds {len(self._storages[key])} numbers, {n_numbers} were promised")
        return self._storages[key]


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """A tensor in a storage; within it, and with no more numbers than it has."""
    numbers = (offset, *_require(size, tuple), *_require(stride, tuple))
    if not all(isinstance(n, int) and 0 <= n <= LARGEST_FILE for n in numbers) or len(size) != len(stride):
        raise _refuse("a tensor's place cannot be")
    n_numbers = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if n_numbers > len(_require(storage, Tensor)) or (n_numbers and last >= len(storage)):
        raise _refuse("a tensor reaches beyond its storage")
    return storage.as_strided(size, stride, offset)


def _name_tensors(root: Any) -> dict[str, Tensor]:
    """Tensors of a module and of the modules in it, by dotted name."""
    tensors: dict[str, Tensor] = {}
    pending = [("", root, 0)]
    n_seen = 0
    while pending:
        prefix, owner, depth = pending.pop()
        for name, value in _require(owner, _Object).attributes.items():
            n_seen += 1
            if n_seen > _MOST_OBJECTS or depth > _DEEPEST:
                raise _refuse("more modules in modules than any network has")
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, _Object):
                pending.append((f"{prefix}{name}.", value, depth + 1))
    return tensors


def _require(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__.strip('_')}")
    return value


def _refuse(reason: str) -> ModelContractError:
    return ModelContractError(f"damaged, or not a model file of openmm_neuralmd ({reason}); fetch or train it again")


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
