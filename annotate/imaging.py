"""Pictures from strangers made harmless: really decoded, turned upright, shrunk, and written anew without metadata.

What comes out is WebP, named by its SHA-256. Nothing of the file that came survives but its pixels: no place, no
camera, no thumbnail, no colour profile (the colours are brought to sRGB). Pure functions; nothing here reads or
writes files.
"""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
MOST_BYTES = 20 * 1024 * 1024
MOST_PIXELS = 40_000_000  # 160 MB when decoded
LONGEST_SIDE = 2048  # pixels
CONTENT_TYPE = "image/webp"
DRAWN = ("PNG", "GIF")  # text and lines, as a rule: kept without loss while that stays small
LIGHT = 1024 * 1024  # bytes
QUALITY = 88
SRGB = ImageCms.createProfile("sRGB")
# What Pillow raises for files that are broken or made to break it.
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip


def sha256(data: bytes) -> str:
    """SHA-256 in hex: what names a picture."""
    return hashlib.sha256(data).hexdigest()


class ImageError(ValueError):
    """The bytes are no picture that can be taken; the message is the rest of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is kept: `sha256` (hex) of `data`, which is WebP; width and height in pixels."""

    data: bytes
    sha256: str
    width: int
    height: int


def harmless(data: bytes) -> Picture:
    """The picture in a file of any of FORMATS; of an animation the first frame. Raises ImageError."""
    if len(data) > MOST_BYTES:
        raise ImageError(f"has {len(data) / 1e6:.0f} MB: shrink it to {MOST_BYTES // 2**20} MB at most.")
    with warnings.catch_warnings():
        # Pillow's own limit warns before it refuses; ours is below both.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return written(*decoded(data))


def decoded(data: bytes) -> tuple[Image.Image, bool]:
    """(pixels upright in sRGB, at most LONGEST_SIDE; were they drawn rather than photographed?)"""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            check_size(*opened.size)
            drawn = opened.format in DRAWN
            opened.load()
            return fitted(upright(opened)), drawn
    except UnidentifiedImageError:
        raise ImageError("is no PNG, JPEG, WebP or GIF: save it as one of these.") from None
    except Image.DecompressionBombError:
        raise ImageError(too_many_pixels()) from None
    except ImageError:
        raise
    except BROKEN:
        raise ImageError("is damaged and cannot be decoded: save it anew.") from None


def check_size(width: int, height: int) -> None:
    """Before anything is decoded: a few kilobytes can claim to be gigabytes."""
    if width * height > MOST_PIXELS:
        raise ImageError(too_many_pixels())


def too_many_pixels() -> str:
    return f"has more than {MOST_PIXELS // 10**6} million pixels: shrink it."


def upright(image: Image.Image) -> Image.Image:
    """As its EXIF data says it is to be held, in RGB or RGBA, its colours brought to sRGB."""
    profile = image.info.get("icc_profile")
    turned = ImageOps.exif_transpose(image) or image
    if turned.mode.startswith("I"):  # 16 bits a pixel: the upper eight are what a screen shows
        turned = turned.point(lambda value: value * (1 / 256)).convert("L")
    see_through = turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info
    if isinstance(profile, bytes) and profile and turned.mode in ("RGB", "RGBA", "CMYK", "L"):
        turned = in_srgb(turned, profile)
    return turned.convert("RGBA" if see_through else "RGB")


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The colours that the profile means; as they stand where it cannot be read or is for other pixels."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, SRGB, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def fitted(image: Image.Image) -> Image.Image:
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def written(image: Image.Image, drawn: bool) -> Picture:
    """The pixels alone as a WebP file."""
    image.info = {}  # an encoder may take along what it finds there
    data = webp(image, lossless=True) if drawn else b""
    if not data or len(data) > LIGHT:
        data = webp(image, lossless=False)
    return Picture(data, sha256(data), image.width, image.height)


def webp(image: Image.Image, *, lossless: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=QUALITY if not lossless else 60, method=3)
    return file.getvalue()


def thumbnail(data: bytes, side: int) -> bytes:
    """A kept picture (WebP) at most `side` pixels long, for a first look."""
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as opened:
        opened.thumbnail((side, side))
        opened.info = {}
        return webp(opened, lossless=False)


def as_kept(data: bytes) -> Picture:
    """A file that `harmless` wrote, taken back byte for byte. Raises ImageError for any other."""
    if len(data) > MOST_BYTES:
        raise ImageError(f"has {len(data) / 1e6:.0f} MB: no kept picture has as many.")
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as opened:
            width, height = opened.size
            extra = {"exif", "xmp", "icc_profile"} & set(opened.info)
            if extra or max(width, height) > LONGEST_SIDE:
                raise ImageError("is not as Plumbline keeps pictures: import it with its items instead.")
            opened.load()
    except UnidentifiedImageError:
        raise ImageError("is no WebP file.") from None
    except ImageError:
        raise
    except BROKEN:
        raise ImageError("is damaged and cannot be decoded.") from None
    return Picture(data, sha256(data), width, height)
