"""The command line: results, exit statuses, and one clear line for each kind of bad input."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import mdtraj
import pytest
from openmm import unit
from openmm.app import PDBFile

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import COMMANDS, build_parser, main
from openmm_neuralmd.molecule.complex import Complex
from tests.models.test_bound import make_file


@pytest.fixture(scope="module")
def pdb(tmp_path_factory: pytest.TempPathFactory, tiny_complex: Complex) -> Path:
    path = tmp_path_factory.mktemp("structure") / "complex.pdb"
    with open(path, "w") as file:
        PDBFile.writeFile(tiny_complex.topology, tiny_complex.positions * unit.nanometer, file, keepIds=True)
    return path


@pytest.fixture
def words(pdb: Path, model_files: dict[str, Path], tmp_path: Path) -> list[str]:
    """A short simulation."""
    options = {"--ligand": "LIG", "--model": model_files["sde"], "--snapshots": 3, "--out": tmp_path / "run"}
    return ["simulate", str(pdb), *(str(w) for pair in options.items() for w in pair)]


def replace_word(words: list[str], option: str, value: object) -> list[str]:
    k = words.index(option)
    return [*words[: k + 1], str(value), *words[k + 2 :]]


def expect_error(capsys: pytest.CaptureFixture[str], words: list[str], *parts: str) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("neuralmd: error: ")
    for part in parts:
        assert part in lines[0]
    assert captured.out == ""


def test_simulate_says_where_everything_is(words, tmp_path, capsys) -> None:
    assert main([*words, "--threads", "1"]) == 0
    captured = capsys.readouterr()
    for part in ("vmd ", "pymol ", "trajectory.dcd", "held fixed", "RMSD"):
        assert part in captured.out
    assert "3/3" in captured.err
    assert "0.24 ns simulated" in captured.err
    run = tmp_path / "run"
    assert mdtraj.load(str(run / "trajectory.dcd"), top=str(run / "topology.pdb")).n_frames == 3
    assert json.loads((run / "run.json").read_text())["model_metadata"]["kind"] == "sde"


def test_json_and_resume(words, capsys) -> None:
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n_snapshots_done"] == 3
    assert captured.err == ""
    assert main([*replace_word(words, "--snapshots", 5), "--json", "--resume"]) == 0
    assert [s["from_snapshot"] for s in json.loads(capsys.readouterr().out)["sessions"]] == [0, 3]


def test_resume_without_the_model_it_was_made_with(words, model_files, capsys) -> None:
    assert main([*words, "--quiet"]) == 0
    capsys.readouterr()
    others = replace_word(replace_word(words, "--model", model_files["ode"]), "--snapshots", 5)
    expect_error(capsys, [*others, "--resume"], "another model", "as --model", str(model_files["sde"]), "--force")


def test_what_is_no_force_speaks_of_options(words, tmp_path, capsys) -> None:
    gnn = replace_word(words, "--model", make_file("gnn", tmp_path))
    expect_error(capsys, [*gnn, "--scheme", "heun"], "is no force", "leave out --scheme and --steps-per-snapshot")


def test_quiet_shows_no_bar(words, capsys) -> None:
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_options_reach_the_run(words, tmp_path) -> None:
    more = "--scheme heun --steps-per-snapshot 2 --seed 7 --platform reference --no-projection --backend auto"
    assert main([*words, *more.split(), "--quiet"]) == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (settings["scheme"], settings["steps_per_snapshot"], settings["seed"]) == ("heun", 2, 7)
    assert (settings["platform"], settings["projection"]) == ("Reference", False)


def test_copies_in_other_formats(words, tmp_path, capsys) -> None:
    assert main([*words, "--quiet", "--format", "xtc", "--format", "dcd"]) == 0
    assert "trajectory.xtc" in capsys.readouterr().out
    run = tmp_path / "run"
    assert mdtraj.load(str(run / "trajectory.xtc"), top=str(run / "topology.pdb")).time.tolist() == [80.0, 160.0, 240.0]
    expect_error(capsys, [*words, "--force", "--format", "trr"], "unknown trajectory format 'trr'", "h5, nc, ")


def test_a_second_run_needs_a_word(words, capsys) -> None:
    assert main([*words, "--quiet"]) == 0
    capsys.readouterr()
    expect_error(capsys, words, "already holds a run", "--resume", "--force")
    assert main([*words, "--quiet", "--force"]) == 0


def test_missing_complex_file(words, capsys) -> None:
    words[1] = "nowhere.pdb"
    expect_error(capsys, words, "nowhere.pdb", "no such file")


def test_missing_complex_without_a_ligand(words, capsys) -> None:
    k = words.index("--ligand")
    expect_error(capsys, ["simulate", "nowhere", *words[2:k], *words[k + 2 :]], "nowhere: no such file or folder")


def test_folder_with_a_ligand(words, tmp_path, capsys) -> None:
    words[1] = str(tmp_path)
    expect_error(capsys, words, f"{tmp_path}: a folder; leave out --ligand")


def test_hints_with_spaces_can_be_pasted(words, tmp_path, capsys) -> None:
    run = tmp_path / "my run"
    assert main([*replace_word(words, "--out", run), "--quiet"]) == 0
    hints = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:3] in ("VMD", "PyM"))
    assert shlex.split(hints["VMD"]) == ["vmd", str(run / "topology.pdb"), str(run / "trajectory.dcd")]
    assert shlex.split(hints["PyMOL"])[1] == str(run / "topology.pdb")


@pytest.mark.parametrize("command", ["simulate", "evaluate", "train", "compare"])
@pytest.mark.parametrize("is_below", [False, True])
def test_out_that_is_no_folder_is_said_first(command, is_below, tmp_path, capsys) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    out = taken / "m.pt" if is_below or command == "train" else taken
    inputs = {"simulate": [], "evaluate": ["sde", "--trajectory", "x"], "train": ["x"], "compare": ["x"]}
    expect_error(capsys, [command, *inputs[command], "--out", str(out)], f"{taken} is a file; give a directory")


def test_interrupted_while_a_command_loads(monkeypatch, capsys) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openmm_neuralmd.cli.build_parser", interrupt)
    assert main(["info", "sde"]) == 130
    assert capsys.readouterr().err.startswith("neuralmd: interrupted")


def test_ligand_not_found_lists_what_is_there(words, capsys) -> None:
    expect_error(capsys, replace_word(words, "--ligand", "XYZ"), "'XYZ' not found", "LIG:B")


def test_ligand_not_given(words, capsys) -> None:
    k = words.index("--ligand")
    expect_error(capsys, words[:k] + words[k + 2 :], "--ligand NAME")


def test_ligand_without_a_complex(words, capsys) -> None:
    expect_error(capsys, [words[0], *words[2:]], "--ligand and --sdf belong to")


def test_no_protein(words, tmp_path, capsys) -> None:
    lines = Path(words[1]).read_text().splitlines(keepends=True)
    alone = tmp_path / "alone.pdb"
    alone.write_text("".join(line for line in lines if " GLY " not in line))
    words[1] = str(alone)
    expect_error(capsys, words, "no protein")


def test_missing_and_damaged_models(words, tmp_path, capsys) -> None:
    expect_error(capsys, replace_word(words, "--model", "nowhere.pt"), "nowhere.pt", "no such model file")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"not a model")
    expect_error(capsys, replace_word(words, "--model", damaged), "damaged.pt")
    assert not (tmp_path / "run").exists()


def test_sdf_of_another_molecule(words, tmp_path, capsys) -> None:
    sdf = tmp_path / "other.sdf"
    sdf.write_text("nonsense")
    expect_error(capsys, [*words, "--sdf", str(sdf)], "other.sdf")


def test_platform_that_does_not_exist(words, tmp_path, capsys) -> None:
    expect_error(capsys, [*words, "--platform", "Abacus"], "Abacus", "CPU")
    assert not (tmp_path / "run").exists()


def test_out_that_cannot_be_made(words, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    expect_error(capsys, replace_word(words, "--out", tmp_path / "file" / "run"), "file")


def test_backend_that_cannot_take_the_model(words, capsys) -> None:
    expect_error(capsys, [*words, "--backend", "torchforce"], "Newtonian models only")
    expect_error(capsys, [*words, "--backend", "jax"], "unknown backend 'jax'")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--iterations 0", "--iterations 0: give 1 or more"),
        ("--batch-size -2", "--batch-size -2: give 1 or more"),
        ("--learning-rate nan", "--learning-rate nan: give a number above 0"),
        ("--learning-rate -1", "--learning-rate -1: give a number above 0"),
        ("--displacement -1", "--displacement -1: give 0 or more"),
        ("--seed -1", "--seed -1: give an integer"),
        ("--threads 0", "--threads 0: give 1 or more"),
        ("--lag nan", "--lag nan: give a number above 0"),
        ("--lag inf", "--lag inf: give a number above 0"),
    ],
)
def test_numbers_that_cannot_train(option, message, tmp_path, capsys) -> None:
    files = [str(get_bundled_path("r1_pocket.xtc")), "--top", str(get_bundled_path("pocket.pdb")), "--ligand", "0WC"]
    expect_error(capsys, ["train", *files, *option.split(), "--out", str(tmp_path / "m.pt")], message)
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize("option", ["--repeats 0", "--threads 0", "--threads -2"])
def test_numbers_that_cannot_be_measured_with(option, capsys) -> None:
    expect_error(capsys, ["benchmark", *option.split()], "give 1 or more")


def test_interrupt(words, monkeypatch, capsys) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openmm_neuralmd.cli.simulate.simulate", interrupt)
    assert main(words) == 130
    assert "interrupted" in capsys.readouterr().err


def test_info(model_files, capsys) -> None:
    assert main(["info", str(model_files["sde"])]) == 0
    assert "snapshot_interval" in capsys.readouterr().out
    assert main(["info", str(model_files["sde"]), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["kind"] == "sde"
    assert len(content["sha256"]) == 64


@pytest.mark.parametrize("words", [[], ["nonsense"], ["simulate"], ["simulate", "--out", "x", "--snapshots", "many"]])
def test_bad_arguments_exit_2(words, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "--help" in error
    assert error.count("\n") == 1


def test_an_empty_argument(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    expect_error(capsys, ["simulate", "--out", ""], "one argument is empty")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "a\0b"], "holds a NUL character"),
        (["benchmark", "--json", "nowhere/b.json"], "--json nowhere/b.json: there is no folder"),
        (["benchmark", "--json", "/proc/b.json"], "--json /proc/b.json: its folder cannot be written to"),
        (["benchmark", "--threads", "100000"], "--threads 100000: give 1 or more, at most"),
        (["simulate", "--format", "xtc", "--format", "xtc", "--out", "x"], "--format xtc is given twice"),
        (["simulate", "--out", "/proc/x"], "cannot be written to"),
        (["train", "x", "--resume", "--force", "--out", "m.pt"], "--resume and --force exclude each other"),
        (["train", "x", "--force", "--out", "."], "--out .: is a folder"),
        (
            ["train", "x", "--kind", "gnn", "--displacement", "2", "--out", "m.pt"],
            "--displacement: no effect with --kind",
        ),
        (["train", "x", "x", "--out", "m.pt"], "trajectory x is given twice"),
        (["evaluate", "sde", "sde", "--trajectory", "x", "--out", "e"], "model sde is given twice"),
        (
            ["evaluate", "sde", "--trajectory", "x", "--seeds", "-1", "--out", "e"],
            "--seeds '-1': give whole numbers from 0",
        ),
        (["evaluate", "sde", "--complexes", "x", "--split", "0.5", "--out", "e"], "--split: no effect with several"),
        (
            ["evaluate", "sde", "--trajectory", "x", "--replica", "x", "--out", "e"],
            "--replica x: is the trajectory itself",
        ),
    ],
)
def test_words_that_cannot_be_meant(words, message, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    expect_error(capsys, words, message)
    assert list(tmp_path.iterdir()) == []


def test_a_new_line_in_an_argument_stays_on_one_line(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["info", "sde", "--two\nlines"])
    assert capsys.readouterr().err.count("\n") == 1


def test_options_are_not_guessed(capsys) -> None:
    """compare has no --force; it must not be taken for --forcefield."""
    with pytest.raises(SystemExit) as caught:
        main(["compare", "run", "--force", "--out", "x"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --force" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser(command).parse_args([command, "--help"])
    assert caught.value.code == 0
    assert "usage: neuralmd" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call",
    ["import openmm_neuralmd", "from openmm_neuralmd.cli import main; main(['--help'])", "import openmm_neuralmd.cli"],
)
def test_what_is_slow_to_import_waits_until_it_is_needed(call: str) -> None:
    ask = f"import sys\ntry:\n    {call}\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint({"torch", "openmm", "mdtraj", "numpy", "scipy", "rdkit", "matplotlib", "tqdm"})
    assert "openmm_neuralmd" in loaded


def test_it_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "openmm_neuralmd.cli", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.startswith("neuralmd ")
