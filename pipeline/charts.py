"""Which metrics of a run are drawn together, in which words and colours. The names are those of `pipeline.ml`."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """One line: a metric, its words, its colour (a token of the stylesheet), and whether it has an axis of its own."""

    metric: str
    words: str
    color: str = "accent"
    dashed: bool = False
    right: bool = False


@dataclass(frozen=True)
class Chart:
    """One chart; `share` draws the axis from 0 to 1."""

    title: str
    unit: str
    series: tuple[Series, ...]
    share: bool = False


LOSS = Chart("Loss", "nats per pair", (Series("loss", "training"), Series("eval_loss", "held out", "judge", True)))
ACCURACY = Chart(
    "Accuracy",
    "share of pairs in which the better answer scores higher",
    (Series("accuracy", "training"), Series("eval_accuracy", "held out", "judge", True)),
    share=True,
)
MARGIN = Chart("Margin", "reward of the better answer minus the other's", (Series("margin", "margin"),))
ANSWERS = Chart(
    "Log-probability of the answers",
    "nats per answer",
    (Series("logps_chosen", "better"), Series("logps_rejected", "worse", "judge", True)),
)
ROLLOUTS = (
    Chart(
        "Reward",
        "mean over the answers of a step",
        (Series("reward", "training"), Series("eval_reward", "held out", "judge", True)),
    ),
    Chart(
        "KL to the start", "nats per answer", (Series("kl", "training"), Series("eval_kl", "held out", "judge", True))
    ),
    Chart("Wins against the start", "on held-out prompts, by reward", (Series("eval_win_rate", "wins"),), share=True),
    Chart("Value loss", "of the critic", (Series("value_loss", "value loss"),)),
    Chart(
        "Length and entropy",
        "tokens per answer; nats per token",
        (Series("length", "length"), Series("entropy", "entropy", "human", right=True)),
    ),
    Chart("Clipped", "share of tokens whose update was held back", (Series("clip_fraction", "clipped"),), share=True),
)

CHARTS: dict[str, tuple[Chart, ...]] = {
    "train_reward": (LOSS, ACCURACY, MARGIN),
    "dpo": (LOSS, ACCURACY, ANSWERS),
    "ppo": ROLLOUTS,
}


def words_of(chart: Chart, series: Series) -> str:
    """A line's name where its chart's title is not beside it: “Loss, held out”."""
    if len(chart.series) == 1:
        return chart.title
    return series.words if any(other.right for other in chart.series) else f"{chart.title}, {series.words}"


def metrics_of(kind: str) -> list[str]:
    """The metrics that are drawn for a kind of run."""
    return [series.metric for chart in CHARTS.get(kind, ()) for series in chart.series]


def charts_of(kind: str) -> list[dict[str, Any]]:
    """The charts of a kind of run, as plain data for the page's script."""
    return [asdict(chart) for chart in CHARTS.get(kind, ())]
