//! What is wrong with a policy, in words.

use std::fmt;

/// A rule that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The field, as a path from the root of the object.
    pub field: String,
    /// What must hold: one of [`crate::rules`].
    pub rule: &'static str,
    /// By how much, or of which endpoints, it does not hold, where the field alone does not show that.
    pub figures: Option<String>,
}

impl Problem {
    /// What is told of the field.
    #[must_use]
    pub fn says(&self) -> String {
        match &self.figures {
            Some(figures) => format!("{}: {figures}", self.rule),
            None => self.rule.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.says())
    }
}

/// Of one field and rule.
const FIGURES_AT_MOST: usize = 8;

/// The problems of a policy. What cannot be read is a problem, and a value that breaks no other rule stands for it: so that
/// every other problem is told too.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn require(&mut self, holds: bool, field: impl Into<String>, rule: &'static str) {
        if !holds {
            self.add(Problem {
                field: field.into(),
                rule,
                figures: None,
            });
        }
    }

    /// A field that breaks a rule in several ways is told once, with the figures of all.
    pub(super) fn add(&mut self, problem: Problem) {
        let is_same = |known: &Problem| known.field == problem.field && known.rule == problem.rule;
        let Some(at) = self.0.iter().position(is_same) else {
            self.0.push(problem);
            return;
        };
        let (Some(known), Some(more)) = (self.0.get_mut(at), problem.figures) else {
            return;
        };
        let mut figures: Vec<_> = known.figures.iter().flat_map(|told| told.split(", ")).collect();
        if !figures.contains(&more.as_str()) && figures.len() < FIGURES_AT_MOST {
            figures.push(&more);
            known.figures = Some(figures.join(", "));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the fields.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|problem| order(&problem.field));
        self.0
    }
}

/// The blocks of a policy in the order in which their problems are told.
const BLOCKS: [&str; 13] = [
    "metadata",
    "spec.connection",
    "spec.replicationLag",
    "spec.primary",
    "spec.replicas",
    "endpoint",
    "spec.identity",
    "spec.routing",
    "spec.loadBalancing",
    "spec.healthCheck",
    "spec.circuitBreaker",
    "spec.failover",
    "spec.outputs",
];

/// The block of a field, and its index where the block is a list.
fn order(field: &str) -> (usize, Option<usize>) {
    let block = BLOCKS.iter().position(|block| field.starts_with(block));
    let index = field.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let index = index.and_then(|(index, _)| index.parse().ok());
    (block.unwrap_or(BLOCKS.len()), index)
}
