"""Intervals have their coverage; tables show the scores."""

import csv
import io
import re

import numpy as np
import pytest

from cmudrn.evaluation.costs import Cost
from cmudrn.evaluation.evaluator import Scores
from cmudrn.evaluation.metrics import PROTOCOLS
from cmudrn.evaluation.statistics import bootstrap, paired_difference
from cmudrn.evaluation.table import differences, per_picture, summary, to_csv, to_latex, to_markdown

COST = Cost(10_595, 86_832)


def scores(method: str, values: list[float], dataset: str = "set_1") -> list[Scores]:
    return [
        Scores(dataset, method, str(n), dict.fromkeys(PROTOCOLS, value), 0.5, 2_000_000, COST)
        for n, value in enumerate(values)
    ]


def test_an_interval_is_that_of_the_normal_law_for_many_values() -> None:
    values = np.random.default_rng(3).normal(30, 2, 400)
    estimate = bootstrap(values.tolist())
    error = values.std() / np.sqrt(400)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * 2)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * 2)
    assert bootstrap(values.tolist()) == estimate


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    estimates = [bootstrap(rng.normal(0, 1, 30).tolist()) for _ in range(100)]
    covered = sum(e.low <= 0 <= e.high for e in estimates)
    assert 86 <= covered <= 99


def test_one_picture_has_an_interval_without_width() -> None:
    estimate = bootstrap([7.0])
    assert estimate.low == estimate.mean == estimate.high == 7


def test_a_paired_difference_sees_through_the_spread_of_pictures() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(25, 5, 24)
    second = first + 0.2 + rng.normal(0, 0.1, 24)
    difference = paired_difference(first.tolist(), second.tolist())
    assert difference.mean == pytest.approx((second - first).mean())
    assert 0.1 < difference.low < 0.2 < difference.high < 0.3


def test_pictures_without_a_score_are_left_out_of_the_mean() -> None:
    nan = float("nan")
    few = summary([*scores("input", [nan, 20, 30]), *scores("ours", [nan, nan, nan])])
    assert few[1][3] == "25.00 (20.00 to 30.00)" and few[2][3] == "-"
    both = [*scores("input", [1, 1]), *scores("a", [nan, 2]), *scores("b", [nan, 5])]
    assert differences(both, intervals=False)[1][3] == "+3.00"
    none = [*scores("input", [1]), *scores("a", [nan]), *scores("b", [nan])]
    assert differences(none)[1][3] == "-"


def test_a_summary_has_a_row_for_each_set_and_method() -> None:
    rows = summary([*scores("input", [10, 20]), *scores("ours", [30, 32])], intervals=False)
    assert rows[0][:4] == ["set", "pictures", "model", "PSNR RGB dB"]
    assert rows[1][:4] == ["set_1", "2", "input", "15.00"]
    assert rows[2][2:4] == ["ours", "31.00"] and rows[2][-2:] == ["31.0000", "31.00"]
    with_intervals = summary(scores("ours", [30, 32]))
    assert with_intervals[1][3] == "31.00 (30.00 to 32.00)"


def test_a_summary_shows_chosen_protocols_and_costs() -> None:
    rows = summary(scores("ours", [30, 32]), False, ["ssim_rgb", "psnr_y"], costs=True)
    assert rows[0][3:] == [
        "SSIM RGB", "PSNR Y dB", "parameters", "MAC a pixel", "ms a megapixel"
    ]  # fmt: skip
    assert rows[1][3:] == ["31.0000", "31.00", "10,595", "86,832", "250"]


def test_differences_are_to_the_first_model_and_leave_the_input_out() -> None:
    rows = differences([*scores("input", [1, 2]), *scores("a", [10, 20]), *scores("b", [11, 21])])
    assert len(rows) == 2
    assert rows[1][:4] == ["set_1", "2", "b - a", "+1.00 (+1.00 to +1.00)"]
    plain = differences([*scores("a", [10]), *scores("b", [9])], False, ["psnr_y"])
    assert plain[1] == ["set_1", "1", "b - a", "-1.00"]


def test_csv_comes_back_as_it_was() -> None:
    rows = per_picture(scores('a, "b"', [1 / 3]))
    back = list(csv.reader(io.StringIO(to_csv(rows))))
    assert back == rows
    assert back[1][1] == 'a, "b"' and back[1][3] == "0.333333"


def test_markdown_and_latex_are_well_formed() -> None:
    rows = summary(scores("50%_a|b&", [1, 2]))
    markdown = to_markdown(rows).splitlines()
    assert len({line.count("|") for line in markdown}) == 1
    latex = to_latex(rows)
    assert r"50\%\_a|b\&" in latex and r"set\_1" in latex
    spec = re.search(r"begin\{tabular\}\{(\w+)\}", latex)
    assert spec and len(spec.group(1)) == len(rows[0])
    assert all(line.count(" & ") == len(rows[0]) - 1 for line in latex.splitlines() if "&" in line)


def test_latex_shows_every_sign_as_it_is() -> None:
    row = to_latex([["heading"], [r"\a{b}^~&%$#_"]]).splitlines()[4]
    assert row == (r"\textbackslash{}a\{b\}\textasciicircum{}\textasciitilde{}\&\%\$\#\_ \\")


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+cmd", "@SUM(1)"])
def test_a_name_is_no_formula_of_a_spreadsheet(name: str) -> None:
    assert next(csv.reader(io.StringIO(to_csv([[name]])))) == [f"'{name}"]
    (cell,) = next(csv.reader(io.StringIO(to_csv([[f"\t{name}"]]))))
    assert cell.startswith("\N{REPLACEMENT CHARACTER}")  # a control character, which is replaced


@pytest.mark.parametrize("cell", ["-0.53", "+1.20 [-0.1, +2.5]", "-inf", "picture-1.png", "12"])
def test_numbers_and_other_names_stay(cell: str) -> None:
    assert next(csv.reader(io.StringIO(to_csv([[cell]])))) == [cell]
