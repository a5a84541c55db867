import pytest

from gptalt_eval.machine.consents import allow, consents_file, is_allowed


def test_a_consent_is_for_exact_content():
    assert not is_allowed("task code /a.yaml", "1" * 64)
    allow("task code /a.yaml", "1" * 64)
    assert is_allowed("task code /a.yaml", "1" * 64)
    assert not is_allowed("task code /a.yaml", "2" * 64), "changed since"
    assert not is_allowed("task code /b.yaml", "1" * 64), "another file with the same content"
    allow("task code /b.yaml", "3" * 64)
    assert is_allowed("task code /a.yaml", "1" * 64) and is_allowed("task code /b.yaml", "3" * 64)


def test_only_the_user_can_read_and_write_them():
    allow("x", "1")
    assert consents_file().stat().st_mode & 0o777 == 0o600
    assert consents_file().parent.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_others_could_have_written_is_no_consent(place):
    allow("x", "1")
    path = consents_file() if place == "file" else consents_file().parent
    path.chmod(path.stat().st_mode | 0o022)
    assert not is_allowed("x", "1")


@pytest.mark.parametrize("content", ["", "[", "[]", '"x"', "[" * 200_000, "\0"])
def test_a_damaged_file_is_no_consent_and_is_replaced(content):
    allow("x", "1")
    consents_file().write_text(content)
    assert not is_allowed("x", "1")
    allow("x", "1")
    assert is_allowed("x", "1")


def test_where_nothing_can_be_saved_nothing_fails(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    allow("x", "1")
    assert not is_allowed("x", "1")
