"""The pages of judges: set one up, look at it, try it, change it, ask it."""

import pytest
from django.test import Client
from django.urls import reverse

from annotate.models import Annotation
from pipeline.judging import judge_items, settling
from pipeline.judging.secrets import decrypt
from pipeline.models import Judge, JudgeCall
from tests.pipeline import stand_ins
from tests.pipeline.judge_server import Answer, error, says

pytestmark = pytest.mark.django_db


@pytest.fixture
def manage(manager, as_user) -> Client:
    return as_user(manager)


@pytest.fixture
def sent(monkeypatch):
    """The tasks that were sent to workers, as (judge, again)."""
    tasks = []
    monkeypatch.setattr(
        "pipeline.tasks.judge_items_task.delay", lambda judge, again=False: tasks.append((judge, again))
    )
    return tasks


def at(name, judge):
    return reverse(name, args=[judge.project.slug, judge.pk])


def test_a_judge_is_set_up_in_the_browser(project, manage, server):
    form = {
        "name": "careful",
        "base_url": f"{server.url}/chat/completions",
        "model": "m",
        "key": "sk-1",
        "price_input": "0.15",
        "price_output": "0.6",
        "spend_cap": "5",
        "max_tokens": "300",
        "concurrency": "4",
        "timeout_seconds": "60",
    }
    response = manage.post(reverse("judge_new", args=[project.slug]), form)
    judge = Judge.objects.get()
    assert response.url == at("judge", judge)
    assert (judge.base_url, judge.rater.name, decrypt(judge.encrypted_key)) == (server.url, "careful", "sk-1")
    page = manage.get(at("judge", judge)).content.decode()
    assert "kept, encrypted" in page
    assert "sk-1" not in page
    again = manage.post(reverse("judge_new", args=[project.slug]), form)
    assert again.status_code == 422
    assert "choose another name" in again.content.decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_url": "not an address"}, "is not the address of an endpoint"),
        ({"key": "sk-ü"}, "characters that keys never hold"),
        ({"price_input": "-1"}, "greater than or equal to 0"),
        ({"concurrency": "0"}, "greater than or equal to 1"),
        ({"model": ""}, "This field is required"),
    ],
)
def test_what_cannot_be_is_said_at_the_field(project, manage, change, sentence):
    form = {"name": "x", "base_url": "http://h/v1", "model": "m", "price_input": "0", "price_output": "0",
            "max_tokens": "300", "concurrency": "4", "timeout_seconds": "60", **change}  # fmt: skip
    response = manage.post(reverse("judge_new", args=[project.slug]), form)
    assert response.status_code == 422
    assert sentence in response.content.decode()
    assert not Judge.objects.exists()


def test_a_local_judge_is_set_up_and_shown_as_what_it_is(project, manage):
    model = stand_ins.model(None, kind="base")
    address = reverse("judge_new", args=[project.slug]) + "?kind=local"
    assert "Small models are poor judges" in manage.get(address).content.decode()
    manage.post(address, {"name": "small", "model_version": model.pk})
    judge = Judge.objects.get()
    assert (judge.kind, judge.model_version) == ("local", model)
    page = manage.get(at("judge", judge)).content.decode()
    assert "named the same side in both orders on 96%" in page
    assert "by the log-probabilities of A and B" in page


def test_the_page_shows_what_it_said_and_where_its_orders_differ(judge, judged_item, server, manage):
    judged_item("Which sea?")
    server.respond = lambda request: Answer(says("A", "it is <b>bold</b>"))
    judge_items(judge=judge)
    page = manage.get(at("judge", judge)).content.decode()
    for part in ("orders differ", "it is &lt;b&gt;bold&lt;/b&gt;", "0%", "of 2 questions", "0.000210", "Which sea?"):
        assert part in page
    listed = manage.get(reverse("judges", args=[judge.project.slug])).content.decode()
    assert "careful-1" in listed


def test_trying_shows_the_raw_exchange_and_keeps_only_its_cost(judge, judged_item, server, manage):
    item = judged_item("Try me", route="human")
    server.respond = lambda request: Answer(says("B", "shorter"))
    page = manage.post(at("judge_try", judge), {"item": item.external_id}).content.decode()
    assert page.count("It says B") == 2
    assert "<b>b</b> in stored order" in page
    assert "<b>a</b> in stored order" in page
    assert "&quot;prompt_tokens&quot;: 100" in page
    assert "Pick the *better* answer." in page
    assert "sk-secret" not in page
    judge.refresh_from_db()
    assert (judge.spent_units, judge.unknown_units, judge.reserved_units) == (420_000_000, 0, 0)
    assert not JudgeCall.objects.exists()
    assert not Annotation.objects.exists()


def test_trying_learns_what_the_endpoint_will_not_take(judge, judged_item, server, manage):
    judged_item()
    server.respond = lambda request: (
        error(400, "no logprobs here", param="logprobs") if "logprobs" in request else Answer()
    )
    assert manage.post(at("judge_try", judge)).content.decode().count("It says A") == 2
    judge.refresh_from_db()
    assert judge.dialect == {"logprobs": None}
    assert judge.spent_units == 420_000_000


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (error(401, "wrong key sk-secret-of-the-test"), "wrong key •••"),
        (Answer(body="<html>hello"), "does not keep to the protocol"),
        (Answer("A, I think"), "The reply is not one JSON object"),
    ],
)
def test_trying_says_what_is_wrong(judge, judged_item, server, manage, answer, sentence):
    judged_item()
    server.respond = lambda request: answer
    page = manage.post(at("judge_try", judge)).content.decode()
    assert sentence in page


def test_trying_stays_under_the_cap(judge, judged_item, server, manage):
    judged_item()
    Judge.objects.update(spend_cap="0.0001")
    assert "The spend cap of 0.0001 is reached" in manage.post(at("judge_try", judge)).content.decode()
    assert server.requests == []


def test_trying_without_an_item_says_so(judge, manage, judged_item):
    assert "The project has no pair yet." in manage.post(at("judge_try", judge)).content.decode()
    judged_item()
    assert (
        "There is no pair &#x27;x&#x27; here." in manage.post(at("judge_try", judge), {"item": "x"}).content.decode()
    )


def test_changing_keeps_the_key_unless_told_otherwise(judge, manage):
    form = {"base_url": "http://other/v1", "model": "m2", "key": "", "price_input": "1", "price_output": "2",
            "max_tokens": "300", "concurrency": "4", "timeout_seconds": "60"}  # fmt: skip
    settling.halt(judge=judge, message="The key was refused.")
    assert "The key was refused." in manage.get(at("judge_edit", judge)).content.decode()
    assert manage.post(at("judge_edit", judge), form).status_code == 302
    judge.refresh_from_db()
    assert (judge.base_url, judge.model, judge.state, judge.message) == ("http://other/v1", "m2", "ready", "")
    assert decrypt(judge.encrypted_key) == "sk-secret-of-the-test"
    manage.post(at("judge_edit", judge), {**form, "forget_key": "on"})
    judge.refresh_from_db()
    assert judge.encrypted_key == ""


def test_a_judge_is_switched_off_and_on(judge, manage):
    manage.post(at("judge_switch", judge), {"enabled": "0"})
    judge.refresh_from_db()
    assert not judge.enabled
    manage.post(at("judge_switch", judge), {"enabled": "1"})
    judge.refresh_from_db()
    assert judge.enabled


def test_judge_now_asks_a_worker_even_where_it_had_stopped(judge, manage, sent, django_capture_on_commit_callbacks):
    settling.halt(judge=judge, message="The key was refused.")
    with django_capture_on_commit_callbacks(execute=True):
        manage.post(at("judge_ask", judge))
    assert sent == [(judge.pk, True)]


def test_what_failed_is_asked_again(judge, judged_item, server, manage, sent):
    judged_item()
    judge_items(judge=judge)
    JudgeCall.objects.update(state="failed")
    manage.post(at("judge_ask", judge), {"failed": "1"})
    assert set(JudgeCall.objects.values_list("state", flat=True)) == {"pending"}


def test_the_poll_ends_when_nothing_is_due(judge, judged_item, server, manage):
    item = judged_item()
    JudgeCall.objects.create(judge=judge, item=item, order_key="0-1", prompt_version="pairwise-1")
    assert manage.get(at("judge_live", judge)).status_code == 200
    JudgeCall.objects.update(state="answered")
    assert manage.get(at("judge_live", judge)).status_code == 286


def test_reviewers_look_and_cannot_act(judge, reviewer, as_user, judged_item):
    judged_item()
    client = as_user(reviewer)
    page = client.get(at("judge", judge)).content.decode()
    assert "Judge now" not in page
    assert client.post(at("judge_ask", judge)).status_code == 404
    assert client.post(at("judge_try", judge)).status_code == 404


def test_the_list_costs_the_same_however_many_judges(judge, manage, django_assert_max_num_queries, project):
    address = reverse("judges", args=[project.slug])
    manage.get(address)
    with django_assert_max_num_queries(12) as few:
        manage.get(address)
    for _ in range(3):
        stand_ins.judge(project)
    with django_assert_max_num_queries(len(few)):
        manage.get(address)
