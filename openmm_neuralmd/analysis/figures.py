"""Figures of a comparison; each function returns a matplotlib figure, or SVG text from RDKit."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rdkit import Chem
from rdkit.Chem import rdDepictor

from openmm_neuralmd.analysis.comparison import Comparison
from openmm_neuralmd.analysis.fluctuations import (
    SLIDING_WINDOW,
    compute_autocorrelation,
    compute_rmsf,
    compute_sliding_rmsf,
    compute_torsions,
    compute_wasserstein_distances,
)
from openmm_neuralmd.analysis.metrics import compute_pair_distances
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.plots import (
    FAINT,
    INK,
    MAX_LABEL,
    MAX_NAME,
    add_legend,
    add_page_legend,
    draw_overview,
    finish_axes,
    get_color,
    make_figure,
)
from openmm_neuralmd.analysis.properties import AUTOCORRELATION_SHARE
from openmm_neuralmd.molecule.chemistry import build_graph
from openmm_neuralmd.molecule.ligand import Ligand
from openmm_neuralmd.text import shorten
from openmm_neuralmd.units import ANGSTROM_PER_NM

N_DISTANCES = 6
"""Panels of a page: two rows of three."""
MAX_SHOWN_FRAMES = 5000
"""In distributions; more would not change a histogram to the eye."""
CONTACT_COLORS = LinearSegmentedColormap.from_list("contacts", ["#f1f3f7", "#8fb3d1", "#c8553d"])
_TIME_COLUMNS = 200  # slices of time in the map of contacts; narrower ones could not be told apart
_TITLE_COLUMNS = 60  # of text in the titles of panels side by side


def draw_motion(comparison: Comparison) -> Figure:
    """RMSD over time and its distribution, RMSF per atom."""
    return draw_overview([comparison.run, *comparison.references], comparison.site)


def draw_memory(comparison: Comparison) -> Figure:
    """Sliding RMSF over time, and the autocorrelation of the displacement from the mean."""
    figure = make_figure(10.0, 3.4)
    left, right = figure.subplots(1, 2)
    lines = []
    for k, o in enumerate(comparison.aligned):
        if o.n_frames >= SLIDING_WINDOW:
            rmsf = ANGSTROM_PER_NM * compute_sliding_rmsf(o.positions)
            times = o.times[SLIDING_WINDOW // 2 :][: len(rmsf)] / 1000.0
            lines += left.plot(
                times,
                rmsf,
                color=get_color(k),
                linewidth=1.4,
                zorder=4 - k,
                label=f"{shorten(o.label, MAX_LABEL)}, every {o.interval:g} ps",
            )
        curve = compute_autocorrelation(o.positions, o.n_frames // AUTOCORRELATION_SHARE)
        right.plot(o.interval * np.arange(len(curve)), curve, color=get_color(k), linewidth=1.4, zorder=4 - k)
    left.set(xlabel="time [ns]", ylabel="RMSF of 5 snapshots [\u00c5]")
    left.set_ylim(bottom=0.0)
    left.set_title("RMSF-Ligand, sliding over five snapshots", loc="left", fontsize=11, color=INK)
    if lines:
        add_legend(left, lines, [str(line.get_label()) for line in lines], fontsize=8)
    right.axhline(0.0, color="#8d99ae", linewidth=0.8)
    right.set(xlabel="lag [ps]", ylabel="autocorrelation")
    right.set_title("Memory of the displacement from the mean", loc="left", fontsize=11, color=INK)
    for axes in (left, right):
        finish_axes(axes)
    return figure


def draw_distances(comparison: Comparison) -> Figure:
    """Distributions of the pair distances in which the run is farthest from the first reference."""
    ligand = comparison.site.ligand
    distances = [ANGSTROM_PER_NM * compute_pair_distances(x, ligand.pairs) for x in _thin_series(comparison)]
    apart = compute_wasserstein_distances(distances[0], distances[1])
    chosen = np.argsort(apart)[::-1][:N_DISTANCES]
    figure = make_figure(10.0, 4.6)
    for axes, pair in zip(figure.subplots(2, 3).ravel(), chosen, strict=False):
        a, b = ligand.pairs[pair]
        _draw_shares(axes, [d[:, pair] for d in distances])
        axes.set_title(_join_names(ligand, [a, b]), loc="left", fontsize=10, color=INK)
        axes.set_xlabel("distance [\u00c5]")
    figure.suptitle(
        "The pair distances that differ most from the first reference", x=0.01, ha="left", fontsize=11, color=INK
    )
    return figure


def draw_torsions(comparison: Comparison) -> Figure | None:
    """Distribution of each rotatable torsion; None if there is none."""
    ligand = comparison.site.ligand
    quadruples = ligand.find_dihedrals()
    if len(quadruples) == 0:
        return None
    angles = [np.degrees(compute_torsions(x, quadruples)) for x in _thin_series(comparison)]
    n_columns = min(3, len(quadruples))
    n_rows = -(-len(quadruples) // n_columns)
    figure = make_figure(10.0, 0.4 + 2.2 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for k, axes in enumerate(grid):
        if k >= len(quadruples):
            axes.set_visible(False)
            continue
        _draw_shares(axes, [a[:, k] for a in angles], np.linspace(-180.0, 180.0, 37))
        axes.set(xlim=(-180, 180), xticks=[-180, -90, 0, 90, 180], xlabel="angle [\u00b0]")
        axes.set_title(_join_names(ligand, quadruples[k]), loc="left", fontsize=10, color=INK)
    figure.suptitle("Torsions about rotatable bonds", x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def draw_contacts(comparison: Comparison) -> Figure | None:
    """Contacts of each pocket residue over time, hydrogen bonds marked; None without side chains.

    Residues that never touch the ligand in any trajectory are left out.
    """
    series = [o for o in _list_series(comparison) if o.contacts is not None]
    if not series:
        return None
    ever = np.any([_get(o.contacts).any(axis=0) for o in series], axis=0)
    labels = [shorten(s, MAX_NAME) for s, kept in zip(comparison.site.pocket_labels, ever, strict=True) if kept]
    figure = make_figure(10.0, 1.1 + 0.19 * len(labels))
    ratios = [max(0.6, o.times[-1] / max(s.times[-1] for s in series)) for o in series]
    grid = figure.subplots(1, len(series), sharey=True, squeeze=False, width_ratios=ratios)[0]
    for k, (axes, o) in enumerate(zip(grid, series, strict=True)):
        shares = _average_columns(_get(o.contacts)[:, ever])
        if o.hydrogen_bonds is not None:
            shares = shares + _average_columns(o.hydrogen_bonds[:, ever])
        extent = (0.0, o.times[-1] / 1000.0, len(labels) - 0.5, -0.5)
        image = axes.imshow(
            shares.T, aspect="auto", extent=extent, vmin=0.0, vmax=2.0, cmap=CONTACT_COLORS, interpolation="nearest"
        )
        title = shorten(o.label, max(MAX_NAME, _TITLE_COLUMNS // len(series)))
        axes.set_title(title, loc="left", fontsize=11, color=get_color(k))
        axes.set_xlabel("time [ns]")
        axes.tick_params(labelsize=8, colors=INK)
        if k == 0:
            axes.set_yticks(range(len(labels)), labels, fontsize=8)
    bar = figure.colorbar(image, ax=list(grid), ticks=[0, 1, 2], pad=0.01, fraction=0.03)
    bar.ax.set_yticklabels(["none", "contact", "and hydrogen\nbond"], fontsize=8)
    return figure


def draw_occupancies(comparison: Comparison) -> Figure | None:
    """Occupancy of contacts and hydrogen bonds by residue; None without side chains."""
    series = _list_series(comparison)
    panels = []
    for name, title in (("contacts", "Contacts"), ("hydrogen_bonds", "Hydrogen bonds")):
        known = [(k, o, getattr(o, name)) for k, o in enumerate(series) if getattr(o, name) is not None]
        if known and any(values.any() for _, _, values in known):
            panels.append((title, known))
    if not panels:
        return None
    figure = make_figure(10.0, 2.7 * len(panels))
    for axes, (title, known) in zip(figure.subplots(len(panels), 1, squeeze=False).ravel(), panels, strict=True):
        ever = np.any([values.mean(axis=0) > 0.02 for _, _, values in known], axis=0)
        labels = [shorten(s, MAX_NAME) for s, kept in zip(comparison.site.pocket_labels, ever, strict=True) if kept]
        width = 0.8 / len(known)
        for place, (k, _, values) in enumerate(known):
            left = np.arange(len(labels)) + (place - (len(known) - 1) / 2) * width
            axes.bar(left, 100.0 * values.mean(axis=0)[ever], width=width, color=get_color(k))
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
        axes.set(ylabel="frames [%]", ylim=(0, 105), xlim=(-0.6, len(labels) - 0.4))
        axes.set_title(title, loc="left", fontsize=11, color=INK)
        finish_axes(axes)
        axes.tick_params(axis="x", length=0)
    return figure


def draw_energies(comparison: Comparison) -> Figure | None:
    """Distribution of interaction and strain energies, the frozen ligand's as a line; None without a force field."""
    if comparison.physics is None:
        return None
    energies, frozen = comparison.physics.energies, comparison.physics.energies.get(comparison.frozen.label)
    series = [(k, o.label, energies[o.label]) for k, o in enumerate(_list_series(comparison)) if o.label in energies]
    panels = []
    for name, title in (("interaction", "Interaction energy"), ("strain", "Strain energy")):
        known = [(k, label, getattr(e, name)) for k, label, e in series if getattr(e, name) is not None]
        if known:
            panels.append((title, known, None if frozen is None else getattr(frozen, name)))
    figure = make_figure(10.0, 3.2)
    for axes, (title, known, still) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_shares(axes, [values for _, _, values in known], colors=[k for k, _, _ in known])
        if still is not None:
            axes.axvline(still[0], color=INK, linestyle="--", linewidth=1.2)
        axes.set_xlabel("energy [kJ/mol]")
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    handles = [Line2D([], [], color=get_color(k), label=shorten(label, MAX_LABEL)) for k, label, _ in panels[-1][1]]
    handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="frozen"))
    add_page_legend(figure, handles, fontsize=9, loc="outside upper right")
    return figure


def draw_ligand_rmsf(o: Observation, ligand: Ligand, largest: float) -> str:
    """SVG of the ligand's structural formula, each atom coloured by its RMSF.

    Args:
        o: Whose RMSF.
        ligand: Atom names and bonds.
        largest: RMSF at the end of the colour scale [A], the same for all drawings beside each other.

    Raises:
        ImportError: If a system library that RDKit draws with is missing, as on servers without a desktop.
    """
    from rdkit.Chem.Draw import rdMolDraw2D

    molecule = build_drawing(ligand)
    rmsf = ANGSTROM_PER_NM * compute_rmsf(o.positions)
    colors = colormaps["plasma"](0.15 + 0.85 * Normalize(0.0, largest, clip=True)(rmsf))
    drawer = rdMolDraw2D.MolDraw2DSVG(430, 270)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.useBWAtomPalette()
    options.highlightRadius = 0.42
    options.fillHighlights = True
    options.continuousHighlight = False
    atoms = list(range(ligand.n_atoms))
    drawer.DrawMolecule(
        molecule,
        highlightAtoms=atoms,
        highlightAtomColors={k: tuple(float(v) for v in (*colors[k][:3], 0.65)) for k in atoms},
        highlightBonds=[],
    )
    drawer.FinishDrawing()
    return str(drawer.GetDrawingText()).split("?>", 1)[-1]


def draw_rmsf_scale(largest: float) -> Figure:
    """The colour scale of the drawings."""
    figure = make_figure(4.3, 0.62)
    axes = figure.subplots()
    colors = colormaps["plasma"](0.15 + 0.85 * np.linspace(0.0, 1.0, 200))[None]
    colors[..., 3] = 0.65
    axes.imshow(colors, aspect="auto", extent=(0.0, largest, 0.0, 1.0))
    axes.set(yticks=[], xlabel="RMSF [\u00c5]")
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)
    return figure


def build_drawing(ligand: Ligand) -> Chem.Mol:
    """RDKit molecule with bond orders and flat coordinates, for drawing only: no valence model is applied."""
    kinds = {
        1.0: Chem.BondType.SINGLE,
        1.5: Chem.BondType.AROMATIC,
        2.0: Chem.BondType.DOUBLE,
        3.0: Chem.BondType.TRIPLE,
    }
    molecule = build_graph(ligand.atomic_numbers, ligand.bonds)
    for (a, b), order in zip(ligand.bonds.tolist(), ligand.bond_orders or (), strict=False):
        bond = molecule.GetBondBetweenAtoms(a, b)
        bond.SetBondType(kinds.get(order, Chem.BondType.SINGLE))
        if order == 1.5:
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    rdDepictor.Compute2DCoords(molecule)
    return molecule.GetMol()


def _join_names(ligand: Ligand, atoms: Iterable[int]) -> str:
    return " \u2013 ".join(shorten(ligand.atom_names[i], MAX_NAME) for i in atoms)


def _thin_series(comparison: Comparison) -> list[np.ndarray]:
    """Ligand positions of at most ``MAX_SHOWN_FRAMES`` frames of each series, evenly spread."""
    chosen = [
        np.linspace(0, o.n_frames - 1, min(o.n_frames, MAX_SHOWN_FRAMES)).round().astype(int)
        for o in _list_series(comparison)
    ]
    return [o.positions[k] for o, k in zip(_list_series(comparison), chosen, strict=True)]


def _list_series(comparison: Comparison) -> list[Observation]:
    return [comparison.run, *comparison.references]


def _get(values: np.ndarray | None) -> np.ndarray:
    return np.zeros((0, 0)) if values is None else values


def _draw_shares(
    axes: Axes, samples: list[np.ndarray], bins: np.ndarray | None = None, *, colors: list[int] | None = None
) -> None:
    everything = np.concatenate(samples)
    edges = np.linspace(everything.min(), everything.max() + 1e-9, 31) if bins is None else bins
    for k, sample in zip(colors or range(len(samples)), samples, strict=True):
        shares = np.histogram(sample, edges)[0] / len(sample)
        axes.stairs(shares, edges, color=get_color(k), linewidth=1.5, zorder=4 if k == 0 else 3)
        if k == 0:
            axes.stairs(shares, edges, color=get_color(k), alpha=0.22, fill=True)
    axes.set_ylim(bottom=0.0)
    finish_axes(axes)
    axes.tick_params(labelsize=8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)


def _average_columns(occupied: np.ndarray) -> np.ndarray:
    """Shares of frames, at most ``_TIME_COLUMNS`` time slices, (n_slices, n_residues)."""
    if len(occupied) <= _TIME_COLUMNS:
        return occupied.astype(float)
    return np.array([part.mean(axis=0) for part in np.array_split(occupied, _TIME_COLUMNS)])
