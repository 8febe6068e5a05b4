//! Text from elsewhere, in what is said of it.

/// A name or an id from a finding, a rule or AWS as it may stand in a message: escaped, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    cut(text, 64)
}

/// The same of what is longer than a name: an ARN, part of a document, what a parser says.
pub(crate) fn excerpt(text: &str) -> String {
    cut(text, 120)
}

fn cut(text: &str, longest: usize) -> String {
    let mut cut: String = text.chars().take(longest).collect::<String>().escape_debug().collect();
    if text.chars().nth(longest).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        assert_eq!(shown("orders"), "orders");
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), r"a\nb\u{1b}[31m\u{202e}");
        assert_eq!(shown(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(shown(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
        assert_eq!(excerpt(&"x".repeat(120)), "x".repeat(120));
        assert_eq!(excerpt(&"x".repeat(100_000)), format!("{}…", "x".repeat(120)));
    }
}
