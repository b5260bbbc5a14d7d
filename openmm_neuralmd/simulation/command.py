"""``neuralmd simulate``: arguments in, a run directory out."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing

from tqdm import tqdm

from openmm_neuralmd.analysis.summary import summarize_run
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.copy_format import list_copy_formats
from openmm_neuralmd.io.directory import RunFiles
from openmm_neuralmd.io.structures import load_structure
from openmm_neuralmd.models.export import BUNDLED, load_bundled_model, load_model
from openmm_neuralmd.molecule.complex import (
    Complex,
    check_source,
    is_prepared,
    load_bundled_complex,
    load_prepared_complex,
)
from openmm_neuralmd.options import refuse_twice, seed, threads, whole
from openmm_neuralmd.simulation.force import BACKENDS
from openmm_neuralmd.simulation.integrators import SCHEMES
from openmm_neuralmd.simulation.run import simulate


def add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd simulate``."""
    parser.add_argument(
        "complex",
        nargs="?",
        metavar="COMPLEX",
        help="folder of `neuralmd prepare`, or PDB, mmCIF, GRO or TPR file (default: 4G3E)",
    )
    parser.add_argument("--ligand", metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER")
    parser.add_argument("--sdf", metavar="F", help="the ligand's bonds, their orders and ideal geometry")
    parser.add_argument("--model", default="sde", metavar="M", help="model file, or bundled: sde, ode (default: sde)")
    parser.add_argument("--snapshots", **whole(), default=100, metavar="N", help="of the whole run (default: 100)")
    parser.add_argument("--steps-per-snapshot", **whole(), metavar="N", help="default: the model's own")
    parser.add_argument("--scheme", metavar="S", help=f"{', '.join(SCHEMES)} (default: the model's own)")
    parser.add_argument("--seed", **seed(), default=0, help="of the noise (default: 0)")
    parser.add_argument(
        "--backend", default="python", metavar="B", help=f"auto, {', '.join(BACKENDS)} (default: python)"
    )
    parser.add_argument("--platform", default="CPU", metavar="P", help="OpenMM platform (default: CPU)")
    parser.add_argument(
        "--format",
        action="append",
        default=[],
        metavar="F",
        help="also a copy of the trajectory, written when the run ends: "
        f"{', '.join(list_copy_formats())}; may be given again",
    )
    parser.add_argument("--threads", **threads(), default=1, metavar="N", help="CPU threads (default: %(default)s)")
    parser.add_argument("--no-projection", action="store_true", help="do not bring bonds back after each step")
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument("--force", action="store_true", help="replace the run in DIR")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print run.json instead of the summary")
    parser.add_argument("--out", required=True, metavar="DIR", help="run directory")


def run_simulate(args: argparse.Namespace) -> None:
    """Simulate, then print where everything is."""
    refuse_twice("--format", args.format)
    complex_ = _load_complex(args)
    model = load_bundled_model(args.model) if args.model in BUNDLED else load_model(args.model)
    bar = _ProgressBar(args.snapshots, complex_.notes, is_shown=not (args.quiet or args.json))
    with closing(bar):
        files = simulate(
            complex_,
            model,
            args.out,
            n_snapshots=args.snapshots,
            steps_per_snapshot=args.steps_per_snapshot,
            scheme=args.scheme,
            seed=args.seed,
            projection=not args.no_projection,
            backend=args.backend,
            platform=args.platform,
            threads=args.threads,
            resume=args.resume,
            overwrite=args.force,
            formats=[f for f in args.format if f != "dcd"],
            progress=bar.show,
        )
    record = json.loads(files.record.read_text())
    if args.json:
        print(json.dumps(record, indent=2))
    else:
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


class _ProgressBar:
    """Appears with the first report, below notes, so errors before it stand alone; its rate counts this session."""

    def __init__(self, n_snapshots: int, notes: Sequence[str], *, is_shown: bool) -> None:
        self._n_snapshots, self._notes, self._is_shown = n_snapshots, notes, is_shown
        self._bar: tqdm | None = None

    def show(self, done: int, time_ps: float) -> None:
        if self._bar is None:
            for note in self._notes:
                print(f"note: {note}", file=sys.stderr)
            self._bar = tqdm(
                total=self._n_snapshots, initial=done, unit="snapshot", disable=not self._is_shown, file=sys.stderr
            )
        self._bar.set_postfix_str(f"{time_ps / 1000:.2f} ns simulated", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _load_complex(args: argparse.Namespace) -> Complex:
    if args.complex is None:
        if args.ligand or args.sdf:
            raise InputError("--ligand and --sdf belong to a COMPLEX.pdb; give one, or neither for the bundled 4G3E")
        return load_bundled_complex()
    check_source(args.complex)
    if args.ligand is None and args.sdf is None and is_prepared(args.complex):
        return load_prepared_complex(args.complex)
    if args.ligand is None:
        raise InputError(f"{args.complex}: which residue is the ligand? say --ligand NAME or NAME:CHAIN:NUMBER")
    return load_structure(args.complex, args.ligand, sdf=args.sdf)
