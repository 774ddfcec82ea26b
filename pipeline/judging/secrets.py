"""Keys of endpoints, encrypted at rest with a key made from SECRET_KEY, and shown to nobody."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"plumbline: keys of judges"  # another purpose derives another key from the same SECRET_KEY


class SecretError(Exception):
    """A kept key cannot be read; the message says why and what to do."""


def box() -> Fernet:
    """The lock that this installation's SECRET_KEY opens."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def encrypt(secret: str) -> str:
    """A secret as text that only this SECRET_KEY opens; nothing stays nothing."""
    return box().encrypt(secret.encode()).decode() if secret else ""


def decrypt(encrypted: str) -> str:
    """The secret in `encrypted`. Raises SecretError when SECRET_KEY has changed since."""
    if not encrypted:
        return ""
    try:
        return box().decrypt(encrypted.encode()).decode()
    except InvalidToken:
        raise SecretError(
            "The endpoint's key cannot be read, because SECRET_KEY has changed since it was saved: "
            "enter the key again in the judge's settings."
        ) from None
