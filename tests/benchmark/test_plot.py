import matplotlib.image
import numpy as np
import pytest

from tests.benchmark.fake import filled, suite
from tl_research.report.collect import collect
from tl_research.report.plot import STYLES, plot_differences


def verdicts(path):
    """Verdicts whose colour is in the picture; the grey of the undecided is that of smoothed letters too."""
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    found = set(map(tuple, np.unique(pixels, axis=0)))
    return {verdict for verdict, (code, _) in STYLES.items() if verdict
            if tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) in found}  # fmt: skip


@pytest.mark.parametrize(("effect", "verdict"), [(-0.1, "hurts"), (0.1, "helps")])
def test_a_row_has_the_colour_of_its_verdict(tmp_path, effect, verdict):
    fake = suite()
    plot_differences(collect(filled(fake, {"dann": effect}), fake), fake, tmp_path / "p.png")
    assert verdicts(tmp_path / "p.png") == {verdict}


@pytest.mark.parametrize("kept", [(), ("source_only",), ("dann",)])
def test_with_nothing_to_compare_it_still_draws(tmp_path, kept):
    fake = suite()
    records = [record for record in filled(fake) if record.method in kept]
    plot_differences(collect(records, fake), fake, tmp_path / "new" / "p.png")
    assert verdicts(tmp_path / "new" / "p.png") == set()


def test_one_seed_claims_nothing(tmp_path):
    fake = suite(seeds=(0,))
    plot_differences(collect(filled(fake, {"dann": -0.1}), fake), fake, tmp_path / "p.png")
    assert verdicts(tmp_path / "p.png") == set()


def test_the_same_numbers_give_the_same_file(tmp_path):
    fake = suite()
    for name in ("a.png", "b.png"):
        plot_differences(collect(filled(fake), fake), fake, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
