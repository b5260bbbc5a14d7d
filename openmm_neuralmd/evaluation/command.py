"""``neuralmd evaluate``: models on MD they never saw, beside what needs no model and a replica."""

import argparse

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.evaluation.evaluate import evaluate, evaluate_complexes
from openmm_neuralmd.files import check_writable
from openmm_neuralmd.models.export import BUNDLED, load_bundled_model, load_model
from openmm_neuralmd.options import read_seeds, refuse_twice, refuse_unused, whole
from openmm_neuralmd.training.options import add_data_options, load_data


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd evaluate``."""
    parser.add_argument("models", nargs="+", metavar="M.pt", help="model files, or bundled sde and ode")
    parser.add_argument("--trajectory", help="the one the models were trained on, whole")
    parser.add_argument("--replica", help="a second MD run of the same length: the floor")
    add_data_options(parser)
    parser.add_argument("--seeds", default="0,42,123", help="of sampled paths (default: %(default)s)")
    parser.add_argument("--samples", **whole(), default=64, help="paths a seed and start (default: %(default)s)")
    parser.add_argument("--out", required=True, help="folder for metrics.md, metrics.csv, metrics.json")


def run_evaluate(args: argparse.Namespace) -> None:
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
    paths = [path for path in (args.trajectory, args.replica) if path]
    models = [load_bundled_model(m) if m in BUNDLED else load_model(m) for m in args.models]
    data = load_data(args, paths, part="test")
    if paths:
        complex_, trajectories = data.parts["test"][0]
        evaluation = evaluate(
            complex_, models, trajectories[0], trajectories[1:], split=args.split, seeds=seeds, n_samples=args.samples
        )
    else:
        entries = data.parts.get("test") or [entry for part in data.parts.values() for entry in part]
        evaluation = evaluate_complexes(entries, models, seeds=seeds, n_samples=args.samples, skipped=data.skipped)
    evaluation.write(args.out)
    print(evaluation.format_markdown())
