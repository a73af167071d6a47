use fake_postgres::Standing;
use fake_postgres::wire::{authentication, error, frame, logged_in};
use postgres_protocol::message::backend::Message;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn primary() -> Vec<u8> {
    Standing::primary().whole()
}

/// What passes of `bytes` when they arrive in pieces of `piece` bytes, and the breach that ends it.
async fn passed(bytes: &[u8], piece: usize) -> (Vec<u8>, Breach) {
    let (near, mut far) = duplex(piece);
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        let _ = far.write_all(&bytes).await;
    });
    let mut guard = Guard::new(near, 20_000);
    let mut passed = Vec::new();
    let end = guard.read_to_end(&mut passed).await.unwrap_err();
    writing.abort();
    (passed, *end.get_ref().unwrap().downcast_ref::<Breach>().unwrap())
}

#[tokio::test]
async fn an_honest_conversation_passes_however_it_is_cut() {
    let scram = [
        authentication(10, b"SCRAM-SHA-256\0\0"),
        authentication(11, b"r=x,s=y,i=4096"),
        authentication(12, b"v=y"),
    ];
    let whole = [scram.concat(), logged_in(), primary(), error("57P01")].concat();
    for piece in [1, 2, 3, 5, 8, 13, 4096] {
        assert_eq!(
            passed(&whole, piece).await,
            (whole.clone(), Breach::Closed),
            "{piece}"
        );
    }
}

#[tokio::test]
async fn a_request_for_the_password_never_passes_whole() {
    for code in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, u32::MAX] {
        for piece in [1, 4, 9, 64] {
            let request = authentication(code, b"salt");
            let (passed, breach) = passed(&request, piece).await;
            assert_eq!(breach, Breach::PasswordMethod, "{code}");
            assert!(passed.len() < AUTHENTICATION_HEADER, "{code}");
        }
    }
}

#[tokio::test]
async fn what_came_before_the_offence_passes() {
    let (passed, breach) = passed(&[error("53300"), b"garbage".to_vec()].concat(), 4096).await;
    assert_eq!((passed, breach), (error("53300"), Breach::NotTheProtocol));
}

#[tokio::test]
async fn a_request_after_the_login_does_not_pass() {
    for code in [0, 3, 10] {
        let (passed, breach) = passed(&[logged_in(), authentication(code, b"")].concat(), 4096).await;
        assert_eq!((passed, breach), (logged_in(), Breach::NotTheProtocol));
    }
}

#[tokio::test]
async fn rows_before_the_login_do_not_pass() {
    assert_eq!(
        passed(&primary(), 4096).await,
        (Vec::new(), Breach::NotTheProtocol)
    );
}

#[tokio::test]
async fn lengths_are_bounded_below_and_above() {
    for (header, breach) in [
        ([b'E', 0, 0, 0, 3], Breach::NotTheProtocol),
        ([b'E', 0, 0, 0, 0], Breach::NotTheProtocol),
        ([b'R', 0, 0, 0, 7], Breach::NotTheProtocol),
        ([b'E', 0, 1, 0, 0], Breach::TooLong),
        ([b'R', 0x40, 0, 0, 0], Breach::TooLong),
        ([b'N', 0xff, 0xff, 0xff, 0xff], Breach::TooLong),
    ] {
        assert_eq!(passed(&header, 64).await.1, breach, "{header:?}");
    }
    let longest = frame(b'E', &vec![0; FRAME_LIMIT - HEADER]);
    assert_eq!(passed(&longest, 4096).await, (longest, Breach::Closed));
}

#[tokio::test]
async fn the_total_is_bounded() {
    let notices = frame(b'N', &[0; 1000]).repeat(TOTAL_LIMIT / 1000 + 1);
    let (passed, breach) = passed(&notices, 4096).await;
    assert_eq!(breach, Breach::TooLong);
    assert!(passed.len() <= TOTAL_LIMIT);
}

#[tokio::test]
async fn each_question_has_a_total_of_its_own() {
    let answer = [
        frame(b'D', &[0; 1000]).repeat(TOTAL_LIMIT / 2000),
        frame(b'Z', b"I"),
    ]
    .concat();
    let session = [logged_in(), answer.repeat(8)].concat();
    for piece in [777, 4096] {
        assert_eq!(passed(&session, piece).await, (session.clone(), Breach::Closed));
    }
}

#[tokio::test]
async fn the_settings_of_a_login_are_bounded_and_each_answer_may_report_some() {
    let setting = frame(b'S', &[b'x'; 1000]);
    let login = [authentication(0, b""), setting.repeat(FRAME_LIMIT / 1000 + 1)].concat();
    let (before, breach) = passed(&login, 4096).await;
    assert_eq!(breach, Breach::TooLong);
    assert!(before.len() <= 2 * FRAME_LIMIT);
    // As poolers do that change the server beneath a session.
    let answer = [setting, frame(b'Z', b"I")].concat();
    let session = [logged_in(), answer.repeat(FRAME_LIMIT / 1000 + 1)].concat();
    assert_eq!(passed(&session, 4096).await, (session.clone(), Breach::Closed));
}

#[tokio::test]
async fn a_breach_is_final() {
    let (near, mut far) = duplex(4096);
    far.write_all(&authentication(3, b"")).await.unwrap();
    let mut guard = Guard::new(near, 20_000);
    let mut buffer = [0; 64];
    assert!(guard.read(&mut buffer).await.is_err());
    far.write_all(&logged_in()).await.unwrap();
    assert!(guard.read(&mut buffer).await.is_err());
}

#[tokio::test]
async fn a_guard_of_a_login_lets_anything_pass_after_it_and_nothing_else_in_it() {
    let copied = [frame(b'G', b"\0\0\0"), vec![0; TOTAL_LIMIT * 2]].concat();
    let session = [logged_in(), copied].concat();
    let mut passed = Vec::new();
    let mut guard = Guard::of_login(&session[..], 20_000);
    guard.read_to_end(&mut passed).await.unwrap();
    assert_eq!(passed, session);
    let md5 = frame(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
    let refused = Guard::of_login(&md5[..], 20_000)
        .read(&mut [0; 64])
        .await
        .unwrap_err();
    let breach = refused.get_ref().and_then(|error| error.downcast_ref::<Breach>());
    assert_eq!(breach, Some(&Breach::PasswordMethod));
    // An expensive challenge waits for nobody.
    let challenge = frame(b'R', b"\0\0\0\x0br=abc,s=c2FsdA==,i=10000");
    let mut passed = [0; 64];
    let count = Guard::of_login(&challenge[..], 20_000)
        .read(&mut passed)
        .await
        .unwrap();
    assert_eq!(passed[..count], challenge);
}

/// What a challenge with this text comes to, and whether it waits.
async fn challenged(text: &str, piece: usize) -> Result<bool, Breach> {
    let (near, mut far) = duplex(piece);
    let challenge = authentication(11, text.as_bytes());
    let length = challenge.len();
    let writing = tokio::spawn(async move {
        let _ = far.write_all(&challenge).await;
        // Until the reader ends.
        let _ = far.read(&mut [0]).await;
    });
    let mut guard = Guard::new(near, 20_000);
    let (mut passed, mut waited) = (Vec::new(), false);
    while passed.len() < length {
        let mut buffer = [0; 64];
        let mut buffer = ReadBuf::new(&mut buffer);
        let read = std::future::poll_fn(|cx| match Pin::new(&mut guard).poll_read(cx, &mut buffer) {
            Poll::Pending if guard.waits() => Poll::Ready(None),
            read => read.map(Some),
        });
        match read.await {
            Some(Ok(())) => passed.extend_from_slice(buffer.filled()),
            Some(Err(error)) => {
                assert!(passed.len() < length, "a breach passed");
                return Err(*error.get_ref().unwrap().downcast_ref::<Breach>().unwrap());
            }
            None => {
                assert!(!waited && passed.len() < length && buffer.filled().is_empty());
                waited = true;
                guard.go_on();
            }
        }
    }
    writing.abort();
    Ok(waited)
}

#[tokio::test]
async fn a_challenge_passes_within_the_bounds_of_its_iterations_and_waits_where_it_is_expensive() {
    for piece in [1, 7, 4096] {
        for (iterations, expected) in [
            ("4096", Ok(false)),
            ("4097", Ok(true)),
            ("20000", Ok(true)),
            ("1", Err(Breach::Iterations)),
            ("0", Err(Breach::Iterations)),
            ("4095", Err(Breach::Iterations)),
            ("20001", Err(Breach::Iterations)),
            ("100000", Err(Breach::Iterations)),
            ("4294967295", Err(Breach::Iterations)),
            ("99999999999999999999", Err(Breach::Iterations)),
            ("", Err(Breach::Iterations)),
            ("+4096", Err(Breach::NotTheProtocol)),
            ("-1", Err(Breach::NotTheProtocol)),
            ("4096,i=1", Err(Breach::NotTheProtocol)),
            ("4096,m=x", Err(Breach::NotTheProtocol)),
        ] {
            let text = format!("r=abc,s=c2FsdA==,i={iterations}");
            assert_eq!(
                challenged(&text, piece).await,
                expected,
                "{iterations} in pieces of {piece}"
            );
        }
        for text in [
            "",
            "r=abc",
            "r=abc,i=4096,s=c2FsdA==",
            "m=x,r=abc,s=c2FsdA==,i=4096",
            "r=abc,s=c2FsdA==",
        ] {
            assert_eq!(
                challenged(text, piece).await,
                Err(Breach::NotTheProtocol),
                "{text}"
            );
        }
    }
}

/// A message of any type, length and content, most of them nearly right.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(b"RRKSZENATDCI\0Q".to_vec());
    let body = prop_oneof![
        any::<Vec<u8>>(),
        Just(b"\0\0\0\0".to_vec()),
        Just(b"\0\0\0\x0br=a,s=YQ==,i=5000".to_vec()),
        Just(b"\0\x01\0\0\0\x011".to_vec()),
        Just(b"SERROR\0C57P01\0\0".to_vec()),
        Just(b"I".to_vec()),
    ];
    let message = (kinds, body, -6_i32..6).prop_map(|(kind, body, wrong)| {
        let length = i32::try_from(body.len()).unwrap() + 4;
        // Seldom wrong.
        let length = if wrong.abs() > 4 { length + wrong } else { length };
        [&[kind][..], &length.to_be_bytes(), &body].concat()
    });
    prop::collection::vec(message, 0..12).prop_map(|messages| messages.concat())
}

proptest! {
    #![proptest_config(crate::fixture::fuzz())]

    /// What a hostile server says ends without a panic, and in the memory of one answer.
    #[test]
    fn fuzz_a_hostile_server_is_read_to_its_end(said in messages(), logged in any::<bool>(), piece in 1_usize..200) {
        let first = if logged { logged_in() } else { Vec::new() };
        let said = [first, said].concat();
        let mut guard = Guard::new(&said[..], 20_000);
        let (mut unread, mut rounds) = (bytes::BytesMut::new(), 0);
        let mut context = Context::from_waker(std::task::Waker::noop());
        loop {
            let mut buffer = vec![0; piece];
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut guard).poll_read(&mut context, &mut buffer) {
                Poll::Pending => guard.go_on(),
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) => unread.extend_from_slice(buffer.filled()),
            }
            while let Ok(Some(message)) = Message::parse(&mut unread) {
                if let Message::DataRow(body) = message {
                    let row = crate::conversation::Row::of(body);
                    for column in 0..4 {
                        let _ = row.text(column);
                    }
                }
            }
            rounds += 1;
            prop_assert!(rounds <= 2 * said.len() + 2, "it does not end");
            prop_assert!(guard.ahead.len() + guard.waiting.len() <= said.len().min(TOTAL_LIMIT));
        }
    }
}
