"""The addresses of judges, routing, datasets, runs, models and loops."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
