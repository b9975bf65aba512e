"""Time HPBNet: one JSON object a line, with the device, network, size, precision, stage and median milliseconds.

    python tools/bench_hpbnet.py [--size 256 --size 512] [--weights FILE] [--repeats 5] [--threads N]

Without weights the published widths are timed at each size, full and U-Net only (time does not depend on the weights),
on the CPU and on CUDA where there is a device, one picture at a time, in float32 and in bfloat16. Stages: the network
alone; then `harmonize`, which adds Eq. (3) (with `residual`, the mirror image) and fitting the grid. The paper:
218 ms at 512 px on a V100. Run it with nothing else busy.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from hpbnet.harmonize import Painter
from hpbnet.layers import Layers
from hpbnet.models import load_network
from hpbnet.networks.hpbnet import HPBNet, HPBNetConfig

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Parse, build, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for name, network in networks(arguments.weights, arguments.size or [256, 512]):
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            for precision in PRECISIONS:
                for stage, milliseconds in bench(network.to(device), device, precision, arguments.repeats):
                    row = {
                        "device": torch.cuda.get_device_name()
                        if device == "cuda"
                        else f"cpu x{torch.get_num_threads()}",
                        "network": name,
                        "size": network.config.resolution,
                        "precision": precision,
                        "stage": stage,
                        "milliseconds": round(milliseconds, 2),
                        "parameters": sum(parameter.numel() for parameter in network.parameters()),
                    }
                    print(json.dumps(row), flush=True)


def networks(weights: str | None, sizes: list[int]) -> list[tuple[str, HPBNet]]:
    """Load what is given, or build the published widths at each size."""
    if weights is None:
        return [
            ("full" if full else "unet", HPBNet(HPBNetConfig(resolution=size, generator=full)).eval())
            for size in sizes
            for full in (False, True)
        ]
    network = load_network(weights)
    if not isinstance(network, HPBNet):
        raise SystemExit(f"{weights} holds a {type(network).__name__}, expected an HPBNet")
    return [(weights, network)]


@torch.inference_mode()
def bench(network: HPBNet, device: str, precision: str, repeats: int) -> list[tuple[str, float]]:
    """Time the network, and the harmonizer that it makes [ms]."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = network.config.resolution
    draw = torch.Generator().manual_seed(0)
    composite, alpha = (torch.rand(1, channels, size, size, generator=draw).to(device) for channels in (3, 1))
    layers = Layers(composite, alpha, composite)
    harmonizer = Painter(network)

    def timed(step: Callable[[], object]) -> float:
        seconds = []
        with torch.autocast(device, PRECISIONS[precision], enabled=precision != "float32"):
            for _ in range(repeats + 2):  # the first two warm up
                started = time.perf_counter()
                step()
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[2:]) * 1000

    stages = [("network", timed(lambda: network(composite, alpha)))]
    return stages + ([("harmonize", timed(lambda: harmonizer(layers)))] if precision == "float32" else [])


if __name__ == "__main__":
    main()
