"""The pictures of a project, for its members only."""

from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from annotate import access, attachments
from annotate.models import Attachment

# What lies under a hash never changes; “private” keeps it out of caches that others share.
FOR_GOOD = f"private, max-age={60 * 60 * 24 * 365}, immutable"


@require_safe
def show(request: HttpRequest, slug: str, sha256: str) -> HttpResponseBase:
    """One picture; 304 to a browser that has it already."""
    found = access.attachment(access.signed_in(request), slug, sha256)
    etag = f'"{found.sha256}"'
    response = get_conditional_response(request, etag=etag) or sent(found)
    response["ETag"] = etag
    response["Cache-Control"] = FOR_GOOD
    response["X-Content-Type-Options"] = "nosniff"
    return response


def sent(found: Attachment) -> FileResponse:
    """The picture's bytes. Raises Http404 where its file is gone."""
    try:
        file = attachments.opened(found.sha256)
    except FileNotFoundError:
        raise Http404("The picture's file is gone.") from None
    return FileResponse(file, content_type=found.content_type, filename=f"{found.sha256}.webp")
