"""`artifacts`: the tree of everything that was made."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import Stop
from modelwire.cli.frames import EXTENSIONS, read_frame, write_frame
from modelwire.cli.output import age, card, compact, console, plain, size, styled, table, write_json
from modelwire.cli.values import Limit, Tags, Yes, confirm, settings_of

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from modelwire import Artifact, ArtifactNode

app = typer.Typer(help="Models, predictions, datasets, and how they came about.", no_args_is_help=True)

ArtifactId = Annotated[str, typer.Argument(metavar="ARTIFACT", help="The artifact's id.")]
TYPE_STYLES = {"ml_training": "bold cyan", "ml_prediction": "green", "dataset": "blue"}
ARROW_STREAM = "application/vnd.apache.arrow.stream"


@command(app, "list", "modelwire artifacts list", "modelwire artifacts list --type ml_training --tag production")
def list_artifacts(
    session: Session,
    type: Annotated[
        str, typer.Option("--type", help="Only this type: ml_training, ml_prediction, dataset, ...", show_default=False)
    ] = "",
    parent: Annotated[str, typer.Option("--parent", metavar="ID", help="Only children of this one.", show_default=False)] = "",
    made_from: Annotated[
        str,
        typer.Option("--input", metavar="ID", help="Only what this config, job, model or dataset went into.", show_default=False),
    ] = "",
    tag: Tags = None,
    limit: Limit = 100,
) -> None:
    """List artifacts, oldest first."""
    found = list(session.client.artifacts.list(type=type, parent=parent, input=made_from, tags=tag or (), limit=limit))
    if session.json:
        return write_json(found)
    rows = [
        (a.id, styled(a.type, TYPE_STYLES.get(a.type, "")), a.runner_id, size(a.content_size), age(a.created_at), ", ".join(a.tags))
        for a in found
    ]
    console().print(table("id", "type", "runner", ">size", ">age", "tags", rows=rows))
    return None


@command(app, "tree", "modelwire artifacts tree", "modelwire artifacts tree 01J8Z6N4RS0QGJ9E2T3W5X7Y9A")
def tree(
    session: Session,
    artifact: Annotated[str, typer.Argument(metavar="[ARTIFACT]", help="Only this one's tree.", show_default=False)] = "",
    limit: Limit = 50,
) -> None:
    """Draw what was made from what: models, under them their predictions, and so on."""
    roots = [artifact] if artifact else _roots(session, limit)
    trees = [session.client.artifacts.tree(root) for root in roots]
    if session.json:
        return write_json(trees[0] if artifact else trees)
    for node in trees:
        console().print(draw(node))
    if not trees:
        console().print("There are no artifacts yet.")
    return None


def _roots(session: Session, limit: int) -> list[str]:
    return [a.id for a in session.client.artifacts.list() if a.parent_id is None][-limit:]


def draw(node: "ArtifactNode") -> "Tree":
    """An artifact and its descendants as a tree."""
    from rich.tree import Tree

    drawn = Tree(node_label(node), guide_style="dim")
    pending = [(node, drawn)]
    while pending:
        parent, branch = pending.pop()
        pending.extend((child, branch.add(node_label(child))) for child in parent.children)
    return drawn


def node_label(node: "ArtifactNode") -> "Text":
    """A node on a line: what it is, its id, whose it is, its size, its age, its tags."""
    look = TYPE_STYLES.get(node.type, "bold")
    label = styled(node.type, look)
    if node.runner_id and node.type != node.level_label:
        label = styled(f"{node.level_label} ({node.type})", look)
    label.append(f"  {node.id}", style="default not bold")
    label.append(f"  {node.runner_id or 'uploaded'}, {size(node.content_size)}, {age(node.created_at)} ago", style="dim not bold")
    for tag in node.tags:
        label.append(f"  #{tag}", style="yellow not bold")
    return label


@command(app, "show", "modelwire artifacts show 01J8Z6N4RS0QGJ9E2T3W5X7Y9A")
def show(session: Session, artifact: ArtifactId) -> None:
    """Show one artifact: its metadata, and what went into it."""
    found = session.client.artifacts.get(artifact)
    if session.json:
        return write_json(found)
    out = console()
    out.print(_card(found))
    if found.inputs:
        out.print()
        out.print(table("made from", "id", "digest", rows=[(i.role, i.id, i.digest[:19]) for i in found.inputs]))
    known = {key: _short(key, value) for key, value in found.metadata.items()}
    if known:
        out.print()
        out.print(table("metadata", "value", rows=[(key, compact(value)) for key, value in known.items()]))
    if columns := _columns(found.metadata.get("signature")):
        out.print()
        out.print(table("trained on", "type", "remarks", rows=columns))
    if found.content is not None:
        out.print()
        out.print_json(data=plain(found.content))
    return None


def _short(key: str, value: Any) -> Any:
    """What is to be read of a model at a glance; --json has all of it."""
    if key == "signature" and _columns(value):
        return f"{len(value['inputs'])} columns, see below"
    if key == "compiled" and isinstance(value, dict) and isinstance(value.get("passed"), bool):
        difference = value.get("max_difference") or 0.0
        passed = f"{value.get('engine')}, differs by {difference:.1g} at most on {value.get('rows')} rows"
        return passed if value["passed"] else f"no: {value.get('reason')}"
    return value


def _columns(signature: Any) -> list[tuple[str, str, str]]:
    """The columns that predictions are held against: name, type, and what else is known."""
    try:
        return [(column["name"], column["type"], _remark(column)) for column in signature["inputs"]]
    except (TypeError, KeyError, AttributeError):
        return []


def _remark(column: dict[str, Any]) -> str:
    categories = column.get("categories")
    known = [f"{len(categories)} categories"] if categories else []
    return ", ".join(
        [*known, *([column["note"]] if column.get("note") else []), *(["with nulls"] if column.get("nullable") else [])]
    )


def _card(artifact: "Artifact") -> Any:
    return card(
        {
            "id": artifact.id,
            "type": styled(artifact.type, TYPE_STYLES.get(artifact.type, "bold")),
            "level": str(artifact.level),
            "parent": artifact.parent_id,
            "runner": artifact.runner_id,
            "tags": ", ".join(artifact.tags),
            "content": f"{artifact.content_type}, {size(artifact.content_size)}" if artifact.content_type else None,
            "digest": artifact.digest,
            "created": f"{age(artifact.created_at)} ago",
        }
    )


@command(
    app,
    "download",
    "modelwire artifacts download 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --out predictions.csv",
    "modelwire artifacts download 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --out models/",
)
def download(
    session: Session,
    artifact: ArtifactId,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="A file or a folder; - writes to standard output.")
    ] = Path(),
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as they are, whatever the extension says.")] = False,
) -> None:
    """Store the content in a file. A table becomes CSV or Parquet where the extension says so."""
    found = session.client.artifacts.get(artifact)
    if str(out) == "-":
        sys.stdout.buffer.write(found.download())
        return None
    if not raw and found.content_type == ARROW_STREAM and not out.is_dir() and out.suffix.lower() in EXTENSIONS:
        write_frame(found.frame(), out)
        path = out
    else:
        path = found.download(out)
    if session.json:
        return write_json({"id": artifact, "path": path, "size": path.stat().st_size})
    console().print(f"{path} ({size(path.stat().st_size)})", soft_wrap=True)
    return None


@command(
    app,
    "upload",
    "modelwire artifacts upload patients.csv --tag 2025",
    "modelwire artifacts upload notes.pdf --type report --parent 01J8Z6N4RS0QGJ9E2T3W5X7Y9A",
)
def upload(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to store.")],
    type: Annotated[
        str, typer.Option("--type", help="Its type. Default: dataset for tables, else generic.", show_default=False)
    ] = "",
    parent: Annotated[str, typer.Option("--parent", metavar="ID", help="Its place in the tree.", show_default=False)] = "",
    content_type: Annotated[str, typer.Option("--content-type", help="Its media type.", show_default=False)] = "",
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="May be repeated.", show_default=False)
    ] = None,
    tag: Tags = None,
    raw: Annotated[bool, typer.Option("--raw", help="Store a table's file as it is.")] = False,
) -> None:
    """Store a file. CSV, Parquet and Arrow tables become datasets that any client can read."""
    if not file.is_file():
        raise Stop(f"there is no file {file}")
    options: dict[str, Any] = {"parent": parent, "tags": tag or (), "metadata": settings_of(metadata, {"filename": file.name})}
    if not raw and not content_type and file.suffix.lower() in EXTENSIONS:
        made = session.client.artifacts.upload_frame(read_frame(file), type=type or "dataset", **options)
    else:
        made = session.client.artifacts.upload(file, type=type, content_type=content_type or _media_type(file), **options)
    if session.json:
        return write_json(made)
    console().print(f"{made.id} ({made.type}, {size(made.content_size)})")
    return None


def _media_type(file: Path) -> str:
    import mimetypes

    return mimetypes.guess_type(file.name)[0] or ""


@command(app, "delete", "modelwire artifacts delete 01J8Z6N4RS0QGJ9E2T3W5X7Y9A --yes")
def delete(session: Session, artifact: ArtifactId, yes: Yes = False) -> None:
    """Delete one artifact. What is below it in the tree stays."""
    confirm(f"Delete artifact {artifact}?", yes=yes)
    session.client.artifacts.delete(artifact)
    if session.json:
        return write_json({"deleted": artifact})
    console().print(f"deleted {artifact}")
    return None
