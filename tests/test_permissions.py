"""Every address with every role: who gets in, who is told that there is nothing here."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from annotate import accounts
from annotate.managing import bulk
from annotate.models import Assignment, Flag, Import, Invitation, Item, Membership, Rater, SavedView, Suspicion
from annotate.quality import exclusion, review
from annotate.submitting import submit_annotation
from tests import factories
from tests.pipeline import stand_ins

ANONYMOUS, OUTSIDER, ANNOTATOR, REVIEWER, MANAGER, ADMIN = (
    "anonymous", "outsider", "annotator", "reviewer", "manager", "admin",
)  # fmt: skip
NAMES = (f"view-{number}" for number in itertools.count())
ROLES = (ANONYMOUS, OUTSIDER, ANNOTATOR, REVIEWER, MANAGER, ADMIN)
ANYBODY = frozenset(ROLES)
SIGNED_IN = ANYBODY - {ANONYMOUS}
MEMBERS = SIGNED_IN - {OUTSIDER}
REVIEWERS = MEMBERS - {ANNOTATOR}
MANAGERS = REVIEWERS - {REVIEWER}
ADMINS = frozenset({ADMIN})


@dataclass(frozen=True)
class Page:
    """Who may look (GET) and who may act (POST); None where the address does not take the method.

    `thing` names what stands behind the address. An assignment belongs to one annotator, so that even an admin is
    refused there.
    """

    look: frozenset[str] | None
    act: frozenset[str] | None = None
    thing: str = ""


PAGES = {
    "account_login": Page(ANYBODY, ANYBODY),
    "account_logout": Page(None),  # ends at the sign-in page for everybody: tested by itself below
    "account_reauthenticate": Page(SIGNED_IN, SIGNED_IN),
    "account_change_password": Page(SIGNED_IN, SIGNED_IN),
    "account_set_password": Page(SIGNED_IN, SIGNED_IN),
    "account_reset_password": Page(ANYBODY, ANYBODY),
    "account_reset_password_done": Page(ANYBODY),
    "account_reset_password_from_key": Page(ANYBODY, ANYBODY, "reset"),
    "account_reset_password_from_key_done": Page(ANYBODY),
    "account_inactive": Page(ANYBODY),
    "health": Page(ANYBODY),
    "invitation": Page(ANYBODY, ANYBODY, "token"),
    "home": Page(SIGNED_IN),
    "keys": Page(SIGNED_IN),
    "keys_change": Page(None, SIGNED_IN),
    "keys_reset": Page(None, SIGNED_IN),
    "language": Page(None, ANYBODY),
    "reading": Page(None, SIGNED_IN),
    "project_new": Page(ADMINS, ADMINS),
    "project": Page(MEMBERS, thing="slug"),
    "project_live": Page(REVIEWERS, thing="slug"),
    "project_settings": Page(MANAGERS, MANAGERS, "slug"),
    "guidelines": Page(MEMBERS, MANAGERS, "slug"),
    "guidelines_preview": Page(None, MANAGERS, "slug"),
    "questions": Page(MANAGERS, MANAGERS, "slug"),
    "questions_preview": Page(None, MANAGERS, "slug"),
    "label": Page(MEMBERS, thing="slug"),
    "label_ahead": Page(MEMBERS, thing="slug"),
    "label_back": Page(MEMBERS, thing="slug"),
    "label_waiting": Page(MEMBERS, thing="slug"),
    "label_guidelines": Page(MEMBERS, thing="slug"),
    "label_again": Page(frozenset({ANNOTATOR}), thing="assignment"),
    "label_quiz": Page(None, MEMBERS, "slug"),
    "label_lesson": Page(frozenset({ANNOTATOR}), thing="assignment"),
    "item_gold": Page(MANAGERS, MANAGERS, "item"),
    "review": Page(REVIEWERS, thing="slug"),
    "review_item": Page(REVIEWERS, REVIEWERS, "item"),
    "review_withdraw": Page(None, REVIEWERS, "item"),
    "discussion": Page(MEMBERS, MEMBERS, "labelled"),
    "mine": Page(MEMBERS, thing="slug"),
    "mine_leaderboard": Page(None, MEMBERS, "slug"),
    "pay": Page(MANAGERS, MANAGERS, "slug"),
    "pay_table": Page(MANAGERS, thing="slug"),
    "pay_rate": Page(None, MANAGERS, "membership"),
    "mine_seen": Page(None, frozenset({ANNOTATOR}), "returned"),
    "trust": Page(REVIEWERS, thing="slug"),
    "trust_decide": Page(None, REVIEWERS, "suspicion"),
    "exclude": Page(MANAGERS, MANAGERS, "rater"),
    "rater_pipeline": Page(MANAGERS, thing="rater"),
    "exclusion": Page(MANAGERS, thing="exclusion"),
    "exclusion_undo": Page(None, MANAGERS, "exclusion"),
    "quality": Page(MANAGERS, MANAGERS, "slug"),
    "quality_reset": Page(None, MANAGERS, "membership"),
    "label_submit": Page(None, frozenset({ANNOTATOR}), "assignment"),
    "label_draft": Page(None, frozenset({ANNOTATOR}), "assignment"),
    "label_skip": Page(None, frozenset({ANNOTATOR}), "assignment"),
    "label_history": Page(MEMBERS, thing="slug"),
    "label_flag": Page(None, frozenset({ANNOTATOR}), "assignment"),
    "label_source": Page(frozenset({ANNOTATOR}), thing="assignment"),
    "label_diff": Page(frozenset({ANNOTATOR}), thing="assignment"),
    "flags": Page(REVIEWERS, thing="slug"),
    "flag_resolve": Page(None, REVIEWERS, "flag"),
    "agreement": Page(REVIEWERS, thing="slug"),
    "items": Page(REVIEWERS, thing="slug"),
    "items_count": Page(REVIEWERS, thing="slug"),
    "items_columns": Page(None, REVIEWERS, "slug"),
    "items_view_new": Page(None, REVIEWERS, "slug"),
    "items_view_delete": Page(None, MANAGERS, "view"),
    "items_bulks": Page(MANAGERS, thing="slug"),
    "items_bulk_preview": Page(None, MANAGERS, "slug"),
    "items_bulk_start": Page(None, MANAGERS, "slug"),
    "items_bulk": Page(MANAGERS, thing="bulk"),
    "items_bulk_progress": Page(MANAGERS, thing="bulk"),
    "items_bulk_undo": Page(None, MANAGERS, "bulk"),
    "item": Page(REVIEWERS, thing="item"),
    "item_pool": Page(None, MANAGERS, "item"),
    "import_new": Page(MANAGERS, MANAGERS, "slug"),
    "import": Page(MANAGERS, thing="import"),
    "import_preview": Page(MANAGERS, thing="import"),
    "import_start": Page(None, MANAGERS, "import"),
    "import_progress": Page(MANAGERS, thing="import"),
    "import_stop": Page(None, MANAGERS, "import"),
    "import_discard": Page(None, MANAGERS, "import"),
    "raters": Page(REVIEWERS, thing="slug"),
    "raters_on": Page(REVIEWERS, thing="slug"),
    "rater": Page(REVIEWERS, thing="rater"),
    "project_cost": Page(REVIEWERS, thing="slug"),
    "attachment": Page(MEMBERS, thing="attachment"),
    "all_acts": Page(ADMINS),
    "acts": Page(MANAGERS, thing="slug"),
    "people": Page(MANAGERS, thing="slug"),
    "people_invite": Page(None, MANAGERS, "slug"),
    "people_member": Page(MANAGERS, MANAGERS, "membership"),
    "pool_new": Page(MANAGERS, MANAGERS, "slug"),
    "pool": Page(MANAGERS, MANAGERS, "pool"),
    "people_role": Page(None, MANAGERS, "membership"),
    "invitation_withdraw": Page(None, MANAGERS, "invitation"),
    "item_pipeline": Page(REVIEWERS, thing="item"),
    "judges": Page(REVIEWERS, thing="slug"),
    "judge_new": Page(MANAGERS, MANAGERS, "slug"),
    "judge_prompts": Page(REVIEWERS, MANAGERS, "slug"),
    "judge_prompt_preview": Page(None, MANAGERS, "slug"),
    "judge_connect": Page(None, MANAGERS, "slug"),
    "judge": Page(REVIEWERS, thing="judge"),
    "judge_live": Page(REVIEWERS, thing="judge"),
    "judge_edit": Page(MANAGERS, MANAGERS, "judge"),
    "judge_switch": Page(None, MANAGERS, "judge"),
    "judge_try": Page(None, MANAGERS, "judge"),
    "judge_ask": Page(None, MANAGERS, "judge"),
    "judge_quality": Page(REVIEWERS, thing="judge"),
    "judge_measure": Page(None, MANAGERS, "judge"),
    "judge_audit": Page(None, MANAGERS, "judge"),
    "judge_anew": Page(None, MANAGERS, "judge"),
    "judge_attacks": Page(REVIEWERS, thing="judge"),
    "judge_measured": Page(REVIEWERS, thing="judge"),
    "judge_probe": Page(None, MANAGERS, "judge"),
    "judge_limit": Page(None, MANAGERS, "judge"),
    "judge_rubric": Page(REVIEWERS, thing="judge"),
    "judge_rubric_live": Page(REVIEWERS, thing="judge"),
    "judge_propose": Page(None, MANAGERS, "judge"),
    "proposal_score": Page(None, MANAGERS, "proposal"),
    "proposal_accept": Page(None, MANAGERS, "proposal"),
    "proposal_dismiss": Page(None, MANAGERS, "proposal"),
    "study_stop": Page(None, MANAGERS, "study"),
    "study_go_on": Page(None, MANAGERS, "study"),
    "routing": Page(REVIEWERS, thing="slug"),
    "routing_live": Page(REVIEWERS, thing="slug"),
    "routing_audits": Page(REVIEWERS, thing="slug"),
    "routing_now": Page(None, MANAGERS, "slug"),
    "routing_anew": Page(None, MANAGERS, "slug"),
    "routing_what_if": Page(REVIEWERS, thing="slug"),
    "routing_policy": Page(MANAGERS, MANAGERS, "slug"),
    "routing_budget": Page(None, MANAGERS, "slug"),
    "routing_compare": Page(None, MANAGERS, "slug"),
    "routing_take": Page(None, MANAGERS, "slug"),
    "datasets": Page(REVIEWERS, MANAGERS, "slug"),
    "datasets_table": Page(REVIEWERS, thing="slug"),
    "snapshot": Page(REVIEWERS, thing="snapshot"),
    "snapshot_zip": Page(MANAGERS, thing="snapshot"),
    "snapshot_file": Page(MANAGERS, thing="snapshot"),
    "generate": Page(MANAGERS, MANAGERS, "slug"),
    "train": Page(MANAGERS, MANAGERS, "slug"),
    "runs": Page(REVIEWERS, thing="slug"),
    "runs_table": Page(REVIEWERS, thing="slug"),
    "run": Page(REVIEWERS, thing="run"),
    "run_live": Page(REVIEWERS, thing="run"),
    "run_metrics": Page(REVIEWERS, thing="run"),
    "run_log": Page(REVIEWERS, thing="run"),
    "run_stop": Page(None, MANAGERS, "run"),
    "run_resume": Page(None, MANAGERS, "run"),
    "models": Page(REVIEWERS, thing="slug"),
    "model": Page(REVIEWERS, thing="model"),
    "model_promote": Page(None, MANAGERS, "model"),
    "model_retire": Page(None, MANAGERS, "model"),
    "model_evaluate": Page(None, MANAGERS, "model"),
    "loops": Page(MANAGERS, MANAGERS, "slug"),
    "loop_pause": Page(None, MANAGERS, "loop"),
    "loop_delete": Page(None, MANAGERS, "loop"),
}


def names(patterns=None) -> list[str]:
    """The name of every address of the site."""
    found = []
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            found += names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            assert pattern.name, f"{pattern} has no name"
            found.append(pattern.name)
    return found


def test_every_address_has_its_row_here():
    assert sorted(names()) == sorted(PAGES)


@pytest.fixture
def clients(admin, manager, reviewer, annotator, outsider, as_user) -> dict[str, Client]:
    people = {OUTSIDER: outsider, ANNOTATOR: annotator, REVIEWER: reviewer, MANAGER: manager, ADMIN: admin}
    return {ANONYMOUS: Client(), **{role: as_user(user) for role, user in people.items()}}


@pytest.fixture
def path(project, manager, annotator, tmp_path):
    """name, page → the address of a real thing of the project, made for it."""

    def of(name: str, page: Page) -> str:
        if page.thing == "":
            return reverse(name)
        if page.thing == "reset":
            return reverse(name, kwargs={"uidb36": "1", "key": "set-password"})
        if page.thing == "token":
            sent = accounts.invite(email="new@example.org", role="annotator", project=project, by=manager)
            return accounts.link(sent)
        if page.thing == "slug":
            return reverse(name, args=[project.slug])
        return reverse(name, args=[project.slug, THINGS[page.thing](project, annotator, manager, tmp_path)])

    return of


def assignment(project, annotator, manager, folder) -> int:
    item = factories.item(project)
    rater = factories.rater(project, user=annotator)
    return Assignment.objects.create(item=item, rater=rater, order=[0, 1], expires_at=factories.later()).pk


def import_(project, annotator, manager, folder) -> int:
    file = folder / "rows.jsonl"
    file.write_text('{"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."}\n')
    made = Import.objects.create(
        project=project,
        file_name=file.name,
        path=str(file),
        size=file.stat().st_size,
        format="trl",
        created_by=manager,
    )
    return made.pk


def membership(project, annotator, manager, folder) -> int:
    return Membership.objects.get(project=project, user=annotator).pk


def invitation(project, annotator, manager, folder) -> int:
    return Invitation.objects.create(
        email="x@example.org", role="annotator", project=project, expires_at=factories.later()
    ).pk


def flag(project, annotator, manager, folder) -> int:
    rater = factories.rater(project, name=f"flagging-{Flag.objects.count()}")
    return Flag.objects.create(project=project, item=factories.item(project), rater=rater, kind=Flag.BROKEN).pk


def view(project, annotator, manager, folder) -> int:
    """A view of the manager's, shared with the project."""
    made = SavedView.objects.create(project=project, owner=manager, name=next(NAMES), choices={}, shared=True)
    return made.pk


def bulk_act(project, annotator, manager, folder) -> int:
    """An item that was just archived."""
    asked = bulk.ask(project=project, verb="archive", value="", choices={}, items=[factories.item(project).pk])
    return bulk.start(asked=asked, by=manager, send=lambda pk: None).pk


def labelled(project, annotator, manager, folder) -> int:
    """An item that the annotator has labelled, and may therefore discuss."""
    held = Assignment.objects.get(pk=assignment(project, annotator, manager, folder))
    submit_annotation(assignment=held, answers={"preference": {"choice": "a"}})
    return held.item_id


def returned(project, annotator, manager, folder) -> int:
    item = Item.objects.get(pk=labelled(project, annotator, manager, folder))
    review.decide(item=item, by=manager, answers={"preference": {"choice": "b"}})
    return item.returns.get().pk


def rater(project, *_) -> int:
    return Rater.objects.get_or_create(project=project, kind=Rater.HUMAN, name="from a file")[0].pk


def suspicion(project, *_) -> int:
    values = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 40, "threshold": 0.1}
    made, _new = Suspicion.objects.get_or_create(rater_id=rater(project), signal="too_fast", defaults=values)
    return made.pk


def left_out(project, annotator, manager, folder) -> int:
    found = Rater.objects.get(pk=rater(project))
    latest = found.exclusions.first()
    return latest.pk if latest else exclusion.exclude(rater=found, by=manager).pk


MADE_ONCE = ("assignment", "membership", "labelled", "returned")
THINGS = {
    "labelled": labelled,
    "rater": rater,
    "suspicion": suspicion,
    "exclusion": left_out,
    "returned": returned,
    "bulk": bulk_act,
    "flag": flag,
    "view": view,
    "item": lambda project, *_: factories.item(project).pk,
    "assignment": assignment,
    "import": import_,
    "membership": membership,
    "invitation": invitation,
    "pool": lambda project, *_: factories.pool(project).pk,
    "attachment": lambda project, *_: factories.attachment(project).sha256,
    "run": lambda project, *_: stand_ins.run(project).pk,
    "model": lambda project, *_: stand_ins.model(project).pk,
    "loop": lambda project, *_: stand_ins.loop(project).pk,
    "judge": lambda project, *_: stand_ins.judge(project).pk,
    "study": lambda project, *_: stand_ins.study(project).pk,
    "proposal": lambda project, *_: stand_ins.proposal(project).pk,
    "snapshot": lambda project, _annotator, _manager, folder: stand_ins.snapshot(project, folder).pk,
}


def refused(response) -> bool:
    to_sign_in = response.status_code == 302 and response.url.startswith(reverse(settings.LOGIN_URL))
    return response.status_code == 404 or to_sign_in


@pytest.fixture
def each(subtests):
    """Check pages one after the other, each reported by itself and undone before the next."""

    def check(chosen: Callable[[Page], bool], test: Callable[[str, Page], None]) -> None:
        for name, page in sorted(PAGES.items()):
            if chosen(page):
                with subtests.test(msg=name), transaction.atomic():
                    test(name, page)
                    transaction.set_rollback(True)

    return check


def test_only_those_who_may_can_look(each, clients, path):
    def look(name, page):
        address = path(name, page)
        assert {role for role in ROLES if not refused(clients[role].get(address))} == page.look

    each(lambda page: page.look is not None, look)


def test_only_those_who_may_can_act(each, clients, path):
    """Those who may not go first, so that an act cannot hide what the next is refused."""

    def act(name, page):
        address = path(name, page)
        let_in = set()
        for role in sorted(ROLES, key=lambda role: role in page.act):
            if role in page.act:
                address = path(name, page) if page.thing not in MADE_ONCE else address
            if not refused(clients[role].post(address, {})):
                let_in.add(role)
        assert let_in == page.act

    each(lambda page: page.act is not None, act)


def test_an_address_that_only_shows_refuses_to_act(each, clients, path):
    def act(name, page):
        assert clients[ADMIN].post(path(name, page), {}).status_code in (404, 405)

    each(lambda page: page.act is None and bool(page.look), act)


def test_a_thing_of_another_project_is_not_found(each, clients, path, admin, manager):
    """A manager of one project cannot reach another's things through their own project's address."""
    other = factories.project(by=admin, name="Other")
    Membership.objects.create(project=other, user=manager, role=Membership.MANAGER)

    def reach(name, page):
        address = path(name, page).replace("/p/everyday-help/", f"/p/{other.slug}/")
        client = clients[MANAGER]
        response = client.get(address) if page.look is not None else client.post(address, {})
        assert response.status_code == 404

    each(lambda page: page.thing in THINGS, reach)


@pytest.mark.parametrize("role", ROLES)
def test_everybody_can_sign_out(role, clients):
    response = clients[role].post(reverse("account_logout"))
    assert response.status_code == 302
    assert refused(clients[role].get(reverse("home")))
