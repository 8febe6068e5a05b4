//! The deployment of `terraform/`, read and evaluated without Terraform: a machine that has no such binary can
//! still be asked what would be made of the sources, and make it elsewhere.
//!
//! [`Configuration::evaluate`] walks a configuration as Terraform does: variables with their types, defaults and validations,
//! locals, data sources, resources with `count`, `for_each`, dynamic blocks and preconditions, modules, outputs.
//! What only AWS knows of a resource, such as its ARN, a [`Provider`] says, which may create it.
//!
//! What `terraform/` does not use is not supported, and says so: provisioners, `moved` and `check` blocks,
//! `count` and `for_each` of modules, override files, functions that no file calls.

pub mod binary;
mod eval;
mod functions;
pub mod schema;
mod source;
mod types;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

pub use self::source::{Declared, Source};
use crate::error::Result;

/// An object of arguments or attributes.
pub type Object = Map<String, Value>;

/// One instance of a resource or data source, with its arguments evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Where it stands: `module.redress.aws_sqs_queue.dead["findings"]`.
    pub address: String,
    /// Its type: `aws_sqs_queue`.
    pub kind: String,
    /// Its name in the source.
    pub name: String,
    /// The provider configuration of the root module that it belongs to: `aws`, or `aws.workload`.
    pub provider: String,
    /// Arguments by their name. A nested block is a list of objects, however many of it there may be; what is
    /// null is left out.
    pub arguments: Object,
}

impl Resource {
    /// A text argument.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Who knows, or makes, what the sources don't say.
pub trait Provider {
    /// The attributes of a resource that only AWS knows. Resources come in an order in which each finds those
    /// that it refers to.
    ///
    /// # Errors
    /// Where it can't be made.
    fn create(&self, resource: &Resource) -> Result<Object>;

    /// The attributes of a data source. `archive_file` is not asked for: its archive is written.
    ///
    /// # Errors
    /// Where it can't be read.
    fn read(&self, data: &Resource) -> Result<Object>;
}

/// What is evaluated.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The folder of the root module.
    pub dir: PathBuf,
    /// Its variables.
    pub variables: Object,
    /// Arguments of its modules that stand in place of what their blocks say, as an override file would put
    /// them: by the module's name.
    pub overrides: Vec<(String, Object)>,
    /// The working folder, `path.root`: archives are written there.
    pub work: PathBuf,
}

impl Configuration {
    /// The configuration of a folder, working in another.
    pub fn new(dir: impl Into<PathBuf>, work: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), work: work.into(), ..Self::default() }
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets arguments of a module, given as an object.
    #[must_use]
    pub fn module(mut self, name: &str, arguments: Value) -> Self {
        if let Value::Object(arguments) = arguments {
            self.overrides.push((name.to_owned(), arguments));
        }
        self
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// Names file or address, and the reason: what Terraform would refuse, and what is not supported here.
    pub fn evaluate(&self, provider: &dyn Provider) -> Result<Evaluated> {
        eval::evaluate(self, provider)
    }
}

/// What a configuration comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// Every resource, in the order in which they were made.
    pub resources: Vec<Resource>,
    /// The outputs of the root module.
    pub outputs: Object,
}

impl Evaluated {
    /// The resources of a type.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }

    /// The resource at an address.
    pub fn at(&self, address: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.address == address)
    }
}

/// Knows plausible names of an account that is not there.
#[derive(Clone, Debug)]
pub struct Imagined {
    /// The account of every provider.
    pub account: String,
    /// The Region of every provider.
    pub region: String,
}

impl Default for Imagined {
    fn default() -> Self {
        Self { account: "123456789012".to_owned(), region: "eu-west-1".to_owned() }
    }
}

impl Provider for Imagined {
    fn create(&self, resource: &Resource) -> Result<Object> {
        let Self { account, region } = self;
        let named =
            ["name", "function_name", "bucket", "identifier", "layer_name", "alarm_name", "dashboard_name"];
        let name = named.iter().find_map(|argument| resource.text(argument)).unwrap_or(&resource.name);
        let service = match resource.kind.strip_prefix("aws_").unwrap_or_default() {
            kind if kind.starts_with("iam_role") => format!("iam::{account}:role/{name}"),
            kind if kind.starts_with("iam_policy") => format!("iam::{account}:policy/{name}"),
            "s3_bucket" => format!("s3:::{name}"),
            "sqs_queue" => format!("sqs:{region}:{account}:{name}"),
            "sns_topic" => format!("sns:{region}:{account}:{name}"),
            "dynamodb_table" => format!("dynamodb:{region}:{account}:table/{name}"),
            "lambda_function" => format!("lambda:{region}:{account}:function:{name}"),
            "lambda_layer_version" => format!("lambda:{region}:{account}:layer:{name}:1"),
            "cloudwatch_event_rule" => format!("events:{region}:{account}:rule/{name}"),
            "cloudwatch_log_group" => format!("logs:{region}:{account}:log-group:{name}"),
            "cloudwatch_metric_alarm" => format!("cloudwatch:{region}:{account}:alarm:{name}"),
            "kinesis_firehose_delivery_stream" => {
                format!("firehose:{region}:{account}:deliverystream/{name}")
            }
            "securityhub_action_target" => format!("securityhub:{region}:{account}:action/custom/{name}"),
            other => format!("{other}:{region}:{account}:{name}"),
        };
        let arn = format!("arn:aws:{service}");
        let mut known = Object::new();
        let mut set = |attribute: &str, value: String| known.insert(attribute.to_owned(), value.into());
        set("id", if resource.kind == "aws_s3_bucket" { name.to_owned() } else { arn.clone() });
        set("stream_arn", format!("{arn}/stream/2026-01-01T00:00:00.000"));
        set("url", format!("https://sqs.{region}.amazonaws.com/{account}/{name}"));
        set("arn", arn);
        Ok(known)
    }

    fn read(&self, data: &Resource) -> Result<Object> {
        let Self { account, region } = self;
        let known: &[(&str, &str)] = match data.kind.as_str() {
            "aws_caller_identity" => &[("account_id", account), ("id", account)],
            "aws_partition" => &[("partition", "aws"), ("id", "aws"), ("dns_suffix", "amazonaws.com")],
            "aws_region" => &[("id", region), ("name", region), ("region", region)],
            other => return Err(crate::error::Error::new(format!("data source `{other}` is not imagined"))),
        };
        Ok(known.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect())
    }
}

/// The folder of the deployment's sources.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = std::env::temp_dir().join(format!("redress-terraform-{}", uuid::Uuid::new_v4()));
            for (name, text) in files {
                let file = dir.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Self(dir)
        }

        fn outputs(&self) -> Result<Object> {
            Ok(Configuration::new(&self.0, &self.0).evaluate(&Imagined::default())?.outputs)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn value(expression: &str) -> Result<Value> {
        let text = format!("output \"it\" {{\n  value = {expression}\n}}\n");
        let folder = Folder::new(&[("main.tf", &text), ("a.txt", "abc")]);
        Ok(folder.outputs()?.remove("it").unwrap())
    }

    /// What `terraform console` answers to the same.
    #[test]
    fn expressions_mean_what_they_mean_to_terraform() {
        for (expression, expected) in [
            (
                r#"jsonencode({ b = "<&>", a = [1, 1.5, null, true] })"#,
                r#""{\"a\":[1,1.5,null,true],\"b\":\"\\u003c\\u0026\\u003e\"}""#,
            ),
            (r#"[for k, v in { b = 1, a = 2 } : "${k}=${v}" if v > 1]"#, r#"["a=2"]"#),
            (r#"{ for s in ["x", "yy"] : s => length(s) }"#, r#"{"x":1,"yy":2}"#),
            (r#"{ for s in ["x", "yy", "z"] : length(s) => s... }"#, r#"{"1":["x","z"],"2":["yy"]}"#),
            ("merge({ a = 1 }, null, { a = 2 })", r#"{"a":2}"#),
            (r#"try(jsondecode("{}").x, "none")"#, r#""none""#),
            (r#"can(regex("^a$", "b"))"#, "false"),
            (r#"regex("^([a-z]+)-([0-9]+)$", "eu-1")"#, r#"["eu","1"]"#),
            (r#"can(regex("^[^@[:space:]]+$", "a b"))"#, "false"),
            ("[{ a = 1 }, { a = 2 }][*].a", "[1,2]"),
            ("null[*]", "[]"),
            (r#"toset(["b", "a", "b"])"#, r#"["a","b"]"#),
            (r#"setproduct(["a"], [1, 2])"#, r#"[["a",1],["a",2]]"#),
            ("chunklist([1, 2, 3], 2)", "[[1,2],[3]]"),
            (r#"format("%02d-%s %%", 7, "x")"#, r#""07-x %""#),
            (r#"replace("a.b", "/[.]/", "-")"#, r#""a-b""#),
            (r#"substr("redress", 2, 3)"#, r#""dre""#),
            (r#"coalesce("", null, "x")"#, r#""x""#),
            (r#"yamldecode("a: off\nb: [yes, '0123']")"#, r#"{"a":false,"b":[true,"0123"]}"#),
            ("max(1, [2, 3]...)", "3"),
            ("7 % 4 + 2 * 3 - -1", "10"),
            (r#"1 == 1.0 && "1" != 1 ? "yes" : "no""#, r#""yes""#),
            (r#"sha256("abc")"#, r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#),
            (
                r#"filebase64sha256("${path.module}/a.txt")"#,
                r#""ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=""#,
            ),
            (r#"fileset(path.module, "*.{txt,md}")"#, r#"["a.txt"]"#),
            (r#"length("é")"#, "1"),
            ("tostring(5)", r#""5""#),
        ] {
            let found = value(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(found, expected, "{expression}");
        }
    }

    #[test]
    fn what_terraform_refuses_is_an_error_with_its_place() {
        for (expression, expected) in [
            ("var.nothing", "var.nothing is not declared"),
            ("local.nothing", "local.nothing is not declared"),
            ("aws_sqs_queue.nothing.arn", "aws_sqs_queue.nothing is not declared"),
            ("{}.a", "has no \"a\""),
            (r#""x${[]}""#, "can't be a string"),
            ("nothing()", "the function `nothing` is not known here"),
            (r#"{ for s in ["a", "a"] : s => 1 }"#, "makes `a` twice"),
            ("fileexists(path.module)", "is a folder"),
            ("timestamp()", "not known here"),
        ] {
            let error = value(expression).unwrap_err().to_string();
            assert!(
                error.starts_with("output.it (main.tf): ") && error.contains(expected),
                "{expression}: {error}"
            );
        }
    }

    #[test]
    fn variables_have_types_defaults_and_validations() {
        let text = r#"
            variable "it" {
              type = object({ a = optional(number, 5), b = string, c = optional(list(string), []) })
              validation {
                condition     = var.it.a < 10
                error_message = "a: less than ten, not ${var.it.a}."
              }
            }
            variable "other" {
              default  = "x"
              nullable = false
            }
            output "it" { value = merge(var.it, { other = var.other }) }
        "#;
        let folder = Folder::new(&[("main.tf", text)]);
        let of = |given: Value| {
            let configuration = Configuration::new(&folder.0, &folder.0);
            let configuration = configuration.variable("it", given).variable("other", Value::Null);
            configuration.evaluate(&Imagined::default()).map(|done| done.outputs["it"].clone())
        };
        let expected = serde_json::json!({ "a": 5, "b": "1", "c": [], "other": "x" });
        assert_eq!(of(serde_json::json!({ "b": 1, "dropped": true })).unwrap(), expected);
        let error = |given: Value| of(given).unwrap_err().to_string();
        assert!(error(serde_json::json!({ "b": "x", "a": 10 })).ends_with("a: less than ten, not 10."));
        assert!(error(serde_json::json!({ "a": 1 })).contains("attribute `b` is required"));
        assert!(error(serde_json::json!({ "b": [] })).contains("can't be a string"));
    }

    #[test]
    fn resources_come_in_the_order_of_their_references() {
        let text = r#"
            resource "aws_sqs_queue" "one" {
              name           = "one"
              redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead["a"].arn })
            }
            resource "aws_sqs_queue" "dead" {
              for_each = toset(["b", "a"])
              name     = "${each.key}-dead"
            }
            resource "aws_lambda_function" "none" {
              count = 0
              name  = "none"
            }
            resource "aws_lambda_function" "two" {
              count         = 2
              function_name = "f${count.index}"
              dynamic "environment" {
                for_each = count.index == 0 ? [] : ["x"]
                content {
                  variables = { V = environment.value, Q = aws_sqs_queue.one.url }
                }
              }
              depends_on = [aws_lambda_function.none]
              lifecycle {
                precondition {
                  condition     = count.index < 2
                  error_message = "never"
                }
              }
            }
            module "child" {
              source    = "./child"
              providers = { aws = aws.other }
              name      = one(aws_lambda_function.none[*].arn)
            }
            output "it" { value = [aws_lambda_function.two[1].environment[0].variables.V, module.child.name] }
        "#;
        let child = r#"
            variable "name" { type = string }
            data "aws_caller_identity" "current" {}
            resource "aws_iam_role" "it" { name = coalesce(var.name, data.aws_caller_identity.current.account_id) }
            output "name" { value = aws_iam_role.it.name }
        "#;
        let folder = Folder::new(&[("main.tf", text), ("child/main.tf", child)]);
        let done = Configuration::new(&folder.0, &folder.0).evaluate(&Imagined::default()).unwrap();
        assert_eq!(done.outputs["it"], serde_json::json!(["x", "123456789012"]));
        let addresses: Vec<&str> = done.resources.iter().map(|resource| resource.address.as_str()).collect();
        let before = |first: &str, second: &str| {
            let place = |address: &str| addresses.iter().position(|known| *known == address).unwrap();
            assert!(place(first) < place(second), "{addresses:?}");
        };
        before("aws_sqs_queue.dead[\"a\"]", "aws_sqs_queue.one");
        before("aws_sqs_queue.one", "aws_lambda_function.two[1]");
        assert_eq!(addresses.len(), 6);
        assert_eq!(done.at("module.child.aws_iam_role.it").unwrap().provider, "aws.other");
        assert!(done.at("aws_lambda_function.two[0]").unwrap().arguments.get("environment").is_none());
    }

    #[test]
    fn the_deployment_can_be_evaluated() {
        let work = Folder::new(&[("x/x86_64/dispatcher.zip", "x"), ("x/x86_64/sign-in.zip", "y")]);
        let root =
            || Configuration::new(folder(), &work.0).variable("packages", work.0.join("x").to_string_lossy());
        let done = root().evaluate(&Imagined::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(done.of("aws_cloudwatch_event_rule").count(), 4);
        let queue = done.at("aws_sqs_queue.findings").unwrap();
        assert_eq!(
            (queue.text("name"), queue.arguments["visibility_timeout_seconds"].as_u64()),
            (Some("redress-findings"), Some(720))
        );
        let everything = root()
            .variable("cognito", serde_json::json!({ "user_pools": ["eu-west-1_AbC"] }))
            .variable("archive", serde_json::json!({ "bucket": "an-archive" }))
            .variable("notify", serde_json::json!({ "alarms": ["a@b.c"], "outcomes": ["a@b.c"] }))
            .variable("kms_key_arn", "arn:aws:kms:eu-west-1:123456789012:key/a")
            .variable("finding_formats", serde_json::json!(["ASFF", "OCSF"]))
            .variable("member_accounts", serde_json::json!(["111122223333"]));
        let done = everything.evaluate(&Imagined::default()).unwrap_or_else(|error| panic!("{error}"));
        assert!(done.at("aws_lambda_function.recorder[0]").is_some());
        assert_eq!(
            done.outputs["sign_in_recorder_arn"],
            "arn:aws:lambda:eu-west-1:123456789012:function:redress-sign-in"
        );
        let refused =
            root().variable("ceiling", "aply").evaluate(&Imagined::default()).unwrap_err().to_string();
        assert_eq!(refused, "var.ceiling (variables.tf): ceiling: off, plan or apply.");
        for example in ["single-account", "cognito", "organization", "state-bucket"] {
            let mut example = Configuration::new(folder().join("examples").join(example), &work.0);
            let packages = serde_json::json!({ "packages": work.0.join("x") });
            for (name, value) in [
                ("region", "eu-west-1".into()),
                ("user_pools", serde_json::json!(["eu-west-1_AbC"])),
                ("workload_account", "111122223333".into()),
                ("external_id", "id".into()),
                ("bucket", "a-bucket".into()),
            ] {
                let source = Source::load(&example.dir).unwrap();
                if source.variables.contains_key(name) {
                    example = example.variable(name, value);
                }
            }
            let example = example.module("redress", packages);
            let done = example.evaluate(&Imagined::default()).unwrap_or_else(|error| panic!("{error}"));
            assert!(done.resources.len() > 5);
        }
    }
}
