"""Pseudonyms: viewers' ids replaced by keyed digests, the same id by the same one as long as the key is kept."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foveate.core.errors import ConfigError

_LEAST: Final = 32
_LENGTH: Final = 16
"""Bytes of a pseudonym: two of a billion viewers share one with odds below one in 10^20."""


@dataclass(frozen=True, repr=False)
class Pseudonyms:
    """Replaces ids by HMAC-SHA256 (RFC 2104) under a key, cut to 16 bytes."""

    key: bytes

    @classmethod
    def read(cls, path: Path) -> Pseudonyms:
        """Read a key file: any 32 bytes or more, such as ``head -c 32 /dev/urandom > KEYFILE`` makes.

        Raises
        ------
        ConfigError
            It cannot be read, or is too short.
        """
        try:
            key = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"key of pseudonyms '{path}': {error.strerror}") from error
        if len(key) < _LEAST:
            remedy = f"make one with 'head -c {_LEAST} /dev/urandom > {path}'"
            raise ConfigError(f"key of pseudonyms '{path}' has {len(key)} bytes, fewer than {_LEAST}: {remedy}")
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """What names the key and tells nothing of it."""
        return hashlib.sha256(b"foveate pseudonyms " + self.key).hexdigest()[:16]

    def of(self, name: str) -> str:
        """Return the pseudonym of a viewer, or of an event whose id may hold its viewer's."""
        raw = name.encode("utf-8", "surrogatepass")
        return hmac.new(self.key, raw, hashlib.sha256).digest()[:_LENGTH].hex()
