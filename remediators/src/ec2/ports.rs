//! Sets of TCP and UDP ports.

use super::security_group::Rule;

/// TCP and UDP ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ports {
    pub(super) tcp: Set,
    pub(super) udp: Set,
}

impl Ports {
    /// What a rule opens; nothing where its protocol has no ports.
    pub(super) fn of(rule: &Rule) -> Self {
        Self::opened(&rule.protocol, rule.from_port, rule.to_port)
    }

    /// What is open of a protocol, by its name or number, between two ports.
    pub(super) fn opened(protocol: &str, from: Option<i32>, to: Option<i32>) -> Self {
        let port = |port: Option<i32>, otherwise| {
            port.and_then(|port| u16::try_from(port).ok()).unwrap_or(otherwise)
        };
        let range = || Set::new([(port(from, 0), port(to, u16::MAX))]);
        match protocol {
            "-1" => Self { tcp: Set::all(), udp: Set::all() },
            "tcp" | "6" => Self { tcp: range(), udp: Set::default() },
            "udp" | "17" => Self { tcp: Set::default(), udp: range() },
            _ => Self::default(),
        }
    }

    /// The ports by which servers are administered: 22 (SSH) and 3389 (remote desktops).
    pub(super) fn administration() -> Self {
        let ports = Set::single(&[22, 3389]);
        Self { tcp: ports.clone(), udp: ports }
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self { tcp: self.tcp.without(&other.tcp), udp: self.udp.without(&other.udp) }
    }

    pub(super) fn intersects(&self, other: &Self) -> bool {
        self.without(other) != *self
    }
}

/// A set of ports: ranges in order, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set(Vec<(u16, u16)>);

impl Set {
    pub(super) fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(from, to)| from <= to).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    pub(super) fn all() -> Self {
        Self(vec![(0, u16::MAX)])
    }

    pub(super) fn single(ports: &[u16]) -> Self {
        Self::new(ports.iter().map(|&port| (port, port)))
    }

    /// First and last port of each range, in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u16, u16)> {
        self.0.iter().copied()
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(from, to) in &self.0 {
            // `None` once there is nothing after it: `to` may be the last port there is.
            let mut next = Some(from);
            for &(cut_from, cut_to) in &other.0 {
                let Some(start) = next else { break };
                if cut_to < start {
                    continue;
                }
                if cut_from > to {
                    break;
                }
                if cut_from > start {
                    left.push((start, cut_from - 1));
                }
                next = cut_to.checked_add(1).filter(|&next| next <= to);
            }
            if let Some(start) = next {
                left.push((start, to));
            }
        }
        Self(left)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers that are the same in every run.
    pub(crate) struct Numbers(pub(crate) u64);

    impl Numbers {
        pub(crate) fn below(&mut self, end: u32) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(self.0 >> 33).unwrap_or_default() % end
        }

        pub(crate) fn range(&mut self) -> (u16, u16) {
            // Edges and neighbours are what goes wrong.
            let mut port = || match self.below(6) {
                0 => 0,
                1 => u16::MAX,
                2 => u16::MAX - 1,
                _ => u16::try_from(self.below(40)).unwrap_or_default(),
            };
            let (a, b) = (port(), port());
            (a.min(b), a.max(b))
        }

        pub(crate) fn set(&mut self) -> Set {
            let count = self.below(5);
            Set::new((0..count).map(|_| self.range()).collect::<Vec<_>>())
        }
    }

    fn has(set: &Set, port: u16) -> bool {
        set.0.iter().any(|&(from, to)| (from..=to).contains(&port))
    }

    #[test]
    fn set_arithmetic_holds_for_every_port() {
        let mut numbers = Numbers(1);
        let probes = || (0..=45).chain(u16::MAX - 3..=u16::MAX);
        for _ in 0..20_000 {
            let (a, b) = (numbers.set(), numbers.set());
            let left = a.without(&b);
            for port in probes() {
                assert_eq!(has(&left, port), has(&a, port) && !has(&b, port), "{port}: {a:?} without {b:?}");
            }
            for set in [&a, &left] {
                assert!(set.0.iter().all(|(from, to)| from <= to), "{set:?}");
                assert!(set.0.windows(2).all(|w| u32::from(w[0].1) + 1 < u32::from(w[1].0)), "{set:?}");
            }
            assert_eq!(a.without(&a), Set::default());
            assert_eq!(a.without(&Set::default()), a);
            assert_eq!(Set::all().without(&Set::all().without(&a)), a);
        }
    }
}
