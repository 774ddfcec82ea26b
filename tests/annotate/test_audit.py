"""The audit log: every administrative act leaves a row that nothing changes."""

import ast
from pathlib import Path

import pytest
from django.db import transaction
from django.urls import reverse

from annotate import audit, members, projects
from annotate.models import Act, AppendOnly, Membership

ROOT = Path(__file__).resolve().parents[2]
MAKERS = ("Act", "Act.objects.create", "Act.objects.bulk_create")


def test_a_change_of_settings_says_what_was_and_what_is(project, manager):
    projects.change_settings(project=project, by=manager, overlap=3, name=project.name)
    act = Act.objects.latest("pk")
    assert (act.by, act.verb, act.kind) == (manager, "changed", "settings")
    assert (act.before, act.after) == ({"overlap": 1}, {"overlap": 3})


def test_saving_the_same_settings_is_no_act(project, manager):
    before = Act.objects.count()
    projects.change_settings(project=project, by=manager, overlap=project.overlap)
    assert Act.objects.count() == before


def test_an_act_falls_with_what_it_tells_of(project, manager):
    def fails():
        with transaction.atomic():
            projects.change_guidelines(project=project, text="New.", by=manager)
            raise RuntimeError

    before = Act.objects.count()
    with pytest.raises(RuntimeError):
        fails()
    assert Act.objects.count() == before


def test_the_last_manager_stays_and_nothing_is_logged(project, admin):
    membership = Membership.objects.get(project=project, user=admin)
    before = Act.objects.count()
    with pytest.raises(members.MemberError):
        members.remove(membership=membership, by=admin)
    assert Act.objects.count() == before


@pytest.mark.parametrize("name", ["key", "password", "encrypted_key", "api_key", "token"])
def test_nothing_secret_is_kept(project, manager, name):
    with pytest.raises(ValueError, match="never logged"):
        audit.record(project=project, by=manager, verb=audit.CHANGED, kind="judge", after={name: "s3cret"})


def test_an_act_is_neither_changed_nor_deleted(project):
    act = Act.objects.latest("pk")
    for attempt in (
        act.save,
        act.delete,
        Act.objects.all().delete,
        lambda: Act.objects.update(words="other"),
        lambda: Act.objects.bulk_update([act], ["words"]),
    ):
        with pytest.raises(AppendOnly):
            attempt()


def test_only_the_log_writes_acts():
    """No other module makes one, so that each goes through the check for secrets."""
    makers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("annotate", "pipeline")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("Act", "Act.objects.create", "Act.objects.bulk_create")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert makers == ["annotate/audit.py"]


# --- The page -------------------------------------------------------------------------------------------------
def test_a_manager_reads_who_did_what(project, manager, as_user):
    projects.change_settings(project=project, by=manager, overlap=3)
    page = as_user(manager).get(reverse("acts", args=[project.slug])).content.decode()
    assert "mona" in page
    assert "overlap" in page


def test_the_log_of_a_project_shows_nothing_of_another(project, manager, admin, as_user):
    projects.create_project(name="Elsewhere", by=admin)
    assert "Elsewhere" not in as_user(manager).get(reverse("acts", args=[project.slug])).content.decode()
    assert "Elsewhere" in as_user(admin).get(reverse("all_acts")).content.decode()


def test_the_log_is_narrowed_by_person_verb_and_day(project, manager, admin, as_user):
    projects.change_settings(project=project, by=manager, overlap=3)
    client, address = as_user(manager), reverse("acts", args=[project.slug])

    def verbs(**asked):
        return [(act.by, act.verb) for act in client.get(address, asked).context["acts"]]

    assert verbs(by=manager.pk) == [(manager, "changed")]
    assert verbs(verb="created") == [(admin, "created")]
    assert verbs(until="2020-01-01") == []
    assert verbs(since="2020-01-01", verb="nonsense", by="x") == [(manager, "changed"), (admin, "created")]


def test_the_log_is_read_page_by_page(project, manager, as_user):
    for number in range(2, 58):
        projects.change_settings(project=project, by=manager, overlap=number)
    client, address = as_user(manager), reverse("acts", args=[project.slug])
    first = client.get(address, {"by": manager.pk}).context
    second = client.get(address, {"by": manager.pk, "before": first["older"]}).context
    assert [act.after["overlap"] for act in [*first["acts"], *second["acts"]]] == list(range(57, 1, -1))
    assert second["older"] is None
