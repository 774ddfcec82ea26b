"""The addresses of judges, routing, datasets, runs, models and loops."""

from django.urls import path

from pipeline.views import generate, loops, models, runs

urlpatterns = [
    path("p/<slug:slug>/generate/", generate.generate, name="generate"),
    path("p/<slug:slug>/train/", runs.train, name="train"),
    path("p/<slug:slug>/runs/", runs.index, name="runs"),
    path("p/<slug:slug>/runs/table/", runs.table, name="runs_table"),
    path("p/<slug:slug>/runs/<int:pk>/", runs.show, name="run"),
    path("p/<slug:slug>/runs/<int:pk>/live/", runs.live, name="run_live"),
    path("p/<slug:slug>/runs/<int:pk>/metrics/", runs.metrics, name="run_metrics"),
    path("p/<slug:slug>/runs/<int:pk>/log/", runs.log, name="run_log"),
    path("p/<slug:slug>/runs/<int:pk>/stop/", runs.stop, name="run_stop"),
    path("p/<slug:slug>/runs/<int:pk>/resume/", runs.resume, name="run_resume"),
    path("p/<slug:slug>/models/", models.index, name="models"),
    path("p/<slug:slug>/models/<int:pk>/", models.show, name="model"),
    path("p/<slug:slug>/models/<int:pk>/promote/", models.promote, name="model_promote"),
    path("p/<slug:slug>/models/<int:pk>/retire/", models.retire, name="model_retire"),
    path("p/<slug:slug>/models/<int:pk>/evaluate/", models.evaluate, name="model_evaluate"),
    path("p/<slug:slug>/loops/", loops.index, name="loops"),
    path("p/<slug:slug>/loops/<int:pk>/pause/", loops.pause, name="loop_pause"),
    path("p/<slug:slug>/loops/<int:pk>/delete/", loops.delete, name="loop_delete"),
]
