import pytest

from tl_research.config import MethodConfig
from tl_research.errors import ConfigError
from tl_research.registry import METHODS, Registry


def test_the_package_is_walked():
    assert {"source_only", "target_only", "target_oracle", "union", "fine_tune", "dann", "dan", "deep_coral"} <= set(
        METHODS.names()
    )


def test_an_unknown_name_hints_at_the_nearest():
    with pytest.raises(ConfigError, match=r"method\.name: there is no method 'dan2'; did you mean 'dan'"):
        METHODS.get("dan2")


def test_a_name_is_taken_once():
    registry = Registry("thing", "tl_research.losses", "thing")
    registry.register("a", config=MethodConfig)(Registry)
    registry.register("a", config=MethodConfig)(Registry)  # the same again, as on a re-import
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("a", config=MethodConfig)(MethodConfig)


def test_a_plugin_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("TL_RESEARCH_PLUGINS", "nowhere.py")
    with pytest.raises(ConfigError, match=r"TL_RESEARCH_PLUGINS: nowhere\.py"):
        METHODS.names()
