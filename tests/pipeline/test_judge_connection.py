"""Testing a connection before there is a judge: one sentence that says what is wrong, and what can be found out."""

import json
import socket
import threading
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.urls import reverse

from pipeline.judging import setup
from pipeline.judging.connecting import connect
from pipeline.models import Judge

MODELS = {
    "data": [
        {"id": "small", "pricing": {"prompt": "0.00000015", "completion": "0.0000006"}},
        {"id": "large", "pricing": {"prompt": "free", "completion": None}},
        {"id": 5},
    ]
}


@contextmanager
def answering(respond):
    """A server whose GETs are answered by `respond(path, key) → (status, headers, body)`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = respond(self.path, self.headers.get("authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def at_v1(path, key):
    return (200, {}, MODELS) if path == "/v1/models" else (404, {}, {"detail": "Not Found"})


def test_its_models_are_listed_with_their_prices():
    with answering(at_v1) as address:
        found = connect(f"{address}/v1/", "")
    assert (found.works, found.sentence) == (True, "It answers and has 2 models: choose one.")
    assert [each.name for each in found.models] == ["small", "large"]
    assert (found.models[0].price_input, found.models[0].price_output) == (Decimal("0.15"), Decimal("0.6"))
    assert found.models[1].price_input is None


def test_an_address_that_lacks_its_v1_is_found():
    with answering(at_v1) as address:
        found = connect(address, "", "small")
        assert (found.works, found.base_url) == (True, f"{address}/v1")
        assert found.sentence == "It answers with /v1 at its end and has small."


def test_a_model_that_is_not_there_is_said():
    with answering(at_v1) as address:
        found = connect(f"{address}/v1", "", "smal")
    assert (found.works, found.sentence) == (False, "It answers, and has no model 'smal': it has small, large.")


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (lambda path, key: (200 if key == "Bearer sk-right" else 401, {}, MODELS), "It refuses the key (401)"),
        (
            lambda path, key: (307, {"location": "https://elsewhere.example/v1"}, {}),
            "sends us on to https://elsewhere",
        ),
        (lambda path, key: (404, {}, {}), "lists no models here (404)"),
        (lambda path, key: (200, {}, b"<html>Sign in</html>"), "does the address end in /v1?"),
        (lambda path, key: (200, {}, b"[" * 100_000), "does the address end in /v1?"),
        (lambda path, key: (200, {}, {"data": []}), "has no model: load one"),
        (lambda path, key: (500, {}, {}), "It answers with 500"),
    ],
)
def test_what_is_wrong_is_one_sentence(respond, said):
    with answering(respond) as address:
        found = connect(f"{address}/v1", "sk-wrong")
    assert not found.works
    assert said in found.sentence


def test_nobody_and_no_such_machine_are_told_apart():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = connect(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "")
    assert "Nobody answers at http://127.0.0.1" in nobody.sentence
    assert "is not the address of an endpoint" in connect("example", "").sentence
    assert "characters that keys never hold" in connect("http://127.0.0.1:9/v1", "schlüssel").sentence


@pytest.mark.django_db
def test_the_form_is_filled_with_what_was_found_out(project, manager, as_user):
    manage, one = as_user(manager), {"data": MODELS["data"][:1]}
    there = reverse("judge_connect", args=[project.slug])
    with answering(lambda path, key: (200, {}, one) if path == "/v1/models" else (404, {}, {})) as address:
        page = manage.post(there, {"base_url": address, "price_input": "0", "price_output": "7"}).content.decode()
    assert f'value="{address}/v1"' in page
    assert 'value="small"' in page
    assert 'value="0.150000"' in page
    assert 'name="price_output"' not in page  # a person has entered that


@pytest.mark.django_db
def test_a_kept_key_is_tested_at_its_own_address_and_goes_to_no_other(project, manager, as_user):
    manage, keys = as_user(manager), []

    def respond(path, key):
        keys.append(key)
        return 200, {}, MODELS

    with answering(respond) as address, answering(respond) as elsewhere:
        judge = setup.create_endpoint_judge(
            project=project, name="x", base_url=f"{address}/v1", model="small", key="sk-kept"
        )
        for url in (address, elsewhere):
            manage.post(reverse("judge_connect", args=[project.slug]), {"base_url": f"{url}/v1", "judge": judge.pk})
    assert keys == ["Bearer sk-kept", ""]
    with pytest.raises(setup.SetupError, match="goes to no other address"):
        setup.change_judge(judge=judge, base_url=f"{elsewhere}/v1")
    setup.change_judge(judge=judge, base_url=f"{elsewhere}/v1", key="sk-new")
    assert Judge.objects.get().base_url == f"{elsewhere}/v1"


@pytest.mark.django_db
def test_a_judge_without_a_name_has_its_models(project, manager, as_user):
    form = {
        "base_url": "http://127.0.0.1:9/v1", "model": "small", "price_input": "0", "price_output": "0",
        "max_tokens": "300", "concurrency": "4", "timeout_seconds": "60",
    }  # fmt: skip
    as_user(manager).post(reverse("judge_new", args=[project.slug]), form)
    assert Judge.objects.get().name == "small"
