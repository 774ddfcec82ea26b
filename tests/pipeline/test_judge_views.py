"""The pages of judges: set one up, look at it, try it, change it, ask it."""

import pytest
from django.test import Client
from django.urls import reverse

from annotate.models import Annotation
from pipeline.judging import built_in, judge_items, settling
from pipeline.judging.secrets import decrypt
from pipeline.models import Judge, JudgeCall, JudgePrompt
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
    assert "<b>b</b> in stored order" in page
    assert "<b>a</b> in stored order" in page
    assert page.count("shorter") == 4  # twice as the reason, twice in the raw reply
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
    assert manage.post(at("judge_try", judge)).content.decode().count("in stored order") == 2
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
    elsewhere = judge.base_url.replace("/v1", "/other/v1")
    form = {"base_url": elsewhere, "model": "m2", "key": "", "price_input": "1", "price_output": "2",
            "max_tokens": "300", "concurrency": "4", "timeout_seconds": "60"}  # fmt: skip
    settling.halt(judge=judge, message="The key was refused.")
    assert "The key was refused." in manage.get(at("judge_edit", judge)).content.decode()
    assert manage.post(at("judge_edit", judge), form).status_code == 302
    judge.refresh_from_db()
    assert (judge.base_url, judge.model, judge.state, judge.message) == (elsewhere, "m2", "ready", "")
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


# --- Protocols, several judges, prompts -----------------------------------------------------------------------
ENDPOINT = {"model": "m", "price_input": "0", "price_output": "0", "max_tokens": "300", "concurrency": "4",
            "timeout_seconds": "60"}  # fmt: skip


def test_a_protocol_is_chosen_in_the_browser_and_stays_once_it_has_judged(project, manage, server, judged_item):
    judged_item()
    form = {"name": "slow", "base_url": server.url, **ENDPOINT, "protocol_pairwise": "verdict",
            "protocol_orders": "both", "protocol_samples": "3", "protocol_temperature": "0.5",
            "protocol_evidence_calls": "3", "protocol_reference": "on", "per_minute": "600"}  # fmt: skip
    assert manage.post(reverse("judge_new", args=[project.slug]), form).status_code == 302
    judge = Judge.objects.get()
    assert (judge.protocol["samples"], judge.protocol["reference"], judge.protocol["logprobs"]) == (3, True, False)
    assert judge.per_minute == 600
    page = manage.get(at("judge", judge)).content.decode()
    assert "Own answer first" in page
    server.respond = lambda request: Answer(says("A"))
    judge_items(judge=judge)
    change = {**form, "protocol_samples": "5"}
    manage.post(at("judge_edit", judge), change)  # the field is shown, and cannot be changed
    judge.refresh_from_db()
    assert judge.protocol["samples"] == 3
    wrong = {**form, "name": "odd", "protocol_pairwise": "ratings", "protocol_critique": "on"}
    response = manage.post(reverse("judge_new", args=[project.slug]), wrong)
    assert (response.status_code, "turn one off" in response.content.decode()) == (422, True)


def test_a_cascade_and_a_panel_are_set_up_from_judges_that_are_there(project, manage, judge, server):
    dear = stand_ins.judge(project)
    for kind, chosen in (
        ("cascade", {"first": judge.pk, "last": dear.pk}),
        ("panel", {"members": [judge.pk, dear.pk]}),
    ):
        address = reverse("judge_new", args=[project.slug]) + f"?kind={kind}"
        assert manage.get(address).status_code == 200
        response = manage.post(address, {"name": kind, "concurrency": "4", "threshold": "0.9", **chosen})
        assert response.status_code == 302, response.content.decode()
        made = Judge.objects.get(kind=kind)
        assert [seat.member for seat in made.seats.all()] == [judge, dear]
        assert judge.name in manage.get(at("judge", made)).content.decode()
    assert Judge.objects.get(kind="cascade").protocol["threshold"] == 0.9
    same = manage.post(address, {"name": "two", "concurrency": "4", "members": [judge.pk]})
    assert (same.status_code, "two different judges" in same.content.decode()) == (422, True)


def test_prompts_are_previewed_on_a_real_item_and_saved_as_versions(project, manage, judged_item, judge, server):
    judged_item("Is the sea salty?")
    address = reverse("judge_prompts", args=[project.slug])
    page = manage.get(address).content.decode()
    assert "You compare two answers" in page
    assert "Is the sea salty?" in page
    words = {f"template_{kind}": f"Judge this {kind}." for kind in built_in.TEMPLATES}
    words |= {
        "template_preference": "Be strict.\n\n{principles}",
        "principles": "Truth <b>first</b>.",
        "note": "why not",
    }
    shown = manage.post(reverse("judge_prompt_preview", args=[project.slug]), words).content.decode()
    assert "Be strict." in shown
    assert "Truth &lt;b&gt;first" in shown
    assert "Is the sea salty?" in shown
    rated = manage.post(reverse("judge_prompt_preview", args=[project.slug]), {**words, "kind": "rating"})
    assert "Judge this rating." in rated.content.decode()
    assert JudgePrompt.objects.count() == 1  # a preview keeps nothing
    wrong = manage.post(address, {**words, "template_span": "Mark {item}."})
    assert (wrong.status_code, "which nothing fills" in wrong.content.decode()) == (422, True)
    assert manage.post(address, words).status_code == 302
    made = JudgePrompt.objects.get(number=2)
    assert (made.principles, made.note) == ("Truth <b>first</b>.", "why not")
    judge_items(judge=judge)
    server.requests.clear()
    assert "<option selected>pairwise-1</option>" in manage.get(at("judge", judge)).content.decode()
    manage.post(at("judge_try", judge), {"prompt": "prompt-2"})
    assert {request["messages"][0]["content"][:10] for request in server.requests} == {"Be strict."}
    judge.refresh_from_db()
    assert judge.prompt_version == "pairwise-1"  # tried, not chosen
    form = {"base_url": server.url, **ENDPOINT, "prompt": made.pk}
    assert manage.post(at("judge_edit", judge), form).status_code == 302
    late = judged_item("Is the sky blue?")
    server.requests.clear()
    judge_items(judge=judge)
    assert {request["messages"][0]["content"][:10] for request in server.requests} == {"Be strict."}
    assert set(late.annotations.values_list("metadata__prompt_version", flat=True)) == {"prompt-2"}
    first = Annotation.objects.exclude(item=late)
    assert set(first.values_list("metadata__prompt_version", flat=True)) == {"pairwise-1"}
