"""The head fitted on frozen features: its optimum where theory gives it, its ridge by cross-validation."""

import json

import numpy as np
import pytest

from pipeline.ml.trainers.reward_head import fit_head, fold_of_groups, head_from_json, head_to_json, soft_loss


def test_soft_loss():
    """Golden numbers of the methods reference, 1.1 and 1.4."""
    margins = np.array([1.5, -0.2, -40.0, 1.5, 1.5, 1.5, 1.386294])
    probability = np.array([1.0, 1.0, 1.0, 0.8, 0.9, 0.714286, 0.8])
    expected = [0.201413, 0.798139, 40.0, 0.501413, 0.351413, 0.629985, 0.500402]
    assert soft_loss(margins, probability) == pytest.approx(expected, abs=1e-6)


def test_one_feature_with_soft_labels_reaches_the_logit_of_their_probability():
    """p = 0.8 is least at δ = logit(0.8) = 1.386294."""
    chosen, rejected = np.tile([[1.0]], (10, 1)), np.tile([[0.0]], (10, 1))
    head = fit_head(chosen, rejected, np.full(10, 0.8), [str(n) for n in range(10)], ridge=1e-9)
    assert head.weight == pytest.approx([1.386294], abs=1e-5)
    assert (head.held_out_loss, head.held_out_accuracy) == (None, None)


def planted(pairs=400, features=20, strength=3.0):
    draw = np.random.default_rng(5)
    direction = draw.normal(size=features) / np.sqrt(features)
    a, b = draw.normal(2.0, 1.0, (2, pairs, features))
    a_wins = draw.random(pairs) < 1 / (1 + np.exp(-strength * (a - b) @ direction))
    chosen, rejected = np.where(a_wins[:, None], a, b), np.where(a_wins[:, None], b, a)
    return chosen, rejected, direction, [str(n) for n in range(pairs)]


def test_a_planted_direction_is_found():
    chosen, rejected, direction, groups = planted()
    head = fit_head(chosen, rejected, np.ones(len(groups)), groups, ridge=None)

    cosine = head.weight @ direction / np.linalg.norm(head.weight) / np.linalg.norm(direction)
    assert cosine > 0.95
    assert head.held_out_accuracy > 0.85


def test_labels_without_a_signal_get_the_strongest_ridge_and_no_better_than_chance():
    draw = np.random.default_rng(9)
    chosen, rejected = draw.normal(size=(2, 200, 50))
    head = fit_head(chosen, rejected, np.ones(200), [str(n) for n in range(200)], ridge=None)

    assert head.ridge >= 1.0
    assert abs(head.held_out_accuracy - 0.5) < 0.1
    assert head.held_out_loss > 0.68


def test_the_scale_of_a_feature_does_not_matter():
    chosen, rejected, _, groups = planted()
    scale = np.geomspace(1e-3, 1e3, chosen.shape[1])
    first = fit_head(chosen, rejected, np.ones(len(groups)), groups, ridge=0.01)
    second = fit_head(chosen * scale, rejected * scale, np.ones(len(groups)), groups, ridge=0.01)
    assert second.weight * scale == pytest.approx(first.weight, rel=1e-4, abs=1e-6)


def test_centring_keeps_rewards_around_zero_without_harm_to_the_margins():
    chosen, rejected, _, groups = planted()
    ones = np.ones(len(groups))
    free = fit_head(chosen, rejected, ones, groups, ridge=0.01)
    centred = fit_head(chosen, rejected, ones, groups, ridge=0.01, centring=0.01)

    def level(head):
        return abs(float(((chosen + rejected) @ head.weight).mean()))

    assert level(centred) < 0.2 * level(free)
    assert np.corrcoef((chosen - rejected) @ free.weight, (chosen - rejected) @ centred.weight)[0, 1] > 0.95


def test_a_feature_that_never_varies_gets_no_weight():
    chosen, rejected, _, groups = planted(features=3)
    constant = np.full((len(groups), 1), 7.0)
    head = fit_head(
        np.hstack([chosen, constant]), np.hstack([rejected, constant]), np.ones(len(groups)), groups, ridge=0.1
    )
    assert head.weight[3] == pytest.approx(0.0, abs=1e-12)


def test_folds_keep_a_prompt_whole():
    folds = fold_of_groups(["a", "b", "a", "c", "b", "d", "e", "f"])
    assert folds[0] == folds[2]
    assert folds[1] == folds[4]
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]


def test_a_head_goes_through_json(tmp_path):
    chosen, rejected, _, groups = planted(pairs=20, features=4)
    head = fit_head(chosen, rejected, np.ones(20), groups, ridge=None)
    (tmp_path / "head.json").write_text(json.dumps(head_to_json(head)))
    again = head_from_json(tmp_path / "head.json")

    assert again.weight.tolist() == head.weight.tolist()
    assert (again.ridge, again.held_out_loss) == (head.ridge, head.held_out_loss)
