"""``neuralmd reference``: from a complex to a real MD run that ``neuralmd compare`` takes."""

import argparse
import json
import shlex
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.io.directory import RunPlace, check_folder
from openmm_neuralmd.molecule.chemistry import describe_choice
from openmm_neuralmd.options import list_given, number, refuse_unused, seed, threads
from openmm_neuralmd.reference.directory import (
    Place,
    ReferenceFiles,
    read_protocol,
    read_record,
    start_record,
    write_start,
)
from openmm_neuralmd.reference.energies import compare_energies, require_agreement
from openmm_neuralmd.reference.gromacs_engine import find_gromacs, run_gromacs
from openmm_neuralmd.reference.gromacs_files import choose_vacuum_cutoff
from openmm_neuralmd.reference.implicit import IMPLICIT_SOLVENTS, check_solvent_options
from openmm_neuralmd.reference.openmm_engine import run_openmm
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.system import PADDING_NM, SOLVENTS, MolecularSystem, build_system, load_system
from openmm_neuralmd.simulation.force_field_options import add_scripts_option
from openmm_neuralmd.simulation.run import find_platform

ENGINES = ("openmm", "gromacs")
_DEFAULTS: dict[str, Any] = {
    "time_ps": 1000.0,
    "interval_ps": 10.0,
    "equilibration_ps": 500.0,
    "temperature_k": 300.0,
    "pressure_bar": 1.0,
    "seed": 0,
}
_LONGEST_PS, _HOTTEST_K = 1e12, 1e4
_SETTINGS = (
    ("time", "time_ps", number(above=0.0, most=_LONGEST_PS), "PS", "production, of the whole run when resuming"),
    ("interval", "interval_ps", number(above=0.0, most=_LONGEST_PS), "PS", "between frames"),
    (
        "equilibration",
        "equilibration_ps",
        number(least=0.0, most=_LONGEST_PS),
        "PS",
        "heating and equilibration before production",
    ),
    ("temperature", "temperature_k", number(above=0.0, most=_HOTTEST_K), "K", "of the thermostat"),
    ("pressure", "pressure_bar", number(least=-1e6, most=1e6), "BAR", "of the barostat"),
    ("seed", "seed", seed(most=2**31 - 2), "N", "of velocities, noise and ions"),
)


_OF_SYSTEMS = ("--ligand", "--sdf", "--ligand-parameters", "--solvent", "--padding", "--system", "--top")
_OF_RUNS = tuple(f"--{option}" for option, *_ in _SETTINGS if option != "seed") + (
    "--timestep",
    "--platform",
    "--engine",
)


def add_reference_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd reference``."""
    parser.add_argument(
        "complex",
        nargs="?",
        metavar="COMPLEX",
        help="folder of `neuralmd prepare`, or PDB or mmCIF file with hydrogens (default: 4G3E)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="openmm", help="what runs it (default: %(default)s)")
    parser.add_argument("--ligand", metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER")
    parser.add_argument("--sdf", type=Path, metavar="F", help="the ligand's bonds, where the structure has none")
    parser.add_argument(
        "--ligand-parameters", type=Path, metavar="XML", help="OpenMM force field file with the ligand (4G3E: bundled)"
    )
    add_scripts_option(parser)
    parser.add_argument(
        "--solvent",
        choices=SOLVENTS,
        help="obc2 (faster on CPUs), gbn2: implicit, OpenMM only; none: vacuum, for tests only (default: tip3p)",
    )
    parser.add_argument(
        "--padding", **number(least=0.0, most=100.0), metavar="NM", help=f"of the box (default: {PADDING_NM:g})"
    )
    parser.add_argument("--system", type=Path, metavar="XML", help="ready OpenMM System, solvated (.xml or .xml.gz)")
    parser.add_argument("--top", type=Path, metavar="PDB", help="structure of --system (.pdb, .cif, .gz)")
    for option, name, kind, unit, text in _SETTINGS:
        help_text = f"{text} (default: {_DEFAULTS[name]:g})"
        parser.add_argument(f"--{option}", dest=name, **kind, metavar=unit, help=help_text)
    parser.add_argument(
        "--timestep", **number(above=0.0), metavar="FS", help="default: 4 where hydrogens are heavy, else 2"
    )
    parser.add_argument("--platform", metavar="P", default="CPU", help="OpenMM platform (default: %(default)s)")
    parser.add_argument("--threads", **threads(), metavar="N", help="CPU threads")
    parser.add_argument(
        "--check-energies", action="store_true", help="compare both engines' energies of one structure, run nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument("--force", action="store_true", help="replace the run in DIR")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print run.json instead of the summary")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="run directory")


def run_reference(args: argparse.Namespace) -> None:
    """Prepare and run, or go on; then say how to compare."""
    if args.engine == "gromacs" and not args.check_energies:
        refuse_unused(args, ("--platform",), "with --engine gromacs, which has no OpenMM platform")
    if args.allow_scripts and not args.ligand_parameters:
        raise InputError("--allow-scripts is for the file of --ligand-parameters; give that, or leave it out")
    if args.solvent and not args.resume:
        engine = "gromacs" if args.check_energies else args.engine
        check_solvent_options(args.solvent, engine=engine, padding=args.padding, pressure=args.pressure_bar)
    files = ReferenceFiles(args.out, engine=args.engine)
    if args.check_energies:
        _check_energies(args, files)
        return
    check_writable(files.folder)
    with own_folder(files.folder):
        _run(args, files)


def _run(args: argparse.Namespace, files: ReferenceFiles) -> None:
    check_folder(files, resume=args.resume, overwrite=args.force)
    record = read_record(files) if args.resume else None  # first: an engine of no use here need not be installed
    if args.engine == "gromacs":
        find_gromacs()
    else:
        find_platform(args.platform)
    molecules, record, place = _begin(args, files) if record is None else _resume(args, files, record)
    try:
        protocol = read_protocol(record)
        with closing(_ProgressBar(is_shown=not (args.quiet or args.json))) as bar:
            if args.engine == "openmm":
                run_openmm(
                    molecules, protocol, place, record, platform=args.platform, threads=args.threads, progress=bar.show
                )
            else:
                run_gromacs(molecules, protocol, place, record, threads=args.threads, progress=bar.show)
    finally:
        place.leave()
    print(json.dumps(record, indent=2) if args.json else _describe(files, record))


def _begin(args: argparse.Namespace, files: ReferenceFiles) -> tuple[MolecularSystem, dict[str, Any], Place]:
    """A new run: everything is checked and built before anything is written."""
    molecules = _build(args)
    if not molecules.is_periodic:
        refuse_unused(args, ("--pressure",), "where the system has no box")
    if args.sdf is not None and (chosen := describe_choice(args.sdf)):
        print(f"note: {chosen}", file=sys.stderr)
    given = {name: getattr(args, name) for name in _DEFAULTS}
    protocol = Protocol(
        **{name: _DEFAULTS[name] if value is None else value for name, value in given.items()},
        timestep_ps=molecules.choose_timestep() if args.timestep is None else args.timestep / 1000.0,
        is_periodic=molecules.is_periodic,
    )
    if args.engine == "gromacs" and not molecules.is_periodic:
        choose_vacuum_cutoff(molecules.positions)
    place = RunPlace(files, replaces=bool(files.list_existing()))
    try:
        write_start(place.files, molecules)
        return molecules, start_record(place.files, molecules, protocol), place
    except BaseException:
        place.leave()
        raise


def _resume(
    args: argparse.Namespace, files: ReferenceFiles, record: dict[str, Any]
) -> tuple[MolecularSystem, dict[str, Any], Place]:
    """An earlier run; all its settings but the length stay."""
    if (
        any((args.complex, args.ligand, args.sdf, args.ligand_parameters, args.solvent, args.system, args.top))
        or args.padding is not None
    ):
        typed = list_given(args, *_OF_SYSTEMS)
        raise InputError(
            "--resume goes on with the system in DIR: leave out the complex and what it is made with"
            + (f" ({', '.join(typed)})" if typed else "")
        )
    earlier = read_protocol(record)
    for option, name, *_ in (*_SETTINGS, ("timestep", "timestep_ps")):
        given = getattr(args, "timestep" if option == "timestep" else name)
        given = given / 1000.0 if option == "timestep" and given is not None else given
        if given is not None and name != "time_ps" and given != getattr(earlier, name):
            raise InputError(
                f"{files.folder}: the run was made with {name} {getattr(earlier, name):g}, now it is {given:g}; resume "
                "with the same settings or start again (--force)"
            )
    if args.time_ps is not None:
        done = record.get("n_snapshots_done", 0) * earlier.interval_ps
        if args.time_ps < done:
            raise InputError(f"--time {args.time_ps:g}: the run in {files.folder} is {done:g} ps long already")
        record["settings"]["time_ps"] = replace(earlier, time_ps=args.time_ps).time_ps
    record["status"] = "running"
    molecules = load_system(files.system, files.start, ligand=record["ligand"])
    given = replace(molecules, source=record["complex"], force_field=record["force_field"])
    return given, record, RunPlace(files, replaces=False)


def _build(args: argparse.Namespace) -> MolecularSystem:
    if (args.system is None) != (args.top is None):
        raise InputError("--system and --top belong together: give both, or neither")
    if args.system is None:
        return build_system(
            args.complex,
            ligand=args.ligand,
            sdf=args.sdf,
            ligand_parameters=args.ligand_parameters,
            allow_scripts=args.allow_scripts,
            solvent=args.solvent or "tip3p",
            padding=PADDING_NM if args.padding is None else args.padding,
            seed=args.seed or 0,
        )
    if any((args.complex, args.sdf, args.ligand_parameters, args.solvent)) or args.padding is not None:
        raise InputError("--system is complete: leave out COMPLEX, --sdf, --ligand-parameters, --solvent and --padding")
    return load_system(args.system, args.top, ligand=args.ligand)


def _check_energies(args: argparse.Namespace, files: ReferenceFiles) -> None:
    if args.resume or args.force:
        raise InputError("--check-energies runs nothing: leave out --resume and --force")
    find_gromacs()
    refuse_unused(args, _OF_RUNS, "with --check-energies, which runs nothing")
    comparison = compare_energies(_build(args), threads=args.threads)
    files.folder.mkdir(parents=True, exist_ok=True)
    comparison.write(files.energies)
    print(json.dumps(comparison.as_dict(), indent=2) if args.json else comparison.format())
    require_agreement(comparison)


def _describe(files: ReferenceFiles, record: dict[str, Any]) -> str:
    protocol = read_protocol(record)
    lines = [
        f"{record['n_snapshots_done']} frames, {protocol.interval_ps:g} ps apart, of {record['n_atoms_written']} atoms "
        f"({record['n_atoms']} with water and salt): {record['force_field']}",
    ]
    last = record["sessions"][-1]
    simulated = (last["to_snapshot"] - last["from_snapshot"]) * protocol.interval_ps
    if simulated and last["wall_time_s"]:
        lines.append(f"speed    {simulated / last['wall_time_s'] * 86.4:.2f} ns/day of production")
    if any(name in record["force_field"] for name in IMPLICIT_SOLVENTS.values()):
        lines.append("note     implicit solvent: no water molecules in the site, and faster motion than in water")
    elif not protocol.is_periodic:
        lines.append("note     in vacuum: good for tests, not a reference for anything")
    lines.append(f"files    {files.trajectory}, {files.topology.name} (start), {files.log.name}, {files.record.name}")
    lines.append(f"compare  neuralmd compare RUN --reference {shlex.quote(str(files.folder))} --out REPORT")
    return "\n".join(lines)


class _ProgressBar:
    """Appears with the first report, so errors before it stand alone."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown, self._phase = is_shown, ""
        self._bar: tqdm | None = None

    def show(self, phase: str, done_ps: float, total_ps: float) -> None:
        if not self._is_shown:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=round(total_ps, 3),
                initial=round(done_ps, 3),
                file=sys.stderr,
                bar_format="{desc:18s}{percentage:3.0f}%|{bar}| {n:.1f}/{total:g} ps [{elapsed}<{remaining}]",
            )
        if phase != self._phase:
            self._bar.set_description_str(phase)
            self._phase = phase
        self._bar.update(round(done_ps, 3) - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
