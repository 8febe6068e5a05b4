//! Every remediator there is.

use crate::Erased;

/// All remediators, sorted by name. A new one is a line here and a `mod` line in its service's folder.
pub const REGISTRY: &[&dyn Erased] = &[
    #[cfg(feature = "cognito")]
    &crate::cognito::disable_user::DisableUser,
    #[cfg(feature = "ec2")]
    &crate::ec2::release_address::ReleaseAddress,
    #[cfg(feature = "ec2")]
    &crate::ec2::restrict_ingress::RestrictIngress,
    #[cfg(feature = "s3")]
    &crate::s3::add_lifecycle_rule::AddLifecycleRule,
    #[cfg(feature = "s3")]
    &crate::s3::block_account_public_access::BlockAccountPublicAccess,
    #[cfg(feature = "s3")]
    &crate::s3::block_public_access::BlockPublicAccess,
    #[cfg(feature = "s3")]
    &crate::s3::enable_versioning::EnableVersioning,
    #[cfg(feature = "s3")]
    &crate::s3::require_tls::RequireTls,
];

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
