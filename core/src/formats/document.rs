//! What a format gives.

/// A text and its name: a key and its value in the ConfigMap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document {
    /// A valid key of a ConfigMap: letters, digits, `-`, `_` and `.`.
    pub name: String,
    pub text: String,
}

impl Document {
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}
