"""What can be wrong with an ONNX file, each as one line."""

from __future__ import annotations


class OnnxError(ValueError):
    """The file is malformed, hostile, or cannot be evaluated; the message is one line that says why."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split())[:400])


class NotAClassifier(OnnxError):
    """The graph is valid but has no single image input or no output of shape (N, classes)."""


class UnsupportedOperators(OnnxError):
    """The graph uses operators the evaluator does not have; `names` lists them all, e.g. `("Loop", "com.x.Foo")`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__("unsupported ONNX operators: " + ", ".join(names))
