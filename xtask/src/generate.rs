//! Files that are made from the code, and the check that they are.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{checks, controls, iam, lists, reference, rules, stackset};

/// Folders in which everything is generated: what else is there belongs to something that is no more.
const OWNED: [&str; 2] = ["terraform/modules/member/policies", "terraform/policies"];

/// Writes every generated file: the lists of remediators first, and the rest by a program that knows them.
pub fn all(root: &Path) -> Result<(), Box<dyn Error>> {
    if !lists::write(root)? {
        return run(root, false);
    }
    let again = checks::cargo(root, &["xtask", "generate"]).status()?;
    if again.success() { Ok(()) } else { Err("with the new lists, it fails".into()) }
}

/// Writes every generated file, or says which ones are not as they would be written.
pub fn run(root: &Path, check: bool) -> Result<(), Box<dyn Error>> {
    let products = products()?;
    let left_over = left_over(root, &products)?;
    if check {
        let mut stale: Vec<String> = products
            .iter()
            .filter_map(|(path, text)| difference(&root.join(path), text).map(|hint| (path, hint)))
            .map(|(path, hint)| format!("  {}: {hint}", path.display()))
            .collect();
        stale.extend(left_over.iter().map(|path| format!("  {}: belongs to nothing", path.display())));
        if stale.is_empty() {
            println!("{} generated files are up to date", products.len());
            return Ok(());
        }
        return Err(format!("stale, run `cargo xtask generate`:\n{}", stale.join("\n")).into());
    }
    let mut written = 0;
    for (path, text) in &products {
        let file = root.join(path);
        if difference(&file, text).is_some() {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&file, text)?;
            println!("wrote {}", path.display());
            written += 1;
        }
    }
    for path in &left_over {
        fs::remove_file(root.join(path))?;
        println!("removed {}", path.display());
    }
    println!("{written} of {} generated files have changed", products.len());
    Ok(())
}

/// Every generated file by its path in the repository.
fn products() -> Result<BTreeMap<PathBuf, String>, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let json = |value: &Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    let mut products: BTreeMap<PathBuf, String> = [
        ("README.md", controls::readme(&fs::read_to_string(here.join("README.md"))?)?),
        ("docs/controls.md", controls::document()?),
        ("docs/cli.md", reference::document(redress::command())),
        ("terraform/modules/member/policies/README.md", iam::readme()),
        ("terraform/policies/README.md", iam::own_readme()),
        ("rules/default.yaml", rules::default()),
        ("rules/schema.json", json(&redress_router::rules::schema()?)?),
        ("rules/exemptions.schema.json", json(&redress_router::exemption::schema()?)?),
        ("rules/tests.schema.json", json(&redress_router::rules_tests::schema()?)?),
    ]
    .into_iter()
    .map(|(path, text)| (PathBuf::from(path), text))
    .collect();
    products.extend(lists::products(&here)?);
    for (name, policies) in iam::policies() {
        products.insert(format!("terraform/modules/member/policies/{name}.json").into(), json(&policies)?);
    }
    products.insert(
        "terraform/modules/member/policies/control-parameters.json".into(),
        json(&iam::control_parameters())?,
    );
    products.insert("terraform/modules/member/stackset.json".into(), json(&stackset::template())?);
    for (name, policy) in iam::own() {
        products.insert(format!("terraform/policies/{name}.json").into(), json(&policy)?);
    }
    Ok(products)
}

fn left_over(root: &Path, products: &BTreeMap<PathBuf, String>) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in OWNED {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = Path::new(folder).join(entry?.file_name());
            if !products.contains_key(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is not as it would be written: nothing, or a hint.
fn difference(file: &Path, text: &str) -> Option<String> {
    let found = match fs::read_to_string(file) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("missing".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    if found == text {
        return None;
    }
    let (mut old, mut new) = (found.lines(), text.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (old.next(), new.next()) {
            (None, None) => return Some("differs in its line ends".to_owned()),
            (old, new) if old == new => {}
            (old, new) => {
                let shown = |sign: char, text: Option<&str>| {
                    text.map(|text| format!("\n    {sign} {}", cut(text))).unwrap_or_default()
                };
                return Some(format!("line {line}{}{}", shown('-', old), shown('+', new)));
            }
        }
    }
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn generated_files_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        run(root, true).unwrap_or_else(|error| unreachable!("{error}"));
    }

    #[test]
    fn a_stale_file_is_named_with_its_first_difference() {
        let root = std::env::temp_dir().join(format!("redress-generate-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        run(&root, false).unwrap();
        run(&root, true).unwrap();
        let controls = root.join("docs/controls.md");
        let text = fs::read_to_string(&controls).unwrap();
        fs::write(&controls, text.replacen("# ", "# My ", 1)).unwrap();
        fs::remove_file(root.join("rules/schema.json")).unwrap();
        fs::write(root.join("terraform/policies/gone.json"), "{}").unwrap();
        let stale = run(&root, true).unwrap_err().to_string();
        assert!(stale.contains("docs/controls.md: line 1\n    - # My Controls\n    + # Controls"), "{stale}");
        assert!(stale.contains("rules/schema.json: missing"), "{stale}");
        assert!(stale.contains("terraform/policies/gone.json: belongs to nothing"), "{stale}");
        run(&root, false).unwrap();
        run(&root, true).unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
