//! Patterns for names and texts, and pointers into parameters. Spec: contracts §2.

use core::fmt;

use crate::failure::{Failure, FailureCode};

/// What a tool's name or a text in the parameters must look like: `*` stands for any run of
/// characters, also none; every other character for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The most bytes of UTF-8 it may have.
    pub const MAX_BYTES: usize = 1024;

    /// Checks and wraps a pattern.
    ///
    /// # Errors
    /// [`FailureCode::NameInvalid`] when it is empty, too long or holds a control character.
    pub fn new(text: impl Into<String>) -> Result<Self, Failure> {
        checked(text.into(), Self::MAX_BYTES, "pattern").map(Self)
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` looks like this. The time is in proportion to its length.
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, others)) = self.0.split_once('*') else {
            return self.0 == text;
        };
        let (middle, tail) = others.rsplit_once('*').unwrap_or(("", others));
        let Some(mut rest) = text
            .strip_prefix(head)
            .and_then(|rest| rest.strip_suffix(tail))
        else {
            return false;
        };
        // The first place where a part occurs leaves most for the parts after it.
        for part in middle.split('*') {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A JSON pointer (RFC 6901) to one value of the parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

impl Pointer {
    /// The most bytes of UTF-8 it may have.
    pub const MAX_BYTES: usize = 1024;

    /// Checks and takes apart a pointer.
    ///
    /// # Errors
    /// [`FailureCode::NameInvalid`] when it is empty, does not begin with `/`, is too long, or holds
    /// a control character or a `~` that is not followed by 0 or 1.
    pub fn new(text: impl Into<String>) -> Result<Self, Failure> {
        let text = checked(text.into(), Self::MAX_BYTES, "JSON pointer")?;
        let steps: Option<Vec<String>> = text
            .strip_prefix('/')
            .and_then(|steps| steps.split('/').map(unescape).collect());
        match steps {
            Some(steps) => Ok(Self { text, steps }),
            None => Err(invalid(&text, "JSON pointer")),
        }
    }

    /// The pointer's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names and indexes that lead to the value, from the top.
    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// RFC 6901 §4: `~1` is a slash, `~0` a tilde.
fn unescape(step: &str) -> Option<String> {
    let mut parts = step.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        if let Some(rest) = part.strip_prefix('0') {
            out.push('~');
            out.push_str(rest);
        } else if let Some(rest) = part.strip_prefix('1') {
            out.push('/');
            out.push_str(rest);
        } else {
            return None;
        }
    }
    Some(out)
}

fn checked(text: String, most: usize, what: &str) -> Result<String, Failure> {
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        Err(invalid(&text, what))
    } else {
        Ok(text)
    }
}

fn invalid(text: &str, what: &str) -> Failure {
    let shown: String = text
        .chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect();
    Failure::new(
        FailureCode::NameInvalid,
        format!("`{shown}` is not a valid {what}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a pattern means, said in the plainest way: try every split.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            Some((letter, rest)) => text.first() == Some(letter) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn matches_as_the_naive_model_does(pattern in "[abé*]{1,9}", text in "[abé]{0,10}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Pattern::new(pattern.as_str()).unwrap().matches(&text),
                naive(&letters(&pattern), &letters(&text))
            );
        }

        #[test]
        fn a_pointer_names_the_steps_that_it_was_made_of(steps in prop::collection::vec("[a/~0é]{0,5}", 1..5)) {
            let text: String = steps
                .iter()
                .map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")))
                .collect();
            let pointer = Pointer::new(text).unwrap();
            prop_assert_eq!(pointer.steps(), steps);
        }
    }

    #[test]
    fn a_star_is_the_only_letter_with_a_meaning() {
        let matches = |pattern: &str, text| Pattern::new(pattern).unwrap().matches(text);
        assert!(matches("crm.*", "crm.read"));
        assert!(matches("crm.*", "crm."));
        assert!(matches("*", ""));
        assert!(!matches("crm.?", "crm.x"));
        assert!(!matches("[ab]", "a"));
        assert!(matches("\\*", "\\anything"));
        assert!(!matches("CRM", "crm"));
        // The head and the tail may not share characters of the text.
        assert!(!matches("aa*aa", "aaa"));
        assert!(matches("aa*aa", "aaaa"));
    }

    #[test]
    fn a_long_text_costs_time_in_proportion() {
        let pattern = Pattern::new("a*".repeat(500)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "b".repeat(4 << 20))));
        assert!(pattern.matches(&"a".repeat(4 << 20)));
    }

    #[test]
    fn malformed_patterns_and_pointers_are_refused() {
        for bad in ["", "a\nb", &"x".repeat(1025)] {
            let refused = Pattern::new(bad).unwrap_err();
            assert_eq!(refused.code(), FailureCode::NameInvalid, "{bad}");
        }
        for bad in [
            "",
            "a",
            "a/b",
            "/~",
            "/~2",
            "/a~",
            "/\u{0}",
            &"/".repeat(1025),
        ] {
            let refused = Pointer::new(bad).unwrap_err();
            assert_eq!(refused.code(), FailureCode::NameInvalid, "{bad}");
        }
    }
}
