"""The example of a reverse proxy in the docs, run with the nginx of this machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.serving import serving

from cmudrn.image import Picture, encode_picture

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
TOKEN = "correct horse battery"
PNG = encode_picture(Picture(np.full((12, 16, 3), 99, np.uint8), format="png"))
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
NAME = "restore.example"

pytestmark = [
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def proxy(folder: Path, behind: str) -> Iterator[str]:
    """Yield the address of nginx with the example, in front of an address."""
    certificate = ["-keyout", "key.pem", "-out", "certificate.pem", "-subj", f"/CN={NAME}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run([*command, *certificate], cwd=folder, check=True, capture_output=True)
    port, text = free_port(), EXAMPLE.read_text(encoding="utf-8")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("http://127.0.0.1:8000", behind),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    arguments = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
    running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        yield f"https://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(20)
        assert running.stderr is not None
        running.stderr.close()


def test_a_proxy_as_in_the_docs_adds_tls_and_keeps_the_token(
    tmp_path: Path, darkening_model: Path
) -> None:
    with (
        serving(darkening_model, token=TOKEN, hosts=[NAME]) as behind,
        proxy(tmp_path, behind) as address,
        httpx.Client(base_url=address, verify=False, headers={"Host": NAME}, timeout=300) as client,
    ):
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 401
        assert client.get("/", headers=SHOWN).headers["content-type"].startswith("text/html")
        assert client.get("/metrics", headers=SHOWN).status_code == 404
        restored = client.post("/restore", content=PNG, headers=SHOWN)
        assert restored.status_code == 200 and restored.content[:4] == b"\x89PNG"
        own = {**SHOWN, "Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/restore", content=PNG, headers=own).status_code == 200
        foreign = {**SHOWN, "Origin": "https://evil.example"}
        assert client.post("/restore", content=PNG, headers=foreign).status_code == 403
        large = client.post("/restore", content=bytes(65 << 20), headers=SHOWN)
        assert large.status_code == 413
        assert client.get("/models", headers={**SHOWN, "Host": "evil.example"}).status_code == 421
