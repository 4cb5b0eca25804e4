"""Text is what was written: domains, columns and files that YAML would read as something else."""

import random

import pytest
from omegaconf import OmegaConf

from tl_research.config import compose, run_id
from tl_research.config.yaml_text import dump_yaml, read_yaml
from tl_research.errors import ConfigError
from tl_research.suites.compare import comparison, write_comparison
from tl_research.suites.suite import load_suite

FILES = {"data": {"name": "files", "sources": ["a.csv"], "target": "b.csv", "label": "y"}}
NAMES = ["08", "1e5", "6E01", "true", "True", "001", "a: b.csv", "old #1.csv", "[x].csv", "{x}.csv", "~/x.csv", "a,b",
         "${seed}.csv", "-", "- a", "it's", "1_000", ".5", "é", "0x1F", "12:00"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_words_of_a_text_are_taken_as_written(name):
    item = name.replace(",", "")
    data = compose(FILES, [f"data.label={name}", f"data.target={name}", f"data.drop=[{item}]"]).data
    assert (data.label, data.target, list(data.drop)) == (name, name, [item])
    again = compose({"data": {**FILES["data"], "target": data.target, "label": data.label}}, resolved=True)
    assert (again.data.label, again.data.target) == (name, name)


@pytest.mark.parametrize(("word", "items"), [
    ("[001,true,1E5,null]", ["001", "true", "1E5", "null"]), ("['a,b', \"c\\td\", e f]", ["a,b", "c\td", "e f"]),
    ("s.csv", ["s.csv"]), ("[a,]", ["a"]), ("['']", None), ("[a,b", None), ("[a,,b]", None), ("[[a],b]", None),
])  # fmt: skip
def test_lists_of_text(word, items):
    if items is None:
        with pytest.raises(ConfigError, match=r"^data\.drop"):
            compose(FILES, [f"data.drop={word}"])
    else:
        assert compose(FILES, [f"data.drop={word}"]).data.drop == items


@pytest.mark.parametrize("word", ["[y]", "{a: 1}", "null", "~", "", "???"])
def test_what_is_no_text_is_refused_and_quotes_make_it_one(word):
    with pytest.raises(ConfigError, match=r"^data\.target: got"):
        compose(FILES, [f"data.target={word}"])
    if word == "[y]":
        with pytest.raises(ConfigError) as refused:
            compose(FILES, [f"data.target={word}"])
        assert str(refused.value).endswith(f"quote what is one: data.target=\"'{word}'\"")
    if word not in ("", "???"):
        assert compose(FILES, [f"data.target='{word}'"]).data.target == word


def test_a_file_keeps_the_letters_of_text(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {name: files, sources: [001, true, 1E5, null], target: 08, label: 1e3, batch_size: 08}\n")
    data = compose(path).data
    assert (data.sources, data.target, data.label, data.batch_size) == (["001", "true", "1E5", "null"], "08", "1e3", 8)


def random_texts(count):
    draw = random.Random(0)
    letters = "ab 01eE.-+_:#[]{}&*!|>'\"%@`,?~$\\\n\t\x85é\ud800\udcff\U0001f600\ufeff\u2028=<\x7f"
    return ["".join(draw.choice(letters) for _ in range(draw.randint(1, 9))) for _ in range(count)]


def test_what_is_dumped_is_read_again(tmp_path):
    tree = {"texts": random_texts(3000), **{text: text for text in random_texts(300)}}
    path = tmp_path / "x.yaml"
    path.write_text(dump_yaml(tree), encoding="utf-8")
    assert read_yaml(path) == tree


def test_the_file_that_compare_writes_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tl_research.suites.compare.task_of_files", lambda config: "class")
    # A lone surrogate is in no path.
    texts = [text for text in random_texts(40) if not any("\ud800" <= letter <= "\udfff" for letter in text)]
    for label in [*NAMES, "null", "[y]", "''", "'a'", *texts]:
        old, new = f"{label} old.csv", f"new {label}"
        suite = comparison([old], new, label=label, shots=5, seeds=1, metric=None, overrides={})
        path = write_comparison(tmp_path / "compare.yaml", suite)
        data = load_suite(path).cells()[0].config.data
        assert (list(data.sources), data.target, data.label) == ([old], new, label)


def test_text_that_stands_for_itself_names_the_same_run_again():
    config = compose(FILES, ["data.target=${seed}.csv"])
    resolved = OmegaConf.to_container(config, resolve=True)
    assert run_id(compose(resolved, resolved=True)) == run_id(config)
