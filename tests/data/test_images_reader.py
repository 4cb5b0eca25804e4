"""Pictures are read as a viewer shows them: turned, on white, of 8 bits; what was done is counted."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps

from tl_research.data.catalog.product_files import ProductFilesConfig, load
from tl_research.data.readers import images
from tl_research.data.readers.images import read_image, read_image_column, read_image_folder
from tl_research.errors import DataError

SIZE = 32
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scene():
    """Another colour in each corner, so that no turn looks like another."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 16:], pixels[16:, :16] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
    return Image.fromarray(pixels)


def cut_out(hidden):
    """A red square; what is transparent around it has a colour nobody sees."""
    pixels = np.full((SIZE, SIZE, 4), hidden, np.uint8)
    pixels[..., 3] = 0
    pixels[8:24, 8:24] = (200, 30, 30, 255)
    return Image.fromarray(pixels)


def read(data):
    seen = Counter()
    return read_image(data, SIZE, "case", seen=seen), sorted(key for key in seen if seen[key])


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("orientation", range(10))
def test_an_orientation_tag_is_followed(kind, orientation):
    tag = Image.Exif()
    tag[0x0112] = orientation
    data = encoded(scene(), kind, exif=tag, **LOSSLESS[kind])
    # What the tag asks for, written out: rows and columns of the stored pixels.
    stored = np.asarray(scene())
    shown = {
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored.transpose(1, 0, 2)[::-1],
    }.get(orientation, stored)
    got, done = read(data)
    np.testing.assert_array_equal(got, shown)
    assert done == ([images._TURNED] if 2 <= orientation <= 8 else [])
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(got, np.asarray(ImageOps.exif_transpose(image)))


def test_a_jpeg_is_turned_before_it_is_resized():
    tag = Image.Exif()
    tag[0x0112] = 6
    wide = scene().resize((48, 32)).crop((0, 0, 48, 32))
    turned = read_image(encoded(wide, "JPEG", exif=tag, quality=95), 16, "case")
    upright = read_image(encoded(wide.transpose(Image.Transpose.ROTATE_270), "PNG"), 16, "case")
    assert np.abs(turned.astype(int) - upright).mean() < 4


def test_a_broken_tag_does_not_hide_the_picture():
    got, done = read(encoded(scene(), "JPEG", exif=b"Exif\0\0broken", quality=95))
    assert np.abs(got.astype(int) - np.asarray(scene())).mean() < 6
    assert done == []


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "tRNS RGB", "tRNS L", "tRNS P", "GIF", "WEBP"])
def test_what_is_transparent_is_white_whatever_colour_it_hides(mode):
    def write(image):
        if mode in ("GIF", "WEBP"):
            return encoded(image, mode, **LOSSLESS.get(mode, {}))
        if mode == "P":
            return encoded(image.quantize(8))
        if mode == "tRNS P":
            plain = Image.new("P", image.size, 7)
            plain.putpalette([*(0, 0, 0) * 3, *(200, 30, 30), *image.getpixel((0, 0))[:3] * 12])
            plain.paste(3, (8, 8, 24, 24))
            return encoded(plain, transparency=7)
        if mode.startswith("tRNS"):
            plain = image.convert(mode.split()[1])
            return encoded(plain, transparency=plain.getpixel((0, 0)))
        return encoded(image.convert(mode))

    read_both = []
    for hidden in (0, 255):
        got, done = read(write(cut_out(hidden)))
        assert done == [images._ON_WHITE]
        assert (got[:8] == 255).all()
        assert (got[24:] == 255).all()
        assert got[12, 12].max() < 255
        read_both.append(got.astype(int))
    assert np.abs(read_both[0] - read_both[1]).max() <= 1


def test_half_transparent_is_half_white_and_opaque_is_as_it_was():
    half = cut_out(0)
    half.putalpha(128)
    got, _ = read(encoded(half))
    np.testing.assert_allclose(got[12, 12], np.array([200, 30, 30]) * 128 / 255 + 127, atol=1)
    opaque = scene().convert("RGBA")
    got, done = read(encoded(opaque))
    np.testing.assert_array_equal(got, np.asarray(scene()))
    assert done == []


RAMP = np.linspace(0, 65535, SIZE)[None].repeat(SIZE, 0)


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(RAMP.astype(np.uint16)), "PNG"),
        encoded(Image.fromarray(RAMP.astype(np.uint16)), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(np.int32)), "PPM"),
        encoded(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((RAMP / 257).astype(np.float32)), "TIFF"),
    ],
    ids=["PNG I;16", "TIFF I;16", "TIFF I", "PGM", "TIFF 0 to 1", "TIFF 0 to 255"],
)
def test_greys_of_more_than_8_bits_keep_their_levels(data):
    got, done = read(data)
    np.testing.assert_allclose(got, np.repeat(RAMP[..., None], 3, -1) / 257, atol=0.51)
    assert done == [images._DEEP]


@pytest.mark.parametrize("low", [-5.0, 256.0])
def test_greys_without_a_range_are_refused(low):
    for dtype in (np.float32, np.int32):
        pixels = np.full((8, 8), low if dtype is np.float32 else low * 1e6, dtype)
        with pytest.raises(DataError, match=r"case: pixels beyond 0 to .*with 8 or 16 bits"):
            read(encoded(Image.fromarray(pixels), "TIFF"))


def test_the_first_frame_of_an_animation_is_read_and_said():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    got, done = read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (got == (255, 0, 0)).all()
    assert done == [images._FIRST_FRAME]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_are_as_pillow_converts_them(mode):
    image = scene().convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encoded(image, kind)
    with Image.open(io.BytesIO(data)) as plain:
        expected = np.asarray(plain.convert("RGB"))
    got, done = read(data)
    np.testing.assert_array_equal(got, expected)
    assert done == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"not an image \(it is empty\)"),
        (b"noise", "not an image"),
        (b"<html>no such picture</html>", r"not an image \(an HTML page"),
        (encoded(scene())[:90], "a broken image"),
        (encoded(scene(), "JPEG")[:200], "a broken image"),
        (encoded(scene()).replace(b"IDAT", b"IDAX"), "a broken image"),
        (encoded(Image.new("1", (8000, 7000))), "an image of 8000 x 7000 pixels; the most is 50 million"),
        (encoded(Image.new("1", (20000, 10000))), "more pixels than 50 million"),
    ],
)
def test_what_is_no_picture_or_too_large_is_said(data, message, recwarn):
    with pytest.raises(DataError, match=rf"case: {message}"):
        read(data)
    assert not recwarn.list


def test_a_column_says_what_was_done_and_names_what_is_wrong(tmp_path):
    (tmp_path / "folder").mkdir()
    scene().save(tmp_path / "plain.png")
    given = {"size": 8, "origin": "t.csv", "column": "photo", "base": tmp_path}
    remarks = []
    values = [
        encoded(cut_out(0)),
        None,
        "plain.png",
        " plain.png ",
        " ",
        b"",
        float("nan"),
        {"bytes": None, "path": None},
    ]
    pixels, present = read_image_column(values, remarks=remarks, **given)
    assert present.tolist() == [True, False, True, True, False, False, False, False]
    np.testing.assert_array_equal(pixels[2], pixels[3])
    assert remarks == ["t.csv, column 'photo': 1 of 3 images are transparent in part and were put on white"]
    for value, message in (
        ("gone.png", r"\S*gone\.png: there is no such file"),
        ("folder", "it is a folder"),
        ("https://a.com/b.png", "https://a.com/b.png: URLs are not read; download"),
        ({"url": "x"}, "a struct of the fields url, wants bytes or path"),
        (np.zeros(3), "got a ndarray"),
        (3.5, "got a float"),
    ):
        with pytest.raises(DataError, match=rf"^t\.csv, row 2, column 'photo': .*{message}"):
            read_image_column([None, value], **given)
    with pytest.raises(DataError, match=r"t\.csv: 99999999999 images .*data\.image_size"):
        images._room_for(99_999_999_999, 1024, "t.csv")


def test_files_of_a_folder_that_are_not_read_are_counted(tmp_path):
    folder = tmp_path / "old"
    for name in ("shoe/1.png", "shoe/2.PNG", "shirt/1.png", "top.png", "shoe/deep/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scene().save(folder / name)
    for name in ("shoe/notes.txt", "shoe/a.heic", ".DS_Store", "shoe/Thumbs.db"):
        (folder / name).write_text("x")
    (folder / "hat").mkdir()
    remarks = []
    _, label = read_image_folder(folder, size=8, remarks=remarks)
    assert label.tolist() == ["shirt", "shoe", "shoe"]
    assert remarks == [
        f"{folder}: 4 files that are no <class>/<image> are left out (shoe/a.heic, shoe/deep/3.png, shoe/notes.txt, "
        "...)",
        f"{folder}: 1 folders hold no image and are no classes (hat)",
    ]
    new = tmp_path / "new"
    for row, name in enumerate(("shoe/1.png", "shoe/2.png", "shirt/1.png", "shirt/2.png")):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * row, np.uint8)).save(new / name)
    names = [str(folder), str(new)]
    domains = load(ProductFilesConfig(sources=names[:1], target=names[1], label="y"), names)
    assert domains[names[0]].remarks[: len(remarks)] == remarks
