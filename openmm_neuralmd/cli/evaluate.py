"""``neuralmd evaluate``: models on MD they never saw, beside what needs no model and a replica."""

import argparse
from contextlib import closing

from openmm_neuralmd.checks import refuse_twice
from openmm_neuralmd.cli.options import add_data_options, add_quiet_option, open_model, read_data
from openmm_neuralmd.cli.parsing import refuse_unused
from openmm_neuralmd.cli.progress import ProgressBar
from openmm_neuralmd.cli.values import read_seeds, whole
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd evaluate``."""
    parser.add_argument("models", nargs="+", metavar="M.pt", help="model files, or bundled sde and ode")
    parser.add_argument("--trajectory", help="the one the models were trained on, whole")
    parser.add_argument("--replica", help="a second MD run of the same length: the floor")
    add_data_options(parser)
    parser.add_argument("--seeds", default="0,42,123", help="of sampled paths (default: %(default)s)")
    parser.add_argument(
        "--samples",
        dest="n_samples",
        **whole(),
        default=64,
        metavar="SAMPLES",
        help="paths a seed and start (default: %(default)s)",
    )
    add_quiet_option(parser)
    parser.add_argument("--out", required=True, help="folder for metrics.md, metrics.csv, metrics.json")


def run(args: argparse.Namespace) -> None:
    """Evaluate, write the files and print the table."""
    seeds = read_seeds("--seeds", args.seeds)
    refuse_twice("model", args.models, "and would be two rows of the same name")
    if args.replica and not args.trajectory:
        raise InputError("--replica belongs to a --trajectory; in a table, replicas are rows of the same complex")
    if args.replica and args.replica == args.trajectory:
        raise InputError(f"--replica {args.replica}: is the trajectory itself; give another MD run")
    if (args.complexes or args.misato) and not args.trajectory:
        refuse_unused(args, ("--split",), "with several complexes, whose trajectories are rolled out whole")
    check_writable(args.out)
    from openmm_neuralmd.evaluation.data import evaluate_data

    models = [open_model(name) for name in args.models]
    paths = [path for path in (args.trajectory, args.replica) if path]
    data = read_data(args, paths, part="test")
    with closing(ProgressBar("complex", is_quiet=args.quiet, is_passing=True)) as bar:
        evaluation = evaluate_data(
            data,
            models,
            is_one_complex=bool(paths),
            split=args.split,
            seeds=seeds,
            n_samples=args.n_samples,
            progress=bar.show,
        )
    evaluation.write(args.out)
    print(evaluation.format_markdown())
