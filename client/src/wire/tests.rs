use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn startup() -> Vec<u8> {
    frame(0, b"user\0app\0\0")[1..].to_vec()
}

/// Sends and receives byte by byte, as a slow network does.
async fn told(sent: &[u8], received: &[u8]) -> (io::Result<()>, Arc<Traffic>) {
    let (stream, mut server) = duplex(1 << 16);
    let (mut tap, traffic) = Tap::new(stream, Heard::new(Clock::new()));
    for byte in sent {
        tap.write_all(&[*byte]).await.unwrap();
    }
    server.write_all(received).await.unwrap();
    drop(server);
    let mut byte = [0];
    let mut result = Ok(());
    for _ in 0..received.len() {
        result = tap.read_exact(&mut byte).await.map(drop);
        if result.is_err() {
            break;
        }
    }
    (result, traffic)
}

const LET_IN: &[u8] = &[0, 0, 0, 0];

#[tokio::test]
async fn a_connection_is_idle_once_every_request_is_answered_and_no_transaction_is_open() {
    let logged_in = [frame(b'R', LET_IN), frame(b'S', b"a\0b\0"), frame(b'Z', b"I")].concat();
    let (_, traffic) = told(&startup(), &logged_in).await;
    assert!(traffic.is_idle());
    let query = [startup(), frame(b'Q', b"select 1\0")].concat();
    let (_, traffic) = told(&query, &logged_in[..logged_in.len() - 6]).await;
    assert!(!traffic.is_idle(), "no answer");
    let extended = [startup(), frame(b'P', b"\0select 1\0\0\0"), frame(b'S', b"")].concat();
    let (_, traffic) = told(&extended, &frame(b'R', LET_IN)).await;
    assert!(traffic.waits(), "a Sync without an answer");
    for (status, idle) in [(b"I", true), (b"T", false), (b"E", false)] {
        let answered = [frame(b'C', b"BEGIN\0"), frame(b'Z', status)].concat();
        let (_, traffic) = told(&query, &answered).await;
        assert_eq!(traffic.is_idle(), idle);
        assert!(!traffic.waits());
    }
}

#[tokio::test]
async fn a_commit_that_is_answered_with_a_rollback_is_seen() {
    let answer = |tag: &[u8]| [frame(b'C', tag), frame(b'Z', b"I")].concat();
    let (committed, rolled_back) = (answer(b"COMMIT\0"), answer(b"ROLLBACK\0"));
    assert!(!told(&startup(), &committed).await.1.was_rolled_back());
    assert!(told(&startup(), &rolled_back).await.1.was_rolled_back());
    assert!(
        !told(&startup(), &[rolled_back, committed].concat())
            .await
            .1
            .was_rolled_back()
    );
}

#[tokio::test]
async fn to_drop_a_prepared_statement_is_no_request() {
    let dropped = [frame(b'C', b"Ss1\0"), frame(b'S', b"")].concat();
    let (_, traffic) = told(&[startup(), dropped.clone()].concat(), &frame(b'Z', b"I")).await;
    assert!(traffic.is_idle());
    // Its answer is not that of the request after it.
    let query = frame(b'Q', b"select 1\0");
    let sent = [startup(), query.clone(), dropped.clone(), query, dropped].concat();
    let (_, traffic) = told(&sent, &frame(b'Z', b"I").repeat(2)).await;
    assert!(traffic.waits());
    let (_, traffic) = told(&sent, &frame(b'Z', b"I").repeat(3)).await;
    assert!(traffic.is_idle());
}

#[tokio::test]
async fn what_a_session_keeps_is_seen() {
    let login = [frame(b'R', LET_IN), frame(b'S', b"a\0b\0"), frame(b'Z', b"I")].concat();
    for (frames, kept, plans) in [
        (vec![], false, false),
        (vec![frame(b'S', b"TimeZone\0UTC\0")], true, false),
        (
            vec![frame(b'T', b"\0\0"), frame(b'C', b"SELECT 0\0")],
            false,
            false,
        ),
        (vec![frame(b'n', b""), frame(b'C', b"SELECT 2\0")], true, false),
        (vec![frame(b'C', b"INSERT 0 1\0")], false, false),
        (vec![frame(b'C', b"SET\0")], true, false),
        (vec![frame(b'C', b"LISTEN\0")], true, false),
        (vec![frame(b'C', b"CREATE TABLE\0")], true, false),
        (vec![frame(b'C', b"DO\0")], true, false),
        (vec![frame(b'C', b"PREPARE\0")], true, true),
        (vec![frame(b'C', b"DEALLOCATE ALL\0")], true, true),
    ] {
        let (_, traffic) = told(&startup(), &[login.clone(), frames.concat()].concat()).await;
        assert_eq!(
            (traffic.has_state(), !traffic.can_be_reset()),
            (kept, plans),
            "{frames:?}"
        );
    }
}

#[tokio::test]
async fn what_the_router_itself_leaves_in_a_session_is_no_doing_of_a_closure() {
    let set = |value: &[u8]| {
        let name = [&b"application_name\0"[..], value, b"\0"].concat();
        [frame(b'C', b"SET\0"), frame(b'S', &name), frame(b'Z', b"I")].concat()
    };
    for (own, of_closures, kept) in [(true, 0, false), (false, 1, true), (true, 1, true)] {
        let (stream, mut server) = duplex(1 << 16);
        let (mut tap, traffic) = Tap::new(stream, Heard::new(Clock::new()));
        tap.write_all(&startup()).await.unwrap();
        server.write_all(&frame(b'Z', b"I")).await.unwrap();
        let mut bytes = [0; 6];
        tap.read_exact(&mut bytes).await.unwrap();
        if own {
            traffic.expect_own();
        }
        // Both are sent before the first one is answered.
        let requests = of_closures + usize::from(own);
        let sent = frame(b'Q', b"set application_name = 'x'\0").repeat(requests);
        tap.write_all(&sent).await.unwrap();
        let answers = set(b"x").repeat(requests);
        server.write_all(&answers).await.unwrap();
        let mut bytes = vec![0; answers.len()];
        tap.read_exact(&mut bytes).await.unwrap();
        assert!(traffic.is_idle());
        assert_eq!(traffic.has_state(), kept, "{own} {of_closures}");
    }
}

#[tokio::test]
async fn what_was_sent_is_counted_and_the_server_was_heard() {
    let (_, traffic) = told(&startup(), &frame(b'Z', b"I")).await;
    assert_eq!(traffic.sent(), startup().len() as u64);
}

#[test]
fn frames_are_told_alike_however_they_are_cut() {
    let long = vec![7; 3 * BODY];
    let sent = [
        frame(b'C', b"SELECT 1\0"),
        frame(b'n', b""),
        frame(b'D', &long),
        frame(b'Z', b"I"),
    ]
    .concat();
    let told = |size: usize| {
        let (mut frames, mut told) = (Frames::default(), Vec::new());
        for part in sent.chunks(size) {
            frames.read(part, |kind, body| told.push((kind, body.to_vec())));
        }
        told
    };
    let whole = told(sent.len());
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[2], (b'D', long[..BODY].to_vec()));
    for size in 1..sent.len() {
        assert_eq!(told(size), whole, "in parts of {size} bytes");
    }
}
