"""Every address by which a manager or an admin changes something leaves an act in the audit log."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate.forms import SettingsForm
from annotate.models import Act, Import, Item
from annotate.quality import review
from annotate.submitting import ImportedAnnotation, record_imported
from pipeline import runs
from pipeline.judging import built_in
from pipeline.models import RoutingState, Run, Study
from pipeline.routing.adopting import adopt, in_force
from pipeline.routing.choosing.plans import Plan
from pipeline.routing.deciding import route_items
from pipeline.routing.forms import initial
from tests import factories
from tests.pipeline import stand_ins
from tests.test_permissions import ADMIN, MANAGER, PAGES, THINGS

# What everybody does for themselves: to sign in, to label, to choose how their own pages look.
NO_ACTS = {
    "guidelines_preview",
    "questions_preview",
    "judge_prompt_preview",
    "judge_connect",
    "account_login",
    "account_reauthenticate",
    "account_change_password",
    "account_set_password",
    "account_reset_password",
    "account_reset_password_from_key",
    "invitation",  # leaves one when it is accepted: tests/annotate/test_accounts.py
    "label_quiz",
    "discussion",
    "mine_leaderboard",
    "language",
    "label_submit",
    "label_draft",
    "label_skip",
    "keys_change",
    "keys_reset",
    "reading",
    "items_columns",
    "items_bulk_preview",
    "items_view_new",
    "items_view_delete",
}
# These start a run after work that other tests do; `create_run`, which all of them end in, is tested below.
START_A_RUN = {"generate", "train", "model_evaluate", "datasets"}

JUDGE = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "price_input": "0", "price_output": "0",
         "max_tokens": "300", "concurrency": "4", "timeout_seconds": "5"}  # fmt: skip


def settings(project, **_) -> dict:
    shown = SettingsForm(instance=project).initial
    return {**{name: value for name, value in shown.items() if value is not None}, "name": "Renamed"}


def upload(project, **_) -> dict:
    return {"file": SimpleUploadedFile("x.jsonl", b'{"prompt": "Hi?", "chosen": "Hi.", "rejected": "No."}\n')}


def question(project, **_) -> dict:
    return {"set": "rlhf"}


def queued(project, things) -> dict:
    Run.objects.filter(pk=things["run"]).update(state=Run.QUEUED)
    return {}


def failed(project, things) -> dict:
    Run.objects.filter(pk=things["run"]).update(state=Run.FAILED)
    return {}


def unrouted(project, **_) -> dict:
    factories.item(project, route="", overlap=0, slots_open=0)
    return {}


def compared(project, **_) -> dict:
    curve, mine = [{"budget": 0.0}], in_force(project).plan.ranking
    report = {"curves": {"learned": curve}, "area": {"learned": 0.9, mine: 0.8}, "saved": {}, "best": "learned",
              "leads": {mine: [0.1, 0.05, 0.15]}, "pairs": 40, "seeds": 5}  # fmt: skip
    RoutingState.objects.create(project=project, report=report)
    return {}


def chosen(project, **_) -> dict:
    return {"verb": "archive", "scope": "ticked", "items": factories.item(project).pk}


def pair(project, **_) -> dict:
    factories.item(project)
    return {}


def decided_pairs(project, **_) -> dict:
    """Enough items that a person decided for both halves."""
    person = factories.rater(project, "pia")
    answers = {"preference": {"choice": "a", "strength": 1}}
    items = [factories.item(project, route="") for _number in range(60)]
    record_imported(project=project, rows=[ImportedAnnotation(item.pk, person, [0, 1], answers) for item in items])
    return {"count": 20}


def stopped(project, things) -> dict:
    Study.objects.filter(pk=things["study"]).update(state=Study.STOPPED)
    return {}


def labelled_pair(project, **_) -> dict:
    record_imported(
        project=project,
        rows=[
            ImportedAnnotation(
                factories.item(project, route="").pk,
                factories.rater(project, "pia"),
                [0, 1],
                {"preference": {"choice": "a", "strength": 1}},
            )
        ],
    )
    return {"count": 5}


def decided(project, things) -> dict:
    item = Item.objects.get(pk=things["item"])
    review.decide(item=item, by=project.created_by, answers={"preference": {"choice": "a"}})
    return {}


def with_people(project, **_) -> dict:
    """An item that went to people before there was a policy."""
    factories.item(project, route="", overlap=0, slots_open=0)
    route_items(project=project)
    adopt(project=project, plan=Plan(), by=project.created_by)
    return {}


POLICY = initial(Plan()) | {"note": "To begin with.", "total": 500, "daily": "", "money": ""}
# Address → what is sent there: a form, or what prepares the project and returns the form.
SENT = {
    "project_new": {"name": "New", "guidelines": "", "preference-title": "Which?", "preference-points": 7,
                    "criterion-title": "Kind", "criterion-max": 5},
    "project_settings": settings,
    "guidelines": {"guidelines": "Other."},
    "questions": question,
    "flag_resolve": {"resolution": "Thank you."},
    "items_bulk_start": chosen,
    "items_bulk_undo": {},
    "import_new": upload,
    "import_start": {"format": "trl"},
    "import_stop": {},
    "import_discard": {},
    "people_invite": {"email": "new@example.org", "role": "annotator"},
    "people_role": {"role": "reviewer"},
    "people_member": {"skills": "de", "daily_quota": 5},
    "pool_new": {"name": "German", "skills": "de"},
    "pool": {"name": "Other", "skills": "fr"},
    "item_pool": {"pool": ""},
    "invitation_withdraw": {},
    "review_item": {"answer-preference": "2"},
    "review_withdraw": decided,
    "trust_decide": {"state": "dismissed", "note": "A slow day."},
    "exclude": {"reason": "Random answers."},
    "exclusion_undo": {},
    "pay": {"pay_rate": "15.50", "pay_unit": "hour", "currency": "EUR"},
    "pay_rate": {"rate": "18"},
    "item_gold": {"use": "gold", "answer-preference": "2"},
    "quality": {"gold_rate": 7, "quiz_pass_mark": 80, "quiz_attempts": 3},
    "quality_reset": {},
    "judge_new": {"name": "x", **JUDGE},
    "judge_prompts": {f"template_{kind}": f"Judge this {kind}." for kind in built_in.TEMPLATES},
    "judge_edit": {**JUDGE, "key": "sk-of-the-test"},
    "judge_switch": {"enabled": "0"},
    "judge_try": pair,
    "judge_ask": {"failed": "1"},
    "judge_measure": {},
    "judge_audit": labelled_pair,
    "judge_anew": {},
    "judge_probe": {},
    "judge_limit": {"percent": "5", "blocks": "on"},
    "judge_propose": {"way": "own", "title": "Concise"},
    "proposal_accept": {},
    "proposal_dismiss": {},
    "proposal_score": decided_pairs,
    "study_stop": {},
    "study_go_on": stopped,
    "routing_now": unrouted,
    "routing_anew": with_people,
    "routing_policy": {**POLICY, "rules": "tag law: people"},
    "routing_budget": {"budget": "30"},
    "routing_compare": {},
    "routing_take": compared,
    "run_stop": queued,
    "run_resume": failed,
    "model_promote": {},
    "model_retire": {},
    "loops": {"name": "retrain", "step": "train_reward", "new_labels": 10, "every_minutes": 5},
    "loop_pause": {"enabled": "0"},
    "loop_delete": {},
}  # fmt: skip


def of_managers(page) -> bool:
    return page.act is not None and bool({MANAGER, ADMIN} & page.act)


def test_every_address_that_changes_something_is_listed_here():
    listed = {name for name, page in PAGES.items() if of_managers(page)} - NO_ACTS
    assert listed == set(SENT) | START_A_RUN


@pytest.mark.parametrize("name", sorted(SENT))
def test_what_a_manager_does_leaves_an_act(name, project, admin, annotator, as_user, tmp_path):
    thing, things = PAGES[name].thing, {}
    arguments = [] if thing == "" else [project.slug]
    if thing in THINGS:
        things[thing] = THINGS[thing](project, annotator, admin, tmp_path)
        arguments.append(things[thing])
    sent = SENT[name](project=project, things=things) if callable(SENT[name]) else SENT[name]
    last = Act.objects.latest("pk").pk
    response = as_user(admin).post(reverse(name, args=arguments), sent)
    made = list(Act.objects.filter(pk__gt=last))
    assert response.status_code < 400
    assert {act.by for act in made} == {admin}, name
    assert not any("sk-of-the-test" in str([act.before, act.after, act.words]) for act in made)


def test_a_run_that_is_started_leaves_an_act_and_one_of_a_loop_does_not(project, manager):
    inputs = {"model": {"path": "/nowhere/model"}, "prompts": {"path": "/nowhere/prompts.jsonl"}}
    common = {"project": project, "kind": "generate", "config": {}, "inputs": inputs, "by": manager}
    runs.create_run(**common, loop=stand_ins.loop(project))
    assert not Act.objects.filter(kind="run").exists()
    run = runs.create_run(**common)
    assert list(Act.objects.filter(kind="run").values_list("by", "verb", "object_id")) == [
        (manager.pk, "started", run.pk)
    ]


def test_an_import_that_starts_says_so_once(project, admin, annotator, as_user, tmp_path):
    pk = THINGS["import"](project, annotator, admin, tmp_path)
    for _ in range(2):
        as_user(admin).post(reverse("import_start", args=[project.slug, pk]), {"format": "trl"})
    assert Import.objects.get(pk=pk).state == Import.QUEUED
    assert Act.objects.filter(kind="import", verb="started").count() == 1
