"""The annotate application: people and their judgments."""

from django.apps import AppConfig


class AnnotateConfig(AppConfig):
    name = "annotate"
