"""An authenticator app: the digits that it shows (RFC 6238)."""

import base64
import hmac
import time


def code(secret: str) -> str:
    """Give the digits of now for a secret in base32."""
    counted = hmac.digest(base64.b32decode(secret), int(time.time() // 30).to_bytes(8, "big"), "sha1")
    start = counted[-1] & 15
    return f"{(int.from_bytes(counted[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
