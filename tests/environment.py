"""The environment that tests run in, set before Django's settings are read (`-p tests.environment`)."""

import os
import tempfile

os.environ.setdefault("PLUMBLINE_DEV", "1")
os.environ.setdefault("PLUMBLINE_VAR", tempfile.mkdtemp(prefix="plumbline-tests-"))
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # pytest-playwright runs a loop in the main thread
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
