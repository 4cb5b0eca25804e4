"""Modalities side by side: each part against its own recomputation."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from tests.data.test_modalities import images, texts
from tl_research.data.modalities import Modalities, TextConfig
from tl_research.data.transforms.make import make_transform
from tl_research.encoders.side_by_side import SideBySide, SideBySideConfig
from tl_research.encoders.vision import Vision, VisionConfig

ROWS = 40


def rows(size=16):
    present = np.arange(ROWS) % 3 != 0
    table = pd.DataFrame({"age": np.arange(ROWS) * 1.0, "city": ["a", "b"] * (ROWS // 2)})
    config = TextConfig(form="lsa", columns=4)
    return Modalities(images(ROWS, size), present, texts(ROWS), table, config)


def test_a_row_is_its_table_its_text_and_the_mean_colours_of_its_fields():
    raw = rows()
    transform = make_transform([raw], "standard")
    encoder = SideBySide(SideBySideConfig(), transform.spec)
    made = transform.transform(raw)
    features = encoder(made)
    assert features.shape == (ROWS, encoder.out_features) == (ROWS, 1 + 2 + 4 + 8 * 8 * 3)
    torch.testing.assert_close(features[:, 0], made["numeric"][:, 0])
    torch.testing.assert_close(features[:, 3:7], made["text_dense"])
    pixels = raw.image.astype(float) / 255
    for row in (1, 5):
        fields = [
            pixels[row, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, channel].mean()
            for channel in range(3)
            for i in range(8)
            for j in range(8)
        ]
        np.testing.assert_allclose(features[row, 7:].numpy(), fields, rtol=1e-5)
    assert (features[::3, 7:] == 0).all()


def test_images_alone_and_small_ones():
    transform = make_transform([images(ROWS, 8)], "none")
    features = SideBySide(SideBySideConfig(), transform.spec)(transform.transform(images(ROWS, 8)))
    np.testing.assert_allclose(
        features.numpy(), images(ROWS, 8).transpose(0, 3, 1, 2).reshape(ROWS, -1) / 255, rtol=1e-6
    )


def test_a_network_reads_the_images_by_its_weights_and_is_never_trained(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0, in_chans=3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    image = VisionConfig(model="test_resnet", weights=str(tmp_path / "weights.pt"), size=32)
    raw = rows(32)
    transform = make_transform([raw], "standard")
    made = transform.transform(raw)
    encoder = SideBySide(SideBySideConfig(image=image), transform.spec).train()
    alone = Vision(image, transform.spec).eval()
    seen = torch.from_numpy(raw.image_present)
    torch.testing.assert_close(encoder(made)[seen, 7:], alone(made)[seen].detach())
    assert (encoder(made)[~seen, 7:] == 0).all()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("names", [("text",), ("table",), ("text", "table"), ("image", "text")])
def test_any_of_the_modalities_may_be_absent(names):
    raw = rows().select(names)
    transform = make_transform([raw], "standard")
    encoder = SideBySide(SideBySideConfig(), transform.spec)
    assert encoder(transform.transform(raw)).shape == (ROWS, encoder.out_features)
