"""The pipeline application: judges, routing, datasets, training."""

from django.apps import AppConfig


class PipelineConfig(AppConfig):
    name = "pipeline"

    def ready(self) -> None:
        """Offer what annotate's pages can do with the pipeline's help; annotate imports nothing from here."""
        from pipeline.routing import by_hand, moving  # models are not there before

        by_hand.offer()
        moving.offer()
