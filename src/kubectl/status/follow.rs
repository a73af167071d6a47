//! A status as it changes: by the stream of the operator, or else by a watch of the policy.

use std::time::Duration;

use futures::StreamExt;

use super::Arguments;
use super::view::View;
use crate::cli::ExitStatus;
use crate::clock::Clock;
use crate::http_api::answers::PolicyAnswer;
use crate::kubectl::cluster::{Cluster, Policy};
use crate::kubectl::error::Error;
use crate::kubectl::live::Live;
use crate::kubectl::{output, watching};

/// Figures alone are no change that the stream tells: on a terminal they are asked for.
const FIGURES: Duration = Duration::from_secs(2);
/// How often, and after which time, the API server is asked once more.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Until it is interrupted, or the policy is gone.
pub async fn run(cluster: &Cluster, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let (name, namespace) = (&arguments.name, &cluster.namespace);
    // That there is none, or that it may not be read, is said before anything else.
    cluster.policy(name).await?;
    let mut screen = Screen {
        arguments,
        shown: None,
    };
    let open = async |live: &Live| live.events(namespace, name).await;
    let idle = async || figures(cluster, arguments).await;
    // The object has the times, and its conditions.
    let take = async |told: PolicyAnswer| screen.show(View::new(&read(cluster, name).await?, Some(&told)));
    arguments.live.follow(cluster, open, idle, take).await?;
    by_watch(cluster, &mut screen).await
}

/// The policy as it is now. Who follows it outlives an API server that starts again.
async fn read(cluster: &Cluster, name: &str) -> Result<Policy, Error> {
    let mut left = TRIES;
    loop {
        match cluster.policy(name).await {
            Err(why) if why.passes() && left > 0 => {
                left -= 1;
                Clock::sleep(PAUSE).await;
            }
            read => return read,
        }
    }
}

/// The policy with its figures of now; never, where nobody would see them.
async fn figures(cluster: &Cluster, arguments: &Arguments) -> PolicyAnswer {
    loop {
        Clock::sleep(FIGURES).await;
        if !arguments.output.is_redrawn() {
            continue;
        }
        let (namespace, name) = (&cluster.namespace, &arguments.name);
        let asked = async { arguments.live.find(cluster).await?.policy(namespace, name).await };
        // What is wrong the stream says.
        if let Ok(told) = asked.await {
            return told;
        }
    }
}

/// What was shown last.
struct Screen<'a> {
    arguments: &'a Arguments,
    shown: Option<View>,
}

impl Screen<'_> {
    fn show(&mut self, view: View) -> Result<(), Error> {
        let is_same = self.shown.as_ref().is_some_and(|shown| shown.is_same(&view));
        if is_same && !self.arguments.output.is_redrawn() {
            return Ok(());
        }
        let Arguments { name, output, .. } = self.arguments;
        output::next(self.shown.is_some(), output)?;
        let text = || view.text(output.is_wide());
        output.tell(&view.document(), [name.as_str()], text)?;
        self.shown = Some(view);
        Ok(())
    }
}

async fn by_watch(cluster: &Cluster, screen: &mut Screen<'_>) -> Result<ExitStatus, Error> {
    let name = &screen.arguments.name;
    // Says that there is none, or that it may not be read.
    screen.show(View::new(&read(cluster, name).await?, None))?;
    let mut changes = Box::pin(watching::policy(cluster.policies(), name));
    while let Some(object) = changes.next().await {
        screen.show(View::new(&object?, None))?;
    }
    Ok(ExitStatus::Well)
}
