"""Makers of test objects, each a plain function with what matters as arguments."""

import hashlib
import io
import itertools
import json
from datetime import datetime, timedelta

from django.utils import timezone
from PIL import Image

from annotate import attachments, pools, projects
from annotate.attachments import Incoming
from annotate.imaging import harmless, sha256
from annotate.models import Attachment, Item, Membership, Pool, Project, Rater, Response, User

COUNT = itertools.count(1)


def user(name: str, **fields) -> User:
    made = User(username=name, email=f"{name}@example.org", **fields)
    made.set_unusable_password()
    made.save()
    return made


def project(by: User, name: str = "Everyday help", **settings) -> Project:
    return projects.create_project(name=name, by=by, guidelines="# Be kind\n\nPick the *better* answer.", **settings)


def member(project: Project, name: str, role: str) -> User:
    made = user(name)
    Membership.objects.create(project=project, user=made, role=role)
    return made


def item(project: Project, prompt: str = "", responses=("Yes.", "No."), **fields) -> Item:
    """An item straight in the table, routed to people with one open slot unless told otherwise."""
    number = next(COUNT)
    text = prompt or f"Question {number}?"
    messages = [{"role": "user", "content": text}]
    digest = hashlib.sha256(json.dumps([messages, responses, number]).encode()).hexdigest()
    values = {
        "external_id": f"item-{number}",
        "title": text[:140],
        "prompt": messages,
        "prompt_hash": hashlib.sha256(text.encode()).hexdigest(),
        "content_hash": digest,
        "route": Item.HUMAN,
        "overlap": 1,
        "slots_open": 1,
        **fields,
    }
    made = Item.objects.create(project=project, **values)
    Response.objects.bulk_create(
        Response(
            item=made,
            position=position,
            model=f"model-{position}",
            messages=[{"role": "assistant", "content": answer}],
            words=len(answer.split()),
        )
        for position, answer in enumerate(responses)
    )
    return made


def rater(project: Project, name: str = "mira", kind: str = Rater.HUMAN, **fields) -> Rater:
    return Rater.objects.create(project=project, name=name, kind=kind, **fields)


def pool(project: Project, name: str = "", skills=("de",), people=()) -> Pool:
    return pools.save_pool(project=project, name=name or f"pool-{next(COUNT)}", skills=skills, people=people)


def image_file(size=(80, 40), colour="red", format_: str = "PNG", **options) -> bytes:
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format_, **options)
    return file.getvalue()


def attachment(project: Project, data: bytes | None = None) -> Attachment:
    """A picture that the project has, with its file."""
    data = data or image_file()
    picture = harmless(data)
    incoming = [Incoming(picture, sha256(data), "images/x.png")]
    attachments.keep(rows=attachments.with_files(project=project, incoming=incoming))
    return Attachment.objects.get(project=project, sha256=picture.sha256)


def later(minutes: int = 30) -> datetime:
    """A moment that has not come yet."""
    return timezone.now() + timedelta(minutes=minutes)
