"""Pickles that would run something, written by hand so that no safe library stands in the way."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

PROTO = b"\x80\x02"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """`module.name(*arguments)`; each argument is a piece of pickle that leaves one value."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def getattr_chain(start: bytes, *names: str) -> bytes:
    for name in names:
        start = call("builtins", "getattr", start, text(name))
    return start


def apply(function: bytes, *arguments: bytes) -> bytes:
    """Call what `function` leaves on the stack."""
    return function + b"(" + b"".join(arguments) + b"tR"


def touch(marker: Path) -> str:
    return f"touch {marker}"


def write_code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


# Each makes the file `marker` when it is unpickled; test_hostile_pickles.py checks that with plain `pickle`.
PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda m: call("os", "system", text(touch(m))),
    "posix.system": lambda m: call("posix", "system", text(touch(m))),
    "os.popen": lambda m: apply(getattr_chain(call("os", "popen", text(touch(m))), "read")),
    "os.mkdir": lambda m: call("os", "mkdir", text(str(m))),
    "os.open": lambda m: call("os", "open", text(str(m)), number(0o101)),
    "os.symlink": lambda m: call("os", "symlink", text("x"), text(str(m))),
    "subprocess.getoutput": lambda m: call("subprocess", "getoutput", text(touch(m))),
    "subprocess.check_output": lambda m: call(
        "subprocess", "check_output", b"]" + text("touch") + b"a" + text(str(m)) + b"a"
    ),
    "builtins.eval": lambda m: call("builtins", "eval", text(write_code(m))),
    "builtins.exec": lambda m: call("builtins", "exec", text(write_code(m))),
    "__builtin__.eval": lambda m: call("__builtin__", "eval", text(write_code(m))),
    "builtins.open": lambda m: call("builtins", "open", text(str(m)), text("w")),
    "io.open": lambda m: call("io", "open", text(str(m)), text("w")),
    "builtins.__import__ and getattr": lambda m: apply(
        getattr_chain(call("builtins", "__import__", text("os")), "mkdir"), text(str(m))
    ),
    "importlib": lambda m: apply(getattr_chain(call("importlib", "import_module", text("os")), "mkdir"), text(str(m))),
    "pathlib.Path.touch": lambda m: apply(getattr_chain(call("pathlib", "Path", text(str(m))), "touch")),
    "pathlib.Path.write_text": lambda m: apply(
        getattr_chain(call("pathlib", "Path", text(str(m))), "write_text"), text("x")
    ),
    "operator.methodcaller": lambda m: apply(
        call("operator", "methodcaller", text("mkdir"), text(str(m))),
        b"cos\npath\n0" + call("importlib", "import_module", text("os")),
    ),
    "operator.attrgetter": lambda m: apply(
        apply(call("operator", "attrgetter", text("system")), call("importlib", "import_module", text("os"))),
        text(touch(m)),
    ),
    "functools.partial": lambda m: apply(call("functools", "partial", b"cos\nsystem\n", text(touch(m)))),
    "functools.reduce": lambda m: call(
        "functools", "reduce", b"cos\nmkdir\n", b"]" + text(str(m)) + b"a" + number(0o700) + b"a"
    ),
    "builtins.map into list": lambda m: call(
        "builtins", "list", call("builtins", "map", b"cos\nmkdir\n", b"]" + text(str(m)) + b"a")
    ),
    "torch's own os": lambda m: getattr_chain(b"ctorch\nos\n", "mkdir") + b"(" + text(str(m)) + b"tR",
    "a dotted name (protocol 4)": lambda m: b"\x80\x04\x8c\x05torch\x8c\x08os.mkdir\x93(" + text(str(m)) + b"tR",
    "the INST opcode": lambda m: b"(" + text(str(m)) + b"ios\nmkdir\n",
    "the OBJ opcode": lambda m: b"(cos\nmkdir\n" + text(str(m)) + b"o",
    "pickle in pickle": lambda m: call(
        "pickle", "loads", b"C" + bytes([len(inner := PROTO + call("os", "mkdir", text(str(m))) + b".")]) + inner
    ),
    "marshal and FunctionType": lambda m: _code(m),
    "runpy": lambda m: call("runpy", "run_path", text(_script(m))),
    "timeit": lambda m: call(
        "timeit", "timeit", text(write_code(m)), text("pass"), b"ctime\nperf_counter\n", number(1)
    ),
    "cProfile": lambda m: call("cProfile", "run", text(write_code(m)), text(str(m) + ".profile")),
    "code.InteractiveInterpreter": lambda m: apply(
        getattr_chain(call("code", "InteractiveInterpreter"), "runsource"), text(write_code(m))
    ),
    "shutil.copy": lambda m: call("shutil", "copyfile", text("/dev/null"), text(str(m))),
    "tempfile": lambda m: call("os", "close", b"ctempfile\n_os\n0" + call("os", "open", text(str(m)), number(0o101))),
    "numpy.memmap": lambda m: call("numpy", "memmap", text(str(m)), text("uint8"), text("w+"), number(0), number(1)),
    "numpy's runstring": lambda m: call("numpy.testing._private.utils", "runstring", text(write_code(m)), b"}"),
    "torch.save": lambda m: call("torch", "save", number(1), text(str(m))),
    "numpy.load with pickles": lambda m: call("numpy", "load", text(_inner_file(m)), b"N", b"\x88"),
    "torch.from_file": lambda m: call("torch", "from_file", text(str(m)), b"\x88", number(1)),
    "socket.create_server (a file)": lambda m: apply(
        getattr_chain(call("socket", "socket", number(1), number(1)), "bind"), text(str(m))
    ),
    "ctypes": lambda m: apply(
        getattr_chain(call("ctypes", "CDLL", b"N"), "mkdir"),
        b"C" + bytes([len(str(m))]) + str(m).encode(),
        number(0o700),
    ),
    "logging.FileHandler": lambda m: call("logging", "FileHandler", text(str(m))),
    "sqlite3": lambda m: apply(
        getattr_chain(call("sqlite3", "connect", text(str(m))), "execute"), text("create table t (x)")
    ),
}


def _code(marker: Path) -> bytes:
    import marshal

    raw = marshal.dumps(compile(write_code(marker), "x", "exec"))
    code = call("marshal", "loads", b"B" + struct.pack("<I", len(raw)) + raw)
    return apply(call("types", "FunctionType", code, call("builtins", "globals")))


def _script(marker: Path) -> str:
    script = marker.with_suffix(".py")
    script.write_text(write_code(marker))
    return str(script)


def _inner_file(marker: Path) -> str:
    file = marker.with_suffix(".inner")
    file.write_bytes(PROTO + call("os", "mkdir", text(str(marker))) + b".")
    return str(file)


def payload(name: str, marker: Path) -> bytes:
    """A whole pickle: a state_dict whose only value is the result of the payload."""
    return PROTO + b"}" + text("weight") + PAYLOADS[name](marker) + b"s."


def torch_zip(path: Path, data: bytes, **members: bytes) -> Path:
    """What torch.save would write around `data.pkl`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
        archive.writestr("archive/version", "3\n")
    return path


def legacy_file(path: Path, data: bytes) -> Path:
    """torch.save's format before zip files: magic number, protocol, system, then the pickle."""
    out = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(value, out, protocol=2)
    out.write(data)
    pickle.dump([], out, protocol=2)
    path.write_bytes(out.getvalue())
    return path


# --- tensors that lie ------------------------------------------------------------------------------------------------


def ints(*values: int) -> bytes:
    return b"(" + b"".join(pickle.dumps(v, protocol=2)[2:-1] for v in values) + b"t"


def storage(elements: int, kind: str = "FloatStorage") -> bytes:
    """The persistent id of the storage in the member `data/0`."""
    return (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu") + ints(elements)[1:-1] + b"tQ"
    )


def tensor(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, elements: int = 4) -> bytes:
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(elements)
        + ints(offset)[1:-1]
        + ints(*size)
        + ints(*stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state_dict(**values: bytes) -> bytes:
    return PROTO + b"}" + b"".join(text(name) + value + b"s" for name, value in values.items()) + b"."
