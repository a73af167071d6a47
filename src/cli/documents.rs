//! Kubernetes objects from files, of those kinds that a policy is made with; the others are passed over.
//!
//! An error names file, line and field, and never a value: files hold Secrets.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::yaml::{self, Malformed};
use super::{Error, archive};
use crate::render::labels;
use distributary_api::validate::structure::is_mistyped;
use distributary_api::validate::{self, ClusterNames, PolicySource, SecretKeys};
use distributary_api::{Mode, ReplicaSetPolicy};
use distributary_core::cluster::Cluster;
use distributary_probe::ClusterZone;

/// The kind of a policy.
const POLICY: &str = "ReplicaSetPolicy";

/// Namespace and name.
pub type Name = (String, String);

/// The objects of some files. Who names no namespace is in the one that is asked for.
#[derive(Default)]
pub struct Documents {
    /// As written, with their namespace.
    pub policies: Vec<Value>,
    pub secrets: BTreeMap<Name, SecretKeys>,
    pub services: BTreeMap<Name, Service>,
    /// By the Service that they are for.
    pub slices: Vec<(Name, EndpointSlice)>,
    /// Kinds that were probably meant for that of a policy.
    pub mistyped: Vec<String>,
    /// Their data.
    pub config_maps: BTreeMap<Name, BTreeMap<String, String>>,
    /// The cluster that they are meant for.
    pub cluster: Cluster,
    /// How its names end, and whose a policy may use.
    pub names: ClusterNames,
}

/// What is said of the cluster that the files are meant for.
#[derive(Debug, clap::Args)]
pub struct ClusterArguments {
    /// Region of the cluster, as distributary run --region has it.
    #[arg(long, value_name = "REGION", value_parser = validate::cluster_region)]
    region: Option<String>,
    /// Namespaces whose Services and pods the host of a policy may name, as distributary run --allow-namespaces has them.
    #[arg(
        long = "allow-namespaces",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        value_parser = validate::namespace
    )]
    allow_namespaces: Vec<String>,
    /// DNS domain of the cluster, as distributary run --cluster-domain has it.
    #[arg(long, value_name = "DOMAIN", default_value = ClusterNames::DOMAIN, value_parser = validate::cluster_domain)]
    cluster_domain: String,
}

impl ClusterArguments {
    /// The objects are meant for this cluster.
    pub fn are_of(&self, documents: &mut Documents) {
        documents.cluster = Cluster {
            region: self.region.clone(),
            ..Cluster::default()
        };
        documents.names = ClusterNames::new(&self.cluster_domain, self.allow_namespaces.iter().cloned());
    }

    pub fn zone(&self) -> ClusterZone {
        ClusterZone::new(&self.cluster_domain, self.allow_namespaces.iter().cloned())
    }
}

impl Documents {
    pub fn read(files: &[PathBuf], namespace: &str) -> Result<Self, Error> {
        let mut documents = Self::default();
        for file in files {
            for document in values(file)? {
                documents.take(document, namespace, file)?;
            }
        }
        Ok(documents)
    }

    /// The policies as in mode Enforce; a mode that is none stays, so that it is reported.
    #[must_use]
    pub fn enforced(mut self) -> Self {
        for policy in &mut self.policies {
            if let Some(mode) = policy.pointer_mut("/spec/mode")
                && mode.as_str().and_then(Mode::from_word).is_some()
            {
                *mode = Mode::Enforce.word().into();
            }
        }
        self
    }

    pub fn take(&mut self, mut document: Value, default: &str, file: &Path) -> Result<(), Error> {
        if let Some(items) = document
            .get_mut("items")
            .and_then(Value::as_array_mut)
            .map(std::mem::take)
        {
            return items
                .into_iter()
                .try_for_each(|item| self.take(item, default, file));
        }
        let text = |field: &str| document["metadata"][field].as_str().map(ToOwned::to_owned);
        let name = text("name").unwrap_or_default();
        let namespace = text("namespace").unwrap_or_else(|| default.to_owned());
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        let key = (namespace.clone(), name);
        match kind.as_str() {
            POLICY => {
                if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert("namespace".to_owned(), namespace.into());
                }
                self.policies.push(document);
            }
            "Secret" => {
                let keys = secret_keys(typed(document, &kind, &key, file)?);
                self.secrets.insert(key, keys);
            }
            "Service" => {
                let service = typed(document, &kind, &key, file)?;
                self.services.insert(key, service);
            }
            "EndpointSlice" => {
                let slice: EndpointSlice = typed(document, &kind, &key, file)?;
                let labels = slice.metadata.labels.as_ref();
                if let Some(service) = labels.and_then(|labels| labels.get(labels::SERVICE_NAME)) {
                    self.slices.push(((namespace, service.clone()), slice));
                }
            }
            "ConfigMap" => {
                let data = document["data"].take();
                self.config_maps
                    .insert(key.clone(), typed(data, &kind, &key, file).unwrap_or_default());
            }
            other if other.eq_ignore_ascii_case(POLICY) || is_mistyped(other, POLICY) => {
                self.mistyped.push(other.to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

impl Documents {
    /// A policy as it is declared in the cluster that the files are meant for.
    pub fn declared<'a>(&'a self, object: &'a ReplicaSetPolicy) -> PolicySource<'a> {
        PolicySource::from(object).with_names(&self.names)
    }

    /// Where else than in this namespace the files have a Secret.
    pub fn secret_elsewhere(&self, name: &str, namespace: &str) -> Option<&str> {
        let mut others = self.secrets.keys().filter(|(of, _)| of != namespace);
        others.find(|(_, known)| known == name).map(|(of, _)| of.as_str())
    }
}

/// The documents of a file of YAML or JSON, or of an archive of `kubectl distributary report`; `-`: standard input.
pub fn values(file: &Path) -> Result<Vec<Value>, Error> {
    let text = read(file)?;
    let file = file.display();
    yaml::values(&text).map_err(|malformed| match malformed {
        Malformed::Twice(paths) => {
            let told = |path| format!("{file}: {path}: the key is there twice: write it once");
            Error::Invalid(paths.into_iter().map(told).collect())
        }
        Malformed::Syntax(position) => Error::invalid(match (tab(&text), position) {
            (Some(line), _) => {
                format!("{file}, line {line}: the line begins with a tab: YAML is indented with spaces")
            }
            (None, Some((line, column))) => {
                format!("{file}, line {line}, column {column}: this is neither YAML nor JSON")
            }
            (None, None) => format!("{file}: this is neither YAML nor JSON"),
        }),
    })
}

/// The first line that is indented with a tab, in a text that is no JSON.
fn tab(text: &str) -> Option<usize> {
    let is_json = text.trim_start().starts_with(['{', '[']);
    let indented = |line: &str| line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty();
    let at = text.lines().position(indented).filter(|_| !is_json)?;
    Some(at + 1)
}

pub fn read(file: &Path) -> Result<String, Error> {
    let unreadable = |error| Error::Unreadable(file.to_owned(), error);
    let mut bytes = vec![];
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        bytes = std::fs::read(file).map_err(unreadable)?;
    }
    if archive::is_one(&bytes) {
        return archive::objects(&bytes).map_err(unreadable);
    }
    let text = String::from_utf8(bytes);
    text.map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))
}

fn typed<T: DeserializeOwned>(document: Value, kind: &str, name: &Name, file: &Path) -> Result<T, Error> {
    serde_json::from_value(document).map_err(|_| {
        let must = if kind == "Secret" {
            "data must be base64, and stringData must be text"
        } else {
            "it does not match the schema of its kind"
        };
        Error::invalid(format!("{}: {kind} {}: {must}", file.display(), name.1))
    })
}

/// What is written as text goes before what is written as base64, as in the API server.
pub fn secret_keys(secret: Secret) -> SecretKeys {
    let data = secret.data.unwrap_or_default().into_iter();
    let mut keys: BTreeMap<_, _> = data.map(|(key, value)| (key, value.0)).collect();
    let texts = secret.string_data.unwrap_or_default().into_iter();
    keys.extend(texts.map(|(key, text)| (key, text.into_bytes())));
    SecretKeys::annotated(keys, secret.metadata.annotations.as_ref())
}
