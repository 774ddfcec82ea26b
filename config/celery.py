"""The Celery application: short work on the `default` queue, stage processes on `training`.

The broker only wakes workers. What is due stands in the database, and `pipeline.tasks.wake` looks there on
every beat, so a lost or doubled message costs a delay and nothing else.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("plumbline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
