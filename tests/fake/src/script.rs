//! What a server does, step by step, and the scripts of servers that mean ill.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use postgres_protocol::message::backend::DATA_ROW_TAG;

use crate::session::Session;
use crate::wire;

const GIGABYTE: u32 = 1 << 30;

/// A step of a script. After the last one the connection is closed.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads the first message, which may ask for TLS.
    Opening,
    /// Reads up to the startup message; TLS is refused.
    Startup,
    /// Reads one message after that.
    Message,
    /// Says these bytes.
    Say(Vec<u8>),
    /// Says these bytes so often.
    Repeat(Vec<u8>, u64),
    /// Says no more.
    Finish,
    /// Ends the connection with a reset.
    Reset,
    /// Reads until the client leaves.
    Rest,
}

/// Asks for the password in clear text.
pub fn clear_text() -> Vec<Step> {
    asks(wire::authentication(wire::CLEAR_TEXT, b""))
}

/// Asks for the MD5 of the password.
pub fn md5() -> Vec<Step> {
    asks(wire::authentication(wire::MD5, b"salt"))
}

/// Answers, from the first byte on, with what is not the protocol, and then waits.
pub fn garbage() -> Vec<Step> {
    vec![Step::Say(vec![0x7f; 64]), Step::Rest]
}

/// Says `first` to a client, and then `again` without end.
pub fn endless(first: Vec<u8>, again: &[u8]) -> Vec<Step> {
    // As much as is well sent at once.
    let many = again.repeat(64 * 1024 / again.len().max(1) + 1);
    vec![Step::Startup, Step::Say(first), Step::Repeat(many, u64::MAX)]
}

/// Lets everybody in and sends notices without end, each of them well-formed.
pub fn endless_notices() -> Vec<Step> {
    endless(let_in(), &wire::notice("so it says"))
}

/// Lets everybody in and says without end that it is ready.
pub fn endlessly_ready() -> Vec<Step> {
    endless(let_in(), &wire::ready())
}

/// Lets everybody in and answers a question with a row of 1 GiB.
pub fn gigabyte() -> Vec<Step> {
    let chunk = vec![b'x'; 64 * 1024];
    let row = Step::Say(wire::header(DATA_ROW_TAG, GIGABYTE - 4));
    let count = u64::from(GIGABYTE) / 65536;
    let welcome = Step::Say(wire::logged_in());
    vec![
        Step::Startup,
        welcome,
        Step::Message,
        row,
        Step::Repeat(chunk, count),
        Step::Rest,
    ]
}

/// Says nothing.
pub fn silent() -> Vec<Step> {
    vec![Step::Rest]
}

/// Closes the connection.
pub fn closes() -> Vec<Step> {
    vec![]
}

/// Refuses every login with this SQLSTATE.
pub fn refuses(sqlstate: &str) -> Vec<Step> {
    vec![Step::Startup, Step::Say(wire::error(sqlstate))]
}

fn asks(request: Vec<u8>) -> Vec<Step> {
    vec![Step::Startup, Step::Say(request), Step::Rest]
}

fn let_in() -> Vec<u8> {
    wire::authentication(wire::AUTHENTICATED, b"")
}

type Treatment = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Follows the script with a session.
pub(crate) fn treatment(script: Arc<[Step]>) -> impl Fn(Session) -> Treatment {
    move |session| Box::pin(follow(session, script.clone()))
}

async fn follow(mut session: Session, script: Arc<[Step]>) -> io::Result<()> {
    for step in &*script {
        match step {
            Step::Opening => drop(session.opening().await?),
            Step::Startup => session = session.startup(None).await?,
            Step::Message => drop(session.message().await?),
            Step::Say(bytes) => session.say(bytes).await?,
            Step::Repeat(bytes, count) => {
                for _ in 0..*count {
                    session.say(bytes).await?;
                }
            }
            Step::Finish => session.finish().await?,
            Step::Reset => return session.reset(),
            Step::Rest => drop(session.rest().await),
        }
    }
    Ok(())
}
