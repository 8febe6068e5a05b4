//! Amazon EC2.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

pub(crate) mod address;
pub(crate) mod block_public_snapshots;
pub(crate) mod close_default_group;
pub(crate) mod encrypt_volumes_by_default;
pub(crate) mod instance;
pub(crate) mod launch_template;
pub(crate) mod log_vpc_traffic;
pub(crate) mod network;
mod ports;
pub(crate) mod release_address;
pub(crate) mod require_attachment_approval;
pub(crate) mod require_imdsv2;
pub(crate) mod require_imdsv2_in_template;
pub(crate) mod restrict_ingress;
pub(crate) mod restrict_nacl_ingress;
pub(crate) mod security_group;
pub(crate) mod snapshot;
pub(crate) mod snapshot_sharing;
pub(crate) mod unshare_snapshot;
pub(crate) mod withhold_public_addresses;

/// `None` for text that says nothing: emulators write an empty element where AWS writes none.
fn filled(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether `id` is `prefix` and the 8 or 17 hexadecimal digits that AWS gives (emulators: any between).
fn is_id(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|digits| {
        (8..=17).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn tag_map(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter()
        .map(|tag| (tag.key().unwrap_or_default().to_owned(), tag.value().unwrap_or_default().to_owned()))
        .collect()
}

/// The tags that anybody but AWS itself can set: `aws:` is
/// [reserved](https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html).
fn settable(tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    tags.iter()
        .filter(|(key, _)| !key.starts_with("aws:"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What gives a new resource its tags; `None` where it has none, since tags are checked as an action of
/// their own.
fn tagged(kind: ResourceType, tags: &BTreeMap<String, String>) -> Option<TagSpecification> {
    if tags.is_empty() {
        return None;
    }
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    Some(TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_aws_gives() {
        for id in ["sg-0123abcd", "sg-0123456789abcdef0"] {
            assert!(is_id(id, "sg-"), "{id}");
        }
        for id in
            ["sg-", "sg-0123ABCD", "sg-0123456789abcdef01", "sg-012345/8", "sgr-0123abcd", "", "sg-0123abc\n"]
        {
            assert!(!is_id(id, "sg-"), "{id}");
        }
    }
}
