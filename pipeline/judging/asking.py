"""Ask a judge what is due: `judge_items`, for a worker's task and for the command.

Whatever ends this process, the next one goes on where it stopped (`rounds.py` does the asking).
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pipeline.judging import calls, local, settling
from pipeline.judging.evidence import EvidenceError
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError
from pipeline.ml.configs import ConfigError
from pipeline.models import Judge, JudgeCall


def never() -> bool:
    return False


def judge_items(
    *,
    judge: Judge,
    limit: int | None = None,
    seconds: float | None = None,
    again: bool = False,
    stop: Callable[[], bool] = never,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Ask the judge about items routed to it until nothing is due, it must rest, or a bound is reached.

    At most `limit` items and about `seconds` seconds (None: no bound). `again` asks at once a judge that rests or has
    stopped. A local judge is asked by a run, which is queued here. Returns counts of what happened, and the judge's
    state: {"asked", "answered", "unparsable", "failed", "pending", "state", "message", "run", "busy"}. Returns at once
    while another worker asks for this judge, or for one that asks the same model; `busy` is that judge's name.
    """
    if again:
        settling.resume(judge=judge)
    if judge.kind in Judge.BY_RUNS:
        run = local.start(judge=judge, limit=limit, again=again)
        return summary(judge, Counter(), run.pk if run else None)
    token = calls.take_lease(judge.pk)
    if token is None:
        return {**summary(judge, Counter()), "busy": busy_with(judge)}
    try:
        deadline = None if seconds is None else time.monotonic() + seconds
        return summary(judge, ask_endpoint(judge, token, limit, deadline, stop, report))
    finally:
        calls.give_back(judge.pk, token)


def ask_endpoint(
    judge: Judge,
    token: str,
    limit: int | None,
    deadline: float | None,
    stop: Callable[[], bool],
    report: Callable[[dict[str, Any]], None] | None,
) -> Counter[str]:
    """Counts by what became of the questions. Stops the judge where it cannot be asked at all."""
    from pipeline.judging.rounds import Round  # here, because what talks HTTP takes a moment to import

    counts: Counter[str] = Counter()
    try:
        horizon = None if limit is None else calls.horizon(judge=judge, items=limit)
        Round(judge, token, horizon, deadline, stop, report, counts).run()
    except (SecretError, ProtocolError, ConfigError, EvidenceError) as error:
        settling.halt(judge=judge, message=str(error))
    except calls.LeaseLost:
        return counts  # whoever has the lease goes on
    return counts


def busy_with(judge: Judge) -> str:
    """The name of the judge for which another worker asks now: this one, or one that asks the same model."""
    other = calls.asker(judge)
    return (other or judge).name


def summary(judge: Judge, counts: Counter[str], run: int | None = None) -> dict[str, Any]:
    judge.refresh_from_db()
    return {
        "asked": counts["asked"],
        "answered": counts[JudgeCall.ANSWERED],
        "unparsable": counts[JudgeCall.UNPARSABLE],
        "failed": counts[JudgeCall.FAILED],
        "pending": calls.still_due(judge),
        "state": judge.state,
        "message": judge.message,
        "run": run,
        "busy": "",
    }
