"""The `gold` of a native row: what is expected of the item, how near is near enough, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate.importing.annotations import answers_of
from annotate.importing.errors import ItemError
from annotate.questions import Asked, Subject

FIELDS = ("answers", "tolerance", "explanation", "use")
USES = ("gold", "attention", "training", "quiz")


@dataclass(frozen=True, slots=True)
class CheckedGold:
    """What is expected, as it will be stored."""

    answers: dict[str, Any]
    tolerance: dict[str, float] = field(default_factory=dict)
    explanation: str = ""
    use: str = "gold"


def gold_of(value: Any, asked: Mapping[str, Asked], subject: Subject) -> CheckedGold | None:
    """{"answers": …, "explanation": …, "tolerance": {"helpful": 1}, "use": "quiz"}; None for an ordinary item."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ItemError('“gold” is not a JSON object: write it as {"answers": {…}, "explanation": "…"}.')
    for name in value:
        if name not in FIELDS:
            raise ItemError(f"“gold” has a field “{str(name)[:60]}”: it knows {', '.join(FIELDS)}.")
    use, explanation = value.get("use", "gold"), value.get("explanation") or ""
    if use not in USES:
        raise ItemError(f"the “use” of “gold” is {str(use)[:40]!r}: write one of {', '.join(USES)}.")
    if not isinstance(explanation, str):
        raise ItemError("the “explanation” of “gold” is not text: say in words why the answer is right.")
    answers = answers_of(value.get("answers"), asked, subject)
    return CheckedGold(answers, tolerance_of(value.get("tolerance"), asked), explanation, use)


def tolerance_of(value: Any, asked: Mapping[str, Asked]) -> dict[str, float]:
    """How far off is still right, by question."""
    if value is None:
        return {}
    fits = isinstance(value, dict) and all(
        name in asked and isinstance(by, int | float) and not isinstance(by, bool) and 0 <= by <= 10
        for name, by in value.items()
    )
    if not fits:
        raise ItemError('the “tolerance” of “gold” does not fit: write {"question": number from 0 to 10}.')
    return {name: float(by) for name, by in value.items()}
