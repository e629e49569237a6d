"""Whole files or none, and names that are still free."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from toyml.errors import UserError
from toyml.files import beside, first_free, open_private, private_scratch, read_json, replace


def test_replace_writes_text_as_utf8_and_bytes_as_they_are(tmp_path):
    replace(tmp_path / "a.txt", "λ\r\n−1\n")
    replace(tmp_path / "b.bin", b"\x00\xff\n")
    assert (tmp_path / "a.txt").read_bytes() == "λ\r\n−1\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff\n"


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    replace(tmp_path / "a.txt", "a")
    (tmp_path / "b.txt").write_text("b")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")]
    assert modes[0] == modes[1]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway():
        with beside(path) as draft:
            draft.write_text("half")
            (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_text_that_cannot_be_encoded_touches_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        replace(tmp_path / "a.txt", "\ud800")
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_and_its_target_is_left_alone(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    replace(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"


def test_writers_at_the_same_time_each_have_a_draft_of_their_own(tmp_path):
    path = tmp_path / "a.txt"
    contents = [str(i) * 50_000 for i in range(8)]
    threads = [threading.Thread(target=replace, args=(path, text)) for text in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_first_free_counts_past_files_and_dangling_links(tmp_path):
    path = tmp_path / "rows.after_5.bin"
    assert first_free(path) == tmp_path / "rows.after_5.0.bin"
    (tmp_path / "rows.after_5.0.bin").touch()
    (tmp_path / "rows.after_5.1.bin").symlink_to(tmp_path / "nowhere")
    assert first_free(path) == tmp_path / "rows.after_5.2.bin"


@pytest.mark.parametrize(
    "text",
    ["", "[", "NaN", "-Infinity", "[1e400]", "[" * 60 + "]" * 60, "[" * 10**6, "9" * 5000, "\xff"],
    ids=lambda text: text[:10],
)
def test_what_is_no_json_of_ours_is_one_line(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="is not readable as JSON") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_a_file_is_measured_before_it_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([1, 2.5, "λ"]))
    assert read_json(path, path.stat().st_size) == [1, 2.5, "λ"]
    with pytest.raises(UserError, match=r"it has \d+ bytes, and at most 5 are read"):
        read_json(path, 5)
    os.truncate(path, 5 * 10**12)
    with pytest.raises(UserError, match=r"it has 5,000,000,000,000 bytes"):
        read_json(path)


def test_a_private_folder_is_made_for_its_owner_alone(kernels):
    (kernels / "a").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        os.close(open_private(kernels / "a/b/c"))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((kernels / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o700, 0o700]


@pytest.mark.parametrize(("mode", "fits"), [(0o755, True), (0o1777, True), (0o777, False)])
def test_what_is_made_anew_may_lie_in_a_sticky_folder(mode, fits, kernels, monkeypatch):
    place = kernels / "tmp"
    place.mkdir()
    place.chmod(mode)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    if fits:
        with private_scratch() as scratch:
            assert scratch.parent == Path(place)
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        assert list(place.iterdir()) == []
    else:
        with pytest.raises(PermissionError, match="other users may write"), private_scratch():
            pass
