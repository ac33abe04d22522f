"""Runs the pinned SAM CLI's `sam deploy` on a samconfig.toml and arguments, up to its first AWS call."""

from __future__ import annotations

import copy
import functools
import inspect
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner
from samcli.commands._utils import options, template
from samcli.commands.deploy import command

from scripts.project.template import ROOT

_parsed = functools.cache(template.get_template_data)  # the command reads it several times over, for seconds each


def _template(template_file: str) -> Any:
    return copy.deepcopy(_parsed(str(template_file)))


def deployed(config: Path, *arguments: str) -> dict[str, Any]:
    """The command's options by name, with `parameter_overrides` as CloudFormation gets them."""
    environment = {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    given = ["-t", str(ROOT / "template.yaml"), "--config-file", str(config), *arguments]
    with (
        mock.patch.object(template, "get_template_data", _template),
        mock.patch.object(options, "get_template_data", _template),
        mock.patch.object(command, "do_cli", autospec=True) as deploys,
    ):
        done = CliRunner(env=environment).invoke(command.cli, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = inspect.signature(command.do_cli).bind(*deploys.call_args.args, **deploys.call_args.kwargs)
    return dict(told.arguments)
