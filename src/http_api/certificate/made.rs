//! A certificate of an own authority. Its key and that of the authority are in the same Secret.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Days for which a certificate is valid.
const DAYS: i64 = 90;
/// The same of the authority.
const AUTHORITY_DAYS: i64 = 3650;
/// Days for which it is valid already: clocks differ, and a date has no hour.
const BEFORE: i64 = 1;

/// The keys of the Secret.
pub const CERTIFICATE: &str = "tls.crt";
pub const KEY: &str = "tls.key";
/// The CA, and the one before while certificates of it may be in use.
pub const AUTHORITY: &str = "ca.crt";
pub const AUTHORITY_KEY: &str = "ca.key";
/// When the certificate, and when the authority, is to be replaced: RFC 3339.
pub const RENEW: &str = "renew-at";
pub const RENEW_AUTHORITY: &str = "renew-ca-at";

/// What the Secret holds.
pub type Kept = BTreeMap<String, Vec<u8>>;

fn text<'a>(kept: &'a Kept, key: &str) -> Option<&'a str> {
    std::str::from_utf8(kept.get(key)?).ok()
}

/// When what is kept is to be replaced; `None`: there is nothing that can be used.
#[must_use]
pub fn due(kept: &Kept) -> Option<Timestamp> {
    let time = |key| text(kept, key)?.parse::<Timestamp>().ok();
    let all = [CERTIFICATE, KEY, AUTHORITY, AUTHORITY_KEY];
    all.iter().all(|key| kept.contains_key(*key)).then_some(())?;
    Some(time(RENEW)?.min(time(RENEW_AUTHORITY)?))
}

/// A new certificate of these names, by the authority that is kept while that may sign.
///
/// # Errors
/// A name is none, or no key can be made.
pub fn renewed(kept: &Kept, names: &[String], now: Timestamp) -> Result<Kept, rcgen::Error> {
    let mut new = Kept::new();
    let is_due = |key| {
        text(kept, key)
            .and_then(|at| at.parse().ok())
            .is_none_or(|at: Timestamp| at <= now)
    };
    let before = text(kept, AUTHORITY);
    let known = text(kept, AUTHORITY_KEY).and_then(|key| KeyPair::from_pem(key).ok());
    let params = authority(now);
    let (key, authorities, renew) = match (known, before) {
        (Some(key), Some(before)) if !is_due(RENEW_AUTHORITY) => {
            let renew = text(kept, RENEW_AUTHORITY).unwrap_or_default().to_owned();
            (key, before.to_owned(), renew)
        }
        (_, before) => {
            let key = KeyPair::generate()?;
            let own = params.self_signed(&key)?.pem();
            // The first of those before: certificates of it are replaced within their own time.
            let last = before.and_then(first_of).unwrap_or_default();
            (key, format!("{own}{last}"), renewal(now, AUTHORITY_DAYS))
        }
    };
    let own = KeyPair::generate()?;
    let certificate = leaf(names, now)?.signed_by(&own, &Issuer::from_params(&params, &key))?;
    let mut put = |key: &str, text: String| new.insert(key.to_owned(), text.into_bytes());
    put(CERTIFICATE, certificate.pem());
    put(KEY, own.serialize_pem());
    put(AUTHORITY, authorities);
    put(AUTHORITY_KEY, key.serialize_pem());
    put(RENEW, renewal(now, DAYS));
    put(RENEW_AUTHORITY, renew);
    Ok(new)
}

/// At two thirds of its life.
fn renewal(now: Timestamp, days: i64) -> String {
    (now + SignedDuration::from_hours(days * 24 * 2 / 3)).to_string()
}

fn first_of(pem: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.find(END).map(|at| pem[..at + END.len()].trim_end())
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
