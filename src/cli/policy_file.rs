//! A policy from a file: validated by the rules of admission, with what its files do not tell filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::documents::{Documents, Name, values};
use super::{Error, url_parameters, warn};
use crate::k8s::services::pods::{self, Ports, Ready};
use crate::rehearse::Observations;
use distributary_api::validate::structure::{Misfit, misfits, without_null};
use distributary_api::validate::{
    self, ClusterNames, Declaration, PolicySource, Problem, SecretKeys, Secrets, ServicePort, Services,
};
use distributary_api::{self as api, ReplicaSetPolicy, ReplicaSetPolicySpec, ReplicaSetPolicyStatus, rules};
use distributary_core::ids::EndpointId;
use distributary_core::login::{CertificateCheck, CertificateProblem, ClientCertificate, SecretProblem};
use distributary_core::resolved::{ResolvedEndpoint, ServiceProblem};
use distributary_core::server::Host;

/// Networks for documentation (RFC 5737).
const EXAMPLES: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];

/// Addresses in place of those that only a resolver or a cluster knows: the same name has the same one.
#[derive(Debug, Default)]
pub struct Examples(BTreeMap<String, IpAddr>);

impl Examples {
    fn of(&mut self, name: &str) -> IpAddr {
        let next = self.0.len();
        *self.0.entry(name.to_owned()).or_insert_with(|| {
            let [a, b, c] = EXAMPLES[(next / 254) % EXAMPLES.len()];
            IpAddr::V4(Ipv4Addr::new(a, b, c, u8::try_from(next % 254 + 1).unwrap_or(1)))
        })
    }

    /// Each name with its address, in the order of their names.
    pub fn list(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(name, address)| format!("{name} {address}"))
            .collect()
    }
}

/// Where policies come from.
#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// File with policies, and with the Secrets, Services and EndpointSlices that they name, as YAML or JSON; may be given
    /// more than once; - is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of objects in the files that have none.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub namespace: String,
}

impl Source {
    pub fn documents(&self) -> Result<Documents, Error> {
        let documents = Documents::read(&self.files, &self.namespace)?;
        if documents.policies.is_empty() {
            return Err(Error::invalid(match documents.mistyped.first() {
                Some(kind) => format!("kind: must be ReplicaSetPolicy, not {kind}"),
                None => "these files contain no ReplicaSetPolicy".to_owned(),
            }));
        }
        Ok(documents)
    }
}

/// What the CustomResourceDefinition says of a policy. Made once: a file may have hundreds of policies.
static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| api::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take());

/// The object of a document; every misfit with the CustomResourceDefinition, and every rule that does not hold, otherwise.
pub fn object(document: &Value, names: &ClusterNames) -> Result<ReplicaSetPolicy, Vec<Misfit>> {
    let mut document = without_null(document.clone());
    let mut found = Vec::new();
    if document["apiVersion"] != "distributary.dev/v1alpha1" {
        found.push(misfit(
            "apiVersion",
            "supported values: \"distributary.dev/v1alpha1\"",
        ));
    }
    found.extend(misfits(&document, &SCHEMA));
    // What does not fit is left out, for the rules to judge the rest.
    for misfit in &found {
        leave_out(&mut document, &misfit.field);
    }
    let Ok(object) = ReplicaSetPolicy::deserialize(&document) else {
        if found.is_empty() {
            found.push(misfit(unreadable_part(&document), OTHER_KIND));
        }
        return Err(found);
    };
    let declared = PolicySource::from(&object).with_names(names);
    for problem in validate::policy(declared).err().unwrap_or_default() {
        if !found.iter().any(|misfit| hides(&misfit.field, &problem)) {
            found.push(misfit(&problem.field, &problem.says()));
        }
    }
    if found.is_empty() { Ok(object) } else { Err(found) }
}

/// Whether a problem is none of its own: its field does not fit, which says enough, or a field does not fit without which
/// its rule cannot be judged.
fn hides(misfit: &str, problem: &Problem) -> bool {
    let within = problem.field.strip_prefix(misfit);
    let parent = problem.field.rsplit_once('.').map(|(parent, _)| parent);
    let beside = |name: &str| parent.is_some_and(|parent| misfit == format!("{parent}.{name}"));
    let needed = match problem.rule {
        rules::ADDRESS => beside("serviceRef") || beside("urlSecretRef"),
        rules::RECOVER => {
            beside("max") || ["spec.replicationLag.max", "spec.replicationLag.recover"].contains(&misfit)
        }
        rules::LAG_QUERY_NEEDS_SOURCE => beside("source") || misfit == "spec.replicationLag.source",
        rules::LAG_QUERY_MISSING => misfit == "spec.replicationLag.lagQuery",
        rules::ATTEMPT => misfit == "spec.circuitBreaker.failureThreshold",
        rules::RESET_TIMEOUTS => misfit == "spec.circuitBreaker.resetTimeout",
        _ => false,
    };
    needed || within.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What is said of a part of an object that no field is named of.
const OTHER_KIND: &str = "it does not match the schema of its kind";

/// The part of an object that cannot be read as that of a policy.
fn unreadable_part(document: &Value) -> &'static str {
    let status = document.get("status").map(ReplicaSetPolicyStatus::deserialize);
    let spec = document.get("spec").map(ReplicaSetPolicySpec::deserialize);
    match (status, spec) {
        (Some(Err(_)), _) => "status",
        (_, Some(Err(_)) | None) => "spec",
        _ => "metadata",
    }
}

fn misfit(field: &str, says: &str) -> Misfit {
    Misfit {
        field: field.to_owned(),
        says: says.to_owned(),
    }
}

/// Takes the field at a path such as `spec.replicas[0].port` out; an item of a list stays, as items are counted.
fn leave_out(document: &mut Value, field: &str) {
    let path = field.replace('[', ".").replace(']', "");
    let Some((inner, last)) = path.rsplit_once('.') else {
        return;
    };
    let pointer = format!("/{}", inner.replace('.', "/"));
    if let Some(fields) = document.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        fields.remove(last);
    }
}

/// The object as written, where it has the form of a policy at all: for who only reads its status.
pub fn unjudged(document: &Value) -> Result<ReplicaSetPolicy, Error> {
    let readable = without_null(document.clone());
    ReplicaSetPolicy::deserialize(&readable).map_err(|_| {
        let part = unreadable_part(&readable);
        Error::invalid(format!("{}: {part}: {OTHER_KIND}", title(document)))
    })
}

/// `NAMESPACE/NAME` of a document.
pub fn title(document: &Value) -> String {
    let text = |field: &str| document["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

/// The policies of the documents. `resolve` looks up what each names.
pub fn policies(
    documents: &Documents,
    mut resolve: impl FnMut(&ReplicaSetPolicy) -> BTreeMap<EndpointId, ResolvedEndpoint>,
) -> Result<Vec<Declaration>, Error> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for document in &documents.policies {
        let title = title(document);
        if !seen.insert(title.clone()) {
            problems.push(format!("{title}: the files contain it twice"));
        }
        match object(document, &documents.names) {
            Ok(object) => {
                warn_of_urls(&object, documents);
                let resolved = resolve(&object);
                match validate::policy(documents.declared(&object)) {
                    Ok(valid) => found.push(valid.with(resolved, documents.cluster.clone())),
                    Err(wrong) => problems.extend(wrong.iter().map(|problem| format!("{title}: {problem}"))),
                }
            }
            Err(misfits) => problems.extend(misfits.iter().map(|misfit| format!("{title}: {misfit}"))),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(Error::Invalid(problems))
    }
}

/// Says which parameters of the URLs in Secrets are not used.
fn warn_of_urls(object: &ReplicaSetPolicy, documents: &Documents) {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let references = endpoints(object).filter_map(|endpoint| endpoint.url_secret_ref.as_ref());
    let named: BTreeSet<_> = references
        .map(|reference| (&reference.name, &reference.key))
        .collect();
    for (name, key) in named {
        let secret = documents.secrets.get(&(namespace.clone(), name.clone()));
        let url = secret.and_then(|secret| secret.0.get(key));
        let url = url.and_then(|url| std::str::from_utf8(url).ok());
        for dropped in url.map(url_parameters::dropped).unwrap_or_default() {
            warn(&format!("Secret {name}, key {key}: {dropped}"));
        }
    }
}

/// The Secrets that a policy names, as far as they are there.
pub fn secrets(object: &ReplicaSetPolicy, documents: &Documents) -> Secrets {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let find = |name: String| {
        let keys = documents.secrets.get(&(namespace.clone(), name.clone())).cloned();
        (name, keys.ok_or(SecretProblem::NotFound))
    };
    validate::references(&object.spec).into_iter().map(find).collect()
}

/// The same; one that is not there is taken to be as the policy wants it. The names of those.
pub fn assumed_secrets(object: &ReplicaSetPolicy, documents: &Documents) -> (Secrets, Vec<String>) {
    let (mut all, stand_ins) = (secrets(object, documents), every_secret(object));
    let missing: Vec<_> = all
        .iter()
        .filter(|(_, keys)| keys.is_err())
        .map(|(name, _)| name.clone())
        .collect();
    for name in &missing {
        if let Some(keys) = stand_ins.get(name) {
            all.insert(name.clone(), keys.clone());
        }
    }
    (all, missing)
}

/// The value of a key that nobody gave.
const ASSUMED: &str = "assumed";

/// Reads the certificates that the files have; the assumed ones are as they should be.
pub struct KnownCertificates<'a>(pub &'a dyn CertificateCheck);

impl CertificateCheck for KnownCertificates<'_> {
    fn of_authorities(&self, pem: &str) -> Vec<CertificateProblem> {
        if pem == ASSUMED {
            return Vec::new();
        }
        self.0.of_authorities(pem)
    }

    fn of_client(&self, client: &ClientCertificate) -> (Vec<CertificateProblem>, Vec<CertificateProblem>) {
        if *client.chain == *ASSUMED {
            return (Vec::new(), Vec::new());
        }
        self.0.of_client(client)
    }
}

/// Every Secret that a policy names, as it should be.
fn every_secret(object: &ReplicaSetPolicy) -> Secrets {
    let mut all: BTreeMap<_, _> = keys_of_secrets(object)
        .into_iter()
        .map(|(name, keys)| {
            let keys = keys.into_iter().map(|key| (key, ASSUMED.as_bytes().to_vec()));
            (name, SecretKeys(keys.collect()))
        })
        .collect();
    for reference in endpoints(object).filter_map(|endpoint| endpoint.url_secret_ref.as_ref()) {
        // Each Secret and key is a server of its own; the top-level domain is reserved (RFC 6761).
        let host = format!("{}.{}.invalid", label(&reference.key), label(&reference.name));
        let url = format!("postgresql://assumed@{host}:5432/");
        if let Some(SecretKeys(keys)) = all.get_mut(&reference.name) {
            keys.insert(reference.key.clone(), url.into_bytes());
        }
    }
    all.into_iter().map(|(name, keys)| (name, Ok(keys))).collect()
}

fn endpoints(object: &ReplicaSetPolicy) -> impl Iterator<Item = &api::Endpoint> {
    std::iter::once(&object.spec.primary).chain(&object.spec.replicas)
}

fn connections(object: &ReplicaSetPolicy) -> impl Iterator<Item = &api::Connection> {
    let own = endpoints(object).filter_map(|endpoint| endpoint.connection.as_ref());
    object.spec.connection.iter().chain(own)
}

/// Whether a policy names the Secret for user and password.
pub fn is_login(object: &ReplicaSetPolicy, name: &str) -> bool {
    let mut logins = connections(object).filter_map(|connection| connection.credentials_secret_ref.as_ref());
    logins.any(|reference| reference.name == name)
}

/// The Secrets that a policy names, each with the keys that it asks for.
pub fn keys_of_secrets(object: &ReplicaSetPolicy) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut ask = |name: &String, keys: &[&str]| {
        let known = all.entry(name.clone()).or_default();
        known.extend(keys.iter().map(ToString::to_string));
    };
    for connection in connections(object) {
        if let Some(reference) = &connection.credentials_secret_ref {
            ask(&reference.name, &["username", "password"]);
        }
        let tls = connection.tls.clone().unwrap_or_default();
        if let Some(reference) = &tls.ca_secret_ref {
            ask(&reference.name, &[reference.key.as_deref().unwrap_or("ca.crt")]);
        }
        if let Some(reference) = &tls.client_cert_secret_ref {
            ask(&reference.name, &["tls.crt", "tls.key"]);
        }
    }
    for reference in endpoints(object).filter_map(|endpoint| endpoint.url_secret_ref.as_ref()) {
        ask(&reference.name, &[&reference.key]);
    }
    all
}

/// A part of a DNS name that is made of any text.
fn label(text: &str) -> String {
    let letters = text.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    let label: String = letters.take(60).collect();
    match label.trim_matches('-') {
        "" => "assumed".to_owned(),
        label => label.to_owned(),
    }
}

/// The Services that a policy names, as far as they are there with their slices.
pub fn services(object: &ReplicaSetPolicy, secrets: &Secrets, documents: &Documents) -> Services {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let find = |port: ServicePort| {
        let ready = ready((namespace.clone(), port.service.clone()), port.port, documents);
        (port, ready)
    };
    validate::service_references(documents.declared(object), secrets)
        .into_iter()
        .map(find)
        .collect()
}

fn ready(name: Name, port: u16, documents: &Documents) -> Result<Vec<SocketAddr>, ServiceProblem> {
    let service = documents.services.get(&name).ok_or(ServiceProblem::NotFound)?;
    let slices: Vec<_> = documents
        .slices
        .iter()
        .filter(|(service, _)| *service == name)
        .map(|(_, slice)| Ready::of(slice))
        .collect();
    pods::ready(&Ports::of(service), slices.iter(), port)
}

/// The same; those that were observed go before, and one that is not there is taken to have one ready pod.
pub fn assumed_services(
    object: &ReplicaSetPolicy,
    secrets: &Secrets,
    documents: &Documents,
    seen: &Observations,
    examples: &mut Examples,
) -> Services {
    let mut all = services(object, secrets, documents);
    for (port, pods) in &mut all {
        if let Some(observed) = seen.services.get(&port.service) {
            *pods = Ok(observed.clone());
        } else if *pods == Err(ServiceProblem::NotFound) {
            let example = examples.of(&format!("Service {}", port.service));
            *pods = Ok(vec![SocketAddr::new(example, port.port)]);
        }
    }
    all
}

/// Gives an address to every endpoint whose host is a name, where none was observed.
pub fn assumed_addresses(declared: &Declaration, seen: &mut Observations, examples: &mut Examples) {
    for endpoint in &declared.policy.endpoints {
        let Some(resolved) = declared.resolved.endpoint(&endpoint.id) else {
            continue;
        };
        let host = resolved.location.as_ref().map(|location| &location.host);
        let known = seen.addresses.contains_key(endpoint.id.as_str());
        if let (Some(Host::Name(name)), None, true, false) =
            (host, &resolved.pods, endpoint.is_watched(), known)
        {
            seen.addresses.insert(endpoint.id.to_string(), examples.of(name));
        }
    }
}

/// What the servers show, from a file; `None`: nothing.
pub fn observations(file: Option<&Path>) -> Result<Observations, Error> {
    let Some(file) = file else {
        return Ok(Observations::default());
    };
    let document = values(file)?.into_iter().next().unwrap_or(Value::Null);
    let checks = document["checks"].as_object().into_iter().flatten();
    let texts: Vec<_> = checks
        .filter_map(|(endpoint, said)| {
            let said = said.as_str()?;
            Some(format!("observations: checks.{endpoint}: write a list: [{said}]"))
        })
        .collect();
    if !texts.is_empty() {
        return Err(Error::Invalid(texts));
    }
    serde_json::from_value(document).map_err(|error| Error::invalid(format!("{}: {error}", file.display())))
}
