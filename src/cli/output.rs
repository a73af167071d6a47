//! Results on standard output: tables for people, JSON and YAML for programs.

use std::io::Write;

use clap::ValueEnum;
use serde_json::Value;

use super::Error;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    Json,
    Yaml,
}

/// The form of a result.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// Format of the result.
    #[arg(short = 'o', long = "output", value_enum, default_value = "table")]
    format: Format,
}

impl Output {
    /// Prints the result: the text where a table is asked for, else the document.
    pub fn print(self, document: &Value, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => print(&text()),
            Format::Json => print(&format!("{document:#}\n")),
            Format::Yaml => print(&yaml(document)?),
        }
    }
}

pub fn yaml(document: &Value) -> Result<String, Error> {
    serde_yaml::to_string(document).map_err(|source| Error::Failed {
        what: "the result cannot be written as YAML".to_owned(),
        source: source.into(),
    })
}

/// To standard output. Who reads it may stop reading.
pub fn print(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Failed {
            what: "cannot write the result".to_owned(),
            source: error.into(),
        }),
        _ => Ok(()),
    }
}

/// Rows of text under a header, in columns that are as wide as their widest cell.
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(ToString::to_string).collect()])
    }

    /// As many cells as the header has.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.0.push(cells.into());
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
