"""Sign a restored image with C2PA content credentials, on this machine and without internet.

    pip install c2pa-python
    python sign_result.py photo.jpg photo.restored.jpg signed.jpg chain.pem key.pem

chain.pem holds the certificates, the signer's first; key.pem its private key (ES256). Without a time
stamp the credentials end with the certificate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import c2pa

ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def main(source: Path, restored: Path, signed: Path, chain: Path, key: Path) -> None:
    """Write the restored image with its credentials, and print what they say."""
    edit = {
        "action": "c2pa.edited",
        "digitalSourceType": ENHANCED,
        "softwareAgent": {"name": "CMUDRN"},
        "description": "Rain and snow removed. Not evidence of what they had covered.",
    }
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
    manifest = {
        "claim_generator_info": [{"name": "CMUDRN"}],
        "title": signed.name,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [opened, edit]}}],
    }
    ingredient = {"title": source.name, "relationship": "parentOf", "label": "source"}
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(
            alg=b"es256", sign_cert=chain.read_bytes(), private_key=key.read_bytes(), ta_url=None
        )
    )
    with c2pa.Builder(manifest) as builder:
        with source.open("rb") as stream:
            builder.add_ingredient(json.dumps(ingredient), KINDS[source.suffix.lower()], stream)
        with restored.open("rb") as stream, signed.open("w+b") as target:
            builder.sign(signer, KINDS[restored.suffix.lower()], stream, target)
    with c2pa.Reader(signed) as reader:
        print(reader.json())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:6]))
