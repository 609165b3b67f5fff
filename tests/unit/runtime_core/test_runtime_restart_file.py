"""What a restarted runtime still knows of its workspace."""

from sandbox_runtime.restart_file import RestartFile


def bound(path, session_uid):
    marks = RestartFile(path)
    marks.bind(session_uid)
    return marks


def test_a_restarted_runtime_knows_that_its_workspace_was_restored_and_to_which_commit(tmp_path):
    path = tmp_path / "home" / "marks.json"
    marks = bound(path, "uid-1")
    marks.save(restored=True)
    marks.save(commit="7")
    again = bound(path, "uid-1")
    assert (again.restored, again.commit) == (True, "7")


def test_marks_of_another_session_are_not_taken_over(tmp_path):
    bound(tmp_path / "marks.json", "uid-1").save(restored=True, commit="7")
    other = bound(tmp_path / "marks.json", "uid-2")
    assert (other.restored, other.commit) == (False, "")


def test_marks_that_user_code_broke_count_as_none(tmp_path):
    for text in ("", "[]", "{", '{"session_uid": "uid-1", "restored": "yes", "commit": 7}', "x" * 100_000):
        (tmp_path / "marks.json").write_text(text)
        marks = bound(tmp_path / "marks.json", "uid-1")
        assert (marks.restored, marks.commit) == (False, "")


def test_a_repeated_bind_forgets_nothing(tmp_path):
    marks = bound(tmp_path / "missing" / "marks.json", "uid-1")
    marks.save(restored=True)
    marks.bind("uid-1")
    assert marks.restored
