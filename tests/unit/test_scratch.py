"""Temporary folders of dead processes are removed; those of the living, and of who is unknown, are not."""

from __future__ import annotations

import os
from pathlib import Path

from foveate_cluster.scratch import OWNER, scratch_folder


def left_behind(parent: Path, name: str, *, locked_once: bool = True) -> Path:
    folder = parent / name
    (folder / "node").mkdir(parents=True)
    if locked_once:
        (folder / OWNER).touch()
    return folder


def test_folders_of_dead_processes_are_removed_at_the_next_start(tmp_path: Path) -> None:
    dead, other = left_behind(tmp_path, "fv-dead"), left_behind(tmp_path, "else-dead")
    used = left_behind(tmp_path, "fv-used")
    young, old = (left_behind(tmp_path, name, locked_once=False) for name in ("fv-young", "fv-old"))
    os.utime(old, (0, 0))
    link = tmp_path / "fv-link"
    link.symlink_to(other)
    with scratch_folder("fv-", tmp_path) as living, scratch_folder("fv-", tmp_path, lambda one: one == used):
        assert living.is_dir()
        assert not dead.exists()
        assert not old.exists()
        assert young.is_dir()
        assert other.is_dir()
    assert not living.exists()


def test_a_folder_that_is_in_use_without_its_owner_stays(tmp_path: Path) -> None:
    used, dead = left_behind(tmp_path, "fv-used"), left_behind(tmp_path, "fv-dead")
    with scratch_folder("fv-", tmp_path, lambda one: one == used):
        assert used.is_dir()
        assert not dead.exists()
