"""Methods of every kind are scored on the same pairs."""

import math
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from support.trees import save, scene, snowy

from cmudrn.datasets import open_dataset
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.evaluator import evaluate
from cmudrn.evaluation.methods import (
    Method,
    branch_methods,
    engine_method,
    folder_method,
    is_python,
    python_method,
)
from cmudrn.evaluation.metrics import score


@pytest.fixture
def pairs(tmp_path: Path):
    for n in range(3):
        save(scene(n), tmp_path / "pairs" / "target" / f"{n}.png")
        save(snowy(scene(n), n), tmp_path / "pairs" / "input" / f"{n}.png")
    return open_dataset(f"folder:{tmp_path / 'pairs'}")


def test_the_input_row_always_comes_first(pairs) -> None:
    rows = evaluate("set", pairs, [])
    assert [(row.method, row.picture) for row in rows] == [("input", n) for n in "012"]
    assert rows[1].values == score(pairs[1].degraded, pairs[1].clean, pairs[1].degraded)
    assert rows[1].seconds == 0


def test_a_model_is_scored_on_what_it_returns(pairs, darkening_model: Path) -> None:
    engine = open_engine(darkening_model)
    methods = [engine_method("dark", engine), *branch_methods("dark", engine)]
    rows = {row.method: row for row in evaluate("set", pairs, methods, limit=1)}
    for name, step in (("dark", 0.2), ("dark (rain branch)", 0.1), ("dark (snow branch)", 0.3)):
        darker = np.clip(pairs[0].degraded - np.float32(step), 0, 1)
        assert rows[name].values["psnr_rgb"] == pytest.approx(
            score(darker, pairs[0].clean, darker)["psnr_rgb"], abs=0.01
        )
    assert rows["dark"].seconds > 0 and rows["dark (rain branch)"].seconds == 0
    assert rows["dark"].pixels == pairs[0].clean[..., 0].size


def test_the_same_predictions_score_the_same_from_a_folder(
    pairs, darkening_model: Path, tmp_path: Path
) -> None:
    ours = engine_method("ours", open_engine(darkening_model))
    for index, name in enumerate(pairs.names):
        eight_bit = np.rint(ours.restore(pairs[index]) * 255).astype(np.uint8)
        save(eight_bit, tmp_path / "results" / f"{name}.png")
    rows = evaluate("set", pairs, [ours, folder_method(tmp_path / "results")])
    for live, saved in zip(rows[1::3], rows[2::3], strict=True):
        assert live.picture == saved.picture
        for protocol in ("psnr_rgb8", "psnr_y", "ssim_y"):
            assert live.values[protocol] == saved.values[protocol]
        assert saved.values["psnr_rgb"] == pytest.approx(saved.values["psnr_rgb8"], abs=1e-4)


def test_predictions_score_as_scikit_image_and_matlab_score_them(pairs, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    predictions = {}
    for index, name in enumerate(pairs.names):
        noisy = pairs[index].clean + rng.normal(0, 0.03, pairs[index].clean.shape)
        predictions[name] = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
        save(predictions[name], tmp_path / "results" / f"{name}.png")
    rows = evaluate("set", pairs, [folder_method(tmp_path / "results", "theirs")])
    for index, row in enumerate(row for row in rows if row.method == "theirs"):
        clean = np.rint(pairs[index].clean * 255).astype(np.uint8)
        for name, planes in (
            ("rgb", (predictions[row.picture], clean)),
            ("y", (matlab_y(predictions[row.picture]),
                   matlab_y(clean))),
        ):  # fmt: skip
            protocol = "psnr_rgb8" if name == "rgb" else "psnr_y"
            by_scikit = peak_signal_noise_ratio(*planes, data_range=255)
            squares = [
                (int(a) - int(b)) ** 2 for a, b in zip(*(p.flat for p in planes), strict=True)
            ]
            by_hand = 10 * math.log10(255**2 * len(squares) / sum(squares))
            assert row.values[protocol] == pytest.approx(by_scikit, abs=0.001)
            assert row.values[protocol] == pytest.approx(by_hand, abs=0.001)


def matlab_y(picture: np.ndarray) -> np.ndarray:
    """Y as rgb2ycbcr makes it of uint8, pixel by pixel: matrix, plus 16, halves rounded up."""
    luma = np.empty(picture.shape[:2], np.uint8)
    for place in np.ndindex(*luma.shape):
        red, green, blue = (int(v) for v in picture[place])
        luma[place] = math.floor((65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 16.5)
    return luma


def test_a_python_function_is_called_with_a_picture(pairs, tmp_path, monkeypatch) -> None:
    (tmp_path / "my_method.py").write_text(
        "def same(picture):\n    picture += 0\n    return picture\n"
        "def crop(picture):\n    return picture[1:]\n"
        "def bad(picture):\n    return picture * float('nan')\n"
        "def fails(picture):\n    raise ValueError('no\\nmemory')\n"
        "def ends(picture):\n    raise SystemExit(3)\n"
        "def whole(picture):\n    return (picture * 255).round().astype('uint8')\n"
    )
    monkeypatch.chdir(tmp_path)
    rows = evaluate("set", pairs, [python_method("my_method:same")])
    assert rows[0].values == rows[1].values
    for name, sentence in (
        ("crop", r"made 0 of shape \(47, 64, 3\) instead of \(48, 64, 3\)"),
        ("bad", "no numbers"),
        ("fails", "failed on 0: ValueError: no memory."),
        ("ends", "failed on 0: SystemExit: 3"),
        ("whole", "made 0 of uint8 values"),
    ):
        with pytest.raises(CmudrnError, match=sentence):
            evaluate("set", pairs, [python_method(f"my_method:{name}")])
    with pytest.raises(CmudrnError, match="no Python function my_method:missing"):
        python_method("my_method:missing")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [("def f(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError: division by zero"),
     ("raise SystemExit(3)", "SystemExit: 3")],
)  # fmt: skip
def test_a_module_that_fails_when_it_is_imported_is_one_sentence(
    code: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_module.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CmudrnError, match=f"wrong_module cannot be imported: {sentence}"):
        python_method("wrong_module:f")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("a.b:c", True), ("model.onnx", False), ("C:\\a.onnx", False), ("cmudrn", False),
     ("a/b:c", False), (":c", False)],
)  # fmt: skip
def test_what_is_written_like_a_python_function(text: str, answer: bool) -> None:
    assert is_python(text) is answer


def test_a_missing_result_and_doubled_names_are_refused(pairs, tmp_path: Path) -> None:
    save(scene(0), tmp_path / "results" / "0.png")
    with pytest.raises(CmudrnError, match="holds no result for 1"):
        evaluate("set", pairs, [folder_method(tmp_path / "results")])
    twice = [Method("a", lambda pair: pair.degraded)] * 2
    with pytest.raises(CmudrnError, match="Two rows"):
        evaluate("set", pairs, twice)


def test_results_are_found_whatever_the_case_of_their_suffix(pairs, tmp_path: Path) -> None:
    for name, pair in zip(("0.PNG", "1.Tif", "set/2.png"), pairs, strict=True):
        save(np.rint(pair.clean * 255).astype(np.uint8), tmp_path / "results" / name)
    rows = evaluate("set", pairs, [folder_method(tmp_path / "results")], limit=2)
    assert [row.values["psnr_rgb8"] for row in rows if row.method == "results"] == [100, 100]
    with pytest.raises(CmudrnError, match="holds no result for 2"):
        evaluate("set", pairs, [folder_method(tmp_path / "results")])


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("a/1.png", "b/1.png", "b/1.tif")):
        save(scene(number), tmp_path / name)
    with pytest.raises(CmudrnError, match=r"b/1.png and .*b/1.tif are two results of one name"):
        folder_method(tmp_path)


def test_progress_counts_pictures(pairs) -> None:
    seen: list[tuple[int, int]] = []
    evaluate("set", pairs, [], on_pair=lambda done, count: seen.append((done, count)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
