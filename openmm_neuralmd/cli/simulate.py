"""``neuralmd simulate``: a run directory out of a complex and a model."""

import argparse
import json
import shlex
from contextlib import closing

from openmm_neuralmd.analysis.summary import summarize_run
from openmm_neuralmd.checks import refuse_twice
from openmm_neuralmd.cli.options import (
    add_complex_argument,
    add_ligand_option,
    add_run_options,
    add_threads_option,
    open_model,
)
from openmm_neuralmd.cli.parsing import translate
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import seed, whole
from openmm_neuralmd.dynamics.scheme import find_schemes
from openmm_neuralmd.io.copy_format import list_copy_formats
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.simulation.force import BACKENDS
from openmm_neuralmd.simulation.run import simulate
from openmm_neuralmd.simulation.start import choose_complex


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd simulate``."""
    add_complex_argument(parser, "PDB, mmCIF, GRO or TPR file")
    add_ligand_option(parser)
    parser.add_argument("--sdf", metavar="F", help="the ligand's bonds, their orders and ideal geometry")
    parser.add_argument("--model", default="sde", metavar="M", help="model file, or bundled: sde, ode (default: sde)")
    parser.add_argument(
        "--snapshots", dest="n_snapshots", **whole(), default=100, metavar="N", help="of the whole run (default: 100)"
    )
    parser.add_argument("--steps-per-snapshot", **whole(), metavar="N", help="default: the model's own")
    parser.add_argument("--scheme", metavar="S", help=f"{', '.join(find_schemes())} (default: the model's own)")
    parser.add_argument("--seed", **seed(), default=0, help="of the noise (default: 0)")
    parser.add_argument(
        "--backend", default="python", metavar="B", help=f"auto, {', '.join(BACKENDS)} (default: python)"
    )
    parser.add_argument("--platform", default="CPU", metavar="P", help="OpenMM platform (default: CPU)")
    parser.add_argument(
        "--format",
        dest="formats",
        action="append",
        default=[],
        metavar="F",
        help="also a copy of the trajectory, written when the run ends: "
        f"{', '.join(list_copy_formats())}; may be given again",
    )
    add_threads_option(parser, 1)
    parser.add_argument(
        "--no-projection", dest="projection", action="store_false", help="do not bring bonds back after each step"
    )
    add_run_options(parser)


def run(args: argparse.Namespace) -> None:
    """Simulate, then print where everything is."""
    refuse_twice("--format", args.formats)
    complex_ = choose_complex(args.complex_file, ligand=args.ligand, sdf=args.sdf)
    model = open_model(args.model)
    notes = [translate(note, args.names) for note in complex_.notes]
    with closing(ProgressBar("snapshot", is_quiet=args.quiet or args.json, notes=notes)) as bar:

        def show(done: int, time_ps: float) -> None:
            bar.show(done, args.n_snapshots, text=f"{time_ps / 1000:.2f} ns simulated")

        files = simulate(
            complex_,
            model,
            args.out,
            n_snapshots=args.n_snapshots,
            steps_per_snapshot=args.steps_per_snapshot,
            scheme=args.scheme,
            seed=args.seed,
            projection=args.projection,
            backend=args.backend,
            platform=args.platform,
            threads=args.threads,
            resume=args.resume,
            overwrite=args.overwrite,
            formats=[f for f in args.formats if f != "dcd"],
            progress=show,
        )
    record = json.loads(files.record.read_text())
    if args.json:
        print(json.dumps(record, indent=2))
        return
    print(describe_run(files, record["held_fixed"]))
    if record["applicability"]:
        print(f"model    {record['applicability']['statement']}")


def describe_run(files: RunFiles, held_fixed: str) -> str:
    """What to know after a run: comparison, files, and how to look at them."""
    load = f"load_traj {files.trajectory}, topology, state=1"
    copies = [path.name for path in map(files.get_copy, list_copy_formats()) if path.exists()]
    return "\n".join(
        [
            summarize_run(files.folder),
            "",
            f"held     {held_fixed}",
            f"files    {', '.join([str(files.trajectory), *copies])}, {files.topology.name} (start), {files.log.name}, "
            f"{files.record.name}",
            f"VMD      {shlex.join(['vmd', str(files.topology), str(files.trajectory)])}",
            f"PyMOL    {shlex.join(['pymol', str(files.topology), '-d', load])}",
        ]
    )
