"""Paths as people give them: one message that says what is there instead of a file."""

import os
import socket

import numpy as np
import pytest
from PIL import Image

from tl_research.cli import main
from tl_research.data.readers.domain_file import read_rows
from tl_research.data.readers.features import read_features
from tl_research.data.readers.images import read_image, read_image_column, read_image_folder
from tl_research.data.readers.paths import checked_file, kind_of, local_path
from tl_research.data.readers.tabular import read_table
from tl_research.data.readers.text import read_lines
from tl_research.errors import DataError

CASES = {
    "folder.csv": "it is a folder, wants a file",
    "pipe.csv": "it is a pipe",
    "socket.csv": "it is a socket",
    "dangling.csv": "it is a link to gone, which is not there",
    "loop.csv": "it is a link that leads to itself",
    "/dev/null": "it is a device",
    "gone.csv": "there is no such file",
    "gone/deep/t.csv": "there is no such file",
    "a.csv/t.csv": r"there is no such file: \S*a\.csv is a file, no folder",
    "https://example.com/t.csv": "URLs are not read; download the file",
    "HTTP://example.com/t.csv": "URLs are not read; download the file",
    "s3://bucket/t.csv": "URLs are not read; download the file",
    "gs://bucket/t.csv": "URLs are not read",
    "hdfs:///t.csv": "URLs are not read",
    "https:/example.com/t.csv": "URLs are not read",
    "file:///tmp/t.csv": "write the path alone",
    "~nobodyhere/t.csv": "there is no user of the name '~nobodyhere'",
    "y" * 300 + ".csv": "the path is too long .304 characters",
    "y/" * 3000 + "t.csv": "the path is too long",
    "a\0b.csv": "a path cannot hold the character NUL",
    "\udcff.csv": "the path is no valid text",
}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A folder that holds whatever is no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo("pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.csv")
    os.symlink("gone", "dangling.csv")
    os.symlink("loop.csv", "loop.csv")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    return tmp_path


@pytest.mark.parametrize("path", CASES)
def test_every_reader_says_what_is_there_instead_of_a_file(path):
    readers = [
        checked_file,
        read_table,
        lambda path: read_rows(path, "b"),
        lambda path: read_features(path.replace("csv", "npz") if path.startswith(("gone", "~")) else path),
        lambda path: read_image(path, 8, path),
        lambda path: read_lines(path, encoding="utf-8"),
    ]
    for read in readers:
        with pytest.raises(DataError, match=CASES[path]) as caught:
            read(path)
        assert len(str(caught.value)) < 400
    with pytest.raises(DataError, match=rf"^t\.csv, row 2, column 'photo': .*{CASES[path]}"):
        read_image_column([None, path], size=8, origin="t.csv", column="photo")


@pytest.mark.parametrize("path", CASES)
def test_the_command_line_ends_in_one_message(path, capsys):
    if "," in path or "\udcff" in path:
        return
    for words in (
        ["data.sources=[a.csv]", f"data.target='{path}'", "data.label=b"],
        ["data.sources=[u]", "data.target=v", f"data.path='{path}'", "data.domain_column=a", "data.label=b"],
        ["data.name=product_files", "data.sources=[a.csv]", f"data.target='{path}'", "data.label=b"],
    ):
        named = [] if words[0].startswith("data.name") else ["data.name=files"]
        assert main(["fit", *named, *words, "wandb.mode=disabled"]) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("tl-research: "), said
        assert "Traceback" not in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    "path", ["gone", "a.csv", "https://example.com/x", "~nobodyhere/x", "dangling.csv", "pipe.csv"]
)
def test_a_folder_of_images_is_checked_as_a_file_is(path):
    with pytest.raises(DataError, match=r"no such folder|wants a folder|URLs|no user"):
        read_image_folder(path, size=8)


def test_paths_that_are_fine(places):
    assert local_path("~") == local_path(os.path.expanduser("~"))
    assert local_path("a b [c] #d, é: {e}.csv").name == "a b [c] #d, é: {e}.csv"
    assert str(local_path("C:\\t.csv")) == "C:\\t.csv"
    os.symlink("a.csv", "link.csv")
    assert read_table("link.csv")["a"].tolist() == ["1"]
    # A name that begins with ~ and is no user's, and one below `.` that looks like a user's.
    os.symlink("a.csv", "~x.csv")
    assert read_table("~x.csv")["a"].tolist() == read_table("./~x.csv")["a"].tolist() == ["1"]
    assert str(local_path("./~x.csv")) == "~x.csv"
    # A folder that is called like the beginning of a URL.
    (places / "s3:").mkdir()
    (places / "s3:" / "a.csv").write_text("a,b\n1,2\n")
    assert read_table("s3:/a.csv")["b"].tolist() == ["2"]


def test_a_file_without_permission_is_said(places, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match=r"a\.csv: there is no permission to read it"):
        checked_file("a.csv")
    monkeypatch.undo()

    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(DataError, match=r"a\.csv: cannot be read .Input/output error"):
        read_table(places / "a.csv")


def test_kinds_of_files_are_known_by_their_first_bytes(places):
    np.save("a.npy", np.zeros(3))
    Image.new("RGB", (4, 4)).save("a.jpg")
    Image.new("RGB", (4, 4)).save("a.webp")
    for name, kind in (("a.npy", "numpy.save"), ("a.jpg", "JPEG"), ("a.webp", "WebP"), ("a.csv", None)):
        found = kind_of((places / name).read_bytes())
        assert found is None if kind is None else kind in found
