"""The examples run as a user would run them, shortened."""

import ast
import gzip
import importlib.util
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import mdtraj
import openmm as mm
import pytest

import openmm_neuralmd
from openmm_neuralmd import get_bundled_path
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.reference.system import build_system
from tests.helpers import write_pocket

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_4g3e(out: Path, *options: str, status: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / "4g3e.py"), "--out", str(out), "--snapshots", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_4g3e(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    printed = run_4g3e(out)
    assert "ligand RMSD to the start" in printed
    assert f"vmd {out / 'topology.pdb'} {out / 'trajectory.dcd'}" in printed
    assert (out / "overview.png").stat().st_size > 20_000
    assert "<html" in (out / "comparison" / "report.html").read_text()
    trajectory = mdtraj.load(str(out / "trajectory.dcd"), top=str(out / "topology.pdb"))
    assert (trajectory.n_frames, trajectory.n_atoms) == (4, 5166)


@pytest.mark.slow
def test_4g3e_over_its_own_result(tmp_path: Path) -> None:
    first = run_4g3e(tmp_path)
    assert "--force" in run_4g3e(tmp_path, status=2) or "overwrite" in run_4g3e(tmp_path, status=2)
    assert run_4g3e(tmp_path, "--force") == first  # same seed, same numbers, as make demo does again


@pytest.fixture(scope="module")
def solvated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """System and start, both gzipped, of the ligand between two loops of its pocket, in water with salt."""
    folder = tmp_path_factory.mktemp("solvated")
    parameters = get_bundled_path("ligand_gaff2.xml")
    pocket = write_pocket(folder / "pocket.pdb")
    molecules = build_system(pocket, ligand="0WC", ligand_parameters=parameters, padding=0.15)
    molecules.write(folder / "system.xml.gz", folder / "start.pdb.gz")
    return folder / "system.xml.gz", folder / "start.pdb.gz"


def add_force(system: Path, pdb: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["--system", str(system), "--pdb", str(pdb), "--snapshots", "2", *options]
    command = [sys.executable, str(EXAMPLES / "add_force_to_system.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_add_force_to_a_system(solvated: tuple[Path, Path], tmp_path: Path) -> None:
    done = add_force(*solvated, "--out", str(tmp_path / "run.dcd"))
    assert done.returncode == 0, done.stderr
    assert "held fixed" in done.stdout
    assert "energy of the other forces:" in done.stdout
    assert "after 0.16 ns" in done.stdout
    frames = mdtraj.load(str(tmp_path / "run.dcd"), top=str(_unpack(solvated[1], tmp_path)))
    ligand = [a.index for a in frames.topology.atoms if a.residue.name == "0WC"]
    others = [a.index for a in frames.topology.atoms if a.residue.name != "0WC"]
    moved = abs(frames.xyz[1] - frames.xyz[0]).max(axis=1)
    assert frames.n_frames == 2
    assert 0.001 < moved[ligand].max() < 1.0
    assert moved[others].max() == 0.0


def _unpack(path: Path, folder: Path) -> Path:
    (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder / path.stem


def test_a_system_that_runs_code_on_being_read_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    system = mm.System()
    system.addParticle(1.0)
    system.addForce(mm.PythonForce(_Trap(ran)))
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(system))
    done = add_force(tmp_path / "system.xml", get_bundled_path("complex.pdb"))
    assert done.returncode == 2
    assert "holds a PythonForce" in done.stderr
    assert not ran.exists()


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, state: object) -> None: ...

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_the_bundled_system_runs_no_code_that_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = load_example("add_force_to_system")
    monkeypatch.setattr(example, "SOLVATED", tmp_path / "nowhere")
    options = Namespace(system=None, pdb=None, ligand="0WC")
    system, complex_ = example.load_system(options)
    assert system.getNumParticles() == complex_.topology.getNumAtoms() == 5166
    script = f"open({str(tmp_path / 'ran')!r}, 'w')"
    (tmp_path / "amber14-all.xml").write_text(f"<ForceField><Script>{script}</Script></ForceField>")
    with pytest.raises(InputError, match=r"amber14-all\.xml"):
        example.load_system(options)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_take_everything_from_the_top(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("openmm_neuralmd"):
            assert node.module == "openmm_neuralmd"
            assert {alias.name for alias in node.names} <= set(openmm_neuralmd.__all__)


def test_public_names_are_there_and_nowhere_else() -> None:
    for name in openmm_neuralmd.__all__:
        assert getattr(openmm_neuralmd, name) is not None
    assert set(openmm_neuralmd.__all__) <= set(dir(openmm_neuralmd))
    with pytest.raises(AttributeError, match="unheard"):
        _ = openmm_neuralmd.unheard
