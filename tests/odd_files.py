"""What may be in place of a file, and what is said of it."""

import os

REASONS = {
    "folder": "is not an ordinary file",
    "link": "is a link",
    "broken link": "is a link",
    "pipe": "is not an ordinary file",
    "unreadable": r"cannot be opened: Permission denied\.\nIf it is yours: chmod u\+rw",
}


def replace_file(path, kind, monkeypatch):
    """Put something else in place of a file. Root may open every file, so that one is refused by hand."""
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
        (path / "x").touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.touch(0)
        monkeypatch.setattr(os, "open", refuse(os.open, path))
    else:
        target = path.with_name("target")
        path.symlink_to(target)
        if kind == "link":
            target.touch()


def refuse(open_it, path):
    def open_others(name, *rest, **named):
        if os.fspath(name) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_it(name, *rest, **named)

    return open_others
