"""What the hub refuses, as the user reads it: while a request is planned, and while a download runs."""

import socket

import pytest
from hub_server import COMMIT

from gptalt_eval.contract.errors import GptaltError
from gptalt_eval.contract.models import Model
from gptalt_eval.contract.spec import make_spec
from gptalt_eval.machine.hub import find_storage
from gptalt_eval.planning.hub.obtain import obtain_files
from gptalt_eval.planning.weights import check_weights

HF = Model("hf", "", "", "")
SHARD = r"resolve/.*00001"


def check(**args):
    check_weights(
        HF, make_spec({"model": "hf", "tasks": "piqa", "model_args": {"pretrained": "org/tiny", **args}})
    )


def refuse_plan(**args):
    with pytest.raises(GptaltError) as caught:
        check(**args)
    return str(caught.value)


def refuse_run(shown, **args):
    with pytest.raises(GptaltError) as caught:
        obtain_files(HF, {"pretrained": "org/tiny", **args}, shown.say, shown.note)
    return str(caught.value)


@pytest.fixture
def refuse(shown):
    """The message of the planned request, which is that of the run too."""

    def both(**args):
        text = refuse_plan(**args)
        assert refuse_run(shown, **args) == text
        return text

    return both


def test_a_gated_model_says_where_its_licence_is_accepted(model, hub, shown, monkeypatch):
    model.gated = True
    text = refuse_plan()
    assert text == refuse_run(shown)
    assert "is gated" in text and f"Log in at {hub.url}/org/tiny and accept it" in text and "HF_TOKEN" in text
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrong")
    assert "is gated" in refuse_plan()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    check()
    obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)
    assert "gated" in shown.notes[-1]
    check(token="hf_wrong")  # a complete copy is here


def test_a_token_among_the_arguments_is_used(model, hub, shown):
    model.gated = True
    check(token=hub.token)
    assert obtain_files(HF, {"pretrained": "org/tiny", "token": hub.token}, shown.say, shown.note).args


def test_a_token_never_stands_in_a_message(model, hub, shown, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz")
    for answer in (401, 403, 404, 418, 500):
        hub.answers["*", "."] = [answer] * 50
        text = refuse_run(shown)
        assert "hf_abc" not in text and "Traceback" not in text
    out = "".join(capfd.readouterr())
    assert "hf_abc" not in out + "".join(shown.notes + shown.steps)


def test_no_such_model(hub, refuse):
    text = refuse()
    assert "The model 'org/tiny' is not on the hub (127.0.0.1), or it is private." in text
    assert "Give OWNER/NAME" in refuse(pretrained="tiny")
    for wrong in ("org/ti ny", "org/..", "org/a--b", "modelscope:tiny"):
        assert "no repository can have this name" in refuse(pretrained=wrong)


def test_no_such_tokenizer_or_adapter(model, refuse):
    assert "The tokenizer 'org/words' is not on the hub" in refuse(tokenizer="org/words")
    assert "The adapter 'org/adapter' is not on the hub" in refuse(peft="org/adapter")


def test_no_such_revision(model, refuse):
    assert "has no revision 'v9'" in refuse(revision="v9")


def test_asked_too_often_is_waited_for(model, hub, shown):
    hub.answers["GET", "/api/"] = [(429, {"Retry-After": "7"}), 429]
    check()  # nothing is waited while a request is planned, and nothing is refused
    assert hub.pauses == []
    hub.answers["GET", "/api/"] = [(429, {"Retry-After": "7"}), 429]
    obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)
    assert hub.pauses == [7, 2]
    assert shown.notes[0] == "org/tiny: the hub was asked too often; asking again in 7 s"


def test_asked_too_often_for_a_file(model, hub, shown):
    hub.answers["GET", SHARD] = [(429, {"Retry-After": "3"}), 429]
    obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)
    assert hub.pauses == [3, 2]
    assert "model-00001-of-00002.safetensors: the hub was asked too often; going on in 3 s" in shown.notes


@pytest.mark.parametrize("where", ["/api/", SHARD, "resolve/.*config.json"])
def test_after_much_waiting_it_is_said(model, hub, shown, where):
    hub.answers["*", where] = [429] * 100
    text = refuse_run(shown)
    assert "asked too often (429)" in text and "HF_TOKEN" in text and "what was downloaded is kept" in text
    assert hub.pauses


@pytest.mark.parametrize("where", ["/api/", SHARD, "resolve/.*config.json"])
def test_a_hub_that_fails(model, hub, shown, where):
    hub.answers["*", where] = [500] * 100
    text = refuse_run(shown)
    assert "answers with an error (500)" in text and "HF_ENDPOINT" in text


@pytest.mark.parametrize("where", ["/api/", SHARD, "resolve/.*/config.json"])
def test_a_hub_that_hangs(model, hub, shown, where, monkeypatch):
    for module in ("repository", "download"):
        monkeypatch.setattr(f"gptalt_eval.planning.hub.{module}.SECONDS", 0.2)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.2, raising=False)
    hub.hang = where
    if where == "/api/":
        check()
    assert "does not answer in time" in refuse_run(shown)


def test_what_a_cut_off_download_leaves_is_kept(model, hub, shown):
    hub.cut["model-00001-of-00002.safetensors"] = [50]
    hub.answers["GET", SHARD] = []
    served = hub.send_file

    def close_after_first(handler, method, repo, path):
        served(handler, method, repo, path)
        if method == "GET" and "00001" in path:
            hub.answers["GET", SHARD] = [500] * 100

    hub.send_file = close_after_first
    assert "what was downloaded is kept" in refuse_run(shown)
    [part] = find_storage("org/tiny").glob("blobs/*.incomplete")
    assert part.stat().st_size == 50


def test_a_mirror_that_is_none(hub, shown):
    hub.answers["GET", "/api/"] = [200] * 9
    assert "'org/tiny' cannot be downloaded" in refuse_run(shown)


def test_a_proxy_is_used_and_blamed(model, hub, shown, monkeypatch):
    from huggingface_hub.utils import close_session

    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{address}")
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        close_session()
        asked.append(refuse_run_through(server, shown))
    assert "secret" not in asked[0] and "org/tiny" in asked[0]


def refuse_run_through(server, shown):
    import threading

    def serve():
        try:
            while True:
                connection, _ = server.accept()
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                connection.close()
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return refuse_run(shown)


def test_a_proxy_brings_the_model(model, hub, shown, monkeypatch):
    """The server itself as the proxy: it is asked with whole addresses."""
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    served = hub.serve

    def serve(handler, method):
        hub.whole = handler.path.startswith("http://hub.invalid/")
        handler.path = handler.path.removeprefix("http://hub.invalid")
        served(handler, method)

    hub.serve = serve
    close_session()
    found = obtain_files(HF, {"pretrained": "org/tiny"}, shown.say, shown.note)
    assert hub.whole and found.commits == {"pretrained": f"org/tiny@{COMMIT}"}


def test_a_disk_that_is_full(model, shown, monkeypatch):
    def add(self, count):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gptalt_eval.planning.hub.download.Progress.add", add)
    text = refuse_run(shown)
    assert "The disk is full" in text and "HF_HOME" in text
