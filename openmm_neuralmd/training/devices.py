"""The device that training computes on."""

import torch

from openmm_neuralmd.errors import InputError


def select_device(name: str) -> torch.device:
    """The device of a name: "cpu", "cuda" or "cuda:1"; "auto" is CUDA where there is one.

    Raises:
        InputError: If there is no such device here.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *(f"cuda:{k}" for k in range(n_cuda))]
    if name == "auto":
        return torch.device("cuda" if n_cuda else "cpu")
    if name not in (*here, *(["cuda"] if n_cuda else [])):
        reason = "" if torch.version.cuda or not name.startswith("cuda") else " (this torch was built without CUDA)"
        raise InputError(f"no device {name!r} here{reason}; choose one of auto, {', '.join(here)}")
    return torch.device(name)
