"""The process that holds the local stack together: it starts the others, serves the API, and ends what it started.

    this process ── API Gateway stand-in, function host, queue pollers, schedules
      ├─ embedded AWS       what was written to it survives
      ├─ model stand-in     unless the environment names real endpoints
      ├─ workers            one Lambda execution environment each
      └─ keepers            each with the server of a function that streams

Workers and keepers hold one end of a pipe, the lifeline. When this process dies, even by SIGKILL, idle workers end at
once, a busy one ends after its event, a server after what it streams, and when the last has gone the embedded AWS and
the stand-in read the pipe's end and leave: a call under way is still answered by a model and still settled in the
ledger.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from scripts.dev.api_gateway.security import Credentials, authorizers
from scripts.dev.bell import Bell
from scripts.dev.http_server import Connections, HttpServer, descriptors
from scripts.dev.http_server.connections import room
from scripts.dev.lambda_runtime.environment import MODEL_ENDPOINTS, own_environment, shared_environment
from scripts.dev.lambda_runtime.invoke_api import invoke_by_name
from scripts.dev.lambda_runtime.pool import FunctionHost, PreforkServer
from scripts.dev.lambda_runtime.web_adapter import IDLE, WebFunction
from scripts.dev.listening import HOST, CannotStart, chosen_port, free_port, listen, listen_for_tls, lock, read_json
from scripts.dev.moto_aws.ownership import dismiss
from scripts.project.template import Function, Template, project_template

if TYPE_CHECKING:
    from scripts.dev.identity_provider import IdentityProvider

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
_START = 60.0
_GRACE = 5.0
_LAST_RESORT = 15.0  # seconds after which a stop that does not end is ended


class Stopped(Exception):
    """The bell was rung while the stack started."""


class Supervisor:
    """The local stack. `port` None means that no API is served; it is served over TLS as well, at `tls_port`.

    `tls_port` None prefers the usual port, and takes a free one where it is taken. `over` is rung by whoever wants it
    to stop, and by itself where a process that everything needs has died: then it is `broken`.
    """

    def __init__(
        self, data: Path, port: int | None, environment: Mapping[str, str], over: Bell, tls_port: int | None = None
    ):
        self.data = data.resolve()
        self.logs = self.data / "logs"
        self._port, self._tls_port = port, tls_port
        self._user = dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lifeline: int | None = None
        self._lock: IO[str] | None = None
        self._api: HttpServer | None = None
        self._tls: HttpServer | None = None
        self._control: HttpServer | None = None
        self._functions: FunctionHost | None = None
        self._nursery: PreforkServer | None = None
        self._servers: dict[str, WebFunction] = {}
        self._background: list[Any] = []
        self._stopping = False
        self._over = over
        self.broken = False
        self._connections: Connections | None = None  # of the API, by either protocol
        self.url: str | None = None
        self.tls_url: str | None = None
        self.region = ""
        self.ca: Path | None = None
        self.tenants: list[dict[str, Any]] = []
        self.identity: IdentityProvider | None = None

    # --------------------------------------------------------------------------------------------------- start
    def start(self) -> None:
        """Start everything; return when calls can come. Raises CannotStart, and Stopped where the bell rings first."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.data)
        files = descriptors()
        self._connections = Connections()
        if self._port is not None:
            self._api = listen(self._port, self._connections)
        control = Connections(max(files // 32, 8))
        self._control = HttpServer(HOST, 0, connections=control)

        before = read_json(self.data / "stack.json")
        life, self._lifeline = os.pipe()
        dismiss(self.data)  # of a stack that was killed while calls were under way
        address = self._user.get("GATEWAY_DEV_HOST") or HOST
        aws_port = chosen_port(self._user, "GATEWAY_DEV_AWS_PORT") or free_port(before.get("aws_port"))
        models_port = chosen_port(self._user, "GATEWAY_DEV_MODELS_PORT")
        aws_url = f"http://{address}:{aws_port}"
        embedded = self._spawn(
            "embedded-aws", life, "scripts.dev.moto_aws", "--host", address, "--port", str(aws_port),
            "--data", str(self.data), "--control", self._control.url, "--exit-with-parent",
        )  # fmt: skip
        stand_in, ledger = None, self.data / "model-stand-in.jsonl"
        if not all(self._user.get(name) for name in MODEL_ENDPOINTS):
            stand_in = self._spawn(
                "model-stand-in", life, "scripts.dev.fake_models", "--host", address, "--port", str(models_port),
                "--ledger", str(ledger), "--exit-with-parent",
            )  # fmt: skip
        os.close(life)
        template = project_template(self._user, aws_url)
        shared = shared_environment(self._user, template, aws_url)
        self._nursery = PreforkServer(shared, self._lifeline)

        # While the others start: the spec, which takes this process a second to read.
        from scripts.dev.api_gateway.routes import Spec
        from scripts.dev.rest_api.importing import ImportRefused

        spec_path = template.api_definition()
        self._go_on()
        try:
            spec = Spec(spec_path, template.resolve) if spec_path is not None else None
        except ImportRefused as refused:
            raise CannotStart(str(refused)) from None
        if self._api is not None and spec is not None:
            from scripts.dev.certificate import certificate

            own = certificate(self.data / "tls")
            self._tls = listen_for_tls(self._tls_port, self._connections, own.context(), before.get("tls_port"))
            self.tls_url, self.ca = self._tls.url, own.ca
        functions = template.functions()

        model_url = self._await(stand_in, "model-stand-in") if stand_in is not None else None
        shared |= {name: self._user.get(name) or str(model_url) for name in MODEL_ENDPOINTS}
        environments = {name: shared | own_environment(function) for name, function in functions.items()}
        host = FunctionHost(
            {name: function for name, function in functions.items() if not function.serves_http},
            environments,
            self.logs,
            self._nursery,
            _concurrency(self._user, files),
        )
        self._functions = host
        # Every worker has a socket of its own, and every call of the control server one to its worker.
        self._connections.most = room(sum(pool.cap for pool in set(host.pools.values())) + 2 * control.most)
        idle = float(self._user.get("GATEWAY_DEV_STREAM_IDLE") or IDLE)
        self._servers = {
            name: WebFunction(function, environments[name], self.logs / f"{name}.log", self._lifeline, idle)
            for name, function in functions.items()
            if function.serves_http
        }
        self._await(embedded, "embedded-aws")
        self._go_on()
        self._control.start(partial(invoke_by_name, host))
        os.environ.update(shared)  # for the clients of this process

        warm = self._warm(spec, functions)
        table = next((table.name for table in template.tables() if table.logical_id == "TenantsTable"), None)
        tenants_file = self.data / "tenants.json"
        kept = read_json(tenants_file).get("admin")
        operator = Credentials(**kept) if kept else Credentials.make()
        if table is not None:
            from scripts.dev.demo_tenants import seed

            self.tenants = seed(table, tenants_file)
            if self._port is not None:
                self._start_identity_provider(table, before)
        for thread in warm:
            while thread.is_alive():
                self._go_on()
                thread.join(0.1)
        self._go_on()
        if self._api is not None and spec is not None:
            from scripts.dev.api_gateway.gateway import ApiGateway

            gateway = ApiGateway(
                spec,
                host,
                self._servers,
                template.usage_plan_keys(),
                template.stage(),
                template.region,
                self.logs,
                authorizers(operator),
            )
            self.url = self._api.url
            self._api.start(gateway.answer)
            if self._tls is not None:
                self._tls.start(gateway.answer)
        self._start_background(template, functions, aws_url)
        self.region = template.region
        shown = {"url": self.url, "region": template.region, "admin": vars(operator), "tenants": self.tenants}
        self._write(tenants_file, shown, 0o600)
        self._write(
            self.data / "stack.json",
            {
                "pid": os.getpid(),
                "url": self.url,
                "api_port": self._api.port if self._api else None,
                "tls_url": self.tls_url,
                "tls_port": self._tls.port if self._tls else None,
                "ca": str(self.ca) if self.ca else None,
                "aws_endpoint": aws_url,
                "aws_port": aws_port,
                "control_url": self._control.url,
                "identity_provider": self.identity.url if self.identity else None,
                "identity_port": self.identity.port if self.identity else before.get("identity_port"),
                "model_stand_in": {"url": model_url, "ledger": str(ledger)} if model_url else None,
                "region": template.region,
                "tables": {table.logical_id: table.name for table in template.tables()},
                "buckets": {bucket.logical_id: bucket.name for bucket in template.buckets()},
                "queues": {queue.logical_id: template.ref(queue.logical_id) for queue in template.queues()},
                "functions": {logical_id: function.name for logical_id, function in functions.items()},
                "state_machines": {name: machine.arn for name, machine in template.state_machines().items()},
                "processes": {name: process.pid for name, process in self._processes.items()}
                | ({"zygote": self._nursery.pid} if self._nursery.pid else {})
                | {name: server.pid for name, server in self._servers.items() if server.pid},
            },
        )
        threading.Thread(target=self._watch, args=(embedded,), daemon=True).start()

    def _start_identity_provider(self, table: str, before: Mapping[str, Any]) -> None:
        """In this process, which has its libraries already for the certificate: another one would take 25 MB."""
        from scripts.dev.demo_tenants import seed_issuer
        from scripts.dev.identity_provider import IdentityProvider

        chosen = chosen_port(self._user, "GATEWAY_DEV_IDENTITY_PORT") or free_port(before.get("identity_port"))
        try:
            self.identity = IdentityProvider(chosen, keys=self.data / "identity-provider.json")
        except OSError as error:
            raise CannotStart(
                f"port {chosen} cannot be used ({error.strerror}); choose another with GATEWAY_DEV_IDENTITY_PORT"
            ) from None
        self.identity.__enter__()
        seed_issuer(table, self.identity.url)

    def _spawn(self, name: str, life: int, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.logs / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=life,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self._user | {"MOTO_ACCOUNT_ID": "123456789012"},
                start_new_session=True,  # a Ctrl-C is for this process, which ends the others in order
            )
        self._processes[name] = process
        return process

    def _go_on(self) -> None:
        if self._over.wait(0):
            raise Stopped

    def _await(self, process: subprocess.Popen[bytes], name: str) -> str:
        """The URL in a process's first line, which it prints when it is ready."""
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        poll.register(self._over, select.POLLIN)
        poll.poll()
        self._go_on()
        line = process.stdout.readline().decode()
        process.stdout.close()
        if not line:
            raise CannotStart(f"the {name} process did not start: see {self.logs / f'{name}.log'}")
        return line.split()[-1]

    def _warm(self, spec: Any, functions: Mapping[str, Function]) -> list[threading.Thread]:
        """Have one worker for whatever a request or a message will need first."""
        assert self._functions is not None
        first = {
            name for name, function in functions.items() if any(source.kind == "SQS" for source in function.events)
        }
        if self._api is not None and spec is not None:
            for route in spec.routes:
                first |= {route.function, route.authorizer.function if route.authorizer else None} & functions.keys()
        threads = [threading.Thread(target=self._warm_one, args=(name,)) for name in sorted(first)]
        for thread in threads:
            thread.start()
        return threads

    def _warm_one(self, name: str) -> None:
        assert self._functions is not None
        warm = self._servers[name].warm if name in self._servers else self._functions.pools[name].warm
        if not warm():
            logger.warning("%s cannot be loaded: see %s", name, self.logs / f"{name}.log")

    def _start_background(self, template: Template, functions: dict[str, Function], aws_url: str) -> None:
        import boto3

        from scripts.dev.lambda_runtime.queue_poller import QueuePoller
        from scripts.dev.lambda_runtime.schedules import Schedules

        assert self._functions is not None
        if self._user.get("GATEWAY_DEV_EVENTS") == "off":
            return
        urls = {queue.arn: template.ref(queue.logical_id) for queue in template.queues()}
        for logical_id, function in functions.items():
            for source in function.events:
                if source.kind == "SQS":
                    arn = source.properties["Queue"]
                    sqs = boto3.client("sqs", endpoint_url=aws_url, region_name=template.region)
                    poller = QueuePoller(
                        sqs, self._functions, logical_id, urls[arn], arn, template.region, source.properties
                    )
                    poller.start()
                    self._background.append(poller)
        schedules = Schedules(self._functions)
        schedules.start(functions, template.state_machines())
        self._background.append(schedules)

    def _watch(self, embedded: subprocess.Popen[bytes]) -> None:
        embedded.wait()
        if not self._stopping:
            logger.error("the embedded AWS has ended: see %s", self.logs / "embedded-aws.log")
            self.broken = True
            self._over.ring()

    @staticmethod
    def _write(path: Path, content: dict[str, Any], mode: int = 0o644) -> None:
        unfinished = path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        unfinished.replace(path)

    # ----------------------------------------------------------------------------------------------------- stop
    def stop(self) -> None:
        """End everything: what runs may finish for some seconds, then nothing is left."""
        self._stopping = True
        threading.Thread(target=_leave_at_last, daemon=True).start()
        end = time.monotonic() + _GRACE
        for each in self._background:
            each.stop()
        apis = [api for api in (self._api, self._tls) if api is not None]
        for api in apis:
            api.stop(0)
        if self.identity is not None:
            self.identity.__exit__()
        for api in apis:
            api.stop(max(end - time.monotonic(), 0))
        if self._functions is not None:
            self._functions.close(max(end - time.monotonic(), 0.2))
        for server in self._servers.values():
            server.close(end)
        if self._control is not None:
            self._control.stop(0)
        if self._nursery is not None:
            self._nursery.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            self._lock.close()


def _leave_at_last() -> None:
    """Whatever holds up the end: what was started reads the end of the lifeline, and goes as well."""
    time.sleep(_LAST_RESORT)
    logger.error("something does not end, so it is left")
    os._exit(1)


def _concurrency(environment: Mapping[str, str], files: int) -> int:
    """Workers of one function, fewer where few files may be open."""
    chosen = environment.get("GATEWAY_DEV_CONCURRENCY") or str(max(min(16, files // 64), 1))
    if not chosen.isdigit() or int(chosen) < 1:
        raise CannotStart(f"GATEWAY_DEV_CONCURRENCY must be a number of workers, not {chosen!r}")
    return int(chosen)
