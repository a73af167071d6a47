//! The form of a result, as `kubectl -o` has it.

use std::io::IsTerminal;

use serde_json::Value;

use super::error::Error;
use crate::cli::output::{self, NO_TEMPLATE, Template, printable};
use distributary_core::health::Reason;

/// The resource, as kubectl names an object of it.
const RESOURCE: &str = "replicasetpolicy.distributary.dev";

/// Formats of a result that has rows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    Json,
    Yaml,
    /// The names of the objects alone.
    Name,
    JsonPath(Template),
}

impl Format {
    fn of(text: &str) -> Result<Self, String> {
        if matches!(text, "jsonpath" | "jsonpath=") {
            return Err(NO_TEMPLATE.to_owned());
        }
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return Template::of(template).map(Self::JsonPath);
        }
        Ok(match text {
            "" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            other => {
                return Err(format!(
                    "unable to match a printer suitable for the output format \"{other}\", allowed formats are: json,jsonpath,name,wide,yaml"
                ));
            }
        })
    }
}

/// What a command shows of policies.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Format of the result: wide, json, yaml, name or jsonpath=TEMPLATE. Default: a table.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_parser = Format::of, default_value = "", hide_default_value = true)]
    format: Format,
}

impl Output {
    /// Whether the table has all columns.
    pub fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// Whether a result takes the place of the one before.
    pub fn is_redrawn(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide) && is_terminal()
    }

    /// Prints the document in the form that is asked for. `names`: of the policies in it; `text`: for people.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn print<'a>(
        &self,
        document: &Value,
        names: impl IntoIterator<Item = &'a str>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        Ok(output::print(&self.form(document, names, text)?)?)
    }

    /// The same of one result after another, as a watch has them.
    ///
    /// # Errors
    /// It cannot be written, or nobody reads it any more.
    pub fn tell<'a>(
        &self,
        document: &Value,
        names: impl IntoIterator<Item = &'a str>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        tell(&self.form(document, names, text)?)
    }

    fn form<'a>(
        &self,
        document: &Value,
        names: impl IntoIterator<Item = &'a str>,
        text: impl FnOnce() -> String,
    ) -> Result<String, Error> {
        let names: Vec<_> = names.into_iter().collect();
        Ok(match &self.format {
            // Nothing to show is said on standard error.
            Format::Table | Format::Wide if names.is_empty() => String::new(),
            Format::Table | Format::Wide => shown(&text()),
            Format::Json => format!("{document:#}\n"),
            Format::Yaml => output::yaml(document)?,
            Format::JsonPath(template) => template.fill(document),
            Format::Name => {
                let names = names.into_iter().map(|name| format!("{RESOURCE}/{name}\n"));
                printable(&names.collect::<String>())
            }
        })
    }
}

fn tell(text: &str) -> Result<(), Error> {
    if output::tell(text)? {
        Ok(())
    } else {
        Err(Error::Unread)
    }
}

/// What a command prints that changes an object: a sentence, or its name.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Names {
    /// Format of the result: name. Default: a sentence.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum)]
    format: Option<OnlyName>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnlyName {
    Name,
}

impl Names {
    /// Whether nothing but the name is printed.
    pub fn is_name(self) -> bool {
        self.format.is_some()
    }

    /// # Errors
    /// It cannot be written.
    pub fn print(self, name: &str, sentence: &str) -> Result<(), Error> {
        match self.format {
            Some(OnlyName::Name) => Ok(output::print(&printable(&format!("{RESOURCE}/{name}\n")))?),
            None => show(&format!("{sentence}\n")),
        }
    }
}

/// What was done to a policy, as kubectl says it: `replicasetpolicy.distributary.dev/orders check requested`.
pub fn did(name: &str, what: &str) -> String {
    format!("{RESOURCE}/{name} {what}")
}

/// That a policy is gone, as kubectl says it.
pub fn deleted(namespace: &str, name: &str) -> String {
    format!("{RESOURCE} \"{name}\" deleted from namespace \"{namespace}\"")
}

/// Text for people, to standard output: in colours where it is a terminal.
///
/// # Errors
/// It cannot be written.
pub fn show(text: &str) -> Result<(), Error> {
    Ok(output::print(&shown(text))?)
}

fn shown(text: &str) -> String {
    let text = printable(text);
    if has_colours() { coloured(&text) } else { text }
}

/// Makes room for another result after the first: on a terminal in its place, else behind an empty line where it is for people.
///
/// # Errors
/// It cannot be written, or nobody reads it any more.
pub fn next(is_other: bool, output: &Output) -> Result<(), Error> {
    let is_text = matches!(output.format, Format::Table | Format::Wide);
    let room = if output.is_redrawn() {
        "\u{1b}[H\u{1b}[2J"
    } else if is_text && is_other {
        "\n"
    } else {
        ""
    };
    tell(room)
}

/// Whether the output is a terminal that obeys control characters.
fn is_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb
}

/// By <https://no-color.org>.
fn has_colours() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// The colour of a word of ours.
fn colour(word: &str) -> Option<&'static str> {
    if let Some(reason) = Reason::from_word(word) {
        return Some(match reason {
            Reason::Serving => GREEN,
            reason if crate::render::advice::is_plain(reason) => YELLOW,
            _ => RED,
        });
    }
    match word {
        "True" | "Served" | "Routable" => Some(GREEN),
        "Fallback" => Some(YELLOW),
        "False" | "Held" | "Empty" => Some(RED),
        _ => None,
    }
}

/// Colours words, and changes no width.
fn coloured(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(|letter: char| !letter.is_alphanumeric()) {
        let word = part.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        match colour(word) {
            Some(colour) => {
                shown.push_str(&format!("{colour}{word}{PLAIN}{}", &part[word.len()..]));
            }
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_coloured_and_nothing_else_changes() {
        let text =
            "ENDPOINT   REASON\nprimary    Serving\nreplica-1  CircuitOpen (ConnectRefused)\nro Served\n";
        let shown = coloured(text);
        assert!(shown.contains(&format!("{GREEN}Serving{PLAIN}\n")), "{shown}");
        assert!(shown.contains(&format!("{RED}CircuitOpen{PLAIN} (")), "{shown}");
        let mut bare = shown;
        for colour in [GREEN, YELLOW, RED, PLAIN] {
            bare = bare.replace(colour, "");
        }
        assert_eq!(bare, text);
    }
}
