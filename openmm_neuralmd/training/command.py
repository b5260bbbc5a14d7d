"""``neuralmd train``: arguments in, a model file out."""

import argparse
import shlex
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from openmm_neuralmd.analysis.site import SUPERPOSITIONS
from openmm_neuralmd.complex import load_bundled_complex, load_complex
from openmm_neuralmd.data.trajectories import load_ligand_trajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.training.loop import OBJECTIVES, TrainingSettings
from openmm_neuralmd.training.train import DEFAULT_CONFIG, train_model


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd train``."""
    defaults = TrainingSettings()
    parser.add_argument("trajectories", nargs="+", metavar="TRAJECTORY", help="DCD, XTC, TRR, NetCDF or HDF5 file")
    parser.add_argument("--top", required=True, help="PDB or other topology of the trajectories")
    parser.add_argument(
        "--complex",
        dest="complex_file",
        metavar="PDB",
        help="rigid protein and ligand pose to superpose on; 'bundled' for 4G3E (default: TOP itself)",
    )
    parser.add_argument("--ligand", required=True, metavar="RES", help="residue name, NAME:CHAIN or NAME:CHAIN:NUMBER")
    parser.add_argument("--sdf", help="the ligand's bonds and ideal geometry, atoms in the topology's order")
    parser.add_argument("--kind", choices=sorted(OBJECTIVES), default="sde", help="default: %(default)s")
    parser.add_argument("--lag", type=float, default=80.0, metavar="PS", help="snapshot interval (default: 80 ps)")
    parser.add_argument("--interval", type=float, metavar="PS", help="frame interval, where the file does not say it")
    parser.add_argument(
        "--superpose", choices=SUPERPOSITIONS, default="pocket", help="CA atoms to lay frames on (default: %(default)s)"
    )
    parser.add_argument("--split", type=float, default=0.8, help="training part in time; the rest is never read")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--iterations", type=int, default=defaults.iterations, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate, help="default: %(default)s")
    parser.add_argument(
        "--displacement",
        type=float,
        default=defaults.displacement,
        help="strength of displaced inputs, which keep rollouts in place (default: %(default)s)",
    )
    parser.add_argument("--hidden", type=int, default=DEFAULT_CONFIG["hidden"], help="channels (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=DEFAULT_CONFIG["n_layers"], help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint beside OUT")
    parser.add_argument("--force", action="store_true", help="replace an existing OUT")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--out", required=True, metavar="M.pt", help="model file to write")


def run_train(args: argparse.Namespace) -> None:
    """Train and write ``args.out``; the losses go to ``metrics.csv`` in the folder beside it."""
    out = Path(args.out)
    if out.exists() and not (args.force or args.resume):
        raise InputError(f"{out} exists; give --force to replace it, --resume to continue, or another --out")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.complex_file == "bundled":
        complex_ = load_bundled_complex()
    else:
        complex_ = load_complex(args.complex_file or args.top, args.ligand, sdf=args.sdf)
    trajectories = [
        load_ligand_trajectory(path, args.top, complex_, frame_interval=args.interval, superpose_on=args.superpose)
        for path in args.trajectories
    ]
    settings = TrainingSettings(
        iterations=args.iterations,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        displacement=args.displacement,
        seed=args.seed,
    )
    with tqdm(total=settings.iterations, unit="step", disable=args.quiet, file=sys.stderr) as bar:

        def report(step: int, row: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(train=f"{row['training_loss']:.4f}", validation=f"{row['validation_loss']:.4f}")

        result = train_model(
            complex_,
            trajectories,
            out,
            kind=args.kind,
            snapshot_interval=args.lag,
            split=args.split,
            config={"hidden": args.hidden, "n_layers": args.layers},
            settings=settings,
            resume=args.resume,
            command=shlex.join(["neuralmd", *sys.argv[1:]]),
            report=report,
        )
    print(f"{out}: best validation loss {result.best_loss:.4f} at step {result.best_step}")
