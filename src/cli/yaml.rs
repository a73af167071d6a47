//! YAML in and out. Only this file knows the crate for it, which its author has deprecated: it reads what a person has written, and
//! never what comes over the network.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Why a text is not read.
pub enum Malformed {
    /// It is neither YAML nor JSON: where, line and column counted from 1; `None`: not known.
    Syntax(Option<(usize, usize)>),
    /// The paths of keys that one object has twice.
    Twice(Vec<String>),
}

/// A value as written, with the paths of the keys that an object of it has twice: the API server refuses those.
#[derive(Default)]
struct Written {
    value: Value,
    twice: Vec<String>,
}

/// The documents of a text of YAML or JSON, without those that are empty.
///
/// # Errors
/// When one is malformed, or says one key twice.
pub fn values(text: &str) -> Result<Vec<Value>, Malformed> {
    let mut values = Vec::new();
    let mut twice = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let written = Written::deserialize(document).map_err(|error| {
            let position = error.location();
            Malformed::Syntax(position.map(|position| (position.line(), position.column())))
        })?;
        twice.extend(written.twice);
        values.push(written.value);
    }
    if !twice.is_empty() {
        return Err(Malformed::Twice(twice));
    }
    values.retain(|value| !value.is_null());
    Ok(values)
}

impl Written {
    /// The same paths, from the object around it.
    fn within(self, name: &str, twice: &mut Vec<String>) -> Value {
        let below = self.twice.into_iter();
        twice.extend(below.map(|path| {
            let dot = if path.starts_with('[') { "" } else { "." };
            format!("{name}{dot}{path}")
        }));
        self.value
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML or JSON")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::default())
    }

    fn visit_none<E>(self) -> Result<Written, E> {
        Ok(Written::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(scalar(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(scalar(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(scalar(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(scalar(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Written, A::Error> {
        let (mut list, mut twice) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element::<Written>()? {
            let at = format!("[{}]", list.len());
            list.push(item.within(&at, &mut twice));
        }
        Ok(Written {
            value: Value::Array(list),
            twice,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Written, A::Error> {
        let (mut known, mut twice) = (Map::new(), Vec::new());
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value::<Written>()?.within(&name, &mut twice);
            if known.insert(name.clone(), value).is_some() {
                twice.push(name);
            }
        }
        Ok(Written {
            value: Value::Object(known),
            twice,
        })
    }
}

fn scalar(value: impl Into<Value>) -> Written {
    Written {
        value: value.into(),
        twice: Vec::new(),
    }
}

/// A value as YAML.
///
/// # Errors
/// When it has a part that YAML cannot hold, such as a key that is no text.
pub fn text(value: &impl Serialize) -> Result<String, impl std::error::Error + Send + Sync + 'static> {
    serde_yaml::to_string(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_an_object_has_twice_is_told_with_its_path() {
        for (text, expected) in [
            ("a: {b: 1, c: 2}\nd: [{b: 1}, {b: 2}]", &[][..]),
            ("a: {b: 1, b: 2}", &["a.b"]),
            ("a: [{b: 1}, {b: 1, b: 1}]\na: 3", &["a[1].b", "a"]),
            ("{\"a\": 1, \"a\": 1}", &["a"]),
            ("b: 1\n---\na: 1\na: 2", &["a"]),
        ] {
            let told = match values(text) {
                Err(Malformed::Twice(told)) => told,
                Err(Malformed::Syntax(_)) => panic!("{text}: not read"),
                Ok(_) => Vec::new(),
            };
            assert_eq!(told, expected, "{text}");
        }
    }
}
