"""A project that moves by a raw export keeps its policies, prompts and decisions, and audits stay audits."""

import json

import pytest
from django.core.management import call_command

from annotate.models import Item, Project
from pipeline.judging import prompts
from pipeline.models import Certificate, JudgePrompt, Route, RoutingPolicy, RoutingState
from pipeline.routing import adopting, buying, by_hand, delivering

pytestmark = pytest.mark.django_db
DECIDED = ("item__external_id", "number", "decision", "reason", "propensity", "chances", "features", "people",
           "expected_gain", "cost", "policy", "policy_version", "created_at")  # fmt: skip


def routes(project):
    return list(Route.objects.filter(item__project=project).order_by("item__external_id", "number").values(*DECIDED))


@pytest.fixture
def routed(project, admin, judged, answer, adopt):
    """Drawn, ranked and sent by hand, with answers."""
    adopt(seed=10, batch=10)
    items = judged(40)
    for _ in range(2):
        buying.look(project)
        answer(list(Item.objects.filter(project=project, slots_open__gt=0)))
    adopt(seed=10, batch=10, budget={"total": 25})
    by_hand.write(project, {items[-1].pk: {"route": "human", "overlap": None}}, admin)
    prompts.save_prompt(project=project, templates={}, principles="Be brief.", by=admin)
    return project


def moved(project, folder, *options):
    call_command("export_project", project.slug, str(folder), "--json", *options)
    call_command("import_project", str(folder), "--slug", "again", "--json")
    return Project.objects.get(slug="again")


@pytest.mark.slow
def test_policies_prompts_and_decisions_are_the_same_elsewhere(routed, tmp_path):
    again = moved(routed, tmp_path / "raw", "--names")
    assert routes(again) == routes(routed)
    for model, names in (
        (RoutingPolicy, ("number", "settings", "note", "evidence", "created_by", "created_at")),
        (JudgePrompt, ("number", "name", "templates", "principles", "note", "created_by")),
        (RoutingState, ("spent", "made")),
    ):
        kept = [list(model.objects.filter(project=one).values(*names)) for one in (routed, again)]
        assert kept[0] == kept[1] != []
    assert adopting.in_force(again).plan == adopting.in_force(routed).plan
    assert buying.look(again)["value"] <= 25 - RoutingState.objects.get(project=routed).spent, "the budget goes on"


@pytest.mark.slow
def test_audits_stay_audits(routed, tmp_path):
    again = moved(routed, tmp_path / "raw")
    found = []
    for one in (routed, again):
        assert delivering.certify(one)
        found.append(Certificate.objects.get(project=one).report["drawn"])
    assert found[0] == found[1] != {}


def test_under_pseudonyms_nobody_who_decided_is_named(routed, admin, tmp_path):
    assert any(admin.username in route["reason"] for route in routes(routed))
    moved(routed, tmp_path / "raw")
    rows = [json.loads(line) for line in (tmp_path / "raw" / "beside.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"judge prompt", "routing policy", "routing spent", "routing decision"}
    assert admin.username not in json.dumps(rows)
