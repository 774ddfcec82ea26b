"""Judges that are models of the registry: what their run is given, and what becomes of its verdicts."""

import json
import math
from pathlib import Path

import pytest

from annotate.models import Annotation, Label
from pipeline import outcomes
from pipeline.judging import judge_items, judges_due, local, setup
from pipeline.judging.statistics import consistency_of
from pipeline.models import JudgeCall, Run
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")


@pytest.fixture
def small(project, tmp_path):
    """A local judge."""
    version = stand_ins.model(None, kind="base", path=str(tmp_path), sha256="f" * 64)
    return setup.create_local_judge(project=project, name="small", model_version=version)


def requests_of(run):
    return [json.loads(line) for line in Path(run.inputs["requests"]["path"]).open(encoding="utf-8")]


def answer(run, logprobs):
    """Let the run have succeeded with these log-probabilities of A and B, by request."""
    lines = [
        {"id": row["id"], "logprobs": dict(zip("AB", logprobs(row), strict=True)), "tokens": 40, "shortened": False}
        for row in requests_of(run)
    ]
    (Path(run.folder) / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Run.objects.filter(pk=run.pk).update(state=Run.SUCCEEDED)
    run.refresh_from_db()


def test_a_run_is_given_both_orders_of_what_is_due(small, judged_item):
    judged_item("Is the sea salty?", ("It is sweet.", "It is salty."))
    judged_item(route="human")
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    assert (run.kind, run.judge, run.state) == ("judge", small, "queued")
    assert run.inputs["model"] == {
        "path": small.model_version.path,
        "sha256": "f" * 64,
        "model": small.model_version.pk,
    }
    first, second = requests_of(run)
    assert (first["choices"], second["choices"]) == (["A", "B"], ["A", "B"])
    texts = [row["prompt"][0]["content"] for row in (first, second)]
    assert texts[0].index("sweet") < texts[0].index("salty.")
    assert texts[1].index("salty.") < texts[1].index("sweet")
    assert {row["id"] for row in (first, second)} == {str(call.pk) for call in JudgeCall.objects.all()}
    assert judge_items(judge=small)["run"] is None  # one run at a time


def test_verdicts_become_annotations_in_stored_order_with_confidence(small, judged_item):
    item = judged_item("Is the sea salty?", ("It is sweet.", "It is salty."))
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    # 80% for the salty one where it stands second, 60% where it stands first; 90% of the probability is elsewhere.
    shares = {"0-1": (0.02, 0.08), "1-0": (0.06, 0.04)}
    order_of = {str(call.pk): call.order_key for call in JudgeCall.objects.all()}
    answer(run, lambda row: [math.log(share) for share in shares[order_of[row["id"]]]])
    assert local.take_in_verdicts(run) == {"verdicts": 2}
    kept = item.annotations.order_by("order_key").values_list("order_key", "answers__preference__choice", "confidence")
    assert list(kept) == [("0-1", "b", pytest.approx(0.8)), ("1-0", "b", pytest.approx(0.6))]
    assert Label.objects.get(item=item).value == "b"
    assert local.take_in_verdicts(run) == {"verdicts": 0}  # once is enough
    assert Annotation.objects.count() == 2
    assert judges_due() == []
    call = JudgeCall.objects.first()
    assert (call.state, call.tokens_input, call.cost_units) == ("answered", 40, 0)


def test_the_outcome_of_a_judge_run_takes_them_in(small, judged_item):
    judged_item()
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    answer(run, lambda row: (-0.1, -2.4))
    outcomes.record(run)
    assert Annotation.objects.count() == 2
    assert Label.objects.get().value == "tie"  # it named what stood first, both times


@pytest.mark.parametrize(
    ("logprobs", "state", "choice"),
    [((-1.0, -1.0), "answered", "tie"), ((None, -1.0), "unparsable", "unparsable"), ((-5.0, -1.0), "answered", "b")],
)
def test_what_a_pair_of_log_probabilities_means(small, judged_item, logprobs, state, choice):
    judged_item()
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    answer(run, lambda row: logprobs)
    local.take_in_verdicts(run)
    call = JudgeCall.objects.get(order_key="0-1")
    assert (call.state, call.choice) == (state, choice)


def test_a_run_that_failed_stops_the_judge_until_somebody_asks_again(small, judged_item):
    judged_item()
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    Run.objects.filter(pk=run.pk).update(state=Run.FAILED, message="The model is gone.")
    counts = judge_items(judge=small)
    assert (counts["run"], counts["state"], counts["pending"]) == (None, "stopped", 2)
    assert counts["message"] == f"Run {run.pk} did not succeed (failed). The model is gone."
    assert judges_due() == []
    assert Annotation.objects.count() == 0
    again = judge_items(judge=small, again=True)
    assert (again["run"] is not None, again["state"]) == (True, "ready")


def test_a_run_takes_so_many_items_at_once(small, judged_item, monkeypatch):
    monkeypatch.setattr(local, "BATCH", 2)
    for _ in range(3):
        judged_item()
    run = Run.objects.get(pk=judge_items(judge=small)["run"])
    assert len(requests_of(run)) == 4
    answer(run, lambda row: (-0.1, -2.4))
    local.take_in_verdicts(run)
    assert judges_due() == [small.pk]
    assert len(requests_of(Run.objects.get(pk=judge_items(judge=small)["run"]))) == 2


def test_consistency_counts_items_and_the_favoured_place():
    same = [(1, "0-1", "a"), (1, "1-0", "a")]
    differ = [(2, "0-1", "a"), (2, "1-0", "b")]  # first place both times
    half = [(3, "0-1", "b")]
    silent = [(4, "0-1", "unparsable"), (4, "1-0", "a")]
    found = consistency_of([*same, *differ, *half, *silent])
    assert (found["n"], found["share"]) == (2, 0.5)
    assert (found["low"], found["high"]) == (pytest.approx(0.0945, abs=1e-3), pytest.approx(0.9055, abs=1e-3))
    assert found["first"] == 3 / 6  # a first, a last; a first, b first; b last; a last
    assert consistency_of([]) == {"n": 0, "share": None, "low": None, "high": None, "first": None}


# --- Reward models --------------------------------------------------------------------------------------------
@pytest.fixture
def ensemble(project, tmp_path):
    """A judge of two reward models."""
    models = [stand_ins.model(project, path=str(tmp_path), sha256=mark * 64) for mark in "ab"]
    return setup.create_reward_judge(project=project, name="ensemble", models=models)


def test_reward_models_are_asked_once_an_item_without_an_order(ensemble, judged_item):
    item = judged_item("Is the sea salty?", ("It is sweet.", "It is salty."))
    run = Run.objects.get(pk=judge_items(judge=ensemble)["run"])
    assert (run.kind, run.inputs["model"]["sha256"][0], run.inputs["model_2"]["sha256"][0]) == (
        "judge_reward",
        "a",
        "b",
    )
    (row,) = requests_of(run)
    assert row["prompt"] == item.prompt
    assert [response[0]["content"] for response in row["responses"]] == ["It is sweet.", "It is salty."]


def scored(run, first, second):
    """Let the run have succeeded with these scores of the first and the second response, one a model."""
    lines = [
        {"id": row["id"], "scores": [first, second], "tokens": 40, "shortened": False} for row in requests_of(run)
    ]
    (Path(run.folder) / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Run.objects.filter(pk=run.pk).update(state=Run.SUCCEEDED)
    run.refresh_from_db()


def test_the_margin_s_sigmoid_is_the_confidence_and_the_ensemble_s_variance_is_kept(ensemble, judged_item):
    item = judged_item()
    run = Run.objects.get(pk=judge_items(judge=ensemble)["run"])
    scored(run, [0.0, 1.0], [1.0, 3.0])
    outcomes.record(run)
    (made,) = item.annotations.all()
    # σ(-1) = 0.268941, σ(-2) = 0.119203: the mean for the first is 0.194072, their variance 0.005605
    assert made.answers["preference"]["choice"] == "b"
    assert made.confidence == pytest.approx(0.805928, abs=1e-6)
    assert made.metadata["margin"] == pytest.approx(2 * 0.194072 - 1, abs=1e-6)
    assert made.metadata["variance"] == pytest.approx(0.005605, abs=1e-6)
    assert made.metadata["score_margins"] == [-1.0, -2.0]
    assert made.answers["preference"]["strength"] == 2
    assert Label.objects.get(item=item).value == "b"


def test_equal_scores_are_a_tie_and_no_number_is_no_verdict(ensemble, judged_item):
    tied, broken = judged_item(), judged_item()
    run = Run.objects.get(pk=judge_items(judge=ensemble)["run"])
    lines = [
        {"id": row["id"], "scores": scores, "tokens": 1, "shortened": False}
        for row, scores in zip(requests_of(run), ([[1, 2], [1, 2]], [[None, 1], [0, 1]]), strict=True)
    ]
    (Path(run.folder) / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    local.take_in_verdicts(run)
    assert tied.annotations.get().answers["preference"]["choice"] == "tie"
    assert broken.annotations.get().answers["preference"]["choice"] == "unparsable"
    assert judges_due() == []


def test_what_is_no_reward_model_is_no_reward_judge(project):
    with pytest.raises(setup.SetupError, match="1 to 8 reward models"):
        setup.create_reward_judge(project=project, name="x", models=[stand_ins.model(None, kind="base")])
