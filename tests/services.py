"""Weights & Biases and Trackio, as far as lm-eval's loggers touch them; what they are told stands in ``told``."""

import contextlib
import importlib.machinery
import io
import json
import sys
import types


def make_module(monkeypatch, name, **contents):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)
    return module


class FakeWandb:
    """The part of the package wandb that lm-eval's logger touches; what it is told stands in ``told``."""

    def __init__(self, monkeypatch):
        self.told = []
        self.module = make_module(
            monkeypatch,
            "wandb",
            __version__="0.31.0",
            run=None,
            init=self.init,
            Table=FakeTable,
            Artifact=FakeArtifact,
        )
        for name in ("wandb.sdk", "wandb.sdk.lib"):
            make_module(monkeypatch, name)
        make_module(monkeypatch, "wandb.sdk.lib.printer", new_printer=lambda: None)

    def init(self, **settings):
        self.told.append(("init", settings))
        note = lambda kind: lambda *values, **more: self.told.append((kind, *values, more))  # noqa: E731
        self.module.run = types.SimpleNamespace(
            config=types.SimpleNamespace(update=note("config")),
            summary=types.SimpleNamespace(update=note("summary")),
            log=note("log"),
            log_artifact=note("artifact"),
            finish=self.finish,
        )
        return self.module.run

    def finish(self):
        self.told.append(("finish",))
        self.module.run = None


class FakeTable:
    def __init__(self, columns):
        self.columns, self.rows = columns, []

    def add_data(self, *row):
        self.rows.append(row)


class FakeArtifact:
    def __init__(self, name, type):
        self.name, self.type, self.files = name, type, {}

    @contextlib.contextmanager
    def new_file(self, name, mode, encoding):
        stream = io.StringIO()
        yield stream
        self.files[name] = json.loads(stream.getvalue())


class FakeTrackio:
    def __init__(self, monkeypatch):
        self.told = []
        note = lambda kind: lambda *values, **more: self.told.append((kind, *values, more))  # noqa: E731
        make_module(
            monkeypatch, "trackio", init=note("init"), log=note("log"), finish=note("finish"),
            config=types.SimpleNamespace(update=note("config")), Trace=lambda messages, metadata: (messages, metadata),
        )  # fmt: skip
