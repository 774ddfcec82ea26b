"""The pages of runs, models, loops and generating: what people see and what their buttons do."""

import json
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate.models import Item
from pipeline import registry, runs
from pipeline.datasets.snapshots import cut_snapshot
from pipeline.ml.configs import to_dict
from pipeline.ml.records import Events
from pipeline.ml.stages import STAGES
from pipeline.models import Loop, LoopFiring, ModelVersion, Run, RunEvent
from tests.pipeline import stand_ins

pytestmark = pytest.mark.django_db

REPORT = {
    "n": 120, "accuracy": 0.684, "low": 0.597, "high": 0.76, "interval": "wilson", "ties": 1, "ece": 0.05,
    "brier": 0.2, "mean_margin": 0.4, "length_correlation": 0.1,
    "baselines": {"longer": {"n": 120, "accuracy": 0.55, "low": 0.46, "high": 0.64}, "first": None},
    "like_length": {"n": 20, "accuracy": 0.6, "low": 0.4, "high": 0.78,
                    "baselines": {"longer": {"n": 20, "accuracy": 0.5, "low": 0.3, "high": 0.7}, "first": None}},
    "slices": {"tag:kind": {"n": 10, "accuracy": 0.9, "low": 0.6, "high": 0.98}},
}  # fmt: skip


@pytest.fixture
def client(manager, as_user):
    return as_user(manager)


@pytest.fixture
def base(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return registry.register_base(path=tmp_path, name="tiny-base")


@pytest.fixture
def look(client, project):
    """Get a page of the project as its manager: its text and status."""

    def get(name, *arguments, status=200, **query):
        response = client.get(reverse(name, args=[project.slug, *arguments]), query)
        assert response.status_code == status, response.status_code
        return response.content.decode()

    return get


@pytest.fixture
def press(client, project):
    def post(address, /, *arguments, **data):
        return client.post(reverse(address, args=[project.slug, *arguments]), data)

    return post


@pytest.fixture
def training(project, base, make_run):
    """A PPO run under way: at step 2 of 6, watched, with events taken in."""
    reward = stand_ins.model(project, name="everyday-help-reward-1", report=REPORT)
    inputs = {
        "policy": registry.as_input(base),
        "reward_model": registry.as_input(reward),
        "prompts": {"path": "/p.jsonl", "rows": 40},
    }
    run = runs.claim(make_run(project, kind="ppo", inputs=inputs, config={"steps": 6}).pk, watcher="here")
    events = Events(Path(run.folder) / "events.jsonl")
    for step in (1, 2):
        events.metric(step, reward=0.1 * step, kl=0.5 * step, value_loss=2.0, grad_norm=9.9)
    prompt = [{"role": "user", "content": "How do I <b>fix</b> a bike?"}]
    events.sample(2, prompt=prompt, before="old words", after="new words", reward_before=0.2, reward_after=0.7)
    events.log("The critic lags behind.", level="warning")
    events.progress(2, 6, stage="updating the policy", seconds_left=120.0, tokens_per_second=412.0, memory_bytes=3.1e9)
    runs.take_in_events(run=run)
    return run


def words(page):
    """A page's text without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


# --- A run ----------------------------------------------------------------------------------------------------
def test_a_live_run_shows_how_far_it_is_and_where_it_comes_from(look, training):
    shown = words(look("run", training.pk))
    assert "step 2 of 6 · updating the policy" in shown
    assert re.search(r"about 1 min 5\d s left|about 2 min 0 s left", shown)
    assert "412 tokens/s · 3.1 GB" in shown
    assert "Train a policy with PPO from tiny-base" in shown
    assert "everyday-help-reward-1 68.4% (59.7 – 76.0%)" in shown
    assert "start · reward 0.20 now · reward 0.70 higher" in shown
    assert "old words new words" in shown
    assert "warning: The critic lags behind." in shown
    assert "reward 0.2 kl 1" in shown
    assert "grad norm" not in shown  # the whole log has it


def test_texts_of_models_are_shown_as_text(look, training):
    assert "How do I &lt;b&gt;fix&lt;/b&gt; a bike?" in look("run", training.pk)


def test_the_poll_goes_on_while_it_runs_and_ends_with_it(look, training):
    assert 'hx-trigger="every 2s"' in look("run", training.pk)
    live = look("run_live", training.pk)
    assert 'hx-swap-oob="true"' in live
    assert 'hx-trigger="every 2s"' in live
    runs.fail(run=training, message="No more prompts.")
    ended = look("run_live", training.pk, status=286)
    assert "No more prompts." in ended
    assert "hx-trigger" not in ended


def test_the_poll_goes_on_until_the_model_is_measured(look, project, base, training):
    runs.succeed(run=training, result={}, record=lambda run: "")
    made = stand_ins.model(project, kind="policy", run=training)
    evaluation = stand_ins.run(project, kind="evaluate_policy", state=Run.RUNNING)
    evaluation.models_used.add(made)
    look("run_live", training.pk)
    Run.objects.filter(pk=evaluation.pk).update(state=Run.SUCCEEDED)
    look("run_live", training.pk, status=286)


def test_only_pages_with_charts_load_plotly_and_allow_its_styles(client, project, training):
    response = client.get(reverse("run", args=[project.slug, training.pk]))
    assert "plotly.min.js" in response.content.decode()
    assert "style-src 'self' 'unsafe-inline'" in response["Content-Security-Policy"]
    assert "unsafe-eval" not in response["Content-Security-Policy"]
    listed = client.get(reverse("runs", args=[project.slug]))
    assert "unsafe-inline" not in listed["Content-Security-Policy"]
    assert "plotly" not in listed.content.decode()


def test_the_charts_get_what_is_new(look, training):
    everything = json.loads(look("run_metrics", training.pk))
    assert [step for step, _ in everything["points"]] == [1, 2]
    assert everything["points"][1][1] == {"reward": 0.2, "kl": 1.0, "value_loss": 2.0}  # what is drawn, no more
    assert (everything["ended"], everything["more"]) == (False, False)
    position = RunEvent.objects.filter(run=training, event="metric").first().position
    assert [step for step, _ in json.loads(look("run_metrics", training.pk, after=position))["points"]] == [2]
    nothing = json.loads(look("run_metrics", training.pk, after=everything["position"]))
    assert (nothing["points"], nothing["position"]) == ([], everything["position"])
    look("run_metrics", training.pk, after="x", status=404)


def test_a_crash_shows_its_traceback_and_can_be_resumed(look, press, training):
    runs.crash(run=training, message="ValueError: boom", traceback="Traceback (most recent call last): …")
    shown = look("run", training.pk)
    assert "ValueError: boom" in shown
    assert "Traceback (most recent call last): …" in shown
    assert "crashed" in shown
    press("run_resume", training.pk)
    training.refresh_from_db()
    assert training.state == "queued"


def test_stopping_asks_first_and_then_stops(look, press, training):
    assert 'data-confirm="Stop run' in look("run", training.pk)
    press("run_stop", training.pk)
    assert runs.cancel_asked(training) is True
    shown = words(look("run", training.pk))
    assert "stopping" in shown


def test_a_reviewer_sees_no_buttons(training, reviewer, as_user, project):
    shown = as_user(reviewer).get(reverse("run", args=[project.slug, training.pk])).content.decode()
    assert "Stop" not in shown
    assert "Clone" not in shown


def test_a_run_without_a_worker_says_so(look, training):
    Run.objects.filter(pk=training.pk).update(heartbeat=timezone.now() - 2 * runs.STALE_AFTER)
    assert "its worker is gone; the next one takes over" in words(look("run", training.pk))


def test_the_whole_log_is_plain_text(client, project, training):
    response = client.get(reverse("run_log", args=[project.slug, training.pk]))
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    text = b"".join(response.streaming_content).decode()
    assert re.search(r"^\d\d:\d\d:\d\d  step 2  grad norm 9.9  kl 1  reward 0.2  value loss 2$", text, re.MULTILINE)
    assert "warning: The critic lags behind." in text


def test_a_report_shows_its_interval_beside_the_baselines(look, project):
    run = stand_ins.run(project, kind="evaluate_reward", result=REPORT)
    shown = words(look("run", run.pk))
    assert "68.4% 59.7 – 76.0% 95% interval (wilson) on 120 pairs" in shown
    assert "the longer one wins 55.0% 46.0 – 64.0%" in shown
    assert "always the first – –" in shown  # null: the order in which they came was not kept
    assert "tag:kind 10 90.0%" in shown
    assert "not enough" not in shown


@pytest.mark.parametrize(
    ("known", "warning"), [({"n": 99}, "99 pairs are not enough"), ({"low": 0.49}, "cannot be told from a coin")]
)
def test_a_weak_report_says_that_it_is_weak(look, project, known, warning):
    run = stand_ins.run(project, kind="evaluate_reward", result={**REPORT, **known})
    assert warning in words(look("run", run.pk))


# --- The list -------------------------------------------------------------------------------------------------
def test_an_empty_list_says_what_to_do(look):
    assert "Train a reward model" in look("runs")


def test_the_list_is_polled_while_something_runs(look, project, training):
    assert "hx-trigger" in look("runs")
    look("runs_table")
    runs.fail(run=training, message="no")
    look("runs_table", status=286)


def test_older_runs_are_a_page_away(look, project):
    made = [stand_ins.run(project) for _ in range(45)]
    first = look("runs")
    assert f"?before={made[5].pk}" in first
    assert f"{made[4].pk} · Train" in look("runs", before=made[5].pk)


def test_lists_take_no_more_queries_for_more_rows(client, project):
    def queries_of(name):
        with CaptureQueriesContext(connection) as seen:
            assert client.get(reverse(name, args=[project.slug])).status_code == 200
        return len(seen)

    def add(count):
        for _ in range(count):
            run = stand_ins.run(project)
            loop = stand_ins.loop(project)
            stand_ins.model(project, run=run, report=REPORT)
            LoopFiring.objects.create(loop=loop, number=1, cursor=1, labels=3, run=run)

    add(2)
    few = [queries_of(name) for name in ("runs", "models", "loops")]
    add(6)
    assert [queries_of(name) for name in ("runs", "models", "loops")] == few


# --- Training -------------------------------------------------------------------------------------------------
def form_of(page):
    """What a page's form would send as it stands: name → value."""
    form = page[page.index('<form method="post"', page.index("<main")) :]
    sent = dict(re.findall(r'<input type="(?:number|text)" name="([^"]+)" value="([^"]*)"', form))
    for name, body in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', form, flags=re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body) or re.search(r'value="([^"]*)"', body)
        sent[name] = chosen.group(1)
    for name in re.findall(r'<input type="checkbox" name="([^"]+)"[^>]* checked', form):
        sent[name] = "on"
    return sent


def test_the_form_as_it_stands_starts_a_run_with_the_defaults(look, press, project, base, label_pairs):
    label_pairs(project, 60)
    shown = look("train")
    assert "Labelled items 60" in words(shown)
    response = press("train", **form_of(shown))
    run = Run.objects.get()
    assert response.url == reverse("run", args=[project.slug, run.pk])
    assert run.config == defaults("train_reward")
    assert run.created_by.username == "mona"


def defaults(kind):
    return to_dict(STAGES[kind].config())


def test_a_wrong_setting_is_refused_at_its_field(client, project, base, label_pairs, look):
    label_pairs(project, 60)
    sent = {**form_of(look("train")), "set_epochs": "0"}
    response = client.post(reverse("train", args=[project.slug]), sent)
    assert response.status_code == 422
    assert "greater than or equal to 1" in response.content.decode()
    assert not Run.objects.exists()


def test_settings_that_contradict_each_other_are_refused_in_words(client, project, base, label_pairs, look):
    label_pairs(project, 60)
    address = reverse("train", args=[project.slug]) + "?kind=dpo"
    sent = {**form_of(client.get(address).content.decode()), "set_loss": "ipo", "set_label_smoothing": "0.1"}
    response = client.post(address, sent)
    assert response.status_code == 422
    assert "label_smoothing has no meaning for the loss ipo" in response.content.decode()


def test_too_little_to_train_on_names_the_remedies(look, client, project, base, label_pairs):
    label_pairs(project, 3)
    shown = look("train")
    assert "3 items are labelled, and a training needs at least 20 pairs" in words(shown)
    assert reverse("label", args=[project.slug]) in shown
    response = client.post(reverse("train", args=[project.slug]), form_of(shown))
    assert response.status_code == 422
    assert "label more or import a file" in response.content.decode()


def test_ppo_without_a_reward_model_says_to_train_one(look, project, base, label_pairs):
    label_pairs(project, 60)
    shown = look("train", kind="ppo")
    assert "PPO needs a reward model, and there is none yet" in words(shown)
    assert re.search(r"<button[^>]* disabled>Start", shown)


def test_cloning_takes_the_settings_along(look, training):
    stand_ins.model(training.project, kind="policy", name="newer", stage="promoted")
    sent = form_of(look("train", clone=training.pk))
    assert sent["set_steps"] == "6"
    assert sent["start"] == str(training.inputs["policy"]["model"])
    assert sent["reward_model"] == str(training.inputs["reward_model"]["model"])
    look("train", clone=999999, status=404)
    look("train", kind="judge", status=404)


def test_the_time_is_estimated_from_the_last_run_of_the_same_way(look, project, base):
    now = timezone.now()
    config = defaults("train_reward")
    past = {"inputs": {"train": {"rows": 50}}, "attempt": 1, "config": config}
    stand_ins.run(project, **past, started_at=now - timezone.timedelta(minutes=10), finished_at=now)
    stand_ins.snapshot(project, Path(base.path), counts={"train": 100, "validation": 1, "test": 1})
    assert "About 20 min with the settings shown" in words(look("train"))


# --- Models ---------------------------------------------------------------------------------------------------
def test_models_show_how_good_they_are_and_what_they_came_from(look, project, base):
    stand_ins.model(project, name="m-reward", base=base, report=REPORT)
    stand_ins.model(project, name="m-policy", kind="policy", base=base,
                    report={"win_rate": 0.52, "low": 0.4, "high": 0.63, "enough": False})  # fmt: skip
    shown = words(look("models"))
    assert "68.4% right, 59.7 – 76.0%" in shown
    assert "52.0% wins, 40.0 – 63.0% · not enough data" in shown
    assert "tiny-base writes the next answers" in shown


def test_a_model_names_the_people_and_judges_behind_it(look, project, base, label_pairs, client):
    label_pairs(project, 40, rater="mira")
    label_pairs(project, 40, start=40, rater="careful", kind="judge")
    snapshot = cut_snapshot(project=project)
    made = stand_ins.model(project, base=base, snapshot=snapshot)
    shown = words(look("model", made.pk))
    assert f"Trained on {snapshot.counts['train']} pairs from 1 person and 1 judge." in shown
    assert "Not measured yet." in shown


def test_promoting_puts_a_model_to_use_and_asks_first(look, press, project, base):
    first = stand_ins.model(project, kind="policy", name="first", stage="promoted")
    second = stand_ins.model(project, kind="policy", name="second")
    assert 'data-confirm="Let second write the next answers in place of first?"' in look("model", second.pk)
    press("model_promote", second.pk)
    assert registry.policy_in_use(project) == second
    assert "second is in use now in place of first, which is retired." in look("model", second.pk)
    assert ModelVersion.objects.get(pk=first.pk).stage == "retired"


def test_evaluating_again_uses_the_labels_as_they_are_now(press, project, base, label_pairs):
    made = stand_ins.model(project, base=base, sha256="x")
    refused = press("model_evaluate", made.pk)
    assert refused.url == reverse("model", args=[project.slug, made.pk])
    label_pairs(project, 60)
    press("model_evaluate", made.pk)
    run = Run.objects.get()
    assert (run.kind, run.snapshot, run.inputs["model"]["model"]) == (
        "evaluate_reward", project.snapshots.get(), made.pk,
    )  # fmt: skip


# --- Generating -----------------------------------------------------------------------------------------------
def test_pasted_prompts_are_answered_by_the_policy_in_use(look, press, project, base):
    press("generate", **{**form_of(look("generate")), "prompts": "Why?\n\nHow,\nexactly?\n\nWhy?"})
    run = Run.objects.get()
    lines = Path(run.inputs["prompts"]["path"]).read_text().splitlines()
    assert [json.loads(line)["prompt"][0]["content"] for line in lines] == ["Why?", "How,\nexactly?"]
    assert run.inputs["model"]["model"] == base.pk


def test_nothing_pasted_is_said_at_the_field(client, look, project, base):
    response = client.post(reverse("generate", args=[project.slug]), form_of(look("generate")))
    assert response.status_code == 422
    assert "Paste at least one prompt" in response.content.decode()


def test_the_projects_own_prompts_can_be_answered_again(look, press, project, base, label_pairs):
    label_pairs(project, 3)
    press("generate", **{**form_of(look("generate")), "source": "project"})
    assert Run.objects.get().inputs["prompts"]["rows"] == Item.objects.count() == 3


# --- Loops ----------------------------------------------------------------------------------------------------
def test_a_loop_is_made_paused_and_deleted_in_the_browser(look, press, project):
    press("loops", name="Weekly", step="train_reward", new_labels="50", every_minutes="30")
    loop = Loop.objects.get()
    assert (loop.new_labels, loop.periodic_task.interval.every, loop.created_by.username) == (50, 30, "mona")
    assert "Train a reward model · every 30 min · by mona" in words(look("loops"))
    assert "0 of 50" in words(look("loops"))
    press("loop_pause", loop.pk, enabled="0")
    assert "paused" in words(look("loops"))
    loop.refresh_from_db()
    assert loop.enabled is False
    press("loop_pause", loop.pk, enabled="1")
    press("loop_delete", loop.pk)
    assert not Loop.objects.exists()


def test_a_loop_can_train_as_an_earlier_run_did(press, project):
    config = {**defaults("train_reward"), "method": "head_only"}
    earlier = stand_ins.run(project, config=config)
    sent = {"step": "train_reward", "new_labels": "5", "every_minutes": "3", "like": earlier.pk}
    press("loops", name="Quick", **sent)
    assert Loop.objects.get().config == config
    refused = press("loops", name="Other", **{**sent, "step": "dpo"})
    assert refused.status_code == 422
    assert "is no run of “Train a policy with DPO”" in refused.content.decode()


def test_a_loops_name_is_taken_once(press, project):
    sent = {"name": "Weekly", "step": "dpo", "new_labels": "5", "every_minutes": "3"}
    press("loops", **sent)
    again = press("loops", **sent)
    assert again.status_code == 422
    assert "There is a loop “Weekly” already" in again.content.decode()
