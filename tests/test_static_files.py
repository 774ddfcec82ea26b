"""Static files as production serves them: under names that carry a hash of what they hold."""

import re

import pytest
from django.core.management import call_command

from config.storage import StaticStorage


@pytest.mark.slow
@pytest.mark.database_free
def test_our_modules_name_each_other_by_their_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "config.storage.StaticStorage"}}
    call_command("collectstatic", interactive=False, verbosity=0)
    storage = StaticStorage(location=tmp_path)
    for path in (tmp_path / "js").rglob("*.js"):
        name = path.relative_to(tmp_path).as_posix()
        if re.search(r"\.[0-9a-f]{12}\.js$", name):
            continue
        hashed = (tmp_path / storage.stored_name(name)).read_text(encoding="utf-8")
        assert "\n//" not in hashed, f"{name} carries its comments along"
        for imported in re.findall(r'from ?"([^"]+)"', hashed):
            assert re.search(r"\.[0-9a-f]{12}\.js$", imported), f"{name} imports {imported}"
            assert (path.parent / imported).exists()
    assert 'from"./state.' in (tmp_path / storage.stored_name("js/workbench/main.js")).read_text(encoding="utf-8")
