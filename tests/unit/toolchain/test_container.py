# SPDX-License-Identifier: GPL-2.0-only
"""The toolchain in a container, against an engine that is none: what it is asked for."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest

import docker
from kstep.base import owner
from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.toolchain import (
    LABEL,
    CommandError,
    DockerToolchain,
    HostToolchain,
    apt,
    choose,
    engine_fault,
)
from kstep.toolchain.container import BOUND, DockerProcess
from kstep.toolchain.engine import EngineError, Traits
from kstep.toolchain.room import KILLED, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass
class Attached:
    """The other end of a container's standard input, whose reader may be a supervisor."""

    argv: Sequence[str] = ()
    said: list[bytes] = field(default_factory=list)
    words: int | None = None
    closed: int = 0

    def sendall(self, data: bytes) -> None:
        """Take it; answer where a program is to end."""
        self.said.append(data)
        if data == b"\n":
            if self.words is None:
                self.words = os.open(self.argv[-1], os.O_WRONLY)
            os.write(self.words, KILLED)

    def close(self) -> None:
        """Count."""
        self.closed += 1
        if self.words is not None:
            os.close(self.words)


@dataclass
class Container:
    """A container that does as it was told to."""

    engine: Engine
    labels: dict[str, str]
    asked: dict[str, Any] = field(default_factory=dict)
    status: str = "created"
    removed: bool = False
    attached: list[Attached] = field(default_factory=list)
    ended: str = "0001-01-01T00:00:00Z"

    @property
    def attrs(self) -> dict[str, Any]:
        """Say what the engine knows of it."""
        return {"State": {"FinishedAt": self.ended}}

    def attach_socket(self, params: dict[str, int]) -> Attached:
        """Take the other end of its standard input."""
        assert params == {"stdin": 1, "stream": 1}
        assert self.status == "created", "what it is bound to is there before it runs"
        self.attached.append(Attached(self.asked.get("argv", ())))
        return self.attached[-1]

    def start(self) -> None:
        """Run, where the engine lets it."""
        if self.engine.does_not_start:
            raise docker.errors.APIError("no such device")
        self.status = "running"
        if self.engine.is_here and "/received" in " ".join(self.asked.get("argv", ())):
            for folder in self.asked["volumes"]:
                Path(folder, "received").write_text(Path(folder, "sent").read_text())

    def reload(self) -> None:
        """Ask the engine again."""
        if self.removed:
            raise docker.errors.NotFound("gone")

    def logs(self, *, stream: bool = False, follow: bool = False, tail: int = 0) -> Any:  # noqa: ANN401 -- docker's own
        """Return what it said."""
        if self.removed:
            raise docker.errors.NotFound("gone")
        if stream:
            assert follow
            return iter(self.engine.says)
        assert tail
        return b"".join(self.engine.says)

    def wait(self) -> dict[str, int]:
        """Return its status."""
        return {"StatusCode": self.engine.status}

    def remove(self, *, force: bool) -> None:
        """Remove it, once."""
        assert force
        if self.removed or self.labels.get("stubborn"):
            raise docker.errors.NotFound("gone")
        self.removed = True


@dataclass
class Image:
    """An image."""

    id: str


@dataclass
class Engine:
    """A Docker engine, and its client; ``has`` are its images."""

    says: Sequence[bytes] = ()
    status: int = 0
    does_not_start: bool = False
    is_here: bool = True  # what is mounted is a folder of this machine
    options: Sequence[str] = ("name=seccomp,profile=default",)
    further: dict[str, bool] = field(default_factory=dict)
    refuses: str = "no route to host"  # what a registry says that gives no image
    has: list[str] = field(default_factory=list)
    registry: bool = True
    events: list[dict[str, str]] = field(default_factory=list)
    made: list[Container] = field(default_factory=list)
    built: list[dict[str, Any]] = field(default_factory=list)
    imported: list[dict[str, Any]] = field(default_factory=list)
    listed: dict[str, Any] = field(default_factory=dict)
    closed: int = 0

    @property
    def containers(self) -> Engine:
        """Play the collection of containers."""
        return self

    @property
    def images(self) -> Engine:
        """Play that of images."""
        return self

    @property
    def api(self) -> Engine:
        """Play the lower interface."""
        return self

    def close(self) -> None:
        """Count."""
        self.closed += 1

    def info(self) -> dict[str, Any]:
        """Say what kind of engine it is."""
        return {"SecurityOptions": list(self.options), **self.further}

    def create(self, image: str, argv: list[str], **asked: Any) -> Container:  # noqa: ANN401 -- docker's own
        """Make a container."""
        made = Container(self, asked["labels"], {"image": image, "argv": argv, **asked})
        self.made.append(made)
        return made

    def list(self, **asked: Any) -> list[Container]:  # noqa: ANN401
        """List those that are there."""
        self.listed = asked
        return [each for each in self.made if not each.removed]

    def get(self, name: str) -> Image:
        """Find an image."""
        if name not in self.has:
            raise docker.errors.ImageNotFound(name)
        return Image(f"sha256:{name}")

    def pull(self, name: str, tag: str) -> None:
        """Get one from the registry."""
        if not self.registry:
            raise docker.errors.APIError(self.refuses)
        self.has.append(f"{name}:{tag}")

    def build(self, **asked: Any) -> Iterator[dict[str, str]]:  # noqa: ANN401
        """Build an image."""
        self.built.append(asked)
        self.has.append(asked["tag"])
        return iter(self.events)

    def import_image_from_file(self, file: str, **asked: Any) -> None:  # noqa: ANN401
        """Take a tar for an image."""
        self.imported.append({"file": Path(file).read_text(), **asked})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Have an engine answer."""
    made = Engine()
    monkeypatch.setattr(docker, "from_env", lambda timeout: made)  # noqa: ARG005
    return made


def tools() -> DockerToolchain:
    """Make the toolchain of an image."""
    return DockerToolchain("kstep-toolchain:1", "sha256:1", "a test")


# -- a command


def test_a_command_has_no_network_no_capabilities_and_no_root(
    engine: Engine, tmp_path: Path
) -> None:
    """A patch under review is untrusted code, and its Makefiles run here."""
    tools().run(
        ["make", "Image"],
        cwd=tmp_path / "obj",
        readable=[tmp_path / "source"],
        writable=[tmp_path / "obj"],
        env={"ARCH": "arm64"},
    )
    (made,) = engine.made
    asked = made.asked
    assert (asked["image"], asked["argv"]) == ("kstep-toolchain:1", [*BOUND, "make", "Image"])
    assert asked["stdin_open"] is True
    assert asked["network_mode"] == "none"
    assert asked["cap_drop"] == ["ALL"]
    assert asked["security_opt"] == ["no-new-privileges"]
    assert asked["read_only"] is True
    assert asked["user"].split(":")[0] != "0"
    assert asked["volumes"] == {
        str(tmp_path / "source"): {"bind": str(tmp_path / "source"), "mode": "ro"},
        str(tmp_path / "obj"): {"bind": str(tmp_path / "obj"), "mode": "rw"},
    }
    assert asked["working_dir"] == str(tmp_path / "obj")
    assert asked["environment"] == {"HOME": "/tmp", "LC_ALL": "C.UTF-8", "ARCH": "arm64"}  # noqa: S108 -- in there
    assert asked["labels"] == {LABEL: owner.name()}
    assert [each.closed for each in made.attached] == [1]
    assert (asked["devices"], asked["group_add"]) == ([], [])
    assert "privileged" not in asked
    assert made.removed
    assert engine.closed == 1


def test_only_what_fetches_has_a_network(engine: Engine, tmp_path: Path) -> None:
    tools().run(["apt-get", "update"], cwd=tmp_path, network=True)
    assert engine.made[0].asked["network_mode"] == "host"


@pytest.mark.parametrize(("uid", "gid", "user"), [(0, 0, "1000:1000"), (501, 20, "501:20")])
def test_nobody_builds_as_root(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, user: str
) -> None:
    """Root gives what is to be written to somebody else, and nobody else has to."""
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getgid", lambda: gid)
    monkeypatch.setattr(os, "chown", lambda *what, **_: given.append(what))
    toolchain = tools()
    assert toolchain.own(tmp_path) == tmp_path
    toolchain.run(["id"], cwd=tmp_path)
    assert engine.made[0].asked["user"] == user
    assert given == ([(tmp_path, 1000, 1000)] if uid == 0 else [])


def test_output_comes_line_by_line_however_the_engine_cuts_it(
    engine: Engine, tmp_path: Path
) -> None:
    engine.says = [b"  CC  a", b".o\n  CC  b.o\nwarn", b"ing: \xff\n", b"no end"]
    lines: list[str] = []
    tools().run(["make"], cwd=tmp_path, on_line=lines.append)
    assert lines == ["  CC  a.o", "  CC  b.o", "warning: \N{REPLACEMENT CHARACTER}", "no end"]
    assert tools().text(["make"]) == "\n".join(lines)


def test_a_command_that_fails_says_its_last_lines(engine: Engine, tmp_path: Path) -> None:
    engine.says, engine.status = [b"%d\n" % n for n in range(1000)], 2
    with pytest.raises(CommandError, match="make -C x … ended with status 2") as caught:
        tools().run(["make", "-C", "x", "Image"], cwd=tmp_path)
    assert caught.value.exit_status == 2
    assert caught.value.details == tuple(str(n) for n in range(800, 1000))
    assert engine.made[0].removed


def test_ctrl_c_removes_the_container(engine: Engine, tmp_path: Path) -> None:
    engine.says = [b"first\n", b"second\n"]

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools().run(["make"], cwd=tmp_path, on_line=interrupt)
    assert engine.made[0].removed
    assert engine.closed == 1


# -- a machine


def test_a_machine_has_its_line_and_devices_and_no_more(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has a /dev/pts of its own, so the pty has another name in it."""
    monkeypatch.setattr(os, "getuid", lambda: 501)
    line, device = tmp_path / "pts" / "7", tmp_path / "kvm"
    device.touch()
    toolchain = tools()
    process = toolchain.spawn(
        ["qemu"], readable=[tmp_path], writable=[tmp_path / "x"], lines=[line], devices=[device]
    )
    (made,) = engine.made
    assert toolchain.inside(line) == Path("/line/7")
    assert made.asked["volumes"][str(line)] == {"bind": "/line/7", "mode": "rw"}
    assert made.asked["volumes"][str(tmp_path)]["mode"] == "ro"
    assert made.asked["devices"] == [f"{device}:{device}:rw"]
    assert made.asked["group_add"] == [str(device.stat().st_gid)]
    assert (made.asked["network_mode"], made.asked["cap_drop"]) == ("none", ["ALL"])
    assert process.alive()
    (attached,) = made.attached
    assert attached.closed == 0
    process.kill()
    assert made.removed
    assert attached.closed == 1
    process.kill()  # once more, and nothing happens


def test_a_worker_keeps_a_container_for_its_machines(engine: Engine, tmp_path: Path) -> None:
    """One for all kernels of a cache, and none when the worker ends."""
    toolchain = tools()
    kernels = [tmp_path / "kernels" / name for name in ("a", "b")]
    guest = tmp_path / "guests/c"
    seen = []
    with toolchain.kept():
        for kernel in (*kernels, kernels[0]):
            with toolchain.bay([kernel, guest]) as bay:
                process = bay.spawn(["qemu-system-aarch64", "-smp", "two words"])
                assert process.alive()
                command = (bay.folder / "command").read_text()
                assert command == "qemu-system-aarch64 -smp 'two words'"
                seen.append(bay)
                process.kill()
        (container,) = engine.made
        assert [each.removed for each in engine.made] == [False]
    assert container.removed
    assert container.asked["argv"][:3] == ["sh", "-c", SUPERVISOR]
    modes = {name: volume["mode"] for name, volume in container.asked["volumes"].items()}
    assert modes == {
        str(tmp_path / "kernels"): "ro",
        str(tmp_path / "guests"): "ro",
        str(seen[0].folder.parent): "rw",
        str(seen[0].in_memory): "rw",
        str(seen[0].line.path): "rw",
    }
    (attached,) = container.attached
    assert attached.said == [data for bay in seen for data in (f"{bay.folder}\n".encode(), b"\n")]
    assert len({bay.folder for bay in seen}) == len(seen)
    assert not any(bay.folder.exists() or bay.in_memory.exists() for bay in seen)


def test_a_container_is_not_kept_for_what_it_does_not_see(engine: Engine, tmp_path: Path) -> None:
    toolchain = tools()
    with toolchain.kept():
        for cache in ("a", "b"):
            with toolchain.bay([tmp_path / cache / "kernels/1"]) as bay:
                bay.spawn(["qemu-system-aarch64"]).kill()
        assert [each.removed for each in engine.made] == [True, False]
        with toolchain.bay([tmp_path / "b/kernels/1"], [Path("/dev/null")]):
            pass
        assert [each.removed for each in engine.made] == [True, True, False]
        toolchain.renew()
        assert all(each.removed for each in engine.made)


def test_without_a_worker_each_machine_has_a_container(engine: Engine, tmp_path: Path) -> None:
    toolchain = tools()
    for _ in range(2):
        with toolchain.bay([tmp_path]) as bay:
            bay.spawn(["qemu-system-aarch64"]).kill()
    assert len(engine.made) == 2
    assert all(each.asked["argv"] == [*BOUND, "qemu-system-aarch64"] for each in engine.made)


def test_root_gives_the_line_to_who_runs_the_machine(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *_, **__: given.append(path))
    tools().spawn(["qemu"], lines=[tmp_path / "7"])
    assert given == [tmp_path / "7"]
    assert engine.made[0].status == "running"


def test_a_machine_that_does_not_start_leaves_no_container(engine: Engine) -> None:
    engine.does_not_start = True
    with pytest.raises(EngineError):
        tools().spawn(["qemu"])
    assert engine.made[0].removed


def test_what_a_machine_says_is_cut_to_its_end(engine: Engine) -> None:
    engine.says = [b"x" * 5000, b"the end \xff"]
    process = tools().spawn(["qemu"])
    assert len(process.output()) == 4096
    assert process.output().endswith("the end \N{REPLACEMENT CHARACTER}")
    engine.made[0].status = "exited"
    assert not process.alive()


# -- orphans


def left_by(engine: Engine, of: str, **more: str) -> Container:
    """Leave a container behind."""
    made = Container(engine, {LABEL: of, **more})
    engine.made.append(made)
    return made


def test_containers_of_processes_that_are_gone_are_removed_and_no_others(engine: Engine) -> None:
    """A process may have the number of one that is gone, and has not its time."""
    place = owner.name().rpartition("-")[2]
    own = left_by(engine, owner.name())
    elsewhere = [left_by(engine, of) for of in ("1-1-ffffff", "", "x", "-")]
    with subprocess.Popen(["sleep", "60"]) as child:
        another = left_by(engine, owner.name(child.pid))
        for gone in (f"{child.pid:x}-1-{place}", f"400007-77-{place}"):
            left_by(engine, gone)
        stubborn = left_by(engine, f"400007-78-{place}", stubborn="yes")
        tools().end_orphans()
        left = [each for each in engine.made if not each.removed]
        assert left == [own, *elsewhere, another, stubborn]  # somebody else removes the last
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        tools().end_orphans()  # it is a zombie now
        left = [each for each in engine.made if not each.removed]
        assert left == [own, *elsewhere, stubborn]
    assert engine.listed == {"all": True, "filters": {"label": LABEL}, "ignore_removed": True}
    tools().end_orphans(own=True)
    assert [each for each in engine.made if not each.removed] == [*elsewhere, stubborn]


@pytest.mark.parametrize(
    ("status", "hours", "removed"),
    [("exited", 2, True), ("exited", 0, False), ("running", 2, False), ("created", 2, False)],
)
def test_a_container_that_ended_before_a_reboot_is_removed(
    engine: Engine,
    status: str,
    hours: int,
    removed: bool,  # noqa: FBT001 -- a row
) -> None:
    """Nobody can tell whether its kstep lives, but that would have removed it long ago."""
    made = left_by(engine, "1-1-ffffff")
    made.status = status
    ended = datetime.now(UTC) - timedelta(hours=hours)
    made.ended = ended.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    tools().end_orphans()
    assert made.removed is removed


def test_where_no_engine_answers_there_is_nothing_to_remove(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_engine(monkeypatch, "Connection refused")
    tools().end_orphans()


# -- the image


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write what the image is made from."""
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM base\n")
    (folder / "packages.txt").write_text("gcc\n")
    return folder


def ready(engine: Engine, recipe: Path) -> DockerToolchain:
    """Find or build the image."""
    return DockerToolchain.ready(engine, recipe, "a test", Progress())  # type: ignore[arg-type]  # it plays the client


def test_the_image_is_built_once_for_its_recipe(engine: Engine, recipe: Path) -> None:
    first = ready(engine, recipe)
    assert first.image == engine.built[0]["tag"]
    assert first.image_digest == f"sha256:{first.image}"
    assert engine.built[0]["buildargs"]["BASE"] == "debian:bookworm-slim"
    assert ready(engine, recipe).image == first.image
    assert len(engine.built) == 1
    (recipe / "packages.txt").write_text("gcc\nclang\n")
    assert ready(engine, recipe).image != first.image
    assert len(engine.built) == 2


@pytest.mark.parametrize("base", ["debian:bookworm-slim", "kstep-base:bookworm"])
def test_a_base_that_is_at_hand_is_taken(engine: Engine, recipe: Path, base: str) -> None:
    engine.has, engine.registry = [base], False
    ready(engine, recipe)
    assert engine.built[0]["buildargs"]["BASE"] == base


def test_where_no_registry_answers_the_base_is_made_from_the_mirror(
    engine: Engine,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is of the image's release, whatever this machine has."""
    engine.registry = False
    sources = apt.Sources((("http://mirror.example/debian", "", ""),))
    monkeypatch.setattr(apt, "own_sources", lambda: sources)
    monkeypatch.setattr(apt, "own_release", lambda: "trixie")
    monkeypatch.setattr(apt, "install", lambda *_: None)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/mmdebstrap"
    program.write_text('#!/bin/sh\ncat "$6" > "$5"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    ready(engine, recipe)
    assert engine.built[0]["buildargs"]["BASE"] == "kstep-base:bookworm"
    assert engine.imported == [
        {
            "file": "deb http://mirror.example/debian bookworm main\n",
            "repository": "kstep-base",
            "tag": "bookworm",
        }
    ]
    said = capsys.readouterr().err
    assert "no image registry answers (no route to host): building kstep-base:bookworm here" in said
    program.write_text("#!/bin/sh\necho cannot reach it >&2; exit 3\n")
    engine.has.clear()
    with pytest.raises(CommandError, match="mmdebstrap") as caught:
        ready(engine, recipe)
    assert caught.value.details == ("cannot reach it",)


def test_where_there_is_no_mirror_either_a_registry_is_needed(
    engine: Engine, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise MachineryError("this host runs Fedora 44, not Debian")

    engine.registry = False
    monkeypatch.setattr(apt, "install", lambda *_: pytest.fail("it installs"))
    monkeypatch.setattr(apt, "own_sources", refuse)
    with pytest.raises(MachineryError) as error:
        ready(engine, recipe)
    assert str(error.value) == (
        "no image registry answers (no route to host), and this host runs Fedora 44, not Debian;"
        " let the Docker engine reach an image registry, or name a mirror of it:"
        " KSTEP_REGISTRY=HOST/library"
    )
    engine.refuses = "toomanyrequests: You have reached your pull rate limit."
    with pytest.raises(MachineryError, match="refuses: too many requests from this address"):
        ready(engine, recipe)


def test_a_mirror_of_the_registry_can_be_given(
    engine: Engine, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSTEP_REGISTRY", "mirror.example/library/")
    ready(engine, recipe)
    assert engine.has[0] == "mirror.example/library/debian:bookworm-slim"
    assert engine.built[0]["buildargs"]["BASE"] == "mirror.example/library/debian:bookworm-slim"


def test_a_package_that_a_suite_does_not_have_is_named(engine: Engine, recipe: Path) -> None:
    engine.events = [{"stream": "E: Unable to locate package lld\n"}, {"error": "returned 100"}]
    with pytest.raises(
        RequestError,
        match=r"^--suite trixie: Debian trixie has no package lld; use another --suite"
        r" \(bookworm, forky, sid\) or --compiler$",
    ):
        DockerToolchain.ready(engine, recipe, "a test", Progress(), "trixie", ["lld"])  # type: ignore[arg-type]  # it plays the client


def test_an_image_that_does_not_build_says_why(engine: Engine, recipe: Path) -> None:
    engine.events = [{"stream": "Step 1/3\n"}, {"stream": "\n"}, {"error": " no gcc \n"}]
    with pytest.raises(MachineryError, match="docker/Dockerfile does not build: no gcc") as caught:
        ready(engine, recipe)
    assert caught.value.details == ("Step 1/3",)


def test_only_the_proxies_of_this_machine_reach_the_build(
    engine: Engine, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("SECRET", "x")
    ready(engine, recipe)
    assert engine.built[0]["buildargs"] == {
        "BASE": "debian:bookworm-slim",
        "https_proxy": "http://proxy.example:3128",
    }


def test_a_worker_process_has_the_same() -> None:
    """It makes a connection of its own."""
    again = pickle.loads(pickle.dumps(tools()))  # noqa: S301 -- our own
    assert (again.image, again.image_digest, again.why) == (
        "kstep-toolchain:1",
        "sha256:1",
        "a test",
    )
    assert again.kind == "docker"


# -- which toolchain


def no_engine(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Have no engine answer."""

    def refuse(timeout: int) -> None:
        raise docker.errors.DockerException(f"Error while fetching: ({timeout}, {why!r})")

    monkeypatch.setattr(docker, "from_env", refuse)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("Permission denied", "permission denied"),
        ("No such file or directory", "no such file or directory"),
        ("Connection refused", "connection refused"),
        ("x" * 500, "Error while fetching: (20, 'xxx"),
    ],
)
def test_why_no_engine_answers_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, why: str, said: str
) -> None:
    no_engine(monkeypatch, why)
    fault = engine_fault()
    assert fault is not None
    assert fault.startswith(said)
    assert len(fault) <= 120


def test_an_engine_that_answers_has_no_fault(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "ping", lambda _self: True, raising=False)
    assert engine_fault() is None
    assert engine.closed == 1


def test_auto_takes_the_engine_and_else_the_host(
    engine: Engine, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "ping", lambda _self: True, raising=False)
    monkeypatch.setattr(apt, "install", lambda *_: None)
    monkeypatch.setattr(apt, "own_sources", lambda: apt.Sources((("http://m.example", "", ""),)))
    assert choose("auto", recipe, Progress()).why == "a Docker engine answers"
    assert choose("docker", recipe, Progress()).why == "requested"
    assert isinstance(choose("host", recipe, Progress()), HostToolchain)
    assert len(engine.built) == 1
    no_engine(monkeypatch, "Connection refused")
    fallen_back = choose("auto", recipe, Progress())
    assert (fallen_back.kind, fallen_back.why) == (
        "host",
        "no Docker engine answers: connection refused",
    )
    with pytest.raises(
        MachineryError, match=r"--toolchain docker: no Docker engine answers \(conn"
    ):
        choose("docker", recipe, Progress())


def test_an_engine_that_is_elsewhere_is_not_taken(
    engine: Engine, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a mounted socket: what it mounts is an empty folder of the other machine."""
    engine.is_here = False
    monkeypatch.setattr(Engine, "ping", lambda _self: True, raising=False)
    monkeypatch.setattr(apt, "install", lambda *_: None)
    monkeypatch.setattr(apt, "own_sources", lambda: apt.Sources((("http://m.example", "", ""),)))
    fallen_back = choose("auto", recipe, Progress())
    assert fallen_back.kind == "host"
    assert "of this machine does not arrive in its containers" in fallen_back.why
    with pytest.raises(MachineryError, match="--toolchain docker: a Docker engine answers, but /"):
        choose("docker", recipe, Progress())
    engine.is_here = True
    asked_of = len(engine.made)
    assert choose("auto", recipe, Progress(), folders=[tmp_path]).kind == "docker"
    assert len(engine.made) == asked_of + 1
    probed = {str(Path(each).parent) for each in engine.made[-1].asked["volumes"]}
    assert probed == {tempfile.gettempdir(), str(tmp_path)}, "both, by one container"
    assert not list(tmp_path.glob(".kstep-*"))


def test_in_a_rootless_engine_the_user_is_root_and_nothing_is_given_away(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root in its user namespace is the user outside; any other user could write nothing."""
    monkeypatch.setattr(os, "getuid", lambda: 501)
    monkeypatch.setattr(os, "chown", lambda *_, **__: pytest.fail("it gives something away"))
    engine.options = ("name=seccomp,profile=builtin", "name=rootless", "name=cgroupns")
    traits = Traits.of(engine)  # type: ignore[arg-type]  # it plays the client
    engine.options, engine.further = (), {"Rootless": True}  # as Podman says it
    assert Traits.of(engine) == traits  # type: ignore[arg-type]  # likewise
    toolchain = DockerToolchain("kstep-toolchain:1", "sha256:1", "a test", traits=traits)
    toolchain.own(tmp_path)
    pickle.loads(pickle.dumps(toolchain)).run(["id"], cwd=tmp_path)  # noqa: S301 -- our own
    asked = engine.made[0].asked
    assert (asked["user"], asked["cap_drop"]) == ("0:0", ["ALL"])
    assert asked["security_opt"] == ["no-new-privileges"]


def test_where_selinux_confines_containers_their_labels_are_off(
    engine: Engine, tmp_path: Path
) -> None:
    engine.options = ("name=selinux",)
    traits = Traits.of(engine)  # type: ignore[arg-type]  # it plays the client
    DockerToolchain("i", "d", "a test", traits=traits).run(["id"], cwd=tmp_path)
    assert engine.made[0].asked["security_opt"] == ["no-new-privileges", "label=disable"]


def test_another_kind_of_toolchain_is_refused(recipe: Path) -> None:
    with pytest.raises(RequestError, match="--toolchain podman: must be auto, docker or host"):
        choose("podman", recipe, Progress())


def test_a_container_that_is_gone_is_not_alive(engine: Engine) -> None:
    gone = Container(engine, {})
    process = DockerProcess(gone)  # type: ignore[arg-type]  # it plays one
    gone.removed = True
    assert not process.alive()
    assert process.output() == ""


def test_a_suite_and_a_compiler_have_an_image_of_their_own(engine: Engine, recipe: Path) -> None:
    def made(suite: str, *further: str) -> DockerToolchain:
        return DockerToolchain.ready(engine, recipe, "a test", Progress(), suite, further)  # type: ignore[arg-type]  # it plays the client

    usual, clang, trixie = made("bookworm"), made("bookworm", "clang"), made("trixie")
    assert usual.image == ready(engine, recipe).image
    assert len({usual.image, clang.image, trixie.image}) == 3
    assert [each["buildargs"]["BASE"] for each in engine.built] == [
        "debian:bookworm-slim",
        "debian:bookworm-slim",
        "debian:trixie-slim",
    ]
    assert [each["buildargs"].get("FURTHER") for each in engine.built] == [None, "clang", None]
    assert [each.debian for each in (usual, clang, trixie)] == ["bookworm", "bookworm", "trixie"]
    again = pickle.loads(pickle.dumps(trixie))  # noqa: S301 -- our own
    assert again.debian == "trixie"
