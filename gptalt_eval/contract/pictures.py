"""Pictures in questions: known by a hash, read when they are made and when opened, never kept decoded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.handed import open_named

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 1 << 26  # of a picture; below the number at which Pillow warns
LARGEST = 1 << 28  # bytes of a file; as many as that many pixels have in RGBA
#: what Pillow may read. Others are left out: EPS starts a program, and nobody asks questions about an icon
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
#: modes that PNG keeps; pictures in memory with another one (a palette, CMYK) are converted
KEPT = ("1", "L", "LA", "RGB", "RGBA")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's own conversion to 8 bits makes nearly all of it white
ENDLESS = ("I", "F")  # where nobody knows which number is white
THUMBNAIL = 384  # pixels, the longer side
LARGEST_THUMBNAIL = 1 << 19  # bytes; one of pure noise has 0.3 MB
PREFIX = "sha256:"
PNG = b"\x89PNG\r\n\x1a\n"  # with which such files begin


class Picture(str):
    """A picture, which as a text is ``sha256:`` and the SHA-256 of its file's bytes.

    So it is compared, hashed, logged and written to JSON as this text. Made by :func:`make_picture`.

    Attributes:
        name: what messages call it: its path, or what it was called when it was made.
    """

    __slots__ = ("content", "name", "path")
    name: str
    path: Path | None
    content: bytes

    def __new__(cls, text: str, name: str, path: Path | None, content: bytes = b"") -> Picture:
        made = super().__new__(cls, text)
        for key, value in (("name", name), ("path", path), ("content", content)):
            object.__setattr__(made, key, value)
        return made

    def __setattr__(self, key: str, value: object) -> NoReturn:
        raise AttributeError(f"a picture cannot be changed ({key})")

    def __reduce__(self) -> tuple[Any, ...]:
        return Picture, (str(self), self.name, self.path, self.content)

    def __copy__(self) -> Picture:
        return self

    def __deepcopy__(self, memo: object) -> Picture:
        return self

    def open(self) -> Image:
        """The picture, decoded and turned as its file says; of an animation, the first frame.

        Its mode is that of the file, but for grey of 16 bits, which becomes grey of 8 bits.

        Raises:
            GptaltError: it is no picture, cut off, too large, or no longer the file that it was; names it.
        """
        return decode(self.read(), self.name)

    def check(self) -> None:
        """Check that it can be opened; of a PNG, by its checksums alone, which takes a tenth of the time.

        Raises:
            GptaltError: as ``open``.
        """
        content = self.read()
        if content.startswith(PNG):
            verify(content, self.name)
        else:
            decode(content, self.name)

    def read(self) -> bytes:
        if self.path is None:
            return self.content
        content = read_bytes(self.path)
        if hash_bytes(content) != self:
            raise GptaltError(
                f"{self.name} has changed since the run began.",
                "Start again, and leave the pictures as they are while it runs.",
            )
        return content


def make_picture(source: object, name: str = "") -> Picture:
    """A picture from what a row has.

    Args:
        source: a path (as text too), a file's bytes, a Pillow image, or a mapping with ``bytes`` or ``path``
            as ``datasets`` has them undecoded. Pillow images are hashed by mode, size, transparent
            colour and pixels.
        name: what messages call it, if it has no path.

    Raises:
        GptaltError: the file is missing, cannot be read, or is a pipe or a device; the image cannot be read
            or is too large; or it is something else.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Mapping):
        path, content = source.get("path") or "", source.get("bytes")
        return make_picture(path if content is None else content, name or str(path))
    if isinstance(source, (str, Path)) and str(source):
        return read_path(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
        return Picture(hash_bytes(content), name or "A picture in a row", None, content)
    if hasattr(source, "tobytes") and hasattr(source, "mode"):
        return keep_image(source, name or getattr(source, "filename", "") or "A picture in a row")
    raise GptaltError(
        f"{name or 'A picture'} is given as {type(source).__name__}, {source!r:.60}.",
        "A picture is a path, the bytes of a file, or a Pillow image.",
    )


def read_path(path: Path) -> Picture:
    """A picture in a file. Its path is kept, so that another working folder makes no difference."""
    path = path.expanduser().absolute()
    return Picture(hash_bytes(read_bytes(path)), str(path), path)


def read_bytes(path: Path) -> bytes:
    with open_named(path, "rb") as stream:
        try:
            content: bytes = stream.read(LARGEST + 1)
        except OSError as error:  # a folder can be opened on some systems
            raise GptaltError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > LARGEST:
        raise GptaltError(f"{path} has more than {LARGEST:,} bytes, more than any picture of a question.")
    return content


def hash_bytes(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return PREFIX + digest.hexdigest()


def keep_image(image: Any, name: str) -> Picture:
    """A picture that is in memory. It is kept as PNG; the hash is not of that, which libraries may change."""
    from PIL import ImageOps

    check_size(image, name)
    try:
        image = scale_grey(ImageOps.exif_transpose(image), name)
        if image.mode not in KEPT:
            image = image.convert("RGBA" if has_transparency(image) else "RGB")
        pixels = image.tobytes()  # which reads its file, if that has not happened yet
        kept = io.BytesIO()
        image.save(kept, "PNG", compress_level=1, exif=b"", icc_profile=None)
    except GptaltError:
        raise
    except Exception as error:
        raise refuse_content(name, error) from error
    # PNG keeps the colour that is transparent in a picture without alpha, and processors make it white
    clear = f"{image.info['transparency']!r} " if "transparency" in image.info else ""
    header = f"{image.mode} {image.width}x{image.height} {clear}".encode()
    return Picture(hash_bytes(header, pixels), name, None, kept.getvalue())


def has_transparency(image: Any) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def decode(content: bytes, name: str) -> Image:
    from PIL import ImageOps

    with opening(content, name) as opened:
        opened.load()
        image: Image = scale_grey(ImageOps.exif_transpose(opened), name)
        return image


def verify(content: bytes, name: str) -> None:
    with opening(content, name) as opened:
        opened.verify()


@contextlib.contextmanager
def opening(content: bytes, name: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Any]:
    """A picture of which the header is read; what goes wrong with it inside the block is named."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(io.BytesIO(content), formats=formats)
            check_size(opened, name)
            yield opened
        except GptaltError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise refuse_size(name, "too many") from error
        except Exception as error:  # each decoder raises what it likes
            raise refuse_content(name, error) from error


def scale_grey(image: Any, name: str) -> Any:
    """Grey in 8 bits, where it has more; other pictures as they are."""
    if image.mode in ENDLESS:
        raise GptaltError(
            f"{name} has pixels of mode {image.mode}, without a number that stands for white.",
            "Save it with 8 or 16 bits.",
        )
    if image.mode in DEEP:  # which have no conversion to fewer bits; "I" has
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image


def check_size(image: Any, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise refuse_size(name, f"{width:,} x {height:,}")
    if not width * height:
        raise GptaltError(f"{name} has no pixels ({width} x {height}).", "Replace it.")


def refuse_size(name: str, pixels: str) -> GptaltError:
    return GptaltError(
        f"{name} has {pixels} pixels; it would fill the memory, and is not decoded.",
        f"Make it smaller: a picture may have {MOST_PIXELS:,} pixels.",
    )


def refuse_content(name: str, error: Exception) -> GptaltError:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return GptaltError(f"{name} is not a picture.", f"These can be read: {', '.join(FORMATS)}.")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return GptaltError(f"{name} is cut off or damaged ({reason}).", "Replace it by the original file.")


def make_thumbnail(picture: Picture) -> bytes:
    """The picture as WebP, at most 384 pixels wide and high.

    Raises:
        GptaltError: it cannot be opened.
    """
    image = picture.open()
    small: Any = image.convert("RGBA" if has_transparency(image) else "RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    written = io.BytesIO()
    small.save(written, "WEBP", quality=80)
    return written.getvalue()


def measure_thumbnail(content: bytes, name: str) -> tuple[int, int]:
    """The width and height of a thumbnail, which somebody else may have written.

    Args:
        content: the bytes of its file.
        name: what messages call it.

    Raises:
        GptaltError: it is no WebP, an animation, damaged, or larger than ours.
    """
    if len(content) > LARGEST_THUMBNAIL:
        raise GptaltError(f"{name} has more than {LARGEST_THUMBNAIL:,} bytes.")
    with opening(content, name, ("WEBP",)) as opened:
        width, height = opened.size
        if max(width, height) > THUMBNAIL or getattr(opened, "n_frames", 1) > 1:
            raise GptaltError(f"{name} is larger than {THUMBNAIL} x {THUMBNAIL} pixels, or an animation.")
        opened.load()
        return width, height
