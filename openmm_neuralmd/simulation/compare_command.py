"""``neuralmd compare`` with a force field: the options that choose one, and the comparison that asks it."""

import argparse
from pathlib import Path

from openmm_neuralmd.analysis import command
from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.analysis.energetics import EnergyModel
from openmm_neuralmd.analysis.observation import MAX_KEPT_FRAMES
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.io.trajectories import open_run
from openmm_neuralmd.options import whole
from openmm_neuralmd.simulation.force_field_options import add_force_field_options, load_force_field


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd compare``."""
    command.add_compare_arguments(parser)
    group = parser.add_argument_group("energies", "with a force field: interaction and strain energy of snapshots")
    add_force_field_options(group, "topology.pdb of RUN")
    group.add_argument(
        "--minimise-steps", **whole(), default=50, metavar="N", help="at most, of each snapshot (default: %(default)s)"
    )
    group.add_argument(
        "--energy-frames",
        **whole(least=2, advice="at least 2"),
        default=MAX_KEPT_FRAMES,
        metavar="N",
        help="of each trajectory at most, evenly spread (default: %(default)s)",
    )


def run_compare(args: argparse.Namespace) -> None:
    """Compare a run with references and write the report."""
    command.run_compare(args, load_model(args), energy_frames=args.energy_frames)


def load_model(args: argparse.Namespace) -> EnergyModel | None:
    """The force field that the options name; None if they name none.

    Raises:
        InputError: If they contradict each other, or a file cannot be used.
    """

    def find_parameters() -> list[Path]:
        is_bundled = args.run_path.is_dir() and load_run_context(open_run(args.run_path), args.ligand)[1]
        return [get_bundled_path("ligand_gaff2.xml")] if is_bundled else []

    return load_force_field(
        args,
        ligand=args.ligand,
        structure=args.run_path / "topology.pdb" if args.run_path.is_dir() else args.run_top,
        find_parameters=find_parameters,
        max_steps=args.minimise_steps,
    )
