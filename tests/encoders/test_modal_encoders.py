"""Encoders of images, texts and sets of modalities: against plain recomputation, and what must not matter does not."""

import pytest
import timm
import torch
import torch.nn.functional as F

from tl_research.data.transforms.spec import InputSpec, TextSpec
from tl_research.encoders.fusion import hide_some
from tl_research.encoders.timm_names import names_in_source
from tl_research.encoders.vision import augment
from tl_research.errors import ConfigError, DataError
from tl_research.nn.attention import AttentionBlock
from tl_research.registry import ENCODERS

IMAGE = InputSpec(numeric=0, image=(16, 16, 3))
NGRAMS = TextSpec("tfidf", size=50, width=6)
WORDS = TextSpec("words", size=50, width=9)
ROWS = 12


def make(name, spec, seed=0, **settings):
    entry = ENCODERS.get(name)
    torch.manual_seed(seed)
    return entry.target(entry.config(**settings), spec)


def pixels(rows=ROWS, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, size, size, 3), dtype=torch.uint8, generator=generator)


def ngrams(rows=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(rows, 6, generator=generator)
    value[:, 4:] = 0
    index = torch.randint(0, 50, (rows, 6), generator=generator, dtype=torch.int32)
    return {"text_index": index * (value > 0).int(), "text_value": value}


def words(rows=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 50, (rows, 9), generator=generator, dtype=torch.int32)
    length = torch.randint(1, 10, (rows, 1), generator=generator)
    ids[torch.arange(9) >= length] = 0
    return {"text_ids": ids}


def table(rows=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "numeric": torch.randn(rows, 2, generator=generator),
        "categorical": torch.randint(0, 4, (rows, 1), generator=generator),
    }


def all_modalities(text=NGRAMS):
    return InputSpec(2, (4,), True, ("a", "b", "c"), (16, 16, 3), text, ("image", "text", "table"))


def mixed(rows=ROWS, seed=0, text=ngrams):
    number = torch.arange(rows)
    return {
        "image": pixels(rows, seed=seed),
        **text(rows, seed),
        **table(rows, seed),
        "image_present": number % 3 != 0,
        "text_present": number % 4 != 1,
        "table_present": (number % 3 == 0) | (number % 2 == 0),
    }


# At 32 pixels: on a CPU, torch 2.15 leaves the weight gradient of a bfloat16 convolution of stride 2 over a 1x1 image
# partly unwritten, which is what the last stage sees at 16.
SMALL = {"model": "test_resnet", "size": 32}
CASES = {
    "vision": ("vision", IMAGE, pixels, SMALL),
    "vision_vit": ("vision", IMAGE, pixels, {"model": "test_vit", "size": 32}),
    "text_ngrams": ("text_ngrams", InputSpec(0, text=NGRAMS, modalities=("text",)), ngrams, {"hidden": [8, 5]}),
    "text_transformer": (
        "text_transformer",
        InputSpec(0, text=WORDS, modalities=("text",)),
        words,
        {"width": 16, "heads": 2},
    ),
    "fusion": ("fusion", all_modalities(), mixed, {"width": 16, "heads": 2}),
    "fusion_words": (
        "fusion",
        all_modalities(WORDS),
        lambda rows=ROWS: mixed(rows, text=words),
        {"width": 16, "heads": 2, "text": "transformer"},
    ),
}


def make_case(case):
    name, spec, inputs, settings = CASES[case]
    if name == "fusion":
        image = ENCODERS.get("vision").config(**SMALL)
        settings = settings | {"image": image}
    return make(name, spec, **settings), inputs


@pytest.mark.parametrize("case", CASES)
def test_it_says_its_width_and_the_gradient_reaches_every_parameter(case):
    encoder, inputs = make_case(case)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    reached = set()
    for _ in range(2):  # timm starts the last norm of a residual branch at 0, behind which nothing has a gradient yet
        optimizer.zero_grad()
        features = encoder(inputs())
        assert features.shape == (ROWS, encoder.out_features)
        # Not a sum: behind a layer norm the sum of squares is constant.
        (features * torch.randn(encoder.out_features)).square().sum().backward()
        reached |= {n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    assert {name for name, _ in encoder.named_parameters()} - reached == set()


@pytest.mark.parametrize("case", CASES)
def test_rows_do_not_see_each_other_in_evaluation(case):
    encoder, inputs = make_case(case)
    encoder.eval()
    whole = inputs()
    one = {k: v[3:5] for k, v in whole.items()} if isinstance(whole, dict) else whole[3:5]
    torch.testing.assert_close(encoder(whole)[3:5], encoder(one), atol=1e-5, rtol=1e-4)
    assert torch.equal(encoder(whole), encoder(whole))


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_is_in_exactly_one_block(case):
    encoder, _ = make_case(case)
    blocks = encoder.blocks()
    assert len(set(blocks)) == len(blocks) >= 2
    assert set(encoder.block_of()) == {name for name, _ in encoder.named_parameters()}
    assert set(encoder.block_of().values()) == set(blocks)
    for name in dict(encoder.named_parameters()):
        assert sum(name == block or name.startswith(f"{block}.") for block in blocks) <= 1


@pytest.mark.parametrize("case", CASES)
def test_finite_under_bfloat16_autocast_and_in_double(case):
    encoder, inputs = make_case(case)
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(inputs())
    assert torch.isfinite(features).all()
    features.float().square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in encoder.parameters())
    double = {"numeric": inputs()["numeric"].double()} if "fusion" in case else {}
    given = inputs() | double if isinstance(inputs(), dict) else inputs()
    assert encoder.double()(given).dtype == torch.float64


@pytest.mark.parametrize("case", CASES)
def test_training_is_repeatable_from_the_generator_state(case):
    encoder, inputs = make_case(case)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = encoder(inputs())
    torch.set_rng_state(state)
    assert torch.equal(one, encoder(inputs()))


# Vision


def test_images_are_normalised_by_the_networks_own_numbers():
    encoder = make("vision", IMAGE, model="test_resnet").eval()
    mean, std = (torch.tensor(encoder.model.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    images = pixels()
    x = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    torch.testing.assert_close(encoder(images), encoder.model(x))
    bigger = make("vision", IMAGE, model="test_resnet", size=24).eval()
    resized = F.interpolate(x, (24, 24), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(bigger(images), bigger.model(resized))


def test_weights_of_a_file_are_all_loaded_and_their_size_is_the_networks_own(tmp_path):
    torch.manual_seed(3)
    donor = timm.create_model("test_resnet", num_classes=7)
    path = tmp_path / "weights.pth"
    torch.save(donor.state_dict(), path)
    encoder = make("vision", IMAGE, model="test_resnet", weights=str(path))
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, donor.state_dict()[name]), name
    assert encoder.size == donor.pretrained_cfg["input_size"][-1]
    other = tmp_path / "other.pth"
    torch.save(timm.create_model("test_vit").state_dict(), other)
    with pytest.raises(DataError, match="has no 'conv1"):
        make("vision", IMAGE, model="test_resnet", weights=str(other))
    other.write_bytes(b"not weights")
    with pytest.raises(DataError, match="no file of weights"):
        make("vision", IMAGE, model="test_resnet", weights=str(other))
    with pytest.raises(ConfigError, match=r"encoder\.weights: .*no such file"):
        make("vision", IMAGE, model="test_resnet", weights=str(tmp_path / "absent.pth"))


def test_a_small_stem_keeps_the_resolution():
    encoder = make("vision", IMAGE, model="resnet18", small_stem=True)
    encoder.model.forward_features(torch.zeros(2, 3, 16, 16))
    shapes = []
    encoder.model.layer1.register_forward_hook(lambda *given: shapes.append(given[2].shape[-2:]))
    encoder(pixels())
    assert shapes == [(16, 16)]
    with pytest.raises(ConfigError, match=r"encoder\.small_stem"):
        ENCODERS.get("vision").config(model="test_vit", small_stem=True)


def test_drop_path_and_checkpointing_reach_the_network():
    dropped = make("vision", IMAGE, model="test_vit", size=32, drop_path=0.9)
    x = pixels()
    assert not torch.equal(dropped(x), dropped(x))
    plain, saved = make("vision", IMAGE, **SMALL), make("vision", IMAGE, grad_checkpointing=True, **SMALL)
    assert saved.model.grad_checkpointing
    for encoder in (plain, saved):
        encoder.train()
        encoder(x).square().sum().backward()
    for (name, one), two in zip(plain.named_parameters(), saved.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)


def test_an_unknown_network_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"encoder\.model.*did you mean 'resnet18'"):
        ENCODERS.get("vision").config(model="resnt18")
    with pytest.raises(ConfigError, match="takes images"):
        make("vision", InputSpec(numeric=4))


def test_augmentation_by_a_plain_loop():
    images = pixels(6)
    torch.manual_seed(2)
    out = augment(images, crop=3, flip=True)
    torch.manual_seed(2)
    shift = torch.randint(-3, 4, (2, 6, 1))
    mirrored = torch.rand(6, 1) < 0.5
    assert mirrored.any()
    assert not mirrored.all()
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (3, 3, 3, 3), mode="replicate").byte().permute(0, 2, 3, 1)
    for i in range(6):
        top, left = 3 + int(shift[0, i]), 3 + int(shift[1, i])
        image = padded[i]
        if mirrored[i]:
            # a mirror of the shifted image: columns are read from right to left after the shift
            image = image[top : top + 16, left : left + 16].flip(1)
        else:
            image = image[top : top + 16, left : left + 16]
        assert torch.equal(out[i], image), i
    assert torch.equal(augment(images, crop=0, flip=False), images)


def test_augmentation_acts_in_training_only():
    encoder = make("vision", IMAGE, crop=2, flip=True, **SMALL)
    seen = []
    encoder.model.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    x = pixels()
    encoder(x)
    encoder(x)
    encoder.eval()
    encoder(x)
    encoder(x)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])


# Text


def test_ngrams_are_a_linear_layer_of_the_dense_row():
    encoder = make("text_ngrams", CASES["text_ngrams"][1], hidden=[8])
    inputs = ngrams()
    dense = torch.zeros(ROWS, 50)
    for row in range(ROWS):
        for index, value in zip(inputs["text_index"][row], inputs["text_value"][row], strict=True):
            dense[row, index] += value
    expected = torch.relu(dense @ encoder.first.embedding.weight + encoder.first.bias)
    torch.testing.assert_close(encoder(inputs), expected)


def test_padding_is_nothing_to_a_transformer():
    encoder = make("text_transformer", CASES["text_transformer"][1], width=16, heads=2).eval()
    inputs = words()
    features = encoder(inputs)
    longer = torch.cat([inputs["text_ids"], torch.zeros(ROWS, 3, dtype=torch.int32)], dim=1)
    encoder.tokens.places = torch.nn.Parameter(torch.cat([encoder.tokens.places, torch.randn(3, 16)]))
    torch.testing.assert_close(encoder({"text_ids": longer}), features)
    empty = encoder({"text_ids": torch.zeros(2, 9, dtype=torch.int32)})
    assert torch.isfinite(empty).all()
    assert torch.equal(empty[0], empty[1])
    swapped = inputs["text_ids"].clone()
    swapped[:, [0, 1]] = swapped[:, [1, 0]]
    assert not torch.allclose(encoder({"text_ids": swapped}), features), "the order of words must matter"


def test_attention_by_a_plain_loop():
    torch.manual_seed(0)
    block = AttentionBlock(8, 2).double()
    x, present = torch.randn(3, 4, 8, dtype=torch.double), torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]]) > 0
    normed = block.norm1(x)
    query, key, value = block.query_key_value(normed).chunk(3, dim=-1)
    mixed = torch.zeros_like(x)
    for row in range(3):
        there = present[row]
        for head in (slice(0, 4), slice(4, 8)):
            score = query[row, :, head] @ key[row, there][:, head].T / 2
            mixed[row, :, head] = score.softmax(-1) @ value[row, there][:, head]
    y = x + block.out(mixed)
    torch.testing.assert_close(block(x, present), y + block.mlp(block.norm2(y)))


# Fusion


@pytest.mark.parametrize("training", [False, True])
def test_the_content_of_a_missing_modality_has_no_influence(training):
    encoder, _ = make_case("fusion")
    encoder.train(training)
    one, two = mixed(), mixed()
    other = mixed(seed=9)
    for name, keys in {"image": ["image"], "text": ["text_index", "text_value"], "table": ["numeric"]}.items():
        missing = ~one[f"{name}_present"]
        assert missing.any()
        for key in keys:
            two[key] = two[key].clone()
            two[key][missing] = other[key][missing]
            assert not torch.equal(one[key], two[key])
    two["numeric"][~one["table_present"]] = float("nan")
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    results = []
    for inputs in (one, two):
        encoder.load_state_dict(state)
        encoder.zero_grad()
        torch.manual_seed(0)
        features = encoder(inputs)
        (features * torch.arange(16.0)).sum().backward()
        gradients = [p.grad.clone() for p in encoder.parameters()]
        buffers = [b.clone() for b in encoder.buffers()]
        results.append([features.detach(), *gradients, *buffers])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_content_of_a_present_modality_has():
    encoder, _ = make_case("fusion")
    encoder.eval()
    base, other = mixed(), mixed(seed=9)
    for name, key in (("image", "image"), ("text", "text_value"), ("table", "numeric")):
        changed = encoder(base | {key: other[key]})
        differs = (changed != encoder(base)).any(1)
        assert torch.equal(differs, base[f"{name}_present"])


def test_a_missing_modality_is_no_member_of_the_set():
    encoder, _ = make_case("fusion")
    encoder.eval()
    inputs = mixed()
    before = encoder(inputs)
    for i, name in enumerate(("image", "text", "table")):
        with torch.no_grad():
            encoder.marks[i] += 1.0
        differs = (encoder(inputs) != before).any(1)
        assert torch.equal(differs, inputs[f"{name}_present"])
        with torch.no_grad():
            encoder.marks[i] -= 1.0
        before = encoder(inputs)


@pytest.mark.parametrize("left", ["image", "text", "table"])
@pytest.mark.parametrize("training", [False, True])
def test_one_modality_alone_and_one_row_alone(left, training):
    encoder, _ = make_case("fusion")
    encoder.train(training)
    inputs = mixed()
    for name in ("image", "text", "table"):
        inputs[f"{name}_present"] = torch.full((ROWS,), name == left)
    inputs["table_present"][0] = True
    inputs["image_present"][0] = True
    features = encoder(inputs)
    assert torch.isfinite(features).all()
    features.sum().backward()


def test_modality_dropout_hides_its_share_and_never_all():
    torch.manual_seed(0)
    present = torch.rand(20_000, 3) < 0.7
    present[:, 0] |= ~present.any(1)
    kept = hide_some(present, 0.4)
    assert kept.any(1).all()
    assert not (kept & ~present).any()
    three = present.all(1)
    # of rows with three, all are hidden with probability .4^3, and then all are kept
    expected = 0.6 + 0.4**3
    assert abs(kept[three].float().mean() - expected) < 0.01
    alone = present.sum(1) == 1
    assert torch.equal(kept[alone], present[alone])


def test_fusion_wants_two_modalities():
    with pytest.raises(ConfigError, match=r"named columns or images or texts .2 of them at least.*rows are texts; use"):
        make("fusion", InputSpec(0, text=NGRAMS, modalities=("text",)))


@pytest.mark.parametrize(
    ("name", "spec", "match"),
    [
        ("mlp", IMAGE, "'vision'"),
        ("tabular", IMAGE, "'vision'"),
        ("linear", InputSpec(0, text=NGRAMS, modalities=("text",)), "'text_ngrams'"),
        ("tabular", InputSpec(0, text=NGRAMS, modalities=("text",)), "'text_ngrams'"),
        ("mlp", all_modalities(), "'fusion'"),
        ("text_ngrams", InputSpec(0, text=WORDS, modalities=("text",)), "got 'words'"),
        ("text_transformer", InputSpec(0, text=NGRAMS, modalities=("text",)), "got 'tfidf'"),
        ("text_ngrams", InputSpec(4), "takes texts"),
        ("identity", InputSpec(0, text=WORDS, modalities=("text",)), "no matrix"),
    ],
)
def test_rows_of_another_kind_are_refused_by_name(name, spec, match):
    with pytest.raises(ConfigError, match=match):
        make(name, spec)


def test_names_of_networks_are_those_that_timm_lists():
    assert names_in_source() == set(timm.list_models())
