"""Does an answer agree with the expected one? Pure functions, one for each kind of question.

A tolerance is in the question's own unit: steps of the scale for a preference, points for a rating, places for a
ranking, wrong steps for a reading of steps. Options are right or wrong; marked passages are right where they share
at least half of their characters (F1), less the tolerance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SHARED = 0.5  # of marked passages
SIGNS = {"a": 1, "b": -1, "tie": 0}


def same_preference(expected: Mapping[str, Any], given: Mapping[str, Any], tolerance: float | None) -> bool:
    """The same choice; with a tolerance and an expected strength, near enough on the scale from b to a.

    {"choice": "a", "strength": 1} with a tolerance of 1 takes “tie” and “a by 2” for right.
    """
    choice = given.get("choice")
    if tolerance is None or "strength" not in expected:
        return choice == expected["choice"]
    if expected["choice"] not in SIGNS or choice not in SIGNS:
        return choice == expected["choice"]
    return abs(steps_to_a(expected) - steps_to_a(given)) <= tolerance


def steps_to_a(answer: Mapping[str, Any]) -> int:
    return SIGNS[answer["choice"]] * int(answer.get("strength") or 1)


def same_numbers(expected: Sequence[Any], given: Sequence[Any], tolerance: float | None) -> bool:
    """Each number that is expected is met within the tolerance; where None is expected, anything is right."""
    return len(expected) == len(given) and all(
        want is None or (got is not None and abs(want - got) <= (tolerance or 0))
        for want, got in zip(expected, given, strict=True)
    )


def same_options(expected: Sequence[Any], given: Sequence[Any], tolerance: float | None) -> bool:
    return set(expected) == set(given)


def same_steps(expected: Sequence[Any], given: Sequence[Any], tolerance: float | None) -> bool:
    """No more of the steps that are expected are read otherwise than the tolerance says."""
    pairs = [
        pair for want, got in zip(expected, given, strict=False) for pair in zip(want or [], got or [], strict=False)
    ]
    return sum(want is not None and want != got for want, got in pairs) <= (tolerance or 0)


def same_passages(
    expected: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]], tolerance: float | None
) -> bool:
    """The marked characters agree (F1) by half at least, less the tolerance (0 to 0.5)."""
    want, got = characters(expected), characters(given)
    if not want or not got:
        return want == got
    return 2 * len(want & got) / (len(want) + len(got)) >= SHARED - (tolerance or 0)


def characters(spans: Iterable[Mapping[str, Any]]) -> set[tuple[Any, int]]:
    return {(span["response"], place) for span in spans for place in range(span["start"], span["end"])}


SAME: dict[str, Callable[[Any, Any, float | None], bool]] = {
    "preference": same_preference,
    "rating": same_numbers,
    "ranking": same_numbers,
    "choice": same_options,
    "step": same_steps,
    "span": same_passages,
}


def missed(
    kinds: Mapping[str, str],
    expected: Mapping[str, Any],
    given: Mapping[str, Any],
    tolerance: Mapping[str, float],
) -> list[str]:
    """The questions that were answered otherwise than expected, or not at all.

    `kinds` is question name → kind. A question that is no longer asked, or whose answers cannot be right or wrong (a
    critique), is never missed.
    """
    wrong = []
    for name, answer in expected.items():
        same = SAME.get(kinds.get(name, ""))
        if same is not None and (given.get(name) is None or not same(answer, given[name], tolerance.get(name))):
            wrong.append(name)
    return wrong
