"""Any image network of timm over uint8 images: normalisation and augmentation on the images' device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tl_research.config import EncoderConfig, at_least, check, check_choice, share
from tl_research.data.batch import Inputs
from tl_research.data.transforms.spec import InputSpec
from tl_research.encoders.base import Encoder
from tl_research.encoders.timm_names import names_in_source
from tl_research.errors import ConfigError, DataError, nearest
from tl_research.nn.blocks import child_blocks
from tl_research.registry import register_encoder

HUB = "hub"


@dataclass
class VisionConfig(EncoderConfig):
    """Options of `vision`: the timm network, its weights, and the size and augmentation of the images."""

    name: str = "vision"
    model: str = "resnet18"  # any name of timm.list_models()
    weights: str | None = None  # None: random; hub: pre-trained, downloaded by timm; else a file of timm weights
    # Side in pixels that the network sees; None: its own if pre-trained, else the images'.
    size: int | None = at_least(1, default=None)
    small_stem: bool = False  # ResNets on small images: a 3x3 stem of stride 1 and no pooling (He et al. 2016, 4.2)
    drop_path: float = share(one=False, default=0.0)
    grad_checkpointing: bool = False
    crop: int = at_least(0, default=0)  # training: shift by up to this many pixels, the edge repeated
    flip: bool = False  # training: mirror half of the images

    def __post_init__(self):
        super().__post_init__()
        name = self.model.split(".")[0]
        if name not in names_in_source():
            import timm  # here and below: it takes seconds to import, and few runs have images

            check_choice("encoder.model", name, timm.list_models())
        small = not self.small_stem or self.model.startswith("resnet")
        check(small, "encoder.small_stem", self.small_stem, f"false for {self.model}: only ResNets have such a stem")
        both = not self.small_stem or self.weights is None
        check(both, "encoder.small_stem", self.small_stem, "false with encoder.weights: they are of the usual stem")


@register_encoder("vision", config=VisionConfig, paper="Wightman 2019, PyTorch Image Models (timm)")
class Vision(Encoder):
    """A timm network without its classifier over uint8 images, normalised by its own mean and deviation.

    The images stay bytes until they are on the network's device. In training they are shifted and mirrored there
    (`crop`, `flip`) by draws from torch's generator, so that a run is repeatable and can be resumed.
    """

    takes = ("image",)

    def __init__(self, config: VisionConfig, spec: InputSpec):
        super().__init__(config, spec)
        import timm

        height, width, channels = spec.image
        own = timm.get_pretrained_cfg(config.model)
        own_size = own.input_size[-1] if own is not None else max(height, width)
        self.size = config.size or (own_size if config.weights else max(height, width))
        self.model = _make(config, channels, self.size)
        self.out_features = getattr(self.model, "head_hidden_size", self.model.num_features)
        cfg = self.model.pretrained_cfg
        for name, default in (("mean", (0.5,) * 3), ("std", (0.5,) * 3)):
            values = torch.tensor(cfg.get(name) or default, dtype=torch.float32)
            values = values if len(values) == channels else values.mean().expand(channels).clone()
            self.register_buffer(name, values[:, None, None] * 255, persistent=False)

    @classmethod
    def is_trained(cls, config: VisionConfig) -> bool:
        return config.weights is not None

    def forward(self, inputs: Inputs) -> Tensor:
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        if self.training and (self.config.crop or self.config.flip):
            images = augment(images, crop=self.config.crop, flip=self.config.flip)
        # A view, which leaves the channels last in memory: convolutions are fastest on that layout.
        x = rearrange(images, "n height width channel -> n channel height width").to(self.mean.dtype)
        x = (x - self.mean) / self.std
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return self.model(x)

    def blocks(self) -> list[str]:
        """Stem, stages and what follows them, from input to output."""
        return child_blocks(self.model, "model", open_up=("blocks", "stages", "layers"))


def augment(images: Tensor, *, crop: int, flip: bool) -> Tensor:
    """Shift and mirror each image on its own device.

    Args:
        images: (n, height, width, channels) of any type.
        crop: largest shift in pixels, in both directions; the edge is repeated into what becomes free.
        flip: mirror each image left to right with probability 1/2.

    Returns:
        (n, height, width, channels), same type; the draws are from torch's generator of the device.
    """
    n, height, width, _ = images.shape
    rows, columns = (torch.arange(size, device=images.device).expand(n, size) for size in (height, width))
    if crop:
        shift = torch.randint(-crop, crop + 1, (2, n, 1), device=images.device)
        rows, columns = (rows + shift[0]).clamp(0, height - 1), (columns + shift[1]).clamp(0, width - 1)
    if flip:
        mirrored = torch.rand(n, 1, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    # One gather of whole pixels: each index is the place of a pixel in the batch laid out flat.
    first = torch.arange(n, device=images.device)[:, None, None] * (height * width)
    place = first + rows[:, :, None] * width + columns[:, None, :]
    pixels = rearrange(images, "n height width channel -> (n height width) channel")
    return pixels.index_select(0, place.flatten()).view_as(images)


def _make(config: VisionConfig, channels: int, size: int) -> nn.Module:
    import timm

    options = {"num_classes": 0, "in_chans": channels}
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    cfg = timm.get_pretrained_cfg(config.model)
    if cfg is not None and cfg.fixed_input_size:
        options["img_size"] = size
    try:
        model = timm.create_model(config.model, pretrained=config.weights == HUB, **options)
    except (RuntimeError, OSError, ValueError, TypeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"encoder.model: timm cannot make {config.model!r} with {options} ({reason})") from None
    if config.small_stem:
        stem = model.conv1
        if not isinstance(stem, nn.Conv2d):
            raise ConfigError(f"encoder.small_stem: the stem of {config.model!r} is not one convolution")
        model.conv1 = nn.Conv2d(channels, stem.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    if config.weights not in (None, HUB):
        _load(model, Path(config.weights).expanduser())
    if config.grad_checkpointing:
        model.set_grad_checkpointing(True)
    return model


def _load(model: nn.Module, path: Path) -> None:
    """Load the weights of a file. A file that does not fit the whole network is refused."""
    import timm.models

    if not path.is_file():
        raise ConfigError(f"encoder.weights: {path}: there is no such file (or write hub)")
    try:
        given = timm.models.load_state_dict(str(path), device="cpu")
    except Exception as error:
        raise DataError(f"{path}: no file of weights ({type(error).__name__})") from error
    classifier = model.pretrained_cfg.get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    given = {key: value for key, value in given.items() if not key.startswith(tuple(f"{name}." for name in names))}
    wanted = model.state_dict()
    for key, value in wanted.items():
        if key not in given:
            raise DataError(f"{path}: has no {key!r}, which the network has{nearest(key, given).split(' (known')[0]}")
        if given[key].shape != value.shape:
            shapes = f"{tuple(given[key].shape)}, the network's {tuple(value.shape)}"
            raise DataError(f"{path}: {key!r} has shape {shapes}; is encoder.size that of the weights?")
    extra = [key for key in given if key not in wanted]
    if extra:
        raise DataError(f"{path}: has {extra[0]!r}, which the network has not; are they weights of this model?")
    model.load_state_dict(given)
