//! Words: how values are written to the cluster, to files and metrics, and read back. A word that was published stays.

/// Gives enums their words. An enum derives strum's `IntoStaticStr`, with `const_into_str`, and `VariantArray`; the word of a
/// variant is its name, unless strum's attributes say otherwise.
macro_rules! words {
    ($($name:ident),+ $(,)?) => { $(
        impl $name {
            /// Every value, as declared.
            pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                self.into_str()
            }

            /// The value of a word; `None`: it is of another version.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                Self::from_word(&word).ok_or_else(|| $crate::words::unknown(&word, Self::ALL))
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": Self::ALL})
            }
        }
    )+ };
}

pub(crate) use words;

/// What a reader is told of a word that no value has, as serde tells it.
pub(crate) fn unknown<E: serde::de::Error>(word: &str, known: &[impl std::fmt::Display]) -> E {
    let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
    let expected = match known.as_slice() {
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", known.join(", ")),
    };
    E::custom(format!("unknown variant `{word}`, expected {expected}"))
}

#[cfg(test)]
mod tests;
