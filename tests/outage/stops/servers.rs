//! A primary and two replicas, which are fakes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use fake_postgres::{Fake, Memory, Standing};
use harness::node;
use harness::postgres::PORT;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The primary first.
pub struct Servers(Vec<Server>);

struct Server {
    address: Ipv4Addr,
    standing: Arc<Mutex<Standing>>,
    fake: Mutex<Option<Fake>>,
}

impl Servers {
    pub async fn start() -> Result<Self> {
        let primary = Standing::primary();
        // It has all that the primary wrote.
        let standby = Standing {
            lsn: primary.lsn,
            received: primary.lsn,
            ..Standing::standby()
        };
        let mut servers = vec![];
        for standing in [primary, standby.clone(), standby] {
            let server = Server {
                address: node::claim_address()?.server,
                standing: Arc::new(Mutex::new(standing)),
                fake: Mutex::default(),
            };
            server.start().await?;
            servers.push(server);
        }
        Ok(Self(servers))
    }

    pub fn address(&self, number: usize) -> Ipv4Addr {
        self.0[number].address
    }

    /// So many replicas, as a policy declares them.
    pub fn replicas(&self, count: usize) -> Value {
        let replica =
            |number: usize| json!({"id": format!("replica-{number}"), "host": self.address(number)});
        (1..=count).map(replica).collect()
    }

    /// The primary dies, the first replica is promoted, and the other one follows it.
    pub fn fail_over(&self) {
        *self.0[0].fake.lock() = None;
        let written = Standing::primary().lsn.map(|lsn| lsn + 0x100);
        for (number, server) in self.0.iter().enumerate().skip(1) {
            let mut standing = server.standing.lock();
            let is_standby = number > 1;
            *standing = Standing {
                standby: is_standby,
                lsn: written,
                received: written.filter(|_| is_standby),
                timeline: standing.timeline.map(|timeline| timeline + 1),
                ..standing.clone()
            };
        }
    }

    /// The old primary starts again, and knows nothing of the promotion.
    pub async fn old_primary_returns(&self) -> Result<()> {
        let old = &self.0[0];
        old.standing.lock().started += 60_000_000;
        old.start().await
    }
}

impl Server {
    /// It tells what it stands for, and lets anybody in.
    async fn start(&self) -> Result<()> {
        let listener = TcpListener::bind((self.address, PORT)).await?;
        let standing = Arc::clone(&self.standing);
        let fake = Fake::on(listener, Memory::Nothing, move |session| {
            let standing = Arc::clone(&standing);
            async move {
                session
                    .serve(|question| standing.lock().clone().answer(question))
                    .await
            }
        })?;
        *self.fake.lock() = Some(fake);
        Ok(())
    }
}
