//! Lines `NAME=VALUE`, as programs that read `.env` files take them.

use distributary_api::environment::Variable;

/// The variables of a file; of one that is there twice the last counts.
///
/// # Errors
/// The numbers of the lines that are none.
pub fn variables(text: &str) -> Result<Vec<Variable>, Vec<usize>> {
    let mut found: Vec<Variable> = Vec::new();
    let mut wrong = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(variable) = variable(line.strip_prefix("export ").unwrap_or(line)) else {
            wrong.push(at + 1);
            continue;
        };
        found.retain(|earlier| earlier.name != variable.name);
        found.push(variable);
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
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
        let found = variables(line).ok()?;
        Some(found.last()?.value.clone())
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
            assert!(variables(text).err() == Some(lines), "{text}");
        }
    }
}
