//! Whose an object is: what the policy controls, and what it may adopt.
//!
//! An object has lost its policy when that was deleted with its objects orphaned or retained, or when a backup brought both
//! back: it has no controller, carries our labels and the name of a policy, and the uid of one that is no more. The
//! policy of that name takes it over as it is, so that no route is empty meanwhile.
//!
//! A policy that is being deleted is routed on while finalizers keep it, with the objects that are left: the garbage collector
//! may be deleting them, or taking their owner away, and neither is undone.

use std::collections::BTreeMap;

use super::order::{Step, StepChange};
use crate::render::Kind;
use crate::render::reading::ObservedObject;
use distributary_core::ids::PolicyKey;
use distributary_core::seeded::SeededFault;

/// A policy, beside those that there are.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub key: &'a PolicyKey,
    pub uid: &'a str,
    /// The uids of all policies.
    pub living: &'a BTreeMap<String, PolicyKey>,
    /// It is being deleted.
    pub deleting: bool,
}

impl Owner<'_> {
    /// Whether the policy controls an object.
    pub fn controls<B>(&self, object: &ObservedObject<B>) -> bool {
        object.policy.as_deref() == Some(self.uid)
    }

    /// Whether the policy may write to an object, if it needs one of its name.
    pub fn may_write<B>(&self, object: &ObservedObject<B>) -> bool {
        self.controls(object) || self.may_adopt(object) || SeededFault::ForeignOverwritten.is_on()
    }

    pub fn may_adopt<B>(&self, object: &ObservedObject<B>) -> bool {
        let lives = |uid: &String| self.living.contains_key(uid);
        !self.deleting
            && object.lost_by.as_ref() == Some(self.key)
            && !object.policy.as_ref().is_none_or(lives)
    }

    /// Whether the policy may do this: one that is being deleted makes nothing, and deletes nothing but slices.
    pub fn may_do<B>(&self, step: &Step<B>) -> bool {
        let may = match &step.change {
            StepChange::Create(_) => false,
            StepChange::Put { .. } => true,
            StepChange::Delete { .. } => step.id.kind == Kind::EndpointSlice,
        };
        may || !self.deleting
    }
}
