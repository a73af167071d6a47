//! Whether a server may take over the writes, as its status says.

use serde_json::Value;

use crate::cli::endpoints::Row;
use crate::render::advice;
use distributary_api::HolderStatus;
use distributary_core::health::Reason;
use distributary_core::observation::Role;
use distributary_core::write_primary::Obstacle;

/// What a server would do about the writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takeover<'a> {
    /// It takes them, or took them last.
    Holder,
    /// It takes writes, and takes over where the holder does not any more.
    May,
    OncePromoted,
    /// The same, and it has log that the write primary lacks.
    Diverged,
    /// In a word of the status.
    Cannot(&'a str),
    /// It has told no role.
    Unknown,
}

impl<'a> Takeover<'a> {
    pub fn of(row: &'a Row, holder: Option<&HolderStatus>) -> Self {
        let holds = |holder: &HolderStatus| {
            let is_pod = row.is_of(&holder.endpoint) && row.address == holder.address;
            let other_name = row.server.same_server_as.as_ref() == Some(&holder.endpoint);
            row.id == holder.endpoint || is_pod || other_name
        };
        match (&row.server.cannot_take_over, Role::from_word(&row.server.role)) {
            (Some(word), _) => Self::Cannot(word),
            (None, Some(Role::Primary)) if holder.is_some_and(holds) => Self::Holder,
            (None, Some(Role::Primary)) => Self::May,
            (None, Some(Role::Standby))
                if Reason::from_word(&row.server.reason) == Some(Reason::Diverged) =>
            {
                Self::Diverged
            }
            (None, Some(Role::Standby)) => Self::OncePromoted,
            (None, None) => Self::Unknown,
        }
    }

    pub fn sentence(self) -> String {
        match self {
            Self::Holder => "is the write primary".to_owned(),
            Self::May => {
                "yes, when the write primary is lost or becomes a standby, and no other server may".to_owned()
            }
            Self::OncePromoted => "yes, once it is promoted".to_owned(),
            Self::Diverged => {
                "yes, once it is promoted; but it lacks, or has in addition, writes of the write primary: do not promote it".to_owned()
            }
            Self::Cannot(word) => match Obstacle::from_word(word) {
                Some(obstacle) => format!("no, {word}: {}", advice::of_obstacle(obstacle)),
                None => format!("no, {word}"),
            },
            Self::Unknown => "unknown: it has told no role".to_owned(),
        }
    }

    /// Whether it may; null: it is the write primary, or that is not known.
    pub fn document(self) -> Value {
        match self {
            Self::Holder | Self::Unknown => Value::Null,
            Self::May | Self::OncePromoted | Self::Diverged => true.into(),
            Self::Cannot(_) => false.into(),
        }
    }
}
