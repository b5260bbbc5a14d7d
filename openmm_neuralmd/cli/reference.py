"""``neuralmd reference``: real MD of a complex, a run that ``neuralmd compare`` takes."""

import argparse
import json
import shlex
import sys
from contextlib import closing

from openmm_neuralmd.cli.options import (
    add_complex_argument,
    add_ligand_option,
    add_run_options,
    add_scripts_option,
    add_threads_option,
)
from openmm_neuralmd.cli.parsing import name_arguments, refuse_unused
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import real, seed
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.directory import read_protocol
from openmm_neuralmd.reference.energies import require_agreement
from openmm_neuralmd.reference.implicit import IMPLICIT_SOLVENTS
from openmm_neuralmd.reference.run import (
    DEFAULTS,
    ENGINES,
    ReferenceRun,
    ReferenceSettings,
    SystemChoice,
    check_energies,
    require_gromacs,
    run_reference,
)
from openmm_neuralmd.reference.system import PADDING_NM, SOLVENTS

_LONGEST_PS, _HOTTEST_K = 1e12, 1e4  # a second, and more than any force field is for
_SETTINGS = (
    ("time", "time_ps", real(above=0.0, most=_LONGEST_PS), "PS", "production, of the whole run when resuming"),
    ("interval", "interval_ps", real(above=0.0, most=_LONGEST_PS), "PS", "between frames"),
    (
        "equilibration",
        "equilibration_ps",
        real(least=0.0, most=_LONGEST_PS),
        "PS",
        "heating and equilibration before production",
    ),
    ("temperature", "temperature_k", real(above=0.0, most=_HOTTEST_K), "K", "of the thermostat"),
    ("pressure", "pressure_bar", real(least=-1e6, most=1e6), "BAR", "of the barostat"),
    ("seed", "seed", seed(most=2**31 - 2), "N", "of velocities, noise and ions"),
)
_OF_RUNS = (*(f"--{option}" for option, *_ in _SETTINGS if option != "seed"), "--timestep", "--platform", "--engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd reference``."""
    add_complex_argument(parser, "PDB or mmCIF file with hydrogens")
    parser.add_argument("--engine", choices=ENGINES, default="openmm", help="what runs it (default: %(default)s)")
    add_ligand_option(parser)
    parser.add_argument("--sdf", metavar="F", help="the ligand's bonds, where the structure has none")
    parser.add_argument(
        "--ligand-parameters", metavar="XML", help="OpenMM force field file with the ligand (4G3E: bundled)"
    )
    add_scripts_option(parser)
    parser.add_argument(
        "--solvent",
        choices=SOLVENTS,
        help="obc2 (faster on CPUs), gbn2: implicit, OpenMM only; none: vacuum, for tests only (default: tip3p)",
    )
    parser.add_argument(
        "--padding", **real(least=0.0, most=100.0), metavar="NM", help=f"of the box (default: {PADDING_NM:g})"
    )
    parser.add_argument("--system", metavar="XML", help="ready OpenMM System, solvated (.xml or .xml.gz)")
    parser.add_argument("--top", metavar="PDB", help="structure of --system (.pdb, .cif, .gz)")
    for option, name, kind, unit, text in _SETTINGS:
        help_text = f"{text} (default: {DEFAULTS[name]:g})"
        parser.add_argument(f"--{option}", dest=name, **kind, metavar=unit, help=help_text)
    parser.add_argument(
        "--timestep",
        dest="timestep_fs",
        **real(above=0.0),
        metavar="FS",
        help="default: 4 where hydrogens are heavy, else 2",
    )
    parser.add_argument("--platform", metavar="P", help="OpenMM platform (default: CPU)")
    add_threads_option(parser)
    parser.add_argument(
        "--check-energies", action="store_true", help="compare both engines' energies of one structure, run nothing"
    )
    add_run_options(parser)
    name_arguments(parser, timestep_ps="--timestep", remove="--remove")


def run(args: argparse.Namespace) -> None:
    """Prepare and run, or go on; then say how to compare."""
    choice = SystemChoice(
        complex_file=args.complex_file,
        ligand=args.ligand,
        sdf=args.sdf,
        ligand_parameters=args.ligand_parameters,
        allow_scripts=args.allow_scripts,
        solvent=args.solvent,
        padding=args.padding,
        system=args.system,
        top=args.top,
    )
    settings = ReferenceSettings(
        **{name: getattr(args, name) for name in DEFAULTS},
        timestep_ps=None if args.timestep_fs is None else args.timestep_fs / 1000.0,
    )
    if args.check_energies:
        _check_energies(args, choice, settings)
        return
    with closing(ProgressBar("ps", is_quiet=args.quiet or args.json)) as bar:
        done = run_reference(
            choice,
            settings,
            args.out,
            engine=args.engine,
            platform=args.platform,
            threads=args.threads,
            resume=args.resume,
            overwrite=args.overwrite,
            report=lambda note: print(f"note: {note}", file=sys.stderr),
            progress=lambda phase, done_ps, total_ps: bar.show(done_ps, total_ps, title=phase),
        )
    print(json.dumps(done.record, indent=2) if args.json else _describe(done))


def _check_energies(args: argparse.Namespace, choice: SystemChoice, settings: ReferenceSettings) -> None:
    if args.resume or args.overwrite:
        raise InputError("--check-energies runs nothing: leave out --resume and --force")
    require_gromacs(choice, settings)  # without which no further answer helps
    refuse_unused(args, _OF_RUNS, "with --check-energies, which runs nothing")
    comparison = check_energies(choice, args.out, settings=settings, threads=args.threads)
    print(json.dumps(comparison.as_dict(), indent=2) if args.json else comparison.format())
    require_agreement(comparison)


def _describe(done: ReferenceRun) -> str:
    files, record = done.files, done.record
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
