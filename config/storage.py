"""How static files are served in production: compressed, and under names that carry a hash of what they hold."""

from django.core.files.base import ContentFile, File
from rjsmin import jsmin
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Our own modules name each other by those names too, so a script never meets another's former version.

    Only ours: Django's own setting for it reads every script, and takes examples in libraries' comments for imports.
    They go out without their comments: those are for who reads the source, and the workbench must load fast.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*", ((r'(?P<matched>from ?"(?P<url>\./[^"]+)")', 'from "%(url)s"'),)),
    )

    def _save(self, name: str, content: File) -> str:
        if name.startswith("js/") and name.endswith(".js"):
            content = ContentFile(jsmin(b"".join(content.chunks())), name)
        return super()._save(name, content)
