//! A process that is behind every address of 198.18.64.0/18: a fake server that answers the questions of probes, and
//! counts them.
//!
//! It takes orders on its standard input, one to a line, and answers each with a line: `reset` (of what `stats` says),
//! `stats`, `kill ADDRESS` (its connections close, new ones are reset), `revive ADDRESS`.

use std::collections::{BTreeMap, HashMap};
use std::fs::read_to_string;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fake_postgres::{Fake, Memory, Session, Standing, Tls, Verifier};
use harness::certificates::Authority;
use harness::postgres::{PORT, PROBE};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

use super::shape::{self, Shape};

/// The first argument of this program when it is the stub; after it the number of servers of a policy, and the files with
/// certificate and key, where it asks for TLS and SCRAM.
pub const ARGUMENT: &str = "stub";
/// Connections that wait to be accepted, when an operator starts.
const BACKLOG: u32 = 4096;
/// A whole check is over before this; a held session is not.
const LONGEST_CHECK: Duration = Duration::from_secs(10);

/// Starts this program as the stub of a crowd of this shape.
pub fn spawn(shape: Shape, authority: &Authority) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(shape.servers.to_string());
    if shape.tls {
        let directory = crate::directory("stub")?;
        let (certificate, key) = authority.server(&["stub.test"], &[])?.write(&directory, "stub")?;
        command.arg(certificate).arg(key);
    }
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.kill_on_drop(true).spawn().context("start the stub")
}

/// Runs until the standard input ends.
pub fn main(arguments: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let (servers, files) = arguments.split_first().context("no number of servers")?;
    let tls = match files {
        [certificate, key] => Some(Tls::new(
            &read_to_string(certificate)?,
            &read_to_string(key)?,
            None,
        )?),
        _ => None,
    };
    let stub = Arc::new(Stub {
        servers: servers.parse()?,
        tls,
        verifier: Verifier::of(PROBE.password),
        started: Instant::now(),
        tally: Mutex::default(),
    });
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, PORT).into())?;
    let served = stub.clone();
    let fake = Fake::on(socket.listen(BACKLOG)?, Memory::Nothing, move |session| {
        served.clone().serve(session)
    })?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        println!("{}", stub.obey(&fake, &order)?);
    }
    Ok(())
}

struct Stub {
    /// Of one policy.
    servers: usize,
    tls: Option<Tls>,
    verifier: Verifier,
    started: Instant,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    /// When the last whole check of an endpoint began.
    checked: HashMap<IpAddr, Instant>,
    sessions: usize,
    checks: u64,
    heartbeats: u64,
    longest_check_gap: Duration,
    longest_heartbeat_gap: Duration,
    /// Expressions that the fake does not know, and how often they came.
    unknown: BTreeMap<String, u64>,
}

impl Stub {
    async fn serve(self: Arc<Self>, session: Session) -> io::Result<()> {
        let (address, began) = (session.local(), Instant::now());
        let mut session = session.startup(self.tls.as_ref()).await?;
        if self.tls.is_some() {
            session.scram(&self.verifier).await?;
        }
        session.welcome().await?;
        let mut visit = Visit {
            stub: &self,
            asked: None,
            held: false,
        };
        let answered = session.answer(|question| {
            visit.ask();
            let unknown =
                |expression: &str| *self.tally().unknown.entry(expression.to_owned()).or_default() += 1;
            self.standing(address).answer_noting(question, unknown)
        });
        answered.await?;
        self.tally().checked(address, began);
        Ok(())
    }

    /// A log that grows by a megabyte a second.
    fn standing(&self, address: IpAddr) -> Standing {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lsn = Some(0x100_0000 + elapsed * 1000);
        let standby = !self.is_primary(address);
        Standing {
            standby,
            lsn,
            received: lsn.filter(|_| standby),
            timeline: Some(1),
            identifier: 7_300_000_000_000_000_001,
            sessions: 3,
            transactions: elapsed,
            address: Some(address),
            ..Standing::primary()
        }
    }

    /// The first server of each policy.
    fn is_primary(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        shape::number(address).is_multiple_of(self.servers)
    }

    fn obey(&self, fake: &Fake, order: &str) -> Result<Value> {
        match order.split(' ').collect::<Vec<_>>()[..] {
            ["reset"] => self.tally().reset(),
            ["stats"] => return Ok(self.tally().stats()),
            ["kill", address] => fake.kill(address.parse()?),
            ["revive", address] => fake.revive(address.parse()?),
            _ => bail!("an order {order:?}"),
        }
        Ok(Value::Null)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The questions of one connection; all but the first are heartbeats.
struct Visit<'a> {
    stub: &'a Stub,
    asked: Option<Instant>,
    /// It is counted as a held session: nobody else asks twice.
    held: bool,
}

impl Visit<'_> {
    fn ask(&mut self) {
        let (now, mut tally) = (Instant::now(), self.stub.tally());
        let Some(before) = self.asked.replace(now) else {
            return;
        };
        tally.heartbeats += 1;
        tally.longest_heartbeat_gap = tally.longest_heartbeat_gap.max(now - before);
        if !self.held {
            self.held = true;
            tally.sessions += 1;
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.held {
            self.stub.tally().sessions -= 1;
        }
    }
}

impl Tally {
    /// Counts a connection whose client said farewell: a whole check, where that was soon.
    fn checked(&mut self, address: IpAddr, began: Instant) {
        if began.elapsed() > LONGEST_CHECK {
            return;
        }
        let before = self.checked.insert(address, began);
        self.checks += 1;
        let gap = before.map(|before| began - before).unwrap_or_default();
        self.longest_check_gap = self.longest_check_gap.max(gap);
    }

    fn reset(&mut self) {
        (self.checks, self.heartbeats) = (0, 0);
        (self.longest_check_gap, self.longest_heartbeat_gap) = (Duration::ZERO, Duration::ZERO);
    }

    fn stats(&self) -> Value {
        json!({
            "sessions": self.sessions,
            "checks": self.checks,
            "heartbeats": self.heartbeats,
            "longestCheckGap": self.longest_check_gap.as_secs_f64(),
            "longestHeartbeatGap": self.longest_heartbeat_gap.as_secs_f64(),
            "unknown": self.unknown,
        })
    }
}
