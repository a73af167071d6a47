//! `distributary import`: a policy and its Secrets from the environment variables of an application.

mod env_file;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::documents::{Documents, read};
use super::output::{print, yaml};
use super::{Error, ExitStatus, policy_file, url_parameters, warn};
use distributary_api::environment::Import;
pub use distributary_api::environment::known_variables;
use distributary_api::{ReplicaSetPolicy, validate};
use distributary_core::login::{SecretProblem, UnresolvedSecret};
use distributary_core::resolved::ResolvedEndpoint;

/// Print the policy and the Secrets for the environment variables of an application.
///
/// Reads DATABASE_URL, DATABASE_READ_REPLICA_N_URL and the variables that begin with DB_; docs/cli.md lists them. Times are
/// milliseconds. URLs contain passwords, so they are written into Secrets only. A warning names unknown variables.
///
/// Exit codes: 0; 3 a variable has a value that cannot be used.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File of lines NAME=VALUE; - is standard input.
    #[arg(long, value_name = "FILE")]
    env_file: PathBuf,
    /// Name of the policy, and prefix of the names of its Secrets.
    #[arg(long, default_value = "database", value_name = "NAME")]
    name: String,
    /// Namespace of the objects. Default: the objects have no namespace.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

pub fn main(arguments: &Arguments) -> Result<ExitStatus, Error> {
    let text = read(&arguments.env_file)?;
    let variables = env_file::variables(&text).map_err(|lines| {
        let file = arguments.env_file.display();
        let told = |line| format!("{file}, line {line}: this is not NAME=VALUE");
        Error::Invalid(lines.into_iter().map(told).collect())
    })?;
    let import = Import::new(&arguments.name, &variables).map_err(Error::Invalid)?;
    for (what, names) in [
        ("are not known", &import.unknown),
        ("are of replicas that have no URL", &import.unused),
    ] {
        if !names.is_empty() {
            warn(&format!("these variables {what}: {}", names.join(", ")));
        }
    }
    for (variable, url) in import.urls() {
        for dropped in url_parameters::dropped(url) {
            warn(&format!("{variable}: {dropped}"));
        }
    }
    let mut objects = import.secrets();
    objects.push(import.policy());
    for object in &mut objects {
        if let Some(namespace) = &arguments.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    judge(&import, &objects)?;
    let documents: Result<Vec<_>, _> = objects.iter().map(yaml).collect();
    print(&documents?.join("---\n"))?;
    Ok(ExitStatus::Well)
}

/// Every rule that does not hold, with the variable that it comes from.
fn judge(import: &Import, objects: &[Value]) -> Result<(), Error> {
    let mut documents = Documents::default();
    for object in objects {
        documents.take(object.clone(), "default", "the environment".as_ref())?;
    }
    let [document] = &documents.policies[..] else {
        return Err(Error::invalid("there is no policy"));
    };
    let problems: Vec<_> = match policy_file::object(document, &documents.names) {
        Err(misfits) => misfits
            .iter()
            .map(|misfit| format!("{}: {}", import.cause(&misfit.field), misfit.says))
            .collect(),
        Ok(object) => problems(import, &object, &documents),
    };
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(problems))
    }
}

/// What is wrong with a policy that the schema accepts, and with its URLs.
fn problems(import: &Import, object: &ReplicaSetPolicy, documents: &Documents) -> Vec<String> {
    let secrets = policy_file::secrets(object, documents);
    let services = policy_file::services(object, &secrets, documents);
    if let Err(problems) = validate::policy(object) {
        let told =
            |problem: &validate::Problem| format!("{}: {}", import.cause(&problem.field), problem.says());
        return problems.iter().map(told).collect();
    }
    let endpoints = validate::resolve(object, &secrets, &services);
    let refused = endpoints.values().flat_map(ResolvedEndpoint::problems);
    let one = |refused: &UnresolvedSecret| {
        let variable = import.variable_of_secret(&refused.secret);
        match &refused.problem {
            SecretProblem::Malformed { must, .. } => format!("{variable}: {must}"),
            problem => format!("{variable}: {problem}"),
        }
    };
    refused.map(one).collect()
}
