//! Text from elsewhere, in what is said of it.

/// Text from a finding, a rule or AWS as it may stand in a message: escaped, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text.chars().take(LONGEST).collect::<String>().escape_debug().collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        assert_eq!(shown("orders"), "orders");
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), r"a\nb\u{1b}[31m\u{202e}");
        assert_eq!(shown(&"x".repeat(120)), "x".repeat(120));
        assert_eq!(shown(&"x".repeat(100_000)), format!("{}…", "x".repeat(120)));
    }
}
