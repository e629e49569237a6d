"""Whole files or none, and names that are still free."""

from __future__ import annotations

import stat
import threading

import pytest

from toyml.files import beside, first_free, replace


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
