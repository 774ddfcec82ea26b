"""The pipeline application: judges, routing, datasets, training."""

from django.apps import AppConfig


class PipelineConfig(AppConfig):
    name = "pipeline"
