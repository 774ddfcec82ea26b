"""Pictures of a project: served to its members, shown on its pages, carried by its export."""

import json
import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.urls import reverse

from annotate import attachments, tasks
from annotate.commands import Failed
from annotate.importing.taking_in import take_in
from annotate.models import Attachment, Item, Project
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


@pytest.fixture
def picture(project) -> Attachment:
    return factories.attachment(project)


def named(picture: Attachment, alt: str = "a red field") -> str:
    return f"![{alt}](attachment:{picture.sha256})"


def address(picture: Attachment) -> str:
    return reverse("attachment", args=[picture.project.slug, picture.sha256])


def test_a_member_gets_the_picture_and_their_browser_may_keep_it(picture, annotator, as_user):
    answer = as_user(annotator).get(address(picture))
    with attachments.opened(picture.sha256) as file:
        assert b"".join(answer.streaming_content) == file.read()
    assert answer["Content-Type"] == "image/webp"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer["Content-Disposition"].startswith("inline")


def test_a_browser_that_has_it_is_told_so_without_the_bytes(picture, annotator, outsider, as_user):
    etag = as_user(annotator).get(address(picture))["ETag"]
    again = as_user(annotator).get(address(picture), headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert as_user(annotator).get(address(picture), headers={"If-None-Match": '"other"'}).status_code == 200
    assert as_user(outsider).get(address(picture), headers={"If-None-Match": etag}).status_code == 404


def test_what_is_not_there_is_not_found(picture, annotator, as_user, settings, tmp_path):
    client = as_user(annotator)
    for wrong in ("0" * 64, "short", picture.sha256.upper(), ".."):
        assert client.get(address(picture).replace(picture.sha256, wrong)).status_code == 404
    settings.MEDIA_ROOT = tmp_path / "elsewhere"
    assert client.get(address(picture)).status_code == 404


def test_the_workbench_shows_it_at_its_size(project, picture, annotator, as_user):
    factories.item(project, f"What is this?\n\n{named(picture)}", (f"A field. {named(picture, '')}", "No."))
    page = as_user(annotator).get(reverse("label", args=[project.slug])).content.decode()
    assert page.count(f'<img src="{address(picture)}" width="80" height="40"') == 2
    assert '<span class="caption">a red field</span>' in page
    assert 'id="zoom"' in page


def test_the_item_page_shows_it_and_another_project_does_not(project, picture, manager, admin, as_user):
    other = factories.project(by=admin, name="Other")
    pages = [
        as_user(admin).get(reverse("item", args=[one.slug, factories.item(one, named(picture)).pk])).content.decode()
        for one in (project, other)
    ]
    assert [page.count("<img src") for page in pages] == [1, 0]
    assert "a red field" in pages[1]


def test_pages_without_pictures_ask_for_none(project, annotator, as_user, django_assert_num_queries):
    from annotate.templatetags.figures import markdown

    with django_assert_num_queries(0):
        markdown("No picture, but ![a link](https://example.org/x.png).", project)


def test_a_file_that_a_crash_left_half_written_is_written_again(project, picture, settings):
    path = settings.MEDIA_ROOT / attachments.file_name(picture.sha256)
    whole = path.read_bytes()
    path.write_bytes(whole[:10])
    factories.attachment(project)
    assert path.read_bytes() == whole


# --- The raw export -------------------------------------------------------------------------------------------


@pytest.fixture
def exported(project, picture, tmp_path):
    row = {"id": "one", "prompt": named(picture), "responses": ["Yes.", f"No: {named(picture)}"]}
    take_in(project=project, items=[row])
    call_command("export_project", project.slug, str(tmp_path / "raw"), "--json")
    return tmp_path / "raw"


def test_the_export_carries_pictures_and_they_come_back_under_the_same_hashes(
    exported, project, picture, settings, tmp_path, capsys
):
    settings.MEDIA_ROOT = tmp_path / "another-place"
    call_command("import_project", str(exported), "--slug", "again", "--json")
    again = Project.objects.get(slug="again")
    values = ("sha256", "original", "content_type", "width", "height", "size", "source")
    first, second = (list(one.attachments.values(*values)) for one in (project, again))
    assert first == second != []
    with attachments.opened(picture.sha256) as file:
        assert len(file.read()) == picture.size
    ours, theirs = (Item.objects.get(project=one) for one in (project, again))
    assert (ours.content_hash, ours.prompt) == (theirs.content_hash, theirs.prompt)
    call_command("export_project", "again", str(tmp_path / "second"), "--json")
    assert files_in(tmp_path / "second") == files_in(exported)


def files_in(folder) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "project.json"}


@pytest.mark.parametrize("harm", ["gone", "other", "metadata", "name"])
def test_a_picture_that_is_not_what_was_exported_keeps_the_project_out(exported, picture, harm):
    path = exported / attachments.file_name(picture.sha256)
    if harm == "gone":
        path.unlink()
    elif harm == "name":
        (exported / "attachments.jsonl").write_text(json.dumps({"sha256": "../../x"}) + "\n")
    else:
        options = {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"} if harm == "metadata" else {}
        path.write_bytes(factories.image_file(colour="blue", format_="WEBP", **options))
    before = Project.objects.count(), Attachment.objects.count()
    with pytest.raises(Failed, match="picture"):
        call_command("import_project", str(exported), "--slug", "again")
    assert (Project.objects.count(), Attachment.objects.count()) == before


# --- Settings -------------------------------------------------------------------------------------------------


def test_a_manager_says_which_hosts_pictures_may_come_from(project, manager, as_user):
    client, page = as_user(manager), reverse("project_settings", args=[project.slug])
    shown = client.get(page).content.decode()
    assert "hosts that pictures may come from" in shown.lower()
    form = {"name": "X", "state": "active", "overlap": 1, "lease_minutes": 10, "judge_share": 5, "both_share": 5,
            "aggregation_method": "majority"}  # fmt: skip
    assert client.post(page, {**form, "image_hosts": "Images.example.org, b.org:8080"}).status_code == 302
    project.refresh_from_db()
    assert project.image_hosts == "images.example.org\nb.org:8080"
    wrong = client.post(page, {**form, "image_hosts": "https://a.org/x"})
    assert wrong.status_code == 422
    assert re.search("is no host: write it as images.example.org", wrong.content.decode())


# --- Files that nobody has ------------------------------------------------------------------------------------
def aged(picture: Attachment, days: float) -> Path:
    """The file of a picture, as if it had been written so many days ago."""
    path = Path(default_storage.path(attachments.file_name(picture.sha256)))
    then = time.time() - timedelta(days=days).total_seconds()
    os.utime(path, (then, then))
    return path


def coloured(project: Project, colour: str) -> Attachment:
    return factories.attachment(project, factories.image_file(colour=colour))


def test_old_files_that_no_project_has_are_swept_and_no_others(project, admin):
    left, shared, young = (coloured(project, colour) for colour in ("red", "green", "blue"))
    factories.attachment(factories.project(by=admin, name="Other"), factories.image_file(colour="green"))
    kept, gone = aged(coloured(project, "black"), 400), aged(left, 8)
    half = gone.with_name("half.webp.tmp")
    half.write_bytes(b"RIFF")
    os.utime(half, (0, 0))
    paths = [aged(shared, 8), aged(young, 6)]
    Attachment.objects.filter(project=project, pk__in=[left.pk, shared.pk, young.pk]).delete()
    assert tasks.sweep_pictures() == 2
    assert not gone.exists()
    assert not half.exists()
    assert all(path.exists() for path in [kept, *paths])
    assert tasks.sweep_pictures() == 0


def test_a_file_that_an_import_takes_up_meanwhile_stays(project):
    """The sweep has found it old and without a row when an import of the same picture begins."""
    data = factories.image_file(colour="red")
    picture = factories.attachment(project, data)
    path = aged(picture, 8)
    picture.delete()
    before = time.time() - attachments.KEPT_FOR.total_seconds()
    assert attachments.nobodys(path.parent.name, before) == [path]
    again = factories.attachment(project, data)
    assert attachments.remove(path, before) is False
    with attachments.opened(again.sha256) as file:
        assert len(file.read()) == again.size


def test_a_file_that_was_swept_as_an_import_looked_at_it_is_written_again(project):
    picture = coloured(project, "red")
    path = aged(picture, 8)
    picture.delete()
    path.rename(path.with_suffix(attachments.ASIDE))
    assert coloured(project, "red").sha256 == picture.sha256
    assert path.exists()
    assert attachments.sweep() == 1  # what a sweep that was killed had put aside
    assert path.exists()
