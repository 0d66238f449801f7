"""Every protocol against hand-computed values, scikit-image, and MATLAB's steps in plain loops."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cmudrn.evaluation import metrics

HALF_FIELD = 5


def pictures(height: int = 40, width: int = 52, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (restored, clean): the restored one is noisy, and leaves [0, 1] here and there."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    clean = 0.5 + 0.4 * np.sin(rows / 5)[..., None] * np.cos(columns / (4, 7, 9)[0])[..., None]
    clean = np.rint(clean * np.array([1, 0.8, 0.6]) * 255) / 255
    return (clean + rng.normal(0, 0.08, clean.shape)).astype(np.float32), clean.astype(np.float32)


def matlab_ssim(first: np.ndarray, second: np.ndarray, factor: int) -> float:
    """SSIM as ssim.m does it, pixel by pixel: imfilter(..., 'symmetric'), then filter2 'valid'."""
    if factor > 1:
        first, second = (matlab_shrunk(plane, factor) for plane in (first, second))
    offsets = np.arange(-HALF_FIELD, HALF_FIELD + 1)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(HALF_FIELD, first.shape[0] - HALF_FIELD):
        for x in range(HALF_FIELD, first.shape[1] - HALF_FIELD):
            a, b = (p[y - 5 : y + 6, x - 5 : x + 6] for p in (first, second))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            cov = (window * a * b).sum() - ma * mb
            values.append(
                (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
            )
    return float(np.mean(values))


def matlab_shrunk(plane: np.ndarray, factor: int) -> np.ndarray:
    centre = (factor + 1) // 2  # MATLAB: floor((size + 1) / 2), counted from 1
    padded = np.pad(plane, factor, mode="symmetric")
    height, width = plane.shape
    small = np.empty((-(-height // factor), -(-width // factor)))
    for i, y in enumerate(range(0, height, factor)):
        for j, x in enumerate(range(0, width, factor)):
            top, left = y + factor - (centre - 1), x + factor - (centre - 1)
            small[i, j] = padded[top : top + factor, left : left + factor].mean()
    return small


def test_psnr_by_hand() -> None:
    clean = np.zeros((4, 4, 3), np.float32)
    restored = clean.copy()
    restored[0, 0, 0] = 0.5  # mean square error 0.25 / 48
    assert metrics.psnr_rgb(restored, clean) == pytest.approx(10 * np.log10(48 / 0.25))
    restored[0, 0, 0] = 128 / 255  # what 0.5 rounds to: 127.5 to the even 128
    assert metrics.psnr_rgb8(np.where(restored > 0, np.float32(0.5), 0), clean) == pytest.approx(
        metrics.psnr_rgb(restored, clean)
    )


def test_values_outside_the_range_are_clipped_and_equal_pictures_have_a_finite_score() -> None:
    clean = np.ones((16, 16, 3), np.float32)
    scores = metrics.score(clean * np.float32(1.5), clean, clean)
    assert [scores[name] for name in scores if name.startswith("psnr")] == [100.0] * 4
    assert [scores[name] for name in scores if name.startswith("ssim")] == [1.0] * 3


@pytest.mark.parametrize(
    ("rgb", "luma"),
    # MATLAB's documented table of rgb2ycbcr: black, white, and the primaries.
    [((0, 0, 0), 16), ((255,) * 3, 235), ((255, 0, 0), 81), ((0, 255, 0), 145), ((0, 0, 255), 41)],
)
def test_luma_is_that_of_matlab(rgb: tuple[int, int, int], luma: int) -> None:
    picture = np.full((2, 3, 3), np.array(rgb) / 255, np.float32)
    assert (metrics.matlab_luma(picture) == luma).all()


def test_a_grey_levels_step_is_smaller_in_luma_than_in_rgb() -> None:
    clean = np.full((16, 16, 3), 100 / 255, np.float32)
    restored = np.full((16, 16, 3), 200 / 255, np.float32)
    # 219 / 255 of 100 levels is 85.9; in whole numbers 188 - 102 = 86.
    assert metrics.psnr_y(restored, clean) == pytest.approx(20 * np.log10(255 / 86))
    assert metrics.psnr_rgb8(restored, clean) == pytest.approx(20 * np.log10(255 / 100))


def test_all_agree_with_scikit_image() -> None:
    restored, clean = pictures()
    clipped = np.clip(restored, 0, 1)
    bytes8 = np.rint(clipped * 255).astype(np.uint8), np.rint(clean * 255).astype(np.uint8)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    scores = metrics.score(restored, clean, restored)
    assert scores["psnr_rgb"] == pytest.approx(
        peak_signal_noise_ratio(clean, clipped, data_range=1), abs=0.001
    )
    assert scores["psnr_rgb8"] == pytest.approx(peak_signal_noise_ratio(*bytes8), abs=0.001)
    assert scores["ssim_rgb"] == pytest.approx(
        structural_similarity(clean, clipped, data_range=1, channel_axis=2, **settings), abs=1e-5
    )


@pytest.mark.parametrize("shape", [(40, 52), (37, 29)])
def test_luma_scores_agree_with_matlabs_steps_in_plain_loops(shape: tuple[int, int]) -> None:
    restored, clean = pictures(*shape)
    a, b = metrics.matlab_luma(restored), metrics.matlab_luma(clean)
    assert metrics.ssim_y(restored, clean) == pytest.approx(matlab_ssim(a, b, 1), abs=1e-6)
    error = sum((x - y) ** 2 for x, y in zip(a.flat, b.flat, strict=True)) / a.size
    assert metrics.psnr_y(restored, clean) == pytest.approx(
        10 * np.log10(255**2 / error), abs=0.001
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_reduction_is_that_of_imfilter(factor: int) -> None:
    plane = np.random.default_rng(1).uniform(0, 255, (25, 31))
    np.testing.assert_allclose(
        metrics.matlab_reduce(plane, factor), matlab_shrunk(plane, factor), atol=1e-9
    )


def test_reduction_by_two_of_a_small_plane_by_hand() -> None:
    plane = np.array([[1.0, 3, 5], [5, 7, 9]])
    np.testing.assert_array_equal(metrics.matlab_reduce(plane, 2), [[4, 7]])  # edge: 5, 5, 9, 9


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((100, 100), 1), ((321, 481), 1), ((383, 999), 1), ((384, 999), 2), ((480, 640), 2),
     ((512, 768), 2), ((640, 640), 3)],
)  # fmt: skip
def test_ssim_m_reduces_large_pictures_only(shape: tuple[int, int], factor: int) -> None:
    assert metrics.matlab_factor(shape) == factor


def test_matlabs_ssim_of_a_large_picture_is_that_of_the_reduced_one() -> None:
    restored, clean = pictures(384, 390)
    a, b = (matlab_shrunk(metrics.matlab_luma(p), 2) for p in (restored, clean))
    whole = metrics.ssim_y_matlab(restored, clean)
    assert whole == pytest.approx(matlab_ssim(a, b, 1), abs=1e-6)
    corner = metrics.ssim_y_matlab(restored[:120, :120], clean[:120, :120])
    assert corner == metrics.ssim_y(restored[:120, :120], clean[:120, :120])  # too small to reduce
    assert whole > metrics.ssim_y(restored, clean) + 0.05


def test_a_picture_smaller_than_the_window_has_no_ssim() -> None:
    tiny = np.zeros((10, 40, 3), np.float32)
    assert np.isnan(metrics.ssim_rgb(tiny, tiny))
