"""A hub on 127.0.0.1: the routes that huggingface_hub asks, over files in memory, with faults on request."""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40
LARGE = (".safetensors", ".bin", ".model", ".gguf", ".pth")
API = re.compile(
    r"/api/models/(?P<id>[\w.-]+(?:/[\w.-]+)?)/(?:revision/(?P<revision>[^?]+)|tree/(?P<tree>[^?]+))"
)
RESOLVE = re.compile(r"/(?P<id>[\w.-]+(?:/[\w.-]+)?)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)")


def hash_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """A repository of the server.

    ``lies``: path -> other bytes that are sent in place of its content. ``info``: more of the API's answer.
    """

    files: dict
    commit: str = COMMIT
    revisions: tuple = ("main",)
    gated: bool = False
    info: dict = field(default_factory=dict)
    lies: dict = field(default_factory=dict)

    def describe(self, path):
        content = self.files[path]
        item = {"rfilename": path, "size": len(content), "blobId": hash_blob(content)}
        if path.endswith(LARGE):
            sha = hashlib.sha256(content).hexdigest()
            item["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 130}
        return item

    def list_tree(self):
        return [
            {"type": "file", "path": path, "size": item["size"], "oid": item["blobId"]}
            | (
                {"lfs": {"oid": item["lfs"]["sha256"], "size": item["size"], "pointerSize": 130}}
                if "lfs" in item
                else {}
            )
            for path, item in ((path, self.describe(path)) for path in self.files)
        ]


class Hub:
    """The server. What it was asked stands in ``asked``: (method, path, headers).

    Attributes:
        repos: id -> Repo.
        answers: (method, regex) -> a list of answers, used up one by one: a status, or (status, headers).
        cut: path -> lengths after which the body is cut off, used up one by one.
        hang: a regex of paths to which nothing is answered.
        token: what the gated repositories ask for.
    """

    def __init__(self):
        self.repos, self.answers, self.cut, self.asked = {}, {}, {}, []
        self.hang, self.token, self.ignores_ranges = None, "hf_right", False
        self.stopped = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.serve(self, "GET")

            def do_HEAD(self):
                hub.serve(self, "HEAD")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    def paths(self, method=None):
        return [path for verb, path, _ in self.asked if method in (None, verb)]

    def ranges(self, path):
        return [
            headers.get("Range")
            for verb, asked, headers in self.asked
            if verb == "GET" and asked.endswith(path)
        ]

    def serve(self, handler, method):
        path = handler.path
        self.asked.append((method, path, dict(handler.headers)))
        if self.hang and re.search(self.hang, path):
            self.stopped.wait(60)
            return
        for (verb, pattern), answers in self.answers.items():
            if verb in (method, "*") and re.search(pattern, path) and answers:
                answer = answers.pop(0)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send(handler, method, status, b"", headers)
                return
        api, resolve = API.match(path), RESOLVE.match(path)
        found = api or resolve
        repo = self.repos.get(found["id"]) if found else None
        revision = (found["revision"] or found.groupdict().get("tree")) if found else ""
        if repo is None:
            self.send(handler, method, 401, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in (*repo.revisions, repo.commit):
            self.send(handler, method, 404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif resolve and repo.gated and handler.headers.get("Authorization") != f"Bearer {self.token}":
            self.send(handler, method, 401, b"", {"X-Error-Code": "GatedRepo"})
        elif api:
            found = self.describe(found["id"], repo) if api["revision"] else repo.list_tree()
            self.send(handler, method, 200, json.dumps(found).encode())
        elif resolve["path"] not in repo.files:
            self.send(
                handler, method, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}
            )
        else:
            self.send_file(handler, method, repo, resolve["path"])

    def describe(self, name, repo):
        siblings = [repo.describe(path) for path in repo.files]
        gated = "manual" if repo.gated else False
        return {
            "id": name,
            "sha": repo.commit,
            "siblings": siblings,
            "gated": gated,
            "private": False,
            **repo.info,
        }

    def send_file(self, handler, method, repo, path):
        content, item = repo.files[path], repo.describe(path)
        digest = item.get("lfs", {}).get("sha256") or item["blobId"]
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if "lfs" in item:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
        content = repo.lies.get(path, content)
        begin, status = 0, 200
        if handler.headers.get("Range") and not self.ignores_ranges:
            begin, status = int(re.match(r"bytes=(\d+)-", handler.headers["Range"])[1]), 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        lengths = self.cut.get(path, [])
        length = lengths.pop(0) if method == "GET" and lengths else None
        self.send(handler, method, status, content[begin:], headers, length)

    def send(self, handler, method, status, body, headers=None, length=None):
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if method == "GET":
            handler.wfile.write(body if length is None else body[:length])
            handler.wfile.flush()
        if length is not None:
            handler.close_connection = True
            time.sleep(0.05)  # what was sent arrives before the connection ends
