"""2,000 hostile files for the readers: a table, matrix or picture, or one message that names the file; nothing else.

They are read in a process of its own: what would end it by a signal in C code is a finding here, with the number of its
input, and not the end of the tests. `python -m tests.data.fuzz N N+1` reads input N alone.
"""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.data.fuzz import INPUTS, MOST_BYTES, MOST_FILE, VALID, hostile_file, read

ROOT = Path(__file__).resolve().parents[2]
#: A guard against hangs only: the whole takes seconds, and no verdict depends on it.
_GIVE_UP = 900


@pytest.fixture(scope="module")
def answers():
    """What came of each input, by number, until the process ended."""
    command = [sys.executable, "-m", "tests.data.fuzz", "0", str(INPUTS)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_GIVE_UP)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"input {lines[-1] if lines else None} ended the process: {done.stderr[-2000:]}"
    return [line for line in lines if "came" in line]


def test_each_input_is_read_or_refused_by_the_name_of_its_file(answers):
    assert [answer["number"] for answer in answers] == list(range(INPUTS))
    other = [answer for answer in answers if answer["came"] not in ("read", "refused")]
    assert not other, other[:5]


def test_no_input_takes_more_than_a_gigabyte(answers):
    worst = max(answers, key=lambda answer: answer["peak"])
    assert worst["peak"] < MOST_BYTES, worst


def test_the_inputs_reach_both_answers_for_every_reader(answers):
    came = defaultdict(Counter)
    for answer in answers:
        kind = Path(answer["name"].removesuffix(".gz")).suffix
        came["table" if kind in (".csv", ".tsv") else kind][answer["came"]] += 1
    for kind, counts in came.items():
        assert counts["refused"] >= 20, (kind, counts)
        assert counts["read"] >= 1, (kind, counts)


@pytest.mark.parametrize("name", VALID)
def test_the_files_that_are_edited_are_valid_themselves(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(gzip.compress(VALID[name], mtime=0) if name.endswith(".gz") else VALID[name])
    assert read(name) == "read"


def test_an_input_is_a_function_of_its_number_and_small():
    for number in range(0, INPUTS, 97):
        assert hostile_file(number) == hostile_file(number)
        assert len(hostile_file(number)[1]) < 2 * MOST_FILE
