use fake_postgres::Standing;
use fake_postgres::wire::{authentication, error, frame, logged_in};
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
    let mut guard = Guard::new(near);
    let mut passed = Vec::new();
    let end = guard.read_to_end(&mut passed).await.unwrap_err();
    writing.abort();
    (passed, *end.get_ref().unwrap().downcast_ref::<Breach>().unwrap())
}

#[tokio::test]
async fn an_honest_conversation_passes_however_it_is_cut() {
    let scram = [
        authentication(10, b"SCRAM-SHA-256\0\0"),
        authentication(11, b"r=x"),
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
async fn settings_are_bounded_however_long_the_session_lasts() {
    let setting = [frame(b'S', &[b'x'; 1000]), frame(b'Z', b"I")].concat();
    let session = [logged_in(), setting.repeat(FRAME_LIMIT / 1000 + 1)].concat();
    let (passed, breach) = passed(&session, 4096).await;
    assert_eq!(breach, Breach::TooLong);
    assert!(passed.len() <= 2 * FRAME_LIMIT);
}

#[tokio::test]
async fn a_breach_is_final() {
    let (near, mut far) = duplex(4096);
    far.write_all(&authentication(3, b"")).await.unwrap();
    let mut guard = Guard::new(near);
    let mut buffer = [0; 64];
    assert!(guard.read(&mut buffer).await.is_err());
    far.write_all(&logged_in()).await.unwrap();
    assert!(guard.read(&mut buffer).await.is_err());
}
