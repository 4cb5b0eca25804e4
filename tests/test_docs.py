"""What the pages show is true: their commands parse, their recipes and suites are valid, their Python runs."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tl_research.cli.main import _parser, main
from tl_research.config import compose, run_of_words
from tl_research.runs.record import read_record
from tl_research.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Words of a command that stand for a user's own: `SUITE`, `KEY=VALUE`, `recipe.yaml`, `runs/<run_id>`.
PLACEHOLDER = re.compile(r"[A-Z]+(=[A-Z]+)?|recipe\.yaml|.*<.*>.*")


def commands(page: Path) -> list[list[str]]:
    """The words of each `tl-research ...` in a page's blocks, whether fenced or indented."""
    text = page.read_text()
    indented = "\n".join(line for line in FENCE.sub("", text).split("\n") if line.startswith("    "))
    blocks = "\n".join([*(code for _, code in FENCE.findall(text)), textwrap.dedent(indented)])
    lines = [
        shlex.split(line, comments=True) for line in blocks.replace("\\\n", " ").split("\n") if "tl-research " in line
    ]
    return [words[words.index("tl-research") + 1 :] for words in lines if "tl-research" in words]


COMMANDS = [pytest.param(words, id=f"{page.name}: {' '.join(words)}") for page in PAGES for words in commands(page)]


def test_the_pages_show_commands():
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_parses_and_its_recipe_or_suite_is_valid(words, tmp_path, monkeypatch):
    arguments = vars(_parser().parse_args(words))
    recipe, overrides, suite = (arguments.get(name) for name in ("recipe", "overrides", "suite"))
    if recipe and not any(PLACEHOLDER.fullmatch(word) for word in [recipe, *overrides]):
        (tmp_path / "photos" / "shop").mkdir(parents=True)  # a folder of pictures has no label column
        (tmp_path / "photos" / "market").mkdir()
        monkeypatch.chdir(tmp_path)
        compose(*run_of_words(str(ROOT / recipe) if recipe.endswith(".yaml") else recipe, overrides))
    if suite and suite.startswith("benchmarks/"):
        load_suite(ROOT / suite)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_named_in_a_sentence_exists(page, capsys):
    for name in set(re.findall(r"`tl-research ([a-z]+)", page.read_text())):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0, name


def test_the_suites_on_the_pages_are_valid(tmp_path):
    suites = [code for page in PAGES for kind, code in FENCE.findall(page.read_text()) if kind == "yaml"]
    for number, code in enumerate(suites):
        path = tmp_path / f"{number}.yaml"
        path.write_text(code)
        assert load_suite(path).cells()
    assert suites


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def script(*names: str) -> str:
    """The pages' Python and commands as one script, in their order."""
    parts = ["from tl_research.cli import main"]
    for name in names:
        for kind, code in FENCE.findall((ROOT / "docs" / name).read_text()):
            if kind == "python":
                parts.append(code)
            elif kind == "bash":
                lines = (shlex.split(line, comments=True)[1:] for line in code.strip().split("\n"))
                parts += [f"assert main({words}) == 0" for words in lines]
    return "\n".join(parts)


@pytest.mark.slow
def test_the_pages_of_the_first_run_and_of_python_run_as_they_stand(tmp_path):
    (tmp_path / "pages.py").write_text(script("first_run.md", "python.md"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"}
    ended = subprocess.run([sys.executable, "pages.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "method.wieght" in ended.stdout
    page = (ROOT / "docs" / "first_run.md").read_text()
    folder = tmp_path / re.search(r"record and weights: (runs/\w+)", page)[1]
    shown = re.findall(r"^│ (\w+)", page, re.MULTILINE)
    assert set(shown) == set(read_record(folder).metrics)
    listed = re.findall(r"^\| `([\w./]+)` \|", page.split("## What lies in the folder")[1].split("##")[0], re.MULTILINE)
    assert {path.name for path in folder.iterdir()} == {name.rstrip("/") for name in listed}
