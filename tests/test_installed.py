"""What is built from the repository and installed into an empty environment needs nothing of the checkout."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from tl_research.storage.shipped import RECIPES, SUITES, names

ROOT = Path(__file__).resolve().parents[1]
#: All that a build reads.
SOURCES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tl_research", RECIPES, SUITES)
SETUPTOOLS = 77
BUILD = "from setuptools import build_meta as b; print(b.build_sdist('dist'), b.build_wheel('dist'), sep='\\n')"


def environment() -> dict[str, str]:
    """Of this process, without what leads Python to the checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}


def call(*words, cwd: Path) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Wheel and sdist, made of a copy of the sources with what is installed here: nothing is fetched."""
    if find_spec("setuptools") is None or find_spec("pip") is None:
        pytest.skip("setuptools and pip are wanted to build and install without a package index")
    version = importlib.metadata.version("setuptools")
    if int(version.split(".")[0]) < SETUPTOOLS:
        pytest.skip(f"setuptools {version} is here; the build wants {SETUPTOOLS}")
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    sdist, wheel = call(sys.executable, "-P", "-c", BUILD, cwd=copy).splitlines()[-2:]
    return {"sdist": copy / "dist" / sdist, "wheel": copy / "dist" / wheel}


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> dict[str, Path]:
    """An environment of each, in which there is nothing else but this one's dependencies."""
    found = {}
    for kind, file in built.items():
        found[kind] = folder = tmp_path_factory.mktemp(kind)
        call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
        # A folder that a .pth names is searched last, and its own .pth (an editable install of us) are not read.
        packages = site_packages(folder)
        paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        (packages / "dependencies.pth").write_text("\n".join(paths))
        pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index")
        call(*pip, "--no-deps", "--no-build-isolation", "--ignore-installed", file, cwd=folder)
    return found


def site_packages(folder: Path) -> Path:
    (found,) = folder.glob("lib/python*/site-packages")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installed_package_is_found_from_an_empty_folder(installed, kind, tmp_path):
    here = site_packages(installed[kind]) / "tl_research"
    python, command = (installed[kind] / "bin" / name for name in ("python", "tl-research"))
    where = call(python, "-c", "import tl_research; print(tl_research.__file__)", cwd=tmp_path)
    assert Path(where.strip()) == here / "__init__.py"
    assert "3 of 3 files are valid" in call(
        command, "check", "demo", "digits/dann", "configs/used_cars/dan.yaml", cwd=tmp_path
    )


@pytest.mark.slow
def test_an_installed_package_trains_from_an_empty_folder(installed, tmp_path):
    """The wheel's, whose files are the sdist's (below)."""
    command = installed["wheel"] / "bin" / "tl-research"
    assert "dann: upright -> noisy" in call(command, "fit", "digits", "dann", "trainer.max_epochs=1", cwd=tmp_path)
    (record,) = tmp_path.glob("runs/*/result.json")
    assert json.loads(record.read_text())["environment"]["commit"] is None


@pytest.mark.slow
def test_a_suite_is_run_by_its_name(installed, tmp_path):
    command = installed["wheel"] / "bin" / "tl-research"
    call(command, "benchmark", "demo", "--share", "1/30", cwd=tmp_path)
    page = call(command, "table", "runs", "--suite", "demo", cwd=tmp_path)
    assert "Runs: 30 planned, 1 ok, 0 failed, 29 missing" in page
    assert "Made by `tl-research benchmark demo`" in page


def test_the_sdist_installs_what_the_wheel_does(installed):
    def files(kind: str) -> dict[str, bytes]:
        folder = site_packages(installed[kind]) / "tl_research"
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.[py]*[ly]")}

    wheel, checkout = files("wheel"), ROOT / "tl_research"
    assert wheel == files("sdist")
    modules = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*.py")}
    recipes = {f"shipped/configs/{name}.yaml" for name in names(RECIPES)}
    suites = {f"shipped/suites/{name}.yaml" for name in names(SUITES)}
    assert set(wheel) == modules | recipes | suites
