"""The addresses of judges, routing, datasets, runs, models and loops."""

from django.urls import path

from pipeline.views import cost, datasets, generate, item_facts, judges, loops, models, routing, runs

urlpatterns = [
    path("p/<slug:slug>/items/<int:pk>/facts/", item_facts.show, name="item_pipeline"),
    path("p/<slug:slug>/cost/", cost.show, name="project_cost"),
    path("p/<slug:slug>/judges/", judges.index, name="judges"),
    path("p/<slug:slug>/judges/new/", judges.new, name="judge_new"),
    path("p/<slug:slug>/judges/<int:pk>/", judges.show, name="judge"),
    path("p/<slug:slug>/judges/<int:pk>/live/", judges.live, name="judge_live"),
    path("p/<slug:slug>/judges/<int:pk>/edit/", judges.edit, name="judge_edit"),
    path("p/<slug:slug>/judges/<int:pk>/switch/", judges.switch, name="judge_switch"),
    path("p/<slug:slug>/judges/<int:pk>/try/", judges.try_it, name="judge_try"),
    path("p/<slug:slug>/judges/<int:pk>/ask/", judges.ask, name="judge_ask"),
    path("p/<slug:slug>/routing/", routing.index, name="routing"),
    path("p/<slug:slug>/routing/live/", routing.live, name="routing_live"),
    path("p/<slug:slug>/routing/now/", routing.route_now, name="routing_now"),
    path("p/<slug:slug>/datasets/", datasets.index, name="datasets"),
    path("p/<slug:slug>/datasets/table/", datasets.table, name="datasets_table"),
    path("p/<slug:slug>/datasets/<int:pk>/", datasets.show, name="snapshot"),
    path("p/<slug:slug>/datasets/<int:pk>/zip/", datasets.download, name="snapshot_zip"),
    path("p/<slug:slug>/datasets/<int:pk>/file/", datasets.file, name="snapshot_file"),
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
