"""Agreement beyond chance: worked examples, the published package, and intervals that cover."""

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from annotate.statistics.alpha import alpha
from annotate.statistics.intervals import wilson
from annotate.statistics.kappa import kappa, table_of


def test_kappa_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement .7, by chance .5, so kappa .4 (Cohen's formula)
    found = kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))
    assert (found["kappa"], found["agreement"], found["n"]) == (pytest.approx(0.4), 0.7, 50)
    assert found["low"] < 0.4 < found["high"]
    assert (found["agreement_low"], found["agreement_high"]) == wilson(35, 50)


@pytest.mark.parametrize("ordered", [False, True])
def test_kappa_is_that_of_scikit_learn(ordered):
    draw = np.random.default_rng(1)
    one = draw.integers(0, 4, 300)
    other = np.where(draw.random(300) < 0.6, one, draw.integers(0, 4, 300))
    theirs = cohen_kappa_score(one, other, weights="quadratic" if ordered else None)
    assert kappa(table_of(one, other, 4), ordered=ordered)["kappa"] == pytest.approx(theirs, abs=1e-12)


def test_where_chance_explains_all_there_is_no_kappa():
    assert kappa(np.array([[9.0, 0.0], [0.0, 0.0]]))["kappa"] is None
    assert kappa(np.zeros((2, 2)))["n"] == 0


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_the_published_package(level):
    draw = np.random.default_rng(2)
    truth = draw.integers(1, 6, 80)
    units = [[int(np.clip(t + draw.integers(-1, 2), 1, 5)) for _ in range(draw.integers(0, 5))] for t in truth]
    table = [[unit[rater] if rater < len(unit) else np.nan for unit in units] for rater in range(4)]
    theirs = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    assert alpha(units, level)["alpha"] == pytest.approx(theirs, abs=1e-9)


def test_the_interval_of_alpha_is_that_of_a_plain_bootstrap():
    draw = np.random.default_rng(5)
    units = [[int(t), int(t) if draw.random() < 0.7 else int(draw.integers(0, 3))] for t in draw.integers(0, 3, 200)]
    plain = []
    for _ in range(300):
        chosen = [units[n] for n in draw.integers(0, 200, 200)]
        plain.append(krippendorff.alpha(reliability_data=np.array(chosen).T, level_of_measurement="ordinal"))
    found = alpha(units, "ordinal")
    assert [found["low"], found["high"]] == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.03)


def test_wilson():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_where_all_agree_there_is_still_doubt():
    few, many = alpha([[1, 1], [2, 2], [1, 1]]), alpha([[1, 1], [2, 2]] * 100)
    assert (few["alpha"], few["low"], few["high"]) == (1.0, pytest.approx(0.05 ** (1 / 3)), 1.0)
    assert many["low"] == pytest.approx(0.985, abs=1e-3)
    assert kappa(np.array([[3.0, 0.0], [0.0, 3.0]]))["low"] == pytest.approx(0.05 ** (1 / 6))
