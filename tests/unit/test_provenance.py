"""What a result has to name of its surroundings."""

import hashlib

import pytest

from warmscale.records import read_json
from warmscale.training import provenance
from warmscale.training.provenance import driver_in, image_facts, modules


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


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder@U16)",
            "550.54.15",
        ),
        ("NVRM version: NVIDIA UNIX ppc64le Kernel Module  418.116.00  Mon Oct  7", "418.116.00"),
        ("", None),
    ],
)
def test_the_version_of_a_driver_is_read_whichever_kind_it_is(told, version):
    gcc = "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)"
    assert driver_in(f"{told}\n{gcc}\n") == version


def test_what_runs_beside_the_packages_on_gpus_has_the_same_keys_where_there_are_none(monkeypatch):
    monkeypatch.setattr(provenance, "nvidia_driver", lambda: None)
    assert provenance.gpu_versions() == {"cuda": None, "nccl": None, "driver": None}
    monkeypatch.setattr(provenance, "nvidia_driver", lambda: "550.54.15")
    assert provenance.gpu_versions("12.4", (2, 21, 5)) == {"cuda": "12.4", "nccl": "2.21.5", "driver": "550.54.15"}
