//! A status as it changes: by the stream of the operator, or else by a watch of the policy.

use futures::StreamExt;

use super::Arguments;
use super::view::View;
use crate::cli::ExitStatus;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;
use crate::kubectl::live::{self, Event, Live};
use crate::kubectl::{output, watching};

/// Until it is interrupted, or the policy is gone.
pub async fn run(cluster: &Cluster, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let mut screen = Screen {
        arguments,
        shown: None,
    };
    if let Some(live) = arguments.live.open(cluster).await? {
        match by_stream(cluster, &live, &mut screen).await {
            Err(why) if arguments.live.is_named() => return Err(why),
            Err(why) => live::missing(&why),
            Ok(()) => {}
        }
    }
    by_watch(cluster, &mut screen).await
}

/// What was shown last.
struct Screen<'a> {
    arguments: &'a Arguments,
    shown: Option<View>,
}

impl Screen<'_> {
    fn show(&mut self, view: View) -> Result<(), Error> {
        if self.shown.as_ref().is_some_and(|shown| shown.is_same(&view)) {
            return Ok(());
        }
        output::next(self.shown.is_some(), &self.arguments.output)?;
        self.arguments.show(&view)?;
        self.shown = Some(view);
        Ok(())
    }
}

/// Follows the operator's stream, also into a new leader; ends where nobody answers any more.
async fn by_stream(cluster: &Cluster, live: &Live, screen: &mut Screen<'_>) -> Result<(), Error> {
    let name = &screen.arguments.name;
    let mut events = live.events(&cluster.namespace, name).await?;
    let mut broken = 0;
    loop {
        match events.next().await {
            // The object has the times, and its conditions.
            Ok(Some(Event::Policy(told))) => {
                broken = 0;
                screen.show(View::new(&cluster.policy(name).await?, Some(&told)))?;
            }
            Ok(Some(Event::End(problem))) => return Err(Error::said(problem.message)),
            Err(why) if broken == live::BREAKS => return Err(why),
            Ok(None) | Err(_) => {
                broken += 1;
                let again = async || {
                    let live = screen.arguments.live.find(cluster).await?;
                    live.events(&cluster.namespace, name).await
                };
                events = live::again(again).await?;
            }
        }
    }
}

async fn by_watch(cluster: &Cluster, screen: &mut Screen<'_>) -> Result<ExitStatus, Error> {
    let name = &screen.arguments.name;
    // Says that there is none, or that it may not be read.
    screen.show(View::new(&cluster.policy(name).await?, None))?;
    let mut changes = Box::pin(watching::policy(cluster, name));
    while let Some(object) = changes.next().await {
        screen.show(View::new(&object?, None))?;
    }
    Ok(ExitStatus::Well)
}
