//! `-o jsonpath=TEMPLATE`, as kubectl has it: `{.items[*].name}`, `{range .items[*]}{.name}{"\n"}{end}`.

use jsonpath_rust::JsonPath;
use serde_json::Value;

use super::printable;

/// A template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    /// In the words of RFC 9535.
    Path(String),
    Range(String, Vec<Part>),
}

impl Template {
    /// # Errors
    /// What is wrong with it, as kubectl says it.
    pub fn of(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("error parsing jsonpath {text}, {why}");
        let whole = if text.contains('{') {
            text.to_owned()
        } else {
            format!("{{{text}}}")
        };
        let mut rest = whole.as_str();
        let parts = parts(&mut rest, false).map_err(|why| wrong(&why))?;
        Ok(Self(parts))
    }

    /// The text for a document: what is missing is empty, and control characters of values are escaped.
    pub fn fill(&self, document: &Value) -> String {
        let mut text = String::new();
        fill(&self.0, document, &mut text);
        text
    }
}

fn fill(parts: &[Part], value: &Value, text: &mut String) {
    let found = |path: &str| value.query(path).unwrap_or_default();
    for part in parts {
        match part {
            Part::Text(own) => text.push_str(own),
            Part::Path(path) => {
                let told: Vec<_> = found(path).into_iter().map(plain).collect();
                text.push_str(&printable(&told.join(" ")));
            }
            Part::Range(path, inner) => {
                for each in found(path) {
                    fill(inner, each, text);
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Until the end, or until `{end}` within a range.
fn parts(rest: &mut &str, is_range: bool) -> Result<Vec<Part>, String> {
    let mut all = Vec::new();
    while let Some(open) = rest.find('{') {
        if open > 0 {
            all.push(Part::Text(rest[..open].to_owned()));
        }
        let inner = &rest[open + 1..];
        let close = closing(inner).ok_or("unclosed action")?;
        let action = inner[..close].trim();
        *rest = &inner[close + 1..];
        if action == "end" {
            return if is_range {
                Ok(all)
            } else {
                Err("not in range, nothing to end".to_owned())
            };
        }
        all.push(match action.strip_prefix("range ") {
            Some(over) => Part::Range(path(over.trim())?, parts(rest, true)?),
            None if action.starts_with(['"', '\'']) => Part::Text(quoted(action)?),
            None => Part::Path(path(action)?),
        });
    }
    if is_range {
        return Err("unclosed range".to_owned());
    }
    if !rest.is_empty() {
        all.push(Part::Text((*rest).to_owned()));
    }
    Ok(all)
}

/// Where an action ends; braces within quotes are text.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut is_escaped) = (None, false);
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (_, '\\') => is_escaped = true,
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, '}') => return Some(place),
            _ => {}
        }
    }
    None
}

fn quoted(action: &str) -> Result<String, String> {
    let quote = &action[..1];
    let inner = action[1..]
        .strip_suffix(quote)
        .ok_or("unterminated quoted string")?;
    let mut letters = inner.chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.push(match letters.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(other) => other,
            None => return Err("unterminated quoted string".to_owned()),
        });
    }
    Ok(text)
}

/// A path of kubectl, `.a.b\.c[0]`, as RFC 9535 has it: `$['a']['b.c'][0]`.
fn path(text: &str) -> Result<String, String> {
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut path = "$".to_owned();
    let mut is_first = true;
    while !rest.is_empty() {
        if rest.starts_with('[') {
            let close = bracket(rest).ok_or("unterminated array")?;
            path.push_str(&rest[..=close]);
            rest = &rest[close + 1..];
        } else {
            let (dots, name) = match (rest.strip_prefix(".."), rest.strip_prefix('.')) {
                (Some(name), _) => ("..", name),
                (None, Some(name)) => ("", name),
                (None, None) if is_first => ("", rest),
                (None, None) => return Err(format!("unrecognized character in action: {rest}")),
            };
            let (name, left) = name_of(name);
            path.push_str(dots);
            match name.as_str() {
                "" if left.is_empty() && dots.is_empty() => {}
                "" if left.starts_with('[') => {}
                "" => return Err(format!("unrecognized path {text}")),
                "*" => path.push_str("[*]"),
                name => path.push_str(&format!("['{}']", name.replace('\'', "\\'"))),
            }
            rest = left;
        }
        is_first = false;
    }
    jsonpath_rust::parser::parse_json_path(&path).map_err(|_| format!("unrecognized path {text}"))?;
    Ok(path)
}

/// A name up to the next dot or bracket that is not escaped, and what follows it.
fn name_of(text: &str) -> (String, &str) {
    let (mut name, mut is_escaped) = (String::new(), false);
    for (place, letter) in text.char_indices() {
        match letter {
            letter if is_escaped => {
                name.push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '.' | '[' => return (name, &text[place..]),
            letter => name.push(letter),
        }
    }
    (name, "")
}

/// Where the bracket ends that the text begins with.
fn bracket(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_template_says_stays_and_what_a_value_says_is_escaped() {
        let document = json!({"a": "x\ty\u{1b}[2J", "b": 1});
        let filled = Template::of("{.a}{\"\\t\"}{.b}{'\\n'}").unwrap().fill(&document);
        assert_eq!(filled, "x\\u{9}y\\u{1b}[2J\t1\n");
    }

    #[test]
    fn templates_are_those_of_kubectl() {
        let document = json!({
            "items": [
                {"name": "a", "ready": {"status": "True"}, "share": 12.5, "x.y/z": "dotted"},
                {"name": "b", "ready": {"status": "False"}, "share": null},
            ],
        });
        let cases = [
            ("{.items[*].name}", "a b"),
            (".items[0].name", "a"),
            ("{items[1].name}", "b"),
            ("{$.items[-1:].name}", "b"),
            ("{..status}", "True False"),
            ("{.items[0].x\\.y/z}", "dotted"),
            ("{.items[0]['x.y/z']}", "dotted"),
            ("{.items[?(@.name==\"b\")].ready.status}", "False"),
            (
                "{range .items[*]}{.name}={.share}{\"\\n\"}{end}.",
                "a=12.5\nb=\n.",
            ),
            ("n: {.items[0].ready}", "n: {\"status\":\"True\"}"),
            ("{.nothing}", ""),
            ("{'}'}", "}"),
        ];
        for (template, expected) in cases {
            assert_eq!(
                Template::of(template).unwrap().fill(&document),
                expected,
                "{template}"
            );
        }
        for (wrong, why) in [
            ("{.items", "unclosed action"),
            ("{end}", "nothing to end"),
            ("{range .items[*]}{.name}", "unclosed range"),
            ("{.items[0}", "unterminated array"),
            ("{\"x}", "unclosed action"),
            ("{.items[?(]}", "unrecognized path"),
        ] {
            let told = Template::of(wrong).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }
}
