"""Files that GROMACS and Amber really write, made here from one OpenMM System through ParmEd."""

import shutil
import subprocess
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path, load_bundled_site
from openmm_neuralmd.analysis.observation import Observation, observe
from openmm_neuralmd.io.trajectories import open_trajectory
from openmm_neuralmd.molecule.site import BindingSite

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed"),
]
MDP = """integrator = md
nsteps = 40
dt = 0.0005
nstxout-compressed = 10
coulombtype = cutoff
rcoulomb = 2.0
rvdw = 2.0
gen-vel = yes
gen-seed = 1
"""


@pytest.fixture(scope="module")
def engine_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled complex in vacuum: a.top, a.gro, a.tpr, a.xtc (GROMACS), a.prmtop, a.nc (Amber)."""
    parmed = pytest.importorskip("parmed", reason="pip install 'openmm_neuralmd[gromacs]'")
    pytest.importorskip("MDAnalysis", reason="pip install 'openmm_neuralmd[gromacs]'")
    from openmm import app

    folder = tmp_path_factory.mktemp("engines")
    pdb = app.PDBFile(str(get_bundled_path("complex.pdb")))
    force_field = app.ForceField("amber14-all.xml", str(get_bundled_path("ligand_gaff2.xml")))
    system = force_field.createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    structure = parmed.openmm.load_topology(pdb.topology, system, xyz=pdb.positions)
    structure.box = [150, 150, 150, 90, 90, 90]
    for name in ("a.top", "a.gro", "a.prmtop"):
        structure.save(str(folder / name))
    (folder / "a.mdp").write_text(MDP)
    for command in (
        ["gmx", "grompp", "-f", "a.mdp", "-c", "a.gro", "-p", "a.top", "-o", "a.tpr", "-maxwarn", "5"],
        ["gmx", "mdrun", "-s", "a.tpr", "-x", "a.xtc", "-nt", "1", "-c", "out.gro"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    frames = mdtraj.load(str(folder / "a.xtc"), top=str(folder / "a.gro"))
    frames.save_netcdf(str(folder / "a.nc"))
    return folder


@pytest.fixture(scope="module")
def site() -> BindingSite:
    return load_bundled_site()


@pytest.mark.parametrize(("top", "trajectory"), [("a.gro", "a.xtc"), ("a.tpr", "a.xtc"), ("a.prmtop", "a.nc")])
def test_the_same_motion_whatever_the_file(engine_files: Path, site: BindingSite, top: str, trajectory: str) -> None:
    def read(top: str, trajectory: str) -> Observation:
        return observe(open_trajectory(engine_files / trajectory, engine_files / top), site)

    found, expected = read(top, trajectory), read("a.tpr", "a.xtc")
    assert (found.n_frames, found.interval) == (5, pytest.approx(0.005))
    assert found.positions == pytest.approx(expected.positions, abs=1e-4)
    assert np.array_equal(found.contacts, expected.contacts)
    assert np.array_equal(found.hydrogen_bonds, expected.hydrogen_bonds)
    assert np.linalg.norm(found.positions[0] - site.pose, axis=-1).max() < 0.02  # the run began at the bundled pose
    assert "identity 100 %" in found.notes[0]  # GROMACS and Amber number residues from 1
