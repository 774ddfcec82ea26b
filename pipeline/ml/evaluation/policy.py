"""Compare a policy with its start on held-out prompts, under a reward model.

Both answer the same prompts with the same random numbers, so that an unchanged policy gives the same answers. Reports
the win rate (ties ½), the difference in reward, the KL divergence in nats per answer and per token, lengths and the
share of answers that end by themselves, each with what it takes to judge it; `samples.jsonl` holds all answers side
by side. Left out: judges and people, who compare answers as items like any others, and a length-controlled rate.

    python -m pipeline.ml evaluate_policy run.json
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.ml.configs import EvaluatePolicyConfig, GenerateConfig
from pipeline.ml.data import Prompt, encode_prompt, read_prompts
from pipeline.ml.evaluation.intervals import BOOTSTRAP_SEED, Floats, clustered_bootstrap, wilson
from pipeline.ml.generate import require_context, require_unique_ids, sample_missing
from pipeline.ml.logprobs import answer_log_probs
from pipeline.ml.meter import Meter
from pipeline.ml.models import choose_dtype, load_policy, load_tokenizer
from pipeline.ml.records import RunFolder, StageError
from pipeline.ml.rewards.reward_model import RewardModelScorer
from pipeline.ml.rows import RowFile
from pipeline.ml.splits import prompt_key

ENOUGH = 100  # prompts under which a win rate is not to be decided on
SUSPICIOUS_KL = -0.5  # nats; the estimate may dip below 0 by chance, but not by so much
AT_ONCE = 32  # conversations handed to the reward model between two progress reports


Name = tuple[str, int]  # an answer's prompt id and index
Answers = dict[Name, dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """What the start (`before`) and the policy (`after`) answered to one prompt. Rewards are raw scores."""

    prompt: Prompt
    before: dict[str, Any]
    after: dict[str, Any]
    reward_before: float
    reward_after: float
    log_ratio: float  # log p_policy − log p_start of the policy's answer, in nats


def run(folder: RunFolder) -> dict[str, Any]:
    """The stage: both models answer, the reward model scores, the report says which is better."""
    config = folder.config(EvaluatePolicyConfig)
    prompts = chosen_prompts(folder, config)
    _require_same_tokens(folder)
    # One model at a time: the policy answers and reads its answers, then the start does the same.
    policy = _Contender(folder, config, "policy", prompts)
    after = policy.answer()
    own = policy.read(after)
    del policy
    start = _Contender(folder, config, "start", prompts)
    before = start.answer()
    others = start.read(after)
    del start
    rewards = _rewards(folder, config, prompts, [after, before])
    compared = [
        Compared(
            prompt=prompt,
            before=before[name],
            after=after[name],
            reward_before=rewards[prompt.id, _text(before[name])],
            reward_after=rewards[prompt.id, _text(after[name])],
            log_ratio=own[name] - others[name],
        )
        for prompt in prompts
        for name in ((prompt.id, index) for index in range(config.responses_per_prompt))
    ]
    write_samples(folder, compared)
    report = policy_report(compared, sampled=config.temperature > 0, resamples=config.bootstrap_samples)
    _tell(folder, report)
    return report


def chosen_prompts(folder: RunFolder, config: EvaluatePolicyConfig) -> list[Prompt]:
    """The prompts to evaluate on: all, or `max_prompts` drawn by the run's seed, in their order."""
    prompts = read_prompts(folder.input("prompts"))
    require_unique_ids([prompt.id for prompt in prompts])
    if not config.max_prompts or config.max_prompts >= len(prompts):
        return prompts
    places = random.Random(folder.seed).sample(range(len(prompts)), config.max_prompts)
    return [prompts[place] for place in sorted(places)]


def _require_same_tokens(folder: RunFolder) -> None:
    policy, start = (load_tokenizer(folder.input(name)).get_vocab() for name in ("policy", "start"))
    if policy != start:
        raise StageError(
            "The policy and its start have different tokens, so one cannot read the other's answers: choose the "
            "model that the policy was trained from."
        )


class _Contender:
    """One of the two models: it answers all prompts, and reads answers."""

    def __init__(self, folder: RunFolder, config: EvaluatePolicyConfig, name: str, prompts: Sequence[Prompt]) -> None:
        folder.events.progress(0, 0, stage=f"loading the {name}")
        self._folder, self._config, self._name, self._prompts = folder, config, name, prompts
        self._tokenizer = load_tokenizer(folder.input(name))
        self._model = load_policy(
            folder.input(name), dtype=choose_dtype(config.dtype, folder.input("policy"), folder.input("start"))
        )
        length = config.max_prompt_length
        self._encoded = [encode_prompt(self._tokenizer, prompt.messages, length) for prompt in prompts]
        require_context(self._model, self._encoded, config.max_new_tokens)

    def answer(self) -> Answers:
        """Sample what is missing from `answers-NAME.jsonl`, as the stage `generate` does."""
        config = self._config
        rows = RowFile(self._folder.path / f"answers-{self._name}.jsonl")
        total = len(self._prompts) * config.responses_per_prompt
        meter = Meter(self._folder.events, total, f"the {self._name} answers", done=len(rows.rows))
        settings = GenerateConfig(
            responses_per_prompt=config.responses_per_prompt,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=1.0,  # otherwise the answers would not follow the distribution whose KL is estimated
            batch_size=config.batch_size,
        )
        sample_missing(
            self._folder.seed,
            settings,
            self._prompts,
            self._encoded,
            self._model,
            self._tokenizer,
            rows,
            meter,
            keep_ids=True,
        )
        return {(row["id"], row["index"]): row for row in rows.rows}

    def read(self, answers: Answers) -> dict[Name, float]:
        """log p(answer | prompt) in nats at the sampling temperature, for answers of either model."""
        places = {prompt.id: place for place, prompt in enumerate(self._prompts)}
        meter = Meter(self._folder.events, len(answers), f"the {self._name} reads the policy's answers")
        found = answer_log_probs(
            self._model,
            [self._encoded[places[name[0]]].ids for name in answers],
            [[row["ids"]] for row in answers.values()],
            pad=self._tokenizer.pad_token_id,
            batch_size=self._config.batch_size,
            temperature=self._config.temperature or 1.0,
            on_batch=lambda rows, tokens: meter.add(rows=rows, tokens=tokens),
        )
        return {name: value for name, (value,) in zip(answers, found, strict=True)}


def _text(row: dict[str, Any]) -> str:
    return row["messages"][0]["content"]


def _rewards(
    folder: RunFolder, config: EvaluatePolicyConfig, prompts: Sequence[Prompt], sides: Sequence[Answers]
) -> dict[tuple[str, str], float]:
    """The reward of each different answer, by prompt id and text: equal answers must tie to the last bit."""
    messages = {prompt.id: prompt.messages for prompt in prompts}
    texts = sorted({(row["id"], _text(row)) for answers in sides for row in answers.values()})
    folder.events.progress(0, len(texts), stage="loading the reward model")
    scorer = RewardModelScorer(
        folder.input("reward_model"),
        dtype=choose_dtype(config.dtype, folder.input("reward_model")),
        batch_size=config.batch_size,
        max_length=config.max_length,
    )
    meter = Meter(folder.events, len(texts), "scoring answers")
    rewards: dict[tuple[str, str], float] = {}
    for first in range(0, len(texts), AT_ONCE):
        names = texts[first : first + AT_ONCE]
        conversations = [[*messages[name], {"role": "assistant", "content": text}] for name, text in names]
        rewards.update(zip(names, scorer.score(conversations), strict=True))
        meter.add(rows=len(names))
    return rewards


def write_samples(folder: RunFolder, compared: Sequence[Compared]) -> None:
    """All answers side by side, one line each; written anew by each run of the stage."""
    (folder.path / "samples.jsonl").unlink(missing_ok=True)
    RowFile(folder.path / "samples.jsonl").append(
        {
            "id": item.prompt.id,
            "index": item.after["index"],
            "prompt": item.prompt.messages,
            "before": _text(item.before),
            "after": _text(item.after),
            "reward_before": item.reward_before,
            "reward_after": item.reward_after,
            "tokens_before": item.before["tokens"],
            "tokens_after": item.after["tokens"],
            "finished_before": item.before["finished"],
            "finished_after": item.after["finished"],
            "log_ratio": item.log_ratio,
        }
        for item in compared
    )


def policy_report(compared: Sequence[Compared], *, sampled: bool, resamples: int = 2000) -> dict[str, Any]:
    """The report on answers to held-out prompts. `sampled` says whether they were drawn at a temperature above 0."""
    keys = [prompt_key(item.prompt.messages) for item in compared]
    gaps = np.array([item.reward_after - item.reward_before for item in compared])
    low, high = clustered_bootstrap(gaps, keys, resamples=resamples)
    return {
        "n": len(compared),
        "prompts": len(set(keys)),
        "enough": len(set(keys)) >= ENOUGH,
        **win_rate(gaps, keys, resamples=resamples),
        "reward": {
            "start": float(np.mean([item.reward_before for item in compared])),
            "policy": float(np.mean([item.reward_after for item in compared])),
            "difference": float(gaps.mean()),
            "low": low,
            "high": high,
        },
        "kl": _kl(compared, keys, resamples) if sampled else None,
        "length": _both(compared, "tokens"),
        "eos": _both(compared, "finished"),
        "bootstrap_seed": BOOTSTRAP_SEED,
    }


def win_rate(gaps: Floats, keys: Sequence[str], *, resamples: int = 2000) -> dict[str, Any]:
    """Share of comparisons that the policy wins, ties ½, from reward gaps (policy − start) and their prompts' hashes.

    95% interval by Wilson where every prompt has one comparison, else by drawing whole prompts.
    """
    scores = (np.sign(gaps) + 1) / 2
    if len(set(keys)) == len(keys):
        method, (low, high) = "wilson", wilson(float(scores.sum()), len(scores))
    else:
        method, (low, high) = "bootstrap", clustered_bootstrap(scores, keys, resamples=resamples)
    return {
        "win_rate": float(scores.mean()),
        "low": low,
        "high": high,
        "interval": method,
        "wins": int((gaps > 0).sum()),
        "ties": int((gaps == 0).sum()),
        "losses": int((gaps < 0).sum()),
    }


def _kl(compared: Sequence[Compared], keys: Sequence[str], resamples: int) -> dict[str, float]:
    """KL(policy ‖ start) in nats: the mean log-ratio over the policy's own samples (k1, unbiased), and per token.

    An answer that was cut counts up to where it was cut.
    """
    ratios = np.array([item.log_ratio for item in compared])
    low, high = clustered_bootstrap(ratios, keys, resamples=resamples)
    tokens = sum(item.after["tokens"] for item in compared)
    return {"per_sequence": float(ratios.mean()), "per_token": float(ratios.sum()) / tokens, "low": low, "high": high}


def _both(compared: Sequence[Compared], column: str) -> dict[str, float]:
    """The mean of one column of the answers, for start and policy."""
    return {
        "start": float(np.mean([item.before[column] for item in compared])),
        "policy": float(np.mean([item.after[column] for item in compared])),
    }


def _tell(folder: RunFolder, report: dict[str, Any]) -> None:
    """The main line for people, and warnings about what it does not carry."""
    share = f"{report['win_rate']:.1%} ({report['low']:.1%} to {report['high']:.1%})"
    folder.events.log(f"The policy wins {share} against its start on {report['prompts']} prompts.")
    if not report["enough"]:
        folder.events.log(f"Fewer than {ENOUGH} prompts: not enough to decide on.", level="warning")
    if report["kl"] is not None and report["kl"]["per_sequence"] < SUSPICIOUS_KL:
        words = (
            "A KL divergence cannot be negative: the answers were not sampled from this policy, or in other precision"
        )
        folder.events.log(f"{words} ({report['kl']['per_sequence']:.2f} nats).", level="warning")
