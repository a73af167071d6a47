//! What must hold of a policy, in the words that people read.
//!
//! Admission (the CEL rules of the schema) and [`crate::validate`] (the condition `Accepted`) use the same
//! constants, so that both say the same. Each message names the field and what must hold.

pub const NAME: &str = "metadata.name must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const PRIMARY_ID: &str = "primary.id must differ from the id of every replica; its default is 'primary'";
pub const ADDRESS: &str = "exactly one of host and urlSecretRef must be set";
pub const PORT_WITH_URL: &str = "port must not be set together with urlSecretRef, whose URL names the port";
pub const HOST: &str = "host must not be a loopback, link-local, multicast or unspecified address";
pub const HOST_FORM: &str = "host must be a DNS name, an IPv4 address or an IPv6 address";
pub const SAME_SERVER: &str = "each host and port must be declared once: two endpoints name the same server";
pub const ID_FORM: &str =
    "id must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'";
pub const ID_ONCE: &str = "replicas[].id must be set and be unique";
pub const REPLICAS: &str = "replicas must have at most 64 items";
pub const PORT: &str = "port must be between 1 and 65535";
pub const WEIGHT: &str = "weight must be between 0 and 1000";
pub const PRIORITY: &str = "priority must be between 0 and 1000";
pub const MAX_CONNECTIONS: &str = "maxConnections must be between 1 and 100000";
pub const DATABASE: &str = "connection.database must have 1 to 63 characters";
pub const CONNECT_TIMEOUT: &str = "connectTimeout must be between 1s and 5m";
pub const CA_NEEDS_VERIFY: &str =
    "tls.caSecretRef needs tls.mode VerifyCA or VerifyFull: the other modes verify no certificate";
pub const CLIENT_CERT_NEEDS_TLS: &str = "tls.clientCertSecretRef needs a tls.mode other than Disable";
pub const INTERVAL: &str = "healthCheck.interval must be between 100ms and 1h";
pub const TIMEOUT: &str = "healthCheck.timeout must be between 20ms and 1m";
pub const FAILOVER_TIMEOUT: &str = "healthCheck.failoverTimeout must be between 20ms and 10m";
pub const ATTEMPT: &str =
    "healthCheck.failoverTimeout must be at least 20ms for each of circuitBreaker.failureThreshold attempts";
pub const FAILURE_THRESHOLD: &str = "circuitBreaker.failureThreshold must be between 1 and 100";
pub const RESET_TIMEOUT: &str = "circuitBreaker.resetTimeout must be between 100ms and 1h";
pub const SUCCESS_THRESHOLD: &str = "circuitBreaker.halfOpen.successThreshold must be between 1 and 100";
pub const TRAFFIC_STEPS: &str = "circuitBreaker.halfOpen.trafficSteps must be 1 to 8 percentages from 1 to 100, each above the one before";
pub const NAME_PREFIX: &str = "outputs.services.namePrefix must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning with a letter";
pub const CONFIG_MAP_NAME: &str =
    "outputs.configMap.name must be a DNS-1123 subdomain of at most 253 characters";
pub const DURATION: &str =
    "a duration must be 1 to 4 numbers of at most 5 digits, each with a unit of h, m, s or ms, such as 1m30s";
