"""Pictures: what they are called, what can be opened, and that all else is named."""

import copy
import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gptalt_eval.contract import pictures
from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.pictures import MOST_PIXELS, THUMBNAIL, make_picture, make_thumbnail

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


def encode(image, kind="PNG", **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def draw(width=7, height=5, mode="RGB", seed=1):
    noise = bytes((place * 37 + seed * 11) % 251 for place in range(width * height * 3))
    return Image.frombytes("RGB", (width, height), noise).convert(mode)


def write(folder, content, name="question.png"):
    path = folder / name
    path.write_bytes(content)
    return path


def list_pixels(image):
    return image.size, image.convert("RGB").tobytes()


def make_png(width, height):
    """The header of a PNG of that size, and no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@given(content=st.binary(max_size=200))
def test_the_text_is_the_hash_of_the_bytes_wherever_they_are(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("pictures"), content)
    text = "sha256:" + hashlib.sha256(content).hexdigest()
    for made in (make_picture(path), make_picture(str(path)), make_picture(content),
                 make_picture({"bytes": content, "path": "x.png"}), make_picture({"bytes": None, "path": str(path)})):  # fmt: skip
        assert made == text
        assert json.dumps({"visual": [made]}) == json.dumps({"visual": [text]})
        assert hash(made) == hash(text) and str(made) == f"{made}" == text


@given(
    mode=st.sampled_from(MODES), width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 9)
)
def test_a_picture_in_memory_keeps_its_pixels(mode, width, height, seed):
    image = draw(width, height, mode, seed)
    made = make_picture(image)
    assert list_pixels(made.open()) == list_pixels(image)
    assert make_picture(image.copy()) == made
    for copied in (copy.deepcopy(made), copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert copied == made and list_pixels(copied.open()) == list_pixels(image)


@given(
    first=st.sampled_from(MODES),
    second=st.sampled_from(MODES),
    size=st.sampled_from([(6, 4), (4, 6), (8, 3)]),
)
def test_pictures_in_memory_are_equal_if_they_look_the_same(first, second, size):
    one, other = draw(6, 4, first), draw(*size, second)
    same = list_pixels(one) == list_pixels(other) and first == second
    if same:
        assert make_picture(one) == make_picture(other)
    elif size != (6, 4):
        assert make_picture(one) != make_picture(other)


def test_one_pixel_makes_another_picture():
    image = draw()
    other = image.copy()
    other.putpixel((3, 2), (0, 0, 0))
    assert make_picture(image) != make_picture(other)


def test_a_palette_counts():
    image = draw(mode="P")
    other = image.copy()
    other.putpalette(bytes(reversed(image.getpalette())))
    assert image.tobytes() == other.tobytes()
    assert make_picture(image) != make_picture(other)


@pytest.mark.parametrize("mode, clear", [("1", 0), ("L", 90), ("RGB", (90, 90, 90))])
def test_a_transparent_colour_counts(mode, clear):
    image = Image.new("L", (6, 4), 90 if mode != "1" else 0).convert(mode)
    plain, seen_through = (
        Image.open(io.BytesIO(encode(image, **more))) for more in ({}, {"transparency": clear})
    )
    assert plain.tobytes() == seen_through.tobytes() and plain.mode == seen_through.mode
    made = make_picture(seen_through)
    assert make_picture(plain) != made
    assert made.open().convert("RGBA").tobytes() == seen_through.convert("RGBA").tobytes()


def test_nothing_of_a_picture_can_be_changed(tmp_path):
    made = make_picture(write(tmp_path, encode(draw())))
    for name in ("path", "content", "name", "other"):
        with pytest.raises(AttributeError, match=name):
            setattr(made, name, "x")


def test_a_path_is_kept_and_no_bytes(tmp_path, monkeypatch):
    path = write(tmp_path, encode(draw()))
    monkeypatch.chdir(tmp_path)
    made = make_picture("question.png")
    assert made.path == path and made.content == b""
    monkeypatch.chdir("/")
    assert list_pixels(made.open()) == list_pixels(draw())
    assert make_picture(made) is made


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_kinds_of_files(tmp_path, kind):
    made = make_picture(write(tmp_path, encode(draw(), kind), "without-an-ending"))
    assert made.open().size == (7, 5)


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert make_picture(content).open().convert("RGB").getpixel((0, 0)) == (255, 0, 0), kind


def test_pictures_are_turned_as_their_file_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = write(tmp_path, encode(draw(), exif=exif))
    turned = draw().rotate(-90, expand=True)
    assert list_pixels(make_picture(path).open()) == list_pixels(turned)
    with Image.open(path) as image:
        assert list_pixels(make_picture(image).open()) == list_pixels(turned)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "memory", "swapped memory"])
def test_grey_of_16_bits_is_not_all_white(kind):
    image = Image.new("I;16B" if kind.startswith("swapped") else "I;16", (3, 2), 0x8000)
    made = make_picture(image if "memory" in kind else encode(image, kind))
    assert made.open().convert("RGB").getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_white_are_refused(mode):
    image = Image.new(mode, (3, 2))
    with pytest.raises(GptaltError, match=f"scan.tif has pixels of mode {mode}"):
        make_picture(image, "scan.tif")
    with pytest.raises(GptaltError, match=f"scan.tif has pixels of mode {mode}"):
        make_picture(encode(image, "TIFF"), "scan.tif").open()


NO_PICTURES = {
    "empty": (b"", "is not a picture"),
    "a text": (b"<html>not found</html>", "is not a picture"),
    "a pointer of git": (b"version https://git-lfs.github.com/spec/v1\n", "is not a picture"),
    "PostScript, which starts a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
    "cut off": (encode(draw(90, 90))[:400], "is cut off or damaged"),
    "a JPEG cut off": (encode(draw(90, 90), "JPEG")[:700], "is cut off or damaged"),
    "without pixels": (make_png(9, 9), "is cut off or damaged"),
    "a bomb": (make_png(50_000, 50_000), "has too many pixels"),
    "a bomb of which Pillow warns": (make_png(10_000, 10_000), "has too many pixels"),
    "more than a question has": (make_png(MOST_PIXELS // 1000 + 1, 1000), "has 67,109 x 1,000 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("content, reason", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_cannot_be_opened_is_named(tmp_path, recwarn, content, reason):
    path = write(tmp_path, content)
    for made, name in ((make_picture(path), str(path)), (make_picture(content, "row 7"), "row 7")):
        with pytest.raises(GptaltError) as caught:
            made.open()
        assert str(caught.value).startswith(f"{name} {reason}") and caught.value.hint
    assert not recwarn.list


def test_a_bomb_is_not_decoded(monkeypatch):
    def load(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as some libraries set it
    with pytest.raises(GptaltError, match="has 50,000 x 50,000 pixels"):
        make_picture(make_png(50_000, 50_000)).open()
    with pytest.raises(GptaltError, match="has 50,000 x 50,000 pixels"):
        make_picture(Image.open(io.BytesIO(make_png(50_000, 50_000))))


@given(
    place=st.integers(8, 400),
    value=st.integers(0, 255),
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]),
)
def test_a_damaged_file_opens_or_is_named(place, value, kind):
    content = bytearray(encode(draw(20, 20), kind))
    content[place % len(content)] = value
    made = make_picture(bytes(content), "it")
    try:
        made.open().convert("RGB")
    except GptaltError as error:
        assert str(error).startswith("it ")


def test_pictures_in_memory_that_cannot_be_read(tmp_path):
    with (
        Image.open(write(tmp_path, encode(draw(90, 90))[:400])) as image,
        pytest.raises(GptaltError) as caught,
    ):
        make_picture(image)
    assert str(tmp_path / "question.png") in str(caught.value)
    with pytest.raises(GptaltError, match="row 7 has no pixels"):
        make_picture(Image.new("RGB", (0, 3)), "row 7")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "NUL"])
def test_what_is_no_file_is_named_at_once(tmp_path, kind):
    path = tmp_path / "inside"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "NUL":
        path = f"{path}\0"
    with pytest.raises(GptaltError) as caught:
        make_picture(path)
    assert str(path) in str(caught.value)


def test_a_file_larger_than_any_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 100)
    with pytest.raises(GptaltError, match=r"question.png has more than 100 bytes"):
        make_picture(write(tmp_path, b"x" * 101))


@pytest.mark.parametrize("source", [None, "", 3, [b"x"], {}, {"bytes": None, "path": None}, object()])
def test_what_is_no_picture_at_all(source):
    with pytest.raises(GptaltError, match="row 7 is given as"):
        make_picture(source, "row 7")


def test_a_file_that_changes_is_not_another_picture_silently(tmp_path):
    path = write(tmp_path, encode(draw()))
    made = make_picture(path)
    path.write_bytes(encode(draw(seed=2)))
    with pytest.raises(GptaltError, match=r"question.png has changed since the run began"):
        made.open()
    path.unlink()
    with pytest.raises(GptaltError, match=r"question.png cannot be read"):
        made.open()


@given(mode=st.sampled_from(MODES), width=st.integers(1, 900), height=st.integers(1, 900))
def test_thumbnails(mode, width, height):
    with Image.open(io.BytesIO(make_thumbnail(make_picture(Image.new(mode, (width, height)))))) as small:
        assert small.format == "WEBP" and max(small.size) == min(max(width, height), THUMBNAIL)
        assert abs(small.width * height - small.height * width) <= max(width, height)


def test_a_transparent_thumbnail_stays_transparent():
    drawn = Image.new("RGBA", (9, 9), (255, 0, 0, 0)).convert("P")
    drawn.info["transparency"] = 0
    for image in (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), drawn, Image.new("LA", (9, 9), (9, 0))):
        with Image.open(io.BytesIO(make_thumbnail(make_picture(image)))) as small:
            assert small.convert("RGBA").getpixel((4, 4))[3] == 0


def test_pillow_waits_until_a_picture_is_opened():
    code = "import sys; from gptalt_eval.contract.pictures import make_picture; make_picture(b''); assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
