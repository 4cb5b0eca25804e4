import gzip
import hashlib
import http.server
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tl_research.data import fetch as fetch_module
from tl_research.data.fetch import RemoteFile, ensure, fetch
from tl_research.errors import DataError

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
PACKED, PACKED_OTHER = (gzip.compress(part, mtime=0) for part in (CONTENT, CONTENT[::-1]))
SHA = hashlib.sha256(CONTENT).hexdigest()
FILE = RemoteFile("rows+1.bin", "some/repo", "0" * 40, "data/rows+1.bin", len(CONTENT), SHA, "shelf")


class Server:
    """Loopback server of one behaviour; counts what it was asked."""

    def __init__(self, behave):
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append((self.path, self.headers.get("Range")))
                behave(self, len(server.asked))

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def send(handler, body, *, status=200, length=None, headers=()):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def send_rest(handler, content=CONTENT):
    """Serve the range that was asked for."""
    start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    send(handler, content[start:], status=206, headers=[("Content-Range", span)])


def cut_half_way(handler, count):
    if count == 1:
        send(handler, CONTENT[: len(CONTENT) // 2], length=len(CONTENT))
        handler.connection.close()
    else:
        send_rest(handler)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch, no_mirror):
    monkeypatch.setattr(fetch_module, "PAUSE", 0.01)


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_origin_is_the_raw_file_at_the_commit_with_its_path_escaped():
    assert FILE.url == f"https://raw.githubusercontent.com/some/repo/{'0' * 40}/data/rows%2B1.bin"


def test_the_origin_is_asked_when_there_is_no_mirror(tmp_path, monkeypatch):
    with Server(lambda handler, _: send(handler, CONTENT)) as server:
        monkeypatch.setattr(fetch_module, "ORIGIN", server.url + "/{repo}/{commit}/{path}")
        folder = fetch("set", [FILE], root=tmp_path)
        assert server.asked == [(f"/some/repo/{'0' * 40}/data/rows%2B1.bin", None)]
    assert (folder / FILE.name).read_bytes() == CONTENT


def test_a_file_that_is_there_and_right_is_not_asked_for_again(tmp_path):
    with Server(lambda handler, _: send(handler, CONTENT)) as server:
        folder = fetch("set", [FILE], root=tmp_path, mirror=server.url)
        first = (folder / FILE.name).stat().st_mtime_ns
        fetch("set", [FILE], root=tmp_path, mirror=server.url)
        assert len(server.asked) == 1
        assert server.asked[0][0] == "/shelf/rows%2B1.bin"
    assert (folder / FILE.name).stat().st_mtime_ns == first
    assert everything_below(folder) == [FILE.name]


def test_a_wrong_file_that_is_there_is_replaced(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / FILE.name).write_bytes(CONTENT[:-1] + b"?")
    with Server(lambda handler, _: send(handler, CONTENT)) as server:
        folder = fetch("set", [FILE], root=tmp_path, mirror=server.url)
    assert (folder / FILE.name).read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_where_it_ended(tmp_path):
    with Server(cut_half_way) as server:
        folder = fetch("set", [FILE], root=tmp_path, mirror=server.url)
        ranges = [span for _, span in server.asked]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")
    assert (folder / FILE.name).read_bytes() == CONTENT
    assert everything_below(folder) == [FILE.name]


def test_a_cut_connection_starts_again_where_the_server_ignores_ranges(tmp_path):
    def behave(handler, count):
        if count == 1:
            return cut_half_way(handler, count)
        return send(handler, CONTENT)

    with Server(behave) as server:
        folder = fetch("set", [FILE], root=tmp_path, mirror=server.url)
    assert (folder / FILE.name).read_bytes() == CONTENT


@pytest.mark.parametrize("declared", [True, False], ids=["with Content-Length", "without Content-Length"])
def test_a_connection_that_is_always_cut_ends_in_one_error_and_leaves_nothing(tmp_path, declared):
    def behave(handler, _):
        handler.send_response(200)
        if declared:
            handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])
        handler.connection.close()

    with Server(behave) as server:
        with pytest.raises(DataError, match=r"rows\+1\.bin: could not be downloaded .*--mirror") as caught:
            fetch("set", [FILE], root=tmp_path, mirror=server.url, attempts=3)
        assert len(server.asked) == 3
    assert "1000 of 512000 bytes" in str(caught.value)
    assert everything_below(tmp_path / "set") == []


@pytest.mark.parametrize(
    "body", [CONTENT[:-1] + b"?", CONTENT[:1000], CONTENT + b"more", b""], ids=["same size", "short", "long", "empty"]
)
def test_wrong_bytes_give_both_hashes_and_leave_nothing(tmp_path, body):
    with Server(lambda handler, _: send(handler, body)) as server:
        with pytest.raises(DataError, match="wrong bytes") as caught:
            fetch("set", [FILE], root=tmp_path, mirror=server.url)
        assert len(server.asked) == 1, "wrong bytes are no reason to try again"
    assert SHA in str(caught.value)
    if len(body) <= len(CONTENT):
        assert hashlib.sha256(body).hexdigest() in str(caught.value)
    assert everything_below(tmp_path / "set") == []


def test_wrong_bytes_do_not_replace_what_was_there(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / FILE.name).write_bytes(b"mine")
    wrong = Server(lambda handler, _: send(handler, CONTENT[::-1]))
    with wrong as server, pytest.raises(DataError, match="wrong bytes"):
        fetch("set", [FILE], root=tmp_path, mirror=server.url)
    assert (tmp_path / "set" / FILE.name).read_bytes() == b"mine"


def test_a_packed_file_of_a_mirror_address_is_unpacked(tmp_path):
    def behave(handler, _):
        if handler.path.endswith(".gz"):
            send(handler, PACKED)
        else:
            send(handler, b"no such file", status=404)

    with Server(behave) as server:
        folder = fetch("set", [FILE], root=tmp_path, mirror=server.url + "/")
    assert (folder / FILE.name).read_bytes() == CONTENT
    assert everything_below(folder) == [FILE.name]


def test_a_file_that_is_nowhere_is_named_with_both_addresses(tmp_path):
    with Server(lambda handler, _: send(handler, b"", status=404)) as server:
        with pytest.raises(DataError, match=r"holds neither .*rows%2B1\.bin nor .*rows%2B1\.bin\.gz"):
            fetch("set", [FILE], root=tmp_path, mirror=server.url)
        assert len(server.asked) == 2
    assert everything_below(tmp_path / "set") == []


def test_a_server_error_is_tried_again_and_a_refusal_is_not(tmp_path):
    def busy_once(handler, count):
        send(handler, b"", status=503) if count == 1 else send(handler, CONTENT)

    with Server(busy_once) as server:
        fetch("set", [FILE], root=tmp_path / "busy", mirror=server.url)
    with Server(lambda handler, _: send(handler, b"", status=403)) as server:
        with pytest.raises(DataError, match="HTTP 403"):
            fetch("set", [FILE], root=tmp_path / "refused", mirror=server.url)
        assert len(server.asked) == 1


def test_a_server_that_falls_silent_is_given_up(tmp_path):
    silent = threading.Event()

    def behave(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        silent.wait(10)

    with Server(behave) as server:
        began = time.monotonic()
        with pytest.raises(DataError, match="timed out"):
            fetch("set", [FILE], root=tmp_path, mirror=server.url, timeout=0.2, attempts=2)
        assert time.monotonic() - began < 5
        silent.set()
    assert everything_below(tmp_path / "set") == []


def test_a_server_that_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "SLOWEST", 10**9)
    stop = threading.Event()

    def behave(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        try:
            while not stop.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()
        except OSError:
            pass

    with Server(behave) as server:
        with pytest.raises(DataError, match="slower than"):
            fetch("set", [FILE], root=tmp_path, mirror=server.url, timeout=0.3, attempts=1)
        stop.set()


def test_an_address_where_nobody_answers_is_one_error(tmp_path):
    with Server(lambda handler, _: None) as server:
        url = server.url
    with pytest.raises(DataError, match=r"could not be downloaded from http://127"):
        fetch("set", [FILE], root=tmp_path, mirror=url, attempts=2)


@pytest.mark.parametrize("packed", [False, True])
def test_a_mirror_folder_holds_the_file_plain_or_packed(tmp_path, packed):
    shelf = tmp_path / "mirror" / "shelf"
    shelf.mkdir(parents=True)
    (shelf / (FILE.name + (".gz" if packed else ""))).write_bytes(PACKED if packed else CONTENT)
    folder = fetch("set", [FILE], root=tmp_path / "root", mirror=tmp_path / "mirror")
    assert (folder / FILE.name).read_bytes() == CONTENT


def test_a_mirror_folder_without_the_file_names_both_paths(tmp_path):
    with pytest.raises(DataError, match=r"neither .*shelf/rows\+1\.bin nor .*rows\+1\.bin\.gz"):
        fetch("set", [FILE], root=tmp_path / "root", mirror=tmp_path)


@pytest.mark.parametrize("body", [PACKED[:-20], b"not gzip", PACKED_OTHER])
def test_a_broken_packed_file_leaves_nothing(tmp_path, body):
    shelf = tmp_path / "mirror" / "shelf"
    shelf.mkdir(parents=True)
    (shelf / f"{FILE.name}.gz").write_bytes(body)
    with pytest.raises(DataError, match=SHA):
        fetch("set", [FILE], root=tmp_path / "root", mirror=tmp_path / "mirror")
    assert everything_below(tmp_path / "root" / "set") == []


def test_the_mirror_and_the_root_come_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / FILE.name).write_bytes(CONTENT)
    monkeypatch.setenv("TL_RESEARCH_MIRROR", str(tmp_path))
    monkeypatch.setenv("TL_RESEARCH_DATA", str(tmp_path / "here"))
    assert fetch("set", [FILE]) == tmp_path / "here" / "set"
    assert ensure("set", [FILE]) == tmp_path / "here" / "set"


def test_a_loader_without_a_mirror_downloads_nothing_and_names_the_command(no_mirror, monkeypatch):
    monkeypatch.setattr(fetch_module.urllib.request, "urlopen", lambda *_, **__: pytest.fail("went to the network"))
    with pytest.raises(DataError, match="tl-research data fetch books"):
        ensure("books", [FILE])
    (no_mirror / "books").mkdir(parents=True)
    (no_mirror / "books" / FILE.name).write_bytes(b"half")
    with pytest.raises(DataError, match="is not the expected file; run: tl-research data fetch books"):
        ensure("books", [FILE])
    (no_mirror / "books" / FILE.name).write_bytes(CONTENT)
    assert ensure("books", [FILE]) == no_mirror / "books"


def test_a_root_that_cannot_be_made_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.root"):
        fetch("set", [FILE], root=tmp_path / "file", mirror=tmp_path)


def _fetch_in_process(arguments):
    root, url = arguments
    return fetch("set", [FILE], root=root, mirror=url).joinpath(FILE.name).read_bytes() == CONTENT


def test_two_processes_fetch_one_file_and_no_reader_sees_a_part_of_it(tmp_path):
    def slowly(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        for start in range(0, len(CONTENT), 64_000):
            handler.wfile.write(CONTENT[start : start + 64_000])
            time.sleep(0.02)

    seen = set()
    done = threading.Event()

    def watch():
        while not done.is_set():
            path = tmp_path / "set" / FILE.name
            if path.exists():
                seen.add(path.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with Server(slowly) as server, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_fetch_in_process, [(tmp_path, server.url)] * 2))
    done.set()
    watcher.join()
    assert results == [True, True]
    assert seen <= {len(CONTENT)}
    assert everything_below(tmp_path / "set") == [FILE.name]
