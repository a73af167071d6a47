use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::made::{
    AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY, Kept, NEXT_KEY, RENEW_AUTHORITY, due, renewed,
};
use super::*;
use crate::clock::{Clock, timestamp};

fn names() -> Vec<String> {
    vec!["distributary-api.distributary-system.svc".to_owned()]
}

fn served(kept: &Kept) -> Arc<ServerConfig> {
    configuration(&kept[CERTIFICATE], &kept[KEY]).unwrap()
}

/// Whether a client that trusts these authorities accepts the server.
async fn is_trusted(server: Arc<ServerConfig>, authorities: &[u8], name: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let accepted = tokio_rustls::TlsAcceptor::from(server).accept(far);
    let connected = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, near);
    let (connected, _) = tokio::join!(connected, accepted);
    connected.is_ok()
}

#[tokio::test]
async fn a_certificate_is_of_its_authority_and_is_renewed_at_two_thirds_of_its_life() {
    let now = timestamp();
    assert_eq!(due(&Kept::new()), None);
    let first = renewed(&Kept::new(), &names(), now).unwrap();
    let name = &*names()[0];
    assert!(is_trusted(served(&first), &first[AUTHORITY], name).await);
    assert!(!is_trusted(served(&first), &first[AUTHORITY], "other.svc").await);
    let at = due(&first).unwrap();
    assert_eq!(at, now + SignedDuration::from_hours(60 * 24));
    // Those who know the authority need not learn another one.
    let second = renewed(&first, &names(), now).unwrap();
    assert_eq!(
        (&second[AUTHORITY], &second[AUTHORITY_KEY]),
        (&first[AUTHORITY], &first[AUTHORITY_KEY])
    );
    assert_ne!(second[KEY], first[KEY]);
    assert!(is_trusted(served(&second), &first[AUTHORITY], name).await);
}

#[tokio::test]
async fn a_new_authority_is_in_the_list_for_30_days_before_it_signs() {
    let (now, day) = (timestamp(), SignedDuration::from_hours(24));
    let name = &*names()[0];
    let first = renewed(&Kept::new(), &names(), now).unwrap();
    let renew: Timestamp = std::str::from_utf8(&first[RENEW_AUTHORITY])
        .unwrap()
        .parse()
        .unwrap();
    assert!(renew > now + day * (6 * 365));
    let mut old = first.clone();
    old.insert(RENEW_AUTHORITY.to_owned(), now.to_string().into_bytes());
    let announced = renewed(&old, &names(), now).unwrap();
    assert_eq!(announced[AUTHORITY_KEY], first[AUTHORITY_KEY]);
    assert_eq!(due(&announced), Some(now + day * 30));
    // Whoever knows only the authority before accepts what is served.
    assert!(is_trusted(served(&announced), &first[AUTHORITY], name).await);
    let early = renewed(&announced, &names(), now + day * 29).unwrap();
    assert_eq!(early[AUTHORITY_KEY], first[AUTHORITY_KEY]);
    assert_eq!(early[AUTHORITY], announced[AUTHORITY]);
    let second = renewed(&announced, &names(), now + day * 30).unwrap();
    assert_ne!(second[AUTHORITY_KEY], first[AUTHORITY_KEY]);
    assert!(!second.contains_key(NEXT_KEY));
    // Both know both: clients that have either list accept either certificate.
    let accepts = |server: &Kept, list: &Kept| {
        is_accepted(&server[CERTIFICATE], &list[AUTHORITY], &names(), now + day * 31)
    };
    for server in [&announced, &second] {
        assert!(accepts(server, &announced) && accepts(server, &second));
    }
    assert!(!accepts(&second, &first));
    assert_eq!(due(&second), Some(now + day * 90));
}

/// Until every process has read the new certificate, the one before is served.
#[test]
fn an_authority_that_cannot_sign_any_more_stays_in_the_list() {
    let now = timestamp();
    let first = renewed(&Kept::new(), &names(), now).unwrap();
    let mut lost = first.clone();
    lost.remove(AUTHORITY_KEY);
    let second = renewed(&lost, &names(), now).unwrap();
    for server in [&first, &second] {
        assert!(is_accepted(
            &server[CERTIFICATE],
            &second[AUTHORITY],
            &names(),
            now
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_not_there_yet_is_followed_later() {
    let directory = std::env::temp_dir().join(format!("distributary-late-{}", std::process::id()));
    let (newest, mut served) = watch::channel(None);
    let files = CertificateFiles::in_directory(&directory);
    let following = tokio::spawn(async move { follow_files(files, &newest).await });
    Clock::sleep(std::time::Duration::from_secs(300)).await;
    assert!(served.borrow().is_none() && !following.is_finished());
    std::fs::create_dir_all(&directory).unwrap();
    let pair = renewed(&Kept::new(), &names(), timestamp()).unwrap();
    for name in [CERTIFICATE, KEY] {
        std::fs::write(directory.join(name), &pair[name]).unwrap();
    }
    let changed = tokio::time::timeout(std::time::Duration::from_secs(60), served.changed());
    changed.await.unwrap().unwrap();
    assert!(served.borrow().is_some());
    following.abort();
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_cannot_be_used_is_told_without_its_text() {
    let kept = renewed(&Kept::new(), &names(), timestamp()).unwrap();
    let other = renewed(&Kept::new(), &names(), timestamp()).unwrap();
    let of = |chain: &[u8], key: &[u8]| configuration(chain, key).err().unwrap();
    assert!(matches!(of(b"", &kept[KEY]), Error::Certificate));
    assert!(matches!(of(&kept[CERTIFICATE], b"secret"), Error::Key));
    assert!(matches!(of(&kept[CERTIFICATE], &other[KEY]), Error::Unusable(_)));
}

#[tokio::test]
async fn files_that_change_are_read_again_and_half_of_a_pair_changes_nothing() {
    let directory = std::env::temp_dir().join(format!("distributary-api-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: &[u8]| {
        let new = directory.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, directory.join(name)).unwrap();
    };
    let pair = || renewed(&Kept::new(), &names(), timestamp()).unwrap();
    let (first, second) = (pair(), pair());
    write(CERTIFICATE, &first[CERTIFICATE]);
    write(KEY, &first[KEY]);
    let (newest, mut served) = watch::channel(None);
    let files = CertificateFiles::in_directory(&directory);
    let following = tokio::spawn(async move { follow_files(files, &newest).await });
    let known = async |served: &mut watch::Receiver<Option<Arc<ServerConfig>>>, authority: &[u8]| {
        for _ in 0..100 {
            let server = served.borrow_and_update().clone();
            if let Some(server) = server
                && is_trusted(server, authority, &names()[0]).await
            {
                return true;
            }
            let changed = served.changed();
            if tokio::time::timeout(std::time::Duration::from_secs(10), changed)
                .await
                .is_err()
            {
                return false;
            }
        }
        false
    };
    assert!(known(&mut served, &first[AUTHORITY]).await);
    write(CERTIFICATE, &second[CERTIFICATE]);
    Clock::sleep(std::time::Duration::from_millis(200)).await;
    assert!(known(&mut served, &first[AUTHORITY]).await);
    write(KEY, &second[KEY]);
    assert!(known(&mut served, &second[AUTHORITY]).await);
    following.abort();
    std::fs::remove_dir_all(&directory).unwrap();
}
