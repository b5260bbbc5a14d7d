"""A run against MD: how far apart, with MD's distance from itself as the unit, and what follows from it.

Samples of different length differ for that reason alone, so every distance is taken between blocks of the same
number of frames: as many as the shortest trajectory has. The distance of two trajectories is the mean over pairs of
their blocks; MD's distance from itself is that between its replicas or, with one replica, between its halves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmm_neuralmd.analysis.energetics import Physics
from openmm_neuralmd.analysis.integrity import BROKEN, WORSE, IntegrityCheck, check_integrity
from openmm_neuralmd.analysis.metrics import compute_published_metrics, compute_textbook_metrics
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.analysis.properties import MIN_FRAMES, Property, list_properties
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.site import BindingSite

CLOSE_RATIO = 1.5
"""Up to this many times MD's own distance counts as close: one pair of replicas does not fix that distance better."""
BROKEN_RATIO = 10.0
"""Beyond this many times MD's own distance a run does not do what MD does at all."""
MAX_BLOCKS = 12
"""Blocks of a long trajectory that are compared, evenly spread over it: more take more time and say the same."""
INTERVAL_TOLERANCE = 0.01
"""By how much of the longest interval whole strides of a series may miss it: times in files are rounded."""

CLOSE, BLIND = "as close to MD as MD is to itself", "tells nothing"


@dataclass(frozen=True)
class Judgement:
    """One property of a run, judged.

    Attributes:
        subject: Which property.
        run: Distance from MD, mean over references; NaN where there are no data.
        yardstick: MD's distance from itself.
        frozen: Distance of a frozen ligand from MD; NaN where the property has no value for it.
        verdict: ``CLOSE``, ``WORSE``, ``BROKEN`` or ``BLIND``; empty where it cannot be judged.
        remark: Why, for people.
    """

    subject: Property
    run: float
    yardstick: float
    frozen: float
    verdict: str
    remark: str

    @property
    def ratio(self) -> float:
        return self.run / self.yardstick if self.yardstick > 0 else float("nan")


@dataclass(frozen=True)
class Comparison:
    """All distances of a run from its references.

    Attributes:
        site: Where everything was superposed.
        run, references, frozen: As observed, at their own intervals.
        aligned: Run and references thinned to the common interval; as they are where there is none.
        interval: The common one [ps]; None if there is none.
        block_frames: Frames in each block of a distance.
        judgements: One for each property.
        integrity: Whether the ligand is still the molecule it was, and fits its pocket.
        path_metrics: Published and textbook metrics against the first reference at the same times, for each series;
            empty without a common interval.
        notes: What a reader must know.
        physics: Energies, where a force field is at hand.
    """

    site: BindingSite
    run: Observation
    references: tuple[Observation, ...]
    frozen: Observation
    aligned: tuple[Observation, ...]
    interval: float | None
    block_frames: int
    judgements: tuple[Judgement, ...]
    integrity: tuple[IntegrityCheck, ...]
    path_metrics: dict[str, dict[str, dict[str, float]]]
    notes: tuple[str, ...]
    physics: Physics | None = None

    @property
    def has_replicas(self) -> bool:
        return len(self.references) > 1


def compare(
    run: Observation,
    references: Sequence[Observation],
    frozen: Observation,
    site: BindingSite,
    physics: Physics | None = None,
) -> Comparison:
    """Judge a run by MD references of the same ligand.

    Args:
        run: What is judged.
        references: One MD trajectory or more; two give the yardstick.
        frozen: The starting pose, with as many frames as ``run``.
        site: The binding site that all were superposed on.
        physics: The energies that the observations hold, with what is to be said of them.

    Raises:
        InputError: If there is no reference, or a trajectory has too few frames.
    """
    if not references:
        raise InputError("no reference: give at least one MD trajectory (`references`)")
    for o in (run, *references):
        if o.n_intervals < MIN_FRAMES:
            raise InputError(
                f"{o.source}: {o.n_intervals} frame; at least {MIN_FRAMES} are needed to compare motion, beside "
                "the start"
            )
    notes = [f"{o.label}: {note}" for o in (run, *references) for note in o.notes]
    series, interval = align_intervals([run, *references, frozen])
    too_short = [o for o in (run, *references) if not _covers(o, series)]
    if too_short:
        notes.append(
            ", ".join(f"{o.label} covers {o.length:g} ps" for o in too_short)
            + f", too little beside frames {max(o.interval for o in series):g} ps apart: no motion is compared."
        )
    elif interval is None:
        notes.append(
            "The frame intervals ("
            + ", ".join(f"{o.label} {o.interval:g} ps" for o in (run, *references))
            + ") have no common multiple among them: trajectories were thinned to similar ones ("
            + ", ".join(f"{o.interval:g} ps" for o in series[:-1])
            + "), and properties that depend on time are not compared."
        )
    elif any(o.interval != interval for o in (run, *references)):
        notes.append(f"Trajectories were thinned to frames {interval:g} ps apart.")
    if len(references) == 1:
        notes.append(
            "Only one reference: its two halves, each half as long, stand in for a second replica and may be closer "
            "to each other than replicas are."
        )
    block_frames = _choose_block([o.n_frames for o in series[:-1]])
    judgements = tuple(
        _leave_open(p, "a trajectory is too short") if too_short else _judge(p, series, site, interval is not None)
        for p in list_properties(has_energies=physics is not None)
    )
    notes += physics.notes if physics is not None else ()
    return Comparison(
        site=site,
        run=run,
        references=tuple(references),
        frozen=frozen,
        aligned=tuple(series[:-1]),
        interval=interval,
        block_frames=block_frames,
        judgements=judgements,
        integrity=check_integrity(run, references, frozen, site),
        path_metrics=_compute_path_metrics(series, site) if interval is not None else {},
        notes=tuple(notes),
        physics=physics,
    )


def align_intervals(series: Sequence[Observation]) -> tuple[list[Observation], float | None]:
    """Thin all series to the longest interval, or, with None, as near to it as whole strides come.

    A series of which less than ``MIN_FRAMES`` would be left stays as it is.
    """
    longest = max(o.interval for o in series)
    strides = [max(1, round(longest / o.interval)) for o in series]
    fits = all(
        abs(s * o.interval - longest) <= INTERVAL_TOLERANCE * longest for s, o in zip(strides, series, strict=True)
    )
    thinned = [o.resample(s) if o.n_intervals // s >= MIN_FRAMES else o for s, o in zip(strides, series, strict=True)]
    return thinned, longest if fits and all(_covers(o, series) for o in series) else None


def _covers(o: Observation, series: Sequence[Observation]) -> bool:
    """Whether a series is at least ``MIN_FRAMES`` of the longest interval long."""
    return o.n_intervals // max(1, round(max(s.interval for s in series) / o.interval)) >= MIN_FRAMES


def _name(title: str) -> str:
    """A title within a sentence: without its unit, small unless it begins with an abbreviation."""
    name = title.partition(" [")[0]
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def describe_overall(comparison: Comparison) -> str:
    """What may be said of the run as a whole, no more."""
    judged = [j for j in comparison.judgements if j.verdict]
    counts = {v: [j for j in judged if j.verdict == v] for v in (CLOSE, WORSE, BROKEN, BLIND)}
    telling = len(judged) - len(counts[BLIND])
    length = comparison.block_frames * (comparison.interval or comparison.run.interval) / 1000.0
    kinds, silence = (
        ("of motion", "energies") if comparison.physics is None else ("of motion and energy", "free energies")
    )
    damaged = [c for c in comparison.integrity if c.verdict == BROKEN]
    damage = "The molecule is damaged: " + "; ".join(f"{_name(c.title)}, {c.remark}" for c in damaged) + "."
    if not judged:
        reasons = f"None of {comparison.run.label}'s motion could be judged, for the reasons given in the notes."
        return f"{reasons} {damage}" if damaged else reasons
    parts = [
        f"Of {telling} properties {kinds} that a frozen ligand cannot pass, {comparison.run.label} is as close to MD "
        f"as MD is to itself in {len(counts[CLOSE])}, worse in {len(counts[WORSE])}, broken in {len(counts[BROKEN])}."
    ]
    if counts[WORSE]:
        parts.append("Worse: " + _join([_name(j.subject.title) for j in counts[WORSE]]) + ".")
    if counts[BROKEN]:
        parts.append("Broken: " + _join([_name(j.subject.title) for j in counts[BROKEN]]) + ".")
    if damaged:
        parts.append(damage)
    lacking = [c for c in comparison.integrity if c.verdict == WORSE]
    if lacking:
        parts.append("The molecule itself: " + "; ".join(f"{_name(c.title)}, {c.remark}" for c in lacking) + ".")
    beaten = [j for j in judged if j.run > j.frozen]
    if beaten:
        parts.append(
            "In "
            + _join([_name(j.subject.title) for j in beaten])
            + " it is farther from MD than a ligand that never moves."
        )
    parts.append(
        f"This rests on blocks of {comparison.block_frames} frames ({length:.3g} ns) and "
        + (f"{len(comparison.references)} MD trajectories" if comparison.has_replicas else "one MD trajectory")
        + f": distances within {CLOSE_RATIO:g} times MD's own cannot be told apart, and nothing is said about slower "
        f"motion, other poses, binding or {silence}."
    )
    return " ".join(parts)


def _join(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _choose_block(n_frames: Sequence[int]) -> int:
    shortest = min(n_frames)
    if len(n_frames) == 2:  # the only reference is cut in two
        shortest = min(shortest, n_frames[1] // 2)
    return max(MIN_FRAMES, shortest)


def _judge(prop: Property, series: list[Observation], site: BindingSite, same_interval: bool) -> Judgement:
    if prop.needs_same_interval and not same_interval:
        return _leave_open(prop, "frame intervals differ")
    missing = [o.label for o in series if prop.measure(o.cut(0, MIN_FRAMES), site) is None]
    if missing:
        return _leave_open(prop, f"no such data in {', '.join(missing)}")
    n_samples = [prop.count(o) for o in series]
    block_frames = _choose_block(n_samples[:-1])
    if block_frames < prop.min_frames:
        return _leave_open(prop, f"blocks of {block_frames} frames are too short; {prop.min_frames} are needed")
    run, *references, frozen = [_measure_blocks(prop, o, site, block_frames) for o in series]
    to_references = float(np.mean([_average(prop, run, r) for r in references]))
    frozen_distance = float(np.mean([_average(prop, frozen, r) for r in references]))
    if len(references) > 1:
        pairs = [(a, b) for k, a in enumerate(references) for b in references[:k]]
        yardstick = float(np.mean([_average(prop, a, b) for a, b in pairs]))
    elif len(references[0]) < 2:
        return _leave_open(prop, "the only reference is too short to be cut in two")
    else:
        halves = references[0]
        yardstick = float(np.mean([prop.distance(a, b) for k, a in enumerate(halves) for b in halves[:k]]))
    verdict, remark = give_verdict(to_references, yardstick, frozen_distance)
    return Judgement(prop, to_references, yardstick, frozen_distance, verdict, remark)


def _leave_open(prop: Property, remark: str) -> Judgement:
    return Judgement(prop, float("nan"), float("nan"), float("nan"), "", remark)


def give_verdict(run: float, yardstick: float, frozen: float) -> tuple[str, str]:
    """Verdict and remark from three distances to MD.

    A property in which a frozen ligand is also close to MD gives no verdict but ``BLIND``, unless the run fails it.

    Args:
        run: Of the run.
        yardstick: Of MD from itself.
        frozen: Of a frozen ligand; NaN if the property does not exist for one.
    """
    if not np.isfinite([run, yardstick]).all() or yardstick <= 0.0:
        return "", "MD's own distance is zero or unknown"
    ratio, frozen_ratio = run / yardstick, frozen / yardstick
    if ratio > BROKEN_RATIO:
        return BROKEN, f"{ratio:.1f} times MD's own distance"
    if ratio > CLOSE_RATIO:
        frozen_better = np.isfinite(frozen_ratio) and frozen < run
        return WORSE, f"{ratio:.1f} times MD's own distance" + (
            ", and a frozen ligand is closer" if frozen_better else ""
        )
    if frozen_ratio <= CLOSE_RATIO:
        return BLIND, f"{ratio:.1f} times MD's own distance, but a frozen ligand passes too ({frozen_ratio:.1f})"
    return CLOSE, f"{ratio:.1f} times MD's own distance"


def _measure_blocks(prop: Property, o: Observation, site: BindingSite, length: int) -> list[np.ndarray]:
    """Features of consecutive blocks; of a long trajectory ``MAX_BLOCKS``, evenly spread, so that time stays linear."""
    n_blocks = max(1, prop.count(o) // length)
    chosen = np.unique(np.linspace(0, n_blocks - 1, min(n_blocks, MAX_BLOCKS)).round().astype(int)) * length
    return [f for k in chosen.tolist() if (f := prop.measure_part(o, site, k, k + length)) is not None]


def _average(prop: Property, first: list[np.ndarray], second: list[np.ndarray]) -> float:
    return float(np.mean([prop.distance(a, b) for a in first for b in second]))


def _compute_path_metrics(series: list[Observation], site: BindingSite) -> dict[str, dict[str, dict[str, float]]]:
    target = series[1]
    mean = target.positions.mean(axis=0, keepdims=True)
    others = [*series[:1], *series[2:]]
    paths = {o.label: o.positions for o in others}
    paths[f"mean of {target.label}"] = np.repeat(mean, target.n_frames, axis=0)
    found = {}
    for label, positions in paths.items():
        n = min(len(positions), target.n_frames)
        pair = positions[:n], target.positions[:n]
        found[label] = {
            "published": compute_published_metrics(*pair),
            "textbook": compute_textbook_metrics(*pair, site.ligand.bonds),
        }
    return found
