"""Pictures from strangers: what is kept is the pixels, upright and not too large; whatever is wrong is refused."""

import hashlib
import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from annotate import imaging
from annotate.imaging import ImageError, as_kept, harmless, thumbnail

pytestmark = pytest.mark.database_free

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def file_of(image: Image.Image, format_: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def quarters() -> Image.Image:
    """Upper left red, upper right green, lower left blue, lower right white; 80 × 40."""
    image = Image.new("RGB", (80, 40), WHITE)
    for place, colour in (((0, 0), RED), ((40, 0), GREEN), ((0, 20), BLUE)):
        image.paste(Image.new("RGB", (40, 20), colour), place)
    return image


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def near(colour, wanted) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(colour, wanted, strict=True))


def with_place() -> Image.Exif:
    """EXIF that says where a photograph was taken, by whom, and that it is to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held with its right side down
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825).update({1: "N", 2: (69.0, 38.0, 57.0), 3: "E", 4: (18.0, 57.0, 18.0)})
    return exif


def test_where_a_photograph_was_taken_is_gone_and_it_stands_upright():
    data = file_of(quarters(), "JPEG", exif=with_place(), quality=95)
    before = opened(data)
    assert before.getexif().get_ifd(0x8825)  # it was there
    assert b"SecretCamera" in data
    kept = harmless(data)
    after = opened(kept.data)
    assert (after.format, dict(after.getexif()), after.getexif().get_ifd(0x8825)) == ("WEBP", {}, {})
    assert [mark for mark in (b"EXIF", b"XMP ", b"ICCP", b"SecretCamera") if mark in kept.data] == []
    assert (kept.width, kept.height) == after.size == (40, 80)
    corners = [after.convert("RGB").getpixel(place) for place in ((10, 10), (30, 10), (10, 70), (30, 70))]
    assert all(near(*pair) for pair in zip(corners, (BLUE, RED, WHITE, GREEN), strict=True)), corners


def test_its_name_is_the_hash_of_what_is_kept_and_the_same_file_gives_the_same():
    data = file_of(quarters())
    first, second = harmless(data), harmless(data)
    assert first == second
    assert first.sha256 == hashlib.sha256(first.data).hexdigest()


def test_text_and_comments_of_a_png_are_gone():
    said = PngInfo()
    said.add_text("Author", "Somebody Secret")
    said.add_itxt("XML:com.adobe.xmp", "<x>Secret</x>")
    assert b"Secret" not in harmless(file_of(quarters(), pnginfo=said)).data


def test_a_large_picture_shrinks_and_keeps_its_shape():
    kept = harmless(file_of(Image.new("RGB", (4000, 1000), RED), "JPEG"))
    assert (kept.width, kept.height) == (2048, 512)
    small = harmless(file_of(Image.new("RGB", (30, 20), RED)))
    assert (small.width, small.height) == (30, 20)


def test_what_is_see_through_stays_so():
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.putpixel((3, 3), (255, 0, 0, 255))
    after = opened(harmless(file_of(image)).data)
    assert after.mode == "RGBA"
    assert (after.getpixel((10, 10))[3], after.getpixel((3, 3))) == (0, (255, 0, 0, 255))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    assert opened(harmless(file_of(palette, "GIF", transparency=0)).data).mode == "RGBA"


def test_of_an_animation_the_first_frame_is_kept():
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert opened(data).n_frames == 3
    after = opened(harmless(data).data)
    assert after.n_frames == 1
    assert near(after.convert("RGB").getpixel((8, 8)), RED)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_kind_of_pixels_is_taken(mode):
    grey = 255 if mode == "1" else 200
    image = Image.new("L", (12, 8), grey)
    image = (
        image.convert("I").point(lambda value: value * 257).convert("I;16") if mode == "I;16" else image.convert(mode)
    )
    kept = harmless(file_of(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert abs(opened(kept.data).convert("L").getpixel((5, 5)) - grey) < 12


def test_a_colour_profile_is_not_kept_even_where_it_cannot_be_applied():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    garbage = file_of(quarters(), icc_profile=profile.tobytes())  # a profile for other pixels than these
    assert near(opened(harmless(garbage).data).convert("RGB").getpixel((5, 5)), RED)
    assert b"ICCP" not in harmless(file_of(quarters(), icc_profile=b"no profile")).data


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8000, 6000), (30_000, 30_000), (65_000, 65_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="more than 40 million pixels"):
        harmless(claiming(*size))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is no PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "is no PNG"),
        (b"%PDF-1.7", "is no PNG"),
        (file_of(Image.new("RGB", (9, 9)), "BMP"), "is no PNG"),
        (file_of(Image.new("RGB", (9, 9)), "TIFF"), "is no PNG"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded|is no PNG"),
        (file_of(Image.effect_noise((200, 200), 90), "JPEG")[:2000], "is damaged"),
        (file_of(Image.effect_noise((200, 200), 90), "PNG")[:2000], "is damaged"),
        (file_of(Image.effect_noise((200, 200), 90), "WEBP")[:2000], "is damaged"),
    ],
)
def test_what_is_no_picture_is_refused(data, problem):
    with pytest.raises(ImageError, match=problem):
        harmless(data)


def test_too_many_bytes_are_refused_unread(monkeypatch):
    monkeypatch.setattr(imaging, "MOST_BYTES", 1000)
    with pytest.raises(ImageError, match="shrink it to"):
        harmless(b"x" * 1001)


def test_a_kept_picture_is_taken_back_as_it_is_and_no_other():
    kept = harmless(file_of(quarters()))
    assert as_kept(kept.data) == kept
    for other, problem in (
        (file_of(quarters()), "no WebP"),
        (file_of(quarters(), "WEBP", exif=with_place()), "not as Plumbline keeps"),
        (file_of(Image.new("RGB", (3000, 10)), "WEBP"), "not as Plumbline keeps"),
        (kept.data[:60], "no WebP|damaged"),
    ):
        with pytest.raises(ImageError, match=problem):
            as_kept(other)


def test_a_thumbnail_is_small():
    kept = harmless(file_of(Image.new("RGB", (900, 300), RED), "JPEG"))
    assert opened(thumbnail(kept.data, 90)).size == (90, 30)
