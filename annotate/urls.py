"""The addresses of people and judgments."""

from django.urls import path

from annotate.views import accounts, acts, health, importing, items, labelling, projects

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
    path("p/<slug:slug>/label/", labelling.label, name="label"),
    path("p/<slug:slug>/label/back/", labelling.back, name="label_back"),
    path("p/<slug:slug>/label/waiting/", labelling.waiting, name="label_waiting"),
    path("p/<slug:slug>/label/guidelines/", labelling.guidelines, name="label_guidelines"),
    path("p/<slug:slug>/label/<int:pk>/", labelling.again, name="label_again"),
    path("p/<slug:slug>/label/<int:pk>/submit/", labelling.submit, name="label_submit"),
    path("p/<slug:slug>/label/<int:pk>/draft/", labelling.draft, name="label_draft"),
    path("p/<slug:slug>/label/<int:pk>/skip/", labelling.skip, name="label_skip"),
    path("p/<slug:slug>/items/", items.index, name="items"),
    path("p/<slug:slug>/items/<int:pk>/", items.show, name="item"),
    path("p/<slug:slug>/items/<int:pk>/pool/", items.pool, name="item_pool"),
    path("p/<slug:slug>/import/", importing.new, name="import_new"),
    path("p/<slug:slug>/import/<int:pk>/", importing.show, name="import"),
    path("p/<slug:slug>/import/<int:pk>/preview/", importing.preview, name="import_preview"),
    path("p/<slug:slug>/import/<int:pk>/start/", importing.start, name="import_start"),
    path("p/<slug:slug>/import/<int:pk>/progress/", importing.progress, name="import_progress"),
    path("p/<slug:slug>/import/<int:pk>/stop/", importing.stop, name="import_stop"),
    path("p/<slug:slug>/import/<int:pk>/discard/", importing.discard, name="import_discard"),
    path("acts/", acts.everywhere, name="all_acts"),
    path("p/<slug:slug>/acts/", acts.index, name="acts"),
    path("p/<slug:slug>/people/", accounts.people, name="people"),
    path("p/<slug:slug>/people/invite/", accounts.invite, name="people_invite"),
    path("p/<slug:slug>/people/<int:pk>/", accounts.member, name="people_member"),
    path("p/<slug:slug>/people/pools/new/", accounts.pool_new, name="pool_new"),
    path("p/<slug:slug>/people/pools/<int:pk>/", accounts.pool, name="pool"),
    path("p/<slug:slug>/people/<int:pk>/role/", accounts.role, name="people_role"),
    path("p/<slug:slug>/people/invitations/<int:pk>/withdraw/", accounts.withdraw, name="invitation_withdraw"),
]
