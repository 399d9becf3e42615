"""Writes docs/contract.md, docs/errors.md and what the OpenAPI document says from the comments of the contract.

Runs in the environment of protos/requirements.lock, like protos/generate.py.

    python scripts/generate_reference.py            # write them
    python scripts/generate_reference.py --check    # fail if they are not what the contract says
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
DOCS = ROOT / "docs"
# The descriptors that a program has at run time know no comments.
COMMENTS = ROOT / "server" / "modelwire_server" / "gateway" / "openapi" / "comments.json"
PACKAGE = ".modelwire.v1."
GENERATED = "<!-- Written by scripts/generate_reference.py from the comments in protos/. Change those, then run `make protos`. -->"

# The order in which a newcomer meets them.
SERVICES = ("runner", "config", "train", "predict", "predictor", "model", "job", "artifact")

# Field numbers of the descriptor messages, as they stand in the paths of source_code_info.
MESSAGES_OF_FILE, ENUMS_OF_FILE, SERVICES_OF_FILE, FIELDS_OF_MESSAGE, PARTS_OF_PARENT = 4, 5, 6, 2, 2
PACKAGE_OF_FILE = 2


class Contract:
    """The descriptors of the contract together with their comments."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        self.files = {file.name.removeprefix("modelwire/v1/"): file for file in descriptors.file}
        self._comments = {
            (file.name, tuple(location.path)): " ".join(location.leading_comments.split())
            for file in descriptors.file
            for location in file.source_code_info.location
        }

    def comment(self, file: FileDescriptorProto, *path: int) -> str:
        """What the contract says of a thing, as one paragraph."""
        return self._comments[(file.name, path)]

    def about(self, file: FileDescriptorProto) -> str:
        """What the contract says of a file as a whole."""
        return self.comment(file, PACKAGE_OF_FILE)


def load() -> Contract:
    common_protos = Path(annotations_pb2.__file__).parent.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contract.binpb"
        arguments = [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={common_protos}",
            f"--proto_path={Path(str(files('grpc_tools'))) / '_proto'}",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *(str(path.relative_to(PROTOS)) for path in sorted(PROTOS.glob("modelwire/v1/*.proto"))),
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed")
        return Contract(FileDescriptorSet.FromString(target.read_bytes()))


def reference(name: str) -> str:
    """A type's name, as a link when it is one of ours."""
    if not name.startswith(PACKAGE):
        return f"`{name.removeprefix('.')}`"
    short = name.removeprefix(PACKAGE)
    if short == "ErrorReason":
        return f"[{short}](errors.md)"
    return f"[{short}](#{short.lower()})"


def type_of(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith("." + nested.name):
            key, value = nested.field
            return f"map of {type_of(key, nested)} to {type_of(value, nested)}"
    named = field.type in (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_ENUM)
    name = reference(field.type_name) if named else FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"list of {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(map(cell, row)) + " |"
    yield ""


def message_section(contract: Contract, file: FileDescriptorProto, index: int) -> Iterator[str]:
    message = file.message_type[index]
    yield from (f"### {message.name}", "", contract.comment(file, MESSAGES_OF_FILE, index), "")
    rows = []
    for number, field in enumerate(message.field):
        text = contract.comment(file, MESSAGES_OF_FILE, index, FIELDS_OF_MESSAGE, number)
        if field.HasField("oneof_index") and not field.proto3_optional:
            text = f"*one of `{message.oneof_decl[field.oneof_index].name}`* {text}"
        elif field.proto3_optional:
            text = f"*optional* {text}"
        rows.append((f"`{field.name}`", type_of(field, message), text))
    if rows:
        yield from table(("field", "type", ""), rows)


def enum_section(contract: Contract, file: FileDescriptorProto, index: int) -> Iterator[str]:
    enum = file.enum_type[index]
    yield from (f"### {enum.name}", "", contract.comment(file, ENUMS_OF_FILE, index), "")
    rows = [(f"`{value.name}`", text) for value, text in values_of(contract, file, index)]
    yield from table(("value", ""), rows)


def values_of(contract: Contract, file: FileDescriptorProto, index: int) -> Iterator[tuple[EnumValueDescriptorProto, str]]:
    enum: EnumDescriptorProto = file.enum_type[index]
    for number, value in enumerate(enum.value):
        yield value, contract.comment(file, ENUMS_OF_FILE, index, PARTS_OF_PARENT, number)


def method_section(contract: Contract, file: FileDescriptorProto, index: int) -> Iterator[str]:
    method: MethodDescriptorProto = file.service[0].method[index]
    asked = ("stream of " if method.client_streaming else "") + reference(method.input_type)
    answered = ("stream of " if method.server_streaming else "") + reference(method.output_type)
    yield from (f"### {method.name}", "", f"{asked} → {answered}", "")
    yield from (contract.comment(file, SERVICES_OF_FILE, 0, PARTS_OF_PARENT, index), "")


def service_section(contract: Contract, file: FileDescriptorProto) -> Iterator[str]:
    service: ServiceDescriptorProto = file.service[0]
    yield from (f"## {service.name}", "", contract.comment(file, SERVICES_OF_FILE, 0), "")
    for index in range(len(service.method)):
        yield from method_section(contract, file, index)
    yield from types_sections(contract, file)


def types_sections(contract: Contract, file: FileDescriptorProto) -> Iterator[str]:
    for index in range(len(file.message_type)):
        yield from message_section(contract, file, index)
    for index in range(len(file.enum_type)):
        yield from enum_section(contract, file, index)


def contract_page(contract: Contract) -> str:
    served = [f"{name}_service.proto" for name in SERVICES]
    known = {name for name, file in contract.files.items() if file.service}
    if known != set(served):
        raise SystemExit(f"scripts/generate_reference.py does not place {', '.join(sorted(known ^ set(served)))}")
    lines = [CONTRACT_HEAD]
    for name in served:
        file = contract.files[name]
        service = file.service[0].name
        lines.append(f"- [{service}](#{service.lower()}): {contract.about(file)}")
    lines += ["- [Shared messages](#shared-messages)", ""]
    for name in served:
        lines += service_section(contract, contract.files[name])
    lines += ["## Shared messages", ""]
    for name, file in contract.files.items():
        if name not in known and name != "error.proto":
            lines += types_sections(contract, file)
    return "\n".join(lines).rstrip() + "\n"


CONTRACT_HEAD = f"""{GENERATED}

# The contract

Package `modelwire.v1`. Every call, message and field below is what `grpcurl describe`, an editor and the generated code say too.
What can go wrong is in [errors.md](errors.md). A field that is not said to be optional has protobuf's default when it is not sent:
zero, the empty string, no entries.
"""

# A status, what happened, and after a dash the keys of the metadata.
REASON = re.compile(r"(?P<status>[^:]+): (?P<meaning>.+?)(?: - (?P<keys>[a-z_, ]+))?\.")


def errors_page(contract: Contract) -> str:
    file = contract.files["error.proto"]
    rows = []
    for value, text in values_of(contract, file, 0):
        if value.number == 0:
            continue
        if not (parts := REASON.fullmatch(text)):
            raise SystemExit(f"the comment of {value.name} does not follow the form `STATUS: meaning - keys.`")
        keys = ", ".join(f"`{key.strip()}`" for key in (parts["keys"] or "").split(",") if key.strip())
        name = value.name.removeprefix("ERROR_REASON_")
        meaning = f"{parts['meaning'][0].upper()}{parts['meaning'][1:]}."
        rows.append((f"`{name}`", parts["status"], meaning, keys))
    return ERRORS_HEAD + "\n".join(table(("reason", "status", "what it means", "metadata"), rows)).rstrip() + "\n"


ERRORS_HEAD = f"""{GENERATED}

# Errors

A call that fails ends with a gRPC status code, a sentence for people, and details for programs:

- `google.rpc.ErrorInfo`: `domain` is `modelwire`, `reason` is one of the names below, `metadata` holds the keys named there.
- `google.rpc.BadRequest`: for INVALID_ARGUMENT, each field that breaks a rule and which rule; `field` is a path such as
  `data.features[0]`.
- `google.rpc.RetryInfo`: where trying again helps, and when.

Decide by `reason`, never by the sentence: reasons are never renamed or used for something else. The Python client turns each
status into an exception with `code`, `reason`, `message`, `metadata` and `violations`. A job that failed carries its reason in
`Job.error_reason`, the exception in `Job.error` and the traceback in `Job.error_traceback`.

"""


def comments(contract: Contract) -> Iterator[tuple[str, str]]:
    """The full name of each service, method, message, field and enum value, and what the contract says of it."""
    parts = (
        (SERVICES_OF_FILE, PARTS_OF_PARENT, lambda file: [(each, each.method) for each in file.service]),
        (MESSAGES_OF_FILE, FIELDS_OF_MESSAGE, lambda file: [(each, each.field) for each in file.message_type]),
        (ENUMS_OF_FILE, PARTS_OF_PARENT, lambda file: [(each, each.value) for each in file.enum_type]),
    )
    for file in contract.files.values():
        for kind, inner, things in parts:
            for index, (thing, members) in enumerate(things(file)):
                name = f"{file.package}.{thing.name}"
                yield name, contract.comment(file, kind, index)
                for number, member in enumerate(members):
                    yield f"{name}.{member.name}", contract.comment(file, kind, index, inner, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    check = parser.parse_args().check
    contract = load()
    written = {
        DOCS / "contract.md": contract_page(contract),
        DOCS / "errors.md": errors_page(contract),
        COMMENTS: json.dumps(dict(sorted(comments(contract))), indent=1, ensure_ascii=False) + "\n",
    }
    for path, text in written.items():
        if not check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is stale. Run `make protos`.")


if __name__ == "__main__":
    main()
