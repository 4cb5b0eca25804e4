"""A method whose hook is almost called by its name is refused where it is defined, also in a plug-in."""

from pathlib import Path

import pytest

from tl_research.cli import main
from tl_research.methods.base import AdaptationModule
from tl_research.methods.hooks import HOOKS, refuse_misspelt_hooks
from tl_research.methods.staged import ParameterMethod
from tl_research.registry import METHODS

MISSPELT = {"term": "terms", "after_steps": "after_step", "objective": "objectives", "source_weight": "source_weights"}


@pytest.mark.parametrize(("name", "hook"), MISSPELT.items())
def test_a_misspelt_hook_is_refused(name, hook):
    with pytest.raises(ValueError, match=rf"^Mine\.{name}: nothing calls it; is the hook {hook} meant\?"):
        type("Mine", (AdaptationModule,), {name: lambda self, step: {}})


def test_what_is_no_hook_of_its_bases_and_what_a_base_defines_may_be_called_so():
    class Mixin:
        def term(self):
            return {}

    class Mine(Mixin, AdaptationModule):
        def term(self):
            return {}

        def _after_steps(self):
            return {}

        def trainables(self):
            """Nearly `trainable`, which only a method with stages has."""

    assert issubclass(Mine, AdaptationModule)
    with pytest.raises(ValueError, match=r"Mine\.trainables: .* the hook trainable meant"):
        type("Mine", (ParameterMethod,), {"trainables": Mine.trainables})


def test_every_hook_is_one_of_some_method_and_of_the_guide():
    classes = {
        part for entry in METHODS.entries() for part in entry.target.__mro__ if issubclass(part, AdaptationModule)
    }
    for method in classes:
        refuse_misspelt_hooks(method)
    assert [hook for hook in HOOKS if not any(hook in vars(method) for method in classes)] == []
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [hook for hook in HOOKS if f"`{hook}" not in guide] == []


def test_a_plugin_says_where(tmp_path, monkeypatch, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from tl_research.methods.base import AdaptationModule\n\n\n"
        "class Mine(AdaptationModule):\n    def term(self, step):\n        return {}\n"
    )
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(plugin))
    assert main(["methods"]) == 2
    said = capsys.readouterr().err
    assert "mine.py, line 4: Mine.term: nothing calls it; is the hook terms meant?" in said
