//! The table of broken policies: policies.yaml, which tells its words, with the texts of the rules in place of their names.

use serde::Deserialize;
use serde_json::{Value, json};

/// A change of [`minimal`], and what is said to it.
pub struct Case {
    pub set: String,
    pub to: Value,
    pub validate: Validated,
    /// `FIELD: MESSAGE`, every one that the API server gives; none where it takes the policy.
    pub admission: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub enum Validated {
    Unreadable,
    /// Field and rule, of every problem; none where validation sees none.
    Problems(Vec<(String, String)>),
}

impl Case {
    /// [`minimal`] with the change.
    pub fn policy(&self) -> Value {
        let mut policy = minimal();
        put(&mut policy, &self.set, self.to.clone());
        policy
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    set: String,
    to: Value,
    validate: Words,
    admission: Words,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(word) if word == "nothing" => Vec::new(),
            Self::One(word) => vec![word],
            Self::Many(words) => words,
        }
    }
}

/// Every case; `rules`: their names and texts.
pub fn cases(rules: &[(&str, &str)]) -> Vec<Case> {
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("policies.yaml")).expect("the table");
    rows.into_iter().map(|row| case(row, rules)).collect()
}

fn case(row: Row, rules: &[(&str, &str)]) -> Case {
    let Row {
        set,
        to,
        validate,
        admission,
    } = row;
    let mut case = Case {
        set,
        to: expanded(to),
        validate: Validated::Unreadable,
        admission: Vec::new(),
    };
    let policy = case.policy();
    let validate = validate.list();
    if validate != ["unreadable"] {
        let problem = |word: &String| {
            let (rule, field) = word.split_once(" at ").unwrap_or((word, &case.set));
            let text = text(rules, rule).unwrap_or_else(|| panic!("there is no rule {rule}"));
            (field.to_owned(), text.to_owned())
        };
        case.validate = Validated::Problems(validate.iter().map(problem).collect());
    }
    let said = |word: String| {
        let (told, quoted) = word
            .strip_suffix(", quoted")
            .map_or((word.as_str(), false), |told| (told, true));
        let (rule, field) = told.split_once(" at ").unwrap_or((told, &case.set));
        match text(rules, rule) {
            Some(text) if quoted => format!(
                "{field}: Invalid value: {}: {text}",
                place(&mut policy.clone(), field)
            ),
            Some(text) => format!("{field}: Invalid value: {text}"),
            None => word,
        }
    };
    case.admission = admission.list().into_iter().map(said).collect();
    case
}

fn text<'a>(rules: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    rules
        .iter()
        .find(|(rule, _)| *rule == name)
        .map(|(_, text)| *text)
}

/// What is written once and meant several times.
fn expanded(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("$times") => {
            let times = fields["$times"].as_u64().expect("how often");
            match &fields["$of"] {
                Value::String(text) => json!(text.repeat(usize::try_from(times).expect("a few"))),
                Value::Array(items) => (0..times).map(|n| numbered(&items[0], n)).collect(),
                other => panic!("{other} is neither a text nor a list"),
            }
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, expanded(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(expanded).collect(),
        value => value,
    }
}

fn numbered(value: &Value, number: u64) -> Value {
    let text = value.to_string().replace("{n}", &number.to_string());
    serde_json::from_str(&text).expect("JSON")
}

/// One primary and two replicas.
pub fn minimal() -> Value {
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "primary": {"host": "pg-0.example.com"},
            "replicas": [
                {"id": "replica-1", "host": "pg-1.example.com"},
                {"id": "replica-2", "host": "pg-2.example.com"},
            ],
        },
    })
}

/// Sets `spec.replicas[0].id` and the like. The API server takes null for absent.
pub fn put(object: &mut Value, field: &str, to: Value) {
    *place(object, field) = to;
}

fn place<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    let path = field.replace('[', ".").replace(']', "");
    path.split('.')
        .fold(object, |place, key| match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key],
        })
}
