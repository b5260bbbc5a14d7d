"""``neuralmd compare``: a report of a run beside MD."""

import argparse
import json
import shlex
import sys
from contextlib import closing
from pathlib import Path

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.analysis.comparing import compare_files, write_comparison
from openmm_neuralmd.analysis.comparison import describe_overall
from openmm_neuralmd.analysis.inputs import DEFAULT_LABEL, open_inputs
from openmm_neuralmd.analysis.observation import MAX_KEPT_FRAMES
from openmm_neuralmd.analysis.records import collect_metrics
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.cli.options import (
    add_force_field_options,
    add_quiet_option,
    add_superpose_option,
    read_force_field,
)
from openmm_neuralmd.cli.parsing import name_arguments
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import interval, whole
from openmm_neuralmd.files import check_writable
from openmm_neuralmd.io.trajectories import open_run
from openmm_neuralmd.molecule.chemistry import describe_choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd compare``."""
    parser.add_argument("run_path", metavar="RUN", help="run directory, or a trajectory with --run-top")
    parser.add_argument(
        "--reference",
        dest="references",
        action="append",
        default=[],
        metavar="TRAJ",
        help="MD trajectory or run directory, repeat for replicas (default: the bundled replicas, for bundled 4G3E)",
    )
    parser.add_argument(
        "--top",
        action="append",
        default=[],
        metavar="TOP",
        help="topology of the references (PDB, PDBx, GRO, prmtop, TPR): one for all, or one for each in their order",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where report.html and the rest go")
    parser.add_argument("--run-top", metavar="TOP", help="topology of RUN, if it is a trajectory file")
    parser.add_argument("--ligand", metavar="NAME", help="residue name in RUN (default: found, if there is but one)")
    parser.add_argument("--sdf", help="the ligand with its bond orders, any atom order")
    parser.add_argument("--interval", **interval(), metavar="PS", help="between frames of the references, if unsaid")
    parser.add_argument("--run-interval", **interval(), metavar="PS", help="the same of RUN")
    add_superpose_option(parser, "%(default)s", "pocket")
    parser.add_argument("--label", help=f"what RUN is called (default: {DEFAULT_LABEL})")
    add_quiet_option(parser)
    parser.add_argument("--json", action="store_true", help="print metrics.json instead of the summary")
    group = parser.add_argument_group("energies", "with a force field: interaction and strain energy of snapshots")
    add_force_field_options(group, "topology.pdb of RUN")
    group.add_argument(
        "--minimise-steps",
        dest="max_steps",
        **whole(),
        default=50,
        metavar="N",
        help="at most, of each snapshot (default: %(default)s)",
    )
    group.add_argument(
        "--energy-frames",
        **whole(least=2, advice="at least 2"),
        default=MAX_KEPT_FRAMES,
        metavar="N",
        help="of each trajectory at most, evenly spread (default: %(default)s)",
    )
    name_arguments(parser, run="RUN", structure="--system-top")


def run(args: argparse.Namespace) -> None:
    """Compare a run with references, write the report and print its verdicts; with energies where a force field is."""
    check_writable(args.out)
    run_path = Path(args.run_path)
    model = read_force_field(
        args,
        ligand=args.ligand,
        default_structure=run_path / "topology.pdb" if run_path.is_dir() else args.run_top,
        find_parameters=lambda: _find_parameters(run_path, args.ligand),
        max_steps=args.max_steps,
    )
    compared, references = open_inputs(
        args.run_path,
        args.references,
        run_top=args.run_top,
        top=args.top,
        run_interval=args.run_interval,
        interval=args.interval,
        label=args.label,
    )
    with closing(ProgressBar("snapshot", is_quiet=args.quiet, is_passing=True)) as bar:
        comparison, speeds = compare_files(
            compared,
            references,
            ligand=args.ligand,
            sdf=args.sdf,
            superpose_on=args.superpose_on,
            model=model,
            energy_frames=args.energy_frames,
            progress=lambda label, done, total: bar.show(done, total, title=f"energies of {label}"),
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
    print(f"report  {Path(args.out) / 'report.html'}")
    folder = shlex.quote(str(args.out))
    print(f"PyMOL   cd {folder} && pymol view.pml")
    print(f"VMD     cd {folder} && vmd -e view.vmd")


def _find_parameters(run_path: Path, ligand: str | None) -> list[Path]:
    """The bundled ligand's, for a run directory of the bundled complex."""
    is_bundled = run_path.is_dir() and load_run_context(open_run(run_path), ligand)[1]
    return [get_bundled_path("ligand_gaff2.xml")] if is_bundled else []
