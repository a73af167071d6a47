//! What befalls servers, the API server and the processes, and its end.

use std::time::Duration;

use distributary::render::Kind;
use distributary::writing::lease::LeaseInput;
use serde_json::json;

use super::super::api::is_slice_of;
use super::super::laws::may_lead;
use super::super::operator::Operator;
use super::super::script::Fault;
use super::super::servers::address;
use super::super::wire::Wire;
use super::{Act, CALM, HELD_UP, Run, millis};

impl Run<'_> {
    pub(super) fn befall(&mut self, fault: Fault) -> Result<(), String> {
        let now = self.now;
        self.calm = self.calm.max(now + millis(fault.lasts()));
        let until = |lasts: u64| now + millis(lasts);
        match fault {
            Fault::Crash { server, lasts } => {
                self.close(server);
                self.servers.crash(server);
                self.push(until(lasts), None, Act::Up(server));
            }
            Fault::Freeze { server, lasts } => {
                self.servers.freeze(server, true);
                self.push(until(lasts), None, Act::Thaw(server));
            }
            Fault::Promote { server } => {
                self.servers.promote(server);
            }
            Fault::Rejoin { server, onto } => {
                let was = self.servers.get(server).clone();
                self.servers.rejoin(server, onto);
                if was.is_primary() {
                    self.close(server);
                }
            }
            Fault::Empty { server } => {
                self.close(server);
                self.servers.empty(server);
            }
            Fault::Stall { server, lasts } => {
                self.servers.stall(server, true);
                self.push(until(lasts), None, Act::Replays(server));
            }
            Fault::Part {
                operator,
                server,
                lasts,
            } => {
                let until = until(lasts);
                self.seats[operator].parted.insert(server, until);
            }
            Fault::Cut { operator, lasts } => self.seats[operator].cut = until(lasts),
            Fault::Outage { lasts } => self.outage = until(lasts),
            Fault::Admission {
                status,
                refuses,
                lasts,
            } => {
                self.admission.insert(status, (refuses, until(lasts)));
                self.calm = self.calm.max(until(lasts) + HELD_UP);
            }
            Fault::Lag { operator, lasts } => self.seats[operator].lags = until(lasts),
            Fault::Compact => self.api.compact(),
            Fault::Terminate { operator, lasts } => {
                self.seats[operator].ends = Some(lasts);
                if self.script.operators > 1 {
                    self.candidate(operator, Some(LeaseInput::Stop))?;
                } else {
                    self.kill(operator, lasts);
                }
            }
            Fault::Pause { operator, lasts } => {
                self.laws.halted();
                let it = &mut self.seats[operator];
                // One that is paused already loses the rest.
                let lost = (now + millis(lasts)).saturating_sub(it.paused.max(now));
                it.paused = it.paused.max(now + millis(lasts));
                it.stopped = it.paused.max(it.stopped);
                // By its clock it has the lease for longer: until it asks for it again, versions and the log alone protect.
                it.wire.lease = None;
                if let Some(operator) = &mut it.operator {
                    operator.loses(lost);
                }
            }
            Fault::Stop { operator, lasts } => {
                self.laws.halted();
                self.seats[operator].stopped = until(lasts);
            }
            Fault::Kill { operator, lasts } => self.kill(operator, lasts),
            Fault::KillAt {
                operator,
                n,
                done,
                lasts,
            } => self.seats[operator].dies = Some((n, done, lasts)),
            Fault::Request { operator, n, fate } => self.seats[operator].fates.push((n, fate)),
            Fault::Meddle { slice, deletes } => self.meddle(slice, deletes),
            Fault::Occupy { service } => self.occupy(service),
        }
        Ok(())
    }

    fn meddle(&mut self, slice: bool, deletes: bool) {
        let kind = if slice {
            Kind::EndpointSlice
        } else {
            Kind::ConfigMap
        };
        // Reads alone: what somebody does to the route of the writes is theirs until it is put back.
        let ours = |object: &serde_json::Value| {
            !object["metadata"]["labels"].is_null() && (!slice || is_slice_of("orders-ro", object))
        };
        let found = self.api.of_kind(kind).find(|(_, object)| ours(object));
        let found = found.map(|(place, object)| (place.clone(), object.clone()));
        let Some((place, mut object)) = found else {
            return;
        };
        if deletes {
            self.api.delete(&place);
        } else {
            object["endpoints"] = json!([{"addresses": ["203.0.113.9"]}]);
            object["data"] = json!({});
            self.api.put(place, object);
        }
        self.laws.meddled();
        self.spread();
    }

    fn occupy(&mut self, service: bool) {
        let kind = if service { Kind::Service } else { Kind::ConfigMap };
        let named = |name: &str| !service || name == "orders-ro";
        let found = self.api.of_kind(kind).find(|(place, _)| named(&place.id.name));
        let Some(place) = found.map(|(place, _)| place.clone()) else {
            return;
        };
        self.api.delete(&place);
        let theirs = json!({"metadata": {"name": place.id.name, "uid": "uid-of-others"}, "spec": {}});
        self.api.put(place.clone(), theirs);
        self.laws.occupied(&self.api, place);
        self.spread();
    }

    pub(super) fn start(&mut self, seat: usize) -> Result<(), String> {
        let it = &mut self.seats[seat];
        if it.operator.is_some() {
            return Ok(());
        }
        let held = it.cut.max(self.outage);
        if self.now < held {
            self.push(held, None, Act::Starts(seat));
            return Ok(());
        }
        it.life += 1;
        it.wakes = None;
        (it.dies, it.watched, it.lags) = (None, false, Duration::ZERO);
        (it.stopped, it.paused) = (Duration::ZERO, Duration::ZERO);
        (it.cursor, it.list) = (Some(self.api.head()), None);
        it.ends = None;
        let several = self.script.operators > 1;
        let identity = several.then(|| format!("operator-{seat}_{}", it.life));
        it.wire = Wire::default();
        it.wire.shown(&self.api.status_version(), &self.api.status);
        let mut operator = Operator::starts(self.case, seat, identity, self.now);
        let mut orders = operator.takes(self.api.listed(), Vec::new(), self.now);
        orders.extend(operator.reads(&self.api, self.now));
        orders.extend(operator.candidate(Some(LeaseInput::MayStand), self.now));
        operator.choices.clear();
        it.operator = Some(operator);
        self.say(format!("operator {seat} starts"));
        self.obey(seat, orders)
    }

    pub(super) fn kill(&mut self, seat: usize, lasts: u64) {
        self.laws.halted();
        let it = &mut self.seats[seat];
        it.operator = None;
        it.life += 1;
        it.dies = None;
        it.fates.clear();
        self.push(self.now + millis(lasts), None, Act::Starts(seat));
    }

    /// All faults end; which server takes the writes then.
    pub(super) fn heal(&mut self) -> usize {
        self.say("all faults end".to_owned());
        self.outage = Duration::ZERO;
        for (_, until) in self.admission.values_mut() {
            *until = self.now.min(*until);
        }
        let status = &self.api.status;
        let is_known = |id: usize| may_lead(status, &address(id).to_string());
        let (best, leads) = self.servers.heal(is_known);
        self.say(format!("server {best} is the primary, leads: {leads}"));
        if !leads {
            self.close(best);
            self.push(self.now + CALM, None, Act::Fault(Fault::Promote { server: best }));
        }
        for place in self.laws.freed() {
            self.api.delete(&place);
        }
        self.spread();
        let now = self.now;
        for seat in 0..self.seats.len() {
            let it = &mut self.seats[seat];
            (it.stopped, it.cut, it.lags, it.dies) = (now.max(it.paused), now, now, None);
            it.parted.clear();
            it.fates.clear();
            self.push(now, None, Act::Starts(seat));
        }
        best
    }
}
