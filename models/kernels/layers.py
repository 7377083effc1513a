"""What ``models.fused`` runs on a GPU."""

from models.kernels.atrous import atrous_batch_norm_relu
from models.kernels.batch_norm import batch_norm_relu, batch_norm_relu_into
from models.kernels.joined import Joint, placed
from models.kernels.tuning import choose_shapes

__all__ = ["Joint", "atrous_batch_norm_relu", "batch_norm_relu", "batch_norm_relu_into", "choose_shapes", "placed"]
