"""Options of the complex and its trajectories, the same for ``neuralmd train`` and ``neuralmd evaluate``."""

import argparse
import sys
from collections.abc import Sequence

from openmm_neuralmd.analysis.site import SUPERPOSITIONS
from openmm_neuralmd.complex import Complex, load_bundled_complex, load_complex
from openmm_neuralmd.data.trajectories import LigandTrajectory, load_ligand_trajectory


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where the complex is, and how its trajectories are read."""
    parser.add_argument("--top", required=True, help="PDB or other topology of the trajectories")
    parser.add_argument(
        "--complex",
        dest="complex_file",
        metavar="PDB",
        help="rigid protein and ligand pose to superpose on; 'bundled' for 4G3E (default: TOP itself)",
    )
    parser.add_argument("--ligand", required=True, metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER")
    parser.add_argument("--sdf", help="the ligand's bonds and ideal geometry, atoms in the topology's order")
    parser.add_argument("--interval", type=float, metavar="PS", help="frame interval, where the file does not say it")
    parser.add_argument(
        "--superpose", choices=SUPERPOSITIONS, default="pocket", help="CA atoms to lay frames on (default: %(default)s)"
    )
    parser.add_argument("--split", type=float, default=0.8, help="training part in time (default: %(default)s)")


def load_data(args: argparse.Namespace, paths: Sequence[str]) -> tuple[Complex, list[LigandTrajectory]]:
    """The complex and its trajectories; what was mended on reading goes to stderr."""
    if args.complex_file == "bundled":
        complex_ = load_bundled_complex()
    else:
        complex_ = load_complex(args.complex_file or args.top, args.ligand, sdf=args.sdf)
    trajectories = [
        load_ligand_trajectory(path, args.top, complex_, frame_interval=args.interval, superpose_on=args.superpose)
        for path in paths
    ]
    for note in (note for trajectory in trajectories for note in trajectory.notes):
        print(f"note: {note}", file=sys.stderr)
    return complex_, trajectories
