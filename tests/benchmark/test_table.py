import io
import itertools

import numpy as np
import pandas as pd
import pytest

from tests.benchmark.fake import Reference, filled, record, suite
from tl_research.report.collect import COLUMNS
from tl_research.report.layout import WIDTH, Grid, escape_latex, fitting, markdown
from tl_research.report.table import collect, render, write_csv

DOMAINS = ("books", "dvd", "electronics", "kitchen")
TWELVE = " ".join(f"{a}->{b}" for a, b in itertools.permutations(DOMAINS, 2))


def exact(fake, values, **fields):
    """Records with given accuracies: (label, task) -> one value a seed, under every rule."""
    records = []
    for cell in fake.cells():
        scores = values.get((cell.label, cell.task), [])
        if cell.seed < len(scores) and scores[cell.seed] is not None:
            rules = {rule: {"accuracy": scores[cell.seed]} for rule in ("last", "source_val", "oracle")}
            records.append(record(cell, rules, **fields))
    return records


def table(page: str, heading: str) -> pd.DataFrame:
    """The first Markdown table after a heading, by row and column name."""
    lines = page[page.index(heading) :].split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return pd.DataFrame([row[1:] for row in cells[2:]], index=[row[0] for row in cells[2:]], columns=cells[0][1:])


def test_the_long_frame_has_the_promised_columns_and_only_metrics_of_splits():
    fake = suite()
    frame = collect(filled(fake), fake)
    assert tuple(frame.columns) == (*COLUMNS, "evidence")
    promised = "suite dataset sources target setting shots method family seed rule split metric value run_id"
    assert list(frame.columns[:14]) == promised.split()
    assert len(frame) == 2 * 2 * 3 * 3  # rows, tasks, seeds, rules
    assert set(frame["split"]) == {"target_test"}
    assert set(frame["metric"]) == {"accuracy"}
    assert set(frame[frame["selected"]]["rule"]) == {"source_val"}


def test_its_order_does_not_depend_on_the_order_of_the_records():
    fake = suite()
    records = filled(fake)
    pd.testing.assert_frame_equal(collect(records, fake), collect(records[::-1], fake))


def test_failed_runs_and_runs_of_other_suites_are_left_out():
    fake, other = suite(), suite(tasks="x->y")
    records = filled(fake)
    records[0].status = "oom"
    frame = collect([*records, *filled(other)], fake)
    assert len(set(frame["run_id"])) == len(records) - 1


def test_a_run_that_two_rows_share_is_in_both():
    fake = suite(rows="source_only twin")
    cells = fake.cells()
    shared = {cell.run_id: cells[i % 6].run_id for i, cell in enumerate(cells)}

    class Sharing(type(fake)):
        def cells(self):
            return [type(cell)(**(vars(cell) | {"run_id": shared[cell.run_id]})) for cell in cells]

    double = Sharing(**vars(fake))
    frame = collect(filled(fake)[:6], double)
    assert (
        frame.groupby("label")["value"].apply(list)["source_only"]
        == frame.groupby("label")["value"].apply(list)["twin"]
    )


def test_the_csv_file_gives_back_every_value_to_six_decimals(tmp_path):
    fake = suite()
    frame = collect(filled(fake), fake)
    write_csv(frame, tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv")
    assert tuple(back.columns) == COLUMNS
    np.testing.assert_allclose(back["value"], frame["value"], atol=5.1e-7, rtol=0)
    assert back["run_id"].tolist() == frame["run_id"].tolist()
    assert pd.read_csv(io.StringIO(render(frame, fake, "csv"))).equals(back)


def test_cells_of_the_main_table_by_hand():
    fake = suite()
    values = {
        ("source_only", "a->b"): [0.70, 0.72, 0.74],
        ("source_only", "c->b"): [0.50, 0.50, 0.53],
        ("dann", "a->b"): [0.80, None, 0.90],
    }
    main = table(render(collect(exact(fake, values), fake), fake), "## Each run's own")
    assert main.loc["source_only", "a->b"] == "72.0 ± 2.0"
    assert main.loc["source_only", "c->b"] == "51.0 ± 1.7"
    # Of the mean: means over tasks are 60, 61, 63.5.
    assert main.loc["source_only", "mean"] == "61.5 ± 1.8"
    assert main.loc["dann", "a->b"] == "85.0 ± 7.1 (n=2/3)"
    assert main.loc["dann", "c->b"] == "—"
    assert main.loc["dann", "mean"] == "85.0 ± 7.1 (n=2/3) (1/2 tasks)"


def test_the_main_table_uses_each_run_s_own_rule_and_says_which():
    fake = suite(tasks="a->b", rows="source_only fine_tune", seeds=(0,))
    first, second = fake.cells()
    rules = {"last": {"accuracy": 0.1}, "source_val": {"accuracy": 0.2}, "target_val": {"accuracy": 0.3}}
    records = [
        record(first, rules, rule="source_val"),
        record(second, rules | {"oracle": {"accuracy": 0.9}}, rule="target_val", setting="few_shot", shots=10.0),
    ]
    page = render(collect(records, fake), fake)
    main = table(page, "## Each run's own")
    assert list(main["a->b"]) == ["20.0", "30.0"]
    flat = " ".join(page.split())
    assert "`source_val` (reads no target label): source_only; `target_val` (reads target labels held out" in flat
    assert "Rows that train on target labels: fine_tune (few_shot, shots 10)." in flat
    upper = table(page, "## Upper bound (`oracle`)")
    assert list(upper["a->b"]) == ["—", "90.0"]
    assert "reads the very labels that are then scored" in flat


def test_differences_are_paired_and_marked_and_listed():
    fake = suite(rows="source_only dann dan")
    values = {
        ("source_only", "a->b"): [0.1, 0.5, 0.9],
        ("source_only", "c->b"): [0.5, 0.5, 0.5],
        ("dann", "a->b"): [0.08, 0.48, 0.88],  # −2, −2, −2
        ("dann", "c->b"): [0.519, 0.52, 0.521],
        ("dan", "a->b"): [0.1, 0.5, 0.9],
        ("dan", "c->b"): [0.4, None, None],
    }
    page = render(collect(exact(fake, values), fake), fake)
    found = table(page, "## Difference to source_only")
    assert found.loc["dann", "a->b"] == "−2.0 [−2.0, −2.0] ▼ hurts"
    assert found.loc["dann", "c->b"] == "+2.0 [+1.8, +2.2] ▲ helps"  # t_2 = 4.30 times 0.1 / √3
    assert found.loc["dann", "mean"].startswith("0.0 [−")
    assert "▼" not in found.loc["dann", "mean"]
    assert found.loc["dan", "a->b"] == "0.0 [0.0, 0.0]"
    assert found.loc["dan", "c->b"] == "−10.0 (n=1/3)"  # one seed: no interval, no verdict
    assert found.loc["dan", "mean"] == "−5.0 (n=4/6)"
    assert "source_only" not in found.index
    assert "**Negative transfer** in 1 of 4 comparisons (▼): dann on a->b. 2 comparisons" in " ".join(page.split())


def test_where_lower_is_better_the_marks_turn():
    fake = suite(metric="log_loss", tasks="a->b", metrics=("log_loss",))
    records = [
        record(cell, {"source_val": {"log_loss": (0.5 if cell.label == "dann" else 0.7) + 0.001 * cell.seed}})
        for cell in fake.cells()
    ]
    page = render(collect(records, fake), fake)
    assert table(page, "## Difference").loc["dann", "a->b"] == "−0.200 [−0.200, −0.200] ▲ helps"
    assert table(page, "## Each run's").loc["dann", "a->b"] == "0.501 ± 0.001"
    assert "lower is better" in page


def test_published_rows_stand_right_after_the_row_they_are_beside():
    published = (
        Reference("Ganin 2016", "DANN", "dann", "accuracy", {"a->b": 0.5, "c->b": 0.7}),
        Reference("Ganin 2016", "NN", "source_only", "accuracy", {"a->b": 0.4}),
        Reference("Other", "X", "dann", "auroc", {"a->b": 0.4}),
    )
    fake = suite(reference=published)
    values = {("dann", "a->b"): [0.6] * 3, ("dann", "c->b"): [0.8] * 3, ("source_only", "a->b"): [0.3] * 3,
              ("source_only", "c->b"): [0.9] * 3}  # fmt: skip
    page = render(collect(exact(fake, values), fake), fake)
    main = table(page, "## Each run's")
    assert list(main.index) == ["source_only", "NN, published [2]", "dann", "DANN, published [1]"]
    assert list(main.loc["DANN, published [1]"]) == ["50.0", "70.0", "60.0"]
    assert list(main.loc["NN, published [2]"]) == ["40.0", "—", "40.0 (1/2 tasks)"]
    assert "- [1] DANN, Ganin 2016: our dann 70.0, published 60.0, ours minus theirs +10.0 (mean over the 2" in page
    # Our mean over the published tasks alone: not 60.0.
    assert "- [2] NN, Ganin 2016: our source_only 30.0, published 40.0, ours minus theirs −10.0 (mean over" in page
    assert "- [3] X, Other: auroc, not comparable" in page


def test_the_selection_table_has_one_column_a_rule():
    fake = suite(tasks="a->b", seeds=(0,))
    rules = {
        rule: {"accuracy": value} for rule, value in (("last", 0.1), ("source_val", 0.2), ("im", 0.3), ("oracle", 0.4))
    }
    page = render(collect([record(cell, rules) for cell in fake.cells()], fake), fake)
    found = table(page, "## Selection rules")
    assert list(found.columns) == ["last", "source_val", "oracle (upper bound)"]  # those of the suite
    assert list(found.loc["dann"]) == ["10.0", "20.0", "40.0"]


def test_more_metrics_get_a_compact_table_in_their_own_units():
    fake = suite(metrics=("accuracy", "log_loss"), seeds=(0,), tasks="a->b")
    records = [record(cell, {"source_val": {"accuracy": 0.5, "log_loss": 0.693}}) for cell in fake.cells()]
    found = table(render(collect(records, fake), fake), "## All metrics")
    assert list(found.loc["dann"]) == ["50.0", "0.693"]


def test_the_footer_counts_and_names_what_failed():
    fake = suite()
    records = filled(fake)
    records[0].status, records[0].message = "oom", "OutOfMemoryError: 3 GiB\nmore"
    records[5].environment = {"torch": "2.15", "commit": "abc", "dirty": True}
    del records[8]
    page = render(collect(records, fake), fake, records=records)
    assert "Runs: 12 planned, 10 ok, 1 failed, 1 missing" in page
    assert "oom: source_only, a->b, seed 0 (source_only-a->b-0): OutOfMemoryError: 3 GiB\n" in page
    assert "torch mixed (2.11, 2.15), commit abc" in page
    assert "1 of 10 runs ran on code that differs from the commit" in page
    assert "tl-research benchmark benchmarks/suites/fake.yaml" in page


def test_the_footer_has_the_test_rows_of_every_task_and_warns_of_few():
    plan = suite()
    records = filled(plan)
    for run in records:
        few = run.task["sources"] == ["c"]
        rows = {"target_test": 12 + run.seed if few else 1500}
        run.data |= {"rows": rows, "test": {"classes": {"no": 9 if few else 1000, "yes": 3 if few else 500}}}
    text = render(collect(records, plan), plan, records=records)
    assert "- Test rows of the target: a->b 1,500, c->b 12 to 14" in text
    assert "**few test rows**: c->b has 12, 3 of the rarer class" in text
    assert text.count("few test rows") == 1
    assert "Test rows" not in render(collect(filled(plan), plan), plan, records=filled(plan)), "older records have none"


def test_no_folder_of_this_machine_reaches_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "`tl-research benchmark s.yaml`" in render(
        collect([], suite()), suite(path=tmp_path.parent / "x" / "s.yaml")
    )
    assert "`tl-research benchmark b/s.yaml`" in render(collect([], suite()), suite(path=tmp_path / "b" / "s.yaml"))


@pytest.mark.parametrize("records", ["none", "no baseline", "one seed"])
def test_a_page_of_little_or_nothing_claims_nothing(records):
    fake = suite(seeds=(0,) if records == "one seed" else (0, 1))
    done = [] if records == "none" else [r for r in filled(fake) if records == "one seed" or r.method == "dann"]
    page = render(collect(done, fake), fake, records=done)
    assert "▼:" in page if records == "one seed" else "## Difference" not in page
    assert "**Negative transfer**" not in page
    assert "[−" not in page
    assert render(collect(done, fake), fake, "latex", done)


def test_twelve_tasks_stay_legible():
    rows = "source_only dann dan deep_coral fine_tune target_oracle"
    fake = suite(TWELVE, rows, seeds=tuple(range(5)))
    page = render(collect(filled(fake), fake), fake)
    assert max(map(len, page.split("\n"))) <= WIDTH
    main = table(page, "## Each run's own")
    assert list(main.columns) == rows.split()  # turned: tasks are rows
    assert list(main.index) == [*TWELVE.split(), "mean"]
    assert all("±" in cell for cell in main.to_numpy().ravel())


def test_a_table_that_fits_neither_way_is_split_into_means_and_spreads():
    fake = suite(TWELVE, " ".join(f"method_number_{n}" for n in range(14)), baseline="method_number_0")
    page = render(collect(filled(fake), fake), fake)
    means, spreads = table(page, ": means"), table(page, "### Standard deviation")
    assert means.shape == spreads.shape
    assert "±" not in means.to_string()


def test_every_line_of_a_markdown_table_is_equally_long_and_bars_are_escaped():
    grid = Grid("row", "task", ("a|b", "long column"), ("x", "yy"), (("1", "2 ± 3"), ("—", "▼")))
    lines = markdown([grid]).strip().split("\n")
    assert len(set(map(len, lines))) == 1
    assert lines[0].startswith("| row | a\\|b |")
    assert fitting([grid]) == [grid]
    assert grid.turned().turned() == grid


def test_latex_is_escaped_and_balanced():
    fake = suite(rows="source_only my_method", notes="50 % of {rows}")
    page = render(collect(filled(fake, {"my_method": 0.1}), fake), fake, "latex")
    code = [line for line in page.split("\n") if not line.startswith("%")]
    assert r"my\_method" in page
    assert not any("_" in line.replace(r"\_", "") for line in code)
    assert not any(symbol in line for line in code for symbol in "±▲▼—−")
    assert page.count(r"\begin{tabular}") == page.count(r"\end{tabular}") == page.count(r"\bottomrule") >= 3
    assert r"a-\textgreater{}b" in page
    assert escape_latex("a&b_50%") == r"a\&b\_50\%"


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="html"):
        render(collect([], suite()), suite(), "html")


def test_training_on_the_target_alone_is_no_negative_transfer():
    from tl_research.report import differences

    assert differences._reads_source("fine_tune")
    assert differences._reads_source("dann")
    assert not differences._reads_source("target_only")
    assert not differences._reads_source("target_oracle")


def test_the_mean_is_shown_where_there_are_several_tasks():
    from types import SimpleNamespace

    from tl_research.report.differences import columns_of

    assert columns_of(SimpleNamespace(tasks=("a->b", "a->c"))) == ("a->b", "a->c", None)
    assert columns_of(SimpleNamespace(tasks=("a->b",))) == ("a->b",)


FEW = {"setting": "few_shot", "shots": 50.0}


def blocks_page(rows, baseline, kinds, **values):
    """The page of a suite whose rows have these settings; `values` are the rows' effects."""
    fake = suite(rows=rows, baseline=baseline)
    records = filled(fake, values, spread=0.001)
    for run in records:
        vars(run).update(kinds.get(run.run_id.split("-")[0], {}))
    return render(collect(records, fake), fake)


def test_rows_without_target_labels_are_compared_with_source_only_alone():
    """Below `target_only` by five points, above the row that sees as little by five: that is no negative transfer."""
    rows = "target_only fine_tune source_only dann"
    page = blocks_page(rows, "target_only", {"target_only": FEW, "fine_tune": FEW}, source_only=-0.10, dann=-0.05)
    with_labels = table(page, "## Rows that train on target labels: difference to target_only")
    assert list(with_labels.index) == ["fine_tune"]
    without = table(page, "## Rows that train on no target label: difference to source_only")
    assert list(without.index) == ["dann"]
    assert without.loc["dann", "mean"].startswith("+5.")
    assert "▲ helps" in without.loc["dann", "mean"]
    assert "**Negative transfer**" not in page


def test_rows_with_target_labels_are_compared_with_target_only_where_the_baseline_has_none():
    rows = "source_only dann target_only fine_tune"
    page = blocks_page(rows, "source_only", {"target_only": FEW, "fine_tune": FEW}, target_only=0.1, fine_tune=0.05)
    assert list(table(page, "## Rows that train on no target label: difference to source_only").index) == ["dann"]
    found = table(page, "## Rows that train on target labels: difference to target_only")
    assert found.loc["fine_tune", "mean"].startswith("−4.9")
    assert "▼" in found.loc["fine_tune", "mean"]


def test_where_the_suite_has_no_source_only_it_is_said():
    shown = {"target_only": FEW, "fine_tune": FEW}
    page = " ".join(blocks_page("target_only fine_tune dann", "target_only", shown).split())
    assert "The suite has no `source_only` to compare these with" in page
    assert "They are dann." in page
    page = " ".join(blocks_page("target_only source_only", "target_only", {"target_only": FEW}).split())
    assert "Of these there is source_only alone: no difference is taken" in page


def test_source_only_that_chooses_its_epoch_by_labels_still_trains_on_none():
    page = blocks_page("source_only dann", "source_only", {"source_only": FEW, "dann": FEW})
    assert "Rows that train on target labels: dann (few_shot, shots 50)." in " ".join(page.split())


def test_the_caption_counts_the_marks_that_chance_makes_and_says_what_the_interval_holds():
    fake = suite(TWELVE, "source_only dann dan")
    records = filled(fake)
    page = " ".join(render(collect(records, fake), fake).split())
    assert "about 1 of the 26 intervals would be marked by chance" in page
    assert "It is Student's over the seeds" in page
    for run in records:
        run.data |= {"rows": {"target": 300, "target_test": 100}}
        run.config = {"data": {"test_fraction": 0.25}}
    page = " ".join(render(collect(records, fake), fake).split())
    assert "the corrected resampled t interval takes all variance over seeds" in page
    for run in records:
        run.data |= {
            "test_share": 1.0,
            "test": {"metric": "accuracy", "level": 0.95, "interval": {"source_val": [0.7, 0.8]}},
        }
    page = " ".join(render(collect(records, fake), fake).split())
    assert "as if the two rows of the table erred on them independently" in page
    for run in records:
        run.data["test"]["without"] = [0.75] * 40
    page = " ".join(render(collect(records, fake), fake).split())
    assert "a jackknife over 40 parts" in page


def test_test_rows_are_taken_as_drawn_only_where_their_number_says_so():
    from tl_research.report.collect import _test_share

    run = filled(suite())[0]
    run.config = {"data": {"test_fraction": 0.25}}
    run.data = {"rows": {"target": 280, "target_val": 20, "target_test": 100}}
    assert _test_share(run) == 0.25
    run.data["rows"]["target_test"] = 500  # a split of the data set's own
    assert _test_share(run) == 1.0
    run.data["test_share"] = 0.5  # newer records say it
    assert _test_share(run) == 0.5
    run.data = {}
    assert _test_share(run) is None
