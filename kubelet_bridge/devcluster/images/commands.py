"""`kubelet-bridge dev images`: what the development cluster's machines boot and run."""

from pathlib import Path

import click

from kubelet_bridge.devcluster.images import catalogue, containerdisk, store
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import BridgeError


@click.group()
def images() -> None:
    """Disks to boot and application images, built from Debian's packages into the cache."""


@images.command("list")
def list_() -> None:
    """Show every image: whether it is there, and made from what its recipe says now."""
    try:
        for image in catalogue.listed():
            click.echo(f"{image.reference}\t{image.kind}\t{image.state}\t{image.path}")
    except BridgeError as error:
        raise click.ClickException(error.message) from error


@images.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--again", is_flag=True, help="Build what is there too, with Debian's packages of today.")
def build(names: tuple[str, ...], *, again: bool) -> None:
    """Build what is missing or out of date: all images, or those NAMEd by recipe or by reference."""
    progress = Progress()
    try:
        for source in catalogue.named(names):
            click.echo(catalogue.ensure(source, progress, again=again))
    except BridgeError as error:
        raise click.ClickException(error.message) from error


@images.command("container-disk")
@click.argument("name")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def container_disk(name: str, directory: Path) -> None:
    """Build the disk NAME, and write it to DIRECTORY: the qcow2, and an OCI layout to push as a container disk."""
    progress = Progress()
    try:
        (source,) = catalogue.named([name])
        disk = catalogue.ensure(source, progress)
        short = source.name.rpartition("/")[2]
        directory.mkdir(parents=True, exist_ok=True)
        with progress.step("compressing the container disk", f"{directory / short}: an OCI layout"):
            containerdisk.write(disk, short, directory / short)
        link = directory / f"{short}.qcow2"
        link.unlink(missing_ok=True)
        link.symlink_to(disk)
        (directory / f"{short}.json").write_bytes(store.record_path(disk).read_bytes())
    except BridgeError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"skopeo copy oci:{directory / short} docker://REGISTRY/{short}:TAG")
