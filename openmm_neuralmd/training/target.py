"""What a training writes, checked before anything is read or computed."""

from pathlib import Path

from openmm_neuralmd.checks import check_arguments, check_flag, check_path
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_plain_file, check_writable


@check_arguments(out=check_path, resume=check_flag, overwrite=check_flag)
def check_target(out: str | Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Check that a model file may be written.

    Args:
        out: The file; losses and checkpoint go to the folder ``<out without suffix>.training``.
        resume: A training that was begun there will be continued.
        overwrite: What is there will be replaced.

    Raises:
        InputError: If a model or a training is there and neither is said, or nothing can be written there.
    """
    out = Path(out)
    check_plain_file(out, "`out`")
    if out.exists() and not (overwrite or resume):
        raise InputError(
            f"{out} exists; give `overwrite=True` to replace it, `resume=True` to continue, or another `out`"
        )
    if resume and overwrite:
        raise InputError("`resume=True` and `overwrite=True` exclude each other: one goes on, the other starts again")
    checkpoint = out.with_suffix(".training") / "checkpoint.pt"
    if checkpoint.exists() and not (overwrite or resume):
        raise InputError(
            f"{checkpoint} is of a training that was begun; give `resume=True` to continue it, `overwrite=True` to "
            "start again, or another `out`"
        )
    check_writable(out.parent)
