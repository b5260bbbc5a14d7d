"""``neuralmd compare`` with a force field: the options that choose one, and the comparison that asks it."""

import argparse
from pathlib import Path

from openmm_neuralmd.analysis import command
from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.analysis.energetics import EnergyModel
from openmm_neuralmd.analysis.observation import MAX_KEPT_FRAMES
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.analysis.trajectories import open_run
from openmm_neuralmd.errors import InputError


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd compare``."""
    command.add_compare_arguments(parser)
    group = parser.add_argument_group("energies", "with a force field: interaction and strain energy of snapshots")
    group.add_argument("--forcefield", nargs="+", metavar="XML", help="OpenMM force-field files, e.g. amber14-all.xml")
    group.add_argument(
        "--ligand-parameters",
        action="append",
        default=[],
        type=Path,
        metavar="XML",
        help="the ligand's, for --forcefield (default: the bundled ones, for bundled 4G3E)",
    )
    group.add_argument("--system", type=Path, metavar="XML", help="serialized System, .gz welcome, in place of those")
    group.add_argument(
        "--system-top",
        type=Path,
        metavar="TOP",
        help="structure of --system or for --forcefield (default for the latter: topology.pdb of RUN)",
    )
    group.add_argument(
        "--dielectric", type=float, default=4.0, help="relative permittivity of Coulomb energies (default: %(default)s)"
    )
    group.add_argument(
        "--minimise-steps", type=int, default=50, metavar="N", help="at most, of each snapshot (default: %(default)s)"
    )
    group.add_argument(
        "--energy-frames",
        type=int,
        default=MAX_KEPT_FRAMES,
        metavar="N",
        help="of each trajectory at most, evenly spread (default: %(default)s)",
    )


def run_compare(args: argparse.Namespace) -> None:
    """Compare a run with references and write the report."""
    if args.energy_frames < 2:
        raise InputError(f"--energy-frames {args.energy_frames}: give at least 2")
    command.run_compare(args, load_model(args), energy_frames=args.energy_frames)


def load_model(args: argparse.Namespace) -> EnergyModel | None:
    """The force field that the options name; None if they name none.

    Raises:
        InputError: If they contradict each other, or a file cannot be used.
    """
    if args.system is None and args.forcefield is None:
        for option, value in (("--ligand-parameters", args.ligand_parameters), ("--system-top", args.system_top)):
            if value:
                raise InputError(f"{option} needs a force field: give --forcefield (or --system)")
        return None
    if args.system is not None and (args.forcefield is not None or args.ligand_parameters):
        raise InputError("--system holds all parameters; give it without --forcefield and --ligand-parameters")
    from openmm_neuralmd.simulation.energies import load_force_field_model, load_system_model

    if args.system is not None:
        if args.system_top is None:
            raise InputError(f"{args.system}: give the structure it was made from (--system-top), a PDB or GRO file")
        return load_system_model(
            args.system, args.system_top, dielectric=args.dielectric, max_steps=args.minimise_steps
        )
    structure = args.system_top or (args.run_path / "topology.pdb" if args.run_path.is_dir() else args.run_top)
    if structure is None:
        raise InputError("--forcefield: give a PDB file with hydrogens and the ligand's bonds (--system-top)")
    parameters = list(args.ligand_parameters)
    if not parameters and args.run_path.is_dir() and load_run_context(open_run(args.run_path), args.ligand)[1]:
        parameters = [get_bundled_path("ligand_gaff2.xml")]
    return load_force_field_model(
        [*args.forcefield, *parameters],
        structure,
        ligand=args.ligand,
        dielectric=args.dielectric,
        max_steps=args.minimise_steps,
    )
