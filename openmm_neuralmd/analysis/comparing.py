"""From a run and its references, opened, to a comparison and its report."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openmm_neuralmd.analysis.comparison import Comparison, compare
from openmm_neuralmd.analysis.energetics import EnergyModel, EnergyProgress, compute_energies, plan_energies
from openmm_neuralmd.analysis.observation import MAX_KEPT_FRAMES, observe, observe_start
from openmm_neuralmd.analysis.records import write_records
from openmm_neuralmd.analysis.report import write_report
from openmm_neuralmd.analysis.scenes import write_scenes
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.checks import (
    a_choice,
    a_count,
    a_sequence,
    an_instance,
    check_arguments,
    check_callable,
    check_path,
    check_text,
    optional,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable, explain_storage
from openmm_neuralmd.folders import make_replacement
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.ligand import load_ligand_sdf, select_ligand
from openmm_neuralmd.molecule.matching import match_ligands
from openmm_neuralmd.molecule.site import SUPERPOSITIONS, BindingSite, build_site

_SECONDS_PER_DAY = 86400.0  # speeds are simulated ns a day
_A_SERIES = an_instance(TrajectoryFile, of="an opened trajectory, open_run(...) or open_trajectory(...)")


@check_arguments(
    run=_A_SERIES,
    references=a_sequence(_A_SERIES, of="trajectories"),
    ligand=optional(check_text),
    sdf=optional(check_path),
    superpose_on=a_choice(SUPERPOSITIONS),
    energy_frames=a_count(least=2),
    progress=optional(check_callable),
)
def compare_files(
    run: TrajectoryFile,
    references: Sequence[TrajectoryFile],
    *,
    ligand: str | None = None,
    sdf: Path | None = None,
    superpose_on: str = "pocket",
    model: EnergyModel | None = None,
    energy_frames: int = MAX_KEPT_FRAMES,
    progress: EnergyProgress | None = None,
) -> tuple[Comparison, dict[str, float]]:
    """Read a run and its references and compare them.

    Args:
        run: What is judged.
        references: MD; the bundled replicas if empty and the run is of the bundled complex.
        ligand: Residue name in the run's topology.
        sdf: The ligand with its bond orders.
        superpose_on: CA atoms of the "pocket" or of "all" residues.
        model: A force field, for interaction and strain energies.
        energy_frames: Of how many frames of each trajectory at most.
        progress: Called after each snapshot whose energies are known.

    Returns:
        The comparison, and the simulated time per wall time [ns/day] of the series for which it is known.

    Raises:
        InputError: If there is no reference, or a trajectory cannot be used.
        TopologyMismatchError: If ligands or proteins differ.
    """
    speeds = {f.label: s for f in (run, *references) if (s := compute_speed(f)) is not None}
    site, bundled = _choose_site(run, ligand, sdf)
    if not references and not bundled:
        raise InputError(f"no reference is bundled for {site.ligand.name} in this protein: give `references` and `top`")
    files = list(references) or bundled
    plan = None if model is None else plan_energies(model, site, [run, *files])
    wanted = [None] * (1 + len(files)) if plan is None else list(plan.atoms)
    series = [
        observe(file, site, superpose_on=superpose_on, keep=keep, max_kept=energy_frames)
        for file, keep in zip((run, *files), wanted, strict=True)
    ]
    frozen = observe_start(run, site, series[0].n_frames, keep=wanted[0])
    physics = None
    if plan is not None:
        physics = compute_energies(plan, series, frozen, progress=progress)
        *series, frozen = [replace(o, energies=physics.energies.get(o.label)) for o in (*series, frozen)]
    comparison = compare(series[0], series[1:], frozen, site, physics)
    return comparison, speeds


@check_arguments(comparison=an_instance(Comparison, of="a Comparison, compare_files(...)[0]"), out=check_path)
def write_comparison(comparison: Comparison, out: Path, *, speeds: dict[str, float] | None = None) -> None:
    """Write report, records and scripts to ``out``; an earlier comparison there is replaced only when all is made."""
    check_writable(out)
    with make_replacement(out) as unfinished, explain_storage(out / "report.html"):
        write_report(comparison, unfinished / "report.html", speeds=speeds)
        write_records(comparison, unfinished, speeds=speeds)
        write_scenes([comparison.run, *comparison.references], comparison.site.ligand.name, unfinished)


def compute_speed(file: TrajectoryFile) -> float | None:
    """Simulated time per wall time [ns/day] from ``run.json``; None where it does not say.

    Raises:
        InputError: If what it says is no number of snapshots or seconds.
    """
    sessions = file.info.get("sessions", [])
    damaged = InputError(
        f"{file.path.with_name('run.json')}: damaged, its sessions hold odd values; mend it, or give the trajectory "
        "itself with its topology"
    )
    if not isinstance(sessions, list) or not all(isinstance(s, dict) for s in sessions):
        raise damaged
    names = ("from_snapshot", "to_snapshot", "wall_time_s")
    rows = [[s[name] for name in names] for s in sessions if set(names) <= s.keys()]
    for row in rows:
        if not all(type(value) in (int, float) and 0 <= value < math.inf for value in row) or row[1] < row[0]:
            raise damaged
    seconds = sum(row[2] for row in rows)
    snapshots = sum(row[1] - row[0] for row in rows)
    return snapshots * file.interval / 1000.0 / seconds * _SECONDS_PER_DAY if seconds > 0 else None


def _choose_site(run: TrajectoryFile, ligand: str | None, sdf: Path | None) -> tuple[BindingSite, list[TrajectoryFile]]:
    """The run's binding site, and the bundled replicas if it is the bundled one."""
    site, replicas = load_run_context(run, ligand)
    if sdf is not None:
        residue = select_ligand(run.topology, site.ligand.name)
        graph = load_ligand_sdf(sdf, residue.name)
        ordered = graph.reorder(match_ligands(site.ligand, graph)[0])
        site = build_site(run.topology, run.positions, ligand=residue.name, graph=ordered)
    return site, replicas
