"""The network alone, on tensors that lie on the device: layouts and precisions; torch.compile, CUDA graphs."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from gpu_galaxies import NETWORKS, PRECISIONS, Kit, computing_in, prepare, time_call
from gpu_record import Line, Step
from torch import Tensor, nn

Tensors = tuple[Tensor, ...]

BATCH = 1024
PART, COMPILED = "forward", "forward, compiled"
LAYOUTS = ("packed", "CUDA graph", "packed, cuDNN chooses", "channels last", "eager")


def list_steps(kit: Kit) -> Iterator[Step]:
    """List all layouts and precisions of both networks."""
    for layout in LAYOUTS:
        for name in NETWORKS:
            for precision in PRECISIONS:
                yield Step(f"{name}, {layout}, {precision}", partial(measure, kit, name, layout, precision))


def list_compiled(kit: Kit) -> Iterator[Step]:
    """List what is compiled, which takes half a minute each: the last part."""
    for name, precision in (("hybrid", "bfloat16"), ("hybrid", "tf32"), ("hybrid-paper", "bfloat16")):
        yield Step(f"{name}, compiled, {precision}", partial(measure, kit, name, "compiled", precision))


def measure(kit: Kit, name: str, layout: str, precision: str) -> Iterator[Line]:
    """Measure one way to run one network."""
    part = COMPILED if layout == "compiled" else PART
    size = kit.size(BATCH)
    tensors = capture_inputs(kit, name, size)
    with computing_in(precision), torch.inference_mode(), cudnn_choosing(layout == "packed, cuDNN chooses"):
        seconds = time_call(kit, make_way(kit, name, layout, precision, tensors))
    yield Line(part, f"{name}, {layout}, {precision}", size / seconds, "galaxies/s", f"batch {size}")


def capture_inputs(kit: Kit, name: str, size: int) -> Tensors:
    """Return what the network is given for some galaxies, whatever the estimator makes of them before."""
    estimator, seen = kit.estimators[name].without_pdf(), []
    hook = estimator.network.register_forward_pre_hook(lambda _, tensors: seen.append(tensors))
    try:
        estimator.estimate(kit.galaxies.take(slice(0, size)).inputs, batch_size=size)
    finally:
        hook.remove()
    return tuple(tensor.clone() for tensor in seen[0])


def make_way(kit: Kit, name: str, layout: str, precision: str, tensors: Tensors) -> Callable[[], object]:
    """Return a call that runs the network once.

    Raises
    ------
    RuntimeError
        There is no such way on this device.
    """
    estimator = kit.estimators[name]
    cast = partial(torch.autocast, kit.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    match layout:
        case "eager":
            network = copy.deepcopy(estimator.network).to(memory_format=torch.contiguous_format)
            return partial(run_network, network, tuple(tensor.contiguous() for tensor in tensors), cast)
        case "channels last":
            return partial(run_network, estimator.network, tensors, cast)
        case "compiled":
            # Without a GPU the compiler is tried as far as it reads the network: what follows takes a minute.
            told = {"backend": "eager"} if kit.device.type == "cpu" else {}
            return partial(run_network, torch.compile(estimator.network, dynamic=False, **told), tensors, cast)
        case "CUDA graph":
            return capture_graph(kit, pack(estimator, precision), tensors)
    return partial(run_network, pack(estimator, precision), tensors, nullcontext)


def run_network(network: Any, tensors: Tensors, context: Callable[[], AbstractContextManager[object]]) -> None:
    """Run a network in a context."""
    with context():
        network(*tensors)


def pack(estimator: Any, precision: str) -> nn.Module:
    """Return the network as the estimator lays it out for inference, which is in no need of autocast.

    Raises
    ------
    RuntimeError
        It lays out none.
    """
    packed: nn.Module | None = getattr(prepare(estimator, precision), "packed", None)
    if packed is None:
        raise RuntimeError(f"{estimator.name} runs its network as it was trained")
    return packed


def capture_graph(kit: Kit, network: nn.Module, tensors: Tensors) -> Callable[[], object]:
    """Capture a network's kernels, which are then started together; see torch.cuda.CUDAGraph."""
    if kit.device.type != "cuda":
        raise RuntimeError("CUDA graphs need a GPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is done once must be done before, and not on the stream that is captured
        for _ in range(3):
            network(*tensors)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = network(*tensors)

    def replay() -> tuple[object, ...]:
        graph.replay()
        return made, tensors  # held: the graph reads and writes where they lie

    return replay


@contextmanager
def cudnn_choosing(chooses: bool) -> Iterator[None]:
    """Have cuDNN try its kernels on each new shape and keep the fastest, for the time of the block."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, chooses
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
