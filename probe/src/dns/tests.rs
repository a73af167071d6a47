use std::collections::VecDeque;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket as Udp;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// Answers in order; after the last it is silent for ever, or always says the same.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Result<Answer, FailureKind>>>>,
    always: Option<IpAddr>,
}

impl Script {
    pub(super) fn always_loopback() -> Self {
        Self {
            always: Some([127, 0, 0, 1].into()),
            ..Self::default()
        }
    }

    pub(super) async fn answer(&self, _: &str) -> Result<Answer, FailureKind> {
        let next = self.answers.lock().unwrap().pop_front();
        match (next, self.always) {
            (Some(answer), _) => answer,
            (None, Some(address)) => Ok(Answer {
                addresses: vec![address],
                ttl: Duration::ZERO,
            }),
            (None, None) => std::future::pending().await,
        }
    }
}

const WITHIN: Duration = Duration::from_millis(20);

fn resolver(answers: impl IntoIterator<Item = Result<Answer, FailureKind>>) -> Resolver {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
    Resolver::new(
        Clock::new(),
        Lookup::Script(Script {
            answers,
            always: None,
        }),
        AddressRules::default(),
    )
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(texts: &[&str]) -> Answer {
    Answer {
        addresses: addresses(texts),
        ttl: Duration::from_secs(5),
    }
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

#[tokio::test]
async fn answers_are_in_order_and_once() {
    let found = [
        "2001:db8::1",
        "198.18.0.9",
        "198.18.0.10",
        "198.18.0.9",
        "::ffff:198.18.0.1",
    ];
    let resolver = resolver([Ok(answer(&found))]);
    let expected = addresses(&["198.18.0.1", "198.18.0.9", "198.18.0.10", "2001:db8::1"]);
    assert_eq!(resolver.addresses(&name("db"), None, WITHIN).await, Ok(expected));
}

#[tokio::test]
async fn a_declared_address_asks_nobody() {
    let resolver = resolver([]);
    let host = Host::Address("::ffff:198.18.0.1".parse().unwrap());
    assert_eq!(
        resolver.addresses(&host, None, WITHIN).await,
        Ok(addresses(&["198.18.0.1"]))
    );
    let host = Host::Address("::ffff:127.0.0.1".parse().unwrap());
    assert_eq!(
        resolver.addresses(&host, None, WITHIN).await,
        Err(FailureKind::AddressRefused)
    );
}

#[tokio::test]
async fn refused_addresses_are_left_out() {
    let resolver = resolver([
        Ok(answer(&["127.0.0.1", "198.18.0.1"])),
        Ok(answer(&["127.0.0.1", "fe80::1"])),
    ]);
    assert_eq!(
        resolver.addresses(&name("db"), None, WITHIN).await,
        Ok(addresses(&["198.18.0.1"]))
    );
    assert_eq!(
        resolver.addresses(&name("db"), None, WITHIN).await,
        Err(FailureKind::AddressRefused)
    );
}

#[tokio::test]
async fn the_last_good_answer_serves_when_a_lookup_fails() {
    let failures = [Err(FailureKind::ResolverFailed), Err(FailureKind::NameNotFound)];
    let resolver = resolver([Ok(answer(&["198.18.0.1"]))].into_iter().chain(failures));
    // The fourth lookup hears nothing.
    for _ in 0..4 {
        assert_eq!(
            resolver.addresses(&name("db"), None, WITHIN).await,
            Ok(addresses(&["198.18.0.1"]))
        );
    }
}

#[tokio::test]
async fn a_name_without_a_good_answer_fails_as_the_lookup_did() {
    let resolver = resolver([Err(FailureKind::NameNotFound), Err(FailureKind::ResolverFailed)]);
    assert_eq!(
        resolver.addresses(&name("db"), None, WITHIN).await,
        Err(FailureKind::NameNotFound)
    );
    assert_eq!(
        resolver.addresses(&name("db"), None, WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
    assert_eq!(
        resolver.addresses(&name("db"), None, WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
}

/// An address of a name may be used until then.
fn end(resolver: &Resolver, name: &str, address: IpAddr, until: Moment) {
    let mut remembered = resolver.remembered.lock().unwrap();
    let known = remembered.names.get_mut(name).unwrap();
    let before = known.end().unwrap();
    known.0.insert(address, until);
    let after = known.end().unwrap();
    assert!(remembered.ends.remove(&(before, name.to_owned())));
    remembered.ends.insert((after, name.to_owned()));
}

#[tokio::test]
async fn an_old_answer_serves_no_longer_and_is_forgotten() {
    let resolver = resolver([
        Ok(answer(&["198.18.0.1"])),
        Err(FailureKind::ResolverFailed),
        Ok(answer(&["198.18.0.2"])),
    ]);
    assert!(resolver.addresses(&name("old"), None, WITHIN).await.is_ok());
    let past = resolver.clock.now();
    let old = addresses(&["198.18.0.1"])[0];
    end(&resolver, "old", old, past);
    assert_eq!(
        resolver.addresses(&name("old"), None, WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
    assert!(resolver.addresses(&name("new"), None, WITHIN).await.is_ok());
    assert_eq!(
        resolver
            .remembered
            .lock()
            .unwrap()
            .names
            .keys()
            .collect::<Vec<_>>(),
        ["new"]
    );
}

#[tokio::test]
async fn an_address_that_the_name_had_is_kept_for_who_wants_to() {
    let long = Answer {
        addresses: addresses(&["198.18.0.1"]),
        ttl: Duration::from_hours(1),
    };
    let resolver = resolver([
        Ok(long),
        Ok(answer(&["198.18.0.2"])),
        Ok(answer(&["198.18.0.2"])),
        Ok(answer(&["198.18.0.1"])),
        Ok(answer(&["198.18.0.2"])),
        Err(FailureKind::ResolverFailed),
    ]);
    let ask = |keep: Option<&str>| {
        let keep = keep.map(|text| text.parse().unwrap());
        let resolver = resolver.clone();
        async move { resolver.addresses(&name("db"), keep, WITHIN).await }
    };
    assert_eq!(ask(None).await, Ok(addresses(&["198.18.0.1"])));
    assert_eq!(ask(None).await, Ok(addresses(&["198.18.0.2"])));
    let both = Ok(addresses(&["198.18.0.1", "198.18.0.2"]));
    assert_eq!(ask(Some("198.18.0.1")).await, both);
    // A shorter answer of later shortens nothing.
    assert_eq!(ask(None).await, Ok(addresses(&["198.18.0.1"])));
    let until = resolver.remembered.lock().unwrap().names["db"].0[&addresses(&["198.18.0.1"])[0]];
    assert!(until > resolver.clock.now() + Duration::from_hours(2));
    // One that it never had is not kept.
    assert_eq!(ask(Some("198.18.0.3")).await, Ok(addresses(&["198.18.0.2"])));
    assert_eq!(ask(None).await, both);
}

#[tokio::test]
async fn an_address_that_was_not_returned_for_long_is_forgotten() {
    let resolver = resolver([Ok(answer(&["198.18.0.1"])), Ok(answer(&["198.18.0.2"]))]);
    assert!(resolver.addresses(&name("db"), None, WITHIN).await.is_ok());
    let old = addresses(&["198.18.0.1"])[0];
    let past = resolver.clock.now();
    end(&resolver, "db", old, past);
    assert_eq!(
        resolver.addresses(&name("db"), Some(old), WITHIN).await,
        Ok(addresses(&["198.18.0.2"]))
    );
}

#[test]
fn an_answer_outlives_the_resolver_for_three_ttls_and_at_least_a_minute() {
    for (ttl, bound) in [(0, 60), (20, 60), (21, 63), (300, 900), (u64::MAX, 86_400)] {
        assert_eq!(stale_bound(Duration::from_secs(ttl)), Duration::from_secs(bound));
    }
}

/// A resolver that asks a name server of this test, with the search list of a pod.
struct Served {
    resolver: Resolver,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// The name server knows one name, of both families, and refuses to speak of another.
async fn served() -> Served {
    let socket = Udp::bind("127.0.0.1:0").await.unwrap();
    let mut connection = ConnectionConfig::udp();
    connection.port = socket.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            noted.lock().unwrap().push(question.queries[0].name().to_string());
            socket
                .send_to(&reply(&question).to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
    let server = NameServerConfig::new([127, 0, 0, 1].into(), true, vec![connection]);
    let search = ["prod.svc.cluster.test.", "svc.cluster.test."].map(|name| name.parse().unwrap());
    let config = ResolverConfig::from_parts(None, search.to_vec(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().ndots = 5;
    let mut hosts = Hosts::default();
    hosts
        .read_hosts_conf(&b"198.18.0.9 written.test other\n2001:db8::9 written.test\n"[..])
        .unwrap();
    let system = System {
        hosts,
        resolver: Some(configured(builder).unwrap()),
    };
    let resolver = Resolver::new(
        Clock::new(),
        Lookup::System(Arc::new(system)),
        AddressRules::default(),
    );
    Served {
        resolver,
        asked,
        _task: AbortOnDropHandle::new(task),
    }
}

fn reply(question: &Message) -> Message {
    let query = question.queries[0].clone();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.response_code = match (query.name().to_string().as_str(), query.query_type()) {
        ("db.prod.svc.cluster.test.", kind) => {
            let address = if kind == RecordType::A {
                "198.18.0.1"
            } else {
                "2001:db8::1"
            };
            let data: RData = address.parse::<IpAddr>().unwrap().into();
            reply.add_answer(Record::from_rdata(query.name().clone(), 30, data));
            ResponseCode::NoError
        }
        ("empty.test.", _) => ResponseCode::NoError,
        ("broken.test.", _) => ResponseCode::ServFail,
        _ => ResponseCode::NXDomain,
    };
    reply.queries.push(query);
    reply
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_short_name_is_found_by_the_search_list_in_both_families() {
    let served = served().await;
    for _ in 0..3 {
        let found = served.resolver.addresses(&name("db"), None, PATIENT).await;
        assert_eq!(found, Ok(addresses(&["198.18.0.1", "2001:db8::1"])));
    }
    // One question per family: the answer is used for its TTL.
    assert_eq!(*served.asked.lock().unwrap(), ["db.prod.svc.cluster.test."; 2]);
}

#[tokio::test]
async fn no_such_name_and_no_answer_are_told_apart() {
    let served = served().await;
    for (text, failure) in [
        ("nobody.test.", FailureKind::NameNotFound),
        ("nobody", FailureKind::NameNotFound),
        ("empty.test.", FailureKind::NameNotFound),
        ("broken.test.", FailureKind::ResolverFailed),
        ("not..a.name", FailureKind::NameNotFound),
    ] {
        assert_eq!(
            served.resolver.addresses(&name(text), None, PATIENT).await,
            Err(failure),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_written_down_asks_nobody() {
    let served = served().await;
    let found = served
        .resolver
        .addresses(&name("written.test"), None, PATIENT)
        .await;
    assert_eq!(found, Ok(addresses(&["198.18.0.9", "2001:db8::9"])));
    assert_eq!(
        served.resolver.addresses(&name("other"), None, PATIENT).await,
        Ok(addresses(&["198.18.0.9"]))
    );
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_resolver_names_fail() {
    let lookup = Lookup::System(Arc::new(System {
        hosts: Hosts::default(),
        resolver: None,
    }));
    let resolver = Resolver::new(Clock::new(), lookup, AddressRules::default());
    assert_eq!(
        resolver.addresses(&name("db"), None, PATIENT).await,
        Err(FailureKind::ResolverFailed)
    );
}

/// hickory says only that it has no connection to a resolver: whether this process can ask anybody says more.
#[test]
fn a_question_that_this_process_could_not_send_is_its_own_lack() {
    let socket = |number| Err(std::io::Error::from_raw_os_error(number));
    let (files, down) = (24, 100);
    assert_eq!(
        failure_of(&NetError::NoConnections, || socket(files)),
        FailureKind::OutOfResources
    );
    assert_eq!(
        failure_of(&NetError::NoConnections, || socket(down)),
        FailureKind::ResolverFailed
    );
    let open = || UdpSocket::bind(ANY);
    assert_eq!(
        failure_of(&NetError::NoConnections, open),
        FailureKind::ResolverFailed
    );
    assert_eq!(
        failure_of(&NetError::Timeout, || socket(files)),
        FailureKind::ResolverFailed
    );
}
