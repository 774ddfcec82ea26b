"""What the demo project's content promises (annotate/demo: guidelines.md, prompts.jsonl, pairs.jsonl).

All of it was written for this project and is marked as sample data. Sixty prompts wait for answers from
the demo model; 150 other prompts come with two written answers each. In 144 of these pairs one answer is
better for one of nine reasons, 16 pairs a reason, named in the second tag and spelled out in
`metadata.why`; four pairs are about equal and two hold two bad answers. Nothing but the reason gives the
better answer away: not its place, not its length, not the name of its writer, not a single word. Three
sample raters labelled the pairs as people do: nine in ten votes agree with what the writer meant.
"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "annotate" / "demo"
REASONS = {
    "correct",
    "complete",
    "kind",
    "concise",
    "safe",
    "follows-instruction",
    "honest",
    "clear",
    "asks",
}
RATERS = {"sample-ann-1", "sample-ann-2", "sample-ann-3"}


def rows(name):
    return [json.loads(line) for line in (DEMO / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def prompts():
    return rows("prompts.jsonl")


@pytest.fixture(scope="module")
def pairs():
    return rows("pairs.jsonl")


@pytest.fixture(scope="module")
def decided(pairs):
    """The pairs in which the writer meant one answer to be better."""
    return [pair for pair in pairs if pair["metadata"]["better"] in ("a", "b")]


@pytest.fixture(scope="module")
def votes(pairs):
    return [(pair, annotation) for pair in pairs for annotation in pair["annotations"]]


def answer(pair, index):
    return pair["responses"][index]["messages"][0]["content"]


def answers_of(pair):
    return [answer(pair, 0), answer(pair, 1)]


def better_index(pair):
    return "ab".index(pair["metadata"]["better"])


def better_and_worse(pair):
    index = better_index(pair)
    return answer(pair, index), answer(pair, 1 - index)


def words(text):
    return set(re.findall(r"[^\W\d_]+|[^\w\s]", text.lower()))


def sentences(text):
    parts = (part.strip().lower() for part in re.split(r"(?<=[.!?])\s+", text))
    return {part for part in parts if len(part.split()) >= 4}


def test_guidelines_cover_the_scale_the_rating_and_what_not_to_reward():
    text = (DEMO / "guidelines.md").read_text(encoding="utf-8")
    assert 300 <= len(text.split()) <= 450
    for promised in ("A is much better", "**4** About equal", "both bad", "Helpful, from 1 to 5", "Length"):
        assert promised in text
    for anchor in range(1, 6):
        assert f"\n- **{anchor}** " in text.split("## Helpful")[1]


def test_sixty_prompts_on_many_topics_end_with_the_user(prompts):
    assert [row["id"] for row in prompts] == [f"everyday-{number:02d}" for number in range(1, 61)]
    assert all(set(row) == {"id", "tags", "prompt"} for row in prompts)
    assert len({tag for row in prompts for tag in row["tags"]}) >= 18
    assert sum(len(row["prompt"]) == 3 for row in prompts) == 6
    for row in prompts:
        roles = [turn["role"] for turn in row["prompt"]]
        assert roles == ["user", "assistant", "user"][: len(roles)]
        assert roles[-1] == "user"
        assert ("multi-turn" in row["tags"]) == (len(roles) == 3)


def test_no_prompt_appears_twice_in_either_file(prompts, pairs):
    texts = [json.dumps(row["prompt"]) for row in prompts + pairs]
    assert len(set(texts)) == 210


def test_pairs_have_the_native_item_format(pairs):
    assert [pair["id"] for pair in pairs] == [f"sample-{number:03d}" for number in range(1, 151)]
    for pair in pairs:
        assert set(pair) == {"id", "tags", "metadata", "prompt", "responses", "annotations"}
        assert pair["prompt"][-1]["role"] == "user"
        assert {response["model"] for response in pair["responses"]} == {"sample-writer-1", "sample-writer-2"}
        for response in pair["responses"]:
            assert [message["role"] for message in response["messages"]] == ["assistant"]


def test_every_pair_is_marked_as_sample_and_says_why(pairs):
    for pair in pairs:
        assert pair["metadata"]["sample"] is True
        assert len(pair["metadata"]["why"].split()) >= 4
    assert len({pair["metadata"]["why"] for pair in pairs}) == 150


def test_why_names_the_side_that_is_worse(decided):
    for pair in decided:
        worse = "BA"[better_index(pair)]
        assert re.search(rf"\b{worse}\b", pair["metadata"]["why"]), pair["id"]


def test_nine_reasons_have_sixteen_pairs_each(pairs):
    counts = Counter(pair["tags"][1] for pair in pairs)
    assert counts == {**dict.fromkeys(REASONS, 16), "about-equal": 4, "both-bad": 2}
    assert Counter(pair["metadata"]["better"] for pair in pairs) == {
        "a": 72,
        "b": 72,
        "tie": 4,
        "both_bad": 2,
    }


def test_answers_are_short_and_no_sentence_is_used_twice(pairs):
    lengths = [len(text.split()) for pair in pairs for text in answers_of(pair)]
    assert min(lengths) >= 20
    assert max(lengths) <= 120
    assert sum(25 <= length <= 80 for length in lengths) / len(lengths) >= 0.9
    used = Counter(sentence for pair in pairs for text in answers_of(pair) for sentence in sentences(text))
    assert [sentence for sentence, times in used.items() if times > 1] == []


def test_longer_wins_is_no_better_than_a_coin(decided):
    for measure in (len, lambda text: len(text.split())):
        longer = sum(measure(good) > measure(worse) for good, worse in map(better_and_worse, decided))
        assert 0.45 <= longer / len(decided) <= 0.55


def test_place_length_and_writer_are_balanced_within_each_reason(decided):
    for reason in REASONS:
        group = [pair for pair in decided if pair["tags"][1] == reason]
        longer = sum(len(good) > len(worse) for good, worse in map(better_and_worse, group))
        signed = sum(pair["responses"][better_index(pair)]["model"] == "sample-writer-1" for pair in group)
        assert sum(better_index(pair) == 0 for pair in group) == 8, reason
        assert 7 <= longer <= 9, reason
        assert 6 <= signed <= 10, reason


def test_writer_names_do_not_tell_the_better_answer(decided):
    signed = sum(pair["responses"][better_index(pair)]["model"] == "sample-writer-1" for pair in decided)
    assert 0.45 <= signed / len(decided) <= 0.55


def test_no_single_word_predicts_the_better_answer(decided):
    in_better, in_worse = Counter(), Counter()
    for good, worse in map(better_and_worse, decided):
        in_better.update(words(good) - words(worse))
        in_worse.update(words(worse) - words(good))
    for word in in_better | in_worse:
        advantage = abs(in_better[word] - in_worse[word]) / 2 / len(decided)
        assert advantage <= 0.10, (word, in_better[word], in_worse[word])


def test_one_to_three_sample_people_rated_each_pair(pairs, votes):
    assert Counter(len(pair["annotations"]) for pair in pairs) == {1: 30, 2: 90, 3: 30}
    assert {annotation["rater"] for _, annotation in votes} == RATERS
    for pair in pairs:
        assert len({annotation["rater"] for annotation in pair["annotations"]}) == len(pair["annotations"])
    for _, annotation in votes:
        assert annotation["kind"] == "human"
        assert 5 <= annotation["seconds"] <= 300
        assert sorted(annotation["order"]) == [0, 1]


def test_the_better_answer_was_shown_first_about_half_of_the_time(votes):
    shown = [vote["order"][0] == better_index(pair) for pair, vote in votes if pair["metadata"]["better"] in "ab"]
    assert 0.4 <= sum(shown) / len(shown) <= 0.6


def test_about_one_vote_in_twelve_differs_from_the_writer(votes):
    choices = [(pair["metadata"]["better"], vote["answers"]["preference"]) for pair, vote in votes]
    differing = [preference for better, preference in choices if preference["choice"] != better]
    assert 0.06 <= len(differing) / len(votes) <= 0.10
    assert all(preference["choice"] == "tie" or preference["strength"] == 1 for preference in differing)


def test_strength_and_ratings_fit_the_choice(votes):
    for pair, vote in votes:
        preference, ratings = vote["answers"]["preference"], vote["answers"]["helpful"]
        assert len(ratings) == 2
        assert all(1 <= rating <= 5 for rating in ratings)
        if preference["choice"] in ("a", "b"):
            chosen = "ab".index(preference["choice"])
            lead = ratings[chosen] - ratings[1 - chosen]
            assert preference["strength"] in (1, 2, 3)
            assert lead >= preference["strength"] - 1, pair["id"]
        else:
            assert preference["choice"] in ("tie", "both_bad")
            assert "strength" not in preference
            assert abs(ratings[0] - ratings[1]) <= 1
            assert preference["choice"] == "tie" or max(ratings) <= 2


def test_about_half_of_the_votes_give_a_reason_of_their_own(votes):
    reasons = [vote["reason"] for _, vote in votes if "reason" in vote]
    assert 0.45 <= len(reasons) / len(votes) <= 0.60
    assert len(set(reasons)) == len(reasons)
    assert not [reason for reason in reasons if not reason.strip()]
