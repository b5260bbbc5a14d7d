"""Commands that the tests of a third-party package run."""

from tests.helpers import ROOT


def list_data() -> list[object]:
    """Options for the bundled trajectory."""
    assets = ROOT / "openmm_neuralmd" / "assets" / "4g3e"
    return ["--top", assets / "pocket.pdb", "--ligand", "0WC", "--sdf", assets / "ligand.sdf"]


TRAIN = [
    *("-m", "openmm_neuralmd.cli", "train", ROOT / "openmm_neuralmd" / "assets" / "4g3e" / "r1_pocket.xtc"),
    *list_data(),
    *("--kind", "walk"),
]
