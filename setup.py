"""Build of the compiled operators; everything else about the package is in setup.cfg.

`SKYDUEL_OPERATORS=0` leaves torch's operators out: the build then needs no torch, the network
runs with onnxruntime only, and the small kernels of `skyduel.core.native` are built
where there is a compiler. `SKYDUEL_CUDA` says whether
CUDA kernels are compiled: `auto` (the default: when there is an nvcc that matches the
installed torch, and a failure only leaves them out), `1` (they must build) or `0`. No GPU
is ever looked for.
`TORCH_CUDA_ARCH_LIST` names the architectures, "8.0;9.0" when unset.
`SKYDUEL_WERROR=1` makes warnings errors, for CI.
"""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

sys.path.insert(0, str(Path(__file__).resolve().parent / "distribution"))
from sbom import NAME, bill_of_materials

OPERATORS = os.environ.get("SKYDUEL_OPERATORS", "1")
if OPERATORS not in ("0", "1"):
    sys.exit(f"SKYDUEL_OPERATORS: required 0 or 1; got {OPERATORS!r}")
if OPERATORS == "1":
    try:
        import torch
        from torch.utils import cpp_extension
    except ImportError:
        sys.exit(
            "skyduel's operators are compiled against torch, and none is installed: build with "
            "isolation, or install torch and ninja first, or leave the operators out with "
            "SKYDUEL_OPERATORS=0."
        )

# The oldest torch whose stable ABI has all that the sources use (2.10), and
# the oldest Python; one binary serves these and all later ones.
TORCH_TARGET = "0x020a000000000000"
PYTHON_TARGET = "cp311"
SOURCES = Path("src") / "skyduel" / "cuda_ops" / "csrc"
NATIVE = Path("src") / "skyduel" / "core" / "native" / "csrc"
# Of the operators' sources those that both bindings compile: torch's and the plain one.
WITHOUT_TORCH = sorted([*SOURCES.glob("roi_align_*.cpp"), *SOURCES.glob("capability.cpp")])
ARCHITECTURES = "8.0;9.0"


def main():
    if OPERATORS == "0":
        setup(
            ext_modules=[native_extension(optional=True)],
            cmdclass={"bdist_wheel": Wheel},
            options={"bdist_wheel": {"py_limited_api": PYTHON_TARGET}},
        )
        return
    extensions = [
        native_extension(),
        extension(cpp_extension.CppExtension, "skyduel.cuda_ops._C", sorted(SOURCES.glob("*.cpp"))),
    ]
    wanted = os.environ.get("SKYDUEL_CUDA", "auto").lower()
    if wanted not in ("0", "1", "auto"):
        sys.exit(f"SKYDUEL_CUDA: required 0, 1 or auto; got {wanted!r}")
    obstacle = cuda_obstacle() if wanted != "0" else "SKYDUEL_CUDA=0"
    if obstacle is None:
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", ARCHITECTURES)
        extensions.append(
            extension(
                cpp_extension.CUDAExtension,
                "skyduel.cuda_ops._C_cuda",
                sorted(SOURCES.glob("cuda/*.cu")),
                optional=wanted == "auto",
            )
        )
    elif wanted == "1":
        sys.exit(f"SKYDUEL_CUDA=1, but CUDA kernels cannot be built: {obstacle}")
    else:
        print(f"skyduel: no CUDA kernels ({obstacle})", file=sys.stderr)
    setup(
        ext_modules=extensions,
        cmdclass={"build_ext": build_extension_class(), "bdist_wheel": Wheel},
        options={"bdist_wheel": {"py_limited_api": PYTHON_TARGET}},
    )


def native_extension(optional=False):
    """The kernels of `skyduel.core.native`, which need neither torch nor Python."""
    # Products and sums are not fused: the results have the digits of SEP's.
    flags = ["-std=c++17", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-pthread"]
    return Extension(
        "skyduel.core.native._kernels",
        [str(source) for source in (*sorted(NATIVE.glob("*.cpp")), *WITHOUT_TORCH)],
        include_dirs=[str(Path(__file__).resolve().parent / SOURCES)],  # ninja runs elsewhere
        depends=[str(header) for header in sorted(SOURCES.glob("*.h"))],
        py_limited_api=True,
        optional=optional,
        extra_compile_args=[*flags, "-Wall", "-Wextra", *strict_flags()],
        extra_link_args=["-s", "-pthread"],
    )


def strict_flags():
    return ["-Werror"] if os.environ.get("SKYDUEL_WERROR") == "1" else []


def extension(kind, name, sources, optional=False):
    strict = strict_flags()
    # Fusing a product with a sum changes how an overlap rounds, and a box on
    # the threshold with it; where fusing pays, the kernels ask for it.
    cxx = ["-O3", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra", *strict]
    # Messages name source files: without the folder of one machine, or of one build.
    here = Path(__file__).resolve().parent
    prefixes = [f"-ffile-prefix-map={Path(torch.__file__).parent}=torch"]
    prefixes.append(f"-ffile-prefix-map={here}=skyduel")
    cxx += prefixes
    architectures = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    host = ",".join(["-fvisibility=hidden", "-Wall", "-Wextra", *prefixes, *strict])
    # torch's own headers warn under these flags.
    system = [word for path in cpp_extension.include_paths() for word in ("-isystem", path)]
    built = kind(
        name,
        [str(source) for source in sources],
        py_limited_api=True,
        optional=optional,
        define_macros=[("TORCH_TARGET_VERSION", TORCH_TARGET)],
        extra_compile_args={
            "cxx": [*cxx, *system],
            "nvcc": [
                "-O3",
                "--fmad=false",
                f"-Xcompiler={host}",
                "-DUSE_CUDA",
                f'-DSKYDUEL_CUDA_ARCHITECTURES="{architectures}"',
                *system,
            ],
        },
        extra_link_args=["-s"],
    )
    own = set(cpp_extension.include_paths())
    built.include_dirs = [path for path in built.include_dirs if path not in own]
    return built


def build_extension_class():
    class BuildExtension(cpp_extension.BuildExtension):
        """torch's, where an optional extension that fails to compile is left out."""

        def build_extension(self, ext):
            try:
                super().build_extension(ext)
            except Exception as error:
                if not ext.optional:
                    raise
                warnings.warn(f"skyduel: {ext.name} left out: {error}", stacklevel=1)

    return BuildExtension


class Wheel(bdist_wheel):
    """A wheel with a bill of materials in its metadata."""

    def egg2dist(self, egginfo_path, distinfo_path):
        super().egg2dist(egginfo_path, distinfo_path)
        folder = Path(distinfo_path)
        compiled = {"torch": torch.__version__} if OPERATORS == "1" else {}
        bill = bill_of_materials(folder.parent, (folder / "METADATA").read_text(), compiled)
        (folder / "sboms").mkdir()
        (folder / "sboms" / NAME).write_text(bill, encoding="utf-8")


def cuda_obstacle():
    """Why CUDA kernels cannot be built here, or None."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if cpp_extension.CUDA_HOME is None:
        return "no CUDA toolkit found; CUDA_HOME names one"
    compiler = Path(cpp_extension.CUDA_HOME) / "bin" / "nvcc"
    if not (Path(cpp_extension.CUDA_HOME) / "include" / "cuda_runtime.h").exists():
        # An nvcc on the path may only call the one in the toolkit, which knows.
        dry = subprocess.run(
            [compiler, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True
        )
        top = re.search(r"^#\$ TOP=(.*)$", dry.stderr, re.MULTILINE)
        if top is None:
            return f"{cpp_extension.CUDA_HOME} holds no CUDA headers; CUDA_HOME names a toolkit"
        cpp_extension.CUDA_HOME = os.path.realpath(top[1].strip())
    try:
        text = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"{compiler} does not run: {error}"
    release = re.search(r"release (\d+)\.", text.stdout)
    if release is None or release[1] != torch.version.cuda.split(".")[0]:
        return f"nvcc is {release and release[1]}, torch was built with {torch.version.cuda}"
    if not sorted(SOURCES.glob("cuda/*.cu")):
        return "no CUDA sources"
    return None


main()
