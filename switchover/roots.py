"""The certificate authorities that every TLS connection of ours trusts."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache


def roots() -> ssl.SSLContext:
    """Those that OpenSSL finds by default, or in the file and folder that SSL_CERT_FILE and SSL_CERT_DIR name."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _read(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Read once: it takes 20 ms of the loop."""
    return ssl.create_default_context()
