"""The environment that tests run in, set before Django's settings are read (`-p tests.environment`)."""

import os
import signal
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ.setdefault("PLUMBLINE_DEV", "1")
os.environ.setdefault("PLUMBLINE_VAR", tempfile.mkdtemp(prefix="plumbline-tests-"))
worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker:  # each has a database of its own, so it needs files and a queue of its own too
    os.environ["PLUMBLINE_VAR"] = str(Path(os.environ["PLUMBLINE_VAR"]) / worker)
    if os.environ.get("CELERY_BROKER_URL", "").startswith("redis"):
        server = os.environ["CELERY_BROKER_URL"].rpartition("/")[0]
        os.environ["CELERY_BROKER_URL"] = f"{server}/{10 + int(worker.removeprefix('gw')) % 6}"
os.environ.setdefault("PGOPTIONS", "-c synchronous_commit=off")  # no test pulls the plug
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # pytest-playwright runs a loop in the main thread
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share few cores, and tiny tensors gain nothing from threads
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell that starts the tests in the background has them ignore Ctrl-C, and the processes that tests stop by it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no defect of what is tested; nor may yesterday's luck decide today's run.
settings.register_profile("plumbline", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plumbline")
