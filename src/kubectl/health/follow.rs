//! The lines of policies as they change: by the stream of the operator, or else by a watch of the policies.

use std::collections::BTreeSet;

use futures::StreamExt;
use kube::core::DynamicObject;

use super::{Arguments, Line, document, table};
use crate::cli::ExitStatus;
use crate::http_api::answers::PolicyItem;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::{Error, note};
use crate::kubectl::listed::Listed;
use crate::kubectl::live::{FleetEvent, Live};
use crate::kubectl::output::deleted;
use crate::kubectl::watching::{self, Change};
use distributary_core::ids::PolicyKey;

/// Until it is interrupted. `shown`: the lines of the table.
pub async fn run(cluster: &Cluster, arguments: &Arguments, shown: Vec<Line>) -> Result<ExitStatus, Error> {
    let mut screen = Screen { arguments, shown };
    let namespace = arguments.scope.namespace(cluster);
    let open = async |live: &Live| live.fleet_events(namespace).await;
    let take = async |event: FleetEvent| screen.hear(event);
    arguments
        .live
        .follow(cluster, open, std::future::pending, take)
        .await?;
    let mut changes = std::pin::pin!(watching::policies(cluster, namespace));
    while let Some(change) = changes.next().await {
        match change? {
            Change::All(objects) => {
                let lines: Vec<_> = objects.iter().filter_map(Line::of_object).collect();
                let keys = lines.iter().map(Line::key);
                let left: BTreeSet<_> = keys
                    .map(|(namespace, name)| PolicyKey::new(namespace, name))
                    .collect();
                screen.lose(|_, own| !left.contains(own));
                screen.take(lines)?;
            }
            Change::Is(object) => screen.take(Line::of_object(&object).into_iter().collect())?,
            Change::Gone(key) => screen.lose(|_, own| *own == key),
        }
    }
    Ok(ExitStatus::Well)
}

/// The lines so far: a changed one is as wide as they are.
struct Screen<'a> {
    arguments: &'a Arguments,
    shown: Vec<Line>,
}

impl Screen<'_> {
    fn hear(&mut self, event: FleetEvent) -> Result<(), Error> {
        let items = match event {
            FleetEvent::All(items) => {
                let left: BTreeSet<_> = items
                    .iter()
                    .map(|item| PolicyKey::new(&item.namespace, &item.name))
                    .collect();
                // An operator may serve some of the namespaces alone.
                self.lose(|line, own| line.live.is_some() && !left.contains(own));
                items
            }
            FleetEvent::Changed { items, removed } => {
                let removed: BTreeSet<_> = removed
                    .into_iter()
                    .map(|gone| PolicyKey::new(gone.namespace, gone.name))
                    .collect();
                self.lose(|_, own| removed.contains(own));
                items
            }
        };
        self.take(items.into_iter().map(Line::of).collect())
    }

    /// Shows those of the lines that are another one than was shown.
    fn take(&mut self, lines: Vec<Line>) -> Result<(), Error> {
        let mut changed = Vec::new();
        for line in lines {
            let place = self.shown.iter().position(|shown| shown.key() == line.key());
            match place {
                Some(place) if self.shown[place].essence() == line.essence() => {
                    self.shown[place] = line;
                    continue;
                }
                Some(place) => self.shown[place] = line,
                None => self.shown.push(line),
            }
            changed.push(place.unwrap_or(self.shown.len() - 1));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let Arguments { scope, output, .. } = self.arguments;
        let of_changed: Vec<_> = changed.iter().map(|place| &self.shown[*place]).collect();
        let names = of_changed.iter().map(|line| line.listed.metadata.name.as_str());
        let text = || {
            let whole = table(&self.shown, scope.all_namespaces, output.is_wide());
            let lines: Vec<_> = whole.lines().skip(1).collect();
            changed
                .iter()
                .filter_map(|place| Some(format!("{}\n", lines.get(*place)?)))
                .collect()
        };
        output.tell(&document(of_changed.iter().copied()), names, text)
    }

    /// Forgets those that were deleted, and says so.
    fn lose(&mut self, is_gone: impl Fn(&Line, &PolicyKey) -> bool) {
        self.shown.retain(|line| {
            let (namespace, name) = line.key();
            let is_gone = is_gone(line, &PolicyKey::new(namespace, name));
            if is_gone {
                note(&deleted(namespace, name));
            }
            !is_gone
        });
    }
}

impl Line {
    fn of(item: PolicyItem) -> Self {
        Self {
            listed: Listed::of(&item),
            live: Some(item),
        }
    }

    /// `None`: it is of another version.
    fn of_object(object: &DynamicObject) -> Option<Self> {
        let listed = serde_json::to_value(object).and_then(serde_json::from_value::<Listed>);
        Some(Self {
            listed: listed.ok()?,
            live: None,
        })
    }

    fn key(&self) -> (&str, &str) {
        (&self.listed.metadata.namespace, &self.listed.metadata.name)
    }

    /// Where it differs, the line is another one.
    fn essence(&self) -> [String; 4] {
        let (told, primary) = (self.listed.status.telling(), self.listed.status.primary.as_ref());
        [
            self.listed.status.ready().to_owned(),
            self.replicas_text(),
            told.map(|it| it.reason.clone()).unwrap_or_default(),
            primary.map(|primary| primary.id.clone()).unwrap_or_default(),
        ]
    }
}
