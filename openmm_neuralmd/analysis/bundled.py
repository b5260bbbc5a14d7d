"""The bundled 4G3E reference: ligand, starting structure, and two MD replicas of 2.88 ns each."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

import mdtraj
import numpy as np

from openmm_neuralmd.io.trajectories import TrajectoryFile, open_trajectory
from openmm_neuralmd.molecule.ligand import load_ligand_sdf
from openmm_neuralmd.molecule.site import BindingSite, build_site

LIGAND_NAME = "0WC"
REPLICAS = ("r1", "r2")
TRAINING_FRACTION = 0.8
"""The part of r1, from its start, that the bundled models have seen."""


def get_bundled_path(name: str) -> Path:
    """Path of a bundled 4G3E file; the package is installed as plain files."""
    return Path(str(resources.files("openmm_neuralmd") / "assets" / "4g3e" / name))


def load_bundled_site() -> BindingSite:
    """The binding site of ``complex.pdb``."""
    start = mdtraj.load(str(get_bundled_path("complex.pdb")))
    graph = load_ligand_sdf(get_bundled_path("ligand.sdf"), LIGAND_NAME)
    return build_site(start.topology, start.xyz[0].astype(np.float64), ligand=LIGAND_NAME, graph=graph)


def open_bundled_replica(name: str) -> TrajectoryFile:
    """Ligand and pocket of ``r1`` or ``r2`` every 80 ps."""
    file = open_trajectory(get_bundled_path(f"{name}_pocket.xtc"), get_bundled_path("pocket.pdb"), label=name)
    return replace(file, is_placed=True)
