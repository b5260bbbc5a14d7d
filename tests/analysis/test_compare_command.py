"""``neuralmd compare`` on real input: files, page, scripts, bad input."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from tests.helpers import save_trajectory

POCKET = get_bundled_path("pocket.pdb")
R1 = get_bundled_path("r1_pocket.xtc")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CHROMIUM = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

TIMEOUT_MS = 180_000  # software rendering on a busy machine


@pytest.fixture(scope="module")
def compared(bundled_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "out"
    assert main(["compare", str(bundled_run), "--out", str(out)]) == 0
    return out


def run_compare(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main(["compare", *map(str, arguments)])
    return status, capsys.readouterr().err


def test_metrics(compared: Path) -> None:
    metrics = json.loads((compared / "metrics.json").read_text())
    assert [s["label"] for s in metrics["series"]] == ["NeuralMD", "r1", "r2"]
    assert metrics["common_interval_ps"] == 80.0
    for key, judged in metrics["properties"].items():
        assert judged["verdict"], key  # everything has data here
        assert judged["yardstick"] > 0
    assert set(metrics["path_metrics"]) == {"NeuralMD", "r2", "frozen", "mean of r1"}
    assert metrics["overall"].startswith("Of 12 properties")


def test_tables(compared: Path) -> None:
    def read(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((compared / name).open()))

    assert len(read("rmsd.csv")) == 3 * 36
    assert [row["atom"] for row in read("rmsf.csv")][:2] == ["C1", "C2"]
    occupancy = {(r["series"], r["residue"], r["kind"]): float(r["occupancy"]) for r in read("contacts.csv")}
    assert occupancy["r1", "GLU472", "hydrogen bond"] > 0.8
    assert len(read("properties.csv")) == 12


def test_page_is_self_contained(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!data:)[^"]*"', re.sub(r"<script>.*?</script>", "", page, flags=re.S))
    assert "@import" not in page
    for wanted in ("Verdicts", "frozen ligand to MD", "3Dmol", "window.trajectories", "between MD replicas"):
        assert wanted in page
    assert page.count("data:image/png;base64") >= 6


@pytest.mark.slow
def test_again_over_its_own_result(compared: Path, bundled_run: Path) -> None:
    (compared / "mine.txt").write_text("keep")
    assert main(["compare", str(bundled_run), "--out", str(compared)]) == 0
    assert (compared / "mine.txt").read_text() == "keep"
    assert not list(compared.parent.glob(".out-*"))


def test_a_server_without_drawing_libraries(bundled_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RDKit draws with libraries of the desktop; where they are missing the page says so, and the rest is there."""
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)
    assert main(["compare", str(bundled_run), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "sudo apt install libxrender1" in page
    assert (tmp_path / "out" / "properties.csv").exists()


def test_json_output(bundled_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(bundled_run), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["schema"] == 1


def test_two_md_runs_by_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    r1, r2 = get_bundled_path("r1_pocket.xtc"), get_bundled_path("r2_pocket.xtc")
    status, errors = run_compare(
        capsys, r1, "--run-top", POCKET, "--reference", r2, "--top", POCKET, "--out", tmp_path / "out", "--label", "MD"
    )
    assert (status, errors) == (0, "")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [s["label"] for s in metrics["series"]] == ["MD", "r2_pocket"]
    assert metrics["yardstick"].startswith("halves")


def test_a_reference_too_short_to_be_cut_in_two(
    bundled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.xtc"
    mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(POCKET))[:2].save_xtc(str(short))
    status, errors = run_compare(capsys, bundled_run, "--reference", short, "--top", POCKET, "--out", tmp_path / "out")
    assert (status, errors) == (0, "")
    judged = json.loads((tmp_path / "out" / "metrics.json").read_text())["properties"]
    remarks = [p["remark"] for p in judged.values() if p["yardstick"] is None]
    assert "the only reference is too short to be cut in two" in remarks


def test_two_frames_of_which_one_is_the_start(
    bundled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.xtc"
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(POCKET))[:2]
    frames.time = np.array([0.0, 80.0])
    frames.save_xtc(str(short))
    status, errors = run_compare(capsys, bundled_run, "--reference", short, "--top", POCKET, "--out", tmp_path / "out")
    assert status == 2
    assert "1 frame; at least 2 are needed to compare motion, beside the start" in errors


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--top", POCKET], "--top: no effect without --reference; leave it out"),
        (["--interval", 80], "--interval: no effect without --reference"),
        (["--run-interval", 80], "--run-interval: no effect with the run directory"),
        (["--run-top", POCKET], "--run-top: no effect with the run directory"),
        (["--reference", R1, "--reference", R1, "--top", POCKET], "r1_pocket.xtc is given twice"),
        (["--run-interval", "nan"], "--run-interval nan: give a number above 0"),
        (["--dielectric", 2], "--dielectric: no effect without a force field"),
        (["--minimise-steps", 9, "--energy-frames", 9], "--minimise-steps, --energy-frames: no effect without a force"),
        (["--label", "r1"], "--label r1: a reference is called so too"),
        (
            ["--label", "r1_pocket", "--reference", R1, "--top", POCKET],
            "--label r1_pocket: a reference is called so too",
        ),
        (["--label", " "], "--label ' ': nothing to show"),
    ],
)
def test_options_that_cannot_be_meant(more, message, bundled_run, tmp_path, capsys) -> None:
    status, errors = run_compare(capsys, bundled_run, *more, "--out", tmp_path / "out")
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "record",
    [
        [],
        None,
        3,
        "finished",
        {"sessions": "none"},
        {"sessions": [1]},
        {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": None}]},
        {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": -1.0}]},
        {"sessions": [{"from_snapshot": 0, "to_snapshot": 3, "wall_time_s": float("nan")}]},
        {"sessions": [{"from_snapshot": "a", "to_snapshot": 3, "wall_time_s": 1.0}]},
        {"sessions": [{"from_snapshot": 9, "to_snapshot": 3, "wall_time_s": 1.0}]},
        {"ligand": 3},
    ],
)
def test_a_record_with_odd_values(record, bundled_run, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(bundled_run, run)
    (run / "run.json").write_text(json.dumps(record))
    status, errors = run_compare(capsys, run, "--out", tmp_path / "out")
    assert status == 2
    assert f"{run / 'run.json'}: damaged" in errors
    assert errors.count("\n") == 1


def test_an_sdf_of_several_molecules_is_noted(bundled_run, tmp_path, capsys) -> None:
    """Also where the last molecule does not end as the format asks."""
    two = tmp_path / "two.sdf"
    text = get_bundled_path("ligand.sdf").read_text()
    two.write_text(text + text.replace("$$$$", ""))
    status, errors = run_compare(capsys, bundled_run, "--sdf", two, "--out", tmp_path / "out")
    assert (status, errors) == (0, "note: two.sdf: molecule 1 of 2 used\n")


def test_names_that_are_not_ascii(bundled_run: Path, tmp_path: Path) -> None:
    """Every series has a scene of its own, and a second comparison replaces the first one's files."""
    references = [tmp_path / "運行.xtc", tmp_path / "参考.xtc"]
    words = ["compare", bundled_run, "--reference", references[0], "--reference", references[1], "--top", POCKET]
    for first, second in (("r1", "r2"), ("r2", "r1")):
        for name, path in zip((first, second), references, strict=True):
            path.write_bytes(get_bundled_path(f"{name}_pocket.xtc").read_bytes())
        outs = [tmp_path / "Übersicht", tmp_path / f"plain {first}"]
        for out in outs:
            assert main([str(w) for w in (*words, "--out", out)]) == 0
        scenes = [sorted(out.glob("*.xtc")) for out in outs]
        assert [p.name for p in scenes[0]] == ["NeuralMD.xtc", "__.xtc", "___2.xtc"]
        assert [p.read_bytes() for p in scenes[0]] == [p.read_bytes() for p in scenes[1]]
        assert scenes[0][1].read_bytes() != scenes[0][2].read_bytes()


def test_a_reference_called_frozen_is_not_the_frozen_ligand(bundled_run: Path, tmp_path: Path) -> None:
    found = []
    for name in ("r1", "frozen"):
        reference, out = tmp_path / f"{name}.xtc", tmp_path / f"with {name}"
        reference.write_bytes(get_bundled_path("r1_pocket.xtc").read_bytes())
        words = ["compare", bundled_run, "--reference", reference, "--top", POCKET, "--out", out]
        assert main([str(w) for w in words]) == 0
        found.append(json.loads((out / "metrics.json").read_text())["integrity"])
    assert [c["verdict"] for c in found[0].values()] == [c["verdict"] for c in found[1].values()]
    for renamed, check in zip(found[1].values(), found[0].values(), strict=True):
        assert renamed["values"]["frozen (1)"] == pytest.approx(check["values"]["r1"], nan_ok=True)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the project's MD data are not beside the repository")
def test_whole_complex_as_reference(bundled_run: Path, tmp_path: Path) -> None:
    data = SHARED / "4g3e"
    arguments = ["--reference", str(data / "r1_complex_80ps.dcd"), "--reference", str(data / "r2_complex_80ps.dcd")]
    out = tmp_path / "out"
    assert main(["compare", str(bundled_run), *arguments, "--top", str(data / "complex.pdb"), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["integrity"]["clashes"]["values"]["r1_complex_80ps"] == 0.0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the project's MD data are not beside the repository")
def test_another_complex_is_refused(bundled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = SHARED / "complexes" / "4g3f" / "prepared" / "complex.pdb"
    frames = mdtraj.join([mdtraj.load(str(other))] * 3)
    frames.time = np.arange(3) * 80.0
    frames.save_xtc(str(tmp_path / "other.xtc"))
    arguments = ("--reference", tmp_path / "other.xtc", "--top", other, "--out", tmp_path / "out")
    status, errors = run_compare(capsys, bundled_run, *arguments)
    assert status == 2
    assert "another molecule than 0WC" in errors
    assert not (tmp_path / "out").exists()


def test_bad_input(bundled_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "out")
    xtc = get_bundled_path("r1_pocket.xtc")
    unsaid = tmp_path / "unsaid.dcd"
    mdtraj.load(str(xtc), top=str(POCKET)).save_dcd(str(unsaid))
    cases = [
        ((tmp_path / "nowhere", *out), "no such file"),
        ((tmp_path, *out), "not a run directory"),
        ((xtc, *out), "--run-top"),
        ((bundled_run, "--reference", xtc, *out), "--top"),
        ((bundled_run, "--reference", xtc, "--top", get_bundled_path("complex.pdb"), *out), "does not fit"),
        ((bundled_run, "--reference", unsaid, "--top", POCKET, *out), "--interval"),
        ((bundled_run, "--ligand", "ABC", *out), "'ABC' found 0 times"),
        ((bundled_run, "--sdf", tmp_path / "a.sdf", *out), "no such file"),
        ((bundled_run, "--reference", xtc, "--top", POCKET, "--top", POCKET, *out), "2 topologies for 1"),
        ((bundled_run, "--out", POCKET), "is a file"),
        ((bundled_run, "--label", "frozen", *out), "the report uses this name itself"),
    ]
    for arguments, message in cases:
        status, errors = run_compare(capsys, *arguments)
        assert (status, len(errors.splitlines())) == (2, 1), (arguments, errors)
        assert message in errors
    assert not (tmp_path / "out").exists()


def test_scripts_name_files_that_are_there(compared: Path) -> None:
    for script in ("view.pml", "view.vmd"):
        text = (compared / script).read_text()
        files = set(re.findall(r"[\w-]+\.(?:pdb|xtc)", text))
        assert len(files) == 6
        assert all((compared / name).is_file() for name in files)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pymol") is None, reason="PyMOL is not installed")
def test_pymol_draws_the_scene(compared: Path, tmp_path: Path) -> None:
    picture = tmp_path / "scene.png"
    script = compared / "shot.pml"
    script.write_text(
        f"@view.pml\nframe 10\nray 400,300\npng {picture}\n"
        "print('states', cmd.count_states('NeuralMD'), 'ligand', cmd.count_atoms('r1 and resn 0WC'))\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["pymol", "-cq", "shot.pml"],
        cwd=compared,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "states 36 ligand 43" in done.stdout
    assert "Error" not in done.stdout + done.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("vmd") is None, reason="VMD is not installed")
def test_vmd_reads_the_scene(compared: Path) -> None:
    command = ["vmd", "-dispdev", "none", "-e", "view.vmd", "-eofexit"]
    done = subprocess.run(
        command,
        cwd=compared,
        input="puts [molinfo 0 get numframes]\nquit\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "36" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_page_in_a_browser(compared: Path, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'openmm_neuralmd[browser]'")
    from PIL import Image

    messages: list[str] = []
    requests: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM, timeout=TIMEOUT_MS)
        page = browser.new_page(viewport={"width": 1120, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda m: messages.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda e: messages.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto((compared / "report.html").as_uri())
        page.wait_for_function("window.panels !== undefined")
        before = page.inner_text("#clock-left")
        page.click("#play")
        page.wait_for_function("before => document.getElementById('clock-left').textContent !== before", arg=before)
        page.click("#play")
        pictures = {}
        for side in ("left", "right"):
            page.locator(f"#screen-{side}").screenshot(path=str(tmp_path / f"{side}.png"))
            pictures[side] = np.asarray(Image.open(tmp_path / f"{side}.png").convert("RGB")).astype(int)
        page.select_option("#reference", "2")
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert messages == []
    assert [r for r in requests if not r.startswith(("data:", "file:"))] == []
    red, blue = pictures["left"], pictures["right"]  # the ligand's carbon atoms have the colour of the trajectory
    assert np.count_nonzero((red[..., 0] > 1.6 * red[..., 1]) & (red[..., 0] > 100)) > 500
    assert np.count_nonzero((blue[..., 2] > 1.3 * blue[..., 0]) & (blue[..., 2] > 80)) > 500


@pytest.mark.parametrize("suffix", ["xtc", "trr", "nc", "h5", "dcd"])
@pytest.mark.parametrize("which", ["run", "reference"])
def test_one_frame_compares_with_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, which: str
) -> None:
    frames = mdtraj.load(str(get_bundled_path("r1_pocket.xtc")), top=str(POCKET))[:3]
    one = str(save_trajectory(frames[0], tmp_path / f"one.{suffix}"))
    more = str(save_trajectory(frames, tmp_path / f"more.{suffix}"))
    run, reference = (one, more) if which == "run" else (more, one)
    words = ["compare", run, "--run-top", str(POCKET), "--reference", reference, "--top", str(POCKET)]
    assert main([*words, "--interval", "80", "--run-interval", "80", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"one.{suffix}: 1 frame; at least 2 are needed" in error
    assert not (tmp_path / "out").exists()
