"""What policies choose, and with which probability."""

import numpy as np
import pytest

from pipeline.routing.estimators import label_model
from pipeline.routing.evidence.pool import FIRST, SECOND, SILENT, TIE, Ballots, Pool, Rater
from pipeline.routing.policies import judged, learned
from tests.pipeline.routing.test_label_model import labels, pairs, shared

pytestmark = pytest.mark.database_free


def panel_of(rows, people=()):
    """A pool of pairs; each row lists (judge, verdict, swapped)."""
    votes = [(item, *vote) for item, row in enumerate(rows) for vote in row]
    votes += [(item, 9, verdict, 0) for item, verdict in people]
    item, rater, verdict, swapped = (np.array(column) for column in zip(*votes, strict=True))
    nothing = np.full(len(votes), np.nan)
    size = len(rows)
    return Pool(
        keys=[str(n) for n in range(size)],
        prompt=np.arange(size),
        prompts=["?"] * size,
        first=["yes"] * size,
        second=["no"] * size,
        models=np.full((size, 2), -1),
        model_names=[],
        raters=[Rater(f"judge {n}", "judge") for n in range(9)] + [Rater("ann", "human")],
        ballots=Ballots(item, rater, verdict, swapped, nothing, nothing, [""] * len(votes), [""] * len(votes)),
    )


def both(judge, one, other):
    return [(judge, one, 0), (judge, other, 1)]


def test_the_judges_label_is_the_panels_and_the_first_judges_where_it_is_split():
    rows = [
        [(0, FIRST, 0), (1, FIRST, 0), (2, SECOND, 0)],
        [(0, SECOND, 0), (1, FIRST, 0)],
        [(0, SILENT, 0), (1, SECOND, 0)],
        [(0, TIE, 0), (1, TIE, 0), (2, FIRST, 0)],
        [(0, SILENT, 0)],
    ]
    assert judged.labels(panel_of(rows)).tolist() == [FIRST, SECOND, SECOND, TIE, FIRST]


def test_a_judge_that_splits_says_tie_only_where_ties_are_known():
    rows = [both(0, FIRST, SECOND), both(0, SECOND, SECOND)]
    assert judged.labels(panel_of(rows)).tolist() == [FIRST, SECOND]
    assert judged.labels(panel_of(rows, people=[(1, TIE)])).tolist() == [TIE, SECOND]


def test_a_panel_is_unsure_where_it_differs_splits_or_is_silent():
    rows = [
        both(0, FIRST, FIRST) + both(1, FIRST, FIRST),
        both(0, FIRST, SECOND) + both(1, FIRST, FIRST),
        both(0, FIRST, FIRST) + both(1, SECOND, SECOND),
        both(0, SILENT, SILENT),
    ]
    unsure = judged.uncertainty(panel_of(rows))
    assert unsure.argmin() == 0
    assert unsure.argmax() == 3
    assert unsure[1] > unsure[0] < unsure[2]


def test_beliefs_leave_a_pairs_own_labels_out_of_its_prior_and_into_its_posterior():
    data = pairs(80)
    said, _ = labels(data)
    votes = np.zeros((80, 3))
    votes[np.arange(40), said[:40]] = 1
    belief = learned.believe(data, votes)
    against = 1 - belief.prior[np.arange(40), said[:40]]
    assert (1 - belief.posterior[np.arange(40), said[:40]] < against).all()
    assert belief.posterior[40:] == pytest.approx(belief.prior[40:])
    assert belief.score == pytest.approx(belief.gain + 1e-3 * (1 - belief.posterior.max(axis=1)))
    assert not belief.told.any()


def test_a_label_is_worth_more_where_it_tells_of_siblings():
    data = shared([(0, 1), (0, 1), (0, 2), (1, 2)])
    chain = learned.believe(data, np.zeros((4, 3)))
    # Of the three it touches, one is the same comparison (ρ² = 1) and two share one response of two (ρ² = ¼).
    assert chain.told[0] == pytest.approx(0.5 * (chain.gain[1] + 0.25 * chain.gain[2] + 0.25 * chain.gain[3]))
    votes = np.zeros((4, 3))
    votes[1, 1] = 1
    after = learned.believe(data, votes)
    assert after.told[1] == 0
    assert 0 < after.told[0] < chain.told[0]


def test_a_vote_that_surprises_is_worth_a_second_one():
    data = pairs(200)
    said, chance = labels(data, tie=-4)
    votes = np.zeros((200, 3))
    votes[np.arange(200), said] = 1
    sure = np.flatnonzero(chance.max(axis=1) > 0.97)[:2]
    votes[sure[0]] = np.eye(3)[3 - chance[sure[0]].argmax()]
    votes[sure[1]] = np.eye(3)[chance[sure[1]].argmax()]
    gain = learned.believe(data, votes).gain
    assert gain[sure[0]] > 0.05
    assert gain[sure[1]] == pytest.approx(0, abs=1e-9)


def test_nothing_labelled_yet_is_no_error():
    belief = learned.believe(pairs(), np.zeros((120, 3)))
    assert np.isfinite(belief.score).all()


def test_greedy_picks_are_certain_and_drawn_ones_keep_their_chance():
    rng = np.random.default_rng(2)
    score = np.linspace(1, 0, 50)
    picks = learned.next_picks(score, np.arange(10, 50), 10, rng, explore=0.2)
    assert sorted(picks.items[:8].tolist()) == list(range(10, 18))
    assert picks.arm == ["greedy"] * 8 + ["random"] * 2
    assert picks.propensity.tolist() == [1.0] * 8 + [2 / 32] * 2
    assert len(set(picks.items.tolist())) == 10
    assert set(picks.items[8:]) <= set(range(18, 50))


def test_the_share_that_is_drawn_is_right_on_average_in_small_batches():
    rng = np.random.default_rng(2)
    drawn = [learned.next_picks(np.zeros(20), np.arange(20), 3, rng, 0.1).arm.count("random") for _ in range(600)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.08)


def test_equal_scores_are_picked_in_random_order():
    rng = np.random.default_rng(2)
    seen = {tuple(learned.next_picks(np.zeros(20), np.arange(20), 2, rng, 0).items.tolist()) for _ in range(30)}
    assert len(seen) > 10


def test_an_audit_is_drawn_evenly_and_knows_its_chance():
    picks = learned.first_picks(np.arange(5, 25), 4, np.random.default_rng(0))
    assert picks.propensity.tolist() == [0.2] * 4
    assert set(picks.items) <= set(range(5, 25))
    assert len(learned.first_picks(np.arange(3), 20, np.random.default_rng(0)).items) == 3


def test_without_ties_a_belief_has_none():
    data = pairs(60)
    votes = np.eye(3)[np.where(data.antisymmetric[:, 0] > 0, 1, 2)]
    belief = learned.believe(data, votes, ties=False, scale=label_model.scale_of(data))
    assert belief.posterior[:, 0].max() < 1e-6


def test_a_batch_takes_one_pair_of_each_prompt_while_there_are_others():
    prompt = np.array([0, 0, 0, 1, 1, 2])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    rng = np.random.default_rng(0)
    for count, expected in ((2, [0, 3]), (3, [0, 3, 5]), (5, [0, 3, 5, 1, 2])):
        picks = learned.next_picks(score, np.arange(6), count, rng, explore=0, prompt=prompt)
        assert picks.items.tolist() == expected
