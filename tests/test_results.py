import json
import math
import threading

import pytest

from tl_research.errors import DataError
from tl_research.runs.record import Record, read_history, read_record, read_records, write_history, write_record


def record(**changes) -> Record:
    values = {"run_id": "abc", "status": "ok", "method": "dann", "family": "adversarial", "setting": "unsupervised"}
    values |= {"task": {"sources": ["a"], "target": "b"}, "seed": 0, "config": {}}
    return Record(**(values | changes))


def test_round_trip(tmp_path):
    written = record(metrics={"last": {"epoch": 3, "target_test/accuracy": 0.1 + 0.2}})
    write_record(tmp_path / "abc", written)
    assert read_record(tmp_path / "abc") == written
    assert read_records(tmp_path) == [written]
    assert read_record(tmp_path / "none") is None


def test_a_finished_record_is_never_replaced_and_a_failed_one_is(tmp_path):
    write_record(tmp_path, record(status="failed", message="boom"))
    write_record(tmp_path, record())
    with pytest.raises(FileExistsError):
        write_record(tmp_path, record(status="failed"))
    assert read_record(tmp_path).status == "ok"


def test_only_finite_metrics_and_known_statuses_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.last\.target_test/auroc"):
        write_record(tmp_path, record(metrics={"last": {"target_test/auroc": math.nan}}))
    with pytest.raises(ValueError, match="status"):
        write_record(tmp_path, record(status="fine"))
    assert not list(tmp_path.iterdir())


def test_a_torn_record_names_its_file(tmp_path):
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "result.json").write_text('{"run_id": "abc", "sta')
    with pytest.raises(DataError, match=r"abc.*result\.json"):
        read_records(tmp_path)


def test_a_reader_never_sees_a_part(tmp_path):
    big = [{"epoch": e, "value": "x" * 1000} for e in range(200)]
    write_history(tmp_path, big)
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(len(read_history(tmp_path)))

    reader = threading.Thread(target=read)
    reader.start()
    for length in (50, 200) * 20:
        write_history(tmp_path, big[:length])
    stop.set()
    reader.join()
    assert seen <= {50, 200}
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]


def test_fields_of_a_later_schema_are_ignored(tmp_path):
    path = write_record(tmp_path, record())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"new_field": 1}))
    assert read_record(tmp_path) == record()
