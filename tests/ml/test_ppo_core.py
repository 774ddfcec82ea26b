"""PPO's arithmetic against numbers worked out apart from it, and against its own definitions."""

import pytest
import torch

from pipeline.ml.trainers.ppo_core import (
    KLController,
    clipped_policy_loss,
    clipped_value_loss,
    combine_scores,
    explained_variance,
    generalized_advantages,
    kl_per_token,
    last_token_mask,
    penalize_unfinished,
    shaped_rewards,
    whiten,
)


def row(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(
        actual, torch.as_tensor(expected, dtype=actual.dtype), atol=tolerance, rtol=0, equal_nan=True
    )


OLD, REFERENCE, ONES = row(-1, -0.5, -2), row(-1.2, -0.5, -1.5), torch.ones(1, 3)
REWARDS, VALUES = row(-0.02, 0, 1.05), row(0.2, 0.3, 0.5)


# -- golden numbers -----------------------------------------------------------------------------------------


def test_reward_is_the_kl_cost_and_the_score_on_the_last_token():
    rewards, kl = shaped_rewards(torch.ones(1, dtype=torch.float64), OLD, REFERENCE, ONES, kl_coef=0.1)
    close(rewards, [[-0.02, 0, 1.05]])
    close(kl.sum(), -0.3)


@pytest.mark.parametrize(
    ("lam", "advantages"),
    [(0.95, [0.766375, 0.7225, 0.55]), (1.0, [0.83, 0.75, 0.55]), (0.0, [0.08, 0.2, 0.55])],
)
def test_advantages(lam, advantages):
    actual, returns = generalized_advantages(REWARDS, VALUES, ONES, gamma=1.0, lam=lam)
    close(actual, [advantages])
    close(returns, actual + VALUES)


def test_returns_are_taken_before_whitening():
    advantages, returns = generalized_advantages(REWARDS, VALUES, ONES, gamma=1.0, lam=0.95)
    close(returns, [[0.966375, 1.0225, 1.05]])
    close(whiten(advantages, ONES), [[0.758424, 0.374841, -1.133263]])


@pytest.mark.parametrize(
    ("advantages", "loss", "clip_fraction"), [((1, 1, -1), -0.313606, 1 / 3), ((1, -1, -1), 0.2, 2 / 3)]
)
def test_policy_loss(advantages, loss, clip_fraction):
    result = clipped_policy_loss(
        row(-0.7, -1.3, -1),
        row(-1, -1, -1),
        row(*advantages),
        ONES,
        clip_low=0.2,
        clip_high=0.2,
        dual_clip=None,
        normalizer=3,
    )
    close(result.loss, loss)
    close(result.clip_fraction, clip_fraction)
    close(result.approx_kl, 0.030226)
    close(result.ratio_max, 1.349859)


@pytest.mark.parametrize(("dual_clip", "loss"), [(None, 4.0), (3.0, 3.0)])
def test_dual_clip_bounds_the_loss_of_a_bad_answer(dual_clip, loss):
    result = clipped_policy_loss(
        row(4.0).log(), row(1.0).log(), row(-1), row(1), clip_low=0.2, clip_high=0.2, dual_clip=dual_clip, normalizer=1
    )
    close(result.loss, loss)


@pytest.mark.parametrize(("clip", "loss", "fraction"), [(0.2, 0.045, 1.0), (None, 0.005, 0.0)])
def test_value_loss(clip, loss, fraction):
    result = clipped_value_loss(row(0.9), row(0.5), row(1), row(1), clip=clip, normalizer=1)
    close(result.loss, loss)
    close(result.clip_fraction, fraction)


def test_adaptive_kl_coefficient():
    controller = KLController(0.15, target=6, horizon=10_000)
    seen = []
    for kl in (9, 6, 3, 0):
        controller.update(kl, sequences=512)
        seen.append(round(controller.coef, 6))
    assert seen == [0.151536, 0.151536, 0.149984, 0.148448]


def test_kl_coefficient_is_fixed_without_a_target_and_survives_a_checkpoint():
    controller = KLController(0.15)
    controller.update(9, sequences=512)
    assert controller.coef == 0.15
    other = KLController(0.05, target=6)
    other.load_state_dict(controller.state_dict())
    assert other.coef == 0.15


def test_kl_estimators():
    policy, reference = row(0.2, -0.1, 0.4, -0.3), row(0, 0, 0, 0)
    close(kl_per_token(policy, reference, estimator="k1", clamp=10.0).mean(), 0.05)
    close(kl_per_token(policy, reference, estimator="k3", clamp=10.0).mean(), 0.036020)
    close(kl_per_token(row(50), row(0), estimator="k1", clamp=10.0), [[10.0]])
    with pytest.raises(ValueError, match="k1 or k3"):
        kl_per_token(policy, reference, estimator="k2", clamp=10.0)


# -- scores -------------------------------------------------------------------------------------------------


def test_scores_are_calibrated_weighted_and_clipped():
    raw = torch.tensor([[3.0, 1.0], [100.0, 1.0], [torch.nan, 1.0], [torch.nan, torch.nan]])
    scores = combine_scores(
        raw, torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]), clip=5.0
    )
    close(scores, [1.5, 5.0, 0.5, torch.nan])


def test_an_answer_without_an_end_is_penalized():
    scores = penalize_unfinished(torch.tensor([2.0, 2.0]), torch.tensor([True, False]), penalty=1.0)
    close(scores, [2.0, 1.0])


def test_score_lands_on_the_last_real_token_alone():
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0]])
    logprobs = torch.randn(5, 4)
    without, _ = shaped_rewards(torch.zeros(5), logprobs, torch.zeros(5, 4), mask, kl_coef=0.1)
    given, _ = shaped_rewards(torch.ones(5), logprobs, torch.zeros(5, 4), mask, kl_coef=0.1)
    expected = torch.zeros(5, 4)
    expected[0, 0] = expected[1, 2] = expected[2, 3] = expected[4, 2] = 1
    close(given - without, expected)
    assert last_token_mask(mask)[3].sum() == 0


# -- advantages ---------------------------------------------------------------------------------------------


def double_sum(rewards, values, length, gamma, lam):
    """A_t = Σ_l (γλ)^l δ_{t+l}, written out."""
    values = [*values[:length].tolist(), 0.0]
    deltas = [rewards[t].item() + gamma * values[t + 1] - values[t] for t in range(length)]
    return [sum((gamma * lam) ** (s - t) * deltas[s] for s in range(t, length)) for t in range(length)]


def ragged(lengths, width=7, seed=3):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(width) < torch.tensor(lengths).unsqueeze(1)).int()
    draw = torch.randn(2, len(lengths), width, generator=generator, dtype=torch.float64)
    return draw[0], draw[1], mask


def test_advantages_equal_the_double_sum_on_ragged_rows():
    lengths = [7, 1, 4, 0, 6]
    rewards, values, mask = ragged(lengths)
    advantages, _ = generalized_advantages(rewards, values, mask, gamma=0.99, lam=0.95)
    for i, length in enumerate(lengths):
        expected = double_sum(rewards[i], values[i], length, 0.99, 0.95)
        close(advantages[i, :length], expected, tolerance=1e-12)
        assert advantages[i, length:].abs().sum() == 0


def test_advantages_of_lambda_one_and_zero():
    rewards, values, mask = ragged([7, 3])
    ahead = torch.where(mask.bool(), rewards, 0.0).flip(1).cumsum(1).flip(1)
    one, _ = generalized_advantages(rewards, values, mask, gamma=1.0, lam=1.0)
    close(one[0], (ahead - values)[0], tolerance=1e-12)
    close(one[1, :3], (ahead - values)[1, :3], tolerance=1e-12)
    zero, _ = generalized_advantages(rewards, values, mask, gamma=1.0, lam=0.0)
    following = torch.cat([values[:, 1:], torch.zeros(2, 1)], dim=1)
    close(zero[0], (rewards + following - values)[0], tolerance=1e-12)


def test_padding_changes_nothing():
    rewards, values, mask = ragged([5, 2, 0])
    junk = torch.where(mask.bool(), 0.0, 1e6)
    for clean, dirty in zip(
        generalized_advantages(rewards, values, mask, gamma=0.99, lam=0.95),
        generalized_advantages(rewards + junk, values + junk, mask, gamma=0.99, lam=0.95),
        strict=True,
    ):
        close(dirty, clean, tolerance=0)
    close(whiten(values + junk, mask), whiten(values, mask), tolerance=0)
    arguments = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None, "normalizer": 7}
    clean = clipped_policy_loss(values, rewards, values, mask, **arguments)
    dirty = clipped_policy_loss(values + junk, rewards - junk, values + junk, mask, **arguments)
    assert clean == dirty
    assert clipped_value_loss(values + junk, values, rewards, mask, clip=0.2, normalizer=7) == clipped_value_loss(
        values, values, rewards, mask, clip=0.2, normalizer=7
    )


def test_a_gap_is_stepped_over():
    mask = torch.tensor([[1, 0, 0, 1]])
    gapped, _ = generalized_advantages(row(0.1, 9, 9, 1), row(0.2, 9, 9, 0.5), mask, gamma=0.9, lam=0.8)
    joined, _ = generalized_advantages(row(0.1, 1), row(0.2, 0.5), torch.ones(1, 2), gamma=0.9, lam=0.8)
    close(gapped[:, [0, 3]], joined, tolerance=1e-12)
    assert gapped[:, 1:3].abs().sum() == 0


# -- whitening ----------------------------------------------------------------------------------------------


def test_whitening_uses_the_statistics_of_all_ranks():
    x, _, mask = ragged([7, 4, 2, 6])
    whole = whiten(x, mask)
    sums = [
        torch.stack([m.sum().double(), (p * m).sum(), (p * p * m).sum()])
        for p, m in ((x[:2], mask[:2]), (x[2:], mask[2:]))
    ]
    halves = [whiten(x[i : i + 2], mask[i : i + 2], reduce=lambda _: sums[0] + sums[1]) for i in (0, 2)]
    close(torch.cat(halves), whole, tolerance=1e-12)


def test_whitening_can_keep_the_mean():
    x, _, mask = ragged([7, 4])
    kept = whiten(x * 3 + 5, mask, shift_mean=False)[mask.bool()]
    close(kept.mean(), (x * 3 + 5)[mask.bool()].mean())
    close(kept.std(), 1.0)


def test_whitening_of_one_token_is_finite():
    assert whiten(row(3.0), row(1)).item() == 0


# -- losses -------------------------------------------------------------------------------------------------


def test_losses_have_the_gradient_they_claim():
    generator = torch.Generator().manual_seed(0)
    old, advantages = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    new = (old + 0.3 * torch.randn(3, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = (torch.arange(5) < torch.tensor([[5], [2], [4]])).int()

    def policy(x):
        return clipped_policy_loss(
            x, old, advantages, mask, clip_low=0.2, clip_high=0.3, dual_clip=3.0, normalizer=11
        ).loss

    def value(x):
        return clipped_value_loss(x, old, advantages, mask, clip=0.2, normalizer=11).loss

    assert torch.autograd.gradcheck(policy, (new,))
    assert torch.autograd.gradcheck(value, (new,))


def test_no_gradient_where_the_ratio_is_clipped():
    new = row(-0.7, -1.3, -1).requires_grad_()
    result = clipped_policy_loss(
        new, row(-1, -1, -1), row(1, -1, 1), ONES, clip_low=0.2, clip_high=0.2, dual_clip=None, normalizer=3
    )
    result.loss.backward()
    close(new.grad, [[0, 0, -1 / 3]])


def test_token_weights_correct_for_another_sampler():
    arguments = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None, "normalizer": 2}
    weighted = clipped_policy_loss(
        row(-1, -1), row(-1, -1), row(1, 1), row(1, 1), token_weights=row(0.5, 2), **arguments
    )
    close(weighted.loss, -1.25)


def test_explained_variance():
    returns = row(0, 1, 2, 3)
    close(explained_variance(returns, returns, torch.ones(1, 4)), 1.0)
    close(explained_variance(row(1, 1, 1, 1), returns, torch.ones(1, 4)), 0.0)
    close(explained_variance(returns, row(1, 1, 1, 1), torch.ones(1, 4)), torch.nan)
    close(explained_variance(returns, returns, row(1, 0, 0, 0)), torch.nan)
