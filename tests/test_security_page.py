"""Every sentence of SECURITY.md about what the program does has a test, named here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SECTIONS = (
    "Image files",
    "Video, streams and model files",
    "Files and folders",
    "Limits of the server",
    "Batches",
    "Child processes",
)

SHOWN_BY = {
    "The first bytes of a file decide its format": "image/test_reading.py::test_any_file_name",
    "An AVIF that holds pictures of another coding": (
        "image/test_avif.py::test_pictures_of_another_coding_are_refused"
    ),
    "No other loader of libvips runs": "image/test_loaders.py::test_no_other_loader_runs",
    "The numbers of pixels and bytes are checked": (
        "image/test_reading.py::test_a_900_megapixel_bomb_is_refused_by_its_header"
    ),
    "Further limits are checked": "image/test_prescan.py::test_absurd_files_are_refused_at_once",
    "Animations are refused": "image/test_reading.py::test_several_pages_are_refused",
    "Nothing that an image says in words": (
        "image/test_foreign_text.py::test_words_in_a_file_are_not_printed"
    ),
    "FFmpeg opens only the video file": ("video/test_limits.py::test_a_script_shows_no_other_file"),
    "Size and length of a clip": (
        "video/test_limits.py::test_each_limit_is_one_sentence_before_the_work"
    ),
    "A stream may not lead to another host": (
        "live/test_addresses.py::test_a_redirect_to_another_host_is_not_followed"
    ),
    "A redirect of an RTSP server": (
        "live/test_addresses.py::test_an_rtsp_redirect_to_another_host_is_not_followed"
    ),
    "Nor does one of an encrypted stream": (
        "live/test_addresses.py::test_redirects_of_encrypted_streams_likewise"
    ),
    "`cmudrn watch --publish` listens only": (
        "live/test_publishing.py::test_state_and_newest_frame"
    ),
    "It takes at most 16 clients": (
        "live/test_publishing.py::test_clients_are_limited_and_places_come_back"
    ),
    "On a loopback address it answers": (
        "live/test_publishing.py::test_another_name_than_its_own_is_refused_on_loopback"
    ),
    "Model files are parsed": "models/test_fuzz.py::test_mutated_files_are_refused_or_run",
    "A model has no data in other files": (
        "models/test_model_file.py::test_tensors_in_other_files_are_refused"
    ),
    "The native engine checks its input": (
        "engines/test_native_sanitizers.py::test_no_sanitizer_has_a_complaint"
    ),
    "Checkpoints and weight files": (
        "checkpoints/comparators/test_comparator_files.py"
        "::test_hostile_and_broken_torch_files_end_in_one_sentence"
    ),
    "`verify` reads regular files": (
        "photos/test_provenance.py::test_a_record_cannot_have_other_things_read"
    ),
    "Pipes and devices": ("cli/test_foreign_folders.py::test_no_reader_waits_or_reads_without_end"),
    "A run over a folder does not follow": (
        "cli/test_foreign_folders.py::test_links_out_of_a_folder_are_not_followed"
    ),
    "A result is never readable": (
        "cli/test_foreign_folders.py::test_results_of_private_photos_are_private"
    ),
    "Results, profiles, caches and checkpoints": "test_durability.py::test_checkpoints",
    "The bytes are on the disk before the name": (
        "test_durability.py::test_photos_and_new_folders"
    ),
    "Commands print names": "cli/test_harmless_text.py::test_no_command_prints_a_name_raw",
    "A name is no formula": "cli/test_harmless_text.py::test_cells_are_no_formulas_and_no_markup",
    "The server restores images in worker processes": (
        "server/test_workers.py::test_answers_come_one_after_another"
    ),
    "An image that takes too long": (
        "server/test_workers.py::test_a_worker_that_does_not_stop_is_replaced"
    ),
    "An image takes one of the places": "server/test_attacks.py::test_slow_uploads_take_no_place",
    "The server answers only its own origin": (
        "server/test_hostile_requests.py::test_odd_requests_get_a_short_answer"
    ),
    "The server never switches": "server/test_hostile_requests.py::test_nothing_is_upgraded",
    "Images are never written to disk": "server/test_api.py::test_nothing_stays_on_disk",
    "On one machine `cmudrn batch` starts Ray": (
        "cluster/test_ray_session.py::test_ray_on_this_machine_is_private_and_leaves_nothing"
    ),
    "Ray listens on the loopback address": (
        "cluster/test_ray_session.py::test_ray_on_this_machine_is_private_and_leaves_nothing"
    ),
    "Its folder is closed": (
        "cluster/test_ray_session.py::test_ray_on_this_machine_is_private_and_leaves_nothing"
    ),
    "Results are written atomically, and a file": (
        "cluster/test_worker.py::test_a_file_that_no_job_made_is_not_overwritten"
    ),
    "A network with operators that": (
        "engines/test_confined.py::test_a_small_file_that_asks_for_huge_tensors_is_refused"
    ),
    "This process may take half": (
        "engines/test_confined.py::test_a_network_that_does_not_end_is_ended"
    ),
    "Loops in files of other projects": (
        "engines/test_confined.py::test_loops_are_refused_before_anything_runs"
    ),
    "Large images wait": (
        "server/test_memory.py::test_large_pictures_are_restored_one_after_another"
    ),
    "Those that wait are": "server/test_memory.py::test_pictures_wait_in_turn_and_share_the_cores",
    "Processes that `study`": (
        "test_child_processes.py::test_no_process_goes_on_without_its_parent"
    ),
    "If a job is killed": "",  # a warning, not a promise
}
"""How a sentence begins -> the test that shows it, below tests/."""


def sentences(section: str) -> list[str]:
    """Return the sentences of a section; those of tables name their tests themselves."""
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.removeprefix("- ").strip() for line in body.splitlines() if line[:1] != "|"]
    text = " ".join(line for line in lines if line)
    return re.split(r"(?<=\.) (?=[A-Z`])", text)


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_sentence_has_a_test(section: str) -> None:
    for sentence in sentences(section):
        assert any(map(sentence.startswith, SHOWN_BY)), f"no test is named for: {sentence}"


def test_every_test_that_is_named_is_there() -> None:
    said = [sentence for section in SECTIONS for sentence in sentences(section)]
    for beginning, test in SHOWN_BY.items():
        assert any(sentence.startswith(beginning) for sentence in said), beginning
        if test:
            path, _, name = test.partition("::")
            assert name in functions_of(path), test


def test_every_limit_names_a_file_of_tests() -> None:
    section = PAGE.split("\n## Limits of the server\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    for row in rows:
        (path,) = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert (ROOT / path).is_file()
