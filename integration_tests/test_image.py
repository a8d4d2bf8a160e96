"""The container image, built by `make image` and run as the README and Airbyte run it.

No registry is needed. The base is a STAND-IN built from Debian's packages (stand_in/engine.sh). It
tests our Dockerfile, but not Airbyte's official base. To test an image that was built on the
official one, with docker or podman: `IMAGE=source-meetings:0.1.0 pytest <this file>`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings import __version__
from unit_tests.harness import Output, Table

ROOT = Path(__file__).parents[1]
STAND_IN = Path(__file__).parent / "stand_in"
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "python"
NEEDED = ("podman", "runc", "netavark", "mmdebstrap", "make")
IMAGE = f"source-meetings:{__version__}"
# A word that the test puts into the checkout wherever secrets and leftover files can be
DECOY = "a-decoy-that-must-not-be-in-the-image"

# One worker, because the image is built once.
pytestmark = pytest.mark.xdist_group("image")


@dataclass(frozen=True)
class Engine:
    """`docker` on the path of `environment`, docker or podman. `options` are for every run."""

    image: str
    environment: dict[str, str]
    folder: Path  # the working directory, with the folder `secrets`, as in the README
    options: tuple[str, ...] = ()

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def command(self, arguments: str, *options: str) -> list[str]:
        """Return `docker run` as in the README, with more options; `arguments` as in a shell."""
        secrets = f"{self.folder}/secrets:/secrets"
        run = ["docker", "run", "--rm", "-i", *self.options, "-v", secrets, *options]
        return [*run, self.image, *shlex.split(arguments)]

    def run(self, arguments: str, *options: str) -> Output:
        """Return the output of one command of the connector, which must be protocol messages."""
        return output_of(self.docker(*self.command(arguments, *options)[1:]))

    def shell(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a script inside the image instead of the connector."""
        run = ["run", "--rm", *self.options, *options, "--entrypoint", "sh"]
        return self.docker(*run, self.image, "-c", script)

    def write(self, name: str, value: Any) -> None:
        """Write a file into `secrets`."""
        path = self.folder / "secrets" / name
        path.write_text(json.dumps(value))
        give(path)


def give(path: Path, user: int = 1000) -> None:
    """Let a user of a container read and write it, and as few others as possible."""
    if os.getuid() == 0:
        os.chown(path, user, user)
        path.chmod(0o700 if path.is_dir() else 0o600)
    else:
        path.chmod(0o777 if path.is_dir() else 0o666)


def output_of(done: subprocess.CompletedProcess[str]) -> Output:
    lines = done.stdout.splitlines()
    try:
        return Output([json.loads(line) for line in lines], done.returncode)
    except ValueError:
        pytest.fail(f"not the protocol: {done.stdout[-2000:]} {done.stderr[-2000:]}")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("image")
    (folder / "secrets").mkdir()
    give(folder / "secrets")
    given = os.environ.get("IMAGE")
    if given:
        environment = dict(os.environ)
        if shutil.which("docker") is None:
            (folder / "bin").mkdir()
            (folder / "bin" / "docker").symlink_to(str(shutil.which("podman")))
            environment["PATH"] = f"{folder}/bin:{environment['PATH']}"
        yield Engine(given, environment, folder, ("--network=host",))
        return
    where = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/lib/podman"])
    missing = [name for name in NEEDED if shutil.which(name, path=where) is None]
    if os.getuid() != 0 and subprocess.getstatusoutput("sudo -n true")[0] != 0:
        missing.append("root (or sudo without a password)")
    if missing:
        reason = f"{', '.join(missing)} needed (apt-get install), or IMAGE with docker or podman"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    # We hold its standard input. It cleans up when that is closed, however this process ends.
    stand_in = subprocess.Popen(
        [str(STAND_IN / "engine.sh"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stand_in.stdin is not None and stand_in.stdout is not None
    try:
        assert stand_in.stdout.readline() == "ready\n", "engine.sh failed, see above"
        environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        build(folder, environment)
        yield Engine(IMAGE, environment, folder)
    finally:
        stand_in.stdin.close()
        assert stand_in.wait(timeout=300) == 0
        assert str(folder) not in Path("/proc/mounts").read_text()


def configuration(provider: str, box: Sandbox) -> dict[str, Any]:
    return ACCOUNTS[provider](box).config()


def catalog(provider: str) -> Any:
    path = ROOT / "integration_tests" / provider / "configured_catalog.json"
    return json.loads(path.read_text())


def build(folder: Path, environment: dict[str, str]) -> None:
    """Run `make image` in a copy of the checkout with secrets and leftover files in it."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("Dockerfile", ".dockerignore", "Makefile", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    shutil.copy(ROOT / "README.md", checkout)
    for name in ("source_meetings", "schemas", "sandbox", "unit_tests"):
        # Other tests write to __pycache__ meanwhile.
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for place in ("", "secrets", "source_meetings", "source_meetings/providers/close", "schemas"):
        (checkout / place).mkdir(exist_ok=True)
        for name in (".env", "config.txt", "state.jsonl"):
            (checkout / place / name).write_text(DECOY)
    # The build may download packages, so it needs the certificates and the index that pip uses
    # here.
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    index = re.findall(r"(index-url)='(http[^']*)'", settings.stdout)
    pip = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    pip += [f"{name} = {url}" for name, url in index]
    (folder / "pip.conf").write_text("\n".join(pip))
    certificates = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    options = ["--quiet", "--pull=never", "--layers=false", "--network=host"]
    options += ["--build-arg", "BASE_IMAGE=localhost/stand-in-base"]
    options += ["-v", f"{certificates}:/etc/ssl/certs/ca-certificates.crt:ro"]
    options += ["-v", f"{folder}/pip.conf:/etc/pip.conf:ro"]
    done = subprocess.run(
        ["make", "image", f"IMAGE_OPTIONS={shlex.join(options)}"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    shutil.rmtree(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


# -- the image ------------------------------------------------------------------------------------


def test_the_image_has_labels_and_runs_as_the_user_of_the_base(engine: Engine) -> None:
    # Given the built image
    (image,) = json.loads(engine.docker("image", "inspect", engine.image).stdout)
    config = image["Config"]
    # Then it has the labels that Airbyte reads, a numeric user that is not root, and an absolute
    # entry point, because Airbyte starts it from another folder
    assert config["Labels"]["io.airbyte.name"] == "airbyte/source-meetings"
    assert config["Labels"]["io.airbyte.version"] == __version__
    assert config["User"] == "1000:1000"
    (entry_point,) = config["Entrypoint"]
    assert entry_point.startswith("/")
    assert f"AIRBYTE_ENTRYPOINT={entry_point}" in config["Env"]
    assert engine.shell("id -un").stdout == "airbyte\n"


def test_the_image_contains_no_secrets_no_caches_and_no_tests(engine: Engine) -> None:
    # Given a build from a checkout with a decoy beside every kind of source
    # When root searches the image
    script = f"""
        cd /
        grep -rlF {DECOY} airbyte home root tmp var opt source* build usr/local etc 2>/dev/null
        find / -xdev \\( -path /proc -o -path /sys \\) -prune -o \\( \\
            -path '*/.cache/pip' -o -path '*/pip/_internal' -path '/airbyte/*' \\
            -o -path '/airbyte/*/tests' -o -name unit_tests -o -name sandbox -path '/airbyte/*' \\
            -o -name integration_tests -o -path /build -o -name '*.whl' -path '/airbyte/*' \\
        \\) -print
    """
    found = engine.shell(script, "--user=0")
    # Then it finds no decoy, and nothing that only builds and tests need
    assert found.stdout == ""
    # And it does find the package, which is compiled for a fast start
    compiled = engine.shell("find /airbyte -name 'chain.*.pyc' -path '*/source_meetings/*'")
    assert len(compiled.stdout.splitlines()) == 1
    planted = engine.shell(f"mkdir /build; echo {DECOY} >/tmp/x; {script}", "--user=0")
    assert set(planted.stdout.split()) >= {"tmp/x", "/build"}


# -- the commands ---------------------------------------------------------------------------------


def test_the_commands_in_the_readme_work_without_changes(engine: Engine, box: Sandbox) -> None:
    # Given the configuration and the catalog of an account in secrets/, as the README says
    ACCOUNTS["salesloft"].sample(box)
    engine.write("config.json", configuration("salesloft", box))
    engine.write("configured_catalog.json", catalog("salesloft"))
    readme = (ROOT / "README.md").read_text()
    lines = re.findall(r"^docker run .*$", readme, re.MULTILINE)
    # When each command is run
    outputs = {}
    for line in lines:
        words = shlex.split(line)
        command = words[words.index(IMAGE) + 1]
        line = line.replace(IMAGE, " ".join([*engine.options, engine.image]))
        outputs[command] = output_of(
            subprocess.run(
                ["sh", "-c", line],
                cwd=engine.folder,
                env=engine.environment,
                capture_output=True,
                text=True,
            )
        )
    # Then each succeeds
    assert set(outputs) == {"spec", "check", "discover", "read"}
    assert {output.exit_code for output in outputs.values()} == {0}
    (specification,) = outputs["spec"].of("SPEC")
    assert "provider" in specification["spec"]["connectionSpecification"]["properties"]
    (status,) = outputs["check"].of("CONNECTION_STATUS")
    assert status["connectionStatus"] == {"status": "SUCCEEDED"}
    (found,) = outputs["discover"].of("CATALOG")
    assert found["catalog"]["streams"][0]["name"] == "salesloft_meetings"
    assert len(outputs["read"].records("salesloft_meetings")) == len(box.salesloft.truth())


@pytest.mark.parametrize("provider", ACCOUNTS)
def test_a_read_only_image_with_little_memory_reads_every_stream(
    engine: Engine, box: Sandbox, provider: str, tmp_path: Path
) -> None:
    # Given a completely read-only file system (podman would make temporary folders writable), 256
    # MB, another user than the image's, and no privileges
    account = ACCOUNTS[provider].sample(box)
    engine.write("config.json", configuration(provider, box))
    engine.write("configured_catalog.json", catalog(provider))
    confined = ["--read-only", "-v", f"{tmp_path}:/tmp:ro", "-v", f"{tmp_path}:/var/tmp:ro"]
    confined += ["--memory=256m", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    # When every stream is read
    files = "--config /secrets/config.json --catalog /secrets/configured_catalog.json"
    output = engine.run(f"read {files}", *confined)
    # Then the tables equal the provider's data
    assert output.exit_code == 0
    for stream in account.tables:
        table = Table(stream)
        table.load(output)
        assert not any(account.differences(table).values()), stream


def test_airbyte_runs_the_entry_point_through_a_shell_in_its_own_folder(
    engine: Engine, box: Sandbox
) -> None:
    # Given files in /source as the working directory, and a shell, as Airbyte uses them
    engine.write("config.json", configuration("salesloft", box))
    folder = f"{engine.folder}/secrets:/source"
    # When the connection is checked
    done = engine.shell(
        'eval "$AIRBYTE_ENTRYPOINT check --config config.json"', "-v", folder, "--workdir=/source"
    )
    # Then the shell finds the entry point
    (status,) = output_of(done).of("CONNECTION_STATUS")
    assert status["connectionStatus"] == {"status": "SUCCEEDED"}


def test_any_user_can_run_it_and_new_tokens_are_written_to_the_mounted_file(
    engine: Engine, box: Sandbox
) -> None:
    # Given a configuration with a refresh token, in a file of another user than the image's
    config = ACCOUNTS["salesloft"](box).config(oauth=True)
    engine.write("config.json", config)
    secrets = engine.folder / "secrets"
    user = 4321 if os.getuid() == 0 else os.getuid()
    for path in (secrets, secrets / "config.json"):
        give(path, user)
    # When that user checks the connection
    try:
        output = engine.run("check --config /secrets/config.json", f"--user={user}:{user}")
    finally:
        give(secrets)
    # Then it succeeds, and the file has the new token
    (status,) = output.of("CONNECTION_STATUS")
    assert status["connectionStatus"] == {"status": "SUCCEEDED"}
    stored = json.loads((secrets / "config.json").read_text())["provider"]["credentials"]
    assert stored["refresh_token"] == box.salesloft.oauth.refresh_token
    assert stored["refresh_token"] != config["provider"]["credentials"]["refresh_token"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("check --config /secrets/wrong_key.json", 0),  # the answer is in the message
        ("read --config /secrets/wrong_key.json --catalog /secrets/catalog.json", 1),
        ("read --config /secrets/config.json --catalog /secrets/absent.json", 1),
        ("discover --config /secrets/absent.json", 1),
    ],
    ids=["check", "read", "no catalog", "no configuration"],
)
def test_a_failure_has_the_exit_code_that_platforms_expect(
    engine: Engine, box: Sandbox, arguments: str, code: int
) -> None:
    # Given a key that the provider refuses, and missing files
    config = configuration("salesloft", box)
    engine.write("config.json", config)
    config["provider"]["credentials"]["api_key"] = "refused"
    engine.write("wrong_key.json", config)
    engine.write("catalog.json", catalog("salesloft"))
    # When a command is run
    output = engine.run(arguments)
    # Then it has the exit code that platforms use, and an error says what is wrong
    assert output.exit_code == code
    if code == 0:
        (status,) = output.of("CONNECTION_STATUS")
        assert status["connectionStatus"]["status"] == "FAILED"
    assert [error["failure_type"] for error in output.errors] == ["config_error"] * (code == 1)


def test_a_container_that_takes_more_memory_than_its_limit_is_killed(engine: Engine) -> None:
    # Given the limit of the tests above, and a program that needs a little more
    program = f"/airbyte/venv/bin/python -c \"b'x' * {256 * 1024**2}\""
    # When it is run with and without the limit
    within, without = engine.shell(program, "--memory=256m"), engine.shell(program)
    # Then it is killed only with the limit
    assert (within.returncode, without.returncode) == (137, 0)


@pytest.mark.parametrize("waiting", [False, True], ids=["while it writes", "while it waits"])
def test_a_stopped_container_ends_in_time_with_a_complete_line(
    engine: Engine, box: Sandbox, waiting: bool, tmp_path: Path
) -> None:
    # Given a sync in the middle of its rows, or one that waits for the rate limit
    box.salesloft.generate(count=600 if waiting else 20_000)
    if waiting:
        box.fault("meetings", nth=4, times=99, kind="status", status=429, headers=RETRY)
    engine.write("config.json", configuration("salesloft", box))
    engine.write("catalog.json", catalog("salesloft"))
    printed = tmp_path / "printed"
    files = "--config /secrets/config.json --catalog /secrets/catalog.json"
    with printed.open("w") as stdout:
        command = engine.command(f"read {files}", "--name=stopped")
        reading = subprocess.Popen(
            command, cwd=engine.folder, env=engine.environment, stdout=stdout
        )
        while '"RECORD"' not in printed.read_text() or (waiting and not told_to_wait(box)):
            assert reading.poll() is None, printed.read_text()[-2000:]
            time.sleep(0.1)
        # When it is stopped: SIGTERM, and SIGKILL five seconds later
        assert engine.docker("stop", "-t", "5", "stopped").returncode == 0
        code = reading.wait(timeout=10)
    # Then it ends before SIGKILL, and its last line is complete
    assert code == 128 + 15
    text = printed.read_text()
    assert text.endswith("\n")
    output = Output([json.loads(line) for line in text.splitlines()], code)
    assert 0 < len(output.records()) < len(box.salesloft.meetings)


RETRY = {"Retry-After": "60"}


def told_to_wait(box: Sandbox) -> bool:
    return any(request.status == 429 for request in box.requests)


# -- temporary files ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "discover", "read"])
def test_a_container_leaves_no_temporary_files_however_it_ends(
    engine: Engine, box: Sandbox, command: str, tmp_path: Path
) -> None:
    # Given a temporary directory outside the container
    box.salesloft.generate(count=600)
    config = configuration("salesloft", box)
    engine.write("config.json", config)
    config["provider"]["credentials"]["api_key"] = "a key" if command == "discover" else "refused"
    engine.write("wrong_key.json", config)
    engine.write("catalog.json", catalog("salesloft"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    give(temporary)
    there = ["-v", f"{temporary}:/temporary", "-e", "TMPDIR=/temporary"]
    arguments = f"{command} --config /secrets/config.json"
    if command == "read":
        arguments += " --catalog /secrets/catalog.json"
    # When commands succeed, fail, and lose their reader
    assert engine.run(arguments, *there).exit_code == 0
    failed = engine.run(arguments.replace("config.json", "wrong_key.json"), *there)
    assert failed.errors or "FAILED" in str(failed.of("CONNECTION_STATUS"))
    secrets = ["-v", f"{engine.folder}/secrets:/secrets"]
    cut = engine.shell(f"$AIRBYTE_ENTRYPOINT {arguments} | head -1", *there, *secrets)
    assert len(cut.stdout.splitlines()) == 1
    # And when commands are stopped, interrupted and killed while they wait for an answer (except
    # discover, which sends no request)
    box.fault("/", 1, 10**6, kind="stall", seconds=60)
    for number, code in (("TERM", 143), ("INT", 130), ("KILL", 137)):
        box.forget_requests()
        name = f"ended-by-{number.lower()}"
        run = engine.command(arguments, f"--name={name}", *there)
        with subprocess.Popen(
            run, cwd=engine.folder, env=engine.environment, stdout=subprocess.PIPE
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline()
            while command != "discover" and not box.requests:
                assert running.poll() is None
                time.sleep(0.1)
            engine.docker("kill", f"--signal={number}", name)
            running.stdout.read()
            assert running.wait(timeout=60) in (code, 0 if command == "discover" else code)
    # Then the directory is empty
    assert list(temporary.iterdir()) == []


# -- Airflow --------------------------------------------------------------------------------------


@pytest.fixture
def airflow(engine: Engine, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Answers with lines of JSON (see airflow_example.py) and logs to `airflow.log`."""
    if not AIRFLOW.exists():
        reason = "Airflow is not installed: make airflow"
        pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)
    folders = {"AIRFLOW_HOME": str(tmp_path), "MEETINGS_FOLDER": str(engine.folder)}
    command = [str(AIRFLOW), str(Path(__file__).parent / "airflow_example.py")]
    environment = {**os.environ, **folders, "MEETINGS_IMAGE": engine.image}
    pipe = subprocess.PIPE
    with (
        (tmp_path / "airflow.log").open("w") as log,
        subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True
        ) as process,
    ):
        yield process


def test_the_example_for_airflow_keeps_the_rows_of_a_failed_run_and_continues_from_them(
    engine: Engine, airflow: subprocess.Popen[str], box: Sandbox, tmp_path: Path
) -> None:
    # Given the example, loaded by Airflow
    assert airflow.stdin is not None and airflow.stdout is not None
    dag = json.loads(airflow.stdout.readline())
    assert dag["tasks"] == {
        "read": {"trigger_rule": "all_success", "upstream": []},
        "keep": {"trigger_rule": "all_done", "upstream": ["read"]},
        "done": {"trigger_rule": "all_success", "upstream": ["keep", "read"]},
    }
    assert dag["max_active_runs"] == 1
    task = dag["read"]
    assert (task["type"], task["image"]) == ("DockerOperator", engine.image)
    data = engine.folder / "data"
    data.mkdir()
    give(data)
    # And a provider that refuses a page in the middle of the first sync, which has one worker
    box.salesloft.generate(count=1500)
    box.fault("meetings", nth=12, kind="status", status=403)
    engine.write("config.json", {**configuration("salesloft", box), "num_workers": 2})
    engine.write("catalog.json", catalog("salesloft"))
    # When the tasks are run, with the container as the operator starts it, before and after changes
    codes, counts = [], []
    for _ in range(3):
        mounts = [f"-v={source}:{target}" for target, source in task["mounts"].items()]
        run = ["run", "--rm", *engine.options, f"--memory={task['memory']}", *mounts]
        shell, *options = task["entrypoint"]
        run += [f"--entrypoint={shell}", task["image"], *options, *task["command"]]
        codes.append(engine.docker(*run).returncode)
        airflow.stdin.write(f"{data}\n")
        airflow.stdin.flush()
        counts.append(json.loads(airflow.stdout.readline())["salesloft_meetings"])
        ACCOUNTS["salesloft"](box).change_for_demo()
    # Then the failed run counts as failed, and the log says why
    assert codes == [1, 0, 0]
    assert "meetings:read" in (tmp_path / "airflow.log").read_text()
    # And its rows were kept, and not all of them were read again
    assert 0 < counts[0] < 1500 and counts[1] < 1500 and counts[2] < 10
    # And the files have every meeting, as it was before the last changes
    files = sorted(data.glob("salesloft_meetings.*.jsonl"))
    assert len(files) == 3
    keys = {row["id"] for file in files for row in map(json.loads, file.open())}
    assert len(keys) == len(box.salesloft.truth()) - 1
