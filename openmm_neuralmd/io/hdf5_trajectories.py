"""Trajectories in mdtraj's HDF5 layout, read and written with h5py.

The layout is mdtraj's HDF5 format, version 1.1 (https://mdtraj.org, "MDTraj HDF5 format"): at the root the arrays

- ``coordinates``, float32, (n_frames, n_atoms, 3), ``time``, (n_frames,), ``cell_lengths`` and ``cell_angles``,
  (n_frames, 3), each with its unit as the attribute ``units``;
- ``topology``, one text: JSON with chains, residues, atoms and bonds.

mdtraj itself reads it through PyTables, which unpickles attributes: a file could run code, so mdtraj opens none here.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import mdtraj
import numpy as np
from mdtraj.core.topology import Amide, Aromatic, Double, Single, Triple

from openmm_neuralmd.errors import InputError, TopologyMismatchError, describe_error
from openmm_neuralmd.io.hdf5 import Disk, StoredArray, has_member, open_hdf5
from openmm_neuralmd.version import __version__

_UNITS = {
    "nm": {"nanometer": 1.0, "nm": 1.0, "angstrom": 0.1, "a": 0.1, "\u00e5": 0.1, "picometer": 1e-3, "pm": 1e-3},
    "ps": {
        "picosecond": 1.0, "ps": 1.0, "femtosecond": 1e-3, "fs": 1e-3, "nanosecond": 1e3, "ns": 1e3,
        "microsecond": 1e6, "us": 1e6,
    },
    "degrees": {"degree": 1.0, "deg": 1.0, "radian": 180.0 / math.pi, "rad": 180.0 / math.pi},
}  # fmt: skip
_BOND_TYPES = {str(kind).lower(): kind for kind in (Single, Double, Triple, Aromatic, Amide)}
_CHUNK_BYTES = 2**18  # large enough to pack well, small enough to read a frame quickly
_CHUNK_TIMES = 1024  # 4 kilobytes


class HDF5Reader:
    """An open trajectory, read as mdtraj's file objects are.

    Attributes:
        n_atoms: In each frame.

    Args:
        path: The file.

    Raises:
        InputError: If it is damaged, leads out of itself, or is not in mdtraj's layout.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = open_hdf5(self._path)
        try:
            self._open_arrays()
        except BaseException:
            self._file.close()
            raise
        self._next = 0
        self._subset: tuple[mdtraj.Topology, bytes, mdtraj.Topology] | None = None

    def __enter__(self) -> "HDF5Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._coordinates)

    def close(self) -> None:
        self._file.close()

    def seek(self, frame: int) -> None:
        """Go on at a frame."""
        self._next = frame

    def read_topology(self) -> mdtraj.Topology:
        """The topology, with bonds, chain names and segments.

        Raises:
            InputError: If it is missing or of another form.
            TopologyMismatchError: If it has another number of atoms than the frames.
        """
        stored = StoredArray(self._file, "topology", str(self._path), kinds="S")
        try:
            if stored.shape != (1,):
                raise ValueError(f"shape {stored.shape}, expected one text")
            topology = _build_topology(json.loads(stored.read()[0].decode()))
        except InputError:
            raise
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            LookupError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise InputError(
                f"{self._path}: topology is not what mdtraj writes: {_describe_json_error(error)}; write it with "
                "mdtraj, or give the topology as another file (`top`)"
            ) from error
        if topology.n_atoms != self.n_atoms:
            raise TopologyMismatchError(
                f"{self._path}: its topology has {topology.n_atoms} atoms, its frames have {self.n_atoms}"
            )
        return topology

    def read_as_traj(
        self, topology: mdtraj.Topology, n_frames: int, atom_indices: np.ndarray | None = None
    ) -> mdtraj.Trajectory:
        """The next frames; none at the end.

        Args:
            topology: Of all atoms.
            n_frames: At most.
            atom_indices: Atoms to keep, (n_kept,); all if None.

        Raises:
            OSError: If the frames are damaged or not in the file.
        """
        first, stop = self._next, min(self._next + n_frames, len(self))
        atoms = slice(None) if atom_indices is None else np.asarray(atom_indices, dtype=np.int64)
        xyz = self._scale(self._coordinates, first, stop)[:, atoms]
        time, lengths, angles = (
            None if array is None else self._scale(array, first, stop)
            for array in (self._time, self._lengths, self._angles)
        )
        if lengths is None or angles is None or not lengths.any():
            lengths = angles = None
        elif not (lengths > 0.0).all() or not ((angles > 0.0) & (angles < 180.0)).all():  # NaN is neither
            raise OSError(f"the box of a frame from {first} on is none: its lengths and angles are not all above 0")
        self._next = max(first, stop)
        return mdtraj.Trajectory(
            xyz, self._choose(topology, atom_indices), time=time, unitcell_lengths=lengths, unitcell_angles=angles
        )

    def _open_arrays(self) -> None:
        label = str(self._path)
        self._coordinates = StoredArray(self._file, "coordinates", label, kinds="f")
        shape = self._coordinates.shape
        if len(shape) != 3 or shape[1] < 1 or shape[2] != 3:
            raise InputError(f"{label}: coordinates have shape {shape}; expected (n_frames, n_atoms, 3)")
        self.n_atoms = shape[1]
        others = (("time", "fiu", ()), ("cell_lengths", "f", (3,)), ("cell_angles", "f", (3,)))
        found: list[StoredArray | None] = []
        for name, kinds, rest in others:
            array = None
            if has_member(self._file, name):
                array = StoredArray(self._file, name, label, kinds=kinds)
                if array.shape != (shape[0], *rest):
                    raise InputError(
                        f"{label}: {name} has shape {array.shape} beside {shape[0]} frames; expected "
                        f"{(shape[0], *rest)}"
                    )
            found.append(array)
        self._time, self._lengths, self._angles = found
        if (self._lengths is None) != (self._angles is None):
            raise InputError(f"{label}: of cell_lengths and cell_angles only one is there; give both or none")
        units = ((self._coordinates, "nm"), (self._time, "ps"), (self._lengths, "nm"), (self._angles, "degrees"))
        self._factors = {id(a): self._read_factor(a, unit) for a, unit in units if a is not None}

    def _read_factor(self, array: StoredArray, unit: str) -> float:
        told = array.read_text("units") or ""
        known = _UNITS[unit]
        for name in (told.lower(), told.lower().removesuffix("s")):
            if name in known:
                return known[name]
        raise InputError(
            f"{array.label} {'has no units' if not told else f'is in {told!r}'}; expected "
            f"{', '.join(f'{name}s' for name in known if len(name) > 2)}"
        )

    def _scale(self, array: StoredArray, first: int, stop: int) -> np.ndarray:
        """Rows in nm, ps or degrees, float32 as mdtraj keeps them."""
        factor = self._factors[id(array)]
        rows = array.read(first, stop)
        return np.asarray(rows if factor == 1.0 else rows * factor, dtype=np.float32)

    def _choose(self, topology: mdtraj.Topology, atoms: np.ndarray | None) -> mdtraj.Topology:
        """The topology of some atoms, made once for all chunks."""
        if atoms is None:
            return topology
        key = np.asarray(atoms, dtype=np.int64).tobytes()
        if self._subset is None or self._subset[0] is not topology or self._subset[1] != key:
            self._subset = topology, key, topology.subset(atoms)
        return self._subset[2]


class HDF5Writer:
    """Writes a trajectory without box; the same frames give the same bytes.

    Args:
        path: The file, replaced if it exists.
        topology: Of the atoms.

    Raises:
        OSError: From ``write`` and ``close``, if the disk is full.
    """

    def __init__(self, path: str | Path, topology: mdtraj.Topology) -> None:
        content = json.dumps(_describe_topology(topology)).encode("ascii")
        self._disk = Disk(path)
        self._file = h5py.File(self._disk, "w", libver="earliest")
        for name, text in (
            ("conventions", "Pande"),
            ("conventionVersion", "1.1"),
            ("program", "openmm_neuralmd"),
            ("programVersion", __version__),
            ("application", "openmm_neuralmd"),
            ("title", "ligand moves, surroundings are rigid"),
        ):
            _write_text(self._file, name, text)
        self._file.create_dataset("topology", data=np.array([content]), track_times=False)
        n_atoms = topology.n_atoms
        self._coordinates = self._create("coordinates", (n_atoms, 3), _CHUNK_BYTES // (12 * n_atoms), "nanometers")
        self._time = self._create("time", (), _CHUNK_TIMES, "picoseconds")

    def write(self, positions: np.ndarray, times: np.ndarray) -> None:
        """Append frames: positions [nm], (n_frames, n_atoms, 3), and times [ps], (n_frames,)."""
        first = len(self._time)
        for array, values in ((self._coordinates, positions), (self._time, times)):
            array.resize(first + len(times), axis=0)
            array[first:] = values
        self._file.flush()
        self._disk.raise_error()

    def close(self) -> None:
        self._file.close()
        self._disk.close()
        self._disk.raise_error()

    def _create(self, name: str, shape: tuple[int, ...], chunk: int, unit: str) -> h5py.Dataset:
        array = self._file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(max(chunk, 1), *shape),
            dtype="<f4",
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            track_times=False,
        )
        _write_text(array, "units", unit)
        return array


def load_hdf5(path: Path) -> tuple[mdtraj.Topology, np.ndarray | None, np.ndarray | None]:
    """Topology, and positions [nm], (n_atoms, 3), and box vectors [nm], (3, 3), of the first frame where there are any.

    Raises:
        InputError: If it is damaged, leads out of itself, or is not in mdtraj's layout.
        TopologyMismatchError: If topology and frames have different numbers of atoms.
    """
    with HDF5Reader(path) as file:
        topology = file.read_topology()
        try:
            first = file.read_as_traj(topology, 1)
        except OSError as error:
            raise InputError(f"{path}: the first frame cannot be read: {describe_error(error)}") from error
    if len(first) == 0:
        return topology, None, None
    cell = None if first.unitcell_vectors is None else first.unitcell_vectors[0]
    return topology, first.xyz[0], cell


def _write_text(item: h5py.Group | h5py.Dataset, name: str, text: str) -> None:
    """An attribute as PyTables writes it, so that mdtraj reads it as a text."""
    item.attrs.create(name, text.encode(), dtype=h5py.string_dtype("utf-8", len(text.encode())))


def _describe_topology(topology: mdtraj.Topology) -> dict[str, Any]:
    """What mdtraj writes as JSON."""
    has_charges = any(getattr(atom, "formal_charge", None) is not None for atom in topology.atoms)
    chains = [
        {
            "index": chain.index,
            "chain_id": str(chain.chain_id) if chain.chain_id else None,
            "residues": [
                {
                    "index": residue.index,
                    "name": str(residue.name),
                    "resSeq": int(residue.resSeq),
                    "segmentID": str(residue.segment_id),
                    "atoms": [
                        {
                            "index": atom.index,
                            "name": str(atom.name),
                            "element": "" if atom.element is None else str(atom.element.symbol),
                            **({"formal_charge": atom.formal_charge} if has_charges else {}),
                        }
                        for atom in residue.atoms
                    ],
                }
                for residue in chain.residues
            ],
        }
        for chain in topology.chains
    ]
    return {
        "chains": chains,
        "bonds": [[bond.atom1.index, bond.atom2.index] for bond in topology.bonds],
        "bond_metadata": [
            {
                "order": None if bond.order is None else float(bond.order),
                "type": None if bond.type is None else str(bond.type),
            }
            for bond in topology.bonds
        ],
    }


def _build_topology(content: dict[str, Any]) -> mdtraj.Topology:
    """The topology that mdtraj's JSON describes."""
    topology = mdtraj.Topology()
    for chain_content in _sort(content["chains"]):
        chain = topology.add_chain(_read_name(chain_content.get("chain_id") or "") or None)
        for residue_content in _sort(chain_content["residues"]):
            number = residue_content.get("resSeq")
            residue = topology.add_residue(
                _read_name(residue_content["name"]),
                chain,
                resSeq=None if number is None else int(number),
                segment_id=_read_name(residue_content.get("segmentID", "")),
            )
            for atom_content in _sort(residue_content["atoms"]):
                charge = atom_content.get("formal_charge")
                known = {} if charge is None else {"formal_charge": int(charge)}
                element = _find_element(_read_name(atom_content["element"]))
                topology.add_atom(_read_name(atom_content["name"]), element, residue, **known)
    atoms = list(topology.atoms)
    bonds = content["bonds"]
    details = content.get("bond_metadata") or [{}] * len(bonds)
    if len(details) != len(bonds):
        raise ValueError(f"{len(details)} bond orders of {len(bonds)} bonds")
    for pair, detail in zip(bonds, details, strict=True):
        first, second = (int(k) for k in pair)
        if not (0 <= first < len(atoms) and 0 <= second < len(atoms)):
            raise ValueError(f"a bond between atoms {first} and {second} of {len(atoms)}")
        order = detail.get("order")
        topology.add_bond(
            atoms[first],
            atoms[second],
            type=_BOND_TYPES.get(str(detail.get("type")).lower()),
            order=None if order is None else float(order),
        )
    return topology


def _sort(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: int(item["index"]))


def _read_name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a name is {value!r:.40}, no text")
    return value


def _find_element(symbol: str) -> Any:
    try:
        return mdtraj.element.get_by_symbol(symbol)
    except KeyError:  # as mdtraj takes it
        return mdtraj.element.virtual


def _describe_json_error(error: Exception) -> str:
    if isinstance(error, TypeError | AttributeError | IndexError):
        return "a value of another kind than expected"
    return describe_error(error)
