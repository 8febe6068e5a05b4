//! The way through a configuration.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use hcl::{
    Block, Body, Expression, Structure, Template,
    expr::{
        BinaryOperator, Conditional, ForExpr, ObjectKey, Operation, TemplateExpr, TraversalOperator,
        UnaryOperator,
    },
    structure::Attribute,
    template::{Directive, Element, Strip},
};
use serde_json::Value;

use super::{
    Configuration, Evaluated, Object, Provider, Resource, functions,
    source::{Declared, Source},
    types::{bool, called, convert, equal, float, members, number, shown, text},
};
use crate::error::{Context, Error, Result};

/// Arguments of a resource that are Terraform's own.
const META: [&str; 4] = ["count", "for_each", "provider", "depends_on"];

pub(super) fn evaluate(configuration: &Configuration, provider: &dyn Provider) -> Result<Evaluated> {
    let world = World {
        provider,
        work: configuration.work.clone(),
        overrides: configuration.overrides.iter().cloned().collect(),
        made: RefCell::default(),
    };
    let source = Source::load(&configuration.dir)?;
    let known = |name: &String| source.variables.contains_key(name);
    if let Some(stranger) = configuration.variables.keys().find(|name| !known(name)) {
        return Err(Error::new(format!("there is no variable `{stranger}`")));
    }
    let providers = BTreeMap::from([("aws".to_owned(), "aws".to_owned())]);
    let root =
        Module::new(&world, Rc::new(source), String::new(), configuration.variables.clone(), providers);
    let outputs = root.everything()?;
    Ok(Evaluated { resources: world.made.into_inner(), outputs })
}

/// What all modules share.
struct World<'w> {
    provider: &'w dyn Provider,
    work: PathBuf,
    overrides: HashMap<String, Object>,
    made: RefCell<Vec<Resource>>,
}

/// A module, called with its arguments.
struct Module<'w> {
    world: &'w World<'w>,
    source: Rc<Source>,
    /// `module.redress.`, or nothing for the root.
    prefix: String,
    given: Object,
    /// The root's name of each provider configuration that the module knows.
    providers: BTreeMap<String, String>,
    /// What is known already, by reference; `None` while it is being looked for.
    known: RefCell<HashMap<String, Option<Value>>>,
}

/// Names that are bound where an expression stands: of a `for`, `each`, `count`, a dynamic block.
#[derive(Clone, Copy)]
struct Scope<'s> {
    names: &'s [(String, Value)],
    outer: Option<&'s Scope<'s>>,
    /// Functions that read files take paths as they are; templates see nothing of the module.
    closed: bool,
}

impl<'s> Scope<'s> {
    const NONE: Scope<'static> = Scope { names: &[], outer: None, closed: false };

    fn find(&self, name: &str) -> Option<&'s Value> {
        let here = self.names.iter().rev().find(|(bound, _)| bound == name).map(|(_, value)| value);
        here.or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }

    fn within<'t>(&'t self, names: &'t [(String, Value)]) -> Scope<'t>
    where
        's: 't,
    {
        Scope { names, outer: Some(self), closed: self.closed }
    }
}

impl<'w> Module<'w> {
    fn new(
        world: &'w World<'w>,
        source: Rc<Source>,
        prefix: String,
        given: Object,
        providers: BTreeMap<String, String>,
    ) -> Self {
        Self { world, source, prefix, given, providers, known: RefCell::default() }
    }

    /// Evaluates everything there is, and gives the outputs.
    fn everything(&self) -> Result<Object> {
        for variable in self.source.variables.keys() {
            self.variable(variable)?;
        }
        for local in self.source.locals.keys() {
            self.local(local)?;
        }
        for (kind, name) in self.source.data.keys() {
            self.instances(true, kind, name)?;
        }
        for (kind, name) in self.source.resources.keys() {
            self.instances(false, kind, name)?;
        }
        for module in self.source.modules.keys() {
            self.child(module)?;
        }
        for declared in &self.source.providers {
            self.body(declared.block.body(), &Scope::NONE).context(|| format!("{}provider", self.prefix))?;
        }
        let mut outputs = Object::new();
        for (output, declared) in &self.source.outputs {
            let at = || format!("{}output.{output} ({})", self.prefix, declared.file);
            let value = declared.argument("value").context(|| format!("{}: no value", at()))?;
            outputs.insert(output.clone(), self.eval(value, &Scope::NONE).context(at)?);
        }
        Ok(outputs)
    }

    /// Looks a reference up, once.
    fn once(&self, reference: String, look: impl FnOnce() -> Result<Value>) -> Result<Value> {
        match self.known.borrow().get(&reference) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => return Err(Error::new(format!("{}{reference} refers to itself", self.prefix))),
            None => {}
        }
        self.known.borrow_mut().insert(reference.clone(), None);
        let found = look();
        match &found {
            Ok(value) => self.known.borrow_mut().insert(reference, Some(value.clone())),
            // A `try` may look again.
            Err(_) => self.known.borrow_mut().remove(&reference),
        };
        found
    }

    fn variable(&self, variable: &str) -> Result<Value> {
        self.once(format!("var.{variable}"), || {
            let at = || format!("{}var.{variable}", self.prefix);
            let declared =
                self.source.variables.get(variable).context(|| format!("{} is not declared", at()))?;
            let at = || format!("{} ({})", at(), declared.file);
            let nullable = match declared.argument("nullable") {
                Some(value) => bool(&self.eval(value, &Scope::NONE)?).context(at)?,
                None => true,
            };
            let given = self.given.get(variable).filter(|value| nullable || !value.is_null());
            let value = match (given, declared.argument("default")) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => self.eval(default, &Scope::NONE).context(at)?,
                (None, None) => return Err(Error::new(format!("{} is required", at()))),
            };
            match declared.argument("type") {
                Some(kind) => convert(&value, kind).context(at),
                None => Ok(value),
            }
        })?;
        self.validated(variable)
    }

    /// The variable, once its validations have been asked, which refer to it.
    fn validated(&self, variable: &str) -> Result<Value> {
        let known = |reference: &str| self.known.borrow().get(reference).cloned().flatten();
        let value = known(&format!("var.{variable}")).unwrap_or_default();
        if known(&format!("validated.{variable}")).is_some() {
            return Ok(value);
        }
        self.known.borrow_mut().insert(format!("validated.{variable}"), Some(Value::Null));
        let Some(declared) = self.source.variables.get(variable) else { return Ok(value) };
        for validation in declared.block.body().blocks().filter(|block| block.identifier() == "validation") {
            self.condition(validation, &Scope::NONE)
                .context(|| format!("{}var.{variable} ({})", self.prefix, declared.file))?;
        }
        Ok(value)
    }

    /// A validation or precondition.
    fn condition(&self, block: &Block, scope: &Scope<'_>) -> Result<()> {
        let argument = |name: &str| {
            let found = block.body().attributes().find(|attribute| attribute.key() == name);
            found.map(Attribute::expr).context(|| format!("{} without {name}", block.identifier()))
        };
        if bool(&self.eval(argument("condition")?, scope)?)? {
            return Ok(());
        }
        Err(Error::new(text(&self.eval(argument("error_message")?, scope)?)?))
    }

    fn local(&self, local: &str) -> Result<Value> {
        self.once(format!("local.{local}"), || {
            let at = || format!("{}local.{local}", self.prefix);
            let (file, value) =
                self.source.locals.get(local).context(|| format!("{} is not declared", at()))?;
            self.eval(value, &Scope::NONE).context(|| format!("{} ({file})", at()))
        })
    }

    /// The outputs of a module that this one calls.
    fn child(&self, module: &str) -> Result<Value> {
        self.once(format!("module.{module}"), || {
            let at = || format!("{}module.{module}", self.prefix);
            let declared = self.source.modules.get(module).context(|| format!("{} is not declared", at()))?;
            let at = || format!("{} ({})", at(), declared.file);
            let mut arguments = Object::new();
            let mut providers = self.providers.clone();
            let mut source = None;
            for attribute in declared.block.body().attributes() {
                let value = attribute.expr();
                match attribute.key() {
                    "source" => source = Some(text(&self.eval(value, &Scope::NONE)?).context(at)?),
                    "providers" => providers = self.passed(value).context(at)?,
                    "depends_on" => self.depend(value).context(at)?,
                    other @ ("count" | "for_each" | "version") => {
                        return Err(Error::new(format!("{}: `{other}` is not supported", at())));
                    }
                    name => {
                        let value = self.eval(value, &Scope::NONE).context(at)?;
                        arguments.insert(name.to_owned(), value);
                    }
                }
            }
            if self.prefix.is_empty()
                && let Some(others) = self.world.overrides.get(module)
            {
                arguments.extend(others.clone());
            }
            let source = source.filter(|source| source.starts_with('.'));
            let source = source.context(|| format!("{}: its source is no path", at()))?;
            let source = Source::load(&self.source.dir.join(source)).context(at)?;
            if let Some(stranger) = arguments.keys().find(|name| !source.variables.contains_key(*name)) {
                return Err(Error::new(format!("{}: there is no variable `{stranger}`", at())));
            }
            let prefix = format!("{}module.{module}.", self.prefix);
            let child = Module::new(self.world, Rc::new(source), prefix, arguments, providers);
            child.everything().map(Value::Object)
        })
    }

    /// `{ aws = aws.workload }`: the names of the module that is called, and what the root calls them.
    fn passed(&self, providers: &Expression) -> Result<BTreeMap<String, String>> {
        let Expression::Object(pairs) = providers else {
            return Err(Error::new("`providers` is no object"));
        };
        let name = |key: &ObjectKey| match key {
            ObjectKey::Identifier(key) => key.to_string(),
            other => other.to_string(),
        };
        pairs
            .iter()
            .map(|(inner, outer)| {
                let outer = outer.to_string();
                // A configuration of the root is called as it is there.
                let known = self.providers.get(&outer).cloned().unwrap_or(outer);
                Ok((name(inner), known))
            })
            .collect()
    }

    /// Makes what a `depends_on` names.
    fn depend(&self, on: &Expression) -> Result<()> {
        let Expression::Array(references) = on else {
            return Err(Error::new("`depends_on` is no list"));
        };
        references.iter().try_for_each(|reference| self.eval(reference, &Scope::NONE).map(drop))
    }

    /// All instances of a resource or data source: an object, a list with `count`, a map with `for_each`.
    fn instances(&self, data: bool, kind: &str, name: &str) -> Result<Value> {
        let of = if data { "data." } else { "" };
        self.once(format!("{of}{kind}.{name}"), || {
            let address = format!("{}{of}{kind}.{name}", self.prefix);
            let declared = if data { &self.source.data } else { &self.source.resources };
            let declared = declared.get(&(kind.to_owned(), name.to_owned()));
            let declared = declared.context(|| format!("{address} is not declared"))?;
            let at = || format!("{address} ({})", declared.file);
            if let Some(on) = declared.argument("depends_on") {
                self.depend(on).context(at)?;
            }
            let make = |key: &str, names: &[(String, Value)]| {
                let scope = Scope { names, outer: None, closed: false };
                let address = format!("{address}{key}");
                let at = || format!("{address} ({})", declared.file);
                self.instance(data, declared, address.clone(), &scope).context(at)
            };
            match (declared.argument("count"), declared.argument("for_each")) {
                (None, None) => make("", &[]),
                (Some(count), None) => {
                    let count = float(&self.eval(count, &Scope::NONE).context(at)?).context(at)?;
                    let mut made = Vec::new();
                    let count = whole(count).context(at)?;
                    while made.len() < count {
                        let index = serde_json::json!({ "index": made.len() });
                        made.push(make(&format!("[{}]", made.len()), &[("count".to_owned(), index)])?);
                    }
                    Ok(Value::Array(made))
                }
                (None, Some(each)) => {
                    let mut made = Object::new();
                    for (key, value) in pairs(&self.eval(each, &Scope::NONE).context(at)?).context(at)? {
                        let each = serde_json::json!({ "key": key, "value": value });
                        let instance =
                            make(&format!("[{}]", Value::from(key.clone())), &[("each".to_owned(), each)])?;
                        made.insert(key, instance);
                    }
                    Ok(Value::Object(made))
                }
                (Some(_), Some(_)) => Err(Error::new(format!("{}: count and for_each", at()))),
            }
        })
    }

    fn instance(&self, data: bool, declared: &Declared, address: String, scope: &Scope<'_>) -> Result<Value> {
        let body = declared.block.body();
        for lifecycle in body.blocks().filter(|block| block.identifier() == "lifecycle") {
            for block in lifecycle.body().blocks() {
                match block.identifier() {
                    "precondition" => self.condition(block, scope)?,
                    other => return Err(Error::new(format!("lifecycle: `{other}` is not supported"))),
                }
            }
        }
        let provider = declared.argument("provider").map_or_else(|| "aws".to_owned(), ToString::to_string);
        let resource = Resource {
            address,
            kind: declared.label(0).to_owned(),
            name: declared.label(1).to_owned(),
            provider: self.providers.get(&provider).cloned().unwrap_or(provider),
            arguments: self.body(body, scope)?,
        };
        let mut attributes = if !data {
            self.world.provider.create(&resource)?
        } else if resource.kind == "archive_file" {
            functions::archive(&resource)?
        } else {
            self.world.provider.read(&resource)?
        };
        for (name, value) in &resource.arguments {
            attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if !data {
            self.world.made.borrow_mut().push(resource);
        }
        Ok(Value::Object(attributes))
    }

    /// The arguments and nested blocks of a body.
    fn body(&self, body: &Body, scope: &Scope<'_>) -> Result<Object> {
        let mut arguments = Object::new();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let name = attribute.key();
                    if META.contains(&name) {
                        continue;
                    }
                    let value = self.eval(attribute.expr(), scope).context(|| name.to_owned())?;
                    if !value.is_null() {
                        arguments.insert(name.to_owned(), value);
                    }
                }
                Structure::Block(block) => match block.identifier() {
                    "lifecycle" => {}
                    "provisioner" | "connection" => {
                        return Err(Error::new(format!("`{}` is not supported", block.identifier())));
                    }
                    "dynamic" => {
                        let name = block.labels().first().map(hcl::BlockLabel::as_str).unwrap_or_default();
                        for made in self.dynamic(name, block, scope).context(|| format!("dynamic {name}"))? {
                            nest(&mut arguments, name, made)?;
                        }
                    }
                    name => {
                        let inner = self.body(block.body(), scope).context(|| name.to_owned())?;
                        nest(&mut arguments, name, inner)?;
                    }
                },
            }
        }
        Ok(arguments)
    }

    fn dynamic(&self, name: &str, block: &Block, scope: &Scope<'_>) -> Result<Vec<Object>> {
        let mut attributes = block.body().attributes();
        let each = attributes
            .find(|attribute| attribute.key() == "for_each")
            .context(|| "no for_each".to_owned())?;
        if block.body().attributes().count() > 1 {
            return Err(Error::new("`iterator` and `labels` are not supported"));
        }
        let content = block.body().blocks().find(|block| block.identifier() == "content");
        let content = content.context(|| "no content".to_owned())?;
        let each = self.eval(each.expr(), scope)?;
        let pairs: Vec<(Value, Value)> = match &each {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| (index.into(), item.clone())).collect()
            }
            Value::Object(object) => {
                members(object).into_iter().map(|(key, value)| (key.as_str().into(), value.clone())).collect()
            }
            other => return Err(Error::new(format!("for_each is {}", called(other)))),
        };
        pairs
            .into_iter()
            .map(|(key, value)| {
                let bound = [(name.to_owned(), serde_json::json!({ "key": key, "value": value }))];
                self.body(content.body(), &scope.within(&bound))
            })
            .collect()
    }

    fn eval(&self, expression: &Expression, scope: &Scope<'_>) -> Result<Value> {
        match expression {
            Expression::Null => Ok(Value::Null),
            Expression::Bool(bool) => Ok((*bool).into()),
            Expression::Number(found) => {
                found.as_f64().map(number).context(|| format!("`{found}` is no number"))
            }
            Expression::String(text) => Ok(text.as_str().into()),
            Expression::Array(items) => {
                items.iter().map(|item| self.eval(item, scope)).collect::<Result<_>>().map(Value::Array)
            }
            Expression::Object(pairs) => {
                let mut object = Object::new();
                for (key, value) in pairs {
                    let key = match key {
                        ObjectKey::Identifier(key) => key.to_string(),
                        ObjectKey::Expression(key) => text(&self.eval(key, scope)?)?,
                        other => return Err(Error::new(format!("`{other}` is no key"))),
                    };
                    object.insert(key, self.eval(value, scope)?);
                }
                Ok(Value::Object(object))
            }
            Expression::TemplateExpr(template) => self.template_expression(template, scope),
            Expression::Variable(variable) => {
                self.root(variable.as_str(), &[], scope).map(|(value, _)| value)
            }
            Expression::Traversal(traversal) => {
                let (value, used) = match &traversal.expr {
                    Expression::Variable(root) => self.root(root.as_str(), &traversal.operators, scope)?,
                    other => (self.eval(other, scope)?, 0),
                };
                self.steps(value, traversal.operators.get(used..).unwrap_or_default(), scope)
                    .context(|| format!("`{expression}`"))
            }
            Expression::FuncCall(call) => self.call(call, scope),
            Expression::Parenthesis(inner) => self.eval(inner, scope),
            Expression::Conditional(conditional) => {
                let Conditional { cond_expr, true_expr, false_expr } = &**conditional;
                let chosen = if bool(&self.eval(cond_expr, scope)?)? { true_expr } else { false_expr };
                self.eval(chosen, scope)
            }
            Expression::Operation(operation) => self.operation(operation, scope),
            Expression::ForExpr(expression) => self.for_expression(expression, scope),
            other => Err(Error::new(format!("`{other}` is not supported"))),
        }
    }

    /// What a name at the head of a reference stands for, and how many of the steps after it are spent on it.
    fn root(&self, root: &str, steps: &[TraversalOperator], scope: &Scope<'_>) -> Result<(Value, usize)> {
        if let Some(bound) = scope.find(root) {
            return Ok((bound.clone(), 0));
        }
        let step = |index: usize| match steps.get(index) {
            Some(TraversalOperator::GetAttr(name)) => Ok(name.as_str()),
            _ => Err(Error::new(format!("`{root}` is no value by itself"))),
        };
        if scope.closed {
            return Err(Error::new(format!("`{root}` is not given to the template")));
        }
        match root {
            "var" => {
                self.variable(step(0)?)?;
                Ok((self.validated(step(0)?)?, 1))
            }
            "local" => Ok((self.local(step(0)?)?, 1)),
            "module" => Ok((self.child(step(0)?)?, 1)),
            "data" => Ok((self.instances(true, step(0)?, step(1)?)?, 2)),
            "path" => {
                let path: &Path = match step(0)? {
                    "module" => &self.source.dir,
                    "root" | "cwd" => &self.world.work,
                    other => return Err(Error::new(format!("there is no `path.{other}`"))),
                };
                Ok((path.to_string_lossy().into(), 1))
            }
            "each" | "count" | "self" | "terraform" => Err(Error::new(format!("there is no `{root}` here"))),
            kind => Ok((self.instances(false, kind, step(0)?)?, 1)),
        }
    }

    fn steps(&self, value: Value, steps: &[TraversalOperator], scope: &Scope<'_>) -> Result<Value> {
        let Some((first, rest)) = steps.split_first() else { return Ok(value) };
        let next = match first {
            TraversalOperator::GetAttr(name) => member(&value, &Value::from(name.as_str()))?,
            TraversalOperator::Index(index) => member(&value, &self.eval(index, scope)?)?,
            TraversalOperator::LegacyIndex(index) => member(&value, &Value::from(*index))?,
            TraversalOperator::AttrSplat | TraversalOperator::FullSplat => {
                let items = match value {
                    Value::Array(items) => items,
                    Value::Null => Vec::new(),
                    one => vec![one],
                };
                let each = items.into_iter().map(|item| self.steps(item, rest, scope));
                return each.collect::<Result<_>>().map(Value::Array);
            }
        };
        self.steps(next, rest, scope)
    }

    fn operation(&self, operation: &Operation, scope: &Scope<'_>) -> Result<Value> {
        let (left, operator, right) = match operation {
            Operation::Unary(unary) => {
                let value = self.eval(&unary.expr, scope)?;
                return match unary.operator {
                    UnaryOperator::Neg => Ok(number(-float(&value)?)),
                    UnaryOperator::Not => Ok((!bool(&value)?).into()),
                };
            }
            Operation::Binary(binary) => (
                self.eval(&binary.lhs_expr, scope)?,
                binary.operator,
                // Both sides are always looked at, as Terraform does.
                self.eval(&binary.rhs_expr, scope)?,
            ),
        };
        let numbers = |apply: fn(f64, f64) -> f64| Ok(number(apply(float(&left)?, float(&right)?)));
        let compared = |apply: fn(&f64, &f64) -> bool| Ok(apply(&float(&left)?, &float(&right)?).into());
        match operator {
            BinaryOperator::Eq => Ok(equal(&left, &right).into()),
            BinaryOperator::NotEq => Ok((!equal(&left, &right)).into()),
            BinaryOperator::LessEq => compared(f64::le),
            BinaryOperator::GreaterEq => compared(f64::ge),
            BinaryOperator::Less => compared(f64::lt),
            BinaryOperator::Greater => compared(f64::gt),
            BinaryOperator::Plus => numbers(|a, b| a + b),
            BinaryOperator::Minus => numbers(|a, b| a - b),
            BinaryOperator::Mul => numbers(|a, b| a * b),
            BinaryOperator::Div => numbers(|a, b| a / b),
            BinaryOperator::Mod => numbers(|a, b| a % b),
            BinaryOperator::And => {
                let (left, right) = (bool(&left)?, bool(&right)?);
                Ok((left && right).into())
            }
            BinaryOperator::Or => {
                let (left, right) = (bool(&left)?, bool(&right)?);
                Ok((left || right).into())
            }
        }
    }

    fn for_expression(&self, expression: &ForExpr, scope: &Scope<'_>) -> Result<Value> {
        let collection = self.eval(&expression.collection_expr, scope)?;
        let pairs: Vec<(Value, Value)> = match collection {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(index, item)| (index.into(), item)).collect()
            }
            Value::Object(object) => members(&object)
                .into_iter()
                .map(|(key, value)| (key.as_str().into(), value.clone()))
                .collect(),
            other => return Err(Error::new(format!("a `for` over {}", called(&other)))),
        };
        let (mut list, mut object) = (Vec::new(), Object::new());
        for (key, value) in pairs {
            let mut bound = vec![(expression.value_var.to_string(), value)];
            if let Some(name) = &expression.key_var {
                bound.push((name.to_string(), key));
            }
            let scope = scope.within(&bound);
            if let Some(condition) = &expression.cond_expr
                && !bool(&self.eval(condition, &scope)?)?
            {
                continue;
            }
            let value = self.eval(&expression.value_expr, &scope)?;
            let Some(key) = &expression.key_expr else {
                list.push(value);
                continue;
            };
            let key = text(&self.eval(key, &scope)?)?;
            if expression.grouping {
                let group = object.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(group) = group {
                    group.push(value);
                }
            } else if object.insert(key.clone(), value).is_some() {
                return Err(Error::new(format!("a `for` makes `{key}` twice")));
            }
        }
        Ok(if expression.key_expr.is_some() { Value::Object(object) } else { Value::Array(list) })
    }

    fn call(&self, call: &hcl::expr::FuncCall, scope: &Scope<'_>) -> Result<Value> {
        let function = call.name.name.as_str();
        match function {
            "try" => {
                let mut last = Error::new("nothing to try");
                for argument in &call.args {
                    match self.eval(argument, scope) {
                        Ok(value) => return Ok(value),
                        Err(error) => last = error,
                    }
                }
                return Err(last);
            }
            "can" => {
                let [argument] = call.args.as_slice() else {
                    return Err(Error::new("can() takes one argument"));
                };
                return Ok(self.eval(argument, scope).is_ok().into());
            }
            _ => {}
        }
        let mut arguments = Vec::new();
        for argument in &call.args {
            arguments.push(self.eval(argument, scope)?);
        }
        if call.expand_final {
            match arguments.pop() {
                Some(Value::Array(items)) => arguments.extend(items),
                _ => return Err(Error::new(format!("{function}(): `...` after what is no list"))),
            }
        }
        if function == "templatefile" {
            let [Value::String(path), Value::Object(given)] = arguments.as_slice() else {
                return Err(Error::new("templatefile() takes a path and an object"));
            };
            let text = fs::read_to_string(path).context(|| format!("`{path}`"))?;
            let names: Vec<(String, Value)> = given.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
            let scope = Scope { names: &names, outer: None, closed: true };
            let template: Template = text.parse().context(|| format!("`{path}`"))?;
            return self.template(&template, &scope).map(Value::String).context(|| format!("`{path}`"));
        }
        functions::call(function, &arguments).context(|| format!("{function}()"))
    }

    fn template_expression(&self, template: &TemplateExpr, scope: &Scope<'_>) -> Result<Value> {
        let parsed = Template::from_expr(template).context(|| format!("`{template}`"))?;
        // A template that is one interpolation is that value itself.
        if let ([Element::Interpolation(only)], TemplateExpr::QuotedString(_)) = (parsed.elements(), template)
        {
            return self.eval(&only.expr, scope);
        }
        self.template(&parsed, scope).map(Value::String)
    }

    fn template(&self, template: &Template, scope: &Scope<'_>) -> Result<String> {
        let mut made = String::new();
        for element in template.elements() {
            match element {
                Element::Literal(text) => made.push_str(text),
                Element::Interpolation(interpolation) if interpolation.strip == Strip::None => {
                    let value = self.eval(&interpolation.expr, scope)?;
                    made.push_str(&text(&value).context(|| format!("`${{{}}}`", interpolation.expr))?);
                }
                Element::Interpolation(_) => return Err(Error::new("`${~` is not supported")),
                Element::Directive(directive) => match &**directive {
                    Directive::If(_) | Directive::For(_) => {
                        return Err(Error::new("`%{` is not supported"));
                    }
                },
            }
        }
        Ok(made)
    }
}

/// A number of items, or the place of one.
fn whole(value: f64) -> Result<usize> {
    let whole = number(value).as_u64().and_then(|whole| usize::try_from(whole).ok());
    whole.context(|| format!("{value} is no number of items"))
}

/// The pairs that a `for_each` goes through: of a map, or of a set of texts.
fn pairs(each: &Value) -> Result<Vec<(String, Value)>> {
    match each {
        Value::Object(object) => {
            Ok(members(object).into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(key) => Ok((key.clone(), item.clone())),
                other => Err(Error::new(format!("for_each over {}", called(other)))),
            })
            .collect(),
        other => Err(Error::new(format!("for_each over {}", called(other)))),
    }
}

fn nest(arguments: &mut Object, name: &str, inner: Object) -> Result<()> {
    match arguments.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(blocks) => {
            blocks.push(Value::Object(inner));
            Ok(())
        }
        _ => Err(Error::new(format!("`{name}` is an argument and a block"))),
    }
}

/// A member of an object, or an item of a list.
fn member(value: &Value, key: &Value) -> Result<Value> {
    let missing = || Error::new(format!("{} has no {key}", shown(value)));
    match value {
        Value::Object(object) => object.get(&text(key)?).cloned().ok_or_else(missing),
        Value::Array(items) => items.get(whole(float(key)?)?).cloned().ok_or_else(missing),
        other => Err(Error::new(format!("{} has no members", called(other)))),
    }
}
