"""One batch of real windows and an untrained network of each kind, in double precision: what losses are compared on."""

from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openmm_neuralmd.models.networks.interface import build_ligand_graph, build_protein_structure
from openmm_neuralmd.models.registry import build_network
from openmm_neuralmd.molecule.complex import load_bundled_complex

CONFIG = {"hidden": 16, "n_layers": 1, "n_radial": 8, "ligand_cutoff": 5.0, "pocket_cutoff": 10.0}
CASES = {f"{kind}, {k} snapshots": (kind, k) for kind in ("ode", "sde", "gnn", "denoising", "verlet") for k in (1, 4)}
DISPLACEMENT = 0.7


def build_case(kind: str, n_steps: int) -> dict[str, Any]:
    """Network, windows (8, n_steps + 2, n_atoms, 3) [A] of the bundled MD, graph, embedded protein, generator."""
    complex_ = load_bundled_complex()
    with resources.as_file(resources.files("openmm_neuralmd") / "assets/4g3e/reference.npz") as path:
        data = np.load(path)
        snapshots = torch.from_numpy(10.0 * data["r1"][:200:10][:, data["is_heavy"]].astype(np.float64))
    torch.manual_seed(11)
    net = build_network(kind, CONFIG).double()
    return {
        "net": net,
        "window": torch.stack([snapshots[k : k + n_steps + 2] for k in range(8)]),
        "graph": build_ligand_graph(complex_, torch.float64),
        "protein": net.embed_protein(build_protein_structure(complex_, pocket_cutoff=10.0, dtype=torch.float64)),  # type: ignore[operator]
        "generator": torch.Generator().manual_seed(5),
        "displacement": DISPLACEMENT,
    }


def measure(net: torch.nn.Module, loss: Tensor) -> dict[str, float]:
    """The loss, and the norm of its gradient."""
    loss.backward()
    squares = [p.grad.square().sum() for p in net.parameters() if p.grad is not None]
    return {"loss": float(loss.detach()), "gradient norm": float(torch.stack(squares).sum().sqrt())}
