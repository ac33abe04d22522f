"""Builds a stand-in for AWS's base image of Lambda's Python if no image can be pulled.

It contains Debian's Python 3.13 and AWS's own runtime interface client, under the name that SAM CLI requests. It has
the parts of the real image that the functions need: the layout, the environment, exec wrappers. It is not Amazon Linux:
its libc is newer, so it does not prove that a wheel loads on AWS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bundle.recipe import this_machine

ARCHITECTURE = this_machine()
REPOSITORY = "public.ecr.aws/lambda/python"
IMAGE = f"{REPOSITORY}:3.13-{ARCHITECTURE}"
# SAM CLI builds this image once, and would keep using it after the base image changed.
DERIVED = f"{REPOSITORY}:3.13-rapid-{ARCHITECTURE}"
SUITE = "trixie"  # the release of Debian whose Python is Lambda's
PACKAGES = (
    "base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "gzip",
    "libc-bin", "libpython3.13-stdlib", "libstdc++6", "python3.13-minimal", "sed", "tar", "zlib1g",
)  # fmt: skip
WHEELS = {"x86_64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}

BOOTSTRAP = """\
#!/bin/sh
export PYTHONUNBUFFERED=1 AWS_EXECUTION_ENV=AWS_Lambda_python3.13
export PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python:/opt/python/lib/python3.13/site-packages:$LAMBDA_RUNTIME_DIR"
exec $AWS_LAMBDA_EXEC_WRAPPER /var/lang/bin/python3.13 -m awslambdaric "$_HANDLER"
"""
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
RUN mkdir -p /var/lang/bin /var/task /opt \\
    && for name in python3.13 python3 python; do ln -s /usr/bin/python3.13 /var/lang/bin/$name; done
COPY runtime /var/runtime
COPY bootstrap /var/runtime/bootstrap
ENV LANG=C.UTF-8 TZ=:UTC LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime \\
    PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin \\
    LD_LIBRARY_PATH=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/task:/var/task/lib:/opt/lib
WORKDIR /var/task
ENTRYPOINT ["/var/runtime/bootstrap"]
"""


class NoImage(Exception):
    """No base image exists locally, and none can be pulled or built; carries the reason as one sentence."""


def ready(work: Path) -> str:
    """Provide the image; returns where it came from. Raises NoImage."""
    if not docker("image", "inspect", IMAGE).returncode:
        return "was here"
    if not docker("pull", "--quiet", IMAGE).returncode:
        return "pulled"
    make(work)
    return "a stand-in, built here"


def make(work: Path) -> None:
    """Build the stand-in. Raises NoImage."""
    if not shutil.which("mmdebstrap"):
        raise NoImage(f"{IMAGE} cannot be pulled, and building a stand-in needs mmdebstrap (apt install mmdebstrap)")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run(
        "mmdebstrap", "--quiet", "--variant=extract", "--include=" + ",".join(PACKAGES), SUITE, str(work / "rootfs.tar")
    )
    wheels = ["--only-binary=:all:", "--platform", WHEELS[ARCHITECTURE], "--python-version", "3.13"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(work / "runtime")]
    run(*pip, *wheels, "awslambdaric", "boto3")
    (work / "bootstrap").write_text(BOOTSTRAP)
    (work / "bootstrap").chmod(0o755)
    (work / "Dockerfile").write_text(DOCKERFILE)
    # The classic builder: BuildKit is a plugin that may be missing.
    run("docker", "build", "--quiet", "--tag", IMAGE, str(work), DOCKER_BUILDKIT="0")
    docker("image", "rm", "--force", DERIVED)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise NoImage(
            f"{command[0]} failed, so no stand-in for {IMAGE} was built:\n{(done.stdout + done.stderr)[-2000:]}"
        )
