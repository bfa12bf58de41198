//! Splits Cedar text into its statements and says where each begins, because Cedar reports places
//! only for its own errors.
//!
//! Policies and schemas have the same lexical rules: `//` comments, string literals with
//! backslash escapes, and `;` at the end of a statement and nowhere else. Whether the text means
//! anything is for Cedar to say. This runs first, because Cedar's parser must not be given text
//! that is nested too deeply.

use core::ops::Range;

/// One statement of a file, with its final `;`.
#[derive(Debug)]
pub(crate) struct Statement {
    /// From its first token to behind its `;`, as byte offsets in the file.
    pub(crate) range: Range<usize>,
    tokens: Vec<Token>,
}

/// A word, a string literal with its quotes, or one character of punctuation.
#[derive(Debug)]
struct Token {
    start: usize,
    text: String,
}

impl Statement {
    /// The names of the annotations in front of it, each with the offset of its `@`.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&str, usize)> {
        let values = self.tokens.iter().skip(1);
        self.tokens
            .iter()
            .zip(values)
            .filter(|(at, _)| at.text == "@")
            .map(|(at, name)| (name.text.as_str(), at.start))
    }

    /// The offset of the annotation `name`, or of the statement when it has none.
    pub(crate) fn annotation_offset(&self, name: &str) -> usize {
        self.annotations()
            .find(|(found, _)| *found == name)
            .map_or(self.range.start, |(_, offset)| offset)
    }

    /// The first word behind the annotations, with its offset.
    pub(crate) fn keyword(&self) -> Option<(&str, usize)> {
        let mut depth = 0_usize;
        let mut after_at = false;
        for token in &self.tokens {
            match token.text.as_str() {
                "@" => after_at = true,
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ if after_at => after_at = false,
                text if depth == 0 => return Some((text, token.start)),
                _ => {}
            }
        }
        None
    }

    /// Whether it declares the action `name`, and where. The name may be quoted or not.
    pub(crate) fn action_offset(&self, name: &str) -> Option<usize> {
        let quoted = format!("{name:?}");
        let (_, keyword) = self.keyword().filter(|(word, _)| *word == "action")?;
        self.tokens
            .iter()
            .skip_while(|token| token.start <= keyword)
            .take_while(|token| !matches!(token.text.as_str(), "in" | "appliesTo" | ";"))
            .find(|token| token.text == name || token.text == quoted)
            .map(|token| token.start)
    }

    /// Whether it has a template slot such as `?principal`.
    pub(crate) fn has_slot(&self) -> bool {
        self.tokens.iter().any(|token| token.text == "?")
    }
}

/// The deepest nesting of brackets, and the most `if`s, in one statement. Cedar's parser recurses
/// with both; thousands overflow the stack, which ends the process.
const MAX_NESTING: usize = 64;

/// The most tokens in one statement; long chains recurse, too.
const MAX_TOKENS: usize = 10_000;

/// A statement is larger than Cedar can be given. Holds the offset where it becomes so.
#[derive(Debug)]
pub(crate) struct TooComplex(pub(crate) usize);

/// Splits `text`. What follows the last `;` is the last statement, if it holds a token.
pub(crate) fn split(text: &str) -> Result<Vec<Statement>, TooComplex> {
    let mut statements = Vec::new();
    let mut tokens: Vec<Token> = Vec::new();
    let mut nesting = Nesting::default();
    let mut rest = Cursor { text, offset: 0 };
    while let Some(token) = rest.next_token() {
        let end = token.start + token.text.len();
        let ends = token.text == ";";
        nesting.enter(&token.text, tokens.last());
        if nesting.is_too_deep() || tokens.len() >= MAX_TOKENS {
            return Err(TooComplex(token.start));
        }
        tokens.push(token);
        // In a namespace, which a schema may not have, a `;` stands inside brackets. It ends a
        // statement all the same, and the nesting goes on.
        if ends {
            nesting.ifs = 0;
            push(&mut statements, &mut tokens, end);
        }
    }
    push(&mut statements, &mut tokens, text.len());
    Ok(statements)
}

/// How deep in brackets a token stands.
#[derive(Default)]
struct Nesting {
    open: Vec<char>,
    ifs: usize,
}

impl Nesting {
    fn enter(&mut self, token: &str, previous: Option<&Token>) {
        match token {
            "(" | "[" | "{" => self.open.extend(token.chars()),
            ")" | "]" | "}" => {
                self.open.pop();
            }
            // Elsewhere than in `Set<…>` it compares, and nests nothing.
            "<" if previous.is_some_and(|token| token.text == "Set") => self.open.push('<'),
            ">" if self.open.last() == Some(&'<') => {
                self.open.pop();
            }
            "if" => self.ifs += 1,
            _ => {}
        }
    }

    fn is_too_deep(&self) -> bool {
        self.open.len() > MAX_NESTING || self.ifs > MAX_NESTING
    }
}

fn push(statements: &mut Vec<Statement>, tokens: &mut Vec<Token>, end: usize) {
    if let Some(first) = tokens.first() {
        statements.push(Statement {
            range: first.start..end,
            tokens: core::mem::take(tokens),
        });
    }
}

struct Cursor<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn next_token(&mut self) -> Option<Token> {
        loop {
            let rest = self.rest();
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                self.offset += first.len_utf8();
            } else if rest.starts_with("//") {
                self.offset += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else {
                let length = match first {
                    '"' => literal_length(rest),
                    _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                    _ => first.len_utf8(),
                };
                let token = Token {
                    start: self.offset,
                    text: rest.get(..length).unwrap_or(rest).to_owned(),
                };
                self.offset += token.text.len();
                return Some(token);
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or("")
    }
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The length of the string literal that `rest` begins with, quotes included.
fn literal_length(rest: &str) -> usize {
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return offset + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_comments_and_strings_end_nothing() {
        let text = "// a; b\n@id(\"x;\\\";\")\npermit (principal); // end;\n forbid(é);\n// last";
        let found: Vec<_> = split(text)
            .unwrap()
            .iter()
            .map(|s| text.get(s.range.clone()).unwrap())
            .collect();
        assert_eq!(
            found,
            ["@id(\"x;\\\";\")\npermit (principal);", "forbid(é);"]
        );
    }

    #[test]
    fn an_unfinished_statement_is_still_a_statement() {
        let text = "permit(a); forbid(b) \"";
        assert_eq!(split(text).unwrap().len(), 2);
    }

    #[test]
    fn annotations_keywords_and_actions_are_found() {
        let text = "@id(\"action\") @doc action send, \"re fund\" in [reads];";
        let statements = split(text).unwrap();
        let statement = &statements[0];
        assert_eq!(
            statement.annotations().collect::<Vec<_>>(),
            [("id", 0), ("doc", 14)]
        );
        assert_eq!(statement.keyword(), Some(("action", 19)));
        assert_eq!(statement.action_offset("send"), Some(26));
        assert_eq!(statement.action_offset("re fund"), Some(32));
        assert_eq!(statement.action_offset("reads"), None);
    }

    #[test]
    fn what_would_overflow_cedars_stack_is_refused() {
        let deep = |open: &str, close: &str, n: usize| open.repeat(n) + "x" + &close.repeat(n);
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{a:", "}"),
            ("Set<", ">"),
            ("if ", ""),
        ] {
            assert!(split(&deep(open, close, 64)).is_ok(), "{open}");
            assert!(split(&deep(open, close, 65)).is_err(), "{open}");
        }
        assert!(split(&"a < b && ".repeat(1000)).is_ok());
        assert!(split(&"if a;".repeat(100)).is_ok());
        assert!(split(&"Set<a>,".repeat(1000)).is_ok());
        assert!(split(&"(a)".repeat(1000)).is_ok());
        assert!(split(&"x ".repeat(10_001)).is_err());
    }
}
