"""Mean teacher: consistency with an average of the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_research.config import at_least, share
from tl_research.data.batch import Inputs
from tl_research.losses.consistency import squared_gap
from tl_research.losses.pseudo_labels import confident
from tl_research.losses.ramps import sigmoid_ramp
from tl_research.methods.base import Step
from tl_research.methods.views import ViewsConfig, ViewsModule
from tl_research.nn.frozen import FrozenCopy, values_of
from tl_research.parallel.ranks import gather_rows
from tl_research.registry import register_method


@dataclass
class MeanTeacherConfig(ViewsConfig):
    """Options of `mean_teacher`: the weight of the consistency and its ramp, the average, the views."""

    name: str = "mean_teacher"
    weight: float = at_least(0, default=3.0)
    ramp: float = share(default=0.3)  # share of the training in which the weight grows
    decay: float = share(one=False, default=0.99)  # of the average
    threshold: float = share(default=0.0)  # probability of the teacher's from which on a row counts; 0: all rows


@register_method(
    "mean_teacher",
    config=MeanTeacherConfig,
    family="self_training",
    settings=("unsupervised", "few_shot"),
    paper="Tarvainen & Valpola 2017, NeurIPS, section 2; weight and threshold: French et al. 2018, ICLR, section 3",
    no_null="the gap of two views does not compare the domains",
    no_gain="held against source_only on two moons (tests/methods/test_self_training.py)",
    targets=("class",),
)
class MeanTeacher(ViewsModule):
    """CE(source) + weight(t) * mean squared gap of the student's p on a strong view and the teacher's q on a weak one.

    The teacher is the exponential average of the student's weights: with n steps behind it, it keeps
    min(decay, 1 - 1 / n) of itself. Running statistics are averaged too. The teacher predicts. French et al. give the
    source's loss and the target's equal views; here the source's rows are not changed. `train/taken` in the history is
    the share of the target rows that count.

    The defaults do not gain 5 points on two moons: docs/self_training.md has the options that do, and why.
    """

    def build(self) -> None:
        self.teacher = FrozenCopy(self._model())
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @classmethod
    def needs_whole_weights(cls) -> str | None:
        return "averages the weights"

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super().forward(inputs) if self.training else self._taught(inputs)

    def terms(self, step: Step) -> dict[str, Tensor]:
        config, student = self.config, step.view("target", self.strong(step, "target"))
        with torch.no_grad():
            _, logits = self._taught(self.weak(step, "target")(step.batch.target.inputs))
            wanted = gather_rows(logits).to(student.logits.dtype).softmax(dim=1)
        _, taken = confident(wanted, config.threshold)
        step.report(taken=taken.float().mean())
        gap = squared_gap(student.logits.softmax(dim=1), wanted, taken)
        return {"consistency": config.weight * sigmoid_ramp(step.progress, config.ramp) * gap}

    def after_step(self, step: Step) -> None:
        self.steps += 1
        keep = (1 - 1 / self.steps).clamp_max(self.config.decay)
        own = self.teacher.values()
        for name, value in values_of(self._model()).items():
            if value.is_floating_point():
                own[name].lerp_(value, (1 - keep).to(value.dtype))
            else:
                own[name].copy_(value)

    def _taught(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features = self.teacher.module["encoder"](inputs)
        return features, self.teacher.module["head"](features)

    def _model(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "head": self.head})
