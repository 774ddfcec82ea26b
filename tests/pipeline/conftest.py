"""What tests of the pipeline share: a judge server on loopback and a judge that asks it; runs and a tiny model."""

import pytest
from django.db import connection

from annotate.importing import take_in
from annotate.models import Item
from pipeline import runs
from pipeline.judging import rounds, settling, setup
from pipeline.models import Route
from tests import factories, tiny_models
from tests.pipeline import judge_server


@pytest.fixture
def server():
    """A server that speaks the OpenAI protocol and does what the test tells it."""
    with judge_server.running() as running:
        yield running


@pytest.fixture
def quick(monkeypatch):
    """Waits of milliseconds instead of seconds."""
    monkeypatch.setattr(settling, "BACKOFF", 0.01)
    monkeypatch.setattr(settling, "REST", 0.01)
    monkeypatch.setattr(rounds, "GLANCE", 0.02)
    monkeypatch.setattr(rounds, "GATHER", 0.002)


@pytest.fixture
def judge(project, server, quick):
    """An enabled judge behind the server, with prices and no cap."""
    return setup.create_endpoint_judge(
        project=project,
        name="careful",
        base_url=server.url,
        model="careful-1",
        key="sk-secret-of-the-test",
        price_input="1.5",
        price_output="6",
        timeout_seconds=2,
    )


def routed(item, decision):
    """Keep a routing decision, as the router would."""
    return Route.objects.create(
        item=item, decision=decision, reason="for a test", propensity=1.0, policy="fixed_share", policy_version="1"
    )


@pytest.fixture
def judged_item(project):
    """An item that is routed to the judge."""

    def make(prompt="", responses=("Yes.", "No."), route=Item.JUDGE, **fields):
        item = factories.item(project, prompt, responses, route=route, overlap=0, slots_open=0, **fields)
        if route:
            routed(item, route)
        return item

    return make


@pytest.fixture
def make_run():
    """A queued run that needs nothing to be there: its inputs are names."""

    def make(project, kind="generate", config=None, inputs=None, **fields):
        named = inputs or {"model": {"path": "/nowhere/model"}, "prompts": {"path": "/nowhere/prompts.jsonl"}}
        return runs.create_run(project=project, kind=kind, config=config or {}, inputs=named, **fields)

    return make


@pytest.fixture
def database_url(transactional_db):
    """The address of the test database, for processes of their own; what they should see must be committed."""
    own = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{own['NAME']}"
    return f"postgres://{own['USER']}:{own['PASSWORD']}@{own['HOST']}:{own['PORT'] or 5432}/{own['NAME']}"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a tiny policy. Do not write into it."""
    return tiny_models.make_policy(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def label_pairs():
    """Give a project labelled pairs of one person: the answer that says yes is the better one."""

    def label(project, count, start=0, kind="human", rater="mira"):
        vote = {"rater": rater, "kind": kind, "answers": {"preference": {"choice": "a", "strength": 2}}}
        take_in(
            project=project,
            items=[
                {
                    "id": f"pair-{number}",
                    "prompt": [{"role": "user", "content": f"Question {number}?"}],
                    "responses": [
                        {"model": "good", "messages": [{"role": "assistant", "content": "yes" + "." * (number % 3)}]},
                        {"model": "bad", "messages": [{"role": "assistant", "content": "no" + "." * (number % 4)}]},
                    ],
                    "annotations": [vote],
                }
                for number in range(start, start + count)
            ],
        )

    return label
