"""One calibrated posterior over tie, first and second, from all that is known of a pair.

Davidson's model of comparisons with ties (Davidson, "On extending the Bradley–Terry model to accommodate ties",
1970), with predictors for both of its parts and effects of each prompt's own:

    P(tie) ∝ exp(η),  P(first) ∝ exp(d/2),  P(second) ∝ exp(−d/2)
    η = u₀ + u·S + t_prompt            S: symmetric columns; t: how tie-prone a prompt is
    d = v·A + s_first − s_second       A: antisymmetric columns; s: worth of each response of a prompt
    u ~ N(0, 1/λ_tie), v ~ N(0, 1/λ_direction), t ~ N(0, σ_t²), s ~ N(0, σ_s² C), C the kinship of responses

There is no intercept in d, and A is scaled without centring, so swapping the responses swaps P(first) and P(second)
exactly. Labels of sibling pairs reach a pair through t and s: a > b and b > c make a > c, and a pair none of whose
responses was labelled keeps its doubt. Fitted by Newton's method on soft labels; posterior variances by Laplace's
approximation (MacKay, 1992), integrated over d by Gauss and Hermite. What is left out of sight for a labelled item
(its own label) is taken out by the cavity of its own term (Opper and Winther, 2000), which stands for cross-fitting;
what is believed then is also what calibrates the model (`calibrating.py`).

Effects are eliminated prompt by prompt (Schur complement), so cost is linear in labels and in pairs.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.estimators import calibrating
from pipeline.routing.evidence.columns import AGREEMENT, MEAN_VOTE, SPLIT, Features
from pipeline.routing.evidence.text import ANTISYMMETRIC

GRID, GRID_WEIGHT = np.polynomial.hermite_e.hermegauss(15)
GRID_WEIGHT = GRID_WEIGHT / GRID_WEIGHT.sum()
ROUNDS = 40
SETTLED = 1e-6
CHUNK = 50_000  # pairs that are predicted at once


@dataclass(frozen=True)
class Priors:
    """How far weights and effects may go, on columns of unit size.

    `tie`, `direction` are precisions of the weights (λ); `text` that of weights on the responses' texts in d, which
    say less than judges do; `base` that of u₀. `prompt` and `response` are variances (σ_t², σ_s²).

    What judges say counts for something beforehand: `trust` is the mean of their mean vote's weight without any label,
    half of it after `trusting` labels, a third after twice as many; `mean_vote` is its precision, loose, so that a
    panel that is mostly wrong can be seen through. `doubt` is the mean weight of their splits in η (and of their
    agreement, with the other sign), since what judges differ about is more often a tie.
    """

    tie: float = 15.0
    direction: float = 10.0
    text: float = 30.0
    base: float = 0.1
    prompt: float = 2.0
    response: float = 3.0
    trust: float = 1.0
    trusting: float = 60.0
    mean_vote: float = 2.0
    doubt: float = 0.3


@dataclass(frozen=True)
class Scale:
    """How columns are brought to unit size: frozen with the model, so that one new pair is scaled alike."""

    centre: Floats
    size: Floats
    reach: Floats

    def apply(self, data: Features) -> tuple[Floats, Floats]:
        """X with a leading column of ones, and Z. What a pair cannot have is taken for the mean: it says nothing."""
        symmetric = np.nan_to_num(np.clip((data.symmetric - self.centre) / self.size, -8, 8))
        return np.column_stack([np.ones(data.size), symmetric]), data.antisymmetric / self.reach


def scale_of(data: Features) -> Scale:
    """Unit variance for symmetric columns, unit mean square for antisymmetric ones, which stay uncentred."""
    known = np.isfinite(data.symmetric)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, data.symmetric, 0.0).sum(axis=0) / count
    size = np.sqrt((np.where(known, data.symmetric - centre, 0.0) ** 2).sum(axis=0) / count)
    reach = np.sqrt((data.antisymmetric**2).mean(axis=0))
    return Scale(
        centre=centre,
        size=np.where(size > 1e-9, size, np.inf),
        reach=np.where(reach > 1e-9, reach, np.inf),
    )


@dataclass(frozen=True)
class Posterior:
    """What is believed of each pair: `probability` (n, 3); the rest are the moments of η and d."""

    probability: Floats
    tie: Floats
    direction: Floats
    tie_variance: Floats
    direction_variance: Floats


@dataclass(frozen=True)
class Design:
    """Labelled pairs as matrices X (m, px), Z (m, pz); `shared` (m,) and E (m, width) load on effects of `slot`."""

    x: Floats
    z: Floats
    shared: Floats
    effects: Floats
    slot: Integers
    slots: int

    def latent(self, weights: Floats, effects: Floats) -> tuple[Floats, Floats]:
        """η and d under these weights (px + pz,) and effects (slots, 1 + width)."""
        own = effects[self.slot]
        cut = self.x.shape[1]
        tie = self.x @ weights[:cut] + self.shared * own[:, 0]
        return tie, self.z @ weights[cut:] + (self.effects * own[:, 1:]).sum(axis=1)

    def by_slot(self, rows: Floats) -> Floats:
        """Rows (m, k) added up in their slots: (slots, k)."""
        indicator = csr_array(
            (np.ones(len(self.slot)), (self.slot, np.arange(len(self.slot)))), (self.slots, len(rows))
        )
        return indicator @ rows


def class_probabilities(tie: Floats, direction: Floats) -> Floats:
    """Davidson's model at known η and d: (…, 3) for tie, first, second."""
    logits = np.stack([tie, direction / 2, -direction / 2], axis=-1)
    logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return logits / logits.sum(axis=-1, keepdims=True)


def integrated(tie: Floats, tie_variance: Floats, direction: Floats, direction_variance: Floats) -> Floats:
    """The same, averaged over what is not known of η (by MacKay's moderation) and of d (by quadrature): (n, 3)."""
    moderate = tie / np.sqrt(1 + np.pi * tie_variance / 8)
    spread = direction[:, None] + np.sqrt(direction_variance)[:, None] * GRID
    return np.einsum(
        "nqc,q->nc", class_probabilities(np.broadcast_to(moderate[:, None], spread.shape), spread), GRID_WEIGHT
    )


def curvature(probability: Floats, weight: Floats) -> Floats:
    """The 2 × 2 second derivatives of each pair's loss in (η, d): (m, 2, 2)."""
    lean = probability[:, 1] - probability[:, 2]
    decided = probability[:, 1] + probability[:, 2]
    found = np.empty((len(weight), 2, 2))
    found[:, 0, 0] = probability[:, 0] * (1 - probability[:, 0])
    found[:, 0, 1] = found[:, 1, 0] = -probability[:, 0] * lean / 2
    found[:, 1, 1] = (decided - lean**2) / 4
    return found * weight[:, None, None]


def slopes(probability: Floats, soft: Floats, weight: Floats) -> Floats:
    """The first derivatives of each pair's loss in (η, d): (m, 2)."""
    gap = (probability - soft) * weight[:, None]
    return np.column_stack([gap[:, 0], (gap[:, 1] - gap[:, 2]) / 2])


@dataclass(frozen=True)
class LabelModel:
    """A fitted model. `slot_of` is prompt → place of its effects; prompts without a label have none.

    `sharpness` is the power that calibrates what it believes.
    """

    scale: Scale
    priors: Priors
    ties: bool
    weights: Floats
    covariance: Floats
    slot_of: dict[int, int]
    effects: Floats
    effect_covariance: Floats
    coupling: Floats
    sharpness: float = 1.0

    def posterior(self, data: Features) -> Posterior:
        """What the model believes of each pair, its own label (if it has one) included."""
        parts = [self.moments(data.rows(rows)) for rows in chunks(data.size)]
        mean, covariance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return self.believed(mean, covariance)

    def cavity(self, data: Features, soft: Floats, weight: Floats) -> Posterior:
        """What the model would believe of labelled pairs without their own labels, which were `soft` (n, 3)."""
        mean, covariance = self.moments(data)
        probability = class_probabilities(mean[:, 0], mean[:, 1])
        bent = np.eye(2) - curvature(probability, weight) @ covariance
        freed = covariance @ np.linalg.inv(bent)
        away = mean + np.einsum("nij,nj->ni", freed, slopes(probability, soft, weight))
        return self.believed(away, freed)

    def believed(self, mean: Floats, covariance: Floats) -> Posterior:
        variance = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)
        tie = mean[:, 0] if self.ties else np.full(len(mean), NEVER)
        probability = integrated(tie, variance[:, 0] * self.ties, mean[:, 1], variance[:, 1])
        probability = calibrating.sharpened(probability, self.sharpness)
        return Posterior(probability, tie, mean[:, 1], variance[:, 0], variance[:, 1])

    def moments(self, data: Features) -> tuple[Floats, Floats]:
        """Mean (n, 2) and covariance (n, 2, 2) of (η, d)."""
        design = self.design(data)
        tie, direction = design.latent(self.weights, self.effects)
        rows, load = self.loadings(design)
        own = load @ self.effect_covariance[design.slot] @ load.transpose(0, 2, 1)
        return np.column_stack([tie, direction]), own + (rows @ self.covariance) @ rows.transpose(0, 2, 1)

    def kinship(self, data: Features) -> Floats:
        """Squared correlation of what is not known of d between pairs of one prompt: (n, n)."""
        design = self.design(data)
        rows, load = (part[:, 1] for part in self.loadings(design))
        own = self.effect_covariance[design.slot[0]]
        covariance = rows @ self.covariance @ rows.T + load @ own @ load.T
        variance = np.maximum(np.diagonal(covariance), 1e-12)
        return covariance**2 / np.outer(variance, variance)

    def design(self, data: Features) -> Design:
        x, z = self.scale.apply(data)
        x = x[:, : len(self.weights) - z.shape[1]]
        slot = np.array([self.slot_of.get(prompt, 0) for prompt in data.prompt.tolist()], dtype=np.int64)
        width = self.effects.shape[1] - 1
        return Design(x, z, data.shared, fitted_to(data.effects, width), slot, len(self.effects))

    def loadings(self, design: Design) -> tuple[Floats, Floats]:
        """How (η, d) hang on weights (n, 2, p), where effects do not make up for them, and on effects (n, 2, k)."""
        cut = design.x.shape[1]
        rows = np.zeros((len(design.slot), 2, len(self.weights)))
        rows[:, 0, :cut], rows[:, 1, cut:] = design.x, design.z
        load = np.zeros((len(design.slot), 2, self.effects.shape[1]))
        load[:, 0, 0], load[:, 1, 1:] = design.shared, design.effects
        known = design.slot > 0
        rows[known] -= load[known] @ self.coupling[design.slot[known]]
        return rows, load


NEVER = -40.0  # η where nobody ever says that two responses are equal


def chunks(size: int) -> list[Integers]:
    return [np.arange(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)] or [np.arange(0)]


def fitted_to(effects: Floats, width: int) -> Floats:
    """Effects' rows cut or padded to the width that the model was fitted with."""
    if effects.shape[1] >= width:
        return effects[:, :width]
    return np.pad(effects, ((0, 0), (0, width - effects.shape[1])))


def fit(
    data: Features,
    soft: Floats,
    *,
    scale: Scale,
    weight: Floats | None = None,
    ties: bool = True,
    priors: Priors | None = None,
) -> LabelModel:
    """Fit to labelled pairs; `soft` (m, 3) are what their labels say. No label at all leaves the judges' word.

    Then calibrate on the same labels, each against what is believed without it.
    """
    priors = priors or Priors()
    design, slot_of = design_of(data, scale, ties)
    prior, start = prior_of(design, data, priors)
    weight = np.ones(len(soft)) if weight is None else weight
    problem = Problem(design, soft, weight, prior, start, priors)
    model = LabelModel(scale, priors, ties, *problem.solved(slot_of))
    held_out = model.cavity(data, soft, weight).probability
    return replace(model, sharpness=calibrating.sharpness(held_out, soft))


def design_of(data: Features, scale: Scale, ties: bool) -> tuple[Design, dict[int, int]]:
    """Matrices of labelled pairs. Slot 0 belongs to every prompt that shares nothing, or has no label."""
    x, z = scale.apply(data)
    sharing = sorted({int(prompt) for prompt in data.prompt[data.shared > 0]})
    slot_of = {prompt: place for place, prompt in enumerate(sharing, start=1)}
    slot = np.array([slot_of.get(prompt, 0) for prompt in data.prompt.tolist()], dtype=np.int64)
    x = x if ties else x[:, :0]
    return Design(x, z, data.shared, data.effects, slot, len(slot_of) + 1), slot_of


def prior_of(design: Design, data: Features, priors: Priors) -> tuple[Floats, Floats]:
    """Precisions and means of the weights."""
    ties, directions = design.x.shape[1], design.z.shape[1]
    told = [priors.text if name in ANTISYMMETRIC else priors.direction for name in data.antisymmetric_names]
    precision = np.r_[np.full(ties, priors.tie), np.array(told)]
    mean = np.zeros(ties + directions)
    if ties:
        precision[0], mean[0] = priors.base, RARELY
        for name, sign in ((SPLIT, 1), (AGREEMENT, -1)):
            if name in data.symmetric_names:
                mean[1 + data.symmetric_names.index(name)] = sign * priors.doubt
    if MEAN_VOTE in data.antisymmetric_names:
        place = ties + data.antisymmetric_names.index(MEAN_VOTE)
        precision[place], mean[place] = priors.mean_vote, priors.trust / (1 + data.size / priors.trusting)
    return precision, mean


RARELY = -1.5  # u₀ before any label: one tie in ten between equals


@dataclass
class Problem:
    """The penalised loss of the weights and effects, and Newton's steps down it."""

    design: Design
    soft: Floats
    weight: Floats
    precision: Floats
    centre: Floats
    priors: Priors

    def effect_precision(self) -> Floats:
        variances = np.r_[self.priors.prompt, np.full(self.design.effects.shape[1], self.priors.response)]
        return 1 / variances

    def loss(self, weights: Floats, effects: Floats) -> float:
        probability = class_probabilities(*self.latent(weights, effects))
        fit = -(self.weight[:, None] * self.soft * np.log(np.maximum(probability, 1e-300))).sum()
        far = self.precision @ (weights - self.centre) ** 2 + (self.effect_precision() * effects**2).sum()
        return float(fit + far / 2)

    def latent(self, weights: Floats, effects: Floats) -> tuple[Floats, Floats]:
        tie, direction = self.design.latent(weights, effects)
        return (tie if self.design.x.shape[1] else np.full(len(direction), NEVER)), direction

    def solved(self, slot_of: dict[int, int]) -> tuple[Floats, Floats, dict[int, int], Floats, Floats, Floats]:
        """Weights with covariance; slots; effects with their covariance given the weights, and coupling to them."""
        weights = self.centre.copy()
        effects = np.zeros((self.design.slots, 1 + self.design.effects.shape[1]))
        before = self.loss(weights, effects)
        for _ in range(ROUNDS):
            step = self.step(weights, effects)
            weights, effects, after = self.downhill(weights, effects, *step[:2], before)
            if before - after < SETTLED * max(1.0, abs(before)):
                break
            before = after
        _, _, covariance, inverse, coupling = self.step(weights, effects)
        return weights, covariance, slot_of, effects, inverse, coupling

    def downhill(
        self, weights: Floats, effects: Floats, by_weight: Floats, by_effect: Floats, before: float
    ) -> tuple[Floats, Floats, float]:
        """A step, halved until the loss falls: few labels can be separable."""
        size = 1.0
        while size > 1e-4:
            moved = weights - size * by_weight, effects - size * by_effect
            after = self.loss(*moved)
            if after <= before:
                return *moved, after
            size /= 2
        return weights, effects, before

    def step(self, weights: Floats, effects: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Newton's step for weights and effects; also the weights' covariance, and the effects' given the weights."""
        design = self.design
        probability = class_probabilities(*self.latent(weights, effects))
        bend = curvature(probability, self.weight)
        slope = slopes(probability, self.soft, self.weight)
        down = np.r_[design.x.T @ slope[:, 0], design.z.T @ slope[:, 1]] + self.precision * (weights - self.centre)
        own = np.column_stack([design.shared * slope[:, 0], design.effects * slope[:, [1]]])
        down_effects = design.by_slot(own) + self.effect_precision() * effects
        inverse, cross = self.effect_blocks(bend)
        coupling = inverse @ cross
        schur = self.weight_block(bend) - np.einsum("gkp,gkq->pq", cross, coupling)
        factor = cho_factor(schur)
        covariance = cho_solve(factor, np.eye(len(weights)))
        by_weight = covariance @ (down - np.einsum("gkp,gk->p", coupling, down_effects))
        by_effect = np.einsum("gkl,gl->gk", inverse, down_effects) - coupling @ by_weight
        return by_weight, by_effect, covariance, inverse, coupling

    def weight_block(self, bend: Floats) -> Floats:
        x, z = self.design.x, self.design.z
        top = np.hstack([(x.T * bend[:, 0, 0]) @ x, (x.T * bend[:, 0, 1]) @ z])
        bottom = np.hstack([(z.T * bend[:, 0, 1]) @ x, (z.T * bend[:, 1, 1]) @ z])
        return np.vstack([top, bottom]) + np.diag(self.precision)

    def effect_blocks(self, bend: Floats) -> tuple[Floats, Floats]:
        """For each slot the inverse of the effects' block (slots, k, k), and that with the weights (slots, k, p)."""
        design = self.design
        load = np.zeros((len(design.slot), 2, 1 + design.effects.shape[1]))
        load[:, 0, 0], load[:, 1, 1:] = design.shared, design.effects
        width = load.shape[2]
        bent = bend @ load
        inner = np.einsum("mik,mil->mkl", load, bent).reshape(len(load), width * width)
        blocks = design.by_slot(inner).reshape(-1, width, width) + np.diag(self.effect_precision())
        cross = [
            np.hstack([design.by_slot(bent[:, 0, [place]] * design.x), design.by_slot(bent[:, 1, [place]] * design.z)])
            for place in range(width)
        ]
        return np.asarray(np.linalg.inv(blocks)), np.stack(cross, axis=1)
