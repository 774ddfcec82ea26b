"""Files as pools, and pools as features: every signal optional, nothing lost when the responses change places."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.routing.estimators.label_model import scale_of
from pipeline.routing.evidence import columns, siblings, text, votes
from pipeline.routing.evidence.pool import FIRST, SECOND, SILENT, TIE
from pipeline.routing.evidence.reading import PoolError, pool_from
from pipeline.routing.policies import judged

pytestmark = pytest.mark.database_free


def item(number, annotations, prompt="What is tea?", responses=("A drink made of leaves.", "Hot water."), **more):
    sides = [{"model": f"m{place}", "messages": words} for place, words in enumerate(responses)]
    return {"id": f"i{number}", "prompt": prompt, "responses": sides, "annotations": annotations, **more}


def said(rater, answer, kind="judge", **more):
    name = "preference" if isinstance(answer, dict | str) else "ranking"
    answer = {"choice": answer} if isinstance(answer, str) else answer
    return {"rater": rater, "kind": kind, "answers": {name: answer}, **more}


@pytest.fixture
def written(tmp_path):
    def write(*rows, name="items.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        return path

    return write


def test_votes_of_people_and_of_judges_in_both_orders(written):
    rows = [
        said("ann", {"choice": "a", "strength": 2}, "human"),
        said("ben", "unsure", "human"),
        said("j", "a", order=[0, 1], confidence=0.9, reason="It is longer.", reference="Leaves in water."),
        said("j", "b", order=[1, 0]),
        said("k", "unparsable"),
        said("k", "tie", order=[1, 0]),
    ]
    pool = pool_from(written(item(1, rows, tags=["tea"]), item(2, [], prompt="And coffee?")))
    assert (pool.keys, pool.tags, pool.model_names) == (["i1", "i2"], [("tea",), ()], ["m0", "m1"])
    assert pool.human_votes.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert pool.ballots.verdict.tolist() == [FIRST, SILENT, FIRST, SECOND, SILENT, TIE]
    assert pool.ballots.swapped.tolist() == [0, 0, 0, 1, 0, 1]
    assert pool.ballots.strength[0] == 2
    panel = votes.panel(pool)
    assert panel.vote.tolist() == [[0, 0], [0, 0]]
    assert panel.asked.tolist() == [[1, 1], [0, 0]]
    assert panel.split.tolist() == [[1, 1], [0, 0]]
    assert (panel.tied[0].tolist(), panel.silent[0].tolist()) == ([0, 0.5], [0, 0.5])


def test_a_consistent_judge_does_not_split_and_confidence_becomes_margin(written):
    rows = [said("j", "a", confidence=0.9), said("j", "a", order=[1, 0], confidence=0.3)]
    panel = votes.panel(pool_from(written(item(1, rows))))
    assert (panel.vote[0, 0], panel.split[0, 0]) == (1, 0)
    assert panel.margin[0, 0] == pytest.approx(1)
    uneven = [said("j", "b", order=[0, 1], confidence=0.9), said("j", "a", order=[1, 0], confidence=0.3)]
    assert votes.panel(pool_from(written(item(1, uneven)))).margin[0, 0] == pytest.approx(-0.5)


def test_a_ranking_is_taken_apart_into_its_pairs(written):
    three = ("one", "two", "three")
    rows = [said("ann", [2, 1, 2], "human"), said("j", [1, 2, 3], order=[2, 0, 1])]
    pool = pool_from(written(item(1, rows, responses=three)))
    assert pool.keys == ["i1/1-2", "i1/1-3", "i1/2-3"]
    assert pool.human_votes.argmax(axis=1).tolist() == [SECOND, TIE, FIRST]
    assert pool.judged.verdict.tolist() == [FIRST, FIRST, FIRST]
    assert pool.judged.swapped.tolist() == [0, 1, 1]
    assert len(set(pool.prompt)) == 1


def test_rows_of_one_item_are_one_pair_with_the_votes_of_all(written):
    table = "id,prompt,response_a,response_b,choice,rater\n" + "\n".join(
        f"{key},What is tea?,A drink.,Hot water.,{choice},{rater}"
        for key, choice, rater in [("1", "a", "ann"), ("1", "b", "ben"), ("2", "a", "ann")]
    )
    pool = pool_from(written(table, name="items.csv"))
    assert (pool.keys, pool.human_votes.tolist()) == (["1", "2"], [[0, 1, 1], [0, 1, 0]])


def test_ratings_compare_by_their_mean_where_nobody_was_asked_which_is_better(written):
    rating = {"rater": "j", "kind": "judge", "answers": {"helpful": [4, 2], "honest": [3, 4], "why": "because"}}
    pool = pool_from(written(item(1, [rating, said("ann", "b", "human")])))
    assert pool.judged.verdict.tolist() == [FIRST]
    assert pool.judged.strength.tolist() == [0.5]
    assert pool.human_votes.tolist() == [[0, 0, 1]]


def test_only_what_is_in_force_counts(written):
    rows = [
        said("ann", "a", "human", id="1"),
        said("ann", "b", "human", id="2", replaces="1"),
        said("ben", "a", "human", counted=False),
        said("cleo", "a", "human", verdict="in force"),
    ]
    assert pool_from(written(item(1, rows))).human_votes.tolist() == [[0, 0, 1]]


def test_the_question_with_most_answers_is_meant_unless_one_is_named(written):
    def both(safer, better):
        answers = {"safer": {"choice": safer}, "better": {"choice": better}}
        return {"rater": "ann", "kind": "human", "answers": answers}

    path = written(
        item(1, [both("a", "b"), {"rater": "ben", "kind": "human", "answers": {"better": {"choice": "b"}}}])
    )
    assert pool_from(path).human_votes.tolist() == [[0, 0, 2]]
    assert pool_from(path, question="safer").human_votes.tolist() == [[0, 1, 0]]
    with pytest.raises(PoolError, match="“kinder”.*better, safer"):
        pool_from(path, question="kinder")


def test_other_formats_come_in_as_import_reads_them(written):
    row = {
        "instruction": "Name a tea.", "input": "", "response1": "Assam", "response2": True, "model1": "x",
        "model2": "y", "annotator1": 1, "annotator2": 0,
        "judges": {"j": {"label": "2", "reason": "short", "reference": "Assam"}, "k": {"label": "garbage"}},
    }  # fmt: skip
    pool = pool_from(written(row))
    assert pool.human_votes.tolist() == [[1, 1, 0]]
    assert pool.judged.verdict.tolist() == [SECOND, SILENT]
    assert pool.second == ["true"]
    csv = written("prompt,response_a,response_b,choice,rater", "Hi,Hello,Bye,a,ann", name="some.csv")
    assert pool_from(csv).human_votes.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (['{"id": 1,'], "row 1: this is not valid JSON"),
        ([item(1, [said("j", "left")])], "row 1: “preference”: choose one of a, b, tie"),
        ([item(1, []), {"prompt": "x", "responses": []}], "row 2: there is no response"),
        ([item(1, [said("j", "a")]), item(2, "none")], "row 2: “annotations” is not a list"),
        ([item(1, [])], "No annotation compares two responses"),
        ([item(1, [], responses=("one",))], "No item has two responses to compare"),
        ([""], "the file is empty"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(written, rows, sentence):
    with pytest.raises(PoolError, match=sentence) as caught:
        pool_from(written(*rows))
    assert "\n" not in str(caught.value)


def test_items_with_one_response_are_passed_over(written):
    pool = pool_from(written(item(1, [], responses=("one",)), item(2, [said("j", "a")])))
    assert pool.keys == ["i2"]


def test_rouge_counts_words_as_often_as_both_have_them():
    # "the cat the dog" and "the the the cat": shared the ×2, cat ×1; 2·3/(4+4).
    assert text.rouge(text.Text("the cat the dog"), text.Text("the the the cat")) == pytest.approx(0.75)
    assert text.rouge(text.Text(""), text.Text("")) == 1
    assert text.rouge(text.Text("a"), text.Text("")) == 0


def test_repetition_copying_and_emptiness():
    said_twice = text.Text("one two three four one two three four")
    assert said_twice.repeated == pytest.approx(1 - 4 / 5)
    assert text.copying(text.Text("one two three four nine"), said_twice) == pytest.approx(0.5)
    assert [text.Text(words).empty for words in ("", ":", " … ", "no")] == [True, True, True, False]


def cast(written, count=30):
    """Prompts with one to three pairs, two judges, references, models."""
    rng = np.random.default_rng(5)
    words = ["tea", "leaf", "water", "hot", "cup", "green", "black", "milk", "sugar", "pot"]
    rows = []
    for number in range(count):
        sides = tuple(" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(2))
        notes = [said("ann", str(rng.choice(["a", "b", "tie"])), "human")]
        notes += [said("j", str(rng.choice(["a", "b"])), reason="Both are fine.", reference="hot tea")]
        notes += [said("k", str(rng.choice(["a", "b", "unparsable"])), order=order) for order in ([0, 1], [1, 0])]
        rows.append(item(number, notes, prompt=f"Question {number // 3}", responses=sides))
    return pool_from(written(*rows))


def test_features_of_swapped_pairs_are_swapped_features(written):
    pool = cast(written)
    other = {FIRST: SECOND, SECOND: FIRST}
    ballots = replace(
        pool.ballots,
        verdict=np.array([other.get(verdict, verdict) for verdict in pool.ballots.verdict.tolist()]),
        swapped=1 - pool.ballots.swapped,
    )
    mirror = replace(pool, first=pool.second, second=pool.first, models=pool.models[:, ::-1], ballots=ballots)
    one, other = columns.features(pool), columns.features(mirror)
    assert one.symmetric == pytest.approx(other.symmetric)
    assert one.antisymmetric == pytest.approx(-other.antisymmetric)
    assert one.effects @ one.effects.T == pytest.approx(other.effects @ other.effects.T)
    assert len(one.symmetric_names) == one.symmetric.shape[1]
    assert len(one.antisymmetric_names) == one.antisymmetric.shape[1]


def test_votes_are_held_against_lengths_and_references(written):
    long, short = "Leaves in hot water make a drink called tea.", "Tea."
    rows = [said("j", "b", reference="Leaves in hot water make tea."), said("k", "b", reference=long)]
    data = columns.features(pool_from(written(item(1, rows, responses=(long, short)))))
    both = dict(zip(data.symmetric_names, data.symmetric[0], strict=True))
    signed = dict(zip(data.antisymmetric_names, data.antisymmetric[0], strict=True))
    assert both["vote for the longer"] == pytest.approx(-8 / 10)
    assert both["vote for the closest to a reference"] == pytest.approx(-signed["closer to one of all references"])
    assert signed["closer to own words of reference 0"] == signed["closer to reference 0"] > 0
    assert signed["closer to own words of reference 1"] == 0 < signed["closer to reference 1"]
    assert signed["mean vote on long responses"] == pytest.approx(4 - np.log1p(10))


@pytest.mark.parametrize("left_out", ["judges", "models", "siblings", "references"])
def test_every_signal_is_optional(written, left_out):
    pool = cast(written)
    if left_out == "judges":
        pool = replace(pool, ballots=pool.ballots.of(pool.ballots.rater == 0))
    if left_out == "models":
        pool = replace(pool, model_names=[], models=np.full((pool.size, 2), -1))
    if left_out == "siblings":
        pool = pool.isolated()
    if left_out == "references":
        pool = replace(pool, ballots=replace(pool.ballots, reference=[""] * len(pool.ballots.item)))
    found = columns.features(pool)
    assert all(np.isfinite(part).all() for part in scale_of(found).apply(found))
    assert found.shared.any() == (left_out != "siblings")


def test_what_a_judge_did_not_say_of_a_pair_is_unknown_and_not_nothing(written):
    told = said("j", "a", reason="It is longer.", reference="Leaves in water.")
    rows = item(1, [told, said("h", "a", "human")]), item(2, [said("h", "b", "human")], prompt="And coffee?")
    pool = pool_from(written(*rows))
    found = columns.features(pool)
    both = dict(zip(found.symmetric_names, found.symmetric.T, strict=True))
    for name in ("tie of j", "length of reason 0", "reference gap 0", "best overlap with all references"):
        assert np.isfinite(both[name]).tolist() == [True, False], name
    signed = dict(zip(found.antisymmetric_names, found.antisymmetric.T, strict=True))
    assert signed["closer to reference 0"][1] == signed["vote of j"][1] == 0


def test_a_margin_by_siblings_leaves_the_pairs_own_votes_out(written):
    pool = cast(written)
    nodes, said_by = siblings.nodes_of(pool), votes.panel(pool)
    heard = said_by.asked * (1 - said_by.silent)
    found = siblings.margins(nodes, said_by.vote, heard)
    total, pull = heard.sum(axis=1), (heard * said_by.vote).sum(axis=1)
    for group in nodes.groups():
        matrix = siblings.incidence(nodes, group)
        for place, pair in enumerate(group):
            weight = np.where(np.arange(len(group)) == place, 0.0, total[group])
            pulled = np.where(np.arange(len(group)) == place, 0.0, pull[group])
            worth = np.linalg.solve(matrix.T @ (weight[:, None] * matrix) + np.eye(matrix.shape[1]), matrix.T @ pulled)
            assert found[pair] == pytest.approx(matrix[place] @ worth)


def test_equal_responses_are_one_node_and_near_copies_are_near_ties(written):
    notes = [said("j", "a")]
    rows = [
        item(1, notes, responses=("green tea", "black tea ")),
        item(2, notes, responses=("black tea", "hot milk and sugar")),
        item(3, notes, responses=("green tea leaf", "green tea")),
    ]
    pool = pool_from(written(*rows))
    nodes = siblings.nodes_of(pool)
    assert nodes.second[0] == nodes.first[1]
    spread = (columns.features(pool).effects ** 2).sum(axis=1)
    # Var(s_a − s_b) = 2 (1 − .95 ROUGE²): 2·2/5 = .8 shared makes .784, nothing shared 2.
    assert spread == pytest.approx([2 * (1 - 0.95 * 0.5**2), 2, 2 * (1 - 0.95 * 0.8**2)])


def test_a_judge_is_held_to_its_own_answer_only_where_it_wrote_one(written):
    rows = (
        item(1, [said("j", "b", reference="A drink made of leaves.")]),
        item(2, [said("j", "a", reference="A drink made of leaves.")], prompt="What is mint?"),
        item(3, [said("j", "b")], prompt="What is sage?"),
    )
    pool = pool_from(written(*rows))
    assert judged.rule_parts(pool, columns.features(pool))["not backed by the judge's own answer"].tolist() == [
        1,
        0,
        0,
    ]
