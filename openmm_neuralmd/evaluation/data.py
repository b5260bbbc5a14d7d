"""Models on the data there are: the test part of one complex' trajectory, or complexes that none was trained on."""

from collections.abc import Callable, Sequence

from openmm_neuralmd.checks import an_instance, check_arguments, check_flag
from openmm_neuralmd.data.sources import Data
from openmm_neuralmd.evaluation.evaluate import evaluate, evaluate_complexes
from openmm_neuralmd.evaluation.table import Evaluation
from openmm_neuralmd.models.export import Model


@check_arguments(data=an_instance(Data, of="Data, load_data(...)"), is_one_complex=check_flag)
def evaluate_data(
    data: Data,
    models: Sequence[Model],
    *,
    is_one_complex: bool,
    split: float,
    seeds: Sequence[int],
    n_samples: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge models on data that ``load_data`` read.

    Args:
        data: Of one complex the first trajectory is judged on, others are its replicas. Of several the test part is
            taken, or all where none is marked as such.
        models, split, seeds, n_samples: As in ``evaluate``.
        is_one_complex: Whether the trajectories of one complex were read, of which models saw the training part.
        progress: As in ``evaluate_complexes``.

    Raises:
        InputError: As ``evaluate`` and ``evaluate_complexes``.
    """
    entries = data.parts.get("test") or [entry for part in data.parts.values() for entry in part]
    if is_one_complex:
        complex_, trajectories = entries[0]
        return evaluate(
            complex_, models, trajectories[0], trajectories[1:], split=split, seeds=seeds, n_samples=n_samples
        )
    return evaluate_complexes(
        entries, models, seeds=seeds, n_samples=n_samples, skipped=data.skipped, progress=progress
    )
