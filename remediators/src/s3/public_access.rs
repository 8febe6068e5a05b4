//! The four flags of S3 Block Public Access, which a bucket has and an account:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>.

use serde::{Deserialize, Serialize};

use crate::Undo;

/// What is blocked. An absent configuration blocks nothing, and neither does one whose flags are all off; S3
/// tells the two apart, and so does a state, by an `Option`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are S3's own four flags")]
pub(super) struct Flags {
    /// Requests that set a public ACL fail.
    pub(super) block_public_acls: bool,
    /// Public ACLs grant nothing.
    pub(super) ignore_public_acls: bool,
    /// Requests that set a public policy fail.
    pub(super) block_public_policy: bool,
    /// Public policies grant nothing beyond the account and AWS's services.
    pub(super) restrict_public_buckets: bool,
}

impl Flags {
    pub(super) const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    /// Whether no ACL and no policy makes anything public, whatever they say.
    pub(super) fn is_effective(self) -> bool {
        self.ignore_public_acls && self.restrict_public_buckets
    }

    /// These flags, save for those that are on in `other`.
    fn without(self, other: Self) -> Self {
        Self {
            block_public_acls: self.block_public_acls && !other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls && !other.ignore_public_acls,
            block_public_policy: self.block_public_policy && !other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets && !other.restrict_public_buckets,
        }
    }

    /// What it means, a sentence each, that these flags come on; `scope` is "the bucket" or the like.
    pub(super) fn notes(now: Option<Self>, scope: &str) -> Vec<String> {
        let added = Self::ALL.without(now.unwrap_or_default());
        let notes = [
            (
                added.ignore_public_acls,
                format!(
                    "public ACLs grant nothing any more: whoever reads or writes in {scope} by one loses access"
                ),
            ),
            (
                added.restrict_public_buckets,
                format!(
                    "public policies grant nothing any more beyond this account and AWS's services: whoever else \
                     uses {scope} by one loses access, other accounts that it names included"
                ),
            ),
            (added.block_public_acls, format!("uploads and changes that set a public ACL in {scope} fail")),
            (added.block_public_policy, format!("new policies that would make {scope} public are refused")),
        ];
        notes.into_iter().filter_map(|(on, note)| on.then_some(note)).collect()
    }
}

/// Where the way back leads from `now`: the flags that a run from `from` to `to` has turned on, and that still
/// are, are off again, and the configuration is deleted if the run has made it and no flag is left on in it.
pub(super) fn undo<S>(
    from: Option<Flags>,
    to: Option<Flags>,
    now: Option<Flags>,
    state: impl FnOnce(Option<Flags>) -> S,
) -> Undo<S> {
    let turned_on = to.unwrap_or_default().without(from.unwrap_or_default());
    let now = now.unwrap_or_default();
    let left = now.without(turned_on);
    if left == now {
        return Undo::Nothing;
    }
    let to = (from.is_some() || left != Flags::default()).then_some(left);
    let mut notes = Vec::new();
    if now.is_effective() && !left.is_effective() {
        notes.push("public ACLs and policies that are still there take effect again".to_owned());
    }
    Undo::To { to: state(to), notes }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every configuration there can be.
    pub(in crate::s3) fn every() -> impl Iterator<Item = Option<Flags>> {
        let flags = (0..16_u8).map(|bits| Flags {
            block_public_acls: bits & 1 != 0,
            ignore_public_acls: bits & 2 != 0,
            block_public_policy: bits & 4 != 0,
            restrict_public_buckets: bits & 8 != 0,
        });
        flags.map(Some).chain([None])
    }

    fn flags(block: Option<Flags>) -> [bool; 4] {
        let Flags { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } =
            block.unwrap_or_default();
        [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets]
    }

    #[test]
    fn without_a_change_meanwhile_undo_leads_back_to_where_it_began() {
        for from in every().filter(|from| *from != Some(Flags::ALL)) {
            match undo(from, Some(Flags::ALL), Some(Flags::ALL), |to| to) {
                Undo::To { to, .. } => assert_eq!(to, from),
                other => assert_eq!(other, Undo::Nothing, "{from:?}"),
            }
        }
    }

    #[test]
    fn undo_touches_only_flags_that_the_run_turned_on_and_that_still_are() {
        for from in every() {
            for now in every() {
                let end = match undo(from, Some(Flags::ALL), now, |to| to) {
                    Undo::To { to, .. } => {
                        assert_ne!(to, now, "a change that changes nothing: {from:?} {now:?}");
                        assert!(to.is_some() || from.is_none(), "deleted what was there: {from:?} {now:?}");
                        assert_eq!(undo(from, Some(Flags::ALL), to, |to| to), Undo::Nothing, "not there yet");
                        to
                    }
                    Undo::Nothing => now,
                    Undo::Refuse(why) => unreachable!("{why}"),
                };
                for ((from, now), end) in flags(from).into_iter().zip(flags(now)).zip(flags(end)) {
                    assert_eq!(end, if from { now } else { false });
                }
            }
        }
    }

    #[test]
    fn there_is_a_note_for_each_flag_that_comes_on() {
        for now in every() {
            let off = flags(now).into_iter().filter(|on| !on).count();
            assert_eq!(Flags::notes(now, "the bucket").len(), off);
        }
    }
}
