"""The pages of importing: upload → preview → import → done, and every way that a file can be wrong."""

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate import access, tasks
from annotate.importing import jobs, progress
from annotate.importing.plans import plan_for
from annotate.models import Annotation, Import, Item
from tests import factories

pytestmark = pytest.mark.django_db

CSV = (
    "Question;Answer 1;Answer 2;Winner;Checked by\nWhat is 2 + 2?;4;5;1;mira\nCapital of France?;Lyon;Paris;2;jonas\n"
)


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


@pytest.fixture
def eager(monkeypatch):
    """Workers that do at once what they are asked for."""
    monkeypatch.setattr(tasks.take_in_import, "delay", tasks.take_in_import)


@pytest.fixture
def client(as_user, manager):
    return as_user(manager)


@pytest.fixture
def upload(client, project):
    """Send a file as the form does; returns the import's address."""

    def send(content, name="items.csv"):
        data = content if isinstance(content, bytes) else content.encode()
        answer = client.post(reverse("import_new", args=[project.slug]), {"file": SimpleUploadedFile(name, data)})
        assert answer.status_code == 302, answer.content
        return answer.url

    return send


def text_of(answer):
    """A page's words, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def test_a_file_goes_from_upload_to_items(client, project, manager, upload, eager, django_capture_on_commit_callbacks):
    address = upload(CSV)
    shown = text_of(client.get(address))
    assert "What is 2 + 2?" in shown
    assert "person choice in file" in shown
    assert Item.objects.count() == 0

    form = {
        "format": "csv",
        **{f"column-{n}": name for n, name in enumerate(["Question", "Answer 1", "Answer 2", "Winner", "Checked by"])},
        **{f"field-{n}": name for n, name in enumerate(["prompt", "response_a", "response_b", "choice", "rater"])},
    }
    assert "person mira" in text_of(client.get(f"{address}preview/", form))
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{address}start/", form).url == address

    imported = Import.objects.get()
    assert (imported.state, imported.items_created, imported.created_by) == ("done", 2, manager)
    assert set(Annotation.objects.values_list("rater__name", flat=True)) == {"mira", "jonas"}
    done = text_of(client.get(address))
    assert "New items 2 of 2 rows" in done
    assert client.get(f"{address}progress/").status_code == 286


def test_a_zip_of_rows_and_pictures_goes_the_same_way(
    client, project, upload, eager, django_capture_on_commit_callbacks
):
    part = {"type": "image_url", "image_url": {"url": "images/x.png"}, "alt": "a red field"}
    row = {"prompt": [{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}], "responses": ["A", "B"]}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("items.jsonl", json.dumps(row))
        archive.writestr("images/x.png", factories.image_file())
    address = upload(packed.getvalue(), "items.zip")
    page = client.get(address).content.decode()
    assert '<img src="data:image/webp;base64,' in page
    assert (Item.objects.count(), project.attachments.count()) == (0, 0)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{address}start/", {"format": "native"})
    assert Import.objects.get().state == "done"
    picture = project.attachments.get()
    shown = client.get(reverse("item", args=[project.slug, Item.objects.get().pk])).content.decode()
    assert f'<img src="{reverse("attachment", args=[project.slug, picture.sha256])}"' in shown


def test_real_rows_are_shown_as_items_before_they_come_in(client, upload, shared_data):
    head = b"".join((shared_data / "pandalm.jsonl").read_bytes().splitlines(keepends=True)[:8])
    shown = text_of(client.get(upload(head, "pandalm.jsonl")))

    for words in ("PandaLM", "bloom-7b", "person annotator1", "judge gpt-3.5-turbo", "row 5"):
        assert words in shown
    assert "row 6" not in shown


def test_the_columns_show_what_stands_in_them_and_what_they_are_guessed_to_hold(client, upload):
    page = client.get(upload(CSV)).content.decode()

    assert re.search(r'name="field-2".*?<option value="response_a" selected>', page, re.DOTALL)
    assert "Lyon" in page


def test_a_mapping_that_makes_no_items_says_so_and_cannot_be_imported(client, upload):
    address = upload("x,y\n1,2\n")
    page = client.get(address)
    assert "no column holds a response (the columns are x, y): say which one does." in text_of(page)
    assert 'class="btn primary" disabled' in page.content.decode()

    refused = client.post(f"{address}start/", {"format": "csv"})
    assert refused.status_code == 422
    assert Import.objects.get().state == "uploaded"


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"PK\x03\x04rest", "sheet.xlsx", "this is a ZIP or Excel file"),
        (b'{"prompt": "x", "chosen": "a"}\n{"prompt": "x", "chosen": "a", "rejected": "b"}\n', "a.jsonl",
         "row 1 there is no response in “rejected”"),
        (b"{broken\n", "a.jsonl", "row 1 this is not valid JSON"),
        (b'{"prompt": "N\\u0000", "responses": ["x"]}\n', "a.jsonl", "row 1 “prompt” holds a NUL character"),
        (b"\x1f\x8b\x08\x00", "a.gz", "row 1 the gzip file ends in the middle"),
        (b"\n\n", "a.csv", "row 1 the file is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_first_rows_is_said_in_the_preview(client, upload, content, name, words):
    assert words in text_of(client.get(upload(content, name)))


def test_a_good_row_beside_a_bad_one_does_not_make_a_file_ready(client, upload):
    address = upload('{"prompt": "x", "responses": ["a"]}\n{"prompt": "x", "responses": []}\n', "items.jsonl")

    assert "The first rows as items" in text_of(client.get(address))
    assert client.post(f"{address}start/", {"format": "native"}).status_code == 422
    assert Import.objects.get().state == "uploaded"


def test_no_file_or_an_empty_one_is_asked_for_again(client, project):
    address = reverse("import_new", args=[project.slug])

    assert client.post(address).status_code == 422
    answer = client.post(address, {"file": SimpleUploadedFile("x.csv", b"")})
    assert answer.status_code == 422
    assert "empty" in text_of(answer)


def test_errors_further_down_are_listed_by_row_and_the_file_can_be_tried_again(
    client, upload, eager, django_capture_on_commit_callbacks
):
    good = "".join(f'{{"id": "{n}", "prompt": "Q{n}", "responses": ["x"]}}\n' for n in range(30))
    address = upload(good + '{"id": "31", "prompt": "Q", "responses": []}\n', "items.jsonl")
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{address}start/", {"format": "native"})
    shown = text_of(client.get(address))

    assert "One thing stands in the way" in shown
    assert "31 there is no response: give at least one" in shown
    assert "Import the whole file" in shown
    assert Item.objects.count() == 0


def test_a_running_import_shows_how_far_it_is(client, upload):
    address = upload(CSV)
    imported = Import.objects.get()
    Import.objects.update(state=Import.RUNNING)
    progress.Reporter(imported.pk).checking(50_000, 200_000, 1234)
    polled = client.get(f"{address}progress/")

    assert polled.status_code == 200
    assert 'max="200000" value="50000"' in polled.content.decode()
    assert "50.0 kB of 200.0 kB · 1,234 rows" in text_of(polled)
    assert 'hx-trigger="every 1s"' in polled.content.decode()


def test_a_queued_import_can_be_stopped_and_thrown_away(client, upload):
    address = upload(CSV)
    imported = Import.objects.get()
    jobs.queue(imported=imported, plan=plan_for(Path(imported.path)), send=lambda pk: None)
    assert "Waiting for a worker" in text_of(client.get(address))

    client.post(f"{address}stop/")
    assert "Import the whole file" in text_of(client.get(address))
    client.post(f"{address}discard/")
    assert Import.objects.count() == 0
    assert not Path(imported.path).exists()


def test_an_import_that_is_done_is_not_started_again(client, upload, eager, django_capture_on_commit_callbacks):
    address = upload(CSV)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            client.post(f"{address}start/", {"format": "csv"})

    assert Import.objects.get().items_existing == 0
    assert client.get(f"{address}preview/").url == address
    client.post(f"{address}discard/")
    assert Import.objects.count() == 1


def test_a_broker_that_is_away_costs_a_delay_and_nothing_else(
    client, upload, monkeypatch, django_capture_on_commit_callbacks
):
    def away(import_id):
        raise ConnectionError

    monkeypatch.setattr(tasks.take_in_import, "delay", away)
    address = upload(CSV)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{address}start/", {"format": "csv"}).status_code == 302

    assert Import.objects.get().state == "queued"


def test_only_managers_import(as_user, reviewer, annotator, outsider, project, upload):
    address = upload(CSV)
    for user in (reviewer, annotator, outsider):
        assert as_user(user).get(address).status_code == 404
    assert access.MANAGER not in {access.role_in(user, project) for user in (reviewer, annotator, outsider)}


def test_file_names_and_texts_cannot_reach_into_the_page(client, upload):
    page = client.get(upload("prompt,a,b\n<script>x</script>,<img src=x>,y\n", "<b>.csv")).content.decode()

    assert "<script>x" not in page
    assert "<img" not in page
    assert "<b>.csv" not in page


def test_the_list_of_files_takes_the_same_queries_however_long_it_is(client, project, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def count():
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("import_new", args=[project.slug]))
        return len(queries)

    Import.objects.create(project=project, file_name="x", path="")
    one = count()
    Import.objects.bulk_create(Import(project=project, file_name=f"{n}", path="") for n in range(9))
    assert count() == one
