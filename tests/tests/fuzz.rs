//! Every function that reads what anybody may have written is given a corpus, and mutants of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs, panic,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use redress_tests::fuzz::{TARGETS, Target};

/// A small generator of pseudo-random numbers (splitmix64): the same seed gives the same mutants.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 16).unwrap() % limit.max(1)
    }
}

fn read(place: &Path, into: &mut Vec<Vec<u8>>) {
    if place.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            read(entry, into);
        }
    } else {
        into.push(fs::read(place).unwrap());
    }
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seeds = Vec::new();
    for place in target.seeds {
        let before = seeds.len();
        read(&root.join(place), &mut seeds);
        assert!(seeds.len() > before, "{place} holds nothing");
    }
    seeds
}

/// No longer than what any of these functions is given in earnest.
const LONGEST: usize = 64 << 10;

fn mutant(seeds: &[Vec<u8>], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(8) {
            0 if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << dice.below(8);
            }
            1 => bytes.truncate(at),
            2 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            3 => {
                let word = words[dice.below(words.len())].as_bytes();
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let to = (at + dice.below(64)).min(bytes.len());
                bytes.drain(at..to);
            }
            5 => {
                // The same again, and again.
                let to = (at + dice.below(32)).min(bytes.len());
                let part = bytes[at..to].repeat(dice.below(200));
                bytes.splice(at..at, part);
            }
            6 => {
                let word = words[dice.below(words.len())].repeat(dice.below(2000));
                bytes.splice(at..at, word.into_bytes());
            }
            _ => {
                let byte = u8::try_from(dice.below(256)).unwrap();
                bytes.insert(at, byte);
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// Runs it on a thread with the stack of any other, so that nesting which is too deep for it shows.
fn attack(target: &'static Target, time: Duration) -> usize {
    let seeds = seeds(target);
    let run = move || {
        let tried = |bytes: &[u8]| {
            let slow = Instant::now();
            let survived = panic::catch_unwind(|| (target.run)(bytes)).is_ok();
            assert!(survived, "{}: {}", target.name, bytes.escape_ascii());
            let took = slow.elapsed();
            assert!(took < Duration::from_secs(20), "{}: {took:?}: {}", target.name, bytes.escape_ascii());
        };
        for seed in &seeds {
            tried(seed);
        }
        let (mut dice, start, mut number) = (Dice(1), Instant::now(), seeds.len());
        while start.elapsed() < time {
            tried(&mutant(&seeds, target.words, &mut dice));
            number += 1;
        }
        number
    };
    thread::Builder::new().name(target.name.to_owned()).spawn(run).unwrap().join().unwrap()
}

#[test]
fn nothing_that_anybody_may_write_is_more_than_an_error() {
    let long = std::env::var_os("REDRESS_LONG").is_some();
    let time = Duration::from_mins(if long { 10 } else { 1 });
    thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || println!("{}: {} inputs", target.name, attack(target, time)));
        }
    });
}

#[test]
fn cargo_fuzz_has_every_target() {
    let manifest = include_str!("../Cargo.toml");
    for target in TARGETS {
        let bin =
            format!("name = \"{0}\"\npath = \"fuzz/{0}.rs\"\nrequired-features = [\"fuzz\"]\n", target.name);
        assert!(manifest.contains(&bin), "{bin}");
    }
}
