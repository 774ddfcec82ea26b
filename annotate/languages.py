"""The language of a page: what the user chose, else this browser's cookie, else what the browser asks for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import translation

from annotate import preferences
from annotate.models import User

Handler = Callable[[HttpRequest], HttpResponse]


def own_language(get_response: Handler) -> Handler:
    """Middleware, after Django's own: the language that a signed-in user chose comes before cookie and browser."""

    def handle(request: HttpRequest) -> HttpResponse:
        if isinstance(request.user, User) and (code := preferences.language(request.user)):
            translation.activate(code)
            request.LANGUAGE_CODE = code
        return get_response(request)

    return handle
