//! A certificate of an own authority. Its key and that of the authority are in the same Secret.
//!
//! A new authority signs nothing at first: it is in the list beside the one that signs for [`KNOWN_DAYS`], so that whoever reads the
//! list now and then trusts it already when certificates of it are served. The one before stays in the list after that.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Days for which a certificate is valid.
const DAYS: i64 = 90;
/// The same of the authority.
const AUTHORITY_DAYS: i64 = 3650;
/// Days for which a new authority is in the list before it signs.
const KNOWN_DAYS: i64 = DAYS / 3;
/// Days for which it is valid already: clocks differ, and a date has no hour.
const BEFORE: i64 = 1;

/// The keys of the Secret.
pub const CERTIFICATE: &str = "tls.crt";
pub const KEY: &str = "tls.key";
/// The CA that signs first, and after it the one that follows, or that was before.
pub const AUTHORITY: &str = "ca.crt";
pub const AUTHORITY_KEY: &str = "ca.key";
/// When the certificate, and when the authority, is to be replaced: RFC 3339.
pub const RENEW: &str = "renew-at";
pub const RENEW_AUTHORITY: &str = "renew-ca-at";

/// The key of the authority that follows, and when it begins to sign: RFC 3339. Absent: none is to follow yet.
pub const NEXT_KEY: &str = "next-ca.key";
pub const SIGN_BY_NEXT: &str = "sign-by-next-ca-at";

/// What the Secret holds.
pub type Kept = BTreeMap<String, Vec<u8>>;

fn text<'a>(kept: &'a Kept, key: &str) -> Option<&'a str> {
    std::str::from_utf8(kept.get(key)?).ok()
}

fn time(kept: &Kept, key: &str) -> Option<Timestamp> {
    text(kept, key)?.parse().ok()
}

/// When something of what is kept is to be replaced; `None`: there is nothing that can be used.
#[must_use]
pub fn due(kept: &Kept) -> Option<Timestamp> {
    let all = [CERTIFICATE, KEY, AUTHORITY, AUTHORITY_KEY];
    all.iter().all(|key| kept.contains_key(*key)).then_some(())?;
    let authority = if kept.contains_key(NEXT_KEY) {
        SIGN_BY_NEXT
    } else {
        RENEW_AUTHORITY
    };
    Some(time(kept, RENEW)?.min(time(kept, authority)?))
}

/// The authorities of a Secret.
struct Authorities {
    key: KeyPair,
    /// PEM: the one that signs, and the one that follows or was before.
    list: String,
    renew: String,
    /// The key of the one that follows, and when it begins to sign.
    next: Option<(String, String)>,
}

impl Authorities {
    /// `None`: there is none that can sign.
    fn of(kept: &Kept) -> Option<Self> {
        let next = text(kept, NEXT_KEY).zip(text(kept, SIGN_BY_NEXT));
        Some(Self {
            key: KeyPair::from_pem(text(kept, AUTHORITY_KEY)?).ok()?,
            list: text(kept, AUTHORITY)?.to_owned(),
            renew: text(kept, RENEW_AUTHORITY)?.to_owned(),
            next: next.map(|(key, at)| (key.to_owned(), at.to_owned())),
        })
    }

    /// One that signs at once, as nobody trusts another one of which there is the key. What is kept stays in the list: certificates
    /// of it are served until every process has read the new one.
    fn first(kept: &Kept, now: Timestamp) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let own = authority(now).self_signed(&key)?.pem();
        let before = text(kept, AUTHORITY).map(certificates).unwrap_or_default();
        let before = before.first().copied().filter(|pem| is_authority(pem));
        Ok(Self {
            list: format!("{own}{}", before.unwrap_or_default()),
            key,
            renew: renewal(now, AUTHORITY_DAYS),
            next: None,
        })
    }

    /// What is due of them.
    fn advanced(mut self, now: Timestamp) -> Result<Self, rcgen::Error> {
        let is_due = |at: &str| at.parse().is_ok_and(|at: Timestamp| at <= now);
        let certificates = certificates(&self.list);
        let follows = |key: &str| KeyPair::from_pem(key).ok().zip(certificates.get(1));
        match &self.next {
            None if is_due(&self.renew) => {
                let next = KeyPair::generate()?;
                let own = certificates.first().copied().unwrap_or_default();
                self.list = format!("{own}{}", authority(now).self_signed(&next)?.pem());
                let at = now + SignedDuration::from_hours(KNOWN_DAYS * 24);
                self.next = Some((next.serialize_pem(), at.to_string()));
            }
            Some((key, at)) if is_due(at) => {
                if let Some((key, next)) = follows(key) {
                    self.list = format!("{next}{}", certificates[0]);
                    self.key = key;
                    self.renew = renewal(now, AUTHORITY_DAYS);
                }
                self.next = None;
            }
            _ => {}
        }
        Ok(self)
    }
}

/// A new certificate of these names, by the authority that is kept while that may sign.
///
/// # Errors
/// A name is none, or no key can be made.
pub fn renewed(kept: &Kept, names: &[String], now: Timestamp) -> Result<Kept, rcgen::Error> {
    let Authorities {
        key,
        list,
        renew,
        next,
    } = match Authorities::of(kept) {
        Some(authorities) => authorities.advanced(now)?,
        None => Authorities::first(kept, now)?,
    };
    let own = KeyPair::generate()?;
    let issuer = authority(now);
    let certificate = leaf(names, now)?.signed_by(&own, &Issuer::from_params(&issuer, &key))?;
    let mut new = Kept::new();
    let mut put = |key: &str, text: String| new.insert(key.to_owned(), text.into_bytes());
    put(CERTIFICATE, certificate.pem());
    put(KEY, own.serialize_pem());
    put(AUTHORITY, list);
    put(AUTHORITY_KEY, key.serialize_pem());
    put(RENEW, renewal(now, DAYS));
    put(RENEW_AUTHORITY, renew);
    if let Some((key, at)) = next {
        put(NEXT_KEY, key);
        put(SIGN_BY_NEXT, at);
    }
    Ok(new)
}

/// At two thirds of its life.
fn renewal(now: Timestamp, days: i64) -> String {
    (now + SignedDuration::from_hours(days * 24 * 2 / 3)).to_string()
}

/// The certificates of a list, each with its last line.
fn certificates(pem: &str) -> Vec<&str> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let all = pem.split_inclusive(END);
    all.filter(|one| one.ends_with(END)).collect()
}

fn is_authority(pem: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}

fn authority(now: Timestamp) -> CertificateParams {
    let mut params = valid(AUTHORITY_DAYS, now);
    params
        .distinguished_name
        .push(DnType::CommonName, "Distributary API CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(names: &[String], now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let dates = valid(DAYS, now);
    (params.not_before, params.not_after) = (dates.not_before, dates.not_after);
    params.distinguished_name = dates.distinguished_name;
    params
        .distinguished_name
        .push(DnType::CommonName, "Distributary API");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid(days: i64, now: Timestamp) -> CertificateParams {
    let date = |days: i64| {
        let at = (now + SignedDuration::from_hours(days * 24)).to_zoned(TimeZone::UTC);
        let number = |of: i8| u8::try_from(of).unwrap_or(1);
        date_time_ymd(at.year().into(), number(at.month()), number(at.day()))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    (params.not_before, params.not_after) = (date(-BEFORE), date(days));
    params
}
