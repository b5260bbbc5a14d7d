"""A run in one small table: beside the bundled MD replicas, a frozen ligand and the mean structure."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmm_neuralmd.analysis.bundled import REPLICAS, TRAINING_FRACTION, load_bundled_site, open_bundled_replica
from openmm_neuralmd.analysis.fluctuations import compute_rmsf, compute_wasserstein_distances
from openmm_neuralmd.analysis.metrics import compute_pair_distances, compute_rmsd
from openmm_neuralmd.analysis.observation import RESERVED_LABELS, Observation, observe
from openmm_neuralmd.analysis.validity import compute_bond_deviations, compute_handedness, count_clashes
from openmm_neuralmd.checks import a_choice, check_arguments, check_path
from openmm_neuralmd.errors import InputError, TopologyMismatchError
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_run
from openmm_neuralmd.molecule.matching import match_ligands
from openmm_neuralmd.molecule.site import SUPERPOSITIONS, BindingSite, build_site
from openmm_neuralmd.text import spell_units
from openmm_neuralmd.units import ANGSTROM_PER_NM

SAME_PLACE_NM = 0.05
"""CA atoms of the bundled structure are no further than this from where it has them, however a file rounds."""
_PLACES = {"pocket": "the pocket", "all": "all residues"}


@dataclass(frozen=True)
class SummaryTable:
    """Numbers of a run and of what it is compared with.

    Attributes:
        columns: Names of what is compared; the run comes first.
        rows: Name of each property, with its unit (A for angstrom), and its values in the order of the columns; NaN
            where there is none.
        notes: Which data each column came from, and what a reader must know.
    """

    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    notes: tuple[str, ...]

    def format(self) -> str:
        """Aligned text, the notes below."""
        cells = [["", *self.columns]]
        cells += [[spell_units(name), *(_format_number(v) for v in values)] for name, values in self.rows.items()]
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in cells
        ]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([*lines, "", *self.notes])


def summarize_run(run_dir: str | Path, *, superpose_on: str = "pocket") -> str:
    """The table of ``tabulate_run`` as text."""
    return tabulate_run(run_dir, superpose_on=superpose_on).format()


@check_arguments(run_dir=check_path, superpose_on=a_choice(SUPERPOSITIONS))
def tabulate_run(run_dir: str | Path, *, superpose_on: str = "pocket") -> SummaryTable:
    """Compare a run with the bundled replicas; with nothing but a frozen ligand if it is another complex.

    Args:
        run_dir: Run directory.
        superpose_on: CA atoms of the "pocket" or of "all" residues.

    Raises:
        InputError: If ``run_dir`` is not a run directory or cannot be read.
    """
    file = open_run(run_dir, label="run")
    site, files = load_run_context(file)
    run, *replicas = [observe(f, site, superpose_on=superpose_on) for f in (file, *files)]
    columns = [run, *replicas, *make_baselines(run, site, replicas, file)]
    rows = _tabulate(columns, site, replicas)
    return SummaryTable(tuple(c.label for c in columns), rows, _explain(columns, site, replicas, rows, superpose_on))


def load_run_context(file: TrajectoryFile, ligand: str | None = None) -> tuple[BindingSite, list[TrajectoryFile]]:
    """The run's binding site, and the bundled replicas if the run is of the bundled complex (else none).

    Args:
        file: The run.
        ligand: Residue name; as in ``run.json``, or the only possible one, if None.

    Raises:
        InputError: If ``run.json`` names something else than a residue.
    """
    if ligand is None:
        ligand = file.info.get("ligand")
        if not isinstance(ligand, str | None):
            raise InputError(
                f"{file.path.with_name('run.json')}: damaged, its ligand is {ligand!r}; say which it is (`ligand`)"
            )
    site = build_site(file.topology, file.positions, ligand=ligand)
    bundled = load_bundled_site()
    try:
        order = match_ligands(bundled.ligand, site.ligand)
    except TopologyMismatchError:
        return site, []
    same_order = (order == np.arange(site.ligand.n_atoms)).all(axis=1).any()
    same_protein = site.sequence == bundled.sequence and np.abs(site.ca - bundled.ca).max() < SAME_PLACE_NM
    is_bundled = same_order and same_protein
    return (bundled, [open_bundled_replica(name) for name in REPLICAS]) if is_bundled else (site, [])


def make_baselines(
    run: Observation, site: BindingSite, replicas: list[Observation], file: TrajectoryFile
) -> list[Observation]:
    """What no model is needed for: the frozen start, and the mean of the training part, both never moving."""
    poses = [("frozen", "the starting pose, never moving", site.pose)]
    if replicas:
        training = replicas[0].positions[: int(TRAINING_FRACTION * replicas[0].n_frames)]
        source = f"mean of the first {100 * TRAINING_FRACTION:.0f} % of {replicas[0].label}, never moving"
        poses.append(("mean", source, training.mean(axis=0)))
    protein = [a for a in file.topology.atoms if a.residue.name != site.ligand.name and a.element.atomic_number > 1]
    return [
        Observation(
            label,
            source,
            run.interval,
            np.broadcast_to(pose, (run.n_frames, *pose.shape)),
            clashes=count_clashes(
                pose[None],
                file.positions[[a.index for a in protein]],
                ligand_elements=site.ligand.atomic_numbers,
                protein_elements=np.array([a.element.atomic_number for a in protein]),
            ),
        )
        for label, source, pose in poses
    ]


def _tabulate(
    columns: list[Observation], site: BindingSite, replicas: list[Observation]
) -> dict[str, tuple[float, ...]]:
    bonds, centers = site.ligand.bonds, site.ligand.find_centers([r.positions for r in replicas])
    rmsd = [ANGSTROM_PER_NM * compute_rmsd(c.positions, site.pose) for c in columns]
    deviations = [ANGSTROM_PER_NM * compute_bond_deviations(c.positions, site.ligand.geometry, bonds) for c in columns]
    hands = compute_handedness(site.ligand.geometry[None], centers)
    inverted = [(compute_handedness(c.positions, centers) != hands).any(axis=1).mean() for c in columns]
    rows = {
        "ligand RMSD to the start, mean [A]": [r.mean() for r in rmsd],
        "ligand RMSD to the start, largest [A]": [r.max() for r in rmsd],
        "RMSF, mean over atoms [A]": [ANGSTROM_PER_NM * compute_rmsf(c.positions).mean() for c in columns],
        "bond deviation, rms [A]": [np.sqrt((d**2).mean()) for d in deviations],
        "bond deviation, worst [A]": [np.abs(d).max() for d in deviations],
        "frames with inverted chirality [%]": [100.0 * v for v in inverted],
        "protein clashes per frame": [np.nan if c.clashes is None else c.clashes.mean() for c in columns],
    }
    if len(replicas) == 2:
        distances = [compute_pair_distances(c.positions, site.ligand.pairs) for c in columns]
        apart = [float(compute_wasserstein_distances(d, distances[1]).mean()) for d in distances]
        rows["pair distances, distance to r1 (r2 = 1)"] = [a / apart[2] for a in apart]
    return {name: tuple(float(v) for v in values) for name, values in rows.items()}


def _explain(
    columns: list[Observation],
    site: BindingSite,
    replicas: list[Observation],
    rows: dict[str, tuple[float, ...]],
    superpose_on: str,
) -> tuple[str, ...]:
    notes = []
    for c in columns:
        length = f"{c.n_frames} frames, {c.interval:g} ps apart ({c.length / 1000:.2f} ns)"
        source = "bundled MD replica, OpenMM, Amber14 and GAFF2, 300 K" if c in replicas else c.source
        notes.append(f"{c.label}: {source}" + ("" if c.label in RESERVED_LABELS else f"; {length}"))
        notes += [f"  note: {note}" for note in c.notes]
    notes.append(
        f"Heavy atoms; protein superposed on the CA atoms of {_PLACES[superpose_on]}; bonds against "
        + ("the bundled reference geometry (mean of r1's training part)" if replicas else "the starting pose")
        + "; clash: closer than 0.75 of the sum of van der Waals radii, "
        "counted in the run's rigid protein, for the MD replicas in their own moving one."
    )
    if not replicas:
        notes.append(
            f"No MD reference is bundled for {site.ligand.name} in this protein: give one to neuralmd compare."
        )
    for name, values in rows.items():
        if name.startswith("pair distances") and values[0] > min(values[3:]):
            notes.append("The run's pair distances are no closer to r1's than those of a ligand that never moves.")
    return tuple(notes)


def _format_number(value: float) -> str:
    if np.isnan(value):
        return "-"
    if 0.0 < abs(value) < 0.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.3g}"
