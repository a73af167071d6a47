//! How a leader goes, and how it comes back.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use harness::Operator;
use nix::sys::signal::Signal;

/// How long a process may take to end after SIGTERM.
const END: Duration = Duration::from_mins(1);

/// A way in which the leader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// SIGTERM: it ends in order.
    Sigterm,
    /// SIGKILL.
    Kill,
    /// SIGSTOP, until another one leads.
    Freeze,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sigterm, Self::Kill, Self::Freeze];

    /// Lets the leader go.
    pub fn goes(self, leader: &Operator) -> Result<()> {
        match self {
            Self::Sigterm => leader.daemon().signal(Signal::SIGTERM),
            Self::Kill => leader.daemon().signal(Signal::SIGKILL),
            Self::Freeze => leader.daemon().freeze(),
        }
    }

    /// Brings it back: a frozen one goes on, and the others are started again.
    pub async fn returns(self, gone: &Operator) -> Result<()> {
        if self == Self::Freeze {
            return gone.daemon().thaw();
        }
        gone.daemon().end(END).await?;
        gone.start_again().await
    }

    /// Whether the others must wait until its lease has expired.
    pub const fn leaves_its_lease(self) -> bool {
        matches!(self, Self::Kill | Self::Freeze)
    }

    /// The name of it, as in WAYS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
        }
    }
}

impl FromStr for Way {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|way| way.name() == text);
        known.ok_or_else(|| format!("there is no way {text:?}"))
    }
}
