//! What a process remembers of the users whose rows it has written or read.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::trigger::Sight;

/// What is known of a user's row, of all that could make another write needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When the user was last seen.
    pub seen: Timestamp,
    /// Whether a sign-in is known.
    pub signed_in: bool,
    /// Whether the row has a phase, which a sign-in ends.
    pub phase: bool,
}

impl Known {
    /// Whether the row says all that a sight at this time would, but for up to `interval` of time.
    ///
    /// A row of the future says nothing: somebody's clock was wrong.
    pub fn covers(&self, signed_in: bool, at: Timestamp, interval: SignedDuration) -> bool {
        let age = at.duration_since(self.seen);
        !self.phase && (self.signed_in || !signed_in) && !age.is_negative() && age < interval
    }
}

/// A bounded map: of two halves, the older is forgotten when the younger is full.
#[derive(Debug)]
pub struct Memory {
    half: usize,
    young: HashMap<String, Known>,
    old: HashMap<String, Known>,
}

impl Memory {
    /// One for so many users at most.
    pub fn of(users: usize) -> Self {
        Self { half: (users / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// What is remembered of the user.
    pub fn recall(&self, user: &Sight) -> Option<Known> {
        let key = key(user);
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    /// Remembers what is known of the user.
    pub fn remember(&mut self, user: &Sight, known: Known) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key(user), known);
    }
}

/// No pool's id has a space.
fn key(user: &Sight) -> String {
    format!("{} {}", user.pool, user.sub)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn user(number: usize) -> Sight {
        Sight {
            pool: "eu-west-1_AbC123".to_owned(),
            sub: number.to_string(),
            username: None,
            trigger: String::new(),
            signed_in: true,
        }
    }

    #[test]
    fn a_row_covers_what_comes_soon_after() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let hour = SignedDuration::from_hours(1);
        let known = Known { seen: at, signed_in: true, phase: false };
        let later = |seconds| at + SignedDuration::from_secs(seconds);
        assert!(known.covers(true, at, hour) && known.covers(false, later(3_599), hour));
        assert!(!known.covers(true, later(3_600), hour));
        assert!(!known.covers(true, later(-1), hour));
        assert!(!known.covers(true, at, SignedDuration::ZERO));
        assert!(!Known { phase: true, ..known }.covers(true, at, hour));
        let signed_up = Known { signed_in: false, ..known };
        assert!(signed_up.covers(false, at, hour) && !signed_up.covers(true, at, hour));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let known = Known { seen: Timestamp::UNIX_EPOCH, signed_in: true, phase: false };
        let mut memory = Memory::of(10);
        for number in 0..1_000 {
            memory.remember(&user(number), known);
            assert!(memory.young.len() + memory.old.len() <= 10);
        }
        assert_eq!(memory.recall(&user(999)), Some(known));
        assert_eq!(memory.recall(&user(995)), Some(known));
        assert_eq!(memory.recall(&user(980)), None);
    }
}
