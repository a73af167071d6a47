//! Server-sent events, as the HTTP API sends them.

use std::marker::PhantomData;

use axum::body::Body;
use futures::StreamExt;
use tokio::time::timeout;

use super::{WHOLE, other_version, silent, unanswered};
use crate::http_api::answers::{PoliciesChange, PoliciesSnapshot, PolicyAnswer, PolicyItem, PolicyName};
use crate::http_api::problem::Problem;
use crate::kubectl::error::Error;

/// Bytes of one event: at first it has all policies, each with less than 2 KiB.
const LONGEST: usize = 64 << 20;

/// What the stream of all policies tells.
#[derive(Debug)]
pub enum FleetEvent {
    /// All of them, and there are no others.
    All(Vec<PolicyItem>),
    /// Some.
    Changed {
        /// Those that are new, or another one.
        items: Vec<PolicyItem>,
        /// Those that are gone.
        removed: Vec<PolicyName>,
    },
}

/// Why a stream tells nothing more.
#[derive(Debug)]
pub enum Stopped {
    /// The operator has ended it, and says why.
    Ended(Problem),
    /// It broke off, is silent, or is of another version.
    Broken(Error),
}

/// An event of a stream, by its name.
pub trait Told: Sized {
    /// `None`: an event of a later version.
    fn read(name: &str, data: &str) -> serde_json::Result<Option<Self>>;
}

/// The policy as it is now.
impl Told for PolicyAnswer {
    fn read(name: &str, data: &str) -> serde_json::Result<Option<Self>> {
        let is_told = matches!(name, "snapshot" | "change");
        is_told.then(|| serde_json::from_str(data)).transpose()
    }
}

impl Told for FleetEvent {
    fn read(name: &str, data: &str) -> serde_json::Result<Option<Self>> {
        Ok(match name {
            "snapshot" => Some(Self::All(serde_json::from_str::<PoliciesSnapshot>(data)?.items)),
            "change" => {
                let PoliciesChange { items, removed, .. } = serde_json::from_str(data)?;
                Some(Self::Changed { items, removed })
            }
            _ => None,
        })
    }
}

/// The events of a stream.
pub struct Events<T> {
    body: axum::body::BodyDataStream,
    lines: Lines,
    told: PhantomData<T>,
}

/// Text that arrives in pieces.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The next whole event: what stands before an empty line.
    fn event(&mut self) -> Option<String> {
        let end = self.0.windows(2).position(|pair| pair == b"\n\n")?;
        let event: Vec<_> = self.0.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&event[..end]).into_owned())
    }
}

impl<T: Told> Events<T> {
    pub fn of(body: Body) -> Self {
        Self {
            body: body.into_data_stream(),
            lines: Lines::default(),
            told: PhantomData,
        }
    }

    /// The next event; `None`: the stream has ended without a word.
    ///
    /// # Errors
    /// It was ended, broke off, or is silent.
    pub async fn next(&mut self) -> Result<Option<T>, Stopped> {
        loop {
            while let Some(text) = self.lines.event() {
                if let Some(event) = read(&text)? {
                    return Ok(Some(event));
                }
            }
            if self.lines.0.len() > LONGEST {
                let endless = "the stream of the operator has an event without an end";
                return Err(Stopped::Broken(Error::said(endless)));
            }
            match timeout(WHOLE, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.lines.0.extend_from_slice(&bytes),
                Ok(Some(Err(error))) => return Err(Stopped::Broken(unanswered(&error))),
                Ok(None) => return Ok(None),
                Err(_) => return Err(Stopped::Broken(silent())),
            }
        }
    }
}

/// `None`: a comment, or an event of a later version.
fn read<T: Told>(text: &str) -> Result<Option<T>, Stopped> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let (Some(name), Some(data)) = (field("event"), field("data")) else {
        return Ok(None);
    };
    let wrong = |error| Stopped::Broken(other_version(&error));
    if name == "end" {
        return Err(Stopped::Ended(serde_json::from_str(data).map_err(wrong)?));
    }
    T::read(name, data).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_read_whatever_pieces_they_arrive_in() {
        let text = ": alive\n\nevent: later\ndata: {}\n\nevent: end\ndata: {\"code\":404,\"reason\":\"NotFound\",\"message\":\"gone\"}\n\n";
        for size in [1, 7, text.len()] {
            let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec);
            let pieces: Vec<Result<_, std::io::Error>> = pieces.map(Ok).collect();
            let mut events = Events::<PolicyAnswer>::of(Body::from_stream(futures::stream::iter(pieces)));
            let Err(Stopped::Ended(problem)) = events.next().await else {
                panic!("an end");
            };
            assert_eq!(problem.code, 404);
            assert!(events.next().await.unwrap().is_none());
        }
    }
}
