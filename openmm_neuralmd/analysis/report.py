"""One self-contained page: verdicts, figures and a 3D view of a run beside its references."""

import base64
import html
import io
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import openmm_neuralmd
from openmm_neuralmd.analysis import figures
from openmm_neuralmd.analysis.comparison import CLOSE, CLOSE_RATIO, Comparison, Judgement, describe_overall
from openmm_neuralmd.analysis.energetics import SHELL_NM
from openmm_neuralmd.analysis.fluctuations import compute_rmsf
from openmm_neuralmd.analysis.integrity import BROKEN, WORSE
from openmm_neuralmd.analysis.plots import get_color
from openmm_neuralmd.analysis.viewer import dump_script, pack_trajectory
from openmm_neuralmd.molecule.ligand import describe_formula
from openmm_neuralmd.text import clean_text, shorten
from openmm_neuralmd.units import ANGSTROM_PER_NM

MAX_HEAD = 40
"""Columns of a label in a table or above a picture; the title has the whole of it."""
_CLASSES = {CLOSE: "close", WORSE: "worse", BROKEN: "broken"}
_PATH_COLUMNS = (
    ("mae_nm", "MAE [\u00c5]", ANGSTROM_PER_NM),
    ("rmse_nm", "RMSE [\u00c5]", ANGSTROM_PER_NM),
    ("matching_nm", "Matching [\u00c5]", ANGSTROM_PER_NM),
    ("stability_percent", "Stability [%]", 1.0),
)


def write_report(comparison: Comparison, path: str | Path, *, speeds: dict[str, float] | None = None) -> Path:
    """Write ``report.html``: nothing in it is loaded from elsewhere.

    Args:
        comparison: What is shown.
        path: The page.
        speeds: Simulated time per wall time [ns/day] of the series for which it is known.

    Returns:
        ``path``.
    """
    run, site = comparison.run, comparison.site
    names = ", ".join(r.label for r in comparison.references)
    page = Template(_read_asset("page.html")).substitute(
        title=escape(f"{run.label} beside MD: {site.ligand.name}"),
        lead=escape(
            f"{site.ligand.name}, {describe_formula(site.ligand)} ({site.ligand.n_atoms} heavy atoms), in a pocket of "
            f"{len(site.pocket)} residues; references: {names}. openmm_neuralmd {openmm_neuralmd.__version__}."
        ),
        overall=escape(describe_overall(comparison)),
        style=_read_asset("style.css"),
        body="\n".join(_build_sections(comparison, speeds or {})),
        scripts=_build_scripts(comparison),
    )
    path = Path(path)
    path.write_text(page, encoding="utf-8")
    return path


def _build_sections(comparison: Comparison, speeds: dict[str, float]) -> list[str]:
    contacts, torsions = figures.draw_contacts(comparison), figures.draw_torsions(comparison)
    occupancies = figures.draw_occupancies(comparison)
    sections = [
        _section("Verdicts", _tabulate_judgements(comparison)),
        _section("Is the molecule intact", _tabulate_integrity(comparison)),
        _section("3D view", _build_viewer(comparison)),
        _section("Pose and fluctuation", _embed(figures.draw_motion(comparison)) + _build_drawings(comparison)),
        _section("Time", _embed(figures.draw_memory(comparison))),
        _section(
            "Shape", _embed(figures.draw_distances(comparison)) + (_embed(torsions) if torsions is not None else "")
        ),
        _section(
            "Contacts with the protein",
            (_embed(contacts) if contacts is not None else "<p>No side chains, so no contacts.</p>")
            + (_embed(occupancies) if occupancies is not None else "")
            + '<p class="note">Contact: heavy atoms within 0.45 nm (doi:10.1073/pnas.1311599110). Hydrogen bond: '
            "H\u00b7\u00b7\u00b7acceptor below 0.25 nm, angle above 120\u00b0 (doi:10.1016/0079-6107(84)90007-5).</p>",
        ),
        _section("Energies", _describe_energies(comparison)),
        _section("The paper's metrics", _tabulate_path_metrics(comparison)),
        _section("Data", _describe_data(comparison, speeds)),
    ]
    return [s for s in sections if s]


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def _tabulate_judgements(comparison: Comparison) -> str:
    yardstick = "between MD replicas" if comparison.has_replicas else "between halves of MD"
    head = ["Property", f"{_head(comparison.run.label)} to MD", yardstick, "frozen ligand to MD", "Verdict"]
    rows = [_format_judgement(j) for j in comparison.judgements]
    return (
        _table(head, rows, numbers=(1, 2, 3))
        + f'<p class="note">Distances between blocks of {comparison.block_frames} frames. '
        f"\u201cAs close\u201d: at most {CLOSE_RATIO:g} times MD\u2019s distance from itself, and a frozen ligand is "
        "not. "
        "A property in which a ligand that never moves is as close to MD gives no verdict.</p>"
    )


def _format_judgement(j: Judgement) -> list[str]:
    title = f"{escape(j.subject.title)}<small>{escape(j.subject.meaning)}</small>"
    badge = f'<span class="verdict {_CLASSES.get(j.verdict, "")}">{escape(j.verdict)}</span>' if j.verdict else "\u2013"
    values = [_format(v, j.subject.unit) for v in (j.run, j.yardstick, j.frozen)]
    return [title, *values, f"{badge}<small>{escape(j.remark)}</small>"]


def _tabulate_integrity(comparison: Comparison) -> str:
    labels = [comparison.run.label, *(r.label for r in comparison.references), comparison.frozen.label]
    rows = []
    for check in comparison.integrity:
        badge = f'<span class="verdict {_CLASSES.get(check.verdict, "")}">{escape(check.verdict or "no data")}</span>'
        values = [_format(check.values[label]) for label in labels]
        rows.append([escape(check.title), *values, f"{badge}<small>{escape(check.remark)}</small>"])
    return (
        _table(["Check", *map(_head, labels), "Verdict"], rows, numbers=range(1, len(labels) + 1))
        + '<p class="note">Bonds and angles are measured from their mean in the first reference. A frozen ligand '
        "passes all of these, so passing is no merit; failing is a fault.</p>"
    )


def _describe_energies(comparison: Comparison) -> str:
    physics, figure = comparison.physics, figures.draw_energies(comparison)
    if physics is None or figure is None:
        return ""
    head = ["[kJ/mol]", "snapshots", "interaction", "Coulomb", "Lennard-Jones", "strain", "moved [\u00c5]"]
    rows = [
        [
            _head(label),
            str(len(e.strain)),
            *(_format_spread(v) for v in (e.interaction, e.coulomb, e.lennard_jones, e.strain)),
            "\u2013" if e.shift is None else _format(ANGSTROM_PER_NM * float(e.shift.mean())),
        ]
        for label, e in physics.energies.items()
    ]
    text = (
        "Interaction: E(complex) \u2212 E(protein) \u2212 E(ligand) at one geometry, of the ligand with "
        f"{len(physics.residues)} residues within {ANGSTROM_PER_NM * SHELL_NM:g} \u00c5 of the starting pose. "
        f"{physics.protocol['text']} \u201cMoved\u201d: rms displacement of the ligand's heavy atoms in that. Strain: "
        "the ligand alone, minimised to convergence under the same ties, above the lowest energy that free "
        "minimisation found from any snapshot here; thermal angles and torsions that the ties hold are part of it. "
        "Mean \u00b1 standard deviation. Each snapshot stands in the protein of its own frame: MD's protein moves with "
        "the pose, a rigid one does not."
    )
    if physics.controls:
        text += (
            " \u201cIn the run's protein\u201d: every other pose of MD put into the run's rigid protein; what these "
            "lose there is the price of the rigid protein, the rest of the run's distance that of its poses."
        )
    text += " These are energies of a force field without solvent, no binding energies."
    return _embed(figure) + _table(head, rows, range(1, len(head))) + f'<p class="note">{escape(text)}</p>'


def _format_spread(values: np.ndarray | None) -> str:
    if values is None:
        return "\u2013"
    return f"{values.mean():.1f}" + (f" \u00b1 {values.std():.1f}" if len(values) > 1 else "")


def _tabulate_path_metrics(comparison: Comparison) -> str:
    if not comparison.path_metrics:
        return "<p>Not computed: the frame intervals differ.</p>"
    head = ["", *(f"{title}, {kind}" for kind in ("published", "textbook") for _, title, _ in _PATH_COLUMNS)]
    rows = [
        [_head(label)]
        + [_format(factor * found[kind][key]) for kind in ("published", "textbook") for key, _, factor in _PATH_COLUMNS]
        for label, found in comparison.path_metrics.items()
    ]
    return (
        _table(head, rows, numbers=range(1, 9))
        + f'<p class="note">Against {escape(comparison.references[0].label)}, frame by frame at the same times. Two MD '
        "runs of the same system differ as much, and a frozen ligand or the mean structure often scores best: these "
        "numbers do not rank dynamics. \u201cPublished\u201d follows the NeuralMD code "
        "(doi:10.1038/s41467-025-67808-z): its MAE sums x, y and z, its RMSE is a mean length, its Matching and "
        "Stability count the diagonal.</p>"
    )


def _build_drawings(comparison: Comparison) -> str:
    series = [comparison.run, *comparison.references]
    ligand = comparison.site.ligand
    largest = ANGSTROM_PER_NM * max(compute_rmsf(o.positions).max() for o in series)
    try:
        drawings = "".join(
            f'<div><b style="color:{get_color(k)}">{_head(o.label)}</b>'
            f"{figures.draw_ligand_rmsf(o, ligand, largest)}</div>"
            for k, o in enumerate(series)
        )
    except ImportError as error:
        return (
            '<p class="note">RMSF is not drawn on the structural formula: RDKit lacks a system library '
            f"({escape(str(error))}). "
            "On Debian or Ubuntu: sudo apt install libxrender1 libxext6, and compare again.</p>"
        )
    return f'<div class="row">{drawings}</div>{_embed(figures.draw_rmsf_scale(largest))}'


def _build_viewer(comparison: Comparison) -> str:
    shown = [o for o in (comparison.run, *comparison.references) if o.view is not None]
    if len(shown) < 2:
        return ""
    options = "".join(f'<option value="{k}">{_head(o.label)}</option>' for k, o in enumerate(shown[1:], start=1))
    return f"""<div class="row">
<div class="panel"><header><b>{_head(shown[0].label)}</b><span id="clock-left"></span></header>
<div class="screen" id="screen-left"></div></div>
<div class="panel"><header><select id="reference" aria-label="reference">{options}</select>
<span id="clock-right"></span></header><div class="screen" id="screen-right"></div></div></div>
<div class="controls"><button id="play">Play</button><input type="range" id="time" min="0" value="0" aria-label="time">
</div><p class="note">Ligand thick, pocket thin; drag to turn both, scroll to zoom.
A shorter trajectory starts again when it ends. At most 100 frames of each are shown.</p>"""


def _build_scripts(comparison: Comparison) -> str:
    name, pose = comparison.site.ligand.name, comparison.site.pose
    series = [comparison.run, *comparison.references]
    packed = [pack_trajectory(o, name, pose, get_color(k)) for k, o in enumerate(series)]
    found = [p for p in packed if p is not None]
    if len(found) < 2:
        return ""
    library = _read_asset("3Dmol-min.js").replace("</script", "<\\/script")
    return "\n".join(f"<script>\n{text}\n</script>" for text in (library, dump_script(found), _read_asset("viewer.js")))


def _describe_data(comparison: Comparison, speeds: dict[str, float]) -> str:
    rows = []
    for o in (comparison.run, *comparison.references):
        speed = f"{speeds[o.label]:,.0f}" if o.label in speeds else "not recorded"
        rows.append(
            [
                f"{_head(o.label)}<small>{escape(o.source)}</small>",
                str(o.n_frames),
                f"{o.interval:g}",
                f"{o.length / 1000.0:.2f}",
                speed,
            ]
        )
    placed = f"Frames were superposed on {comparison.run.superposed_on}." if comparison.run.superposed_on else ""
    notes = "".join(f"<li>{escape(n)}</li>" for n in (placed, *comparison.notes) if n)
    return _table(["Trajectory", "frames", "interval [ps]", "length [ns]", "speed [ns/day]"], rows, range(1, 5)) + (
        f"<ul>{notes}</ul>" if notes else ""
    )


def _table(head: list[str], rows: list[list[str]], numbers: Any = ()) -> str:
    kinds = [' class="number"' if k in numbers else "" for k in range(len(head))]
    top = "".join(f"<th{kind}>{cell}</th>" for kind, cell in zip(kinds, head, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>'


def _format(value: float, unit: str = "") -> str:
    if not np.isfinite(value):
        return "\u2013"
    digits = 3 if abs(value) < 0.1 and value != 0.0 else 2
    return f"{value:.{digits}f}" + (f"\u202f{unit}" if unit else "")


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    data = base64.b64encode(buffer.getvalue()).decode()
    width = int(figure.get_figwidth() * 100)
    return f'<figure><img src="data:image/png;base64,{data}" width="{width}" alt=""></figure>'


def escape(text: str) -> str:
    """The text as it stands in a page or an attribute; nothing of it is markup."""
    return html.escape(clean_text(text))


def _head(label: str) -> str:
    return escape(shorten(label, MAX_HEAD))


def _read_asset(name: str) -> str:
    return (resources.files("openmm_neuralmd") / "assets" / "report" / name).read_text(encoding="utf-8")
