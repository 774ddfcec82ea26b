"""Who may label what: pools, skills, quotas, pauses, and nobody their own answers."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate import members, pools, queue, tallies
from annotate.importing import RowError, take_in
from annotate.models import Assignment, Item, Membership, Pool, Project, Response
from annotate.submitting import submit_annotation
from tests import factories

A = {"preference": {"choice": "a"}}

pytestmark = pytest.mark.django_db


def take(user, project) -> Item | None:
    assignment = queue.next_assignment(user=user, project=project)
    return assignment.item if assignment else None


def skilled(user, *skills) -> None:
    Membership.objects.filter(user=user).update(skills=list(skills))


def row(**fields) -> dict:
    return {
        "prompt": "Why?",
        "responses": [{"messages": "So."}, {"messages": "Thus.", **fields.pop("second", {})}],
        **fields,
    }


# --- Pools ----------------------------------------------------------------------------------------------------


def test_an_item_in_a_pool_is_for_those_with_all_of_its_skills_and_for_those_it_names(
    project, annotator, second_annotator, reviewer
):
    pool = factories.pool(project, skills=["de", "medical"], people=["rita"])
    item = factories.item(project, pool=pool, overlap=3, slots_open=3)
    skilled(annotator, "medical")
    skilled(second_annotator, "medical", "de", "python")
    assert take(annotator, project) is None
    assert take(second_annotator, project) == item
    assert take(reviewer, project) == item


def test_a_pool_of_named_people_only_is_not_for_everybody(project, annotator, second_annotator):
    factories.item(project, pool=factories.pool(project, skills=[], people=["jonas"]))
    assert take(annotator, project) is None
    assert take(second_annotator, project) is not None


def test_the_most_urgent_item_comes_first_across_pools(project, annotator):
    skilled(annotator, "de", "python")
    german, python = factories.pool(project, skills=["de"]), factories.pool(project, skills=["python"])
    slow = factories.item(project, priority=1.0)
    urgent = factories.item(project, priority=5.0, pool=german)
    middle = factories.item(project, priority=3.0, pool=python)
    seen = []
    while (assignment := queue.next_assignment(user=annotator, project=project)) is not None:
        seen.append(assignment.item)
        submit_annotation(assignment=assignment, answers=A)
    assert seen == [urgent, middle, slow]


def test_who_has_nothing_because_of_pools_is_told_so(project, annotator):
    factories.item(project, pool=factories.pool(project))
    assert queue.standing(user=annotator, project=project) == queue.FOR_OTHERS
    skilled(annotator, "de")
    assert queue.standing(user=annotator, project=project) == queue.READY


def test_a_pool_needs_somebody_and_a_name_of_its_own(project):
    factories.pool(project, "German")
    for name, skills in (("Nobody", []), ("German", ["de"])):
        with pytest.raises(pools.PoolError):
            pools.save_pool(project=project, name=name, people=[], skills=skills)


def test_moving_items_is_counted_and_a_pool_with_items_stays(project):
    first, second = factories.pool(project), factories.pool(project)
    items = [factories.item(project) for _ in range(3)]
    ids = [item.pk for item in items]
    assert pools.move_items(project=project, item_ids=ids, pool=first) == 3
    assert pools.move_items(project=project, item_ids=ids[:2], pool=second) == 2
    assert pools.move_items(project=project, item_ids=ids[:1], pool=None) == 1
    assert [entry["items"] for entry in pools.rows(project)] == [1, 1]
    with pytest.raises(pools.PoolError, match="has items"):
        pools.remove_pool(pool=first)
    pools.move_items(project=project, item_ids=ids, pool=None)
    pools.remove_pool(pool=first)
    assert list(Pool.objects.all()) == [second]


def test_a_manager_makes_a_pool_and_puts_an_item_into_it(as_user, manager, project, annotator, second_annotator):
    client, item = as_user(manager), factories.item(project)
    made = client.post(reverse("pool_new", args=[project.slug]), {"name": "German", "skills": " DE, de ,Medical"})
    assert made.status_code == 302
    pool = Pool.objects.get()
    assert pool.skills == ["de", "medical"]
    client.post(reverse("item_pool", args=[project.slug, item.pk]), {"pool": pool.pk})
    member = Membership.objects.get(user=annotator)
    client.post(reverse("people_member", args=[project.slug, member.pk]), {"skills": "de, medical"})
    assert take(second_annotator, project) is None
    assert take(annotator, project) == item
    page = client.get(reverse("people", args=[project.slug])).content.decode()
    assert "<td>mira</td>" in page  # who can label now
    refused = client.post(reverse("pool_new", args=[project.slug]), {"name": "German", "skills": "de"})
    assert refused.status_code == 422
    assert "There is a pool “German” already" in refused.content.decode()


def test_an_item_cannot_be_put_into_another_projects_pool(as_user, manager, admin, project):
    item, elsewhere = factories.item(project), factories.pool(factories.project(by=admin, name="Other"))
    as_user(manager).post(reverse("item_pool", args=[project.slug, item.pk]), {"pool": elsewhere.pk})
    item.refresh_from_db()
    assert item.pool is None


# --- From files -----------------------------------------------------------------------------------------------


def test_a_file_says_who_may_label_and_items_that_ask_alike_share_a_pool(project):
    take_in(
        project=project,
        items=[
            row(id="1", **{"for": {"people": ["mira"], "skills": ["DE"]}}),
            row(id="2", prompt="And?", **{"for": {"skills": ["de"], "people": ["mira"]}}),
            row(id="3", prompt="What?"),
        ],
    )
    pool = Pool.objects.get()
    assert (pool.name, pool.people, pool.skills) == ("mira · de", ["mira"], ["de"])
    assert list(Item.objects.order_by("external_id").values_list("pool", flat=True)) == [pool.pk, pool.pk, None]
    assert tallies.read(project.pk)[pools.tally_of(pool.pk)] == 2


def test_a_file_can_name_a_pool_that_is_there_and_no_other(project):
    pool = factories.pool(project, "German")
    take_in(project=project, items=[row(**{"for": {"pool": "German"}})])
    assert Item.objects.get().pool == pool
    with pytest.raises(RowError, match="no pool “Germna” .*German"):
        take_in(project=project, items=[row(prompt="Else?", **{"for": {"pool": "Germna"}})])


@pytest.mark.parametrize(
    "wrong", ["mira", {"people": "mira"}, {"team": ["x"]}, {"people": []}, {"pool": "x", "people": ["y"]}]
)
def test_for_whom_an_item_is_must_be_said_plainly(project, wrong):
    with pytest.raises(RowError, match="for"):
        take_in(project=project, items=[row(**{"for": wrong})])


# --- One's own answers ----------------------------------------------------------------------------------------


def test_nobody_judges_an_answer_of_their_own(project, annotator, second_annotator, client, as_user):
    take_in(project=project, items=[row(second={"author": "mira"})])
    Item.objects.update(slots_open=2, overlap=2)
    assert take(annotator, project) is None
    assert take(second_annotator, project) is not None
    excluded = Assignment.objects.get(rater__user=annotator)
    assert excluded.state == "excluded"
    assert as_user(annotator).get(reverse("label_again", args=[project.slug, excluded.pk])).status_code == 404
    assert queue.standing(user=annotator, project=project) == queue.YOURS_DONE


def test_an_author_who_joins_later_is_kept_from_the_item_too(project):
    take_in(project=project, items=[row(second={"author": "lena"})])
    Item.objects.update(slots_open=1, overlap=1)
    assert Response.objects.get(position=1).author == "lena"
    assert not Assignment.objects.exists()
    assert take(factories.member(project, "lena", Membership.ANNOTATOR), project) is None


# --- Quotas and pauses ----------------------------------------------------------------------------------------


def label(user, project) -> bool:
    assignment = queue.next_assignment(user=user, project=project)
    if assignment is not None:
        submit_annotation(assignment=assignment, answers=A)
    return assignment is not None


def test_a_daily_quota_is_for_a_day_and_counts_what_is_fetched_ahead(project, annotator):
    for _ in range(5):
        factories.item(project)
    Project.objects.update(daily_quota=2)
    project.refresh_from_db()
    assert label(annotator, project)
    assert len(queue.leases(user=annotator, project=project, wanted=2)) == 1
    assert label(annotator, project)
    assert not label(annotator, project)
    assert queue.standing(user=annotator, project=project) == queue.DAY_DONE
    Assignment.objects.update(finished_at=timezone.now() - timedelta(days=1))
    assert label(annotator, project)


def test_a_members_own_quota_goes_before_the_projects(project, annotator, second_annotator):
    for _ in range(5):
        factories.item(project)
    Project.objects.update(total_quota=0)
    Membership.objects.filter(user=annotator).update(total_quota=1)
    project.refresh_from_db()
    assert label(annotator, project)
    assert not label(annotator, project)
    assert queue.standing(user=annotator, project=project) == queue.QUOTA_DONE
    assert not label(second_annotator, project)


def test_somebody_paused_gives_back_what_they_hold_and_keeps_the_draft(project, annotator):
    item = factories.item(project)
    take(annotator, project)
    Assignment.objects.update(draft={"form": {"reason": "so far"}})
    member = Membership.objects.get(user=annotator)
    members.change_work(membership=member, skills=[], is_paused=True, daily_quota=None, total_quota=None)
    item.refresh_from_db()
    assert item.slots_open == 1
    assert take(annotator, project) is None
    assert queue.standing(user=annotator, project=project) == queue.YOU_PAUSED
    assert Assignment.objects.get().draft == {"form": {"reason": "so far"}}


def test_who_is_removed_gives_back_what_they_hold(as_user, manager, project, annotator, second_annotator):
    item = factories.item(project)
    take(annotator, project)
    member = Membership.objects.get(user=annotator)
    as_user(manager).post(reverse("people_role", args=[project.slug, member.pk]), {"role": "remove"})
    assert not Membership.objects.filter(user=annotator).exists()
    assert take(second_annotator, project) == item
