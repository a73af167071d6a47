//! Bytes drawn by chance, near to requests and far from them: a port ends each connection, takes few of them, and never panics.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::connections::*;

/// What a pipe between client and port holds.
const PIPE: usize = 4096;
/// What the page of these tests takes as a body.
const BODY: usize = 1024;
/// What the port may take of a connection: a head and what is read ahead, a body, and what is in the pipe.
const TAKEN: usize = 2 * BUFFER + 4 * BODY + PIPE;

/// Pieces of requests, right and wrong ones.
const PIECES: [&str; 30] = [
    "GET ",
    "POST ",
    "HEAD ",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "/livez",
    "/body",
    "*",
    "http://a/livez",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/9.9\r\n",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Expect: 100-continue\r\n",
    "Connection: keep-alive\r\n",
    "Upgrade: h2c\r\n",
    "X: y\r\n",
    "\r\n",
    "\n",
    "5\r\nabcde\r\n",
    "0\r\n\r\n",
    "ffffffffffffffffff\r\n",
    "abcde",
    " folded: a\r\n",
    "\0",
    "\u{ff}",
];

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => (any::<u8>(), 0_usize..100_000).prop_map(|(byte, count)| vec![byte; count]),
        1 => (1_usize..200).prop_map(|count| "X: y\r\n".repeat(count).into_bytes()),
    ];
    let near = prop::collection::vec(piece.clone(), 0..12).prop_map(|pieces| {
        let request = b"GET /livez HTTP/1.1\r\nHost: a\r\n".to_vec();
        [request, pieces.concat()].concat()
    });
    prop_oneof![
        near,
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    ]
}

/// What the port took of the bytes, and what it answered, until it ended the connection.
async fn talk(bytes: &[u8]) -> (usize, Vec<u8>) {
    let pages = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/body", post(async |_: Bytes| "ok\n"))
        .layer(DefaultBodyLimit::max(BODY));
    let talk = Talk {
        pages,
        lasting: Lasting::default(),
        whole: Duration::from_secs(30),
    };
    let (client, port) = tokio::io::duplex(PIPE);
    let (mut answers, mut requests) = tokio::io::split(client);
    let send = async {
        let mut taken = 0;
        for part in bytes.chunks(512) {
            if requests.write_all(part).await.is_err() {
                break;
            }
            taken += part.len();
        }
        taken
    };
    let receive = async {
        let mut answer = Vec::new();
        let _ = answers.read_to_end(&mut answer).await;
        answer
    };
    let ((), taken, answer) = tokio::join!(talk.answer(port), send, receive);
    (taken, answer)
}

proptest! {
    #![proptest_config(ProptestConfig {
        // `FUZZ=1000000` for so many inputs.
        cases: std::env::var("FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_port_survives_every_request(bytes in input()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let ended = runtime.block_on(async { timeout(Duration::from_secs(60), talk(&bytes)).await });
        let (taken, answer) = ended.expect("the connection ends");
        prop_assert!(taken <= TAKEN, "{taken} bytes were taken");
        prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
        // One request, one answer; another one may precede it, which asks for the body.
        let answers = answer.windows(9).filter(|window| *window == b"HTTP/1.1 " || *window == b"HTTP/1.0 ").count();
        prop_assert!(answers <= 2, "{}", String::from_utf8_lossy(&answer));
    }
}
