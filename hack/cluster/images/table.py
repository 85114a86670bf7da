"""Every image, in one table. An image is a build context with a Dockerfile, and what must be put beside it first."""

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
    go_binary: str = ""  # a static binary of that name is built from the context's Go code before
    debian_packages: tuple[str, ...] = ()  # a root file system with these is put there as rootfs.tar before
    is_bare: bool = False  # that root file system has only what the packages need: no shell, no package tools
    python_lock: str = ""  # the wheels that this lock file of the context names are put into wheels/ before
    files: tuple[str, ...] = ()  # only these files and folders of the context count; none means all
    stage: str = ""  # the Dockerfile's stage that is built; none means the last
    is_loaded: bool = True  # False: only ever a base of others

    @property
    def reference(self) -> str:
        """The name that Pods use. `localhost` keeps everyone from looking for it in a registry."""
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

# What a node has from the start: its sandboxes, something to run, and the result sidecar.
DEFAULT = ("pause", "python", "sidecar")


def named(names: Iterable[str]) -> list[Image]:
    """The images of these names; `all` stands for all that can be loaded."""
    wanted = list(dict.fromkeys(names))
    if "all" in wanted:
        wanted = [image.name for image in IMAGES.values() if image.is_loaded]
    unknown = [name for name in wanted if name not in IMAGES]
    if unknown:
        raise ClusterError(f"no image is named {', '.join(unknown)}", f"there are: {', '.join(IMAGES)}")
    return [IMAGES[name] for name in wanted]


def with_bases(images: Iterable[Image]) -> list[Image]:
    """These images and all that they are built on, bases first."""
    found: dict[str, Image] = {}

    def add(image: Image) -> None:
        for base in image.bases.values():
            add(IMAGES[base])
        found.setdefault(image.name, image)

    for image in images:
        add(image)
    return list(found.values())
