"""Pictures of all kinds that are found in data sets, as bytes of files."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise over a gradient."""
    channels = {"L": (), "RGB": (3,), "CMYK": (4,), "RGBA": (4,)}[mode]
    noise = np.random.default_rng(seed).integers(0, 128, (height, width, *channels))
    slope = np.linspace(0, 127, width).reshape((1, width, *(1 for _ in channels)))
    return Image.fromarray((noise + slope).astype(np.uint8), mode=mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(width: int = 61, height: int = 43) -> bytes:
    """A JPEG that asks to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(width, height), exif=exif)


def _plain(width: int = 61, height: int = 43, mode: str = "RGB", **options) -> Callable[[], bytes]:
    return lambda: encoded(picture(width, height, mode), **options)


def sampled(*factors: int, subsampling: int, **options) -> bytes:
    """A JPEG with these sampling factors, across and down: another one's blocks, as many, in another order."""
    jpeg = bytearray(encoded(picture(64, 96), subsampling=subsampling, **options))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = (91 << 16 | 61).to_bytes(4)
    for colour, factor in enumerate(factors):
        jpeg[frame + 11 + 3 * colour] = factor
    return bytes(jpeg)


def glued(width: int = 61, height: int = 43) -> bytes:
    """A download that was cut at a third, with the whole file behind it: it begins and ends as a JPEG does."""
    whole = encoded(picture(width, height))
    return whole[: len(whole) // 3] + whole


JPEGS = {
    "4:4:0": lambda: sampled(0x12, 0x11, 0x11, subsampling=1),
    "4:1:1": lambda: sampled(0x41, 0x11, 0x11, subsampling=2),
    "4:4:1": lambda: sampled(0x14, 0x11, 0x11, subsampling=2),
    "all colours twice across": lambda: sampled(0x21, 0x21, 0x21, subsampling=0, keep_rgb=True),
    "4:2:0": _plain(subsampling=2),
    "4:2:2": _plain(subsampling=1),
    "4:4:4": _plain(subsampling=0),
    "grey": _plain(mode="L"),
    "optimised": _plain(optimize=True),
    "restart rows": _plain(restart_marker_rows=1),
    "restart blocks": _plain(restart_marker_blocks=2),
    "odd restarts": _plain(restart_marker_blocks=3),
    "one pixel": _plain(1, 1),
    "thin": _plain(200, 3),
    "tall": _plain(2, 150),
    "turned": turned,
    "commented": lambda: encoded(picture(61, 43), comment=b"a comment", icc_profile=b"x" * 500),
    "colours as they are": lambda: encoded(picture(61, 43), keep_rgb=True),
    "junk behind the end": lambda: encoded(picture(61, 43)) + b"\0\0junk",
    "a second picture behind the end": lambda: encoded(picture(61, 43)) + encoded(picture(30, 20)),
    "fill bytes": lambda: encoded(picture(61, 43)).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "progressive": _plain(progressive=True),
}
"""What libjpeg-turbo decodes."""

OTHERS = {
    "cmyk jpeg": _plain(mode="CMYK"),
    "png": _plain(kind="PNG"),
    "transparent png": _plain(mode="RGBA", kind="PNG"),
    "palette png": lambda: encoded(picture(61, 43).quantize(16), "PNG", transparency=3),
    "grey transparent png": lambda: encoded(picture(61, 43, "RGBA").convert("LA"), "PNG"),
    "sixteen bit png": lambda: encoded(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
    "bilevel tiff": lambda: encoded(picture(61, 43).convert("1"), "TIFF"),
    "bmp": _plain(kind="BMP"),
    "webp": _plain(kind="WEBP", lossless=True),
    "gif": lambda: encoded(picture(61, 43).quantize(16), "GIF"),
    "damaged jpeg": lambda: damaged(encoded(picture(61, 43))),
}
"""What Pillow decodes in any case."""

ALL = JPEGS | OTHERS


def damaged(jpeg: bytes) -> bytes:
    """A JPEG with noise in its middle, which Pillow decodes in silence."""
    middle = len(jpeg) * 2 // 3
    return jpeg[:middle] + b"\x13\x37" * 20 + jpeg[middle + 40 :]
