"""Recipes and suites of the package are found by name from any folder; a file of the user's own comes first."""

from pathlib import Path

import pytest

from tl_research.config import compose, run_id
from tl_research.errors import ConfigError
from tl_research.storage.shipped import RECIPES, SUITES, find, name_of
from tl_research.suites.suite import load_suite


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("word", ["digits/dann", "digits/dann.yaml", "configs/digits/dann.yaml"])
def test_a_recipe_is_found_by_its_name_or_its_path_in_a_checkout(word):
    assert find(word, RECIPES).parts[-3:] == ("configs", "digits", "dann.yaml")
    assert compose(word).method.name == "dann"


@pytest.mark.parametrize("word", ["demo", "demo.yaml", "benchmarks/suites/demo.yaml"])
def test_a_suite_is_found_by_its_name_or_its_path_in_a_checkout(word):
    assert load_suite(word).name == "demo"
    assert name_of(load_suite(word).path, SUITES) == "demo"


def test_a_file_of_the_users_comes_first(tmp_path):
    own = tmp_path / "digits" / "dann"
    own.parent.mkdir()
    own.write_text("method: dan\n")
    assert find("digits/dann", RECIPES) == Path("digits/dann")
    assert compose("digits/dann").method.name == "dan"
    assert name_of(own, RECIPES) is None


def test_a_recipe_of_ones_own_may_extend_nothing_but_its_neighbours(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: digits/base\nmethod: dann\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: extends: digits/base\.yaml: there is no such recipe file"):
        compose("mine.yaml")


def test_names_are_of_one_kind():
    with pytest.raises(ConfigError, match="demo: there is no such recipe file"):
        compose("demo")
    with pytest.raises(ConfigError, match=r"digits/dann: there is no such suite file; by name there are .*demo"):
        load_suite("digits/dann")


def test_the_name_gives_the_run_of_the_file():
    assert run_id(compose("digits/dann")) == run_id(compose(find("digits/dann", RECIPES)))
