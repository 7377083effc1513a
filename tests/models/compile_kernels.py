"""Compile every Triton kernel for an H100 or H200, which needs no GPU; prints the name of each."""

from importlib import import_module

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGET = GPUTarget("cuda", 90, 32)
CONSTANTS = {"ROWS": 64, "CHANNELS": 64, "PARTS": 64, "BLOCK": 32, "COLUMNS": 16}
FLOATS = (
    *("row_fractions", "column_fractions", "sums", "corners", "totals", "loss", "parts", "statistics"),
    *("running_mean", "running_var", "gamma", "beta", "weight"),
)
POINTERS = {
    **dict.fromkeys(("logits", "values", "features", "output", "gradient"), "*bf16"),
    **dict.fromkeys(("row_starts", "column_starts"), "*i32"),
    **dict.fromkeys(FLOATS, "*fp32"),
    "labels": "*u8",
}
KERNELS = {
    "training.kernels.upsampled_loss": ("_cells", "_features"),
    "models.kernels.batch_norm": ("_measure", "_finalise", "_normalise", "_reduce_gradient", "_gradient"),
    "models.kernels.atrous": ("_convolve_kernel", "_weight_gradient_kernel"),
}

for module, names in KERNELS.items():
    for name in names:
        kernel = getattr(import_module(module), name)
        constants = {key: value for key, value in CONSTANTS.items() if key in kernel.arg_names}
        if name == "_cells":
            constants["ROWS"] = 4
        types = {"momentum": "fp32", "eps": "fp32"} | POINTERS | dict.fromkeys(constants, "constexpr")
        signature = {argument: types.get(argument, "i32") for argument in kernel.arg_names}
        compiled = triton.compile(ASTSource(kernel, signature, constants), target=TARGET)
        assert compiled.asm["cubin"]
        print(name)
