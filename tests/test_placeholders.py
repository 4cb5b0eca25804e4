"""Commands that compute nothing do without torch, and say the same as with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.answer.files import shop
from tests.every_key import every_key
from tests.run_ids import committed
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
#: In kilobytes, of the 400 MB that such a command may take.
MOST_MEMORY = 400_000

COMMAND = r"""
import json, re, sys
from pathlib import Path
from tl_research.cli import main, placeholders
code = main()
loaded = [name for name in placeholders.LIBRARIES if getattr(sys.modules.get(name), "__file__", None)]
# Not from `resource`, where the process that started this one counts too.
memory = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([loaded, memory]), file=sys.stderr)
sys.exit(code)
"""

#: What `compose` says of each committed recipe, and of each part by its name alone; None: it needs a library.
IDS = """
import json
from tl_research.cli import placeholders
placeholders.install()
from tests import run_ids, test_placeholders

def said(find):
    try:
        return find()
    except placeholders.NeedsLibrary:
        return None

recipes = [said(lambda: run_ids.ids_of_recipe(path)) for path in run_ids.recipes()]
print(json.dumps([recipes, test_placeholders.said_of_parts(said)]))
"""


def python(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def said_of_parts(said=lambda find: find()) -> list[str | None]:
    """The run id of each part's shortest configuration, and why a wrong value is refused, key by key."""
    keys = every_key()
    shortest = {key.entry: key.base for key in keys}
    return [said(lambda tree=tree: _said(tree)) for tree in [*shortest.values(), *(key.set({"a": 1}) for key in keys)]]


def _said(tree: dict) -> str:
    try:
        return run_id(compose(tree))
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize(
    "words",
    [
        ["methods"],
        ["datasets"],
        ["encoders"],
        ["check", "configs/digits/dann.yaml"],
        ["check", "configs/fashion_products/dann.yaml"],
    ],
)
def test_a_command_without_torch_says_the_same(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = python(COMMAND, *words)
    loaded, memory = json.loads(done.stderr)
    assert not loaded
    assert memory < MOST_MEMORY
    assert main(words) == done.returncode == 0
    assert done.stdout == capsys.readouterr().out


def test_compare_does_without_lightning_and_starts_once(tmp_path):
    """A function that used it would begin the command anew, after its first lines; so would the model's refit."""
    for name, rows, seed in (("old.csv", 60, 0), ("new.csv", 30, 1)):
        shop(rows, seed).to_csv(tmp_path / name, index=False)
    files = [str(tmp_path / name) for name in ("old.csv", "new.csv")]
    options = ["--resamples", "1", "--jobs", "1", "--output", str(tmp_path), "--set", "method.trees=2"]
    done = python(COMMAND, "compare", *files, "--label", "bought", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n1 of 1 resamples: ") == 1
    loaded, _ = json.loads(done.stderr.strip().splitlines()[-1])
    assert not {"lightning", "torchmetrics", "torchvision", "transformers"} & {*loaded}
    assert "torch" in loaded


def test_a_configuration_without_torch_is_the_same():
    recipes, parts = json.loads(python(IDS).stdout)
    found = {key: value for ids in recipes if ids for key, value in ids.items()}
    known = committed()
    assert found == {key: known[key] for key in found}
    assert len(found) > 0.8 * len(recipes)
    expected = said_of_parts()
    assert [said for said in parts if said] == [each for each, said in zip(expected, parts) if said]
    assert sum(said is not None for said in parts) > 0.9 * len(parts)


RECIPE = "data: {name: digits, sources: [mnist_like], target: x}\nencoder: {name: vision, model: nosuchmodel}\n"


def test_what_needs_a_library_starts_over_with_it(tmp_path, capsys):
    """The names of vision models are timm's."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-m", "tl_research.cli", "check", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert main(["check", str(path)]) == done.returncode == 2
    assert "nosuchmodel" in done.stderr
    shown = capsys.readouterr()
    assert (done.stdout, done.stderr) == (shown.out, shown.err)


PLUGIN = """import torch
from dataclasses import dataclass
from tl_research.config import MethodConfig
from tl_research.methods.base import AdaptationModule
from tl_research.registry import register_method
assert torch.zeros(2).sum() == 0
@dataclass
class C(MethodConfig):
    name: str = "mine"
@register_method("mine", config=C, family="f", settings=("unsupervised",), paper="p")
class Mine(AdaptationModule):
    "My own method."
"""


def test_a_plugin_is_read_with_its_libraries(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    done = python(COMMAND, "methods", TL_RESEARCH_PLUGINS=str(plugin))
    assert done.returncode == 0, done.stderr
    assert "My own method." in done.stdout
