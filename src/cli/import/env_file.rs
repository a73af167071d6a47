//! Lines `NAME=VALUE`, as programs that read `.env` files take them.

use std::collections::BTreeSet;

use distributary_api::environment::Variable;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a file of variables says.
#[derive(Default)]
pub struct EnvFile {
    /// Of one that is there twice the last.
    pub variables: Vec<Variable>,
    /// The names of those that are there more than once.
    pub twice: BTreeSet<String>,
    /// The numbers of the lines that are none.
    pub wrong: Vec<usize>,
}

/// Reads the text of a file.
pub fn read(text: &str) -> EnvFile {
    let mut file = EnvFile::default();
    for (at, line) in text.trim_start_matches(BYTE_ORDER_MARK).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(variable) = variable(line.strip_prefix("export ").unwrap_or(line)) else {
            file.wrong.push(at + 1);
            continue;
        };
        let known = file.variables.len();
        file.variables.retain(|earlier| earlier.name != variable.name);
        if file.variables.len() < known {
            file.twice.insert(variable.name.clone());
        }
        file.variables.push(variable);
    }
    file
}

fn variable(line: &str) -> Option<Variable> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.then_some(Variable {
        name: name.to_owned(),
        value: unquoted(value.trim())?,
    })
}

/// Without its quotes; what is not quoted ends at a space and `#`.
fn unquoted(value: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inner, after) = closed(rest, quote)?;
            let after = after.trim_start();
            return (after.is_empty() || after.starts_with('#')).then_some(inner);
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    Some(value[..end].trim_end().to_owned())
}

/// What stands before the quote that closes, and after it. In double quotes a backslash stands before a quote or a backslash.
fn closed(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' if quote == '"' => inner.push(characters.next()?.1),
            c if c == quote => return Some((inner, &text[at + 1..])),
            c => inner.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<String> {
        let file = read(line);
        let last = file.variables.last().filter(|_| file.wrong.is_empty())?;
        Some(last.value.clone())
    }

    #[test]
    fn a_value_may_be_quoted_and_followed_by_a_comment() {
        for (line, expected) in [
            ("A=b", "b"),
            ("export A = b # c", "b"),
            ("A=b#c", "b#c"),
            ("A=\"b # \\\"c\\\"\" # d", "b # \"c\""),
            ("A='b\\c'", "b\\c"),
            ("A=", ""),
            ("A=b\nA=c", "c"),
            ("\u{feff}A=b", "b"),
            ("# A=b\n\nA=b=c", "b=c"),
        ] {
            assert_eq!(value(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number() {
        for (text, lines) in [
            ("A=b\nsecret", vec![2]),
            ("A=\"b", vec![1]),
            ("A='b' c\nB=c\nd", vec![1, 3]),
            ("a-b=c", vec![1]),
            ("=c", vec![1]),
        ] {
            assert!(read(text).wrong == lines, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_told() {
        let file = read("A=b\nB=c\nA=d\nA=e");
        assert_eq!(file.twice, BTreeSet::from(["A".to_owned()]));
        assert_eq!(file.variables.len(), 2);
    }
}
