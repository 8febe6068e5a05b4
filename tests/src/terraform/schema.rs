//! What the AWS provider knows of each resource: the names and types of arguments, and which are required.
//!
//! The schemas in `tests/terraform/` are those of the oldest version of the provider that `terraform/` accepts
//! and of one of the newest; `extract_schema.py` beside them says where they come from.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use hcl::{Block, Body, Structure, structure::Attribute};
use serde::Deserialize;
use serde_json::Value;

use super::{Resource, Source, types::shown};
use crate::error::{Context, Result};

/// A version of the provider.
#[derive(Clone, Debug, Deserialize)]
pub struct Schema {
    /// Its number.
    pub version: String,
    types: BTreeMap<String, Shape>,
}

/// The arguments and blocks of a block.
#[derive(Clone, Debug, Default, Deserialize)]
struct Shape {
    attributes: BTreeMap<String, Argument>,
    blocks: BTreeMap<String, Shape>,
    #[serde(default)]
    required: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Argument {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: bool,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// File and block: `main.tf: aws_sqs_queue.findings`.
    pub at: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Terraform's own arguments of a resource, and of the blocks in it.
const RESOURCE: &str = r#"{
    "attributes": {
        "count": { "type": "number" }, "for_each": { "type": "any" }, "provider": { "type": "any" },
        "depends_on": { "type": "list" }
    },
    "blocks": {
        "lifecycle": {
            "attributes": {
                "create_before_destroy": { "type": "bool" }, "prevent_destroy": { "type": "bool" },
                "ignore_changes": { "type": "list" }, "replace_triggered_by": { "type": "list" }
            },
            "blocks": {
                "precondition": {
                    "attributes": {
                        "condition": { "type": "bool", "required": true },
                        "error_message": { "type": "string", "required": true }
                    },
                    "blocks": {}
                }
            }
        }
    }
}"#;

/// `archive_file` of
/// [hashicorp/archive](https://registry.terraform.io/providers/hashicorp/archive/latest/docs/data-sources/file),
/// as far as it is used.
const ARCHIVE: &str = r#"{
    "attributes": {
        "type": { "type": "string", "required": true }, "output_path": { "type": "string", "required": true }
    },
    "blocks": {
        "source": {
            "attributes": {
                "filename": { "type": "string", "required": true }, "content": { "type": "string", "required": true }
            },
            "blocks": {}
        }
    }
}"#;

/// Blocks that are no resources.
const OTHERS: &str = r#"{
    "variable": {
        "attributes": {
            "description": { "type": "string", "required": true }, "type": { "type": "any", "required": true },
            "default": { "type": "any" }, "nullable": { "type": "bool" }, "sensitive": { "type": "bool" }
        },
        "blocks": {
            "validation": {
                "attributes": {
                    "condition": { "type": "bool", "required": true },
                    "error_message": { "type": "string", "required": true }
                },
                "blocks": {}
            }
        }
    },
    "output": {
        "attributes": {
            "description": { "type": "string", "required": true }, "value": { "type": "any", "required": true },
            "sensitive": { "type": "bool" }, "depends_on": { "type": "list" }
        },
        "blocks": {}
    },
    "terraform": {
        "attributes": { "required_version": { "type": "string", "required": true } },
        "blocks": {
            "required_providers": {
                "required": true,
                "attributes": { "aws": { "type": "map", "required": true }, "archive": { "type": "map" } },
                "blocks": {}
            },
            "backend": {
                "attributes": { "key": { "type": "string" }, "use_lockfile": { "type": "bool" } },
                "blocks": {}
            }
        }
    },
    "provider": {
        "attributes": { "alias": { "type": "string" }, "region": { "type": "string", "required": true } },
        "blocks": {
            "assume_role": {
                "attributes": { "role_arn": { "type": "string", "required": true } },
                "blocks": {}
            }
        }
    }
}"#;

impl Schema {
    /// Every version there is a schema of.
    ///
    /// # Errors
    /// Names the file that can't be read.
    pub fn all() -> Result<Vec<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
        ["aws-5.100.0.json", "aws-6.62.0.json"]
            .iter()
            .map(|name| {
                let text = fs::read_to_string(folder.join(name)).context(|| (*name).to_owned())?;
                serde_json::from_str(&text).context(|| (*name).to_owned())
            })
            .collect()
    }

    /// What is wrong with the names in a module's files.
    ///
    /// # Errors
    /// Where a schema of this module's own can't be read.
    pub fn check(&self, source: &Source) -> Result<Vec<Fault>> {
        let others: BTreeMap<String, Shape> = serde_json::from_str(OTHERS).context(|| "OTHERS".to_owned())?;
        let mut faults = Vec::new();
        for ((kind, name), declared) in source.resources.iter().chain(&source.data) {
            let of = declared.block.identifier();
            let at = format!("{}: {kind}.{name}", declared.file);
            self.check_resource(&at, &declared.block, &format!("{of}.{kind}"), &mut faults)?;
        }
        let named = |kind: &str, blocks: &BTreeMap<String, super::Declared>| {
            blocks.iter().map(|(name, one)| (format!("{kind}.{name}"), one.clone())).collect::<Vec<_>>()
        };
        let mut plain = named("variable", &source.variables);
        plain.extend(named("output", &source.outputs));
        plain.extend(source.providers.iter().map(|one| ("provider".to_owned(), one.clone())));
        plain.extend(source.settings.iter().map(|one| ("terraform".to_owned(), one.clone())));
        for (name, declared) in plain {
            let at = format!("{}: {name}", declared.file);
            if let Some(shape) = others.get(declared.block.identifier()) {
                check(&at, declared.block.body(), shape, &mut faults);
            }
        }
        for (name, declared) in &source.modules {
            let at = format!("{}: module.{name}", declared.file);
            check_module(&at, source, &declared.block, &mut faults)?;
        }
        Ok(faults)
    }

    /// What is wrong with the names in one resource or data block.
    ///
    /// # Errors
    /// As [`Schema::check`].
    pub fn check_resource(&self, at: &str, block: &Block, key: &str, faults: &mut Vec<Fault>) -> Result<()> {
        let archive: Shape = serde_json::from_str(ARCHIVE).context(|| "ARCHIVE".to_owned())?;
        let own: Shape = serde_json::from_str(RESOURCE).context(|| "RESOURCE".to_owned())?;
        let shape = if key == "data.archive_file" { Some(&archive) } else { self.types.get(key) };
        let Some(shape) = shape else {
            let what = format!(
                "`{key}` is not in the schema of {}: see tests/terraform/extract_schema.py",
                self.version
            );
            faults.push(Fault { at: at.to_owned(), what });
            return Ok(());
        };
        let mut shape = shape.clone();
        shape.attributes.extend(own.attributes);
        shape.blocks.extend(own.blocks);
        check(at, block.body(), &shape, faults);
        Ok(())
    }

    /// What is wrong with the values of an evaluated resource.
    pub fn check_values(&self, resource: &Resource) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(shape) = self.types.get(&format!("resource.{}", resource.kind)) {
            values(&resource.address, &Value::Object(resource.arguments.clone()), shape, &mut faults);
        }
        faults
    }
}

fn check_module(at: &str, source: &Source, block: &Block, faults: &mut Vec<Fault>) -> Result<()> {
    let argument = |name: &str| block.body().attributes().find(|one| one.key() == name).map(Attribute::expr);
    let Some(hcl::Expression::String(path)) = argument("source") else {
        faults.push(Fault { at: at.to_owned(), what: "no `source`".to_owned() });
        return Ok(());
    };
    let called = Source::load(&source.dir.join(path))?;
    let own = ["source", "providers", "depends_on"].map(|name| (name.to_owned(), false));
    let inputs = called
        .variables
        .iter()
        .map(|(name, declared)| (name.clone(), declared.argument("default").is_none()));
    let attributes = own
        .into_iter()
        .chain(inputs)
        .map(|(name, required)| (name, Argument { kind: "any".to_owned(), required }));
    let shape = Shape { attributes: attributes.collect(), ..Shape::default() };
    check(at, block.body(), &shape, faults);
    Ok(())
}

fn check(at: &str, body: &Body, shape: &Shape, faults: &mut Vec<Fault>) {
    let mut fault = |what: String| faults.push(Fault { at: at.to_owned(), what });
    let mut there = Vec::new();
    let mut nested = Vec::new();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) => {
                let name = attribute.key();
                there.push(name);
                if shape.blocks.contains_key(name) && !shape.attributes.contains_key(name) {
                    fault(format!("`{name}` is a block, and no argument"));
                } else if !shape.attributes.contains_key(name) {
                    fault(format!("there is no argument `{name}`"));
                }
            }
            Structure::Block(block) if block.identifier() == "dynamic" => {
                let name = block.labels().first().map(hcl::BlockLabel::as_str).unwrap_or_default();
                there.push(name);
                let content = block.body().blocks().find(|inner| inner.identifier() == "content");
                for inner in block.body().attributes().filter(|inner| inner.key() != "for_each") {
                    fault(format!("dynamic {name}: there is no argument `{}`", inner.key()));
                }
                if !block.body().attributes().any(|inner| inner.key() == "for_each") {
                    fault(format!("dynamic {name}: no `for_each`"));
                }
                match (shape.blocks.get(name), content) {
                    (None, _) => fault(format!("there is no block `{name}`")),
                    (_, None) => fault(format!("dynamic {name}: no `content`")),
                    (Some(shape), Some(content)) => nested.push((name, content.body(), shape)),
                }
            }
            Structure::Block(block) => {
                let name = block.identifier();
                there.push(name);
                match shape.blocks.get(name) {
                    Some(shape) => nested.push((name, block.body(), shape)),
                    None if shape.attributes.contains_key(name) => {
                        fault(format!("`{name}` is an argument, and no block"));
                    }
                    None => fault(format!("there is no block `{name}`")),
                }
            }
        }
    }
    let arguments = shape.attributes.iter().filter(|(_, one)| one.required).map(|(name, _)| name);
    let blocks = shape.blocks.iter().filter(|(_, one)| one.required).map(|(name, _)| name);
    for name in arguments.chain(blocks).filter(|name| !there.contains(&name.as_str())) {
        fault(format!("`{name}` is required"));
    }
    for (name, body, shape) in nested {
        check(&format!("{at}: {name}"), body, shape, faults);
    }
}

fn values(at: &str, value: &Value, shape: &Shape, faults: &mut Vec<Fault>) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        if let Some(argument) = shape.attributes.get(name) {
            let text = value.as_str();
            let fits = match argument.kind.as_str() {
                "string" => !value.is_array() && !value.is_object(),
                "number" => value.is_number() || text.is_some_and(|text| text.parse::<f64>().is_ok()),
                "bool" => value.is_boolean() || matches!(text, Some("true" | "false")),
                "list" => value.is_array(),
                "map" => value.is_object(),
                _ => true,
            };
            if !fits {
                let what = format!("`{name}` is {}, and no {}", shown(value), argument.kind);
                faults.push(Fault { at: at.to_owned(), what });
            }
        } else if let Some(shape) = shape.blocks.get(name) {
            for block in value.as_array().into_iter().flatten() {
                values(&format!("{at}: {name}"), block, shape, faults);
            }
        }
    }
}
