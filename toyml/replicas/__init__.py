"""R independent trainings as one tensor program, with a leading replica axis."""

from toyml.replicas.initial import seeded_parameters
from toyml.replicas.stack import Replicated
from toyml.replicas.training import Outcome, Training, train_replicas

__all__ = ["Outcome", "Replicated", "Training", "seeded_parameters", "train_replicas"]
