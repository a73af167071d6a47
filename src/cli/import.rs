//! `distributary import`: a policy and its Secrets from the environment variables of an application.

mod env_file;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::documents::{Documents, read};
use super::output::{print, yaml};
use super::{Error, ExitStatus, policy_file, url_parameters, warn};
pub use distributary_api::environment::known_variables;
use distributary_api::environment::{Import, Variable};
use distributary_api::validate::structure::Misfit;
use distributary_api::{ReplicaSetPolicy, validate};
use distributary_core::ids::EndpointId;
use distributary_core::login::{SecretProblem, UnresolvedSecret};
use distributary_core::resolved::ResolvedEndpoint;
use env_file::EnvFile;

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
    let file = env_file::read(&read(&arguments.env_file)?);
    let (import, unusable) = Import::read(&arguments.name, &file.variables);
    warn_of(&import, &file);
    let mut objects = import.secrets();
    objects.push(import.policy());
    for object in &mut objects {
        if let Some(namespace) = &arguments.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    let path = arguments.env_file.display();
    let told = |line: &usize| format!("{path}, line {line}: this is not NAME=VALUE");
    let mut problems: Vec<_> = file.wrong.iter().map(told).collect();
    problems.extend(unusable);
    problems.extend(judged(&import, &objects)?);
    let problems = with_references(problems, &references(&import, &file.variables));
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let documents: Result<Vec<_>, _> = objects.iter().map(yaml).collect();
    print(&documents?.join("---\n"))?;
    Ok(ExitStatus::Well)
}

/// Says what of the variables is not used.
fn warn_of(import: &Import, file: &EnvFile) {
    for (what, names) in [
        ("are not known", &import.unknown),
        ("are of replicas that have no URL", &import.unused),
    ] {
        if !names.is_empty() {
            warn(&format!("these variables {what}: {}", names.join(", ")));
        }
    }
    for name in &file.twice {
        warn(&format!("{name} is there more than once: the last line counts"));
    }
    for (variable, url) in import.urls() {
        for dropped in url_parameters::dropped(url) {
            warn(&format!("{variable}: {dropped}"));
        }
    }
}

/// The known variables whose values refer to other ones: nothing expands them here.
fn references<'a>(import: &Import, variables: &'a [Variable]) -> Vec<&'a str> {
    let known = |variable: &&Variable| !import.unknown.contains(&variable.name);
    let referring = variables
        .iter()
        .filter(known)
        .filter(|variable| refers(&variable.value));
    referring.map(|variable| variable.name.as_str()).collect()
}

/// Whether a value has `${`, `$(`, or for a whole part of itself `$NAME`, as variables are named: a password may have a `$` within it.
fn refers(value: &str) -> bool {
    let is_name = |part: &str| {
        let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        part.chars().all(known) && part.starts_with(|c: char| !c.is_ascii_digit())
    };
    let mut parts = value.split(['/', ':', '@', '?', '&', '=', ',', ' ']);
    ["${", "$("].iter().any(|begin| value.contains(begin))
        || parts.any(|part| part.strip_prefix('$').is_some_and(is_name))
}

/// Of a variable that refers to others only this is told: what else is wrong with its value may come of it.
fn with_references(problems: Vec<String>, references: &[&str]) -> Vec<String> {
    let one = |name: &&str| {
        format!(
            "{name}: must be the value itself: variables within it, as $NAME or ${{NAME}}, are not replaced; write a $ of a password as %24"
        )
    };
    let is_of = |problem: &str, name: &&str| {
        let rest = problem.strip_prefix(*name);
        rest.is_some_and(|rest| rest.starts_with(':'))
    };
    let others = problems
        .into_iter()
        .filter(|problem| !references.iter().any(|name| is_of(problem, name)));
    references.iter().map(one).chain(others).collect()
}

/// In place of a primary that is missing, which is told by itself: so that all else is judged.
const ANY_HOST: &str = "primary.invalid";

/// Every rule that does not hold, with the variable that it comes from, once.
fn judged(import: &Import, objects: &[Value]) -> Result<Vec<String>, Error> {
    let mut documents = Documents::default();
    for object in objects {
        documents.take(object.clone(), "default", "the environment".as_ref())?;
    }
    let [document] = &documents.policies[..] else {
        return Err(Error::invalid("there is no policy"));
    };
    let mut document = document.clone();
    if document["spec"]["primary"]["urlSecretRef"].is_null() {
        document["spec"]["primary"]["host"] = json!(ANY_HOST);
    }
    let misfits = policy_file::object(&document, &documents.names).err();
    let misfits = misfits.unwrap_or_default();
    let name_is_told = misfits.iter().any(|misfit| misfit.field == "metadata.name");
    let follows = |misfit: &Misfit| name_is_told && misfit.field.ends_with(".urlSecretRef.name");
    let misfits = misfits.iter().filter(|misfit| !follows(misfit));
    let mut told: Vec<_> = misfits
        .map(|misfit| import.told(&misfit.field, &misfit.says))
        .collect();
    told.extend(urls(import, &document, &documents));
    told.dedup();
    Ok(told)
}

/// What is wrong with the URLs, whatever else is wrong with the policy.
fn urls(import: &Import, document: &Value, documents: &Documents) -> Vec<String> {
    let bare = |endpoint: &Value| {
        let fields = ["id", "host", "urlSecretRef", "state"].into_iter();
        let set = fields.filter(|field| !endpoint[*field].is_null());
        let kept = set.map(|field| (field.to_owned(), endpoint[field].clone()));
        Value::Object(kept.collect())
    };
    let spec = &document["spec"];
    let replicas = spec["replicas"].as_array().into_iter().flatten();
    let bare = json!({
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": document["metadata"],
        "spec": {"primary": bare(&spec["primary"]), "replicas": replicas.map(bare).collect::<Vec<_>>()},
    });
    let Ok(object) = serde_json::from_value::<ReplicaSetPolicy>(bare) else {
        return Vec::new();
    };
    let secrets = policy_file::secrets(&object, documents);
    let services = policy_file::services(&object, &secrets, documents);
    let endpoints = validate::resolve(&object, &secrets, &services);
    let refused = endpoints.values().flat_map(ResolvedEndpoint::problems);
    refused.map(|refused| of_url(import, refused)).collect()
}

fn of_url(import: &Import, refused: &UnresolvedSecret) -> String {
    let variable = import.variable_of_secret(&refused.secret);
    let of_endpoint = |id: &EndpointId| import.cause(&format!("endpoint {id}"));
    match &refused.problem {
        SecretProblem::Malformed { must, .. } => format!("{variable}: {must}"),
        SecretProblem::SameServer { first, .. } => format!(
            "{variable}: must name another server than {}: host and port are the same",
            of_endpoint(first)
        ),
        problem => format!("{variable}: {problem}"),
    }
}
