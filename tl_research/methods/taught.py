"""Fine-tuning with a term that the source model has a say in."""

from __future__ import annotations

import torch

from tl_research.data.batch import PairedBatch
from tl_research.methods.base import Encoded
from tl_research.methods.staged import ParameterMethod
from tl_research.nn.frozen import FrozenCopy


class TeacherMethod(ParameterMethod):
    """Keeps a frozen copy of the source's encoder and head, the teacher of the target stage."""

    def make_target_parts(self) -> None:
        # Before `super()` may make a new head: the teacher's is the source's.
        self.teacher_encoder, self.teacher_head = FrozenCopy(self.encoder), FrozenCopy(self.head)
        super().make_target_parts()

    @torch.no_grad()
    def taught(self, batch: PairedBatch) -> Encoded:
        """What the teacher makes of the labelled target rows of a batch."""
        rows = batch.target_labeled
        features = self.teacher_encoder(rows.inputs)
        return Encoded(features, self.teacher_head(features), *rows[1:])
