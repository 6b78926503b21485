"""ONNX classifiers as differentiable torch modules, read from untrusted files.

Inside this package `import onnx` is the library: imports are absolute.
"""

from bdscan.onnx.branches import Branch, suspicious_branches
from bdscan.onnx.check import check_against_onnxruntime, run_onnxruntime
from bdscan.onnx.errors import NotAClassifier, OnnxError, UnsupportedOperators
from bdscan.onnx.graph import ValueInfo
from bdscan.onnx.model import OnnxModel, load_onnx

__all__ = [
    "Branch",
    "NotAClassifier",
    "OnnxError",
    "OnnxModel",
    "UnsupportedOperators",
    "ValueInfo",
    "check_against_onnxruntime",
    "load_onnx",
    "run_onnxruntime",
    "suspicious_branches",
]
