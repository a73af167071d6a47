//! PURE. A policy as a program gives it, and what is wrong with it.

use std::collections::BTreeMap;

use distributary_api::validate::{self, Declaration, PolicySource, SecretKeys, Services};
use distributary_api::{Failover, ReplicaSetPolicySpec};
use distributary_core::cluster::Cluster;
use distributary_core::login::SecretProblem;
use distributary_core::policy::{Mode, PrimaryRole};
use distributary_core::resolved::ResolvedEndpoint;

use crate::error::SettingsError;

/// Names the policy in errors and logs.
const NAMESPACE: &str = "embedded";

/// The keys and values of Secrets, by their names.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A policy as the program gives it.
#[derive(Clone)]
pub struct Declared {
    pub name: String,
    pub spec: ReplicaSetPolicySpec,
    pub secrets: Secrets,
}

/// What asks for a new declaration: both grow.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub generation: i64,
    /// Checks of all servers are asked for when it grows; 0: never were.
    pub check: u64,
}

impl Declared {
    /// Without a word on failover it is Pinned where nothing is remembered, and follows promotions where something is.
    #[must_use]
    pub fn settled(mut self, remembers: bool) -> Self {
        if !remembers {
            self.spec.failover.get_or_insert_with(|| Failover {
                primary_role: PrimaryRole::Pinned,
                ..Failover::default()
            });
        }
        self
    }

    /// What is wrong with it, by its fields, or with its Secrets, by their names.
    pub fn problems(&self) -> Vec<(String, String)> {
        let source = self.source(1, None);
        let wrong = validate::policy(source).err().unwrap_or_default();
        if !wrong.is_empty() {
            let told = wrong
                .iter()
                .map(|problem| (problem.field.clone(), problem.says()));
            return told.collect();
        }
        let endpoints = validate::resolve(source, &self.known(), &Services::new());
        let refused = endpoints.values().flat_map(ResolvedEndpoint::problems);
        refused
            .map(|refused| {
                let says = match &refused.problem {
                    SecretProblem::Malformed { must, .. } => (*must).to_owned(),
                    problem => problem.to_string(),
                };
                (refused.secret.clone(), says)
            })
            .collect()
    }

    /// The valid policy, with what its Secrets say.
    ///
    /// # Errors
    /// What is wrong with it; that it follows promotions, and nothing is remembered.
    pub fn declaration(&self, asked: Asked, remembers: bool) -> Result<Declaration, SettingsError> {
        let requested = asked.check.to_string();
        let source = self.source(asked.generation, (asked.check > 0).then_some(requested.as_str()));
        let words = |problems: Vec<validate::Problem>| {
            SettingsError::Policy(problems.iter().map(ToString::to_string).collect())
        };
        let failover = self.spec.failover.as_ref();
        let follows = failover.is_none_or(|failover| failover.primary_role == PrimaryRole::Follow);
        if follows && !remembers {
            return Err(SettingsError::FollowWithoutMemory);
        }
        if self.spec.mode != Mode::Enforce {
            return Err(SettingsError::Policy(vec![
                "spec.mode: must be Enforce: the routes of an embedded policy are its own".to_owned(),
            ]));
        }
        let valid = validate::policy(source).map_err(words)?;
        let endpoints = validate::resolve(source, &self.known(), &Services::new());
        let wrong: Vec<_> = endpoints.values().flat_map(ResolvedEndpoint::problems).collect();
        if !wrong.is_empty() {
            return Err(SettingsError::Policy(
                wrong.iter().map(ToString::to_string).collect(),
            ));
        }
        Ok(valid.with(endpoints, Cluster::default()))
    }

    fn source<'a>(&'a self, generation: i64, check_requested: Option<&'a str>) -> PolicySource<'a> {
        PolicySource {
            namespace: NAMESPACE,
            name: &self.name,
            uid: NAMESPACE,
            generation,
            check_requested,
            spec: &self.spec,
            names: None,
        }
    }

    fn known(&self) -> validate::Secrets {
        let one = |(name, keys): (&String, &BTreeMap<String, Vec<u8>>)| {
            (name.clone(), Ok::<_, SecretProblem>(SecretKeys(keys.clone())))
        };
        self.secrets.iter().map(one).collect()
    }
}
