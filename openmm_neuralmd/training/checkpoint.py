"""The checkpoint of a training, read without running anything and checked before it is used."""

import hashlib
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import write_whole

_DIGEST = "digest"
_ENTRIES: dict[str, type] = {
    "settings": dict,
    "kind": str,
    "device": str,
    "torch": str,
    "identity": dict,
    "windows": list,
    "labels": list,
    "net": dict,
    "average": dict,
    "optimizer": dict,
    "schedule": dict,
    "generator": Tensor,
    "step": int,
    "best": dict,
    "history": list,
}


def read_training_state(path: Path) -> dict[str, Any]:
    """What a training wrote, by ``_ENTRIES``; whether it belongs to this training is for the caller to say.

    Raises:
        InputError: If the file is damaged, holds something else, or numbers that are not finite.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says it all
            saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # pickle's and torch's readers raise whatever the damage led to
        raise _damaged(path, describe_error(error)) from error
    if not isinstance(saved, dict):
        raise _damaged(path, "it is something else")
    if saved.pop(_DIGEST, None) != compute_digest(saved):
        raise _damaged(path, "it is not as it was written")
    for name, kind in _ENTRIES.items():
        if not isinstance(saved.get(name), kind):
            raise _damaged(path, f"{name} is not what it must be")
    best, history = saved["best"], saved["history"]
    if not (_is_number(best.get("loss")) and isinstance(best.get("step"), int) and isinstance(best.get("state"), dict)):
        raise _damaged(path, "best is not what it must be")
    if saved["step"] < 1 or not history or not all(_is_row(row, history[0]) for row in history):
        raise _damaged(path, "step and history are not what they must be")
    for name in ("net", "average"):
        for key, values in saved[name].items():
            if not isinstance(values, Tensor) or not bool(torch.isfinite(values).all()):
                raise _damaged(path, f"{name}: {key} is not finite")
    return saved


def write_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint file in one go; ``state`` has ``_ENTRIES``, to which a digest of all is added.

    Raises:
        StorageError: If the disk is full; the old one stays.
    """
    with write_whole(path) as temporary:
        torch.save({**state, _DIGEST: compute_digest(dict(state))}, temporary)


def compute_digest(value: Any) -> str:
    """SHA-256 of tensors, numbers and texts in dictionaries and sequences, wherever the tensors are."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        values = value.detach().cpu().contiguous()
        digest.update(f"{values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(f"{key} ".encode())
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} ".encode())
        for each in value:
            _feed(digest, each)
    else:
        digest.update(f"{value!r} ".encode())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_row(row: Any, first: Any) -> bool:
    return isinstance(row, dict) and isinstance(first, dict) and row.keys() == first.keys() and "step" in row


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged checkpoint ({reason}); start afresh (`resume=False`)")
