"""A committed configuration keeps its run id: records of it stay current, and a changed default is seen."""

import pytest

from tests.run_ids import committed, ids_of_recipe, ids_of_suite, recipes, suites

REMEDY = "python -m tests.run_ids writes the table again, where a default was changed on purpose"


@pytest.fixture(scope="module")
def known():
    return committed()


def test_recipes_keep_their_run_ids(known):
    found = {key: value for path in recipes() for key, value in ids_of_recipe(path).items()}
    assert found == {key: value for key, value in known.items() if key.startswith("configs/")}, REMEDY


@pytest.mark.parametrize("path", suites(), ids=lambda path: path.stem)
def test_runs_of_a_suite_keep_their_run_ids(path, known):
    prefix = f"benchmarks/suites/{path.name} "
    assert ids_of_suite(path) == {key: value for key, value in known.items() if key.startswith(prefix)}, REMEDY
