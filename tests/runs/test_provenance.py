"""Where a run's numbers come from."""

import json
import os
import shutil
import subprocess

import pytest

from disvae.runs import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one file; git reads no settings of the machine's."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    (tmp_path / "code.py").write_text("x = 1\n")
    for command in (["init", "-q"], ["add", "code.py"], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_the_users_repository_is_read_and_never_locked(repository, monkeypatch):
    """`git status` writes the index where a file's time has changed; whoever kills it then locks the repository."""
    monkeypatch.setattr(provenance, "__file__", str(repository / "runs" / "provenance.py"))
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    os.utime(repository / "code.py", (1, 1))
    index = (repository / ".git" / "index").read_bytes()
    assert provenance.commit_of_package() == {"git_commit": commit, "git_dirty": False}
    assert (repository / ".git" / "index").read_bytes() == index
    subprocess.run(["git", "status"], cwd=repository, check=True, capture_output=True)
    assert (repository / ".git" / "index").read_bytes() != index, "git would not have written it anyway"
    (repository / "code.py").write_text("x = 2\n")
    assert provenance.commit_of_package()["git_dirty"] is True


def test_a_folder_in_no_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "runs" / "provenance.py"))
    assert provenance.commit_of_package() == {"git_commit": None, "git_dirty": None}


def test_command_commit_versions_and_device_are_written_down():
    made = provenance.provenance("cpu", 2)
    assert made["packages"]["torch"]
    assert {"command", "git_commit", "git_dirty", "device", "python", "started"} <= made.keys()
    json.dumps(made)
