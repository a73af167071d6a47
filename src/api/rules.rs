//! What must hold of a policy, in the words that people read.
//!
//! Admission (the CEL rules of the schema) and [`crate::validate`] (the condition `Accepted`) use the same
//! constants, so that both say the same. Each message names the field and what must hold.
//!
//! A form is a CEL rule rather than a `pattern`: the API server quotes a failed pattern, which few can read, and
//! then leaves the rules out.

use super::duration;

pub const NAME: &str = "metadata.name must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const PRIMARY_ID: &str = "primary.id must differ from the id of every replica; its default is 'primary'";
pub const ADDRESS: &str = "exactly one of host and urlSecretRef must be set";
pub const PORT_WITH_URL: &str = "port must not be set together with urlSecretRef, whose URL names the port";
pub const HOST: &str = "host must not be a loopback, link-local, multicast or unspecified address";
pub const HOST_FORM: &str = "host must be a DNS name, an IPv4 address or an IPv6 address";
pub const SAME_SERVER: &str = "each host and port must be declared once: two endpoints name the same server";
pub const REGION: &str =
    "region must consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const ZONE: &str =
    "zone must consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const TAGS: &str =
    "tags must each consist of letters, digits, '-', '_' and '.', with a letter or digit at both ends";
pub const SECRET_NAME: &str = "name must be the name of a Secret: lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part";
pub const SECRET_KEY: &str = "key must be a key of a Secret: letters, digits, '-', '_' and '.'";
pub const ID_FORM: &str =
    "id must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'";
pub const ID_ONCE: &str = "replicas[].id must be set and be unique";
pub const REPLICAS: &str = "replicas must have at most 64 items";
pub const PORT: &str = "port must be between 1 and 65535";
pub const WEIGHT: &str = "weight must be between 0 and 1000";
pub const PRIORITY: &str = "priority must be between 0 and 1000";
pub const MAX_CONNECTIONS: &str = "maxConnections must be between 1 and 100000";
pub const DATABASE: &str = "connection.database must have 1 to 63 characters";
pub const CONNECT_TIMEOUT: &str = "connectTimeout must be between 1s and 5m, written as 10s or 1m30s";
pub const CA_NEEDS_VERIFY: &str =
    "tls.caSecretRef needs tls.mode VerifyCA or VerifyFull: the other modes verify no certificate";
pub const CLIENT_CERT_NEEDS_TLS: &str = "tls.clientCertSecretRef needs a tls.mode other than Disable";
pub const INTERVAL: &str =
    "healthCheck.interval must be between 100ms and 1h, written as 30s, 500ms or 1m30s";
pub const TIMEOUT: &str = "healthCheck.timeout must be between 20ms and 1m, written as 2s, 500ms or 1m";
pub const FAILOVER_TIMEOUT: &str =
    "healthCheck.failoverTimeout must be between 20ms and 10m, written as 5s, 500ms or 1m30s";
pub const ATTEMPT: &str =
    "healthCheck.failoverTimeout must be at least 20ms for each of circuitBreaker.failureThreshold attempts";
pub const FAILURE_THRESHOLD: &str = "circuitBreaker.failureThreshold must be between 1 and 100";
pub const RESET_TIMEOUT: &str =
    "circuitBreaker.resetTimeout must be between 100ms and 1h, written as 60s, 500ms or 1m30s";
pub const SUCCESS_THRESHOLD: &str = "circuitBreaker.halfOpen.successThreshold must be between 1 and 100";
pub const TRAFFIC_STEPS: &str = "circuitBreaker.halfOpen.trafficSteps must be 1 to 8 percentages from 1 to 100, each above the one before";
pub const NAME_PREFIX: &str = "outputs.services.namePrefix must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const CONFIG_MAP_NAME: &str =
    "outputs.configMap.name must be a DNS-1123 subdomain of at most 253 characters";
/// The rule that a duration has its form and lies between two durations, both included.
pub(super) fn duration_between(least: &str, most: &str) -> String {
    let pattern = duration::PATTERN;
    format!(
        "self.matches('{pattern}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    )
}

/// The rule of the spec that every attempt before the circuit opens gets its least time. A bad duration is refused
/// by its own rule.
pub(super) fn attempts_fit() -> String {
    let (timeout, pattern) = ("self.healthCheck.failoverTimeout", duration::PATTERN);
    format!(
        "!{timeout}.matches('{pattern}') || duration({timeout}).getMilliseconds() >= 20 * self.circuitBreaker.failureThreshold"
    )
}

/// The rule that a string has a form.
pub(super) fn form(pattern: &str) -> String {
    format!("self.matches('{pattern}')")
}

/// A DNS-1035 label, its length left to `maxLength`.
pub(super) const DNS_1035_LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// A DNS-1123 label, its length left to `maxLength`.
pub(super) const DNS_1123_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS-1123 subdomain, its length left to `maxLength`.
pub(super) const DNS_1123_SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A value as Kubernetes labels have it, its length left to `maxLength`.
pub(super) const WORD: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
