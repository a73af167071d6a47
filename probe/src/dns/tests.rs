use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::CNAME;
use tokio::net::UdpSocket as Udp;
use tokio::time::advance;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// Answers in order; after the last it always says the same, or is silent for ever.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Result<Answer, FailureKind>>>>,
    always: Arc<Mutex<Option<Answer>>>,
    asked: Arc<AtomicUsize>,
    takes: Duration,
}

impl Script {
    /// A name server whose answers live for no time.
    pub(crate) fn saying(addresses: &[IpAddr]) -> Self {
        Self::saying_for(addresses, Duration::ZERO)
    }

    pub(crate) fn saying_for(addresses: &[IpAddr], ttl: Duration) -> Self {
        let script = Self::default();
        *script.always.lock().unwrap() = Some(Answer {
            addresses: addresses.to_vec(),
            ttl,
        });
        script
    }

    pub(crate) fn says(&self, addresses: &[IpAddr]) {
        if let Some(answer) = &mut *self.always.lock().unwrap() {
            answer.addresses = addresses.to_vec();
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) async fn answer(&self, _: &str) -> Result<Answer, FailureKind> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.takes.is_zero() {
            Clock::sleep(self.takes).await;
        }
        let next = self.answers.lock().unwrap().pop_front();
        let always = self.always.lock().unwrap().clone();
        match next.or(always.map(Ok)) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

impl Resolver {
    pub(crate) fn scripted(clock: Clock, script: Script, rules: AddressRules) -> Self {
        Self::new(clock, Lookup::Script(script), rules)
    }

    /// Takes in an answer, as of a lookup.
    pub(crate) fn hear(&self, name: &str, addresses: &[IpAddr]) {
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let known = &mut remembered.of(name, now).known;
        known.answer(addresses, Duration::from_hours(1), now);
    }
}

const WITHIN: Duration = Duration::from_millis(20);
const TTL: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

fn resolver(answers: impl IntoIterator<Item = Result<Answer, FailureKind>>) -> Resolver {
    let script = Script {
        answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        ..Script::default()
    };
    Resolver::scripted(Clock::new(), script, AddressRules::default())
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(texts: &[&str]) -> Answer {
    Answer {
        addresses: addresses(texts),
        ttl: TTL,
    }
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

/// What is found after the newest answer's TTL.
async fn later(resolver: &Resolver, keep: Option<&str>) -> Result<Vec<IpAddr>, FailureKind> {
    advance(TTL).await;
    let keep = keep.map(|text| text.parse().unwrap());
    resolver.addresses(&name("db"), keep, WITHIN).await
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

#[tokio::test(start_paused = true)]
async fn refused_addresses_are_left_out() {
    let resolver = resolver([
        Ok(answer(&["127.0.0.1", "198.18.0.1"])),
        Ok(answer(&["127.0.0.1", "fe80::1"])),
    ]);
    assert_eq!(later(&resolver, None).await, Ok(addresses(&["198.18.0.1"])));
    assert_eq!(later(&resolver, None).await, Err(FailureKind::AddressRefused));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_serves_when_a_lookup_fails() {
    let failures = [Err(FailureKind::ResolverFailed), Err(FailureKind::NameNotFound)];
    let resolver = resolver([Ok(answer(&["198.18.0.1"]))].into_iter().chain(failures));
    // The fourth lookup hears nothing.
    for _ in 0..4 {
        assert_eq!(later(&resolver, None).await, Ok(addresses(&["198.18.0.1"])));
    }
    advance(Duration::from_mins(1)).await;
    assert_eq!(later(&resolver, None).await, Err(FailureKind::ResolverFailed));
}

#[tokio::test(start_paused = true)]
async fn a_name_without_a_good_answer_fails_as_the_lookup_did() {
    let resolver = resolver([Err(FailureKind::NameNotFound), Err(FailureKind::ResolverFailed)]);
    assert_eq!(later(&resolver, None).await, Err(FailureKind::NameNotFound));
    assert_eq!(later(&resolver, None).await, Err(FailureKind::ResolverFailed));
    assert_eq!(
        later(&resolver, None).await,
        Err(FailureKind::ResolverFailed),
        "silence"
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_leaves_after_two_answers_without_it() {
    let [old, new] = ["198.18.0.1", "198.18.0.2"];
    let resolver = resolver([old, new, new].map(|text| Ok(answer(&[text]))));
    assert_eq!(later(&resolver, Some(old)).await, Ok(addresses(&[old])));
    let both = Ok(addresses(&[old, new]));
    assert_eq!(later(&resolver, Some(old)).await, both);
    // The same answer again is none.
    for _ in 0..3 {
        let found = resolver.addresses(&name("db"), old.parse().ok(), WITHIN).await;
        assert_eq!(found, both);
    }
    assert_eq!(resolver.state("db", old.parse().ok()), NameState::default());
    assert_eq!(later(&resolver, Some(old)).await, Ok(addresses(&[new])));
    let left = NameState {
        left: old.parse().ok(),
        rotates: false,
    };
    assert_eq!(resolver.state("db", old.parse().ok()), left);
    assert_eq!(resolver.state("db", new.parse().ok()), NameState::default());
    assert_eq!(resolver.state("db", None), NameState::default());
}

#[tokio::test(start_paused = true)]
async fn an_address_from_before_the_first_answer_stays_for_two() {
    let [old, new] = ["198.18.0.1", "198.18.0.2"];
    let resolver = resolver([new, new].map(|text| Ok(answer(&[text]))));
    assert_eq!(later(&resolver, Some(old)).await, Ok(addresses(&[old, new])));
    assert_eq!(later(&resolver, Some(old)).await, Ok(addresses(&[new])));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_at_most_once_a_second() {
    for answer in [
        Ok(Answer {
            ttl: Duration::ZERO,
            ..answer(&["198.18.0.1"])
        }),
        Err(FailureKind::ResolverFailed),
        Err(FailureKind::NameNotFound),
    ] {
        let script = Script::default();
        script.answers.lock().unwrap().extend(vec![answer.clone(); 9]);
        let resolver = Resolver::scripted(Clock::new(), script.clone(), AddressRules::default());
        let found = answer.map(|answer| answer.addresses);
        for asked in 1..4 {
            for _ in 0..3 {
                assert_eq!(resolver.addresses(&name("db"), None, WITHIN).await, found);
                advance(SECOND / 10).await;
                resolver.look_up("db", &[], Duration::ZERO, WITHIN).await;
                advance(SECOND / 10).await;
            }
            assert_eq!(script.asked(), asked);
            advance(SECOND * 2 / 5).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_beside_the_checks_comes_before_a_long_ttl_is_over() {
    let script = Script::default();
    let long = Answer {
        ttl: Duration::from_hours(1),
        ..answer(&["198.18.0.1"])
    };
    script.answers.lock().unwrap().extend(vec![Ok(long); 9]);
    let resolver = Resolver::scripted(Clock::new(), script.clone(), AddressRules::default());
    let interval = Duration::from_secs(30);
    for asked in 1..5 {
        assert!(resolver.due("db", interval) <= resolver.clock.now());
        assert!(resolver.look_up("db", &[], interval, WITHIN).await);
        assert_eq!(resolver.due("db", interval), resolver.clock.now() + interval);
        advance(interval - SECOND).await;
        assert!(resolver.look_up("db", &[], interval, WITHIN).await);
        assert!(resolver.addresses(&name("db"), None, WITHIN).await.is_ok());
        assert_eq!(script.asked(), asked);
        advance(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_ask_for_one_name_share_one_lookup() {
    let script = Script {
        takes: SECOND,
        ..Script::saying(&addresses(&["198.18.0.1"]))
    };
    let resolver = Resolver::scripted(Clock::new(), script.clone(), AddressRules::default());
    let host = name("db");
    // The first one does not wait for it.
    let first = resolver.addresses(&host, None, WITHIN);
    let others = join_all((0..1000).map(|_| resolver.addresses(&host, None, PATIENT)));
    let (first, others) = futures::join!(first, others);
    assert_eq!(first, Err(FailureKind::ResolverFailed));
    assert!(
        others
            .into_iter()
            .all(|found| found == Ok(addresses(&["198.18.0.1"])))
    );
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_nobody_waits_for_any_more_ends() {
    let script = Script::default();
    let resolver = Resolver::scripted(Clock::new(), script.clone(), AddressRules::default());
    for asked in 1..4 {
        assert!(!resolver.look_up("db", &[], SECOND, WITHIN).await);
        assert_eq!(script.asked(), asked);
    }
    resolver.give_up("db");
    assert!(
        resolver.look_up("db", &[], SECOND, WITHIN).await,
        "a second later"
    );
    assert_eq!(script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_asks_for_any_more_are_forgotten() {
    let script = Script::saying(&addresses(&["198.18.0.1"]));
    let resolver = Resolver::scripted(Clock::new(), script, AddressRules::default());
    for number in 0..2000 {
        let found = resolver
            .addresses(&name(&format!("db-{number}")), None, WITHIN)
            .await;
        assert!(found.is_ok());
        assert!(resolver.addresses(&name("watched"), None, WITHIN).await.is_ok());
        // Each is of use for 10 minutes.
        advance(SECOND * 6).await;
    }
    let remembered = resolver.remembered();
    assert!(remembered.names.contains_key("watched"));
    assert!(remembered.names.len() <= 300, "{}", remembered.names.len());
}

/// A resolver that asks a name server of this test, with the search list of a pod.
struct Served {
    resolver: Resolver,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// The name server knows one name, of both families, and refuses to speak of another.
async fn served() -> Served {
    served_in(zone(&[])).await
}

/// Aliases lead to names of these namespaces.
fn zone(namespaces: &[&str]) -> ClusterZone {
    ClusterZone::new("cluster.test", namespaces.iter().map(ToString::to_string))
}

async fn served_in(zone: ClusterZone) -> Served {
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
        zone,
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
        ("alias.test.", _) => {
            let target = "db.prod.svc.cluster.test.".parse().unwrap();
            let data = RData::CNAME(CNAME(target));
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
async fn a_name_in_the_cluster_is_completed_and_found_in_both_families() {
    let served = served().await;
    for text in ["db.prod.svc", "db.prod.svc.", "DB.prod.SVC"] {
        let found = served.resolver.addresses(&name(text), None, PATIENT).await;
        assert_eq!(found, Ok(addresses(&["198.18.0.1", "2001:db8::1"])), "{text}");
        let asked = std::mem::take(&mut *served.asked.lock().unwrap());
        let asked: Vec<_> = asked.iter().map(|name| name.to_ascii_lowercase()).collect();
        assert_eq!(asked, ["db.prod.svc.cluster.test."; 2], "{text}");
    }
    // The answer is used for its TTL.
    served
        .resolver
        .addresses(&name("db.prod.svc"), None, PATIENT)
        .await
        .unwrap();
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_search_list_leads_a_name_to_a_service() {
    let served = served().await;
    for text in ["db", "db.prod", "db.prod.svc.cluster"] {
        let found = served.resolver.addresses(&name(text), None, PATIENT).await;
        assert_eq!(found, Err(FailureKind::NameNotFound), "{text}");
        let asked = std::mem::take(&mut *served.asked.lock().unwrap());
        assert!(asked.iter().all(|name| *name == format!("{text}.")), "{asked:?}");
    }
}

#[tokio::test]
async fn an_alias_leads_into_the_cluster_only_where_its_namespace_is_allowed() {
    for (allowed, expected) in [
        (vec![], Err(FailureKind::NameNotFound)),
        (vec!["bank"], Err(FailureKind::NameNotFound)),
        (vec!["prod"], Ok(addresses(&["198.18.0.1", "2001:db8::1"]))),
    ] {
        let served = served_in(zone(&allowed)).await;
        let found = served
            .resolver
            .addresses(&name("alias.test"), None, PATIENT)
            .await;
        assert_eq!(found, expected, "{allowed:?}");
        // Its name server was not the one that refused.
        let asked = served.asked.lock().unwrap();
        assert!(
            asked.iter().any(|name| name == "db.prod.svc.cluster.test."),
            "{asked:?}"
        );
    }
}

/// Nothing between here and the name server keeps an answer.
#[tokio::test]
async fn every_lookup_asks_the_name_server() {
    let served = served().await;
    let deadline = served.resolver.clock.now() + PATIENT;
    while served.asked.lock().unwrap().len() < 4 {
        assert!(served.resolver.clock.now() < deadline);
        served
            .resolver
            .look_up("db.prod.svc.cluster.test.", &[], SECOND, PATIENT)
            .await;
        let due = served.resolver.due("db.prod.svc.cluster.test.", SECOND);
        served.resolver.clock.sleep_until(due).await;
    }
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
        zone: zone(&[]),
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

#[test]
fn the_domain_of_the_cluster_is_in_the_search_list_of_a_pod() {
    let domain = |searched: &[&str]| domain_in(searched.iter().map(ToString::to_string));
    for (searched, found) in [
        (
            &[
                "shop.svc.cluster.local.",
                "svc.cluster.local.",
                "cluster.local.",
                "example.com.",
            ][..],
            Some("cluster.local"),
        ),
        (
            &[
                "svc.svc.K8s.example.com",
                "svc.k8s.example.com",
                "k8s.example.com",
            ],
            Some("k8s.example.com"),
        ),
        (&["example.com", "svc.corp.example.com"], None),
        (&[], None),
    ] {
        assert_eq!(domain(searched).as_deref(), found, "{searched:?}");
    }
}
