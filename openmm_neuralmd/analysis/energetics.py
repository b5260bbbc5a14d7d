"""What a force field says of snapshots: which atoms are asked about in each trajectory, and the answers side by side.

The force field itself stays behind ``EnergyModel``: this module matches atoms and keeps books.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import mdtraj
import numpy as np

from openmm_neuralmd.analysis.observation import Energies, Observation
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.kept import KeptFrames
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.images import shift_to_nearest_image
from openmm_neuralmd.molecule.matching import find_ligand, map_residues
from openmm_neuralmd.molecule.site import BindingSite, list_residues

SHELL_NM = 0.8
"""Residues with a heavy atom this close to the ligand's starting pose take part in the interaction energy."""
RIGID_NM = 0.005
"""A protein whose atoms stay this close to their first place does not move."""

AtomKey = tuple[int, str, int]
"""Site's residue (-1: the ligand), heavy atom's name or place in the ligand, 0 for itself or number of its hydrogen."""
EnergyProgress = Callable[[str, int, int], None]
"""Called with the label of a series, and its snapshots: done and in all."""


class Interaction(NamedTuple):
    """Of one snapshot: Coulomb and Lennard-Jones energy [kJ/mol] and how far its ligand was moved [nm, rms]."""

    coulomb: float
    lennard_jones: float
    shift: float


class EnergyFunction(Protocol):
    """A force field for chosen atoms."""

    def compute_interaction(self, ligand: np.ndarray, protein: np.ndarray) -> Interaction:
        """Of ligand and protein [nm] after restrained minimisation."""

    def compute_conformation(self, ligand: np.ndarray) -> tuple[float, float]:
        """Energy [kJ/mol] of the ligand alone after restrained and after free minimisation."""


class EnergyModel(Protocol):
    """A force field with the structure that it is for."""

    @property
    def topology(self) -> mdtraj.Topology:
        """Protein and ligand with all hydrogens; solvent may be there."""

    @property
    def positions(self) -> np.ndarray:
        """[nm], (n_atoms, 3); only bonds that the topology does not name are seen from them."""

    @property
    def protocol(self) -> dict[str, str | float]:
        """What is computed, for the record; ``text`` says it in a sentence or two."""

    def bind(self, ligand: np.ndarray, protein: np.ndarray) -> EnergyFunction:
        """The force field of these atoms, by index in ``topology``."""


@dataclass(frozen=True)
class Physics:
    """Energies of all that is compared.

    Attributes:
        protocol: As the model tells it.
        residues: Labels of the residues that the interaction energy counts.
        energies: By label: run, references, frozen, and controls.
        controls: Labels that are neither: MD's poses put into the run's rigid protein.
        notes: What a reader must know.
    """

    protocol: dict[str, str | float]
    residues: tuple[str, ...]
    energies: dict[str, Energies]
    controls: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class EnergyPlan:
    """The same atoms in the model and in each trajectory.

    Attributes:
        protocol: As the model tells it.
        function: The model's force field for these atoms.
        atoms: For each trajectory the indices to keep, the ligand's before the protein's; the latter are missing
            where the trajectory has no side chains, all are where it has no ligand hydrogens.
        n_ligand: Ligand atoms, hydrogens included.
        residues: Labels of the residues that take part.
        notes: What a reader must know.
    """

    protocol: dict[str, str | float]
    function: EnergyFunction
    atoms: tuple[np.ndarray, ...]
    n_ligand: int
    residues: tuple[str, ...]
    notes: tuple[str, ...]


def plan_energies(model: EnergyModel, site: BindingSite, files: Sequence[TrajectoryFile]) -> EnergyPlan:
    """Find the atoms of a force field in trajectories.

    Hydrogens are found by the heavy atom they are bonded to, so their names do not matter. The interaction energy
    counts only residues that every trajectory with side chains has with all atoms.

    Args:
        model: The force field.
        site: Where the ligand is.
        files: The run first.

    Raises:
        InputError: If the run has no hydrogens, or not the atoms of the model.
        TopologyMismatchError: If the model is of another ligand or protein.
    """
    notes: list[str] = []
    source = "the force field's structure"
    mine = _list_atoms(site, model.topology, model.positions, None, source, notes)
    ligand = [key for key in mine if key[0] < 0]
    found = []
    for file in files:
        theirs = _list_atoms(site, file.topology, file.positions, file.cell, file.path.name, [], like=mine)
        if not all(key in theirs for key in ligand):
            notes.append(f"{file.label}: its ligand lacks hydrogens that the force field has, so no energies")
            theirs = {}
        found.append(theirs)
    if not found[0]:
        raise InputError(
            f"{files[0].path}: energies need the ligand's hydrogens, the same as in the force field; leave "
            "the force field away or write trajectories with hydrogens"
        )
    shell = _find_shell(files[0].positions, found[0])
    complete = [
        {i for i in shell if _get_residue(theirs, i) == _get_residue(mine, i)} if theirs else set() for theirs in found
    ]
    with_protein = [c for c in complete if len(c) >= 0.5 * len(shell)]
    kept = sorted(set.intersection(*with_protein)) if complete[0] in with_protein else []
    for file, theirs, residues in zip(files, found, complete, strict=True):
        if theirs and residues not in with_protein:
            notes.append(
                f"{file.label}: {len(residues)} of the {len(shell)} residues around the ligand have the force field's "
                "atoms, so strain only, no interaction energy"
            )
    if kept and len(kept) < len(shell):
        missing = ", ".join(site.labels[i] for i in sorted(set(shell) - set(kept)))
        notes.append(f"Interaction energy without {missing}, whose atoms differ in one trajectory or another.")
    protein = [key for i in kept for key in mine if key[0] == i]
    return EnergyPlan(
        protocol=model.protocol,
        function=model.bind(_take(mine, ligand), _take(mine, protein)),
        atoms=tuple(
            _take(theirs, [*ligand, *(protein if residues in with_protein else [])] if theirs else [])
            for theirs, residues in zip(found, complete, strict=True)
        ),
        n_ligand=len(ligand),
        residues=tuple(site.labels[i] for i in kept),
        notes=tuple(notes),
    )


def compute_energies(
    plan: EnergyPlan, series: Sequence[Observation], frozen: Observation, *, progress: EnergyProgress | None = None
) -> Physics:
    """Energies of the kept frames of run, references and frozen ligand.

    Where the run's protein is rigid, every other of MD's poses is also put into it: what they lose there is the
    price of the rigid protein, not of the run's poses.

    Args:
        plan: What is asked.
        series: Run and references, observed with the plan's atoms.
        frozen: The start, likewise.
        progress: Called after each snapshot.
    """
    jobs = {o.label: o.kept for o in (*series, frozen) if o.kept is not None and o.kept.positions.shape[1]}
    start = frozen.kept
    controls: list[str] = []
    if start is not None and _is_rigid(series[0].kept, start, plan.n_ligand):
        for o in series[1:]:
            if o.kept is not None and o.kept.positions.shape[1] >= plan.n_ligand:
                label = f"{o.label} in the run's protein"
                jobs[label] = _place_in(o.kept, start, plan.n_ligand)
                controls.append(label)
    raw: dict[str, list[tuple[Interaction | None, tuple[float, float]]]] = {}
    for label, kept in jobs.items():
        raw[label] = []
        for xyz in kept.positions:
            raw[label].append(_ask(plan, xyz.astype(np.float64)))
            if progress is not None:
                progress(label, len(raw[label]), len(kept.positions))
    lowest = min(relaxed for answers in raw.values() for _, (_, relaxed) in answers)
    energies = {label: _collect(answers, jobs[label].frames, lowest) for label, answers in raw.items()}
    return Physics(plan.protocol, plan.residues, energies, tuple(controls), plan.notes)


def _ask(plan: EnergyPlan, xyz: np.ndarray) -> tuple[Interaction | None, tuple[float, float]]:
    ligand, protein = xyz[: plan.n_ligand], xyz[plan.n_ligand :]
    interaction = plan.function.compute_interaction(ligand, protein) if len(protein) else None
    return interaction, plan.function.compute_conformation(ligand)


def _collect(
    answers: list[tuple[Interaction | None, tuple[float, float]]], frames: np.ndarray, lowest: float
) -> Energies:
    known = [i for i, _ in answers if i is not None]
    coulomb, lennard_jones, shift = np.array(known).T if known else (None, None, None)
    strain = np.array([held - lowest for _, (held, _) in answers])
    return Energies(frames, coulomb, lennard_jones, shift, strain)


def _is_rigid(run: KeptFrames | None, start: KeptFrames, n_ligand: int) -> bool:
    if run is None or run.positions.shape[1] <= n_ligand or run.positions.shape[1] != start.positions.shape[1]:
        return False
    moved = np.linalg.norm(run.positions[:, n_ligand:] - start.positions[:1, n_ligand:], axis=-1)
    return bool(moved.max() < RIGID_NM)


def _place_in(kept: KeptFrames, start: KeptFrames, n_ligand: int) -> KeptFrames:
    """Every other ligand of ``kept`` in the protein of ``start``."""
    ligand = kept.positions[::2, :n_ligand]
    protein = np.repeat(start.positions[:1, n_ligand:], len(ligand), axis=0)
    return KeptFrames(kept.frames[::2], np.concatenate([ligand, protein], axis=1))


def _find_shell(positions: np.ndarray, atoms: dict[AtomKey, int]) -> list[int]:
    """The site's residues around the ligand in the run's starting structure."""
    heavy = [(key[0], positions[index]) for key, index in atoms.items() if key[2] == 0]
    ligand = np.array([xyz for residue, xyz in heavy if residue < 0])
    return sorted({i for i, xyz in heavy if i >= 0 and np.linalg.norm(ligand - xyz, axis=1).min() < SHELL_NM})


def _list_atoms(
    site: BindingSite,
    topology: mdtraj.Topology,
    positions: np.ndarray,
    cell: np.ndarray | None,
    source: str,
    notes: list[str],
    like: dict[AtomKey, int] | None = None,
) -> dict[AtomKey, int]:
    """Index of each atom of ligand and protein under a name that all topologies share.

    Args:
        site: Order of the ligand's heavy atoms, and its residues.
        topology, positions, cell: Of the structure.
        source: Its name, for messages.
        notes: Receives what was found about its residues.
        like: Of another structure: of several symmetric orders of the ligand, the one whose hydrogens are there.
    """
    residue, orders = find_ligand(topology, positions, cell, site, source)
    hydrogens = _group_hydrogens(topology, positions, cell)
    tables = []
    for order in orders:
        table = {}
        for k, index in enumerate(order.tolist()):
            table.update({(-1, str(k), n): a for n, a in enumerate([index, *hydrogens.get(index, [])])})
        tables.append(table)
    wanted = {key for key in like if key[0] < 0} if like is not None else set(tables[0])
    atoms: dict[AtomKey, int] = next((t for t in tables if set(t) == wanted), tables[0])
    for i, partner in map_residues(site, list_residues(topology, residue), notes, source).items():
        for atom in partner.atoms:
            if atom.element is not None and atom.element.atomic_number > 1:
                atoms.update({(i, atom.name, n): a for n, a in enumerate([atom.index, *hydrogens.get(atom.index, [])])})
    return atoms


def _group_hydrogens(topology: mdtraj.Topology, positions: np.ndarray, cell: np.ndarray | None) -> dict[int, list[int]]:
    """Hydrogens of each heavy atom: by bond records, else the nearest heavy atom of the same residue."""
    parents: dict[int, int] = {}
    for a, b in topology.bonds:
        for atom, other in ((a, b), (b, a)):
            if atom.element is not None and atom.element.atomic_number == 1:
                parents[atom.index] = other.index
    groups: dict[int, list[int]] = {}
    for residue in topology.residues:
        heavy = [a.index for a in residue.atoms if a.element is not None and a.element.atomic_number > 1]
        for atom in residue.atoms:
            if atom.element is None or atom.element.atomic_number != 1 or not heavy:
                continue
            if atom.index not in parents:
                vectors = shift_to_nearest_image(positions[heavy] - positions[atom.index], cell)
                parents[atom.index] = heavy[int(np.linalg.norm(vectors, axis=1).argmin())]
            groups.setdefault(parents[atom.index], []).append(atom.index)
    return groups


def _get_residue(atoms: dict[AtomKey, int], residue: int) -> set[AtomKey]:
    return {key for key in atoms if key[0] == residue}


def _take(atoms: dict[AtomKey, int], keys: Sequence[AtomKey]) -> np.ndarray:
    try:
        return np.array([atoms[key] for key in keys], dtype=np.int64)
    except KeyError as error:
        raise TopologyMismatchError(f"no atom stands for {error} of the force field's structure") from error
