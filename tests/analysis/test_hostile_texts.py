"""Labels, names of files, residues and atoms are text wherever a comparison shows them."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.plots import add_legend, add_page_legend, make_figure
from openmm_neuralmd.analysis.report import escape
from openmm_neuralmd.analysis.scenes import Scene, build_pymol_script, build_vmd_script, write_scenes
from openmm_neuralmd.analysis.viewer import dump_script, name_residue
from openmm_neuralmd.cli import main
from tests.analysis.test_compare_command import CHROMIUM, TIMEOUT_MS

POCKET = get_bundled_path("pocket.pdb")
HOSTILE = {
    "mathematics": r"$\frac{a$ $x^2$ \alpha_1 % # & ~ {",
    "markup": "<!--<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">--><b>&amp;",
    "commands": "x; cmd.system('touch ran') [exec touch ran] $env(HOME) {} \"'`touch ran`",
    "underscore": "_hidden",
    "formula": "=HYPERLINK(\"x\")|+1,2;3",
    "lines": "two\nlines\r\n\x1b[31m\x07\u2028\u202e",
    "writing": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \U0001f600 \u6f22\u5b57 \u0e44\u0e17\u0e22",
    "long": "long" * 500,
    "digits": "12345",
    "word": "all",
}  # fmt: skip

_MIXED = (
    "".join(HOSTILE[k] for k in ("underscore", "mathematics", "markup", "lines")),
    "".join(HOSTILE[k] for k in ("formula", "commands", "writing")),
)


@pytest.fixture(scope="module")
def compared(bundled_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with a label of every kind."""
    folder = tmp_path_factory.mktemp("hostile")
    references = []
    for k, name in enumerate(("markup", "commands", "mathematics", "underscore", "writing")):
        path = folder / (HOSTILE[name].replace("/", "\u2044")[:80] + ".xtc")
        path.write_bytes(get_bundled_path(f"r{1 + k % 2}_pocket.xtc").read_bytes())
        references += ["--reference", str(path)]
    words = ["compare", str(bundled_run), *references, "--top", str(POCKET), "--out", str(folder / "out")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of glyphs and layouts
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        assert main([*words, "--label", "".join(HOSTILE.values())]) == 0
    return folder / "out"


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(_MIXED[0], id="mixed"),
        pytest.param(_MIXED[1], id="more", marks=pytest.mark.slow),
        pytest.param(HOSTILE["long"], id="long", marks=pytest.mark.slow),
    ],
)
def test_a_label_is_text_everywhere(label: str, bundled_run: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(bundled_run), "--label", label, "--out", str(out)]) == 0
    printed, error = capfd.readouterr()
    assert error == ""
    assert "\x1b" not in printed
    shown = " ".join(re.sub("[\x07\x1b\u202e]", "\ufffd", label).split())
    assert json.loads((out / "metrics.json").read_text())["series"][0]["label"] == shown
    with (out / "rmsd.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["series"] == shown
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"<title>{html.escape(shown)} beside MD" in page
    data = page.split("window.trajectories = ")[1].split(";\n</script>")[0]
    assert not set(data) & set("<>&\u2028\u2029")
    assert json.loads(data)[0]["label"] == shown
    for script in ("view.pml", "view.vmd"):
        names = re.findall(r"[^\s,{}]+\.(?:pdb|xtc)", (out / script).read_text())
        assert len(names) == 6
        assert all(re.fullmatch(r"\w{1,60}\.\w+", name, re.ASCII) and (out / name).is_file() for name in names)


def test_names_of_files_are_text_too(compared: Path) -> None:
    labels = [s["label"] for s in json.loads((compared / "metrics.json").read_text())["series"]]
    assert labels[3] == HOSTILE["mathematics"]
    assert labels[4] == "_hidden"
    page = (compared / "report.html").read_text(encoding="utf-8")
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert page.count("<script") == page.count("</script>") == 3
    assert "onerror=&quot;" in outside
    assert "<img src=x" not in outside


def test_labels_that_are_not_utf8_are_said(bundled_run: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["compare", str(bundled_run), "--label", os.fsdecode(b"run \xff"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert capsys.readouterr().err == "neuralmd: error: --label run \ufffd: not UTF-8; give a name in UTF-8\n"
    assert not (tmp_path / "out").exists()


def test_names_of_files_that_are_not_utf8_are_shown_with_marks(bundled_run: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"md \xff.xtc")
    try:
        path.write_bytes(get_bundled_path("r1_pocket.xtc").read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    run = tmp_path / os.fsdecode(b"run \xfe")
    shutil.copytree(bundled_run, run)
    out = tmp_path / os.fsdecode(b"out \xfd")
    words = ["compare", str(run), "--reference", str(path), "--top", str(POCKET), "--out", str(out)]
    assert main(words) == 0
    series = json.loads((out / "metrics.json").read_text())["series"]
    assert series[1]["label"] == "md \ufffd"
    assert "run \ufffd" in series[0]["source"]
    assert "md \ufffd" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["<b>", "$x{"])
def test_residues_and_atoms_may_be_called_anything(name: str, bundled_run: Path, tmp_path: Path, capfd: Any) -> None:
    lines = []
    for k, line in enumerate((bundled_run / "topology.pdb").read_text().splitlines()):
        if line[17:20] == "0WC":
            line = f"{line[:12]}{f'<{k % 90}$':4.4}{line[16]}{name:3}{line[20:]}"
        elif line[22:26] == " 472":  # in the pocket
            line = f"{line[:17]}{name[0]}<${line[20:]}"
        lines.append(line)
    top, run = tmp_path / "top.pdb", str(bundled_run / "trajectory.dcd")
    top.write_text("\n".join(lines) + "\n")
    words = [run, "--run-top", str(top), "--ligand", name, "--reference", run, "--top", str(top)]
    assert main(["compare", *words, "--out", str(tmp_path / "out")]) == 0
    assert capfd.readouterr().err == ""
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"<title>NeuralMD beside MD: {html.escape(name)}</title>" in page
    pocket = json.loads((tmp_path / "out" / "metrics.json").read_text())["pocket"]
    assert f"{name[0]}<$472" in pocket
    commands = (tmp_path / "out" / "view.pml").read_text().splitlines()
    assert "orient resn LIG" in commands
    assert 'mol selection "resname LIG and not hydrogen"' in (tmp_path / "out" / "view.vmd").read_text()


def test_the_ligand_has_a_name_that_every_viewer_takes() -> None:
    assert [name_residue(n) for n in ("0WC", "A1ABC")] == ["0WC", "A1A"]
    assert {name_residue(n) for n in ("<b>", "", "\u00e4bc", "a b", "\"';", "[x]", "a|\\", "a\nb", "{}")} == {"LIG"}


class TestFigures:
    @pytest.mark.parametrize("label", HOSTILE.values(), ids=HOSTILE)
    @pytest.mark.parametrize(
        "rc",
        [
            {},
            pytest.param({"text.usetex": True}, marks=pytest.mark.slow),
            pytest.param({"axes.formatter.use_mathtext": True}, marks=pytest.mark.slow),
        ],
    )
    def test_every_text_is_only_text(
        self, label: str, rc: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")  # no LaTeX
        with matplotlib.rc_context(rc), warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = make_figure(6.0, 4.0)
            left, right = figure.subplots(1, 2)
            lines = left.plot([0.0, 1.0], [0.0, 1e-9], label=label)
            left.set_title(label[:60])
            left.set_xlabel(label[:60])
            right.set_xticks([0, 1], [label[:20], label[:20]])
            figure.suptitle(label[:60])
            figure.colorbar(right.imshow([[0.0, 1.0]]), ax=right)
            add_legend(left, lines, [label[:30]])
            add_page_legend(figure, lines * 3, loc="outside upper left")
            for suffix in ("png", "svg", "pdf"):
                figure.savefig(tmp_path / f"a.{suffix}")
        assert not any(t.get_usetex() or t.get_parse_math() for t in figure.findobj(Text))
        numbers = [t.get_text() for axes in (left, right) for t in axes.get_yticklabels()]
        assert not any("$" in number or "\\" in number for number in numbers)
        assert len(figure.legends[0].get_texts()) == 3

    def test_labels_that_begin_with_an_underscore_are_in_the_legend(self) -> None:
        figure = make_figure(6.0, 4.0)
        axes = figure.subplots()
        lines = axes.plot([0.0], [1.0], label="_x")
        add_legend(axes, lines, ["_x"])
        assert [t.get_text() for t in axes.get_legend().get_texts()] == ["_x"]

    def test_long_labels_get_rows_of_their_own(self) -> None:
        figure = make_figure(10.0, 4.0)
        axes = figure.subplots()
        lines = [axes.plot([0.0], [1.0], label="x" * 60)[0] for _ in range(4)]
        add_page_legend(figure, lines, loc="outside upper left")
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.width < figure.bbox.width


def test_no_letter_of_packed_data_means_something_to_html() -> None:
    script = dump_script([{"label": "</script><!--<script>&\u2028", "pdb": "a\nb"}])
    data = script.removeprefix("window.trajectories = ").removesuffix(";")
    assert not set(data) & set("<>&\u2028\n")
    assert json.loads(data) == [{"label": "</script><!--<script>&\u2028", "pdb": "a\nb"}]


def test_escaped_text_is_no_markup() -> None:
    assert escape("<b a='\"'>&\n\x00") == "&lt;b a=&#x27;&quot;&#x27;&gt;&amp; \ufffd"


def test_scenes_have_names_of_their_own(holo: Any, tmp_path: Path) -> None:
    labels = ["x_2", "x", "X", "x", "all", "mol_all", "_", "12", "", "a" * 300, "a" * 300 + "b", "a;b", "a b"]
    view = holo.atom_slice(holo.topology.select("resname '0WC'"))
    pose = np.zeros((2, 1, 3))
    written = write_scenes([Observation(label, "", 1.0, pose, view=view) for label in labels], "0WC", tmp_path)
    stems = [p.name.lower() for p in written]
    assert len(set(stems)) == len(stems) == 2 * len(labels) + 2
    names = re.findall(r"^load \S+, (\S+)$", (tmp_path / "view.pml").read_text(), flags=re.M)
    assert len({n.lower() for n in names}) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9]\w*", n, re.ASCII) for n in names)
    assert names[4] == "mol_all"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pymol") is None, reason="PyMOL is not installed")
def test_pymol_shows_every_molecule_and_runs_nothing(compared: Path, tmp_path: Path) -> None:
    (compared / "check.pml").write_text(
        "@view.pml\nprint('shown', [cmd.count_atoms(n + ' and resn 0WC') for n in cmd.get_names()])\n"
    )
    done = subprocess.run(
        ["pymol", "-cq", "check.pml"],
        cwd=compared,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert re.search(r"shown \[43(, [1-9]\d*){5}\]", done.stdout)
    assert "Error" not in done.stdout + done.stderr
    assert not (compared / "ran").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tclsh") is None, reason="Tcl is not installed")
def test_vmd_s_script_is_the_commands_that_were_meant(compared: Path) -> None:
    stub = "proc unknown {args} {puts [lindex $args 0]; return 0}\nsource view.vmd\n"
    done = subprocess.run(["tclsh"], cwd=compared, input=stub, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"display", "color", "axes", "mol", "animate"}
    assert not (compared / "ran").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_page_runs_nothing_of_a_label(compared: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'openmm_neuralmd[browser]'")
    messages: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM, timeout=TIMEOUT_MS)
        page = browser.new_page(viewport={"width": 1120, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda m: messages.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda e: messages.append(str(e)))
        page.goto((compared / "report.html").as_uri())
        page.wait_for_function("window.panels !== undefined")
        title = page.title()
        n_atoms = page.evaluate("window.panels.map(p => p.model.selectedAtoms({resn: '0WC'}).length)")
        width = page.evaluate("document.documentElement.scrollWidth")
        page.select_option("#reference", "5")
        browser.close()
    assert messages == []
    assert title.startswith("$\\frac{a$")
    assert min(n_atoms) >= 27
    assert width <= 1120


def test_scripts_hold_one_command_a_line() -> None:
    scenes = [Scene("a", "a.pdb", "a.xtc", "#102030")]
    for text in (build_pymol_script(scenes, "LIG"), build_vmd_script(scenes, "LIG")):
        assert ";" not in text
        assert "`" not in text
