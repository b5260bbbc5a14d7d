"""A small random path, as numbers and as an mdtraj trajectory."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path


@pytest.fixture
def random_path() -> np.ndarray:
    """Eight carbons that wander about fixed places [nm], (60, 8, 3), float64."""
    rng = np.random.default_rng(7)
    steps = rng.normal(scale=0.02, size=(60, 8, 3))
    path = np.zeros_like(steps)
    for k in range(1, len(path)):
        path[k] = 0.9 * path[k - 1] + steps[k]
    return path + rng.uniform(0.0, 0.8, size=(8, 3))


@pytest.fixture
def random_trajectory(random_path: np.ndarray) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for k in range(random_path.shape[1]):
        topology.add_atom(f"C{k + 1}", mdtraj.element.carbon, residue)
    return mdtraj.Trajectory(random_path.astype(np.float32), topology)


@pytest.fixture(scope="session")
def holo() -> mdtraj.Trajectory:
    """The bundled complex, one frame."""
    return mdtraj.load(str(get_bundled_path("complex.pdb")))


@pytest.fixture(scope="session")
def bundled_run(tmp_path_factory: pytest.TempPathFactory, holo: mdtraj.Trajectory) -> Path:
    """A run directory whose ligand moves as in replica r2, every 80 ps, in the rigid protein."""
    from openmm import unit
    from openmm.app import DCDFile, PDBFile

    folder = tmp_path_factory.mktemp("run")
    structure = PDBFile(str(get_bundled_path("complex.pdb")))
    (folder / "topology.pdb").write_bytes(get_bundled_path("complex.pdb").read_bytes())
    (folder / "run.json").write_text(json.dumps({"ligand": "0WC", "sessions": [{"snapshots_per_s": 50.0}]}))
    snapshots = np.load(get_bundled_path("reference.npz"))["r2"][9::10]
    frame = holo.xyz[0].astype(np.float64)
    with (folder / "trajectory.dcd").open("wb") as file:
        writer = DCDFile(file, structure.topology, 80.0 * unit.picosecond, firstStep=1)
        for ligand in snapshots:
            frame[holo.topology.select("resname '0WC'")] = ligand
            writer.writeModel(frame * unit.nanometer)
    return folder
