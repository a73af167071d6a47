//! The listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::connections::{Connections, Counts, Memory};
use crate::script::{self, Step};
use crate::session::Session;
use crate::wire;

/// A fake server. Dropping it closes it and its connections.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<Connections>,
    accepting: AbortHandle,
}

impl Fake {
    /// On a port of loopback: treats every connection, each in a task of its own, as `treat` says, and closes it then.
    /// Errors are the client's doing, and end a connection alone.
    ///
    /// # Panics
    /// When there is no such port.
    pub async fn start<F, Treatment>(treat: F) -> Self
    where
        F: Fn(Session) -> Treatment + Send + 'static,
        Treatment: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port of loopback");
        Self::on(listener, Memory::Everything, treat).expect("the address of a listener")
    }

    /// The same on any listener.
    ///
    /// # Errors
    /// When it has no address.
    pub fn on<F, Treatment>(listener: TcpListener, memory: Memory, treat: F) -> io::Result<Self>
    where
        F: Fn(Session) -> Treatment + Send + 'static,
        Treatment: Future<Output = io::Result<()>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let connections = Arc::new(Connections::new(memory));
        let accepting = tokio::spawn(accept(listener, connections.clone(), treat)).abort_handle();
        Ok(Self {
            address,
            connections,
            accepting,
        })
    }

    /// Follows a script with every client.
    pub async fn following(script: impl Into<Arc<[Step]>>) -> Self {
        Self::start(script::treatment(script.into())).await
    }

    /// The same on any listener.
    ///
    /// # Errors
    /// When it has no address.
    pub fn following_on(listener: TcpListener, script: impl Into<Arc<[Step]>>) -> io::Result<Self> {
        Self::on(listener, Memory::Everything, script::treatment(script.into()))
    }

    /// Reads the first message, says `bytes`, and reads on until the client leaves.
    pub async fn saying(bytes: Vec<u8>) -> Self {
        Self::following([Step::Opening, Step::Say(bytes), Step::Rest]).await
    }

    /// Lets anybody in, and says `bytes` to every question.
    pub async fn answering(bytes: Vec<u8>) -> Self {
        Self::asked(move |_| bytes.clone()).await
    }

    /// Lets anybody in, and answers each question.
    pub async fn asked(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |session| {
            let answer = answer.clone();
            async move { session.serve(|question| answer(question)).await }
        })
        .await
    }

    /// Refuses every login.
    pub async fn refusing(sqlstate: &str) -> Self {
        Self::saying(wire::error(sqlstate)).await
    }

    /// The address alone.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Its connections until now.
    pub fn counts(&self) -> Counts {
        *self.connections.counts().borrow()
    }

    /// Waits until `hold` for its connections.
    pub async fn until(&self, hold: impl Fn(Counts) -> bool) {
        let mut counts = self.connections.counts();
        // The sender is ours.
        let _ = counts.wait_for(|counts| hold(*counts)).await;
    }

    /// Every byte that clients said to it so far, decrypted, where it remembers.
    pub fn heard(&self) -> Vec<u8> {
        self.connections.heard()
    }

    /// Bytes that clients took from it so far.
    pub fn sent(&self) -> u64 {
        self.connections.sent()
    }

    /// Closes all connections that are open now.
    pub fn hang_up(&self) {
        self.connections.close(|_| true);
    }

    /// Closes all connections to one of its addresses, and resets new ones until it is revived.
    pub fn kill(&self, address: IpAddr) {
        self.connections.dies(address, true);
        self.connections.close(|local| local == address);
    }

    /// Ends what [`Fake::kill`] did.
    pub fn revive(&self, address: IpAddr) {
        self.connections.dies(address, false);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
        self.hang_up();
    }
}

/// A connection, which counts as open until this is dropped.
struct OpenConnection {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.ended(self.number);
    }
}

async fn accept<F, Treatment>(listener: TcpListener, connections: Arc<Connections>, treat: F)
where
    F: Fn(Session) -> Treatment,
    Treatment: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        // It fails when a client has gone already, or for want of descriptors, which its user ensures.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let Some((local, number)) = admit(&stream, &connections) else {
            // Lingering for no time makes the end a reset.
            let _ = stream.set_zero_linger();
            continue;
        };
        let treatment = treat(Session::new(stream, local, connections.clone()));
        let connections = connections.clone();
        let noted = connections.clone();
        let task = tokio::spawn(async move {
            noted.began();
            let _open = OpenConnection {
                connections: noted,
                number,
            };
            // The client ends many conversations.
            let _ = treatment.await;
        });
        connections.treated_by(number, task.abort_handle());
    }
}

fn admit(stream: &TcpStream, connections: &Connections) -> Option<(IpAddr, u64)> {
    stream.set_nodelay(true).ok()?;
    let local = stream.local_addr().ok()?.ip();
    Some((local, connections.open(local)?))
}
