"""Every address of the site."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("annotate.account_urls")),
    path("", include("annotate.urls")),
    path("", include("pipeline.urls")),
]
