//! The files of a module.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use hcl::{Block, Body, Expression, Structure};

use crate::error::{Context, Error, Result};

/// A block, and the file in which it stands.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The file's name in the module's folder.
    pub file: String,
    /// The block.
    pub block: Block,
}

impl Declared {
    /// The label at this place.
    pub fn label(&self, index: usize) -> &str {
        self.block.labels().get(index).map(hcl::BlockLabel::as_str).unwrap_or_default()
    }

    /// The value of an argument.
    pub fn argument(&self, name: &str) -> Option<&Expression> {
        self.block.body().attributes().find(|attribute| attribute.key() == name).map(hcl::Attribute::expr)
    }
}

/// The blocks of a module's files.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The module's folder.
    pub dir: PathBuf,
    /// `variable` blocks, by name.
    pub variables: BTreeMap<String, Declared>,
    /// The values of `locals` blocks, by name, each with its file.
    pub locals: BTreeMap<String, (String, Expression)>,
    /// `resource` blocks, by type and name.
    pub resources: BTreeMap<(String, String), Declared>,
    /// `data` blocks, by type and name.
    pub data: BTreeMap<(String, String), Declared>,
    /// `module` blocks, by name.
    pub modules: BTreeMap<String, Declared>,
    /// `output` blocks, by name.
    pub outputs: BTreeMap<String, Declared>,
    /// `provider` blocks.
    pub providers: Vec<Declared>,
    /// `terraform` blocks.
    pub settings: Vec<Declared>,
}

impl Source {
    /// Reads the `*.tf` files of a folder, in the order of their names.
    ///
    /// # Errors
    /// Names the file that can't be read, and a block that is there twice or not supported.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .context(|| format!("`{}`", dir.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| file.extension().is_some_and(|extension| extension == "tf"))
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(Error::new(format!("`{}` has no *.tf file", dir.display())));
        }
        let mut source = Self { dir: dir.to_owned(), ..Self::default() };
        for file in files {
            let text = fs::read_to_string(&file).context(|| format!("`{}`", file.display()))?;
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            source.add(&name, &text)?;
        }
        Ok(source)
    }

    /// Adds the blocks of one file's text.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn add(&mut self, file: &str, text: &str) -> Result<()> {
        let body: Body = hcl::parse(text).context(|| file.to_owned())?;
        for structure in body {
            let Structure::Block(block) = structure else {
                return Err(Error::new(format!("{file}: an argument outside of a block")));
            };
            let declared = Declared { file: file.to_owned(), block };
            let (first, second) = (declared.label(0).to_owned(), declared.label(1).to_owned());
            let kind = declared.block.identifier().to_owned();
            let twice = match kind.as_str() {
                "variable" => self.variables.insert(first.clone(), declared).is_some(),
                "resource" => self.resources.insert((first.clone(), second.clone()), declared).is_some(),
                "data" => self.data.insert((first.clone(), second.clone()), declared).is_some(),
                "module" => self.modules.insert(first.clone(), declared).is_some(),
                "output" => self.outputs.insert(first.clone(), declared).is_some(),
                "provider" => {
                    self.providers.push(declared);
                    false
                }
                "terraform" => {
                    self.settings.push(declared);
                    false
                }
                "locals" => {
                    let mut twice = false;
                    for attribute in declared.block.body().attributes() {
                        let value = (file.to_owned(), attribute.expr().clone());
                        twice |= self.locals.insert(attribute.key().to_owned(), value).is_some();
                    }
                    twice
                }
                other => return Err(Error::new(format!("{file}: a block `{other}` is not supported"))),
            };
            if twice {
                return Err(Error::new(format!("{file}: {kind} {first} {second} is there twice")));
            }
        }
        Ok(())
    }
}
