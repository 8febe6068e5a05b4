//! Every remediator there is.

mod list;

pub use list::REGISTRY;

use crate::Erased;

/// The remediator of this name.
pub fn find(name: &str) -> Option<&'static dyn Erased> {
    REGISTRY.iter().copied().find(|remediator| remediator.spec().name == name)
}

/// The remediators that serve this control, given in its canonical spelling.
pub fn serving(control: &str) -> impl Iterator<Item = &'static dyn Erased> {
    REGISTRY.iter().copied().filter(move |remediator| remediator.spec().controls.contains(&control))
}

#[cfg(test)]
mod tests;
