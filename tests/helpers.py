"""Small complexes built in code, model doubles with known dynamics, tolerances and checkers."""

import json
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import mdtraj
import numpy as np
import openmm as mm
import pytest
import torch
from openmm import Vec3, unit
from openmm.app import Element, Modeller, PDBFile, Topology
from rdkit import Chem
from rdkit.Chem import AllChem
from torch import Tensor

from openmm_neuralmd.analysis.bundled import REPLICAS, get_bundled_path
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.dynamics.stepped import Stepped
from openmm_neuralmd.io.hdf5_trajectories import HDF5Writer
from openmm_neuralmd.models.bound import make_stepped
from openmm_neuralmd.molecule.complex import Complex, Ligand
from openmm_neuralmd.plugins import Plugins
from openmm_neuralmd.simulation.rigid import build_rigid_system

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

EXACT_A = 1e-9  # the same arithmetic in double precision
SINGLE_PRECISION_A = 1e-4  # paths of tens of steps in single precision
CONVERGED_A = 1e-3  # what the bond projection promises

# a chiral centre, a line of atoms (C-C#C-C), a ring, a terminal group and a planar one
CHIRAL_ALKYNE = "C[C@@](O)(C#Cc1ccccc1)C(N)=O"


def make_complex(
    smiles: str = CHIRAL_ALKYNE, *, hydrogens: bool = True, n_residues: int = 8, box: float | None = None, seed: int = 7
) -> Complex:
    """A ligand inside a ring of glycine backbones; ``box`` [nm] makes the topology periodic."""
    topology, positions = make_topology(smiles, hydrogens=hydrogens, n_residues=n_residues, seed=seed)
    if box is not None:
        topology.setPeriodicBoxVectors([Vec3(box, 0, 0), Vec3(0, box, 0), Vec3(0, 0, box)] * unit.nanometer)
    return Complex.from_topology(topology, positions, "LIG")


def build_periodic_system(complex_: Complex, box: np.ndarray) -> mm.System:
    """The complex with everything but the ligand held, and a periodic force that does nothing; box [nm], (3, 3)."""
    system = build_rigid_system(complex_)
    system.setDefaultPeriodicBoxVectors(*box)
    charges = mm.NonbondedForce()
    charges.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    for _ in range(system.getNumParticles()):
        charges.addParticle(0, 0.1, 0)
    system.addForce(charges)
    return system


def make_topology(
    smiles: str, *, hydrogens: bool = True, n_residues: int = 8, seed: int = 7, n_copies: int = 1
) -> tuple[Topology, np.ndarray]:
    """Topology and positions [nm]: glycines in chain A, then copies of the ligand, 3 nm apart, in chains B, C, ..."""
    topology, positions = Topology(), []
    chain = topology.addChain("A")
    for k in range(n_residues):
        residue = topology.addResidue("GLY", chain)
        angle = 2 * np.pi * k / max(n_residues, 1)
        centre = np.array([0.75 * np.cos(angle), 0.75 * np.sin(angle), 0.1 * (-1) ** k])
        for name, shift in (("N", (-0.12, 0.02, 0.07)), ("CA", (0.0, 0.0, 0.0)), ("C", (0.06, 0.13, 0.04))):
            topology.addAtom(name, Element.getBySymbol(name[0]), residue)
            positions.append(centre + shift)
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=seed)
    AllChem.MMFFOptimizeMolecule(molecule)
    if not hydrogens:
        molecule = Chem.RemoveHs(molecule)
    xyz = molecule.GetConformer().GetPositions() / 10.0
    xyz -= xyz.mean(axis=0)
    for copy in range(n_copies):
        residue = topology.addResidue("LIG", topology.addChain("BCDE"[copy]))
        atoms = [
            topology.addAtom(f"{a.GetSymbol()}{a.GetIdx()}", Element.getBySymbol(a.GetSymbol()), residue)
            for a in molecule.GetAtoms()
        ]
        for bond in molecule.GetBonds():
            order = int(bond.GetBondTypeAsDouble()) if bond.GetBondTypeAsDouble() != 1.5 else None
            topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()], order=order)
        positions.extend(xyz + np.array([3.0 * copy, 0.0, 0.0]))
    return topology, np.array(positions)


@dataclass
class ModelDouble:
    """Stands in for a bound model; F = -stiffness (x - centre), B = amplitude (1 + wave sin x) on the diagonal.

    Attributes:
        stiffness: [Da/snapshot^2].
        amplitude: [A/snapshot^1.5]; 0 makes the model Newtonian.
        wave: Makes the noise multiplicative, so that Ito and Stratonovich schemes differ.
        vibration: [A].
        mapping: Velocity for each displacement from the centre that is added to the initial one [1/snapshot].
        n_evaluations: How often it was called.
    """

    ligand: Ligand
    centre: Tensor  # [A], (N, 3)
    masses: Tensor  # [Da], (N,)
    stiffness: float = 2.0
    amplitude: float = 0.0
    wave: float = 0.0
    vibration: float = 0.0
    mapping: float = 0.0
    friction: float = 0.0
    snapshot_interval: float = 80.0
    scheme: str = "leapfrog"
    steps_per_snapshot: int = 1
    path: Path | None = None
    sha256: str = ""
    module: torch.nn.Module | None = None
    n_evaluations: int = field(default=0, compare=False)

    @property
    def dtype(self) -> torch.dtype:
        return self.centre.dtype

    @property
    def n_atoms(self) -> int:
        return self.ligand.n_atoms

    @property
    def is_random(self) -> bool:
        return self.n_noise > 0

    @property
    def n_noise(self) -> int:
        return 3 * self.n_atoms if self.amplitude else 0

    def compute_force(self, positions: Tensor) -> Tensor:
        self.n_evaluations += 1
        return -self.stiffness * (positions - self.centre)

    def compute_force_and_noise(self, positions: Tensor, increments: Tensor) -> tuple[Tensor, Tensor]:
        noise = self.amplitude * (1.0 + self.wave * torch.sin(positions)) * increments.reshape(positions.shape)
        return self.compute_force(positions), noise

    def compute_vibration(self, positions: Tensor, normals: Tensor) -> Tensor:
        return self.vibration * (1.0 + torch.cos(positions)) * normals.reshape(positions.shape)

    def make_propagator(self, **settings: Any) -> Stepped:
        return make_stepped(self, **settings)

    def map_velocities(self, positions: Tensor, velocities: Tensor) -> Tensor:
        return velocities + self.mapping * (positions - self.centre)


def make_double(complex_: Complex, *, dtype: torch.dtype = torch.float64, **settings: float | str) -> ModelDouble:
    """A harmonic well around the complex's pose."""
    ligand = complex_.ligand
    return ModelDouble(
        ligand,
        torch.from_numpy(10.0 * ligand.positions).to(dtype),
        torch.from_numpy(ligand.masses).to(dtype),
        **settings,
    )


def displace(positions: np.ndarray, rms: float, *, seed: int) -> np.ndarray:
    """Positions with independent normal displacements of the given rms length [nm]."""
    return positions + np.random.default_rng(seed).normal(size=positions.shape) * rms / np.sqrt(3)


def fit_order(steps: np.ndarray, errors: np.ndarray) -> float:
    """Slope of log error against log step."""
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


LOOPS = ((410, 416), (469, 475))
"""Residues of NIK: the glycine-rich loop and the hinge."""


def write_pocket(path: Path) -> Path:
    """PDB file of the bundled ligand and both loops, capped with ACE and NME made of the next residues' atoms."""
    pdb = PDBFile(str(get_bundled_path("complex.pdb")))
    xyz = np.array(pdb.positions.value_in_unit(unit.nanometer))
    residues = {int(r.id): r for r in pdb.topology.residues() if r.name not in ("0WC", "ACE", "NME")}
    topology, positions, copies = Topology(), [], {}

    def add(residue: object, chain: object, name: str, names: dict[str, str]) -> None:
        new = topology.addResidue(name, chain, residue.id)
        for atom in residue.atoms():
            if atom.name in names:
                copies[atom.index] = topology.addAtom(names[atom.name], atom.element, new)
                positions.append(xyz[atom.index])

    for letter, (first, last) in zip("AB", LOOPS, strict=True):
        chain = topology.addChain(letter)
        add(residues[first - 1], chain, "ACE", {"C": "C", "O": "O", "CA": "CH3"})
        for k in range(first, last + 1):
            add(residues[k], chain, residues[k].name, {a.name: a.name for a in residues[k].atoms()})
        add(residues[last + 1], chain, "NME", {"N": "N", "H": "H", "CA": "C"})
    ligand = next(r for r in pdb.topology.residues() if r.name == "0WC")
    add(ligand, topology.addChain("L"), "0WC", {a.name: a.name for a in ligand.atoms()})
    topology.createStandardBonds()
    for first, second in pdb.topology.bonds():
        if first.residue is ligand:
            topology.addBond(copies[first.index], copies[second.index])
    modeller = Modeller(topology, np.array(positions) * unit.nanometer)
    modeller.addHydrogens(platform=mm.Platform.getPlatformByName("CPU"))
    with path.open("w") as file:
        PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)
    return path


def save_trajectory(trajectory: mdtraj.Trajectory, path: Path) -> Path:
    """Write a file of any format that mdtraj writes; HDF5, for which it would need PyTables, is written here."""
    if path.suffix != ".h5":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*netCDF4")  # mdtraj writes NetCDF without it too
            trajectory.save(str(path))
        return path
    with closing(HDF5Writer(path, trajectory.topology)) as writer:
        writer.write(trajectory.xyz, trajectory.time)
    if trajectory.unitcell_lengths is not None:
        with h5py.File(path, "r+") as file:
            for name, values, unit_name in (
                ("cell_lengths", trajectory.unitcell_lengths, "nanometers"),
                ("cell_angles", trajectory.unitcell_angles, "degrees"),
            ):
                file[name] = values.astype(np.float32)
                file[name].attrs["units"] = unit_name
    return path


def read_folder(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and times of all files in a folder and below it."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def edit_json(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    """A function that changes the content of a JSON file."""

    def edit(content: bytes) -> bytes:
        record = json.loads(content)
        change(record)
        return json.dumps(record).encode()

    return edit


def load_bundled_replicas() -> list[Observation]:
    """Ligand snapshots of r1 and r2 every 8 ps, superposed on all CA atoms of ``complex.pdb``."""
    with np.load(get_bundled_path("reference.npz")) as stored:
        protocol = json.loads(str(stored["provenance"]))["protocol"]
        return [
            Observation(
                label=name,
                source=f"bundled MD replica {name} ({protocol})",
                interval=float(stored["frame_interval_ps"]),
                positions=stored[name][:, stored["is_heavy"]],
                clashes=stored[f"clashes_{name}"],
            )
            for name in REPLICAS
        ]


def pretend_plugins(monkeypatch: pytest.MonkeyPatch, plugins: Plugins, *offers: tuple[str, str, str]) -> None:
    """Pretend that packages are installed that offer objects by entry points: (package, name, "module:OBJECT") each."""
    plugins.list_names()  # so that what is found now is put back afterwards
    points = []
    for package, name, value in offers:
        point = EntryPoint(name, value, plugins.group)
        vars(point)["dist"] = SimpleNamespace(name=package)
        points.append(point)
    monkeypatch.setattr("openmm_neuralmd.plugins.entry_points", lambda **_: points)
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.delitem(vars(plugins), "_points")
