"""Prints each function's size with its layers, and fails above Lambda's limit: the last step of `make build`.

It measures the output of `sam build`; Lambda counts the unzipped files of a function and of its layers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.project.template import LAYER, ROOT, functions, load, of_type

LIMIT = 250_000_000  # bytes; AWS documents 250 MB
BUILD = ROOT / ".aws-sam/build"
LAYERS_LIMIT = 5
ADAPTER = "Lambda Web Adapter"
# The build lacks AWS's layer, so this allows for it: a binary of some 8 MB, and its script.
ADAPTER_ALLOWANCE = 10_000_000


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(build: Path) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """The bytes of each layer, and of each function by part: its own code and the layers."""
    template = load(build / "template.yaml")
    layers = {name: size(build / said["ContentUri"]) for name, said in of_type(template, LAYER).items()}
    weighed = {
        name: {"code": size(build / function.code)}
        | {layer: layers[layer] for layer in function.layers}
        | ({ADAPTER: ADAPTER_ALLOWANCE} if function.serves_http else {})
        for name, function in functions(template).items()
    }
    return layers, weighed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, nargs="?", default=BUILD)
    layers, weighed = measure(parser.parse_args().build)
    for name, weight in layers.items():
        print(f"{weight / 1e6:8.1f} MB  {name}")
    failed = 0
    for name, parts in weighed.items():
        total = sum(parts.values())
        allowed = f", with {ADAPTER_ALLOWANCE / 1e6:.0f} MB reserved for the {ADAPTER}" if ADAPTER in parts else ""
        print(f"{total / 1e6:8.1f} MB  {name}, its code {parts['code'] / 1e3:.1f} kB{allowed}")
        if total > LIMIT or len(parts) - 1 > LAYERS_LIMIT:
            print(f"{name} is above Lambda's limit of {LIMIT / 1e6:.0f} MB or {LAYERS_LIMIT} layers", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
