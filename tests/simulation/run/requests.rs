//! The way to the API server and back: requests, answers, the lease, watches.

use std::time::Duration;

use distributary::render::Kind;
use distributary::render::reading::{Text, Version};
use distributary::writing::lease::{LeaseAnswer, LeaseCall, LeaseInput, LeaseRequest};
use distributary::writing::{Answer, Call, FlightId, Input};

use super::super::api::{self, refused, unknown};
use super::super::script::Fate;
use super::{Act, Run, millis};

impl Run<'_> {
    pub(super) fn send(&mut self, seat: usize, flight: FlightId, call: Call<Text>, deadline: Duration) {
        let last = match &mut self.seats[seat].dies {
            Some((n, done, lasts)) => {
                *n = n.saturating_sub(1);
                (*n == 0).then_some((*done, *lasts))
            }
            None => None,
        };
        if let Some((false, lasts)) = last {
            self.say(format!("operator {seat} ends before {}", words(&call)));
            self.seen.ends += 1;
            self.kill(seat, lasts);
            return;
        }
        let mut fate = None;
        for (n, of) in &mut self.seats[seat].fates {
            *n = n.saturating_sub(1);
            if *n == 0 && fate.is_none() {
                fate = Some(*of);
            }
        }
        self.seats[seat].fates.retain(|(n, _)| *n > 0);
        let fate = fate.or_else(|| self.admitted(&call));
        let until = self.now + deadline;
        let takes = millis(1 + self.chance(10));
        let fate_words = fate.map(|fate| format!(" {fate:?}")).unwrap_or_default();
        self.say(format!("operator {seat} sends {}{fate_words}", words(&call)));
        if self.now < self.seats[seat].cut || matches!(fate, Some(Fate::Lost)) {
            self.push_of(seat, until, Act::Answered(flight, unknown()));
            return;
        }
        if self.now < self.outage {
            self.push_of(seat, self.now + millis(1), Act::Answered(flight, unknown()));
            return;
        }
        let late = match fate {
            Some(Fate::Late(late)) => millis(late),
            _ => takes,
        };
        if self.now + late > until {
            // It hears nothing until then.
            self.push_of(seat, until, Act::Answered(flight, unknown()));
        }
        let at = self.now + late;
        let last = last.is_some();
        self.push_of(
            seat,
            at,
            Act::Arrives {
                flight,
                call,
                until,
                fate,
                last,
            },
        );
    }

    /// What admission does to a request.
    fn admitted(&self, call: &Call<Text>) -> Option<Fate> {
        let status = match call {
            Call::Get { .. } | Call::GetPolicy => return None,
            Call::PutStatus { .. } => true,
            Call::Create { .. } | Call::Put { .. } | Call::Delete { .. } => false,
        };
        let (refuses, until) = self.admission.get(&status)?;
        let fate = if *refuses { Fate::Refused(403) } else { Fate::Lost };
        (self.now < *until).then_some(fate)
    }

    /// An operator asks for the lease.
    pub(super) fn stand(&mut self, seat: usize, request: LeaseRequest) {
        let until = self.now + request.deadline;
        if self.now < self.seats[seat].cut.max(self.outage) {
            self.push_of(seat, until, Act::LeaseAnswered(LeaseAnswer::Unknown));
            return;
        }
        let at = self.now + millis(1 + self.chance(10));
        self.push_of(seat, at, Act::LeaseArrives(request.call, self.now, until));
    }

    pub(super) fn lend(
        &mut self,
        (seat, life): (usize, u32),
        call: LeaseCall,
        sent: Duration,
        until: Duration,
    ) -> Result<(), String> {
        let (before, version) = self.lease();
        let mut answer = if self.now < self.outage {
            LeaseAnswer::Unknown
        } else {
            self.api.lend(call)
        };
        let (after, new) = self.lease();
        if new != version {
            self.lent((seat, life), before != after, sent)?;
        }
        if before != after {
            self.say(format!("the lease is of {after:?}"));
            self.seen.leaders += 1;
        }
        let mut at = self.now + millis(1 + self.chance(10));
        if self.now < self.seats[seat].cut {
            (answer, at) = (LeaseAnswer::Unknown, until);
        }
        self.spread();
        self.push(at, Some((seat, life)), Act::LeaseAnswered(answer));
        Ok(())
    }

    /// The holder of the lease, and the version at which it is so.
    fn lease(&self) -> (Option<String>, Option<Version>) {
        let lease = self.api.lease.clone();
        lease.map_or((None, None), |lease| (Some(lease.holder), lease.version))
    }

    /// The lease was taken, renewed or released.
    fn lent(&mut self, (seat, life): (usize, u32), is_another: bool, sent: Duration) -> Result<(), String> {
        let Some(lease) = self.api.lease.clone() else {
            return Ok(());
        };
        let is_taken = is_another && !lease.holder.is_empty();
        if let Some(until) = self.leased.filter(|until| is_taken && self.now < *until) {
            return Err(format!(
                "S6 (one leader): {:?} operator {seat} takes the lease, which another one has until {until:?}",
                self.now
            ));
        }
        let seconds = u64::try_from(lease.seconds).unwrap_or_default();
        self.leased = (!lease.holder.is_empty()).then(|| sent + Duration::from_secs(seconds));
        let leased = self.leased;
        for (other, it) in self.seats.iter_mut().enumerate() {
            it.wire.lease = leased
                .filter(|_| other == seat && it.life == life)
                .or(it.wire.lease);
        }
        Ok(())
    }

    pub(super) fn arrive(
        &mut self,
        (seat, life): (usize, u32),
        flight: FlightId,
        call: Call<Text>,
        until: Duration,
        fate: Option<Fate>,
        last: bool,
    ) -> Result<(), String> {
        let in_time = self.now <= until;
        let mut answer = if self.now < self.outage {
            unknown()
        } else if let Some(Fate::Refused(code)) = fate {
            if code == 500 { unknown() } else { refused(code) }
        } else {
            let (head, text, is_newest) = (self.api.head(), words(&call), self.api.is_newest(&call));
            self.laws.arrives(&self.api);
            let answer = self.api.carry_out(call);
            if self.api.head() != head {
                if !is_newest {
                    return Err(format!(
                        "S6 (nothing is overwritten unseen): {:?} {text}",
                        self.now
                    ));
                }
                self.say(format!("done: {text}"));
                self.spread();
            }
            self.laws.applied(&self.api, &self.servers, in_time, self.now)?;
            self.seen.moves = self.laws.moves;
            self.seen.conflicts += usize::from(matches!(answer, Answer::Refused { code: 409, .. }));
            self.seen.late += usize::from(!in_time);
            answer
        };
        let mut at = self.now + millis(1 + self.chance(10));
        let lost = matches!(fate, Some(Fate::AnswerLost)) || self.now < self.seats[seat].cut;
        if lost {
            (answer, at) = (unknown(), until);
        }
        if in_time {
            self.push(at, Some((seat, life)), Act::Answered(flight, answer));
        }
        if last && self.seats[seat].life == life {
            let lasts = self.seats[seat].dies.map_or(0, |(.., lasts)| lasts);
            self.say(format!("operator {seat} ends"));
            self.seen.ends += 1;
            self.kill(seat, lasts);
        }
        Ok(())
    }

    /// Watches show what is new.
    pub(super) fn spread(&mut self) {
        for seat in 0..self.seats.len() {
            if !self.seats[seat].watched {
                self.seats[seat].watched = true;
                let at = self.now + millis(1 + self.chance(30));
                self.push_of(seat, at, Act::Watched);
            }
        }
    }

    pub(super) fn watched(&mut self, seat: usize) -> Result<(), String> {
        let it = &mut self.seats[seat];
        let held = it.cut.max(it.lags).max(self.outage);
        if self.now < held {
            self.push_of(seat, held, Act::Watched);
            return Ok(());
        }
        it.watched = false;
        let inputs = self.shown(seat);
        let it = &mut self.seats[seat];
        if it.list.is_some() || it.cursor != Some(self.api.head()) {
            it.watched = true;
            let at = self.now + millis(1 + self.chance(60));
            self.push_of(seat, at, Act::Watched);
        }
        let it = &mut self.seats[seat];
        for input in &inputs {
            match input {
                Input::StatusSeen { version, status, .. } => it.wire.shown(version, status),
                Input::Seen(object) => it.wire.shown_object(&object.id, &object.version),
                _ => {}
            }
        }
        self.take(seat, inputs, Vec::new())?;
        let lease = self
            .api
            .lease
            .clone()
            .map_or(LeaseInput::Missing, LeaseInput::Seen);
        if self.script.operators > 1 {
            self.candidate(seat, Some(lease))?;
        }
        Ok(())
    }

    /// What watches show next: a page of a list, or all that is new.
    fn shown(&mut self, seat: usize) -> Vec<Input<Text>> {
        let it = &mut self.seats[seat];
        if it.list.is_none() && self.api.lists(it.cursor) {
            self.seen.lists += 1;
            it.list = Some(self.api.list());
        }
        let Some(list) = &mut it.list else {
            let new = self.api.watched(it.cursor);
            it.cursor = Some(self.api.head());
            return new;
        };
        let Some(page) = self.api.page(list) else {
            self.seen.expired += 1;
            it.list = None;
            return Vec::new();
        };
        if list.is_read() {
            it.cursor = Some(list.version);
            it.list = None;
        }
        page
    }
}

pub fn words(call: &Call<Text>) -> String {
    match call {
        Call::PutStatus { status, version, .. } => {
            let memory = status.memory.clone().unwrap_or_default();
            format!(
                "status at {} memory {:?} {:?}",
                version.as_str(),
                memory.holder.map(|it| it.endpoint),
                memory.timeline
            )
        }
        Call::GetPolicy => "get policy".to_owned(),
        Call::Put { id, wanted, .. } | Call::Create { id, body: wanted }
            if id.kind == Kind::EndpointSlice =>
        {
            let tree = serde_json::from_str(wanted).unwrap_or_default();
            format!("{} {id} {:?}", call.verb(), api::addresses(&tree))
        }
        other => format!(
            "{} {}",
            other.verb(),
            other.object().map(ToString::to_string).unwrap_or_default()
        ),
    }
}
