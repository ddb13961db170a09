"""A server on this machine that speaks the Hub's HTTP API as far as its own client uses it here, with faults on order.

Small files are git blobs, served by `resolve`. Weights are kept in large-file storage: `resolve` redirects to another
host name, as the Hub does to its content network.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".model")
PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>"


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """A repository: its files, who may read them, and what shall go wrong.

    Faults in `listing` and `head` replace what is true there; those in `body` are used up one by one, each by one
    request for the content of a large file.
    """

    files: dict[str, bytes]
    token: str | None = None
    gated: str | bool = False
    private: bool = False
    tags: list[str] = field(default_factory=list)
    listing: dict[str, Any] = field(default_factory=dict)
    head: dict[str, str] = field(default_factory=dict)
    body: list[Any] = field(default_factory=list)
    status: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    branch: str = "main"

    @property
    def commit(self) -> str:
        joined = "".join(f"{name} {sha256(content)}\n" for name, content in sorted(self.files.items()))
        return hashlib.sha1(joined.encode()).hexdigest()

    def siblings(self) -> list[dict[str, Any]]:
        found = []
        for name, content in self.files.items():
            row: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if name.endswith(LARGE):
                row["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
            found.append(row)
        return found


class Hub:
    """The server; `url` is what HF_ENDPOINT is set to."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploaded: dict[str, bytes] = {}
        self.stopping = threading.Event()
        self.body_sent = threading.Event()
        hub = self

        class Bound(Handler):
            pass

        Bound.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def paths(self, method: str | None = None) -> list[str]:
        return [path for verb, path, _ in self.requests if method in (None, verb)]

    def bodies(self) -> list[dict[str, str]]:
        """Headers of the requests for the content of large files."""
        return [headers for verb, path, headers in self.requests if verb == "GET" and path.startswith("/cdn/")]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.hub.requests.append((self.command, path, dict(self.headers)))
        length = int(self.headers.get("Content-Length") or 0)
        payload = self._read(length)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.command in ("POST", "PUT"):
                self._take(path, payload)
            elif path == "/api/models":
                self._search(parse_qs(parts.query))
            elif path.startswith("/api/models/"):
                self._info(path.removeprefix("/api/models/"))
            elif path.startswith("/cdn/"):
                self._content(path.removeprefix("/cdn/"))
            else:
                self._resolve(path)

    def _read(self, length: int) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(length)
        taken = b""
        while size := int(self.rfile.readline(), 16):
            taken += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return taken

    # Reading

    def _search(self, query: dict[str, list[str]]) -> None:
        words = query.get("search", [""])[0]
        rows = [
            {
                "_id": name,
                "id": name,
                "downloads": 1000 - place,
                "likes": place,
                "gated": repo.gated,
                "tags": repo.tags,
                "lastModified": "2026-01-02T03:04:05.000Z",
                "config": json.loads(repo.files.get("config.json", b"{}")),
                **repo.listing.get("search", {}),
            }
            for place, (name, repo) in enumerate(self.hub.repos.items())
            if words in name
        ]
        self._json(rows[: int(query.get("limit", ["100"])[0])])

    def _info(self, rest: str) -> None:
        name, _, revision = rest.partition("/revision/")
        repo = self._repo(name)
        if repo is None or self._failed(repo, "info"):
            return
        if revision not in ("", repo.branch, repo.commit):
            self._refuse(404, "RevisionNotFound")
            return
        listing = repo.listing
        if "raw" in listing:
            self._send(200, listing["raw"], "application/json")
            return
        if listing.get("endless"):
            self._endless("application/json")
            return
        value = {
            "_id": name,
            "id": name,
            "modelId": name,
            "sha": listing.get("sha", repo.commit),
            "private": repo.private,
            "gated": repo.gated,
            "tags": repo.tags,
            "cardData": {"license": "mit"},
            "siblings": [*repo.siblings(), *listing.get("more", [])],
        }
        self._json(value)

    def _resolve(self, path: str) -> None:
        place, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        repo = self._repo(place)
        if repo is None or self._failed(repo, "resolve"):
            return
        if repo.gated and self.headers.get("Authorization") != f"Bearer {repo.token}":
            self._refuse(401 if not self.headers.get("Authorization") else 403, "GatedRepo")
            return
        if revision not in (repo.branch, repo.commit):
            self._refuse(404, "RevisionNotFound")
            return
        if name not in repo.files:
            self._refuse(404, "EntryNotFound")
            return
        content = repo.files[name]
        headers = {"X-Repo-Commit": repo.commit}
        if not name.endswith(LARGE):
            self._send(200, content, "text/plain", headers | {"ETag": f'"{git_sha1(content)}"'} | repo.head)
            return
        headers |= {
            "X-Linked-Etag": f'"{sha256(content)}"',
            "X-Linked-Size": str(len(content)),
            # Another host than the one asked: the token must not follow.
            "Location": f"http://localhost:{self.hub.port}/cdn/{place}/{name}",
        } | repo.head
        self._send(302, b"", "text/plain", {key: value for key, value in headers.items() if value})

    def _content(self, place: str) -> None:
        owner, name, file = place.split("/", 2)
        repo = self.hub.repos[f"{owner}/{name}"]
        content = repo.files[file]
        start, end = 0, len(content) - 1
        wanted = self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
        part = content[start : end + 1]
        is_header = wanted is not None and not wanted.endswith("-")
        fault = repo.body.pop(0) if repo.body and not is_header else None
        headers = {"Content-Range": f"bytes {start}-{end}/{len(content)}"} if wanted else {}
        self._send_content(206 if wanted else 200, part, content, headers, fault)

    def _send_content(self, code: int, part: bytes, whole: bytes, headers: dict[str, str], fault: Any) -> None:
        match fault:
            case None:
                self._send(code, part, "application/octet-stream", headers)
            case ("cut", int(after)):
                self._begin(code, len(part), "application/octet-stream", headers)
                self.wfile.write(part[:after])
                self.close_connection = True
            case ("stall", int(after)):
                self._begin(code, len(part), "application/octet-stream", headers)
                self.wfile.write(part[:after])
                self.wfile.flush()
                self.hub.body_sent.set()
                self.hub.stopping.wait(60)
                self.close_connection = True
            case "slow":
                self._begin(code, len(part), "application/octet-stream", headers)
                for start in range(0, len(part), 1 << 16):
                    self.wfile.write(part[start : start + (1 << 16)])
                    self.hub.stopping.wait(0.05)
            case "corrupt":
                self._send(code, bytes([part[0] ^ 1]) + part[1:], "application/octet-stream", headers)
            case "corrupt tail":
                self._send(code, part[:-1] + bytes([part[-1] ^ 1]), "application/octet-stream", headers)
            case "short":
                self._send(code, part[:-7], "application/octet-stream", headers)
            case "long":
                self._send(code, part + b"more", "application/octet-stream", headers)
            case "endless":
                self._endless("application/octet-stream", part)
            case "html":
                self._send(200, PAGE, "text/html")
            case "whole":
                self._send(200, whole, "application/octet-stream")
            case "other part":
                self._send(206, part, "application/octet-stream", {"Content-Range": f"bytes 0-1/{len(whole)}"})
            case int(status):
                self._send(status, b"busy", "text/plain")
            case _:
                raise AssertionError(f"no such fault: {fault}")

    def _endless(self, kind: str, first: bytes = b"") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.close_connection = True
        self.wfile.write(first)
        while not self.hub.stopping.is_set():
            self.wfile.write(b" " * (1 << 20))

    # Writing

    def _take(self, path: str, payload: bytes) -> None:
        if path.startswith("/lfs-upload/"):
            self.hub.uploaded[path.removeprefix("/lfs-upload/")] = payload
            self._send(200, b"", "text/plain")
            return
        if path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
            return
        if not self.headers.get("Authorization"):
            self._send(401, b'{"error": "Invalid username or password."}', "application/json")
            return
        if path == "/api/repos/create":
            self._create(json.loads(payload))
        elif "/preupload/" in path:
            files = json.loads(payload)["files"]
            self._json(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for file in files
                    ]
                }
            )
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(payload)["objects"]
            self._json(
                {
                    "transfer": "basic",
                    "objects": [
                        {**row, "actions": {"upload": {"href": f"{self.hub.url}/lfs-upload/{row['oid']}"}}}
                        for row in objects
                    ],
                }
            )
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], payload)
        else:
            self._send(404, b"", "text/plain")

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.hub.repos:
            if not self._failed(self.hub.repos[name], "create"):
                self._json({"url": f"{self.hub.url}/{name}", "error": "exists"}, 409)
            return
        self.hub.repos[name] = Repo({}, private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
        self._json({"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str, payload: bytes) -> None:
        repo = self.hub.repos[name]
        for line in payload.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                content = self.hub.uploaded[value["oid"]]
                assert sha256(content) == value["oid"]
                repo.files[value["path"]] = content
        self._json(
            {"success": True, "commitOid": repo.commit, "commitUrl": f"{self.hub.url}/{name}/commit/{repo.commit}"}
        )

    # Answers

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        known = repo is not None and (not repo.private or self.headers.get("Authorization"))
        if not known:
            # The Hub does not tell strangers whether there is a private repository.
            self._refuse(401, "RepoNotFound")
            return None
        return repo

    def _failed(self, repo: Repo, where: str) -> bool:
        if where not in repo.status:
            return False
        code, headers = repo.status[where]
        if code == 200:
            self._send(200, PAGE, "text/html")
        else:
            self._send(code, b"{}", "application/json", headers)
        return True

    def _refuse(self, code: int, kind: str) -> None:
        self._send(code, b'{"error": "no"}', "application/json", {"X-Error-Code": kind, "X-Error-Message": "no"})

    def _json(self, value: Any, code: int = 200) -> None:
        self._send(code, json.dumps(value).encode(), "application/json")

    def _begin(self, code: int, length: int, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {"Content-Type": kind, "Content-Length": str(length), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, code: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self._begin(code, len(content), kind, headers)
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
