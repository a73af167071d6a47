//! What many handovers of one way came to.

use std::time::Duration;

use benches::figures::{Times, aim, show};
use serde_json::{Value, json};

use crate::scene::Handover;
use crate::way::Way;

/// The aims: the gap after SIGTERM; the gap beyond the lease after what leaves one; the time of a dead server once another one leads.
const IN_ORDER: Duration = Duration::from_millis(500);
const BEYOND_LEASE: Duration = Duration::from_secs(2);
const OUT: Duration = Duration::from_millis(200);

/// The handovers of one way among so many policies.
#[derive(Default)]
pub struct Outcome {
    /// Until the other one led, with a fault or without.
    led: Times,
    /// How long the server that died at that moment stayed: by a watch, since the other one led, and behind kube-proxy.
    out: Times,
    after: Times,
    proxied: Times,
    /// Handovers without a fault.
    quiet: usize,
    /// What should not have been.
    pub wrong: Vec<String>,
}

impl Outcome {
    /// Adds one in which a server died.
    pub fn add(&mut self, handover: Handover) {
        let death = handover.death.as_ref();
        self.led.push(Some(handover.led));
        self.out.push(death.map(|death| death.out));
        self.after.push(death.map(|death| death.after));
        self.proxied.push(death.map(|death| death.proxied));
        self.wrong.extend(handover.wrong);
    }

    /// Adds one without a fault.
    pub fn add_quiet(&mut self, handover: Handover) {
        self.led.push(Some(handover.led));
        self.quiet += 1;
        self.wrong.extend(handover.wrong);
    }

    pub fn json(&self) -> Value {
        json!({
            "leadsMs": self.led.json(), "gapMs": self.out.json(), "outAfterLeadsMs": self.after.json(),
            "gapBehindKubeProxyMs": self.proxied.json(), "withoutFault": self.quiet, "wrong": self.wrong,
        })
    }

    /// The columns of [`Outcome::row`].
    pub fn head() -> Vec<String> {
        let head = [
            "policies",
            "leader",
            "runs",
            "gap: median",
            "p95",
            "worst",
            "leads: median",
            "worst",
            "out after that: median",
            "worst",
            "behind kube-proxy: median",
            "p95",
            "worst",
            "without fault",
            "wrong",
        ];
        head.map(ToOwned::to_owned).to_vec()
    }

    pub fn row(&self, policies: usize, way: Way) -> Vec<String> {
        let [runs, quiet, wrong] =
            [self.out.count(), self.quiet, self.wrong.len()].map(|number| number.to_string());
        let spread = |times: &Times| {
            [times.median(), times.quantile(0.95), times.worst()]
                .map(show)
                .to_vec()
        };
        let ends = |times: &Times| [times.median(), times.worst()].map(show).to_vec();
        [
            vec![policies.to_string(), way.name().to_owned(), runs],
            spread(&self.out),
            ends(&self.led),
            ends(&self.after),
            spread(&self.proxied),
            vec![quiet, wrong],
        ]
        .concat()
    }

    /// Says which aims were met.
    pub fn aims(&self, policies: usize, way: Way, lease: Duration) {
        let limit = if way.leaves_its_lease() {
            lease + BEYOND_LEASE
        } else {
            IN_ORDER
        };
        let within = |times: &Times, limit: Duration| {
            (times.count() > 0).then(|| times.worst().is_some_and(|worst| worst <= limit))
        };
        let about = format!("{policies} policies, {}", way.name());
        let (gap, after) = (show(self.out.worst()), show(self.after.worst()));
        aim(
            &format!("{about}: a gap of at most {} ({gap})", show(Some(limit))),
            within(&self.out, limit),
        );
        aim(
            &format!(
                "{about}: a dead server is out at most {} after the other one leads ({after})",
                show(Some(OUT))
            ),
            within(&self.after, OUT),
        );
        aim(
            &format!(
                "{about}: no other server for writes, and no write but by the leader and for the fault ({})",
                self.wrong.len()
            ),
            Some(self.wrong.is_empty()),
        );
    }
}
