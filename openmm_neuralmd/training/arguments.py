"""What the functions that train models take: a checker for each argument, by its name."""

import torch

from openmm_neuralmd.checks import (
    Check,
    a_choice,
    a_mapping,
    a_number,
    a_sequence,
    an_instance,
    check_callable,
    check_flag,
    check_path,
    optional,
)
from openmm_neuralmd.data.arguments import check_entry
from openmm_neuralmd.models.registry import list_kinds
from openmm_neuralmd.training.labels import ForceFieldLabels
from openmm_neuralmd.training.loop import TrainingSettings

TRAINING_ARGUMENTS: dict[str, Check] = {
    "entries": a_sequence(check_entry, of="entries", least=1),
    "out": check_path,
    "kind": lambda name, kind: a_choice(list_kinds())(name, kind),
    "snapshot_interval": a_number(above=0.0),
    "held_out": a_sequence(check_entry, of="entries"),
    "skipped": optional(a_mapping(of="reasons")),
    "split": a_number(above=0.0, most=1.0),
    "config": optional(a_mapping(of="arguments of the network")),
    "settings": an_instance(TrainingSettings, of="TrainingSettings(...)"),
    "device": an_instance(torch.device, of="a torch.device"),
    "labels": a_sequence(an_instance(ForceFieldLabels, of="ForceFieldLabels"), of="labels"),
    "resume": check_flag,
    "report": optional(check_callable),
}
"""Of ``train_model``."""
