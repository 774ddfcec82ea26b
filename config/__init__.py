"""Settings, addresses and the Celery application. `config/env.py` alone reads the environment."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
