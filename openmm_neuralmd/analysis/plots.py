"""Figures. Matplotlib's object interface only: no display, no global state."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from openmm_neuralmd.analysis.fluctuations import compute_rmsf
from openmm_neuralmd.analysis.metrics import compute_rmsd
from openmm_neuralmd.analysis.observation import Observation, observe
from openmm_neuralmd.analysis.summary import load_run_context
from openmm_neuralmd.checks import a_choice, check_arguments, check_path
from openmm_neuralmd.files import write_whole
from openmm_neuralmd.io.trajectories import open_run
from openmm_neuralmd.molecule.ligand import Ligand
from openmm_neuralmd.molecule.site import SUPERPOSITIONS, BindingSite
from openmm_neuralmd.text import clean_text, shorten
from openmm_neuralmd.units import ANGSTROM_PER_NM

RUN_COLOR = "#d1495b"
REFERENCE_COLORS = ("#30638e", "#3aa6a0", "#8e7dbe", "#a67c52")
INK, FAINT = "#2b2d42", "#d9dce3"
MAX_LABEL, MAX_NAME = 40, 12
"""Columns of a label and of the name of an atom or residue in a figure; more would leave no place for the data."""
_LEGEND_COLUMNS, _HANDLE_COLUMNS = 125, 6  # of text in the width of a page, and beside each text
_PLAIN: Any = {"text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False}


@check_arguments(run_dir=check_path, path=check_path, superpose_on=a_choice(SUPERPOSITIONS))
def write_overview(run_dir: str | Path, path: str | Path, *, superpose_on: str = "pocket") -> Path:
    """Draw a run beside the bundled replicas (where it is of the bundled complex): RMSD over time, RMSF per atom.

    Args:
        run_dir: Run directory.
        path: Picture to write; the suffix sets its format.
        superpose_on: CA atoms of the "pocket" or of "all" residues.

    Returns:
        ``path``.

    Raises:
        InputError: If ``run_dir`` is not a run directory or cannot be read.
    """
    file = open_run(run_dir, label="NeuralMD")
    site, replicas = load_run_context(file)
    figure = draw_overview([observe(f, site, superpose_on=superpose_on) for f in (file, *replicas)], site)
    with write_whole(Path(path)) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)


def draw_overview(observations: list[Observation], site: BindingSite) -> Figure:
    """Ligand RMSD over time with its distribution, above RMSF per atom; the first observation is the run."""
    figure = make_figure(10.0, 7.2)
    axes = figure.subplot_mosaic(
        [["rmsd", "shares"], ["rmsf", "rmsf"]], width_ratios=[5.2, 1.0], height_ratios=[1.15, 1.0]
    )
    lines = draw_rmsd(axes["rmsd"], observations, site.pose)
    draw_rmsd_distribution(axes["shares"], observations, site.pose)
    axes["shares"].sharey(axes["rmsd"])
    axes["shares"].tick_params(labelleft=False)
    draw_rmsf(axes["rmsf"], observations, site.ligand)
    add_page_legend(figure, lines, loc="outside upper left")
    return figure


def make_figure(width: float, height: float) -> Figure:
    """An empty figure [inch] with a canvas that needs no display."""
    figure = PlainFigure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


class PlainFigure(Figure):
    """A figure in which every text is only text.

    No dollar sign or backslash makes mathematics or calls LaTeX, whatever the user's matplotlibrc says, and letters
    that the font lacks are drawn as boxes without a warning.
    """

    def add_subplot(self, *args: Any, **options: Any) -> Any:
        """As matplotlib's; what writes the numbers on its axes is made with it."""
        with matplotlib.rc_context(_PLAIN):
            return super().add_subplot(*args, **options)

    def colorbar(self, *args: Any, **options: Any) -> Colorbar:
        """Likewise."""
        with matplotlib.rc_context(_PLAIN):
            return super().colorbar(*args, **options)

    def draw(self, renderer: RendererBase) -> None:
        """Likewise; everything that is saved comes through here."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
            text.set_usetex(False)
        with matplotlib.rc_context(_PLAIN), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing|Matplotlib currently does not support")
            super().draw(renderer)


def add_legend(owner: Axes | Figure, handles: Sequence[Artist], labels: Sequence[str], **options: Any) -> None:
    """A legend that shows every label as it is; matplotlib leaves out those that begin with an underscore."""
    legend = owner.legend(handles, [f"series {k}" for k in range(len(labels))], frameon=False, **options)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(clean_text(label))


def add_page_legend(figure: Figure, handles: Sequence[Artist], **options: Any) -> None:
    """The legend of a whole figure, in one row where the labels of the handles have the place."""
    labels = [str(h.get_label()) for h in handles]
    widths = [len(label) + _HANDLE_COLUMNS for label in labels]
    n_columns = len(labels) if sum(widths) <= _LEGEND_COLUMNS else max(1, _LEGEND_COLUMNS // max(widths))
    add_legend(figure, handles, labels, ncols=n_columns, **options)


def get_color(index: int) -> str:
    """Colour of a series: the run's own for the first, blues and greens for references."""
    return RUN_COLOR if index == 0 else REFERENCE_COLORS[(index - 1) % len(REFERENCE_COLORS)]


def draw_rmsd(axes: Axes, observations: list[Observation], pose: np.ndarray) -> list[Line2D]:
    """Ligand RMSD to the starting pose over time; finer series also at the first one's interval, in full strength.

    Returns:
        The line of each series, labelled.
    """
    lines = []
    for k, o in enumerate(observations):
        rmsd = ANGSTROM_PER_NM * compute_rmsd(o.positions, pose)
        stride = max(1, round(observations[0].interval / o.interval))
        label = f"{shorten(o.label, MAX_LABEL)} (mean {rmsd.mean():.2f} \u00c5)"
        if stride > 1:
            axes.plot(o.times / 1000.0, rmsd, linewidth=0.6, alpha=0.35, color=get_color(k), zorder=1)
        kept = slice(stride - 1, None, stride)
        lines += axes.plot(
            o.times[kept] / 1000.0,
            rmsd[kept],
            linewidth=1.5,
            label=label,
            color=get_color(k),
            zorder=4 if k == 0 else 3,
        )
    axes.set(xlabel="time [ns]", ylabel="ligand RMSD to the start [\u00c5]")
    axes.set_xlim(0.0, max(o.times[-1] for o in observations) / 1000.0)
    axes.set_ylim(bottom=0.0)
    faint = sorted({f"{o.interval:g} ps" for o in observations if o.interval < observations[0].interval})
    title = f"Pose, every {observations[0].interval:g} ps" + (f" (faint: every {', '.join(faint)})" if faint else "")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    finish_axes(axes)
    return lines


def draw_rmsd_distribution(axes: Axes, observations: list[Observation], pose: np.ndarray) -> None:
    """Share of frames at each RMSD, lying on its side beside the time series."""
    rmsds = [ANGSTROM_PER_NM * compute_rmsd(o.positions, pose) for o in observations]
    bins = np.linspace(0.0, max(r.max() for r in rmsds) * 1.02, 25)
    for k, rmsd in enumerate(rmsds):
        shares = np.histogram(rmsd, bins)[0] / len(rmsd)
        axes.stairs(shares, bins, orientation="horizontal", color=get_color(k), linewidth=1.5, fill=False)
        if k == 0:
            axes.stairs(shares, bins, orientation="horizontal", color=get_color(k), alpha=0.25, fill=True)
    axes.set(xlabel="share of frames")
    axes.set_xlim(left=0.0)
    finish_axes(axes)


def draw_rmsf(axes: Axes, observations: list[Observation], ligand: Ligand) -> None:
    """RMSF per heavy atom, atom names below."""
    places = np.arange(ligand.n_atoms)
    for k, o in enumerate(observations):
        rmsf = ANGSTROM_PER_NM * compute_rmsf(o.positions)
        if k == 0:
            axes.bar(places, rmsf, width=0.72, alpha=0.85, color=get_color(k), zorder=2)
        else:
            axes.plot(places, rmsf, "o-", markersize=4.5, linewidth=1.2, color=get_color(k), zorder=3)
    axes.set_xticks(places, [shorten(name, MAX_NAME) for name in ligand.atom_names], rotation=90, fontsize=9)
    axes.set(xlim=(-0.7, ligand.n_atoms - 0.3), ylabel="RMSF [\u00c5]")
    axes.set_ylim(bottom=0.0)
    axes.set_title("Fluctuation of each heavy atom about its mean place", loc="left", fontsize=11, color=INK)
    finish_axes(axes)
    axes.tick_params(axis="x", length=0)


def finish_axes(axes: Axes) -> None:
    """Thin frame, faint horizontal grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8d99ae")
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
