"""The table of images. An image is a build context with a Dockerfile, and files that must be added first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import paths
from ..errors import ClusterError

OWN_CONTEXTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Image:
    """One image. `bases` maps a build argument of its Dockerfile to another image of this table."""

    name: str
    context: Path
    bases: Mapping[str, str] = field(default_factory=dict)
    go_binary: str = ""  # name of a static binary that is first built from the context's Go code
    debian_packages: tuple[str, ...] = ()  # packages of a root file system that is first added as rootfs.tar
    is_bare: bool = False  # the root file system has only what the packages need: no shell, no package tools
    python_lock: str = ""  # lock file of the context whose wheels are first added to wheels/
    files: tuple[str, ...] = ()  # the files and directories of the context that are used; empty for all
    stage: str = ""  # the stage of the Dockerfile; empty for the last one
    is_loaded: bool = True  # False for an image that is only a base of others

    @property
    def reference(self) -> str:
        """Return the name that Pods use. With the host `localhost`, no registry is asked for it."""
        return f"localhost/podtask/{self.name}:dev"


# A change of the controller's sources changes the first only, one of its lock file both.
_CONTROLLER = Image(
    "controller",
    paths.REPOSITORY,
    files=("Dockerfile", ".dockerignore", "controller/podtask"),
    bases={"BASE": "python-bare", "PACKAGES": "controller-packages"},
)
_CONTROLLER_PACKAGES = Image(
    "controller-packages",
    paths.REPOSITORY,
    files=("Dockerfile", ".dockerignore", "requirements.lock"),
    bases={"BUILD_BASE": "python-venv"},
    python_lock="requirements.lock",
    stage="packages",
    is_loaded=False,
)
_EXAMPLES = paths.REPOSITORY / "examples" / "images"

IMAGES: dict[str, Image] = {
    image.name: image
    for image in (
        Image("pause", OWN_CONTEXTS / "pause", go_binary="pause"),
        Image("python", OWN_CONTEXTS / "debian", debian_packages=("python3", "ca-certificates")),
        Image("python-bare", OWN_CONTEXTS / "debian", debian_packages=("python3",), is_bare=True, is_loaded=False),
        Image("python-venv", OWN_CONTEXTS / "debian", debian_packages=("python3", "python3-venv"), is_loaded=False),
        _CONTROLLER_PACKAGES,
        _CONTROLLER,
        Image("ghc", OWN_CONTEXTS / "debian", debian_packages=("ghc",), is_loaded=False),
        Image("sidecar", paths.REPOSITORY / "sidecar", go_binary="sidecar"),
        Image("multiply", _EXAMPLES / "multiply", bases={"BASE": "python"}),
        Image("hello-haskell", _EXAMPLES / "hello-haskell", bases={"BUILD_BASE": "ghc"}),
    )
}

# Images that every node has: the sandbox, an image to run, and the result sidecar.
DEFAULT = ("pause", "python", "sidecar")


def named(names: Iterable[str]) -> list[Image]:
    """Return the images of these names; `all` means all that can be loaded."""
    wanted = list(dict.fromkeys(names))
    if "all" in wanted:
        wanted = [image.name for image in IMAGES.values() if image.is_loaded]
    unknown = [name for name in wanted if name not in IMAGES]
    if unknown:
        raise ClusterError(f"no image has the name {', '.join(unknown)}", f"there are: {', '.join(IMAGES)}")
    return [IMAGES[name] for name in wanted]


def with_bases(images: Iterable[Image]) -> list[Image]:
    """Return these images and their bases, bases first."""
    found: dict[str, Image] = {}

    def add(image: Image) -> None:
        for base in image.bases.values():
            add(IMAGES[base])
        found.setdefault(image.name, image)

    for image in images:
        add(image)
    return list(found.values())
