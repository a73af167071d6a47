//! Writes that the API server refused, in its own words.

/// The API server's own words are cut at so many characters, escapes included.
const LONGEST: usize = 256;

/// Why a request failed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Refusal {
    /// For machines.
    pub category: &'static str,
    /// What the API server says against it, or what is known where it said nothing.
    pub message: String,
}

impl Refusal {
    /// `message` comes from elsewhere: it is cut, and what is not printable is escaped.
    #[must_use]
    pub fn new(category: &'static str, message: &str) -> Self {
        // One character more than is shown tells that something is left out.
        let mut shown: Vec<char> = message.chars().take(LONGEST + 1).flat_map(shown).collect();
        if shown.len() > LONGEST {
            shown.truncate(LONGEST - 1);
            shown.push('…');
        }
        let shown = shown.into_iter().collect();
        Self {
            category,
            message: shown,
        }
    }

    /// Whether waiting does not help: a person must change something.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        matches!(
            self.category,
            "Forbidden" | "Unauthorized" | "Invalid" | "NotStored"
        )
    }
}

/// A character as it is, a control character as an escape.
fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control();
    let plain = (!escaped).then_some(character);
    let escape = escaped.then(|| character.escape_default()).into_iter().flatten();
    plain.into_iter().chain(escape)
}

/// A write that failed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RefusedWrite {
    /// As `Service orders-ro`.
    pub object: String,
    pub verb: &'static str,
    pub refusal: Refusal,
}

impl RefusedWrite {
    /// As `create Service orders-ro: Forbidden (exceeded quota: …)`.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            object,
            verb,
            refusal,
        } = self;
        format!("{verb} {object}: {} ({})", refusal.category, refusal.message)
    }
}
