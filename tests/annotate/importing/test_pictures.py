"""Pictures that come in with items: from a ZIP, from data: addresses, from hosts that the project allows."""

import base64
import io
import json
import re
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image

from annotate import attachments, tallies
from annotate.importing import archives, fetching, jobs
from annotate.importing.errors import ImportStopped
from annotate.importing.preview import preview
from annotate.importing.progress import Reporter
from annotate.models import Attachment, Import, Item
from tests import factories
from tests.factories import image_file

pytestmark = pytest.mark.django_db

RED, BLUE = image_file(), image_file(colour="blue")
IMAGE = re.compile(r"!\[([^\]]*)\]\(attachment:([0-9a-f]{64})\)")


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"


def row(*parts, identity="one", **fields) -> dict:
    return {
        "id": identity,
        "prompt": [{"role": "user", "content": list(parts)}],
        "responses": ["Yes.", "No."],
        **fields,
    }


def image_url(url: str) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


TEXT = {"type": "text", "text": "What is this?"}


@pytest.fixture
def packed(tmp_path):
    """Write a ZIP of rows and other files."""

    def pack(rows, name="items.zip", rows_as="items.jsonl", **files):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            body = rows if isinstance(rows, str) else "".join(json.dumps(one) + "\n" for one in rows)
            archive.writestr(rows_as, body)
            for inner, data in files.items():
                archive.writestr(inner.replace("__", "/").replace("_png", ".png"), data)
        return path

    return pack


def taken_in(project, path) -> Import:
    done = jobs.import_here(project=project, path=path)
    assert done.state == Import.DONE, done.errors
    return done


def refused(project, path) -> str:
    """The one sentence that keeps a file out; nothing of it may be there afterwards."""
    done = jobs.import_here(project=project, path=path)
    assert done.state == Import.FAILED
    assert (Item.objects.count(), Attachment.objects.count()) == (0, 0)
    assert not default_storage.exists(attachments.FOLDER)
    (error,) = done.errors
    return error["message"]


# --- A ZIP ----------------------------------------------------------------------------------------------------


def test_a_zip_brings_rows_and_the_pictures_that_they_name_in_three_ways(project, packed):
    rows = [
        row(TEXT, image_url("images/red.png")),
        row({"type": "image", "path": "images/red.png", "alt": "a red [field]"}, TEXT, identity="two"),
        {
            "id": "three",
            "prompt": "See ![blue](images/blue.png) and ![not there](other.png).",
            "responses": ["A", "B"],
        },
    ]
    path = packed(rows, images__red_png=RED, images__blue_png=BLUE, images__spare_png=RED)
    taken_in(project, path)
    said = dict(Item.objects.values_list("external_id", "prompt"))
    texts = {name: messages[0]["content"] for name, messages in said.items()}
    red, blue = Attachment.objects.order_by("pk")
    assert texts["one"] == f"What is this?\n\n![](attachment:{red.sha256})"
    assert texts["two"] == f"![a red field](attachment:{red.sha256})\n\nWhat is this?"
    assert texts["three"] == f"See ![blue](attachment:{blue.sha256}) and ![not there](other.png)."
    titles = dict(Item.objects.values_list("external_id", "title"))
    assert titles["one"] == "What is this? (picture)"
    assert titles["three"].startswith("See blue and")
    assert (red.width, red.height, red.content_type, red.source) == (80, 40, "image/webp", "images/red.png")
    with attachments.opened(blue.sha256) as file:
        assert Image.open(file).convert("RGB").getpixel((9, 9)) == (0, 0, 255)


def test_the_same_zip_twice_adds_nothing_and_its_pictures_are_not_made_anew(project, packed, monkeypatch):
    path = packed([row(TEXT, image_url("red.png"))], red_png=RED)
    taken_in(project, path)
    monkeypatch.setattr("annotate.importing.pictures.harmless", lambda data: pytest.fail("made anew"))
    again = taken_in(project, path)
    assert (again.items_created, again.items_existing, Attachment.objects.count()) == (0, 1, 1)


def test_the_same_picture_in_two_projects_is_one_file(project, admin, packed):
    other = factories.project(by=admin, name="Other")
    for one in (project, other):
        taken_in(one, packed([row(TEXT, image_url("red.png"))], red_png=RED))
    assert Attachment.objects.count() == 2
    folders, _files = default_storage.listdir(attachments.FOLDER)
    assert [len(default_storage.listdir(f"{attachments.FOLDER}/{folder}")[1]) for folder in folders] == [1]


def test_rows_may_lie_in_a_folder_beside_their_pictures_and_be_csv(project, packed):
    csv = "prompt,response_a,response_b\n![x](pics/red.png) What?,A,B\n"
    path = packed(
        csv, rows_as="set/rows.csv", set__pics__red_png=RED, **{"set__._rows.csv": b"x", "set__README": b"x"}
    )
    taken_in(project, path)
    assert IMAGE.search(Item.objects.get().prompt[0]["content"])


def test_answers_may_have_pictures_too(project, packed):
    answer = {"messages": [{"role": "assistant", "content": [TEXT, image_url("red.png")]}]}
    taken_in(project, packed([{"prompt": "Draw.", "responses": [answer, "No."]}], red_png=RED))
    assert IMAGE.search(Item.objects.get().responses.first().messages[0]["content"])


def test_metadata_stays_as_it_was(project, packed):
    kept = {"content": [image_url("red.png")], "text": "![x](red.png)"}
    taken_in(project, packed([row(TEXT, metadata=kept)], red_png=RED))
    assert Item.objects.get().metadata == kept


@pytest.mark.parametrize(
    ("name", "problem"),
    [("/etc/x.png", "absolute path"), ("C:/x.png", "absolute path"), ("a/../../x.png", r"leads out of the archive"),
     ("a\\..\\x.png", "absolute path")],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused_by_name(project, packed, name, problem):
    path = packed([row(TEXT)])
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, RED)
    said = refused(project, path)
    assert f"“{name}” in the ZIP" in said
    assert re.search(problem, said)


def test_links_are_refused(project, packed):
    path = packed([row(TEXT, image_url("link.png"))])
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "“link.png” in the ZIP is a link" in refused(project, path)


def test_bombs_are_refused_before_they_are_unpacked(project, packed, monkeypatch):
    path = packed([row(TEXT)], bomb__png=b"x")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("bomb.bin", b"\0" * 30_000_000)
    monkeypatch.setattr(archives, "MOST_SWELLING", 500)
    assert "“bomb.bin” in the ZIP swells to 30 MB" in refused(project, path)
    monkeypatch.setattr(archives, "MOST_SWELLING", 10**9)
    monkeypatch.setattr(archives, "MOST_UNPACKED", 1_000_000)
    assert "unpacks to" in refused(project, path)


def test_too_many_and_too_large_entries_are_refused(project, packed, monkeypatch):
    path = packed([row(TEXT)], a_png=RED, b_png=RED)
    monkeypatch.setattr(archives, "MOST_ENTRIES", 2)
    assert "holds 3 files" in refused(project, path)
    monkeypatch.setattr(archives, "MOST_ENTRIES", 10)
    monkeypatch.setattr(archives, "MOST_BYTES", 50)
    assert "“a.png” in the ZIP has" in refused(project, path)


def test_an_archive_needs_exactly_one_file_of_rows(project, packed, tmp_path):
    assert "leave one file of rows" in refused(project, packed([row(TEXT)], **{"more.csv": b"a,b\n"}))
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("x.png", RED)
    assert "without rows" in refused(project, empty)
    empty.write_bytes(empty.read_bytes()[:40])
    assert "damaged" in refused(project, empty)


@pytest.mark.parametrize(
    ("place", "files", "problem"),
    [
        ("gone.png", {}, "the picture “gone.png” is not in the ZIP"),
        ("../../etc/passwd", {}, "is not in the ZIP"),
        ("x.png", {"x_png": b"no picture"}, "the picture “x.png” is no PNG, JPEG, WebP or GIF"),
        ("x.png", {"x_png": RED[:60]}, "the picture “x.png” is damaged"),
        ("x.svg", {"x.svg": b"<svg/>"}, "is not in the ZIP"),
        ("file:///etc/passwd", {}, "is not in the ZIP"),
        ("", {}, "says not where it is"),
    ],
)
def test_a_picture_that_cannot_come_in_keeps_the_file_out(project, packed, place, files, problem):
    rows = [row(TEXT, image_url("good.png"), identity="good"), row(TEXT, image_url(place), identity="bad")]
    path = packed(rows, good_png=BLUE, **files)
    assert problem in refused(project, path)


def test_an_import_that_is_stopped_among_its_pictures_writes_nothing(project, packed, monkeypatch):
    def stop(self):
        raise ImportStopped

    path = packed([row(TEXT, image_url("red.png"))], red_png=RED)
    monkeypatch.setattr(Reporter, "alive", stop)
    with pytest.raises(ImportStopped):
        jobs.import_here(project=project, path=path)
    assert (Item.objects.count(), Attachment.objects.count()) == (0, 0)


def test_many_pictures_cost_few_queries_while_others_wait(project, packed, monkeypatch):
    monkeypatch.setattr(tallies, "SHARDS", 1)  # which of them an import counts in, and so finds or makes, is drawn

    def writes(count: int) -> int:
        names = [f"{project.pk}-{count}-{n}.png" for n in range(count)]
        files = {name: image_file((8 + n, 8 + count)) for n, name in enumerate(names)}
        path = packed([row(*[image_url(name) for name in names], identity=str(count))], **files)
        with CaptureQueriesContext(connection) as asked:
            taken_in(project, path)
        return sum(not query["sql"].startswith("SELECT") for query in asked.captured_queries)

    writes(1)
    assert writes(3) == writes(12)
    assert Attachment.objects.count() == 16


# --- data: addresses ------------------------------------------------------------------------------------------


def test_a_picture_may_stand_in_the_row_itself(project, write):
    taken_in(project, write([row(TEXT, image_url(data_url(RED)))]))
    assert Attachment.objects.get().source == ""
    (prompt,) = Item.objects.get().prompt
    assert prompt["content"] == f"What is this?\n\n![](attachment:{Attachment.objects.get().sha256})"


def test_a_part_may_name_its_picture_as_other_services_do(project, write):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(RED).decode()}
    parts = [{"type": "image", "source": source}, {"type": "input_image", "image_url": data_url(BLUE)}]
    taken_in(project, write([row(TEXT, *parts)]))
    assert Attachment.objects.count() == 2


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("data:image/png;base64,@@@@", "is no valid base64"),
        ("data:image/svg+xml,<svg/>", "without base64"),
        (data_url(b"GIF89a"), "is no PNG|damaged"),
        ("images/x.png", "put both into one ZIP"),
    ],
)
def test_a_row_s_own_picture_is_refused_where_it_is_none(project, write, url, problem):
    assert re.search(problem, refused(project, write([row(TEXT, image_url(url))])))


# --- Addresses ------------------------------------------------------------------------------------------------


class Pages(BaseHTTPRequestHandler):
    """What a server may answer: pictures, redirects, too much, nothing at all."""

    seen: list[str] = []

    def do_GET(self):
        self.seen.append(self.headers["Host"] + self.path)
        port = self.server.server_address[1]
        onward = {
            "/moved": "/red.png",
            "/away": "http://example.org/red.png",
            "/inside": f"http://localhost:{port}/red.png",
            "/round": "/round",
        }.get(self.path)
        self.send_response(302 if onward else 404 if self.path == "/gone" else 200)
        if onward:
            self.send_header("Location", onward)
        self.end_headers()
        if self.path == "/endless":
            try:
                for _ in range(100_000):
                    self.wfile.write(b"\0" * 65536)
            except OSError:
                return
        elif not onward:
            self.wfile.write(RED)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A real server on the loopback interface; its host and port."""
    Pages.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        thread = threading.Thread(target=partial(made.serve_forever, poll_interval=0.02), daemon=True)
        thread.start()
        yield f"127.0.0.1:{made.server_address[1]}"
        made.shutdown()


@pytest.fixture
def allowed(project, server, settings):
    """The project allows the server, and tests may reach it."""
    settings.FETCH_FROM_PRIVATE_ADDRESSES = True
    project.image_hosts = server
    project.save()
    return server


def test_a_picture_is_fetched_from_a_host_that_the_project_allows(project, allowed, write):
    url = f"http://{allowed}/red.png"
    taken_in(project, write([row(TEXT, image_url(f"{url}?token=secret"))]))
    assert Attachment.objects.get().source == url
    assert Pages.seen == [f"{allowed}/red.png?token=secret"]  # once, though the file is read twice


def test_no_host_is_allowed_unless_the_project_says_so(project, server, settings, write):
    settings.FETCH_FROM_PRIVATE_ADDRESSES = True
    said = refused(project, write([row(TEXT, image_url(f"http://{server}/red.png"))]))
    assert "a manager can add it in the project's settings" in said
    assert Pages.seen == []


def test_the_inside_of_the_network_is_never_reached_whatever_the_list_says(project, allowed, settings, write):
    settings.FETCH_FROM_PRIVATE_ADDRESSES = False
    assert "lies in a private network" in refused(project, write([row(TEXT, image_url(f"http://{allowed}/red.png"))]))
    assert Pages.seen == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/away", "which is not among the hosts"),
        ("/inside", "which is not among the hosts"),
        ("/round", "from address to address"),
        ("/gone", "answers 404"),
        ("/endless", "has more than 20 MB"),
    ],
)
def test_what_a_server_may_do_to_us_is_refused(project, allowed, write, path, problem):
    said = refused(project, write([row(TEXT, image_url(f"http://{allowed}{path}"))]))
    assert problem in said
    assert not any("example.org" in seen for seen in Pages.seen)


def test_a_redirect_on_the_same_host_is_followed(project, allowed, write):
    taken_in(project, write([row(TEXT, image_url(f"http://{allowed}/moved"))]))
    assert Attachment.objects.count() == 1


def test_a_redirect_to_another_allowed_host_is_not_followed(project, allowed, write):
    port = allowed.split(":")[1]
    project.image_hosts = f"{allowed}\nlocalhost:{port}"
    project.save()
    assert "another host" in refused(project, write([row(TEXT, image_url(f"http://{allowed}/inside"))]))
    assert len(Pages.seen) == 1


def test_a_server_that_drips_holds_nobody_up(project, allowed, write, monkeypatch):
    monkeypatch.setattr(fetching, "SECONDS", 0.0001)
    said = refused(project, write([row(TEXT, image_url(f"http://{allowed}/red.png"))]))
    assert "takes longer" in said or "cannot be fetched" in said


def test_every_address_of_a_name_is_checked_and_the_checked_one_is_used(monkeypatch):
    def answers(*addresses):
        found = [(2, 1, 6, "", (address, 80)) for address in addresses]
        monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *_, **__: found)

    answers("93.184.216.34", "10.0.0.7")
    with pytest.raises(fetching.FetchError, match="private network"):
        fetching.checked_address("example.org", 80)
    answers("93.184.216.34", "2606:2800:220:1::1")
    assert str(fetching.checked_address("example.org", 80)) == "93.184.216.34"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"],
)  # fmt: skip
def test_addresses_inside_are_known_in_every_disguise(address):
    assert not fetching.is_public(fetching.ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_outside_are_public(address):
    assert fetching.is_public(fetching.ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    ["ftp://a.org/x", "http://user@a.org/x", "http://user:p@a.org/x", "http://b.org/x", "http://a.org:81/x",
     "http://a.org.evil.org/x", "http:///x", "http://[::1/x", "file:///etc/passwd", "http://xa.org/", "//a.org/x"],
)  # fmt: skip
def test_only_what_lies_on_the_list_itself_is_allowed(url):
    with pytest.raises(fetching.FetchError):
        fetching.check_allowed(url, ["a.org"])


def test_hosts_are_read_in_one_form():
    assert fetching.hosts_in("A.org, b.example.org:8080\n a.org.") == ["a.org", "b.example.org:8080"]
    assert fetching.hosts_in("") == []
    for wrong in ("https://a.org", "a.org/x", "*.a.org", "a b@c"):
        with pytest.raises(ValueError, match="is no host"):
            fetching.hosts_in(wrong)


# --- The preview ----------------------------------------------------------------------------------------------


def test_the_preview_shows_pictures_and_keeps_none(project, packed):
    path = packed([row(TEXT, image_url("red.png"))], red_png=RED)
    seen = preview(project=project, path=path)
    assert seen.is_ready
    (shown,) = seen.pictures.values()
    assert (shown.width, shown.height) == (80, 40)
    start = "data:image/webp;base64,"
    assert shown.address.startswith(start)
    assert Image.open(io.BytesIO(base64.b64decode(shown.address.removeprefix(start)))).size == (80, 40)
    assert Attachment.objects.count() == 0
    taken_in(project, path)
    (again,) = preview(project=project, path=path).pictures.values()
    assert again.address.startswith("/p/")


def test_the_preview_makes_a_few_pictures_and_the_import_all(project, packed, monkeypatch):
    monkeypatch.setattr("annotate.importing.preview.MOST_PICTURES", 1)
    files = {"a_png": RED, "b_png": BLUE}
    path = packed([row(image_url("a.png"), {"type": "image", "path": "b.png", "alt": "later"})], **files)
    seen = preview(project=project, path=path)
    assert (seen.is_ready, len(seen.pictures)) == (True, 1)
    assert "![later](attachment:" in seen.items[0][1].prompt[0]["content"]
    taken_in(project, path)
    assert Attachment.objects.count() == 2


def test_the_preview_fetches_nothing_but_says_what_is_not_allowed(project, allowed, write):
    path = write([row(TEXT, image_url(f"http://{allowed}/red.png"))])
    assert preview(project=project, path=path).is_ready
    assert Pages.seen == []
    project.image_hosts = ""
    (error,) = preview(project=project, path=path).errors
    assert "settings" in error.message
