"""Languages: who sees which, the files of translations, and that annotators' screens are complete in each."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import translation

from annotate import questions
from annotate.management.commands import messages
from annotate.models import Question
from annotate.questions import AnswerError
from annotate.templatetags.workbench import waiting_words

ROOT = Path(settings.BASE_DIR)
OTHERS = [code for code, _name in settings.LANGUAGES if code != "en"]
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z.\d]|%%[nm]|\{\w*\}|</?\w+[^>]*>")
SENTENCE = re.compile(r"""(["'`])[A-Z][a-z]+ [a-z]+[^"'`\n]*\1""")


def words_of(response) -> tuple[str, str]:
    """The language and the direction that a page says it has."""
    found = re.search(r'<html lang="([\w-]+)" dir="(\w+)"', response.content.decode())
    return found.groups()


# --- Which language a page has --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_before_signing_in_the_browser_decides_and_then_the_cookie():
    client = Client()
    sign_in = reverse("account_login")
    assert words_of(client.get(sign_in)) == ("en", "ltr")
    assert words_of(client.get(sign_in, headers={"Accept-Language": "ar,en;q=0.5"})) == ("ar", "rtl")
    assert words_of(client.get(sign_in, headers={"Accept-Language": "fr"})) == ("en", "ltr")
    answer = client.post(reverse("language"), {"language": "de", "next": sign_in})
    assert answer.url == sign_in
    assert words_of(client.get(sign_in, headers={"Accept-Language": "ar"})) == ("de", "ltr")


def test_a_user_keeps_the_language_on_every_machine(annotator, as_user):
    here, there = as_user(annotator), as_user(annotator)
    here.post(reverse("language"), {"language": "ar"})
    assert words_of(there.get(reverse("home"))) == ("ar", "rtl")
    there.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"  # left behind by somebody else on a shared machine
    assert words_of(there.get(reverse("home"))) == ("ar", "rtl")


def test_choosing_a_language_keeps_the_other_preferences(annotator, as_user):
    client = as_user(annotator)
    client.post(reverse("keys_change"), {"action": "skip", "key": "%"})
    client.post(reverse("language"), {"language": "de"})
    annotator.refresh_from_db()
    assert annotator.preferences == {"keys": {"skip": "%"}, "language": "de"}


@pytest.mark.parametrize("code", ["xx", "", "../en"])
def test_a_language_that_is_not_offered_changes_nothing(code, annotator, as_user):
    client = as_user(annotator)
    answer = client.post(reverse("language"), {"language": code})
    annotator.refresh_from_db()
    assert (answer.status_code, annotator.preferences, "django_language" in client.cookies) == (302, {}, False)


def test_a_language_that_was_dropped_since_is_not_used(annotator, as_user):
    annotator.preferences = {"language": "tlh"}
    annotator.save()
    assert words_of(as_user(annotator).get(reverse("home"))) == ("en", "ltr")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/", ""])
def test_the_switch_leads_back_to_this_site_only(address):
    assert Client().post(reverse("language"), {"language": "de", "next": address}).url == reverse("home")


# --- The files of translations --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gathered():
    return messages.gather()


def forms(message) -> list[str]:
    return list(message.string) if isinstance(message.string, tuple) else [message.string]


@pytest.mark.parametrize("code", OTHERS)
def test_what_is_compiled_is_what_is_translated(code):
    """`make messages` was run after the last change of a translation."""
    assert messages.po_path(code).with_suffix(".mo").read_bytes() == messages.compiled(messages.read(code))


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_placeholders_of_its_text(code):
    wrong = []
    for message in messages.read(code):
        if not message.id or not messages.is_translated(message):
            continue
        texts = message.id if isinstance(message.id, tuple) else (message.id,)
        allowed = set().union(*(PLACEHOLDER.findall(text) for text in texts))
        # “one” and “two” are often said without the number; the form for many must have every placeholder.
        needed = set(PLACEHOLDER.findall(texts[-1]))
        given = [set(PLACEHOLDER.findall(form)) for form in forms(message)]
        if not set().union(*given) <= allowed or given[-1] != needed:
            wrong.append(message.id)
    assert wrong == []


def test_every_plural_has_all_forms_of_its_language():
    with translation.override("ar"):
        arabic = json.loads(waiting_words())
    assert list(arabic) == ["zero", "one", "two", "few", "many", "other"]
    for code, count in (("de", 2), ("ar", 6)):
        catalog = messages.read(code)
        plurals = [message for message in catalog if isinstance(message.id, tuple)]
        assert plurals
        assert {len(message.string) for message in plurals} == {count}


def test_texts_of_templates_and_of_code_are_found(gathered):
    ids = {message.id for message in gathered}
    assert "Submit, next" in ids  # translate, in a template
    assert ("%(words)s word", "%(words)s words") in ids  # blocktranslate count
    assert "Flag a problem; the item stays with you" in ids  # gettext_lazy


def test_scripts_hold_no_sentences():
    """What scripts say stands in the templates, where it is translated."""
    wrong = []
    for path in sorted((ROOT / "static" / "js").rglob("*.js")):
        code = re.sub(r"(?m)(^|\s)//.*$", "", path.read_text(encoding="utf-8"))
        wrong += [f"{path.name}: {found[0]}" for found in SENTENCE.finditer(code)]
    assert wrong == []


# --- Annotators' screens are complete -------------------------------------------------------------------------

# The pages that annotators open; what these include and extend is found by following them.
PAGES = [
    "403.html", "404.html", "500.html",
    *(f"account/{path.name}" for path in sorted((ROOT / "templates/account").glob("*.html"))),
    "annotate/home.html", "annotate/guidelines.html", "annotate/history.html", "annotate/keys.html",
    "annotate/label.html", "annotate/_keys_table.html", "annotate/_flagged.html", "annotate/_guidelines.html",
    "annotate/_sources.html", "annotate/_differences.html", "annotate/quality/mine.html",
    "annotate/quality/discussion.html",
]  # fmt: skip
# What Python says on them, and in e-mails.
CODE = [
    "account_forms.py", "accounts.py", "forms.py", "history.py", "keys.py", "navigation.py", "queries.py",
    "rendering.py", "models/flags.py", "models/projects.py", "templatetags/figures.py", "templatetags/workbench.py",
    "views/accounts.py", "views/labelling.py", "views/mine.py", "views/preferences.py", "quality/discussion.py",
]  # fmt: skip


def on_annotators_screens() -> set[str]:
    """The files, from the project's folder, whose texts an annotator can see."""
    waiting, found = list(PAGES), set()
    while waiting:
        name = waiting.pop()
        if f"templates/{name}" not in found:
            found.add(f"templates/{name}")
            text = (ROOT / "templates" / name).read_text(encoding="utf-8")
            waiting += re.findall(r'{% (?:include|extends|stencil) "([^"]+)"', text)
    asked = [*(ROOT / "annotate/presenting").glob("*.py"), *(ROOT / "annotate/questions").glob("*.py")]
    mails = (ROOT / "templates/account").rglob("*.txt")
    written = {path.relative_to(ROOT).as_posix() for path in [*asked, *mails]}
    return found | {f"annotate/{name}" for name in CODE} | written


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_that_an_annotator_sees_is_translated(code, gathered):
    """`make messages` was run after the last change of a text, and what is new was translated."""
    screens = on_annotators_screens()
    shown = {
        message.id for message in gathered if message.id and screens & {file for file, _line in message.locations}
    }
    translated = {message.id for message in messages.read(code) if messages.is_translated(message)}
    assert len(shown) > 300
    assert sorted(map(str, shown - translated)) == []


def test_an_annotators_page_has_no_text_outside_of_the_translations():
    """Words between tags, with neither a template tag nor a variable around them."""
    bare = re.compile(r">\s*([A-Za-z][a-z]+(?:[ ,.’'-]+[A-Za-z]+)*[.?!…]?)\s*<")
    wrong = []
    for name in sorted(on_annotators_screens()):
        if name.endswith(".html"):
            text = (ROOT / name).read_text(encoding="utf-8")
            text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "¤", text, flags=re.DOTALL)
            text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "¤", text, flags=re.DOTALL)
            wrong += [f"{name}: {found}" for found in bare.findall(text) if found not in ("Plumbline", "Esc", "Alt")]
    assert wrong == []


def test_why_an_answer_is_not_taken_is_said_in_the_reader_s_language():
    """Each AnswerError is made of a text that is translated, never of bare English."""
    bare = []
    for path in [*(ROOT / "annotate/questions").glob("*.py"), *(ROOT / "annotate/presenting").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AnswerError":
                said = node.args[0].left if isinstance(node.args[0], ast.BinOp) else node.args[0]
                if not isinstance(said, ast.Call):
                    bare.append(f"{path.name}:{node.lineno}")
    assert bare == []
    with translation.override("de"), pytest.raises(AnswerError, match="„Order“: 7 ist kein Rang von 1 bis 2."):
        questions.check_answer(Question(name="o", kind="ranking", title="Order"), [7, 1], questions.Subject(2))


# --- Managers' screens are marked -----------------------------------------------------------------------------


def said_bare(tree: ast.AST) -> Iterator[ast.expr]:
    """What messages, errors of forms, and labels of their fields say without being marked for translation."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function, given = ast.unparse(node.func), node.args
        if function.startswith("messages.") or function.endswith(".add_error"):
            said = given[1:2]
        elif function.endswith("ValidationError"):
            said = given[:1]
        elif function.startswith("forms.") or function.endswith("Field"):
            said = [each.value for each in node.keywords if each.arg in ("label", "help_text", "empty_label")]
        else:
            continue
        yield from (each for each in said if isinstance(each, ast.JoinedStr) or is_text(each))


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and any(map(str.isalpha, node.value))


def test_what_forms_and_messages_say_is_marked_for_translation():
    bare = []
    for folder in ("annotate", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not {"migrations", "ml", "commands", "models"} & set(path.relative_to(ROOT).parts):
                found = said_bare(ast.parse(path.read_text(encoding="utf-8")))
                bare += [f"{path.relative_to(ROOT)}:{each.lineno}: {ast.unparse(each)[:80]}" for each in found]
    assert bare == []


# Being written anew just now: their words are marked with them.
NOT_YET = {"judge.html", "judges.html", "_judge_live.html", "_routing_live.html"}


def words_outside(text: str) -> list[str]:
    """What a template says between its tags, and in attributes that are read, outside of the translations."""
    text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}|{#.*?#}", "", text, flags=re.DOTALL)
    text = re.sub(r"{%.*?%}|{{.*?}}", "¤", text, flags=re.DOTALL)
    text = re.sub(r"<(script|style|pre|code|kbd)\b.*?</\1>", "", text, flags=re.DOTALL)
    said = re.findall(r'>([^<>]*)<|(?:aria-label|title|placeholder|alt|data-confirm)="([^"]*)"', text)
    found = [" ".join((between or attribute).split()) for between, attribute in said]
    return [
        words for words in found if re.search(r"[A-Za-z]{2}", re.sub(r"Plumbline|python -m \S+|run\.json", "", words))
    ]


def test_every_page_has_its_words_marked_for_translation():
    wrong = []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        if path.name not in NOT_YET:
            found = words_outside(path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(ROOT)}: {words}" for words in found]
    assert wrong == []
