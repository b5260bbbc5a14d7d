"""MISATO's ``MD.hdf5``: one group for each complex, 100 frames 80 ps apart, without topology.

Siebenmorgen et al., Nature Computational Science 2024, doi:10.1038/s43588-024-00627-2. A group is named by PDB
identifier in capitals, and holds, of all atoms but water and the ions Na+ and Cl-:

- ``atoms_number`` (atomic numbers), ``atoms_residue`` (codes, see ``RESIDUE_CODES``), ``atoms_type`` and
  ``atoms_element`` (codes of Amber's atom types and of elements; not read), int64, (n_atoms,);
- ``molecules_begin_atom_index``, int64: where chains and molecules begin, the ligand's being the last;
- ``trajectory_coordinates``, float64, gzip, (n_frames, n_atoms, 3) [A], not superposed;
- ``frames_rmsd_ligand`` [A], ``frames_distance`` [A] between the centres of mass of ligand and protein,
  ``frames_interaction_energy`` [kcal/mol], ``frames_bSASA`` [A^2], float64, (n_frames,); not read.

Bonds and atom names are not in the file, so both come from distances, and bond orders from the hydrogens. A complex is
read when it is asked for, frames in blocks: neither time nor memory depends on the size of the file.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import mdtraj
import numpy as np

from openmm_neuralmd.checks import check_arguments, check_path
from openmm_neuralmd.data.perception import LIGAND_CODE, RESIDUE_CODES, build_complex, read_atoms
from openmm_neuralmd.data.trajectories import BondCheck, LigandTrajectory
from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.files import read_text, write_whole
from openmm_neuralmd.io.hdf5 import StoredArray, create_hdf5, find_member, has_member, open_hdf5
from openmm_neuralmd.io.placement import Placer, Selection
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.molecule.superposition import find_superposition
from openmm_neuralmd.units import NM_PER_ANGSTROM

FRAME_INTERVAL_PS = 80.0  # 100 frames of 8 ns, Siebenmorgen et al. (2024), doi:10.1038/s43588-024-00627-2
KEYS = ("atoms_number", "atoms_residue", "molecules_begin_atom_index", "trajectory_coordinates")
_BLOCK_BYTES = 32 * 2**20  # of coordinates read at once


@dataclass(frozen=True)
class MisatoRecord:
    """One complex and its trajectory.

    Attributes:
        complex: Rigid protein and pose of the first frame; without topology, which the file does not have.
        trajectory: Ligand snapshots, superposed on that protein.
        notes: Other molecules than protein and ligand that are in the file and that models do not see.
    """

    complex: Complex
    trajectory: LigandTrajectory
    notes: tuple[str, ...]


class MisatoFile:
    """An open file; complexes are read one by one.

    Args:
        path: ``MD.hdf5``.
        frame_interval: [ps].
        superpose_on: CA atoms of "all" residues or of the "pocket".
        keep_hydrogens: Whether the ligand's hydrogens follow their heavy atoms, or are left out.

    Raises:
        InputError: If the file is missing or no HDF5 file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frame_interval: float = FRAME_INTERVAL_PS,
        superpose_on: str = "all",
        keep_hydrogens: bool = False,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; give MISATO's MD.hdf5")
        self._file = open_hdf5(self.path)
        self.frame_interval, self.superpose_on, self.keep_hydrogens = frame_interval, superpose_on, keep_hydrogens

    def __enter__(self) -> "MisatoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return self.find_key(name) is not None

    def find_key(self, name: str) -> str | None:
        """The group of a name, None if there is none; PDB identifiers may be in small letters."""
        return next((key for key in (name, name.upper()) if has_member(self._file, key)), None)

    def list_names(self) -> list[str]:
        """Names of all complexes."""
        return list(self._file)

    def load(self, name: str) -> MisatoRecord:
        """Read one complex.

        Raises:
            InputError: If it is absent, incomplete or damaged, or its last molecule is no ligand: a peptide, an ion,
                several molecules, or one with a metal.
            TopologyMismatchError: If a molecule breaks or the ligand leaves in a frame.
        """
        key = self.find_key(name)
        label = f"{self.path.name}/{key or name}"
        if key is None:
            raise InputError(f"{label}: no such complex; the file holds {len(self._file)} others")
        group = find_member(self._file, key, self.path.name)
        missing = [k for k in KEYS if not has_member(group, k)] if isinstance(group, h5py.Group) else list(KEYS)
        if missing:
            raise InputError(f"{label}: no {', '.join(missing)}; this is not a complex in MISATO's layout")
        arrays = {k: StoredArray(group, k, label, kinds="f" if k == KEYS[-1] else "iu") for k in KEYS}
        try:
            atoms = read_atoms(arrays, label)
            start = NM_PER_ANGSTROM * arrays[KEYS[-1]].read(0, 1)[0].astype(np.float64)
            complex_ = build_complex(atoms, start, label, keep_hydrogens=self.keep_hydrogens)
            trajectory = self._read_trajectory(arrays[KEYS[-1]], complex_, label)
        except OSError as error:  # a damaged chunk
            raise InputError(f"{label}: damaged: {describe_error(error)}") from error
        return MisatoRecord(replace(complex_, notes=()), trajectory, (*atoms.notes, *complex_.notes))

    def _read_trajectory(self, coordinates: StoredArray, complex_: Complex, label: str) -> LigandTrajectory:
        ligand, ca = complex_.ligand.atom_indices, complex_.protein.ca_indices
        if self.superpose_on != "all":
            raise InputError("this complex knows no atoms around the ligand but CA: superpose on all CA atoms")
        n_ligand = len(ligand)
        selection = Selection(
            atoms=np.arange(n_ligand + len(ca)),
            topology=None,
            ligand=np.arange(n_ligand),
            orders=np.arange(n_ligand)[None],
            partners=dict.fromkeys(range(len(ca))),
            ca=n_ligand + np.arange(len(ca)),
            bonds=complex_.ligand.bonds,
        )
        placer = Placer(complex_.site, selection, "all", source=label, interval=self.frame_interval)
        check = BondCheck(complex_.ligand, label)
        chosen = np.concatenate([ligand, ca])
        size = max(1, _BLOCK_BYTES // (coordinates.dtype.itemsize * coordinates.shape[1] * 3))
        digest = hashlib.sha256()
        parts = []
        for first in range(0, len(coordinates), size):
            block = coordinates.read(first, first + size)[:, chosen]
            if not np.isfinite(block).all():
                raise InputError(f"{label}: NaN or infinity in frames {first} to {first + len(block) - 1}")
            digest.update(np.ascontiguousarray(block, dtype="<f8").tobytes())
            snapshots = placer.place(NM_PER_ANGSTROM * block, None)[:, :n_ligand]
            check.look(snapshots)
            parts.append(snapshots)
        return LigandTrajectory(
            snapshots=np.concatenate(parts).astype(np.float64),
            frame_interval=self.frame_interval,
            source=label,
            sha256=digest.hexdigest(),
            superposed_on=f"all, {len(ca)} CA atoms",
        )


@check_arguments(path=check_path)
def read_split(path: str | Path) -> list[str]:
    """Names of a split list: one a line, empty lines ignored.

    Raises:
        InputError: If the file is missing, empty or no text, or names a complex twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a list of complexes, one name a line")
    names = [line.strip() for line in read_text(path).removeprefix("\ufeff").splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: empty; give one name a line")
    twice = sorted(name for name, n in Counter(names).items() if n > 1)
    if twice:
        raise InputError(f"{path}: {', '.join(twice[:5])} named twice")
    return names


def iterate_records(file: MisatoFile, names: Sequence[str], skipped: dict[str, str]) -> Iterator[MisatoRecord]:
    """The complexes of a list, one by one; those that cannot be used go to ``skipped`` with the reason.

    Raises:
        InputError: If names are not in the file, or two name the same complex in capitals and small letters.
    """
    absent = [name for name in names if name not in file]
    if absent:
        raise InputError(
            f"{file.path}: {len(absent)} of {len(names)} listed complexes are not there: {', '.join(absent[:5])}"
        )
    counts = Counter(file.find_key(name) for name in names)
    twice = [key for key, n in counts.items() if key is not None and n > 1]
    if twice:
        raise InputError(f"{file.path}: {', '.join(twice[:5])} named twice; letters may be small or capital")
    for name in names:
        try:
            yield file.load(name)
        except (InputError, TopologyMismatchError) as error:
            skipped[name] = str(error)


def write_misato(path: str | Path, entries: Mapping[str, mdtraj.Trajectory], *, ligand: str) -> None:
    """Write trajectories in the same layout; the ligand's residue becomes the last molecule.

    ``frames_rmsd_ligand`` is that of the heavy atoms to the first frame, all CA atoms superposed. What needs a force
    field's atom types, energies or surfaces is left out: ``atoms_type``, ``atoms_element``,
    ``frames_interaction_energy`` and ``frames_bSASA``, none of which is read here.

    Args:
        path: The file, replaced if it exists.
        entries: Complexes by name; molecules whole.
        ligand: Residue name.

    Raises:
        InputError: If a complex does not hold the ligand once.
    """
    codes = {name: code for code, name in RESIDUE_CODES.items()} | {"HIS": 11, "HID": 11, "HIP": 11}
    ligands = {}
    for name, trajectory in entries.items():
        residues = [r for r in trajectory.topology.residues if r.name == ligand]
        if len(residues) != 1:
            raise InputError(f"{name}: ligand {ligand} found {len(residues)} times, expected once")
        ligands[name] = residues[0]
    path = Path(path)
    with write_whole(path) as temporary, create_hdf5(temporary) as file:
        for name, trajectory in entries.items():
            own = ligands[name]
            chains = [[a for a in c.atoms if a.residue is not own] for c in trajectory.topology.chains]
            molecules: list[list[Any]] = [atoms for atoms in chains if atoms] + [list(own.atoms)]
            order = [a for atoms in molecules for a in atoms]
            group = file.create_group(name)
            begins = np.cumsum([0, *(len(atoms) for atoms in molecules)])[:-1]
            for key, values in (
                ("atoms_number", [a.element.atomic_number for a in order]),
                ("atoms_residue", [codes.get(a.residue.name, LIGAND_CODE) for a in order]),
                ("molecules_begin_atom_index", begins),
            ):
                group.create_dataset(key, data=np.array(values, dtype=np.int64), compression="gzip")
            xyz = trajectory.xyz[:, [a.index for a in order]].astype(np.float64) / NM_PER_ANGSTROM
            group.create_dataset("trajectory_coordinates", data=xyz, compression="gzip")
            for key, values in _describe_frames(order, xyz, begins[-1]).items():
                group.create_dataset(key, data=values, compression="gzip")


def _describe_frames(atoms: Sequence[Any], xyz: np.ndarray, begin: int) -> dict[str, np.ndarray]:
    """Ligand RMSD and distance between centres of mass [A], (n_frames,); the ligand's atoms begin at ``begin``."""
    masses = np.array([a.element.mass for a in atoms])
    centres = [np.average(xyz[:, s], axis=1, weights=masses[s]) for s in (slice(begin), slice(begin, None))]
    ca = [k for k, a in enumerate(atoms[:begin]) if a.name == "CA"]
    ligand = [k for k in range(begin, len(atoms)) if atoms[k].element.atomic_number > 1]
    moved = find_superposition(xyz[:, ca], xyz[0, ca]).apply(xyz[:, ligand]) - xyz[0, ligand]
    rmsd = np.sqrt((moved**2).sum(axis=-1).mean(axis=1))
    rmsd[0] = 0.0  # but for rounding
    return {"frames_rmsd_ligand": rmsd, "frames_distance": np.linalg.norm(centres[0] - centres[1], axis=1)}
