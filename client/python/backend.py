# SPDX-License-Identifier: Apache-2.0
"""Makes the wheel for pip. Nothing has to be fetched for it, so pip needs no network.

The hooks are PEP 517's; the version is the project's."""
import base64
import hashlib
import os
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
METADATA = """Metadata-Version: 2.1
Name: ttmem
Version: {version}
Summary: Publishes how much Tenstorrent device memory a process holds
License: Apache-2.0
Requires-Python: >=3.9
"""
WHEEL = """Wheel-Version: 1.0
Generator: ttmem
Root-Is-Purelib: true
Tag: py3-none-any
"""


def _read(*names):
    with open(os.path.join(HERE, *names), "rb") as file:
        return file.read()


def _files():
    """What is in the wheel, by its path there."""
    version = _read("..", "..", "VERSION").decode().strip()
    about = f"ttmem-{version}.dist-info"
    files = {f"ttmem/{name}": _read("ttmem", name) for name in sorted(os.listdir(f"{HERE}/ttmem"))
             if name.endswith(".py") or name == "py.typed"}
    files[f"{about}/METADATA"] = METADATA.format(version=version).encode()
    files[f"{about}/WHEEL"] = WHEEL.encode()
    record = f"{about}/RECORD"
    rows = [f"{name},sha256={_digest(content)},{len(content)}\n"
            for name, content in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    return version, files


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    version, files = _files()
    name = f"ttmem-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
    return name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("install from the ttmem source: its VERSION is needed, too")
