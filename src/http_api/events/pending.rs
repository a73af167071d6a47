//! What changed since the last look. Pure.

use std::collections::BTreeSet;

use distributary_core::ids::PolicyKey;

use crate::engine::Changed;

/// Of which policies something is another one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pending {
    /// Of every one; the others do not matter then.
    pub everything: bool,
    pub namespaces: BTreeSet<String>,
    pub policies: BTreeSet<PolicyKey>,
}

impl Pending {
    #[must_use]
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    pub fn add(&mut self, changed: Changed) {
        match changed {
            Changed::Policy(key) => drop(self.policies.insert(key)),
            Changed::Namespace(namespace) => drop(self.namespaces.insert(namespace)),
            Changed::Everything => self.everything = true,
        }
    }

    /// The policies to look at: of those that `shown` gives for a namespace, or for all of them, and of those that were `told`.
    pub fn keys<'a>(
        &self,
        scope: Option<&str>,
        told: impl Iterator<Item = &'a PolicyKey>,
        shown: impl Fn(Option<&str>) -> BTreeSet<PolicyKey>,
    ) -> BTreeSet<PolicyKey> {
        let mut keys = if self.everything {
            shown(scope)
        } else {
            let namespaces = self.namespaces.iter().map(|namespace| Some(&**namespace));
            let mut keys: BTreeSet<_> = namespaces.flat_map(shown).collect();
            keys.extend(self.policies.iter().cloned());
            keys
        };
        let is_meant = |key: &&PolicyKey| self.everything || self.namespaces.contains(&key.namespace);
        keys.extend(told.filter(is_meant).cloned());
        keys.retain(|key| scope.is_none_or(|scope| key.namespace == scope));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looked_at_is_what_may_be_another_one_and_no_more() {
        let key = |of: &str, name: &str| PolicyKey::new(of, name);
        let all = [key("a", "x"), key("a", "y"), key("b", "x"), key("b", "z")];
        let shown = |scope: Option<&str>| {
            let own = all
                .iter()
                .filter(|key| scope.is_none_or(|scope| key.namespace == scope));
            own.cloned().collect::<BTreeSet<_>>()
        };
        let told = [key("a", "gone"), key("b", "gone")];
        let keys = |changed: &[Changed], scope: Option<&str>| {
            let mut pending = Pending::default();
            changed.iter().cloned().for_each(|changed| pending.add(changed));
            let keys = pending.keys(scope, told.iter(), shown);
            keys.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let of_a = Changed::Namespace("a".to_owned());
        let x = Changed::Policy(key("b", "x"));
        assert!(keys(&[], None).is_empty());
        assert_eq!(keys(std::slice::from_ref(&x), None), ["b/x"]);
        assert_eq!(
            keys(&[x.clone(), of_a.clone()], None),
            ["a/gone", "a/x", "a/y", "b/x"]
        );
        assert_eq!(keys(&[x.clone(), of_a], Some("b")), ["b/x"]);
        assert_eq!(
            keys(&[x, Changed::Everything], Some("b")),
            ["b/gone", "b/x", "b/z"]
        );
        assert_eq!(keys(&[Changed::Everything], None).len(), 6);
    }
}
