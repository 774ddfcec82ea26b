"""The dashboard and the pages of raters: what they show, from kept numbers, at a bounded cost."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate import flags, queue, tallies
from annotate.managing import dashboards
from annotate.models import Flag, Rater, RaterPace, RaterSkill, Rollup, WorkHour
from pipeline.models import Judge
from tests import factories
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db


@pytest.fixture
def worked(project):
    """Ten days of a person's work at 20 answers a day, of ten seconds each, and a judge's 5 today."""
    mira = factories.rater(project, "mira-of-the-file")
    judge = factories.rater(project, "gpt", kind=Rater.JUDGE)
    noon = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    for days in range(1, 11):
        WorkHour.objects.create(
            rater=mira, hour=noon - timedelta(days=days), answers=20, seconds=200, sided=10, left=8
        )
    WorkHour.objects.create(rater=judge, hour=noon, answers=5, seconds=1, sided=5, left=1)
    RaterPace.objects.create(rater=mira, median_seconds=9.0, last_at=timezone.now() - timedelta(hours=5))
    Rollup.objects.create(project=project, open_places=100)
    tallies.add(project_id=project.pk, counts={"items": 300})
    return project


def test_throughput_time_and_forecast(worked):
    work = dashboards.throughput(worked)
    assert [day.people for day in work["days"]] == [0, 0, 0, *[20] * 10, 0]
    assert (work["days"][-1].judges, work["answers"], work["seconds_each"]) == (5, 200, 10.0)
    assert work["days"][5].people_height == 100.0
    today = timezone.localdate()
    assert (work["forecast"]["at"], work["forecast"]["low"]) == (today + timedelta(days=5), today + timedelta(days=5))


def test_the_dashboard_shows_it_in_words_and_as_a_table(worked, as_user, reviewer):
    page = as_user(reviewer).get(reverse("project", args=[worked.slug])).content.decode()
    for words in ("Answers a day", "10 s for each of 200 answers", "100 answers of people are still wanted",
                  "Assumes that the days to come are like the last 10", "<svg", "The numbers",
                  "Nobody holds an item"):  # fmt: skip
        assert words in page, words


def test_the_dashboard_of_a_project_that_just_began_says_what_it_needs(project, as_user, reviewer):
    factories.item(project)
    tallies.add(project_id=project.pk, counts={"items": 1})
    page = as_user(reviewer).get(reverse("project", args=[project.slug])).content.decode()
    assert "Needs three past days" in page
    assert "No answers in these days" in page


def test_who_is_on_names_people_items_and_the_last_sign_of_life(project, annotator, as_user, reviewer):
    factories.item(project, prompt="Which sea?")
    address = reverse("raters_on", args=[project.slug])
    assert "Nobody holds an item" in as_user(reviewer).get(address).content.decode()
    held = queue.next_assignment(user=annotator, project=project)
    page = as_user(reviewer).get(address).content.decode()
    assert "mira" in page
    assert "Which sea?" in page
    queue.release(assignment=held)
    assert "Which sea?" not in as_user(reviewer).get(address).content.decode()


def test_what_judges_cost_stands_beside_it(project, as_user, reviewer):
    judge = stand_ins.judge(project)
    Judge.objects.filter(pk=judge.pk).update(spent_units=Judge.objects.get(pk=judge.pk).spent_units + 2_000_000_000)
    tallies.add(project_id=project.pk, counts={"labels_judge": 4})
    page = as_user(reviewer).get(reverse("project_cost", args=[project.slug])).content.decode()
    judge.refresh_from_db()
    assert f"{judge.spent:.2f}" in page
    assert f"{judge.spent / 4:.6f} for each of 4 labels" in page


# --- Raters ---------------------------------------------------------------------------------------------------
def test_every_rater_stands_there_with_what_is_kept(worked, as_user, reviewer, annotator):
    mira = Rater.objects.get(name="mira-of-the-file")
    question = worked.questions.get(name="preference")
    RaterSkill.objects.create(
        rater=mira, question=question, method="dawid_skene", version=1, accuracy=0.81, low=0.7, high=0.9, n=44
    )
    worked.agreement = {"judges": [{"name": "gpt", "share": 0.62, "low": 0.5, "high": 0.7, "items": 9}]}
    worked.save()
    item = factories.item(worked)
    held = queue.next_assignment(user=annotator, project=worked)
    flags.raise_flag(assignment=held, kind=Flag.BROKEN)
    queue.skip(assignment=held)
    rows = {row["rater"].name: row for row in dashboards.raters(worked)}
    assert (rows["mira-of-the-file"]["answers"], rows["mira-of-the-file"]["side"]) == (200, 0.8)
    assert (rows["mira-of-the-file"]["agreement"], rows["gpt"]["agreement"]) == (0.81, 0.62)
    assert (rows["mira"]["skipped"], rows["mira"]["flagged"], item.pk) == (1, 1, held.item_id)
    page = as_user(reviewer).get(reverse("raters", args=[worked.slug])).content.decode()
    for words in ("mira-of-the-file", "81%", "70 – 90%", "80%", "62%", "from a file"):
        assert words in page, words


@pytest.mark.parametrize(
    ("sort", "first"),
    [("answers", "mira-of-the-file"), ("name", "gpt"), ("side", "gpt"), ("nonsense", "mira-of-the-file")],
)
def test_raters_are_sorted(worked, sort, first):
    WorkHour.objects.filter(rater__name="gpt").update(left=0)
    assert dashboards.raters(worked, sort)[0]["rater"].name == first


def test_the_pages_cost_the_same_however_many_raters_there_are(worked, as_user, reviewer):
    client = as_user(reviewer)

    def cost(name: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse(name, args=[worked.slug]))
        return len(captured)

    cost("raters")
    few = [cost("raters"), cost("project")]
    for number in range(6):
        rater = factories.rater(worked, f"r{number}")
        WorkHour.objects.create(rater=rater, hour=timezone.now(), answers=1)
    assert [cost("raters"), cost("project")] == few
    assert max(few) <= 16


def test_one_rater_over_time(worked, as_user, reviewer):
    mira = Rater.objects.get(name="mira-of-the-file")
    page = as_user(reviewer).get(reverse("rater", args=[worked.slug, mira.pk])).content.decode()
    for words in ("mira-of-the-file", "200", "33 min", "Answers a day", f"?rater={mira.pk}"):
        assert words in page, words


def test_no_rater_yet_says_what_to_do(project, as_user, manager):
    page = as_user(manager).get(reverse("raters", args=[project.slug])).content.decode()
    assert "Nobody has rated yet" in page
    assert reverse("people", args=[project.slug]) in page
