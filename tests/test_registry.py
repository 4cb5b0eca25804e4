import pytest

from tl_research.config import MethodConfig
from tl_research.errors import ConfigError
from tl_research.registry import METHODS, Entry, Registry


def test_the_package_is_walked():
    assert {"source_only", "target_only", "target_oracle", "union", "fine_tune", "dann", "dan", "deep_coral"} <= set(
        METHODS.names()
    )


def test_an_unknown_name_hints_at_the_nearest():
    with pytest.raises(ConfigError, match=r"method\.name: there is no method 'dan2'; did you mean 'dan'"):
        METHODS.get("dan2")


def test_a_name_is_taken_once():
    registry = Registry("thing", "tl_research.losses", "thing")
    registry.add(Entry("a", config=MethodConfig, target=Registry))
    registry.add(Entry("a", config=MethodConfig, target=Registry))  # the same again, as on a re-import
    with pytest.raises(ValueError, match="registered twice"):
        registry.add(Entry("a", config=MethodConfig, target=MethodConfig))


def test_a_plugin_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", "nowhere.py")
    with pytest.raises(ConfigError, match=r"TL_RESEARCH_PLUGINS: nowhere\.py"):
        METHODS.names()


PLUGIN = """from dataclasses import dataclass
from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method
@dataclass
class C(MethodConfig):
    name: str = "m"
@register_method("m", config=C, family="f", settings=("unsupervised",), paper="p")
class Mine(AdaptationModule): pass
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef (", ["line 2", "syntax"]),
        ("import nosuchmodule", ["line 1", "nosuchmodule"]),
        ("raise RuntimeError('boom')", ["line 1", "boom"]),
        ("import sys; sys.exit(3)", ["line 1", "SystemExit"]),
        (PLUGIN.replace('"m"', '"dann"'), ["line 8", "'dann' is registered twice"]),
        (PLUGIN.replace('"p"', '"p", targets=("foo",)'), ["line 8", "targets", "foo"]),
        (PLUGIN.replace('("unsupervised",)', '("foo",)'), ["line 8", "settings", "foo"]),
        (PLUGIN.replace("(AdaptationModule)", ""), ["line 8", "base class"]),
        (PLUGIN.replace("config=C", "config=dict"), ["line 8", "config", "MethodConfig"]),
    ],
)
def test_a_plugin_that_does_not_load_is_one_line_with_its_file(text, words, tmp_path, monkeypatch):
    path = tmp_path / "plug.py"
    path.write_text(text)
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(path))
    for _ in range(2):  # whoever asks again is told again
        with pytest.raises(ConfigError) as caught:
            METHODS.names()
        assert "\n" not in str(caught.value)
        for word in ["TL_RESEARCH_PLUGINS", str(path), *words]:
            assert word in str(caught.value)


def test_a_plugin_is_a_python_file(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("a,b\n")
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(tmp_path / "x.csv"))
    with pytest.raises(ConfigError, match="wants a Python file"):
        METHODS.names()


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (
            "def adaptation_loss(self, source, target): return {}",
            r"adaptation_loss is not called; the hook is terms\(step\)",
        ),
        ("def source_weights(self, source, target): return None", r"wants one argument, source_weights\(step\)"),
    ],
)
def test_a_hook_of_a_former_name_or_form_is_refused(tmp_path, monkeypatch, hook, says):
    plugin = tmp_path / "former.py"
    plugin.write_text(
        "from tl_research.config import MethodConfig\n"
        "from tl_research.methods.baseline.source_only import SourceOnly\n"
        "from tl_research.registry import register_method\n"
        '@register_method("former", config=MethodConfig, family="x", settings=("unsupervised",), paper="none")\n'
        f"class Former(SourceOnly):\n    {hook}\n"
    )
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", str(plugin))
    with pytest.raises(ConfigError, match=says):
        METHODS.get("former")
