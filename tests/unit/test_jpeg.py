"""Parts of JPEGs: the same pixels as in the whole, from less data."""

import contextlib
import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from warmscale.training.jpeg import Layout, layout, part, restart_marks, without_notes

from .pictures import ALL, JPEGS, OTHERS, damaged, encoded, glued, picture

NO_PARTS = {"progressive", "junk behind the end"}
SIDES = st.integers(1, 130)


def pixels_of(data, strict=True):
    return simplejpeg.decode_jpeg(bytes(data), strict=strict)


def part_pixels(data, box):
    """Pixels of a box, decoded from the part of the data that it needs."""
    some = part(data, layout(data), box)
    left, top, right, bottom = box
    pixels = pixels_of(some.data, strict=not some.ends_early)
    return pixels[top - some.top : bottom - some.top, left - some.left : right - some.left]


def boxes(width, height):
    """A box in an image of this size, drawn by hypothesis."""
    across = st.tuples(st.integers(0, width - 1), st.integers(1, width))
    down = st.tuples(st.integers(0, height - 1), st.integers(1, height))
    return st.tuples(across, down).map(
        lambda sides: (
            sides[0][0],
            sides[1][0],
            max(sides[0]) + (sides[0][0] >= sides[0][1]),
            max(sides[1]) + (sides[1][0] >= sides[1][1]),
        )
    )


@given(SIDES, SIDES, st.sampled_from([0, 1, 2]), st.integers(0, 12), st.booleans(), st.booleans(), st.data())
def test_pixels_of_a_part_are_those_of_the_whole(width, height, subsampling, blocks, grey, as_view, data):
    image = picture(width, height, "L" if grey else "RGB")
    jpeg = encoded(image, subsampling=subsampling, restart_marker_blocks=blocks)
    left, top, right, bottom = box = data.draw(boxes(width, height))
    assert left < right <= width
    assert top < bottom <= height
    source = memoryview(jpeg) if as_view else jpeg
    assert np.array_equal(part_pixels(source, box), pixels_of(jpeg)[top:bottom, left:right])


@given(st.integers(64, 200), st.integers(64, 200), st.sampled_from([0, 2]))
def test_segments_outside_of_a_box_are_left_out(width, height, subsampling):
    jpeg = encoded(picture(width, height), subsampling=subsampling, restart_marker_blocks=1)
    whole = layout(jpeg)
    unit = whole.block_width
    box = (unit + 4, unit + 4, 2 * unit - 4, 2 * unit - 4)
    assume(width > 3 * unit and height > 3 * unit)
    some = part(jpeg, whole, box)
    assert (some.left, some.top, some.ends_early) == (unit, unit, False)
    assert pixels_of(some.data).shape == (unit, unit, 3)
    assert np.array_equal(restart_marks(some.data, layout(bytes(some.data)).scan_at), [])


def test_rows_below_a_box_are_not_decoded():
    jpeg = encoded(picture(100, 200))
    some = part(jpeg, layout(jpeg), (0, 0, 100, 40))
    assert (some.ends_early, pixels_of(some.data, strict=False).shape[0]) == (True, 48)
    assert part(jpeg, layout(jpeg), (0, 0, 100, 195)).data is jpeg


def test_a_file_glued_together_is_decoded_whole_so_that_it_is_noticed():
    data = glued(200, 200)
    assert part(data, layout(data), (0, 0, 200, 20)).data is data


@pytest.mark.parametrize("name", ALL)
def test_a_layout_is_that_of_the_picture_or_none(name):
    found = layout(ALL[name]())
    if name in NO_PARTS or (name in OTHERS and name != "damaged jpeg"):
        assert found is None
    else:
        with Image.open(io.BytesIO(ALL[name]())) as image:
            assert (found.width, found.height) == image.size


def test_a_layout_has_units_and_restarts():
    found = layout(encoded(picture(100, 50), subsampling=2, restart_marker_blocks=7))
    assert (found.columns, found.rows, found.interval) == (7, 4, 7)
    assert (layout(encoded(picture(100, 50, "L"))).columns, layout(encoded(picture(100, 50), subsampling=1)).rows) == (
        13,
        7,
    )


@given(st.sampled_from(sorted(JPEGS)), st.data())
def test_no_bytes_whatever_end_in_another_exception_than_a_value_error(name, data):
    jpeg = JPEGS[name]()
    start = data.draw(st.integers(0, len(jpeg)))
    noise = data.draw(st.binary(max_size=20))
    spoiled = jpeg[:start] + noise + jpeg[start + len(noise) :]
    found = layout(spoiled)
    assert found is None or isinstance(found, Layout)
    if found and found.width * found.height < 10**6:
        some = part(spoiled, found, (0, 0, found.width, max(1, found.height // 2)))
        with contextlib.suppress(ValueError):
            pixels_of(some.data, strict=not some.ends_early)


@pytest.mark.parametrize("name", sorted(JPEGS))
def test_a_jpeg_without_its_notes_has_the_same_pixels_and_no_exif(name):
    stripped = without_notes(JPEGS[name]())
    assert np.array_equal(pixels_of(stripped), pixels_of(JPEGS[name]()))
    with Image.open(io.BytesIO(stripped)) as image:
        assert not image.getexif()
        assert not {"comment", "icc_profile"} & set(image.info)


def test_a_damaged_jpeg_keeps_its_data_without_notes():
    jpeg = damaged(encoded(picture(61, 43), comment=b"a comment"))
    assert without_notes(jpeg)[-300:] == jpeg[-300:]
