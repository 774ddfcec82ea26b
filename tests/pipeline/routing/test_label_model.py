"""The label model: one posterior, the same from either side, from few labels, many, or none."""

import numpy as np
import pytest

from pipeline.routing.estimators import label_model, value
from pipeline.routing.estimators.label_model import Priors
from pipeline.routing.evidence.columns import MEAN_VOTE, Features

pytestmark = pytest.mark.database_free


def pairs(size=120, seed=0, prompts=0, responses=4):
    """Pairs of two columns of each kind; with `prompts`, several pairs share each prompt and its responses."""
    rng = np.random.default_rng(seed)
    prompt = np.arange(size) if not prompts else np.arange(size) % prompts
    effects = np.zeros((size, responses if prompts else 0))
    for row in range(size if prompts else 0):
        one, other = rng.choice(responses, 2, replace=False)
        effects[row, one], effects[row, other] = 1, -1
    return Features(
        symmetric=rng.normal(size=(size, 2)),
        antisymmetric=rng.normal(size=(size, 2)),
        effects=effects,
        shared=np.full(size, float(bool(prompts))),
        prompt=prompt,
        symmetric_names=("one", "two"),
        antisymmetric_names=(MEAN_VOTE, "other"),
    )


def labels(data, seed=0, tie=-0.5):
    """Drawn from the model itself, with u = (tie, 1.5, 0) and v = (2, −1)."""
    rng = np.random.default_rng(seed)
    chance = label_model.class_probabilities(
        tie + 1.5 * data.symmetric[:, 0], 2 * data.antisymmetric[:, 0] - data.antisymmetric[:, 1]
    )
    return np.array([rng.choice(3, p=row) for row in chance]), chance


def fitted(data, said, **more):
    return label_model.fit(data, np.eye(3)[said], scale=label_model.scale_of(data), **more)


@pytest.mark.parametrize("prompts", [0, 15])
def test_swapping_the_responses_swaps_first_and_second_exactly(prompts):
    data = pairs(prompts=prompts)
    model = fitted(data, labels(data)[0])
    one, other = model.posterior(data).probability, model.posterior(data.swapped()).probability
    assert np.abs(one - other[:, [0, 2, 1]]).max() < 1e-12
    assert one.sum(axis=1) == pytest.approx(np.ones(120))


def test_it_learns_what_drew_the_labels():
    data = pairs(2000)
    said, chance = labels(data)
    found = fitted(data, said).posterior(data).probability
    assert np.abs(found - chance).mean() < 0.03


def test_davidsons_model_at_known_values():
    # η = 0, d = 0: three equal chances; η = ln 2, d = 2 ln 2: 2 : 2 : ½.
    found = label_model.class_probabilities(np.array([0.0, np.log(2)]), np.array([0.0, 2 * np.log(2)]))
    assert found == pytest.approx(np.array([[1 / 3, 1 / 3, 1 / 3], [4 / 9, 4 / 9, 1 / 9]]))


def test_doubt_about_the_direction_takes_from_ties_too():
    sure = label_model.integrated(np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))[0]
    unsure = label_model.integrated(np.zeros(1), np.zeros(1), np.zeros(1), np.full(1, 16.0))[0]
    assert sure == pytest.approx([1 / 3] * 3)
    assert unsure[0] < 0.25
    assert unsure[1] == pytest.approx(unsure[2])


def test_without_a_label_the_judges_word_counts():
    data = pairs()
    model = label_model.fit(data.rows(np.arange(0)), np.zeros((0, 3)), scale=label_model.scale_of(data))
    found = model.posterior(data).probability
    assert (np.sign(found[:, 1] - found[:, 2]) == np.sign(data.antisymmetric[:, 0])).all()


def test_a_judge_that_is_always_wrong_is_turned_round_by_forty_labels():
    data = pairs()
    said = np.where(data.antisymmetric[:, 0] > 0, 2, 1)
    model = fitted(data.rows(np.arange(40)), said[:40])
    found = model.posterior(data.rows(np.arange(40, 120))).probability.argmax(axis=1)
    assert (found == said[40:]).mean() > 0.9


@pytest.mark.parametrize("only", [0, 1, 2])
def test_one_class_only_stays_finite_and_is_predicted(only):
    data = pairs()
    found = fitted(data, np.full(120, only)).posterior(data).probability
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == only).mean() > (0.99 if only == 0 else 0.5)


def test_without_ties_there_is_no_chance_of_one():
    data = pairs(400)
    said = np.where(data.antisymmetric[:, 0] > 0, 1, 2)
    found = fitted(data, said, ties=False).posterior(data).probability
    assert found[:, 0].max() < 1e-12
    assert (found.argmax(axis=1) == said).mean() > 0.97


def shared(rows):
    """Pairs of one prompt over responses 0, 1, 2 and no other signal; `rows` are (first, second)."""
    effects = np.zeros((len(rows), 3))
    for row, (one, other) in enumerate(rows):
        effects[row, one], effects[row, other] = 1, -1
    nothing = np.zeros((len(rows), 1))
    return Features(nothing, nothing, effects, np.ones(len(rows)), np.zeros(len(rows), int), ("s",), ("a",))


def test_labels_of_siblings_reach_a_pair_by_transitivity():
    data = shared([(0, 1), (1, 2), (0, 2)])
    model = label_model.fit(data.rows(np.arange(2)), np.eye(3)[[1, 1]], scale=label_model.scale_of(data))
    found = model.posterior(data)
    assert found.probability[2, 1] > found.probability[2, 2] + 0.3
    assert found.direction[2] == pytest.approx(found.direction[0] + found.direction[1])
    # Against each other they say nothing about the third.
    apart = label_model.fit(data.rows(np.arange(2)), np.eye(3)[[1, 2]], scale=label_model.scale_of(data))
    assert apart.posterior(data).direction[2] == pytest.approx(0, abs=1e-6)


def test_another_prompts_labels_say_nothing_of_these_responses():
    data = shared([(0, 1), (0, 1)])
    data = Features(**{**data.__dict__, "prompt": np.array([0, 1])})
    model = label_model.fit(data.rows(np.array([0])), np.eye(3)[[1]], scale=label_model.scale_of(data))
    found = model.posterior(data)
    assert found.direction[0] > 0.3
    assert found.direction[1] == pytest.approx(0)
    assert found.direction_variance[1] == pytest.approx(2 * Priors().response)


@pytest.mark.parametrize("prompts", [0, 15])
def test_the_cavity_is_what_leaving_a_label_out_gives(prompts):
    data = pairs(60, prompts=prompts)
    said, _ = labels(data)
    soft = value.updated(np.full((60, 3), 1 / 3), np.eye(3)[said])
    scale = label_model.scale_of(data)
    model = label_model.fit(data, soft, scale=scale)
    cavity = model.cavity(data, soft, np.ones(60)).probability
    for place in range(0, 60, 12):
        kept = np.delete(np.arange(60), place)
        without = label_model.fit(data.rows(kept), soft[kept], scale=scale)
        assert cavity[place] == pytest.approx(without.posterior(data.rows(np.array([place]))).probability[0], abs=0.03)


def test_variances_are_the_inverse_curvature_of_the_whole_problem():
    """Effects eliminated prompt by prompt give what the full matrix gives."""
    data = pairs(40, prompts=8)
    said, _ = labels(data)
    scale = label_model.scale_of(data)
    priors = Priors(mean_vote=Priors.direction)
    model = label_model.fit(data, np.eye(3)[said], scale=scale, priors=priors)
    x, z = scale.apply(data)
    slots = np.eye(8)[data.prompt]
    own = (slots[:, :, None] * data.effects[:, None, :]).reshape(40, -1)
    tie_rows, direction_rows = np.hstack([x, slots]), np.hstack([z, own])
    found = model.posterior(data)
    chance = label_model.class_probabilities(found.tie, found.direction)
    bend = label_model.curvature(chance, np.ones(40))
    top = np.hstack([(tie_rows.T * bend[:, 0, 0]) @ tie_rows, (tie_rows.T * bend[:, 0, 1]) @ direction_rows])
    bottom = np.hstack(
        [(direction_rows.T * bend[:, 0, 1]) @ tie_rows, (direction_rows.T * bend[:, 1, 1]) @ direction_rows]
    )
    precision = np.r_[priors.base, [priors.tie] * 2, [1 / priors.prompt] * 8, [priors.direction] * 2]
    precision = np.r_[precision, [1 / priors.response] * own.shape[1]]
    covariance = np.linalg.inv(np.vstack([top, bottom]) + np.diag(precision))
    cut = tie_rows.shape[1]
    assert found.tie_variance == pytest.approx(np.einsum("ij,jk,ik->i", tie_rows, covariance[:cut, :cut], tie_rows))
    whole = np.einsum("ij,jk,ik->i", direction_rows, covariance[cut:, cut:], direction_rows)
    assert found.direction_variance == pytest.approx(whole)


def test_what_a_pair_cannot_have_is_taken_for_the_mean():
    data = pairs()
    data.symmetric[:, 0] += 5
    scale = label_model.scale_of(data)
    model = label_model.fit(data, np.eye(3)[labels(data)[0]], scale=scale)
    usual = data.rows(np.array([3]))
    usual.symmetric[0, 0] = scale.centre[0]
    unknown = data.rows(np.array([3]))
    unknown.symmetric[0, 0] = np.nan
    assert model.posterior(unknown).probability == pytest.approx(model.posterior(usual).probability)
    data.symmetric[60:, 1] = np.nan
    assert label_model.scale_of(data).centre[1] == pytest.approx(data.symmetric[:60, 1].mean())


def test_a_new_pair_is_scaled_as_the_pool_was():
    data = pairs()
    model = fitted(data, labels(data)[0])
    alone = model.posterior(data.rows(np.array([7]))).probability[0]
    assert alone == pytest.approx(model.posterior(data).probability[7])
