"""Every group of hooks has its representative, and what is changed or comes from outside is never left out."""

from __future__ import annotations

import subprocess

import pytest

from tests.contracts import chosen as choice
from tests.contracts.problem import is_closed_form
from tl_research.registry import METHODS


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    monkeypatch.delenv(choice.ALL_METHODS, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    choice.changed.cache_clear()
    choice.changed_files.cache_clear()


def test_methods_of_one_group_override_the_same_hooks():
    base, hooks = choice.hooks_of("dann")
    assert (base.__name__, hooks) == ("AdaptationModule", {"build", "terms"})
    assert choice.hooks_of("iwan") == (base, hooks)
    assert choice.hooks_of("fine_tune") == (choice.hooks_of("bss")[0], frozenset())
    assert "weighting" in choice.hooks_of("kliep")[1] - choice.hooks_of("source_only")[1]


def test_every_group_has_one_representative_and_few_are_needed():
    groups = {choice.hooks_of(name) for name in METHODS.names()}
    assert {choice.hooks_of(name) for name in choice.representatives()} == groups
    assert len(choice.representatives()) == len(groups) < 0.6 * len(METHODS.names())


def test_the_index_of_hooks_has_every_hook_that_a_trained_method_overrides():
    index = (choice.ROOT / "CONTRIBUTING.md").read_text()
    trained = [name for name in METHODS.names() if not is_closed_form(name)]
    hooks = set.union(*(set(choice.hooks_of(name)[1]) for name in trained)) - {"weighting"}
    assert len(hooks) > 10
    assert not [hook for hook in hooks if f"`{hook}" not in index]


def test_a_changed_file_is_chosen(monkeypatch):
    monkeypatch.setattr(choice, "_git", lambda *words: "tl_research/methods/instance/iwan.py\n")
    assert "iwan" in choice.chosen(METHODS.names())
    forget()
    monkeypatch.setattr(choice, "_git", lambda *words: "")
    assert choice.chosen(METHODS.names()) == [name for name in METHODS.names() if name in choice.representatives()]


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(128, "git")])
def test_without_git_all_are_chosen(monkeypatch, error):
    def no_git(*words):
        raise error

    monkeypatch.setattr(choice, "_git", no_git)
    assert choice.chosen(METHODS.names()) == METHODS.names()


def test_a_long_proof_is_of_the_first_method_and_of_what_has_changed(monkeypatch):
    names = ["mcc", "bnm", "cbst"]

    def proven(*files: str) -> list[str]:
        forget()
        monkeypatch.setattr(choice, "_git", lambda *words: "".join(f"{file}\n" for file in files))
        return choice.proofs(names)

    assert proven() == ["mcc"]
    assert proven("README.md", "tests/conftest.py") == ["mcc"]
    assert proven("tl_research/methods/self_training/cbst.py") == ["mcc", "cbst"]
    assert proven("tl_research/methods/base.py") == names
    monkeypatch.setenv(choice.ALL_METHODS, "1")
    assert proven() == names


def test_all_are_chosen_where_all_are_asked_for(monkeypatch):
    monkeypatch.setenv(choice.ALL_METHODS, "1")
    assert choice.chosen(["iwan", "kmm"]) == ["iwan", "kmm"]
