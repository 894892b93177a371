"""What a result has to name of its surroundings."""

import hashlib

from warmscale.records import read_json
from warmscale.training.provenance import image_facts, modules


def test_an_image_is_known_by_its_digest_which_is_made_once(tmp_path):
    image, known = tmp_path / "ranks.sif", tmp_path / "images.json"
    image.write_bytes(b"an image")
    digest = hashlib.sha256(b"an image").hexdigest()
    assert image_facts(image, known) == {"path": str(image), "sha256": digest}
    assert len(read_json(known)) == 1
    known.write_text(known.read_text().replace(digest, "kept"))
    assert image_facts(image, known)["sha256"] == "kept"
    image.write_bytes(b"another image")
    assert image_facts(image, known)["sha256"] == hashlib.sha256(b"another image").hexdigest()


def test_an_unpacked_image_has_no_digest(tmp_path):
    assert image_facts(tmp_path, tmp_path / "images.json")["sha256"] is None


def test_loaded_modules_are_named_in_order(monkeypatch):
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:cuda/12.4")
    assert modules() == ["gcc/12", "cuda/12.4"]
    monkeypatch.delenv("LOADEDMODULES")
    assert modules() == []
