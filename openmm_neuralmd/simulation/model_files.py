"""Model files that saved Systems name by their path and SHA-256, found again where they are now."""

import os
from pathlib import Path

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.files import compute_sha256

MODEL_PATH_VARIABLE = "NEURALMD_MODEL_PATH"
"""Names more folders to look in, as PATH does."""


def find_model_file(path: Path, sha256: str) -> Path:
    """The model file with this SHA-256: at its path, in a folder of NEURALMD_MODEL_PATH, or among the bundled ones.

    Raises:
        ModelContractError: If there is none, or only one with another content.
    """
    folders = [Path(f) for f in os.environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if f]
    bundled = Path(__file__).resolve().parents[1] / "assets" / "4g3e"
    found = [c for c in (path, *(f / path.name for f in folders), bundled / path.name) if c.is_file()]
    for candidate in found:
        if compute_sha256(candidate) == sha256:
            return candidate
    problem = f"{found[0]} has another content (SHA-256 differs)" if found else "it is not there"
    raise ModelContractError(
        f"model file {path} of a saved System: {problem}; put the original back, or name its folder in "
        f"{MODEL_PATH_VARIABLE}"
    )
