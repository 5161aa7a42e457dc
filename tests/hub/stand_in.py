"""A small Hub on this machine: what huggingface_hub asks the real one for, over real HTTP, on folders."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, Iterator, List, Tuple
from urllib.parse import unquote, urlsplit


class StandIn:
    """Repositories by name, each its files by name; `asked` lists the requests."""

    def __init__(self) -> None:
        self.repositories: Dict[str, Dict[str, bytes]] = {}
        self.gated: List[str] = []
        self.asked: List[str] = []

    def commit(self, name: str) -> str:
        digest = hashlib.sha1(name.encode())
        for path, data in sorted(self.repositories[name].items()):
            digest.update(path.encode() + data)
        return digest.hexdigest()

    def info(self, name: str) -> dict:
        files = [{"rfilename": path, "size": len(data)} for path, data in self.repositories[name].items()]
        return {"id": name, "sha": self.commit(name), "siblings": files, "private": False, "tags": [], "downloads": 0}

    def tree(self, name: str) -> list:
        return [
            {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for path, data in self.repositories[name].items()
        ]

    def take(self, name: str, lines: List[dict]) -> None:
        """Carries out a commit that the client sent."""
        for line in lines:
            if line["key"] == "file":
                self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            if line["key"] == "deletedFile":
                self.repositories[name].pop(line["value"]["path"])


@contextmanager
def serving() -> Iterator[Tuple[str, StandIn]]:
    """The address of a stand-in, and the stand-in."""
    hub = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler_of(hub: StandIn) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            if not self.path.startswith("/api/agent-harnesses"):  # which huggingface_hub asks for by itself
                hub.asked.append(f"{self.command} {self.path}")

        def answer(self, code: int, body: bytes, **headers: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")  # else a thread answers on when the server has ended
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def answer_json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def missing(self, what: str) -> None:
            self.answer(404, b"{}", X_Error_Code=what, X_Error_Message=f"{what}: stand-in")

        def do_GET(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            is_api = parts[:2] == ["api", "models"]
            parts = parts[2:] if is_api else parts
            name, rest = "/".join(parts[:2]), parts[2:]
            if name in hub.gated:
                self.answer(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
            elif name not in hub.repositories:
                self.missing("RepoNotFound")
            elif rest[1:2] and rest[1] not in ("main", hub.commit(name)):
                self.missing("RevisionNotFound")
            elif is_api:
                self.answer_json(hub.tree(name) if rest[:1] == ["tree"] else hub.info(name))
            else:
                self.file(name, "/".join(rest[2:]))

        do_HEAD = do_GET

        def file(self, name: str, path: str) -> None:
            data = hub.repositories[name].get(path)
            if data is None:
                return self.missing("EntryNotFound")
            commit, etag = hub.commit(name), f'"{hashlib.sha1(data).hexdigest()}"'
            self.answer(200, data, ETag=etag, X_Repo_Commit=commit, X_Linked_Size=str(len(data)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = self.path.strip("/").split("?")[0].split("/")
            if parts[1:] == ["repos", "create"]:
                asked = json.loads(body)
                name = f"{asked.get('organization', 'me')}/{asked['name']}"
                hub.repositories.setdefault(name, {})
                return self.answer_json({"url": f"http://{self.headers['Host']}/{name}", "name": name, "id": name})
            if parts[1] == "validate-yaml":
                return self.answer_json({"errors": [], "warnings": []})
            name = "/".join(parts[2:4])
            if parts[4] == "preupload":
                files = json.loads(body)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                return self.answer_json({"files": modes})
            hub.take(name, [json.loads(line) for line in body.splitlines()])
            commit = hub.commit(name)
            url = f"http://{self.headers['Host']}/{name}/commit/{commit}"
            return self.answer_json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    return Handler
