"""Fine-tuning with a term that compares the model with the source model."""

from __future__ import annotations

import torch

from tl_research.methods.base import Encoded, Step
from tl_research.methods.staged import ParameterMethod
from tl_research.nn.frozen import FrozenCopy


class TeacherMethod(ParameterMethod):
    """Keeps a frozen copy of the source's encoder and head, the teacher of the target stage."""

    def make_target_parts(self) -> None:
        # Before `super()` may make a new head: the teacher's is the source's.
        self.teacher_encoder, self.teacher_head = FrozenCopy(self.encoder), FrozenCopy(self.head)
        super().make_target_parts()

    @torch.no_grad()
    def taught(self, step: Step) -> Encoded:
        """Return what the teacher makes of this rank's labelled target rows."""
        rows = step.batch.target_labeled
        features = self.teacher_encoder(rows.inputs)
        return Encoded(features, self.teacher_head(features), *rows[1:])
