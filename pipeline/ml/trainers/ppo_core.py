"""The arithmetic of PPO for language models: pure functions of tensors, nothing but torch.

Shapes are (batch, tokens) for everything per token and (batch,) for scores. `mask` is 1 for tokens that the
policy wrote (its end-of-sequence token included) and 0 elsewhere. Log-probabilities and KL are in nats.

Sources: PPO (Schulman et al. 2017, 1707.06347); generalised advantages (Schulman et al. 2015, 1506.02438); KL
inside the reward and its adaptive coefficient (Ziegler et al. 2019, 1909.08593); dual clip (Ye et al. 2019,
1912.09729); the k1 and k3 estimators (J. Schulman, "Approximating KL divergence", 2020); whitening and score
placement as in the TL;DR reproduction (Huang et al. 2024, 2403.17031).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

WHITENING_EPSILON = 1e-8


class PolicyLoss(NamedTuple):
    """The policy's loss and what tells whether its updates are healthy (scalars)."""

    loss: Tensor
    approx_kl: Tensor  # nats per token, k3 between the policy that sampled and the one being trained
    clip_fraction: Tensor  # share of tokens whose gradient the clip removed
    ratio_max: Tensor


class ValueLoss(NamedTuple):
    """The critic's loss, and the share of tokens that the value clip held back (scalars)."""

    loss: Tensor
    clip_fraction: Tensor


def combine_scores(raw: Tensor, weights: Tensor, means: Tensor, deviations: Tensor, *, clip: float) -> Tensor:
    """Weighted sum of calibrated rewards, clipped to ±`clip`; (batch, sources) -> (batch,).

    NaN is "this source has no opinion" and counts nothing; an answer without any opinion stays NaN.
    """
    calibrated = (raw - means) / deviations
    total = (calibrated * weights).nansum(dim=1).clamp(-clip, clip)
    return total.masked_fill(raw.isnan().all(dim=1), torch.nan)


def penalize_unfinished(score: Tensor, finished: Tensor, *, penalty: float) -> Tensor:
    """Takes `penalty` from the score of every answer that ran into the length limit; (batch,)."""
    return score - penalty * (~finished).to(score.dtype)


def kl_per_token(logprobs: Tensor, ref_logprobs: Tensor, *, estimator: str, clamp: float) -> Tensor:
    """Estimates of KL(policy || reference) at each sampled token.

    k1 is unbiased and may be negative for a token; k3 is never negative, but biased when used as a reward.
    """
    k1 = (logprobs - ref_logprobs).clamp(-clamp, clamp)
    if estimator == "k1":
        return k1
    if estimator == "k3":
        return torch.expm1(-k1) + k1
    raise ValueError(f"kl estimator must be k1 or k3, not {estimator!r}")


def last_token_mask(mask: Tensor) -> Tensor:
    """1 at the last real token of each row, 0 elsewhere; a row without tokens has none."""
    positions = torch.arange(mask.size(1), device=mask.device)
    last = torch.where(mask.bool(), positions, -1).amax(dim=1, keepdim=True)
    return (positions == last).to(mask.dtype)


def shaped_rewards(
    score: Tensor,
    logprobs: Tensor,
    ref_logprobs: Tensor,
    mask: Tensor,
    *,
    kl_coef: float,
    estimator: str = "k1",
    clamp: float = 10.0,
) -> tuple[Tensor, Tensor]:
    """Reward of each token: the cost of leaving the reference, plus the score on the last one.

    Returns rewards and KL, both (batch, tokens) and 0 outside the mask. An empty answer gets no reward.
    """
    real = mask.bool()
    kl = kl_per_token(logprobs, ref_logprobs, estimator=estimator, clamp=clamp)
    kl = torch.where(real, kl, torch.zeros_like(kl))
    rewards = -kl_coef * kl + last_token_mask(mask) * score.unsqueeze(1)
    return rewards, kl


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, (batch, tokens), 0 outside the mask.

    The answer ends the episode, truncated or not: the value after the last token is 0. Tokens that the policy
    did not write are stepped over, so a gap (a tool's output) joins the token before it to the one after it.
    """
    real = mask.bool()
    next_value = torch.zeros_like(values[:, 0])
    advantage = torch.zeros_like(next_value)
    advantages = torch.zeros_like(values)
    for t in reversed(range(values.size(1))):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = torch.where(real[:, t], delta + gamma * lam * advantage, advantage)
        next_value = torch.where(real[:, t], values[:, t], next_value)
        advantages[:, t] = torch.where(real[:, t], advantage, 0.0)
    returns = torch.where(real, advantages + values, 0.0)
    return advantages, returns


def whiten(
    x: Tensor,
    mask: Tensor,
    *,
    shift_mean: bool = True,
    reduce: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Tensor:
    """`x` with unit variance (ddof 1) over the unmasked tokens, and zero mean unless `shift_mean` is off.

    `reduce` sums [n, Σx, Σx²] over processes, so that every rank uses the statistics of the whole rollout.
    """
    real = mask.bool()
    kept = torch.where(real, x, 0.0)
    count, total, squares = reduce(torch.stack([real.sum().to(x.dtype), kept.sum(), kept.square().sum()]))
    mean = total / count.clamp(min=1.0)
    variance = ((squares - count * mean.square()) / (count - 1).clamp(min=1.0)).clamp(min=0.0)
    whitened = (x - mean) * torch.rsqrt(variance + WHITENING_EPSILON)
    return torch.where(real, whitened if shift_mean else whitened + mean, 0.0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the unmasked tokens; 0 where there are none."""
    return torch.where(mask.bool(), x, 0.0).sum() / mask.sum().clamp(min=1)


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None,
    normalizer: Tensor | float,
    token_weights: Tensor | None = None,
) -> PolicyLoss:
    """-(1/normalizer) Σ min(ρA, clip(ρ, 1-clip_low, 1+clip_high) A), for A < 0 not below `dual_clip`·A.

    `normalizer` is the number of tokens of the whole accumulation window, so that splitting a batch into
    micro-batches changes nothing. `token_weights` corrects for a sampler that is not quite the policy.
    """
    real = mask.bool()
    log_ratio = torch.where(real, logprobs - old_logprobs, 0.0)
    ratio = log_ratio.exp()
    plain = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    gain = torch.min(plain, clipped)
    if dual_clip is not None:
        gain = torch.where(advantages < 0, torch.max(gain, dual_clip * advantages), gain)
    if token_weights is not None:
        gain = gain * token_weights
    with torch.no_grad():
        approx_kl = masked_mean(torch.expm1(log_ratio) - log_ratio, mask)
        clip_fraction = masked_mean((clipped < plain).to(ratio.dtype), mask)
        ratio_max = torch.where(real, ratio, 0.0).max()
    loss = -torch.where(real, gain, 0.0).sum() / normalizer
    return PolicyLoss(loss, approx_kl, clip_fraction, ratio_max)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over the unmasked tokens; NaN where the returns do not vary."""
    real = mask.bool()
    returns, errors = returns[real], (returns - values)[real]
    if returns.numel() < 2:
        return returns.new_full((), torch.nan)
    spread = returns.var()
    return torch.where(spread > 0, 1 - errors.var() / spread, torch.nan)


def clipped_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float | None,
    normalizer: Tensor | float,
) -> ValueLoss:
    """½ (1/normalizer) Σ max((V-ret)², (V_old + clip(V-V_old, ±clip) - ret)²); plain squares without `clip`."""
    plain = (values - returns).square()
    worst, clip_fraction = plain, values.new_zeros(())
    if clip is not None:
        held = (old_values + (values - old_values).clamp(-clip, clip) - returns).square()
        worst = torch.max(plain, held)
        clip_fraction = masked_mean((held > plain).to(values.dtype), mask).detach()
    loss = 0.5 * torch.where(mask.bool(), worst, 0.0).sum() / normalizer
    return ValueLoss(loss, clip_fraction)


class KLController:
    """The coefficient of KL in the reward: fixed, or steered towards `target` nats per answer.

    coef <- coef · (1 + clip(KL/target - 1, ±0.2) · sequences/horizon)   (Ziegler et al. 2019, section 2.2)
    """

    def __init__(self, coef: float, *, target: float | None = None, horizon: int = 10_000) -> None:
        self.coef = coef
        self.target = target
        self.horizon = horizon

    def update(self, kl: float, sequences: int) -> None:
        """Takes in the mean KL per answer (nats) of a rollout of `sequences` answers."""
        if self.target is None:
            return
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.coef *= 1 + error * sequences / self.horizon

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coef = state["coef"]
