//! Results on standard output: tables for people, JSON, YAML and jsonpath for programs.

mod template;

use std::io::Write;

use serde_json::Value;

use super::{Error, yaml};
pub use template::Template;

/// What kubectl says where jsonpath has no template.
pub const NO_TEMPLATE: &str = "template format specified but no template given";

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people.
    Table,
    Json,
    Yaml,
    JsonPath(Template),
}

impl Format {
    fn of(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "jsonpath" | "jsonpath=" => Err(NO_TEMPLATE.to_owned()),
            other => match other.strip_prefix("jsonpath=") {
                Some(template) => Template::of(template).map(Self::JsonPath),
                None => Err(format!(
                    "unable to match a printer suitable for the output format \"{other}\", allowed formats are: json,jsonpath,table,yaml"
                )),
            },
        }
    }
}

/// The form of a result.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Format of the result: table, json, yaml or jsonpath=TEMPLATE.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_parser = Format::of, default_value = "table")]
    format: Format,
}

impl Output {
    /// Prints the result: the text where a table is asked for, else the document.
    pub fn print(&self, document: &Value, text: impl FnOnce() -> String) -> Result<(), Error> {
        match &self.format {
            Format::Table => print(&printable(&text())),
            Format::Json => print(&format!("{document:#}\n")),
            Format::Yaml => print(&yaml(document)?),
            Format::JsonPath(template) => print(&template.fill(document)),
        }
    }
}

pub fn yaml(document: &Value) -> Result<String, Error> {
    yaml::text(document).map_err(|source| Error::Failed {
        what: "the result cannot be written as YAML".to_owned(),
        source: source.into(),
    })
}

/// To standard output. Who reads it may stop reading.
pub fn print(text: &str) -> Result<(), Error> {
    tell(text).map(drop)
}

/// The same of a result after which others come; `false`: nobody reads them any more.
pub fn tell(text: &str) -> Result<bool, Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::Failed {
            what: "cannot write the result".to_owned(),
            source: error.into(),
        }),
    }
}

/// Text for a terminal, which takes a control character for a command: each is escaped, except for the end of a line.
pub fn printable(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '\n' => "\n".to_owned(),
        letter if is_control(letter) => letter.escape_unicode().to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Also those that change the order in which text is shown.
fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows of text under a header, in columns that are as wide as their widest cell.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(ToString::to_string).collect()])
    }

    /// As many cells as the header has.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        let cells = cells.into().into_iter();
        // A line more would look like a row.
        let escaped = cells.map(|cell| printable(&cell).replace('\n', "\\n"));
        self.0.push(escaped.collect());
    }

    /// The lines; an empty cell is shown as a dash, and no line ends with a space.
    pub fn text(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(|row| Some(shown(row.get(column)?).chars().count()))
                .max()
        };
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths);
            let padded: Vec<_> = cells
                .map(|(cell, width)| format!("{:width$}", shown(cell)))
                .collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        self.0.iter().map(line).collect()
    }
}

const fn shown(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_of_those_that_are_offered() {
        assert_eq!(Format::of("yaml"), Ok(Format::Yaml));
        assert!(matches!(Format::of("jsonpath={.a}"), Ok(Format::JsonPath(_))));
        assert_eq!(Format::of("jsonpath="), Err(NO_TEMPLATE.to_owned()));
        assert!(
            Format::of("jsonpath={.a")
                .unwrap_err()
                .contains("unclosed action")
        );
        assert!(
            Format::of("xml")
                .unwrap_err()
                .contains("json,jsonpath,table,yaml")
        );
    }

    #[test]
    fn no_line_is_cut() {
        let mut table = Table::new(&["ID", "MESSAGE"]);
        let message = "a message that goes on ".repeat(40);
        table.row(["a".to_owned(), message.clone()]);
        assert!(table.text().contains(message.trim_end()));
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let mut table = Table::new(&["ID"]);
        table.row(["a\u{1b}[2J\nb\u{202e}c\td Zürich".to_owned()]);
        assert_eq!(table.text(), "ID\na\\u{1b}[2J\\nb\\u{202e}c\\u{9}d Zürich\n");
        assert_eq!(printable("two\nlines\r\u{9b}1m"), "two\nlines\\u{d}\\u{9b}1m");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let mut table = Table::new(&["ID", "PLACE", "WHY"]);
        table.row(["replica-1", "Zürich", "well"].map(ToOwned::to_owned));
        table.row(["a", "", ""].map(ToOwned::to_owned));
        assert_eq!(
            table.text(),
            "ID         PLACE   WHY\nreplica-1  Zürich  well\na          -       -\n"
        );
    }
}
