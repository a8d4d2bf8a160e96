"""Airbyte's standard tests of each provider, run against the sandbox, and their sample files:
https://github.com/airbytehq/airbyte-python-cdk/tree/main/airbyte_cdk/test/standard_tests
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from airbyte_cdk.test.models import ConnectorTestScenario
from airbyte_cdk.test.models.scenario import ScenarioCommand
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

from integration_tests.samples import invalid_config, sample, sample_config
from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from source_meetings.source import SourceMeetings
from unit_tests.harness import Output, catalog, read

# A warning that will be an error in a future version of the CDK is an error here already.
pytestmark = pytest.mark.filterwarnings(
    "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning"
)

COMMANDS: dict[str, ScenarioCommand] = {
    "test_config_matches_spec": "spec",
    "test_check": "check",
    "test_discover": "discover",
    "test_basic_read": "read",
    "test_fail_read_with_bad_catalog": "read",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        command = COMMANDS[metafunc.function.__name__]
        scenarios = [one for one in TestStandard.get_scenarios() if one.runs(command)]
        names = ["/".join(one.config_path.parts[-2:]) for one in scenarios if one.config_path]
        metafunc.parametrize("scenario", scenarios, ids=names, indirect=True)


class TestStandard(SourceTestSuiteBase):
    """Every entry in acceptance-test-config.yml, with an account in the sandbox."""

    connector = SourceMeetings

    @pytest.fixture
    def scenario(self, request: pytest.FixtureRequest, box: Sandbox) -> ConnectorTestScenario:
        path = request.param.config_path
        provider = path.stem if path.parts[0] == "secrets" else path.parts[-2]
        account = ACCOUNTS[provider].sample(box)
        invalid = path.name == "invalid_config.json"
        config = invalid_config(account) if invalid else sample_config(account)
        scenario: ConnectorTestScenario = request.param
        return scenario.model_copy(update={"config_dict": config})


for _name in dir(SourceTestSuiteBase):
    if _name.startswith("test_docker_image"):  # they need a registry, which test_image.py does not
        setattr(TestStandard, _name, None)


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest, box: Sandbox) -> Account:
    return ACCOUNTS[request.param].sample(box)


def read_samples(account: Account, state: str) -> Output:
    return read(
        sample_config(account),
        sample(account.name, state),
        configured=sample(account.name, "configured_catalog.json"),
    )


def test_the_sample_catalog_has_every_stream_as_discover_reports_it(account):
    # Given the output of discover for the sample configuration
    source = SourceMeetings(config=sample_config(account))
    discovered = [one["stream"] for one in catalog(source, None, "incremental")["streams"]]
    # When it is compared with the sample catalog
    configured = sample(account.name, "configured_catalog.json")
    streams = [one["stream"] for one in configured["streams"]]
    # Then both are the same, except for the schemas, which the sample leaves out
    keys = streams[0].keys() | {"source_defined_cursor", "default_cursor_field"}
    assert [{**one, "json_schema": {}} for one in streams] == streams
    assert [
        {key: one[key] for key in keys if key in one} | {"json_schema": {}} for one in discovered
    ] == streams


def test_a_sync_continues_from_the_sample_state(account):
    # Given the state of a first sync of this account, without changes since then
    # When it is read
    output = read_samples(account, "sample_state.json")
    # Then of an incremental stream, only the few rows of the look-back are read again
    assert output.exit_code == 0, output.errors
    states = sample(account.name, "sample_state.json")
    streams = [one["stream"]["stream_descriptor"]["name"] for one in states]
    for stream in streams:
        assert len(output.records(stream)) < len(account.truth(stream)) / 10, stream


def test_a_state_from_the_future_is_not_trusted(account):
    # Given a state from a far future
    # When it is read
    output = read_samples(account, "abnormal_state.json")
    # Then everything is read again, the log says why, and the new state has today's time
    assert output.exit_code == 0, output.errors
    assert any("is ahead of" in line for line in output.logs)
    whole = read(sample_config(account))
    assert len(output.records()) == len(whole.records())
    assert "2999" not in str(output.last_states())


def test_the_metadata_fits_airbytes_published_model(clients):
    # Given metadata.yaml, and the model of https://pypi.org/project/airbyte-connector-models/
    code = """if True:
        import sys, yaml
        from airbyte_connector_models.metadata.v0.connector_metadata_definition_v0 import (
            ConnectorMetadataDefinitionV0,
        )
        ConnectorMetadataDefinitionV0.model_validate(yaml.safe_load(sys.stdin))"""
    # When it is loaded with the model, which refuses unknown keys
    metadata = (Path(__file__).parent.parent / "metadata.yaml").read_text()
    done = subprocess.run([clients, "-c", code], input=metadata, capture_output=True, text=True)
    # Then it fits
    assert done.returncode == 0, done.stderr
