"""``neuralmd train``: a model file out of MD trajectories."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import Any

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli.options import (
    add_data_options,
    add_force_field_options,
    add_quiet_option,
    add_threads_option,
    is_force_field_named,
    read_data,
    read_force_field,
    refuse_force_field_numbers,
)
from openmm_neuralmd.cli.parsing import name_arguments, refuse_unused
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import interval, real, seed, whole
from openmm_neuralmd.data.entries import Entry
from openmm_neuralmd.data.leakage import find_split_leaks
from openmm_neuralmd.data.sources import BUNDLED_COMPLEX
from openmm_neuralmd.data.trajectories import ReadTrajectory, load_ligand_trajectory
from openmm_neuralmd.dynamics.threads import use_threads
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.energies import ForceFieldModel
from openmm_neuralmd.models.kinds.backbone import DEFAULT_BACKBONE
from openmm_neuralmd.models.losses.labels import LABELS_OF_FORCE_FIELD
from openmm_neuralmd.models.registry import describe_kinds, get_kind, list_kinds
from openmm_neuralmd.training.cutoffs import check_cutoffs
from openmm_neuralmd.training.devices import select_device
from openmm_neuralmd.training.force_field import LabellingReader, describe_labels
from openmm_neuralmd.training.labels import ForceFieldLabels
from openmm_neuralmd.training.loop import TrainingSettings
from openmm_neuralmd.training.target import check_target
from openmm_neuralmd.training.train import train_model

_OF_SOME_KINDS = ("displacement", "rollout", "velocity_mapping", "velocity_refinement")
"""Options that a kind may know or not, see ``Kind.options``."""
_OF_NETWORK = {"hidden": "--hidden", "n_layers": "--layers", "n_radial": "--radial"} | {
    f"{part}_cutoff": f"--{part}-cutoff" for part in ("ligand", "pocket")
}
"""Arguments of networks and their options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd train``."""
    defaults = TrainingSettings()
    parser.add_argument(
        "trajectories", nargs="*", metavar="TRAJECTORY", help="DCD, XTC, TRR, NetCDF or HDF5 files of one complex"
    )
    add_data_options(parser)
    parser.add_argument(
        "--validation-file", metavar="LIST.txt", help="complexes in MISATO's file that choose the checkpoint"
    )
    parser.add_argument(
        "--kind", choices=sorted(list_kinds()), default="sde", help=f"default: %(default)s; {_escape(describe_kinds())}"
    )
    parser.add_argument(
        "--lag",
        dest="snapshot_interval",
        **interval(),
        default=80.0,
        metavar="PS",
        help="snapshot interval (default: 80 ps)",
    )
    parser.add_argument("--seed", **seed(), default=defaults.seed)
    parser.add_argument("--iterations", **whole(), default=defaults.iterations, help="default: %(default)s")
    parser.add_argument("--batch-size", **whole(), default=defaults.batch_size, help="default: %(default)s")
    parser.add_argument(
        "--learning-rate", **real(above=0.0), default=defaults.learning_rate, help="default: %(default)s"
    )
    parser.add_argument(
        "--displacement",
        **real(least=0.0),
        default=defaults.displacement,
        help="strength of displaced inputs, which keep rollouts in place (default: %(default)s)",
    )
    parser.add_argument(
        "--rollout",
        **whole(),
        default=defaults.rollout,
        metavar="K",
        help="snapshots predicted from each start; grows from 1 in the first half (default: %(default)s)",
    )
    _add_network_options(parser)
    group = parser.add_argument_group(
        "force field", "for --kind verlet on trajectories of the whole complex: its forces and energies are learned too"
    )
    add_force_field_options(group, "TOP")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add_threads_option(parser)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint beside OUT")
    parser.add_argument("--force", dest="overwrite", action="store_true", help="replace an existing OUT")
    add_quiet_option(parser)
    parser.add_argument("--out", required=True, metavar="M.pt", help="model file to write")
    name_arguments(parser, structure="--system-top", **{"resume=False": "--force"})


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    for option, name, told in (
        ("hidden", "hidden", "channels (default: %(default)s)"),
        ("layers", "n_layers", "default: %(default)s"),
        ("radial", "n_radial", "radial functions (%(default)s)"),
    ):
        default = DEFAULT_BACKBONE[name]
        parser.add_argument(f"--{option}", dest=name, **whole(), default=default, metavar=option.upper(), help=told)
    for part, what in (("ligand", "ligand atoms"), ("pocket", "a ligand atom and CA atoms")):
        parser.add_argument(
            f"--{part}-cutoff",
            **real(above=0.0),
            default=DEFAULT_BACKBONE[f"{part}_cutoff"],
            metavar="Å",
            help=f"between {what}; a step costs as many operations as there are pairs (default: %(default)s)",
        )
    parser.add_argument("--velocity-mapping", action="store_true", help="learn what initial velocities mean (ode, sde)")
    parser.add_argument(
        "--velocity-refinement", action="store_true", help="refine velocities by a second ligand network (ode, sde)"
    )


def _escape(text: str) -> str:
    return text.replace("%", "%%")  # argparse formats help


def run(args: argparse.Namespace) -> None:
    """Train and write ``args.out``; the losses go to ``metrics.csv`` in the folder beside it."""
    with use_threads(args.threads):
        _train(args)


def _train(args: argparse.Namespace) -> None:
    check_target(args.out, resume=args.resume, overwrite=args.overwrite)
    config = _read_config(args)
    names = ("iterations", "batch_size", "learning_rate", "displacement", "rollout", "seed")
    settings = TrainingSettings(**{name: getattr(args, name) for name in names})
    device = select_device(args.device)
    read, labels = _choose_reader(args)
    data = read_data(args, args.trajectories, part="training", read=read)
    entries, held_out = data.parts.get("training", []), data.parts.get("validation", [])
    if not entries:
        raise InputError(f"{args.complexes}: no complex is marked as training")
    if held_out:
        refuse_unused(args, ("--split",), "where complexes are held out: whole trajectories train then")
    check_cutoffs(
        [e.complex for e in (*entries, *held_out)],
        ligand=config.get("ligand_cutoff"),
        pocket=config.get("pocket_cutoff"),
    )
    _report_data(entries, held_out)
    if labels:
        print(f"force field: {describe_labels(labels)}")
    with closing(ProgressBar("step", is_quiet=args.quiet)) as bar:

        def report(step: int, row: dict[str, float]) -> None:
            losses = f"train={row['training_loss']:.4f}, validation={row['validation_loss']:.4f}"
            bar.show(step, settings.iterations, text=losses)

        result = train_model(
            entries,
            args.out,
            kind=args.kind,
            snapshot_interval=args.snapshot_interval,
            held_out=held_out,
            skipped=data.skipped,
            split=args.split,
            config=config,
            settings=settings,
            device=device,
            labels=labels,
            resume=args.resume,
            command=shlex.join(["neuralmd", *sys.argv[1:]]),
            report=report,
        )
    print(f"{args.out}: best validation loss {result.best_loss:.4f} at step {result.best_step}")


def _report_data(entries: Sequence[Entry], held_out: Sequence[Entry]) -> None:
    """What is trained on, and what the held-out complexes have in common with it, where there are several."""
    if len(entries) + len(held_out) == 1:
        return
    n_trajectories = sum(len(trajectories) for _, trajectories in entries)
    chosen_by = f"held-out complexes ({len(held_out)})" if held_out else "the end of each training part"
    print(f"complexes: {len(entries)}, trajectories: {n_trajectories}; the checkpoint is chosen by {chosen_by}")
    if held_out:
        leaks = find_split_leaks([e.complex for e in entries], [e.complex for e in held_out])
        known = f"{len(leaks)} of {len(held_out)} share protein or scaffold with them" if leaks else "none is known"
        print("\n".join([f"leakage: {known}", *(f"  {leak}" for leak in leaks)]))


def _choose_reader(args: argparse.Namespace) -> tuple[ReadTrajectory, Sequence[ForceFieldLabels]]:
    """What reads trajectories, and where it leaves the labels of a force field, if the options name one."""
    if not is_force_field_named(args):
        refuse_force_field_numbers(args)
        return load_ligand_trajectory, []
    if LABELS_OF_FORCE_FIELD not in get_kind(args.kind).labels or not args.trajectories:
        learning = " or ".join(name for name in list_kinds() if LABELS_OF_FORCE_FIELD in get_kind(name).labels)
        raise InputError(
            f"a force field (--system, --forcefield) is for --kind {learning} with trajectories of one complex"
        )

    @cache
    def find_model(ligand: str) -> ForceFieldModel | None:
        return read_force_field(
            args,
            ligand=ligand,
            default_structure=args.top,
            find_parameters=lambda: (
                [get_bundled_path("ligand_gaff2.xml")] if args.complex_file == BUNDLED_COMPLEX else []
            ),
            max_steps=1,
        )

    reader = LabellingReader(find_model, split=args.split)
    return reader, reader.labels


def _read_config(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the network; options that the kind does not know are refused where they were typed."""
    kind = get_kind(args.kind)
    if unknown := [name for name in _OF_SOME_KINDS if name not in kind.options]:
        known = " and ".join(name for name in list_kinds() if set(unknown) <= set(get_kind(name).options))
        options = [f"--{name.replace('_', '-')}" for name in unknown]
        refuse_unused(args, options, f"with --kind {kind.name}" + (f"; they are for {known}" if known else ""))
    entries = kind.config_form.entries
    refuse_unused(
        args, [option for name, option in _OF_NETWORK.items() if name not in entries], f"with --kind {kind.name}"
    )
    given = {name: getattr(args, name) for name in _OF_NETWORK}
    switched = {name: True for name in ("velocity_mapping", "velocity_refinement") if getattr(args, name)}
    return {name: value for name, value in given.items() if name in entries} | switched
