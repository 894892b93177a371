"""Random crops and flips: the law of torchvision's RandomResizedCrop, from (seed, epoch, position)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from warmscale.training.order import CROP_AREA, CROP_RATIO, random_crop

CROPS = [((292, 161, 484, 306), True), ((79, 4, 444, 365), False), ((119, 13, 475, 371), False)]
SIDES = st.integers(1, 600)
DRAWN = 4000


def crops(width, height, seed=1):
    return [random_crop(seed, 0, position, width, height) for position in range(DRAWN)]


def torchvisions(width, height):
    torch.manual_seed(0)
    image = torch.empty(1, 1, 1).expand(3, height, width)
    boxes = [RandomResizedCrop.get_params(image, CROP_AREA, CROP_RATIO) for _ in range(DRAWN)]
    return np.array([(left, top, left + w, top + h) for top, left, h, w in boxes])


@given(st.integers(0, 2**63 - 1), st.integers(0, 100), st.integers(0, 10**7), SIDES, SIDES)
def test_a_crop_is_within_the_image_and_not_empty(seed, epoch, position, width, height):
    (left, top, right, bottom), _ = random_crop(seed, epoch, position, width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**7), st.integers(60, 600), st.integers(60, 600))
def test_a_crop_has_an_allowed_area_and_ratio_up_to_rounding_or_is_the_central_one(seed, position, width, height):
    (left, top, right, bottom), _ = random_crop(seed, 0, position, width, height)
    w, h = right - left, bottom - top
    if (left, top) == ((width - w) // 2, (height - h) // 2) and (w == width or h == height):
        return
    assert CROP_AREA[0] * width * height <= (w + 0.5) * (h + 0.5)
    assert (w - 0.5) / (h + 0.5) <= CROP_RATIO[1]
    assert (w + 0.5) / (h - 0.5) >= CROP_RATIO[0]


def test_a_crop_depends_on_seed_epoch_and_position_and_on_nothing_else():
    first = random_crop(3, 4, 5, 400, 300)
    random_crop(3, 4, 6, 400, 300)
    assert random_crop(3, 4, 5, 400, 300) == first
    assert len({first, *(random_crop(*where, 400, 300) for where in [(4, 4, 5), (3, 5, 5), (3, 4, 6)])}) == 4


def test_first_crops_are_the_frozen_ones():
    assert [random_crop(1, 0, position, 500, 375) for position in range(3)] == CROPS


@pytest.mark.parametrize("width, height", [(500, 375), (300, 300), (200, 700), (40, 30)])
def test_crops_have_the_law_of_torchvision(width, height):
    # Kolmogorov-Smirnov: two samples of 4,000 of one law differ by more than 0.06 with a chance of 1e-6
    ours, theirs = np.array([box for box, _ in crops(width, height)]), torchvisions(width, height)
    for name, value in {
        "area": lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]),
        "ratio": lambda b: (b[:, 2] - b[:, 0]) / (b[:, 3] - b[:, 1]),
        "left": lambda b: b[:, 0],
        "top": lambda b: b[:, 1],
        "right margin": lambda b: width - b[:, 2],
        "bottom margin": lambda b: height - b[:, 3],
    }.items():
        assert ks_2samp(value(ours), value(theirs)).statistic < 0.06, name


def test_area_is_uniform_where_every_crop_fits():
    areas = np.array([(r - x) * (b - y) for (x, y, r, b), _ in crops(1000, 1000)]) / 1e6
    small = areas[areas < 0.5]  # larger ones may have been drawn again
    assert ks_2samp(small, np.random.default_rng(0).uniform(0.08, 0.5, 20_000)).statistic < 0.06


def test_half_of_the_images_are_flipped_whatever_their_crop():
    flips = np.array([flip for _, flip in crops(500, 375)])
    widths = np.array([box[2] - box[0] for box, _ in crops(500, 375)])
    assert abs(flips.mean() - 0.5) < 0.04
    assert abs(np.corrcoef(flips, widths)[0, 1]) < 0.08


@pytest.mark.parametrize("width, height, box", [(1000, 10, (493, 0, 506, 10)), (10, 1000, (0, 493, 10, 506))])
def test_an_image_too_narrow_for_any_crop_gives_torchvisions_central_one(width, height, box):
    assert random_crop(1, 0, 0, width, height)[0] == box
    assert (torchvisions(width, height) == box).all()


def test_a_single_pixel_is_its_own_crop():
    assert random_crop(1, 0, 0, 1, 1)[0] == (0, 0, 1, 1)
