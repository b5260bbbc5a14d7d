"""``neuralmd compare``: from files to report."""

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openmm_neuralmd.analysis.bundled import REPLICAS
from openmm_neuralmd.analysis.comparison import Comparison, compare, describe_overall
from openmm_neuralmd.analysis.energetics import EnergyModel, compute_energies, plan_energies
from openmm_neuralmd.analysis.observation import MAX_KEPT_FRAMES, RESERVED_LABELS, observe, observe_start
from openmm_neuralmd.analysis.records import collect_metrics, write_records
from openmm_neuralmd.analysis.report import write_report
from openmm_neuralmd.analysis.scenes import write_scenes
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.checks import (
    a_choice,
    a_count,
    a_sequence,
    an_instance,
    check_arguments,
    check_path,
    check_text,
    optional,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable, explain_storage
from openmm_neuralmd.folders import make_replacement
from openmm_neuralmd.io.formats import is_hdf5
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_run, open_trajectory
from openmm_neuralmd.molecule.chemistry import describe_choice
from openmm_neuralmd.molecule.ligand import load_ligand_sdf, select_ligand
from openmm_neuralmd.molecule.matching import match_ligands
from openmm_neuralmd.molecule.site import SUPERPOSITIONS, BindingSite, build_site
from openmm_neuralmd.options import interval, list_given, refuse_twice, refuse_unused
from openmm_neuralmd.text import check_label, clean_text

_SECONDS_PER_DAY = 86400.0
_A_SERIES = an_instance(TrajectoryFile, of="an opened trajectory, open_run(...) or open_trajectory(...)")


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd compare``."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="run directory, or a trajectory with --run-top")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        type=Path,
        metavar="TRAJ",
        help="MD trajectory or run directory, repeat for replicas (default: the bundled replicas, for bundled 4G3E)",
    )
    parser.add_argument(
        "--top",
        action="append",
        default=[],
        type=Path,
        metavar="TOP",
        help="topology of the references (PDB, PDBx, GRO, prmtop, TPR): one for all, or one for each in their order",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where report.html and the rest go")
    parser.add_argument("--run-top", type=Path, metavar="TOP", help="topology of RUN, if it is a trajectory file")
    parser.add_argument("--ligand", metavar="NAME", help="residue name in RUN (default: found, if there is but one)")
    parser.add_argument("--sdf", type=Path, help="the ligand with its bond orders, any atom order")
    parser.add_argument("--interval", **interval(), metavar="PS", help="between frames of the references, if unsaid")
    parser.add_argument("--run-interval", **interval(), metavar="PS", help="the same of RUN")
    parser.add_argument(
        "--superpose", choices=SUPERPOSITIONS, default="pocket", help="CA atoms to lay frames on (default: %(default)s)"
    )
    parser.add_argument("--label", default="NeuralMD", help="what RUN is called (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print metrics.json instead of the summary")


def run_compare(
    args: argparse.Namespace, model: EnergyModel | None = None, *, energy_frames: int = MAX_KEPT_FRAMES
) -> None:
    """Compare a run with references and write the report; with energies where there is a model for them."""
    check_writable(args.out)
    label = check_label(args.label, "--label")
    _check_options(args, label)
    run = open_series(args.run_path, args.run_top, interval=args.run_interval, label=label, option="--run-top")
    references = open_references(args.reference, args.top, interval=args.interval, taken=run.label)
    comparison, speeds = compare_files(
        run,
        references,
        ligand=args.ligand,
        sdf=args.sdf,
        superpose_on=args.superpose,
        model=model,
        energy_frames=energy_frames,
    )
    write_comparison(comparison, args.out, speeds=speeds)
    if args.sdf is not None and (chosen := describe_choice(args.sdf)):
        print(f"note: {chosen}", file=sys.stderr)
    if args.json:
        print(json.dumps(collect_metrics(comparison, speeds), indent=2))
        return
    for j in comparison.judgements:
        print(f"{j.subject.title:28s} {j.verdict or '-'}{': ' if j.remark else ''}{j.remark}")
    for check in comparison.integrity:
        print(f"{check.title:28s} {check.verdict or '-'}: {check.remark}")
    for note in comparison.notes:
        print(f"note: {note}")
    print(f"\n{describe_overall(comparison)}\n")
    print(f"report  {args.out / 'report.html'}")
    folder = shlex.quote(str(args.out))
    print(f"PyMOL   cd {folder} && pymol view.pml")
    print(f"VMD     cd {folder} && vmd -e view.vmd")


def _check_options(args: argparse.Namespace, label: str) -> None:
    """Raise InputError for options without effect, references given twice, and a label that something else has."""
    if args.run_path.is_dir():
        refuse_unused(args, ("--run-top", "--run-interval"), f"with the run directory {args.run_path}")
    if all((path / "topology.pdb").is_file() for path in args.reference):
        where = "with run directories as --reference" if args.reference else "without --reference"
        refuse_unused(args, ("--top", "--interval"), where)
    refuse_twice("--reference", args.reference, "and would count as two replicas")
    if label in RESERVED_LABELS:
        raise InputError(f"--label {label}: the report uses this name itself; choose another")
    names = [_label_reference(path) for path in args.reference] or REPLICAS
    if list_given(args, "--label") and label in names:
        raise InputError(f"--label {label}: a reference is called so too; choose another")


def _label_reference(path: Path) -> str:
    return clean_text(path.name if path.is_dir() else path.stem)


def open_series(
    path: Path, top: Path | None, *, interval: float | None, label: str | None, option: str = "--top"
) -> TrajectoryFile:
    """A run directory, or a trajectory file with its topology.

    Raises:
        InputError: If it cannot be opened.
    """
    if path.is_dir():
        return open_run(path, label=label)
    if top is None and path.is_file() and not is_hdf5(path):
        raise InputError(f"{path}: give its topology ({option}), a PDB, PDBx, GRO, prmtop or TPR file")
    return open_trajectory(path, top, label=label, interval=interval)


def open_references(
    paths: Sequence[Path], tops: Sequence[Path], *, interval: float | None, taken: str = ""
) -> list[TrajectoryFile]:
    """The references, with labels that differ from each other, from ``taken`` and from ``RESERVED_LABELS``.

    Raises:
        InputError: If the numbers of trajectories and topologies do not fit, or one cannot be opened.
    """
    if len(tops) not in (0, 1, len(paths)):
        raise InputError(
            f"{len(tops)} topologies for {len(paths)} references: give --top once, or once for each --reference"
        )
    files: list[TrajectoryFile] = []
    for k, path in enumerate(paths):
        top = tops[k] if len(tops) == len(paths) else (tops[0] if tops else None)
        label = _label_reference(path)
        if label in {taken, *RESERVED_LABELS, *(f.label for f in files)}:
            label = f"{label} ({k + 1})"
        files.append(open_series(path, top, interval=interval, label=label))
    return files


@check_arguments(
    run=_A_SERIES,
    references=a_sequence(_A_SERIES, of="trajectories"),
    ligand=optional(check_text),
    sdf=optional(check_path),
    superpose_on=a_choice(SUPERPOSITIONS),
    energy_frames=a_count(least=2),
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

    Returns:
        The comparison, and the simulated time per wall time [ns/day] of the series for which it is known.

    Raises:
        InputError: If there is no reference, or a trajectory cannot be used.
        TopologyMismatchError: If ligands or proteins differ.
    """
    speeds = {f.label: s for f in (run, *references) if (s := compute_speed(f)) is not None}
    site, bundled = _choose_site(run, ligand, sdf)
    if not references and not bundled:
        raise InputError(f"no reference is bundled for {site.ligand.name} in this protein: give --reference and --top")
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
        physics = compute_energies(plan, series, frozen)
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
