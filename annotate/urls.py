"""The addresses of people and judgments."""

from django.urls import path

from annotate.views import accounts, health, projects

urlpatterns = [
    path("health/", health.health, name="health"),
    path("invitation/<str:token>/", accounts.invitation, name="invitation"),
    path("", projects.home, name="home"),
    path("projects/new/", projects.create, name="project_new"),
    path("p/<slug:slug>/", projects.show, name="project"),
    path("p/<slug:slug>/live/", projects.live, name="project_live"),
    path("p/<slug:slug>/settings/", projects.settings, name="project_settings"),
    path("p/<slug:slug>/guidelines/", projects.guidelines, name="guidelines"),
    path("p/<slug:slug>/questions/", projects.questions, name="questions"),
    path("p/<slug:slug>/people/", accounts.people, name="people"),
    path("p/<slug:slug>/people/invite/", accounts.invite, name="people_invite"),
    path("p/<slug:slug>/people/<int:pk>/role/", accounts.role, name="people_role"),
    path("p/<slug:slug>/people/invitations/<int:pk>/withdraw/", accounts.withdraw, name="invitation_withdraw"),
]
