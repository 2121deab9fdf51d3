"""The picture that a card travels on. It knows Pillow, and nothing of what the texts in it say."""

import colorsys
import io
import unicodedata
import zlib
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin, UnidentifiedImageError

from persona_chat.errors import CardRefused
from persona_chat.language import _, grouped

# Drawn at this size a PNG has at most 4 MB, so that with its card it stays below what is read again.
SIDE = 1024
# Decoded, a pixel takes up to 4 bytes.
MOST_PIXELS = 16_000_000
FILE_BYTES = 8_000_000

_SQUARE = 400


def png_of(picture: bytes | None, *, name: str, texts: Mapping[str, str]) -> bytes:
    """Return a PNG of the picture, or of a square with the name's initial, that carries the texts.

    Raises CardRefused when the picture cannot be read or is too large.
    """
    drawn = _square(name) if picture is None else _opened(picture)
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    file = io.BytesIO()
    drawn.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def _opened(picture: bytes) -> Image.Image:
    if len(picture) > FILE_BYTES:
        text = _("The picture has {has} MB; {allowed} MB are allowed.")
        raise CardRefused(text.format(has=grouped(len(picture) / 1e6, 1), allowed=FILE_BYTES // 1_000_000))
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG", "WEBP", "GIF")) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise CardRefused(
                    _(
                        "The picture has {width} × {height} pixels; {allowed} million are allowed. Make it smaller."
                    ).format(
                        width=grouped(opened.width),
                        height=grouped(opened.height),
                        allowed=MOST_PIXELS // 1_000_000,
                    )
                )
            mode = "RGBA" if opened.has_transparency_data else "RGB"
            pixels = ImageOps.exif_transpose(opened.convert(mode))
    # Pillow reports damaged pictures in all of these ways.
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        zlib.error,
        Image.DecompressionBombError,
    ):
        raise CardRefused(_("This picture cannot be read. Give a PNG, JPEG, WebP or GIF.")) from None
    pixels.thumbnail((SIDE, SIDE))
    # A new picture: the opened one's comments, position and the like stay behind.
    bare = Image.new(pixels.mode, pixels.size)
    bare.paste(pixels)
    return bare


def _square(name: str) -> Image.Image:
    """A plain square in a colour that the name decides, with its initial where that is a Latin letter or a digit."""
    hue = zlib.crc32(name.encode("utf-8", "replace")) % 360 / 360
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.4, 0.45))
    square = Image.new("RGB", (_SQUARE, _SQUARE), (red, green, blue))
    initial = unicodedata.normalize("NFKD", name.strip())[:1].upper()
    if initial.isascii() and initial.isalnum():
        # Pillow's own letters are in its code; they are Latin ones.
        font = ImageFont.load_default(_SQUARE // 2)
        ImageDraw.Draw(square).text((_SQUARE / 2, _SQUARE / 2), initial, "white", font, anchor="mm")
    return square
