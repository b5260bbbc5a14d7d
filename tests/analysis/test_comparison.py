"""Verdicts: MD passes, a frozen ligand never does, a broken one is called broken."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from openmm_neuralmd.analysis.bundled import load_bundled_site
from openmm_neuralmd.analysis.comparison import (
    BLIND,
    CLOSE,
    Comparison,
    align_intervals,
    compare,
    describe_overall,
    give_verdict,
)
from openmm_neuralmd.analysis.integrity import BROKEN, WORSE
from openmm_neuralmd.analysis.observation import Observation
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.molecule.site import BindingSite
from tests.helpers import load_bundled_replicas


@pytest.fixture(scope="module")
def site() -> BindingSite:
    return load_bundled_site()


@pytest.fixture(scope="module")
def parts() -> list[Observation]:
    """Both replicas in halves of 1.44 ns, every 16 ps: four samples of the same motion."""
    halves = []
    for replica in load_bundled_replicas():
        for k in range(2):
            positions = replica.positions[180 * k : 180 * (k + 1)]
            halves.append(replace(replica, label=f"{replica.label}-{k}", positions=positions).resample(2))
    return halves


def freeze(site: BindingSite, like: Observation) -> Observation:
    still = np.broadcast_to(site.pose, (like.n_frames, *site.pose.shape))
    return Observation("frozen", "", like.interval, still, clashes=np.zeros(like.n_frames))


def judge(run: Observation, references: list[Observation], site: BindingSite) -> Comparison:
    return compare(run, references, freeze(site, run), site)


def get_verdicts(comparison: Comparison) -> dict[str, str]:
    return {j.subject.key: j.verdict for j in comparison.judgements if j.verdict}


def test_md_is_as_close_as_md(parts: list[Observation], site: BindingSite) -> None:
    verdicts = get_verdicts(judge(parts[3], [parts[0], parts[2]], site))
    assert list(verdicts.values()).count(CLOSE) >= 6
    assert BROKEN not in verdicts.values()


def test_a_frozen_run_never_gets_a_green_light(parts: list[Observation], site: BindingSite) -> None:
    still = replace(freeze(site, parts[0]), label="run")
    comparison = judge(still, [parts[0], parts[2]], site)
    assert CLOSE not in get_verdicts(comparison).values()
    assert "as close to MD as MD is to itself in 0" in describe_overall(comparison)


def test_too_much_motion_is_worse_or_broken(parts: list[Observation], site: BindingSite) -> None:
    mean = parts[1].positions.mean(axis=0)
    wild = replace(parts[1], label="wild", positions=mean + 3.0 * (parts[1].positions - mean))
    verdicts = get_verdicts(judge(wild, [parts[0], parts[2]], site))
    assert {verdicts[k] for k in ("rmsf", "sliding_rmsf", "pair_distances", "bonds")} <= {WORSE, BROKEN}


def test_what_is_worse_is_named(parts: list[Observation], site: BindingSite) -> None:
    mean = parts[1].positions.mean(axis=0)
    wild = replace(parts[1], label="wild", positions=mean + 2.0 * (parts[1].positions - mean))
    comparison = judge(wild, [parts[0], parts[2]], site)
    overall = describe_overall(comparison)
    worse = [j.subject.title for j in comparison.judgements if j.verdict == WORSE]
    checks = [c.title for c in comparison.integrity if c.verdict in (WORSE, BROKEN)]
    assert worse
    assert checks
    assert all(title.split(" [")[0].lower() in overall.lower() for title in [*worse, *checks])
    assert "[" not in overall  # units are for tables


def test_slow_motion_is_seen(parts: list[Observation], site: BindingSite) -> None:
    slow = replace(parts[1], label="slow", positions=parts[1].positions[np.arange(parts[1].n_frames) // 3])
    verdicts = get_verdicts(judge(slow, [parts[0], parts[2]], site))
    assert verdicts["step"] in (WORSE, BROKEN)


def test_a_torn_ligand_is_broken(parts: list[Observation], site: BindingSite) -> None:
    torn = parts[1].positions.copy()
    torn[5, 3] += 0.1
    checks = {c.key: c for c in judge(replace(parts[1], positions=torn, label="torn"), parts[:1], site).integrity}
    assert checks["bonds_worst"].verdict == BROKEN
    mirrored = parts[1].positions * np.array([1, 1, -1], dtype=np.float32)
    comparison = judge(replace(parts[1], positions=mirrored, label="mirror"), parts[:1], site)
    checks = {c.key: c for c in comparison.integrity}
    assert checks["inverted"].verdict == BROKEN
    assert checks["inverted"].values["mirror"] == 100.0
    assert checks["bonds_worst"].verdict != BROKEN
    assert "The molecule is damaged" in describe_overall(comparison)


def test_md_without_bond_orders_inverts_nothing(parts: list[Observation], site: BindingSite) -> None:
    """A starting pose with bent planar atoms and neither bond orders nor hydrogens: a stereocentre is still seen."""
    pose = max(parts[0].positions.astype(np.float64), key=lambda p: len(bare(site, p).ligand.find_centers()))
    unknown = bare(site, pose)
    assert len(unknown.ligand.find_centers()) > 1
    values = {}
    for label, signs in (("MD", (1, 1, 1)), ("mirror", (1, 1, -1))):
        run = replace(parts[3], label=label, positions=parts[3].positions * np.array(signs, dtype=np.float32))
        checks = {c.key: c for c in judge(run, [parts[0], parts[2]], unknown).integrity}
        values |= checks["inverted"].values
    assert values == {"MD": 0.0, "mirror": 100.0, parts[0].label: 0.0, parts[2].label: 0.0, "frozen": 0.0}


def bare(site: BindingSite, pose: np.ndarray) -> BindingSite:
    return replace(site, ligand=replace(site.ligand, bond_orders=None, n_hydrogens=None, geometry=pose))


@pytest.mark.parametrize(
    ("run", "yardstick", "frozen", "verdict"),
    [
        (1.0, 1.0, 5.0, CLOSE),
        (1.5, 1.0, 1.6, CLOSE),
        (1.0, 1.0, 1.4, BLIND),
        (1.6, 1.0, 1.2, WORSE),
        (10.1, 1.0, 1.0, BROKEN),
        (1.0, 1.0, float("nan"), CLOSE),
        (1.0, 0.0, 1.0, ""),
        (float("nan"), 1.0, 1.0, ""),
    ],
)
def test_verdict_table(run: float, yardstick: float, frozen: float, verdict: str) -> None:
    assert give_verdict(run, yardstick, frozen)[0] == verdict


def test_one_reference_is_cut_in_two(parts: list[Observation], site: BindingSite) -> None:
    comparison = judge(parts[1], parts[:1], site)
    assert comparison.block_frames == 45
    assert not comparison.has_replicas
    assert any("Only one reference" in note for note in comparison.notes)


def test_blocks_are_as_long_as_the_shortest(parts: list[Observation], site: BindingSite) -> None:
    short = replace(parts[2], positions=parts[2].positions[:30])
    assert judge(parts[1], [parts[0], short], site).block_frames == 30


def test_intervals_are_aligned(parts: list[Observation], site: BindingSite) -> None:
    fine = load_bundled_replicas()[0]
    aligned, interval = align_intervals([parts[0], fine])
    assert (interval, aligned[1].n_frames) == (16.0, 180)
    odd = replace(parts[2], interval=23.0)
    assert align_intervals([parts[0], odd])[1] is None
    comparison = judge(parts[1], [odd], site)
    assert "autocorrelation" not in get_verdicts(comparison)
    assert "rmsf" in get_verdicts(comparison)
    assert comparison.path_metrics == {}
    assert any("no common multiple" in note for note in comparison.notes)


def test_without_a_common_interval_blocks_last_about_as_long(parts: list[Observation], site: BindingSite) -> None:
    """16 ps beside 100 ps: every sixth frame, 96 ps, so that blocks of as many frames cover similar times."""
    sparse = replace(parts[2], interval=100.0)
    comparison = judge(parts[1], [sparse], site)
    assert comparison.interval is None
    assert [o.interval for o in comparison.aligned] == [96.0, 100.0]
    assert "rmsf" in get_verdicts(comparison)
    assert any("96 ps" in note for note in comparison.notes)


def test_a_much_shorter_reference_judges_nothing(parts: list[Observation], site: BindingSite) -> None:
    """A reference that ends before the run's second frame cannot tell how the run should move."""
    short = replace(parts[2], interval=0.01)
    comparison = judge(parts[1], [short], site)
    assert get_verdicts(comparison) == {}
    assert any("covers 0.9 ps" in note for note in comparison.notes)
    assert describe_overall(comparison).startswith("None of r1-1's motion could be judged")
    assert {c.key for c in comparison.integrity if c.verdict}  # the molecule can be


def test_one_frame_is_refused(parts: list[Observation], site: BindingSite) -> None:
    with pytest.raises(InputError, match="1 frame"):
        judge(replace(parts[0], positions=parts[0].positions[:1]), parts[2:3], site)
    with pytest.raises(InputError, match="no reference"):
        judge(parts[0], [], site)


def test_memory_grows_little_with_the_number_of_frames(parts: list[Observation], site: BindingSite) -> None:
    """About the pair distances once, in double precision: no temporary of several times that is held."""

    def measure_peak(n_copies: int) -> tuple[int, int]:
        long = [replace(p, positions=np.tile(p.positions, (n_copies, 1, 1))) for p in (parts[1], parts[0])]
        tracemalloc.start()
        judge(long[0], long[1:], site)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, 2 * long[0].n_frames

    (small, fewer), (large, more) = measure_peak(20), measure_peak(40)
    assert (large - small) / (more - fewer) < 8 * 8 * site.pose.size
