"""What the data module of interactions says of the rows it holds out."""

import pytest

from tl_research.config import compose
from tl_research.interactions.module import InteractionModule


@pytest.mark.parametrize("cold", [False, True])
def test_a_remark_says_that_no_test_user_is_known_to_the_target(cold):
    data = {"name": "simulated_shops", "sources": ["old"], "target": "new", "n_users": 60, "n_items": 40, "cold": cold}
    module = InteractionModule(compose({"data": data, "method": "popularity"}).data, seed=0)
    module.setup()
    said = [line for line in module.facts.get("remarks", []) if "none of the" in line]
    assert bool(said) is cold
    assert not cold or said[0].startswith("new: none of the ")
