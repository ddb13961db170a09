from pathlib import Path

from tui.crash import MAX_LOG_BYTES, report, trim_log, write_report


def fail(secret: str) -> None:
    try:
        {}[secret]
    except KeyError as error:
        raise ValueError(f"cannot read {secret}") from error


def failure() -> Exception:
    try:
        fail("my diary")
    except ValueError as error:
        return error
    raise AssertionError


def test_a_report_names_types_and_places_and_no_text() -> None:
    text = report(failure())
    assert "ValueError" in text
    assert "KeyError" in text
    assert f"{Path(__file__).name}:" in text
    assert " in fail" in text
    assert "diary" not in text


def test_reports_are_appended_and_a_missing_folder_is_made(tmp_path: Path) -> None:
    log = tmp_path / "state" / "log"
    write_report(failure(), log)
    write_report(failure(), log)
    assert log.read_text().count("ValueError") == 2


def test_a_log_that_cannot_be_written_is_no_second_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_report(failure(), tmp_path / "file" / "log")


def test_a_log_that_has_grown_too_long_begins_afresh(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    trim_log(log)
    assert not log.exists()
    log.write_bytes(b"short")
    trim_log(log)
    assert log.read_bytes() == b"short"
