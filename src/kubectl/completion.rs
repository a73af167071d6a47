//! `kubectl_complete-distributary`: what kubectl asks for completions of the plugin's command line. Says nothing of errors: a shell
//! shows them amid what is typed.

use std::time::Duration;

use clap::{ArgAction, Command, CommandFactory};
use tokio::time::timeout;

use super::Arguments;
use super::cluster::{Cluster, Where, declared};
use super::listed;
use crate::cli::output::{print, printable};

/// A shell waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Commands that the operator's command line has too, with its formats.
const OF_THE_PROGRAM: [&str; 3] = ["drill", "explain", "plan"];

/// The directive of cobra: no names of files.
const NO_FILES: &str = ":4";
/// The directive of cobra: names of files, where there is nothing else.
const FILES: &str = ":0";

/// A command line up to the word that is to be completed.
#[derive(Debug, Default, Eq, PartialEq)]
struct Line {
    command: Option<String>,
    positionals: Vec<String>,
    namespace: Option<String>,
    context: Option<String>,
    kubeconfig: Option<String>,
    all_namespaces: bool,
    /// The flag whose value is to be completed.
    flag: Option<String>,
}

/// What fits.
#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    Words(Vec<String>),
    Policies,
    Endpoints(String),
    Files,
}

/// Prints what the last of the words can be, and how the shell shall take it.
pub fn main(words: &[String]) {
    let program = Arguments::command();
    let (typed, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
    let line = Line::of(&program, before);
    let wanted = wanted(&program, &line, typed);
    let (words, directive) = match wanted {
        Wanted::Words(words) => (words, NO_FILES),
        Wanted::Files => (Vec::new(), FILES),
        Wanted::Policies => (from_cluster(&line, None), NO_FILES),
        Wanted::Endpoints(policy) => (from_cluster(&line, Some(&policy)), NO_FILES),
    };
    let mut fitting: Vec<_> = words.into_iter().filter(|word| word.starts_with(typed)).collect();
    fitting.sort();
    fitting.dedup();
    fitting.push(directive.to_owned());
    // Who asked may have gone.
    let _ = print(&format!("{}\n", printable(&fitting.join("\n"))));
}

impl Line {
    fn of(program: &Command, words: &[String]) -> Self {
        let mut line = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, own) = match word.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            if !name.starts_with('-') || name == "-" {
                match line.command {
                    None => line.command = Some(name.to_owned()),
                    Some(_) => line.positionals.push(word.clone()),
                }
                continue;
            }
            if matches!(name, "-A" | "--all-namespaces") {
                line.all_namespaces = true;
            }
            if !takes_value(program, line.command.as_deref(), name) {
                continue;
            }
            let Some(value) = own.or_else(|| words.next().cloned()) else {
                line.flag = Some(name.to_owned());
                break;
            };
            match name {
                "-n" | "--namespace" => line.namespace = Some(value),
                "--context" => line.context = Some(value),
                "--kubeconfig" => line.kubeconfig = Some(value),
                _ => {}
            }
        }
        line
    }

    fn place(&self) -> Where {
        Where {
            namespace: self.namespace.clone(),
            context: self.context.clone(),
            kubeconfig: self.kubeconfig.as_ref().map(Into::into),
        }
    }
}

/// The flags of a command, and of the program.
fn flags<'a>(program: &'a Command, command: Option<&str>) -> impl Iterator<Item = &'a clap::Arg> {
    let command = command.and_then(|name| program.find_subcommand(name));
    let of_command = command.into_iter().flat_map(Command::get_arguments);
    let all = program.get_arguments().chain(of_command);
    all.filter(|flag| !flag.is_positional())
}

fn is_named(flag: &clap::Arg, name: &str) -> bool {
    let long = flag
        .get_long()
        .is_some_and(|long| name.strip_prefix("--") == Some(long));
    long || flag.get_short().is_some_and(|short| {
        name.strip_prefix('-')
            .is_some_and(|rest| rest.chars().eq([short]))
    })
}

fn takes_value(program: &Command, command: Option<&str>, name: &str) -> bool {
    let mut named = flags(program, command).filter(|flag| is_named(flag, name));
    named.any(|flag| matches!(flag.get_action(), ArgAction::Set | ArgAction::Append))
}

fn wanted(program: &Command, line: &Line, typed: &str) -> Wanted {
    let command = line.command.as_deref();
    if let Some(flag) = &line.flag {
        return values(program, command, flag);
    }
    if typed.starts_with('-') {
        let longs = flags(program, command).filter_map(clap::Arg::get_long);
        return Wanted::Words(longs.map(|long| format!("--{long}")).collect());
    }
    let Some(command) = command else {
        let names = program.get_subcommands().filter(|it| !it.is_hide_set());
        return Wanted::Words(names.map(|it| it.get_name().to_owned()).collect());
    };
    let own = program.find_subcommand(command);
    let mut positionals = own.into_iter().flat_map(Command::get_positionals);
    let next = positionals.nth(line.positionals.len());
    let name = next.and_then(|positional| positional.get_value_names()?.first());
    match name.map(clap::builder::Str::as_str) {
        Some("NAME" | "POLICY") => Wanted::Policies,
        Some("ENDPOINT") => Wanted::Endpoints(line.positionals.first().cloned().unwrap_or_default()),
        _ => Wanted::Words(Vec::new()),
    }
}

fn values(program: &Command, command: Option<&str>, name: &str) -> Wanted {
    let words = |words: &[&str]| Wanted::Words(words.iter().map(ToString::to_string).collect());
    let flag = flags(program, command).find(|flag| is_named(flag, name));
    let possible: Vec<_> = flag
        .into_iter()
        .flat_map(clap::Arg::get_possible_values)
        .map(|value| value.get_name().to_owned())
        .collect();
    match name {
        _ if !possible.is_empty() => Wanted::Words(possible),
        "-o" | "--output" if command.is_some_and(|name| OF_THE_PROGRAM.contains(&name)) => {
            words(&["json", "jsonpath=", "table", "yaml"])
        }
        "-o" | "--output" => words(&["json", "jsonpath=", "name", "wide", "yaml"]),
        "--for" => words(&["primary=", "reason=", "route=ro", "route=rw"]),
        "-f" | "--file" | "--kubeconfig" | "--certificate-authority" | "--observations" | "--previous" => {
            Wanted::Files
        }
        _ => words(&[]),
    }
}

/// The names of the policies, or the ids of the endpoints of one; none where the cluster does not tell.
fn from_cluster(line: &Line, policy: Option<&str>) -> Vec<String> {
    let asked = async {
        let cluster = line.place().cluster().await?;
        if let Some(policy) = policy {
            return endpoints(&cluster, policy).await;
        }
        let namespace = (!line.all_namespaces).then_some(cluster.namespace.as_str());
        let all = listed::policies(&cluster, namespace).await?;
        Ok(all.into_iter().map(|policy| policy.metadata.name).collect())
    };
    let asked = async {
        let answer = timeout(PATIENCE, asked).await;
        Ok(answer.map_or_else(|_| Vec::new(), Result::unwrap_or_default))
    };
    super::block_on(asked).unwrap_or_default()
}

async fn endpoints(cluster: &Cluster, policy: &str) -> Result<Vec<String>, super::Error> {
    let policy = cluster.policy(policy).await?;
    Ok(declared(&policy).into_iter().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Wanted {
        let words: Vec<_> = words.split(' ').map(ToOwned::to_owned).collect();
        let (typed, before) = words.split_last().unwrap();
        let program = Arguments::command();
        wanted(&program, &Line::of(&program, before), typed)
    }

    fn words(words: &str) -> Vec<String> {
        match asked(words) {
            Wanted::Words(words) => words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_stand_at_a_place_is_known() {
        assert!(words("").contains(&"status".to_owned()));
        assert!(words("-n shop st").contains(&"status".to_owned()));
        assert_eq!(asked("status "), Wanted::Policies);
        assert_eq!(asked("status --watch -n shop or"), Wanted::Policies);
        assert_eq!(asked("status -o json or"), Wanted::Policies);
        assert_eq!(asked("explain "), Wanted::Policies);
        assert_eq!(words("status orders "), Vec::<String>::new());
        for command in ["drain", "enable", "disable", "weigh", "remove"] {
            assert_eq!(asked(&format!("{command} ")), Wanted::Policies, "{command}");
            let endpoints = Wanted::Endpoints("orders".to_owned());
            assert_eq!(asked(&format!("{command} orders ")), endpoints, "{command}");
        }
        // A new id is none of those that there are.
        assert_eq!(words("add orders "), Vec::<String>::new());
        assert!(words("status --").contains(&"--watch".to_owned()));
        assert!(words("health --all").contains(&"--all-namespaces".to_owned()));
        assert!(words("status -o ").contains(&"wide".to_owned()));
        assert_eq!(words("explain x -o "), ["json", "jsonpath=", "table", "yaml"]);
        assert_eq!(asked("plan -f "), Wanted::Files);
        assert!(words("nothing ").is_empty());
    }

    #[test]
    fn flags_that_stand_before_say_where() {
        let program = Arguments::command();
        let line: Vec<_> = "-n shop --context=prod status --kubeconfig /k"
            .split(' ')
            .map(ToOwned::to_owned)
            .collect();
        let line = Line::of(&program, &line);
        assert_eq!(line.namespace.as_deref(), Some("shop"));
        assert_eq!(
            (line.context.as_deref(), line.kubeconfig.as_deref()),
            (Some("prod"), Some("/k"))
        );
    }
}
