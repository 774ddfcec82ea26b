"""How static files are served in production: compressed, and under names that carry a hash of what they hold."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Our own modules name each other by those names too, so a script never meets another's former version.

    Only ours: Django's own setting for it reads every script, and takes examples in libraries' comments for imports.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*", ((r'(?P<matched>from "(?P<url>\./[^"]+)";)', 'from "%(url)s";'),)),
    )
