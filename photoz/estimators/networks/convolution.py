"""The convolution that both image branches are made of, each followed by ReLU."""

from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Module):
    """A convolution with half a kernel of padding, which is "same" at stride 1, and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2)

    def forward(self, images_NCYX: Tensor) -> Tensor:
        """Return (N, channels_out, Y, X)."""
        # In place, since no gradient needs what the convolution gave: ReLU's asks for its own output.
        return functional.relu(self.convolution(images_NCYX), inplace=True)
