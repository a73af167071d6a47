//! Reads Rust as text: comments, strings and tests are left out, and every path that is named is found.

use std::collections::BTreeSet;

/// A path as it is written, such as `crate::policy::Policy`.
pub type Path = Vec<String>;

/// What production code there is in a file.
pub struct Code(String);

impl Code {
    pub fn of(source: &str) -> Self {
        Self(production(&stripped(source)))
    }

    pub fn contains(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    pub fn words(&self) -> BTreeSet<&str> {
        self.0.split(|c| !is_word(c)).collect()
    }

    /// Every path: of `use` lines with their braces, and in the middle of the code.
    pub fn paths(&self) -> BTreeSet<Path> {
        let mut paths = BTreeSet::new();
        for statement in self.0.split(';') {
            let statement = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '}');
            let imported = statement
                .split_once("use ")
                .filter(|(before, _)| is_visibility(before.trim()));
            match imported {
                Some((_, tree)) => expand(&[], tree, &mut paths),
                None => paths.extend(inline(statement)),
            }
        }
        paths
    }
}

fn is_visibility(text: &str) -> bool {
    text.is_empty() || text == "pub" || (text.starts_with("pub(") && text.ends_with(')'))
}

/// Paths in the middle of code: words that `::` joins.
fn inline(code: &str) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let mut path = vec![last_word(&rest[..at]).to_owned()];
        rest = &rest[at..];
        while let Some(after) = rest.strip_prefix("::") {
            let word = first_word(after);
            path.push(word.to_owned());
            rest = &after[after.len() - after.trim_start().len() + word.len()..];
            if word.is_empty() {
                break;
            }
        }
        path.retain(|word| !word.is_empty());
        if path.len() > 1 {
            paths.push(path);
        }
    }
    paths
}

/// A `use` tree: `{a, b::c}` after a prefix.
fn expand(prefix: &[String], tree: &str, paths: &mut BTreeSet<Path>) {
    let tree = tree.trim().trim_start_matches("::").trim();
    if let Some(inner) = tree.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        for item in top_level(inner) {
            expand(prefix, item, paths);
        }
        return;
    }
    let first = first_word(tree);
    let mut path = prefix.to_vec();
    if !first.is_empty() && (first != "self" || prefix.is_empty()) {
        path.push(first.to_owned());
    }
    match tree[first.len()..].trim_start().strip_prefix("::") {
        Some(rest) => expand(&path, rest, paths),
        None if path.is_empty() => {}
        None => {
            paths.insert(path);
        }
    }
}

/// The code without comments, and with every string and character literal empty.
fn stripped(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            code.push_str("\"\"");
            length
        } else if first == '"' {
            code.push_str("\"\"");
            string(rest)
        } else if let Some(length) = character(rest) {
            code.push_str("' '");
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    rest[1 + hashes..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(
        rest[body..]
            .find(&end)
            .map_or(rest.len(), |at| body + at + end.len()),
    )
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return body[2..].find('\'').map(|end| end + 4);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 2)
}

/// The code without the items that only tests have: `code` has no comments and no strings.
fn production(code: &str) -> String {
    const OF_TESTS: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test,"];
    let (mut kept, mut rest) = (String::with_capacity(code.len()), code);
    while let Some(at) = OF_TESTS.iter().filter_map(|attribute| rest.find(attribute)).min() {
        kept.push_str(&rest[..at]);
        rest = &rest[at + item(&rest[at..])..];
    }
    kept + rest
}

/// The length of an item with its attributes: up to a semicolon, or to the end of the braces that come first.
fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The parts between commas that no brace encloses.
fn top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn last_word(text: &str) -> &str {
    let start = text
        .char_indices()
        .rev()
        .find(|(_, c)| !is_word(*c))
        .map_or(0, |(at, c)| at + c.len_utf8());
    &text[start..]
}
