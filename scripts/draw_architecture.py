"""Draw docs/images/architecture.svg: the packages by level, and who imports whom, read from the code.

    python scripts/draw_architecture.py            write the picture
    python scripts/draw_architecture.py --check    exit status 1 where the picture is not that of the code now

A package stands above all that it imports. Where a imports b and b imports c, an arrow from a to c would say little: it
is written in the box of a instead. The modules at the bottom may be imported by everyone.
"""

import argparse
import ast
import re
import sys
import textwrap
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_imports import LEVELS, MODULES, find_group, parse, read_imports  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PURPOSES = {
    "cli": "commands",
    "evaluation": "scores on held-out data",
    "preparation": "crystal structures",
    "reference": "MD by OpenMM, GROMACS",
    "training": "loop, labels, checkpoints",
    "simulation": "force, integrators, runs",
    "data": "training data",
    "force_field": "energies, subsystems",
    "models": "networks, kinds, losses, files",
    "analysis": "trajectories judged",
    "testing": "the contract of kinds",
    "io": "files of all kinds",
    "dynamics": "steps, noise, projection",
    "molecule": "complex, graph, shape",
}
"""What a package is for, in three words."""

# of the drawing [pixels], but for the letters of a line
MARGIN = 24
BOX_WIDTH, BOX_HEIGHT, PASS_WIDTH, GAP = 200, 82, 16, 22
LEVEL_HEIGHT, LINE_HEIGHT, LINE_LETTERS = 128, 14, 33
STYLE = """
text { font-family: 'DejaVu Sans', Verdana, sans-serif; fill: #2b2d42; text-anchor: middle }
.name { font-size: 15px; font-weight: bold }
.purpose { font-size: 12px; fill: #4a5064 }
.also { font-size: 10px; fill: #7d8499 }
rect { fill: #f7f8fc; stroke: #30638e; stroke-width: 1.5 }
.ground { fill: #eef1f6; stroke: #8d99ae }
path { fill: none; stroke: #30638e; stroke-width: 1.6 }
.arrow { marker-end: url(#arrow) }
"""
SWEEPS = 12  # down and up again, of ordering and of placing; more change nothing

Edge = tuple[str, str]
Node = str | tuple[str, str, int]
"""A package, or the place where an arrow passes a level."""


def find_edges() -> set[Edge]:
    """Pairs of packages of which the first imports the second, also within functions and by name; no leaves."""
    edges = set()
    for module in MODULES:
        source, group = module.read_text(), find_group(module)
        names = [name for name, _ in read_imports(source)]
        if "importlib.import_module" in names:
            names += [n.value for n in ast.walk(parse(source)) if isinstance(n, ast.Constant) and _is_module(n.value)]
        for name in names:
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "openmm_neuralmd" and LEVELS.get(group, 0) > 0 and LEVELS.get(other, 0) > 0:
                edges.add((group, other))
    return {(a, b) for a, b in edges if a != b}


def _is_module(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"openmm_neuralmd(\.\w+)+", value) is not None


def find_implied(edges: set[Edge]) -> set[Edge]:
    """Those whose end can be reached by a longer way."""
    below: dict[str, set[str]] = {}
    for a, b in edges:
        below.setdefault(a, set()).add(b)

    def reach(package: str) -> set[str]:
        return set().union(*({b} | reach(b) for b in below.get(package, ())))

    return {(a, b) for a, b in edges if any(b in reach(c) for c in below[a] - {b})}


def find_packages() -> list[str]:
    return sorted({find_group(m) for m in MODULES} & {g for g, level in LEVELS.items() if level > 0})


class Layout:
    """Where boxes stand and arrows pass.

    Args:
        edges: To draw.

    Attributes:
        rows: Packages and passes of each level from the top, from left to right.
        x: Their middles.
        width: Of the drawing.
        chains: For each edge the nodes from its start to its end.
    """

    def __init__(self, edges: set[Edge]) -> None:
        packages = find_packages()
        levels = sorted({LEVELS[p] for p in packages}, reverse=True)
        row_of = {p: levels.index(LEVELS[p]) for p in packages}
        self.chains: dict[Edge, list[Node]] = {
            (a, b): [a, *((a, b, k) for k in range(row_of[a] + 1, row_of[b])), b] for a, b in sorted(edges)
        }
        self.rows: list[list[Node]] = [[p for p in packages if row_of[p] == k] for k in range(len(levels))]
        for chain in self.chains.values():
            for node in chain[1:-1]:
                self.rows[node[2]].append(node)
        self._neighbours: dict[Node, list[tuple[int, Node]]] = {n: [] for row in self.rows for n in row}
        for chain in self.chains.values():
            for upper, lower in pairwise(chain):
                self._neighbours[upper].append((1, lower))
                self._neighbours[lower].append((-1, upper))
        self.x: dict[Node, float] = {}
        for row in self.rows:
            self._push_apart(row, [0.0] * len(row))
        for sweep in range(SWEEPS):
            self._sweep(is_ordering=sweep < SWEEPS // 2)
        left = min(x - _measure(n) / 2 for n, x in self.x.items()) - MARGIN
        self.x = {n: x - left for n, x in self.x.items()}
        self.width = max(x + _measure(n) / 2 for n, x in self.x.items()) + MARGIN

    def _sweep(self, *, is_ordering: bool) -> None:
        for side, rows in ((-1, self.rows[1:]), (1, self.rows[-2::-1])):
            for row in rows:
                wanted = {n: self._find_middle(n, side if is_ordering else 0) for n in row}
                if is_ordering:
                    row.sort(key=lambda n: (wanted[n], str(n)))
                self._push_apart(row, [wanted[n] for n in row])

    def _find_middle(self, node: Node, side: int) -> float:
        """Mean place of the neighbours on one side, or, for 0, on both."""
        xs = [self.x[n] for s, n in self._neighbours[node] if side in (0, s)]
        return sum(xs) / len(xs) if xs else self.x[node]

    def _push_apart(self, row: list[Node], wanted: list[float]) -> None:
        """Places as near to the wanted ones as the widths allow, by halves from either side."""
        steps = [(_measure(a) + _measure(b)) / 2 + GAP for a, b in pairwise(row)]
        forward, backward = list(wanted), list(wanted)
        for k, step in enumerate(steps):
            forward[k + 1] = max(forward[k + 1], forward[k] + step)
        for k in range(len(steps) - 1, -1, -1):
            backward[k] = min(backward[k], backward[k + 1] - steps[k])
        placed = [(a + b) / 2 for a, b in zip(forward, backward, strict=True)]
        self.x.update(zip(row, placed, strict=True))


def _measure(node: Node) -> int:
    return BOX_WIDTH if isinstance(node, str) else PASS_WIDTH


def draw_picture() -> str:
    """The SVG file."""
    edges = find_edges()
    implied = find_implied(edges)
    layout = Layout(edges - implied)
    lines = []
    for (a, b), chain in layout.chains.items():
        path = _draw_path(layout, a, b, chain)
        lines.append(f'<path class="arrow" d="{path}"><title>{a} imports {b}</title></path>')
    for k, row in enumerate(layout.rows):
        for name in row:
            if isinstance(name, str):
                also = ", ".join(sorted(b for a, b in implied if a == name))
                texts = [PURPOSES.get(name, ""), *textwrap.wrap(f"and {also}" if also else "", LINE_LETTERS)]
                lines += _draw_box(layout.x[name], MARGIN + k * LEVEL_HEIGHT, BOX_WIDTH, [name, *texts])
    leaves = sorted({find_group(m) for m in MODULES} & {g for g, level in LEVELS.items() if level == 0})
    bottom = MARGIN + len(layout.rows) * LEVEL_HEIGHT
    lines += _draw_box(
        layout.width / 2, bottom, layout.width - 2 * MARGIN, [", ".join(leaves), "for everyone"], "ground"
    )
    width, height = round(layout.width), bottom + BOX_HEIGHT + MARGIN
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="5" refY="5" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0,0 L10,5 L0,10 z" style="fill: #30638e; stroke: none"/></marker></defs>',
        f'<rect width="{width}" height="{height}" style="fill: white; stroke: none"/>',
    ]
    return "\n".join([*head, *lines, "</svg>", ""])


def _draw_path(layout: Layout, a: str, b: str, chain: list[Node]) -> str:
    """From the lower side of a box past the levels between to the upper side of another."""
    starts = sorted((layout.x[c[1]], e) for e, c in layout.chains.items() if e[0] == a)
    ends = sorted((layout.x[c[-2]], e) for e, c in layout.chains.items() if e[1] == b)
    middles = [layout.x[n] for n in chain]
    middles[0] += _spread([e for _, e in starts].index((a, b)), len(starts))
    middles[-1] += _spread([e for _, e in ends].index((a, b)), len(ends))
    first = next(k for k, row in enumerate(layout.rows) if a in row)
    y = MARGIN + first * LEVEL_HEIGHT + BOX_HEIGHT
    parts = [f"M{middles[0]:.1f},{y}"]
    for k, (left, right) in enumerate(pairwise(middles)):
        is_last = k == len(middles) - 2
        end = y + LEVEL_HEIGHT - BOX_HEIGHT - (7 if is_last else 0)
        half = (end - y) * 0.6
        parts.append(f"C{left:.1f},{y + half:.1f} {right:.1f},{end - half:.1f} {right:.1f},{end}")
        if not is_last:
            parts.append(f"V{end + BOX_HEIGHT}")
        y = end + BOX_HEIGHT
    return " ".join(parts)


def _spread(k: int, n: int) -> float:
    """How far from the middle of a box the k-th of n arrows meets it."""
    return BOX_WIDTH * ((k + 1.0) / (n + 1.0) - 0.5)


def _draw_box(middle: float, y: float, width: float, texts: list[str], kind: str = "box") -> list[str]:
    corner = f'x="{middle - width / 2:.1f}" y="{y:.1f}"'
    lines = [f'<rect class="{kind}" {corner} width="{width:.1f}" height="{BOX_HEIGHT}" rx="7"/>']
    top = y + (BOX_HEIGHT - LINE_HEIGHT * len(texts)) / 2 + 6  # the name is taller than a line
    for k, text in enumerate(texts):
        line = ("name", "purpose", "also", "also", "also")[k]
        below = top + LINE_HEIGHT * k + (4 if k else 3)
        lines.append(f'<text class="{line}" x="{middle:.1f}" y="{below:.1f}">{escape(text)}</text>')
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the picture is that of the code now")
    picture = draw_picture()
    if not parser.parse_args().check:
        PICTURE.write_text(picture)
    elif not PICTURE.is_file() or PICTURE.read_text() != picture:
        print(f"{PICTURE.relative_to(ROOT)} is not that of the code: run python scripts/draw_architecture.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
