use fake_postgres::wire::{self, answers, error, logged_in, row};
use fake_postgres::{Fake, Step};
use tokio::sync::mpsc;

use super::*;
use crate::fixture::{location, login, server};
use distributary_core::login::TlsMode;

const LONG: Duration = Duration::from_secs(20);

/// A conversation with a server that says `first` where a login ends, then what it is given.
async fn conversation(first: Vec<u8>) -> (Conversation, mpsc::UnboundedSender<Vec<u8>>, Fake) {
    let (say, said) = mpsc::unbounded_channel::<Vec<u8>>();
    let said = std::sync::Arc::new(tokio::sync::Mutex::new(said));
    let fake = Fake::start(move |session| {
        let (first, said) = (first.clone(), std::sync::Arc::clone(&said));
        async move {
            let mut session = session.startup(None).await?;
            session.say(&first).await?;
            let mut said = said.lock().await;
            while let Some(bytes) = said.recv().await {
                session.say(&bytes).await?;
            }
            session.rest().await;
            Ok(())
        }
    })
    .await;
    let server = server(location(&fake), login(TlsMode::Disable));
    let conversation = server.open(fake.address.ip(), LONG).await.unwrap();
    (conversation, say, fake)
}

fn one() -> Vec<u8> {
    answers(&[row(&[Some("1"), None])])
}

fn notice() -> Vec<u8> {
    wire::notice("the text of it")
}

#[tokio::test]
async fn a_row_tells_its_texts() {
    let (mut conversation, say, _fake) = conversation(logged_in()).await;
    say.send(one()).unwrap();
    let answers = conversation.ask(&["SELECT 1, NULL"], LONG).await.unwrap();
    let row = answers.rows[0].as_ref().unwrap();
    assert_eq!(row.text(0).unwrap(), Some("1"));
    assert_eq!(row.text(1).unwrap(), None);
    assert!(row.text(2).is_err());
}

#[tokio::test]
async fn what_arrives_with_the_end_of_the_login_is_not_lost() {
    let (mut conversation, say, _fake) = conversation([logged_in(), notice()].concat()).await;
    say.send(one()).unwrap();
    assert_eq!(conversation.ask(&["SELECT 1"], LONG).await.unwrap().rows.len(), 1);
    let (mut conversation, _say, _fake) = conversation_that_ends().await;
    assert_eq!(conversation.closed().await, FailureKind::Stopping);
}

async fn conversation_that_ends() -> (Conversation, mpsc::UnboundedSender<Vec<u8>>, Fake) {
    conversation([logged_in(), error("57P01")].concat()).await
}

#[tokio::test]
async fn a_message_that_arrives_in_pieces_is_read_whole_though_its_reader_gave_up_between() {
    let (mut conversation, say, _fake) = conversation(logged_in()).await;
    let (begin, end) = (notice()[..7].to_vec(), notice()[7..].to_vec());
    say.send(begin).unwrap();
    while conversation.unread.is_empty() {
        tokio::select! {
            biased;
            kind = conversation.closed() => panic!("{kind}"),
            () = tokio::task::yield_now() => {}
        }
    }
    say.send([end, one()].concat()).unwrap();
    assert_eq!(conversation.ask(&["SELECT 1"], LONG).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn between_questions_a_conversation_keeps_no_memory() {
    let (mut conversation, say, _fake) = conversation(logged_in()).await;
    for _ in 0..3 {
        say.send(one()).unwrap();
        conversation.ask(&["SELECT 1"], LONG).await.unwrap();
        assert_eq!(conversation.unread.capacity(), 0);
        let idle = conversation.closed().now_or_never();
        assert_eq!((idle, conversation.unread.capacity()), (None, 0));
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_it() {
    let (mut conversation, say, _fake) = conversation(logged_in()).await;
    say.send(one()).unwrap();
    assert_eq!(conversation.closed().await, FailureKind::ProtocolViolation);
}

#[tokio::test]
async fn an_error_that_the_connection_ends_after_is_the_reason() {
    let fake = Fake::following([
        Step::Startup,
        Step::Say(logged_in()),
        Step::Message,
        Step::Say(error("53200")),
    ])
    .await;
    let server = server(location(&fake), login(TlsMode::Disable));
    let mut conversation = server.open(fake.address.ip(), LONG).await.unwrap();
    let answered = conversation.ask(&["SELECT 1"], LONG).await.map(|_| ());
    assert_eq!(answered, Err(FailureKind::ServerFailing.into()));
}

#[tokio::test]
async fn a_session_that_goes_over_to_another_process_is_pooled() {
    let (mut session, _say, _fake) = conversation(logged_in()).await;
    assert!(!session.is_pooled(None));
    assert!(!session.is_pooled(Some((1, 5))));
    assert!(!session.is_pooled(None), "it did not tell this time");
    assert!(!session.is_pooled(Some((1, 5))));
    let (mut other, _say, _fake) = conversation(logged_in()).await;
    assert!(!other.is_pooled(Some((1, 5))));
    assert!(other.is_pooled(Some((1, 6))), "another server");
    assert!(session.is_pooled(Some((2, 5))), "another process");
    assert!(session.is_pooled(Some((2, 5))), "once is enough");
}
