#!/usr/bin/env python3
"""Simulate the bundled complex, NIK kinase with its inhibitor CMP1 (PDB 4G3E), and look at the result beside real MD.

python examples/4g3e.py --out demo
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from openmm_neuralmd import (
    NeuralMDError,
    compare_files,
    describe_overall,
    load_bundled_complex,
    load_bundled_model,
    open_run,
    simulate,
    summarize_run,
    write_comparison,
    write_overview,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="run directory (default: %(default)s)")
    parser.add_argument("--snapshots", type=int, default=100, help="how many, 80 ps each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a run that is in the directory")
    options = parser.parse_args()
    try:
        run(options)
    except NeuralMDError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    complex_ = load_bundled_complex()  # your own: load_complex("complex.pdb", "LIG", sdf="ligand.sdf")
    model = load_bundled_model("sde")  # your own: load_model("my.pt")

    with tqdm(total=options.snapshots, unit="snapshot") as bar:

        def show(done: int, time_ps: float) -> None:
            bar.set_postfix_str(f"{time_ps / 1000:.2f} ns simulated", refresh=False)
            bar.update(done - bar.n)

        files = simulate(
            complex_,
            model,
            options.out,
            n_snapshots=options.snapshots,
            seed=options.seed,
            overwrite=options.force,
            progress=show,
        )

    comparison, speeds = compare_files(open_run(options.out, label="NeuralMD"), [])  # [] : the bundled MD replicas
    write_comparison(comparison, options.out / "comparison", speeds=speeds)
    picture = write_overview(options.out, options.out / "overview.png")
    print(f"\n{summarize_run(options.out)}\n")
    print(f"{describe_overall(comparison)}\n")
    print(f"report   {options.out / 'comparison' / 'report.html'}")
    print(f"picture  {picture}")
    print(f"VMD      vmd {files.topology} {files.trajectory}")
    print(f"PyMOL    pymol {files.topology} -d 'load_traj {files.trajectory}, topology, state=1'")


if __name__ == "__main__":
    main()
